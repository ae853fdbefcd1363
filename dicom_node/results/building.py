"""Findings in, finished objects out: the SEG first, because the SR refers to it."""

from collections.abc import Iterable, Mapping

from pydicom import Dataset

from dicom_node.contract import Findings
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results.objects import BuiltObject, RunContext
from dicom_node.results.report import build_report
from dicom_node.results.segmentation import build_segmentation, found


def build(findings: Findings, sources: Mapping[str, SourceSeries], run: RunContext) -> tuple[BuiltObject, ...]:
    """Return the SEG (if any segment holds a voxel) and the SR; each in a series of its own.

    Parameters
    ----------
    sources : mapping of role to SourceSeries
        Every series that the pipeline saw; the masks lie on that of `findings.role`.

    Raises
    ------
    WrongObject
        If a mask does not lie on the grid of its source, or two segments have one label.
    """
    source = sources[findings.role]
    _refuse_misfits(findings, source)
    taken = _series_numbers(image for each in sources.values() for image in each.datasets[:1])
    segmentation = build_segmentation(findings, source, run, taken) if found(findings) else None
    report = build_report(findings, sources, run, segmentation, taken)
    return (report,) if segmentation is None else (segmentation, report)


def _refuse_misfits(findings: Findings, source: SourceSeries) -> None:
    shape = tuple(source.volume.spatial_shape)
    faults = [
        f"segment {segment.label!r} is {segment.mask.dtype} {segment.mask.shape}, the source is bool {shape}"
        for segment in findings.segments
        if segment.mask.shape != shape or segment.mask.dtype != bool
    ]
    labels = [segment.label for segment in findings.segments]
    faults += [f"the label {label!r} is used twice" for label in sorted(set(labels)) if labels.count(label) > 1]
    if faults:
        raise WrongObject(f"the pipeline's findings do not fit the images: {'; '.join(faults)}")


def _series_numbers(images: Iterable[Dataset]) -> frozenset[int]:
    numbers = (image.get("SeriesNumber") for image in images)
    return frozenset(int(number) for number in numbers if number is not None)
