"""What came back to the PACS: fetched, saved, read and drawn, as a viewer with no knowledge of the node would."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage
from rich.table import Table

from dicom_node.contract import Algorithm, Findings, Measurement, Segment
from dicom_node.demo.measured import Measured, volumes
from dicom_node.demo.stored import Pacs
from dicom_node.errors import DemoUnavailable
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.presentation import sop_class_name
from dicom_node.results import preview_png

_ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")
_VOLUME: Final = Code("118565006", "SCT", "Volume")
_SAME_MM: Final = 1e-3
#: Where a segment names no colour: a clear yellow (CIELab).
_YELLOW: Final = (90.0, -5.0, 80.0)


@dataclass(frozen=True, slots=True)
class Returned:
    """One object that the PACS holds and the scanner did not send."""

    dataset: Dataset
    path: Path


def fetch_results(
    pacs: Pacs, study_instance_uid: str, folder: Path, pushed: Collection[str] = ()
) -> tuple[Returned, ...]:
    """Save what the PACS holds of a study as files, but for the SOP classes that the scanner pushed."""
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for stored in pacs.stored(study_instance_uid):
        if stored.sop_class_uid in pushed:
            continue
        content = pacs.fetch(stored.sop_instance_uid)
        dataset = dcmread(BytesIO(content))
        path = folder / f"{dataset.Modality}-{stored.sop_instance_uid}.dcm"
        path.write_bytes(content)
        results.append(Returned(dataset, path))
    return tuple(results)


def measured_volumes(results: Sequence[Returned]) -> tuple[Measured, ...]:
    """Return the volumes that the reports among the results state."""
    return tuple(
        volume for result in results if result.dataset.Modality == "SR" for volume in volumes(result.dataset)
    )


def draw(results: Sequence[Returned], sources: Sequence[Path], path: Path) -> Path | None:
    """Write a picture of the source with the outline of the segmentation that came back.

    Parameters
    ----------
    sources : sequence of Path
        The files of the study that was pushed; those of the segmented series are found by reference.

    Returns
    -------
    Path or None
        None if no segmentation came back.

    Raises
    ------
    DemoUnavailable
        If the segmentation refers to images that were not pushed.
    """
    found = [result.dataset for result in results if result.dataset.SOPClassUID == SegmentationStorage]
    if not found:
        return None
    segmentation = hd.seg.Segmentation.from_dataset(found[0])
    source = _source(segmentation, sources)
    whole = segmentation.get_volume(combine_segments=False)
    # both stand in decimal strings, so equal means: to a thousandth of a millimetre
    masks = whole.match_geometry(source.volume, tol=_SAME_MM).array.astype(np.bool_)
    segments = [_segment(segmentation, number, masks[..., index]) for index, number in enumerate(_numbers(whole))]
    measured = [_measurement(volume) for volume in measured_volumes(results)]
    preview_png(Findings("", _algorithm(segmentation), tuple(segments), tuple(measured)), source, path)
    return path


def result_table(results: Sequence[Returned], picture: Path | None) -> Table:
    """Return what came back as a table for a terminal."""
    table = Table("what came back", title="Result", title_justify="left")
    table.add_column("", overflow="fold")  # a path that is cut short cannot be opened
    for result in results:
        table.add_row(sop_class_name(str(result.dataset.SOPClassUID)), str(result.path))
    for volume in measured_volumes(results):
        table.add_row(f"{volume.of}: {volume.name}", f"{volume.value:.1f} {volume.unit}", style="bold")
    if picture is not None:
        table.add_row("picture", str(picture))
    return table


def _source(segmentation: hd.seg.Segmentation, files: Sequence[Path]) -> SourceSeries:
    wanted = str(segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID)
    headers = ((path, dcmread(path, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True)) for path in files)
    series = [path for path, header in headers if str(header.get("SeriesInstanceUID")) == wanted]
    if not series:
        raise DemoUnavailable(f"the segmentation refers to series {wanted}, which was not pushed")
    return read_series(series)


def _numbers(volume: hd.Volume) -> list[int]:
    return [int(number) for number in volume.get_channel_values("ReferencedSegmentNumber")]


def _segment(segmentation: hd.seg.Segmentation, number: int, mask: NDArray[np.bool_]) -> Segment:
    described = segmentation.get_segment_description(number)
    lab = described.get("RecommendedDisplayCIELabValue")
    colour = hd.color.CIELabColor.from_dicom_value(tuple(lab)).lab if lab else _YELLOW
    return Segment(
        label=described.segment_label,
        mask=mask,
        category=described.segmented_property_category,
        type=described.segmented_property_type,
        colour_lab=colour,
    )


def _algorithm(segmentation: hd.seg.Segmentation) -> Algorithm:
    described = segmentation.get_segment_description(1)
    return Algorithm(str(described.get("SegmentAlgorithmName", "")), "", _ARTIFICIAL_INTELLIGENCE)


def _measurement(volume: Measured) -> Measurement:
    return Measurement(_VOLUME, volume.value, Code(volume.unit, "UCUM", volume.unit), volume.of)
