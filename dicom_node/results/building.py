"""Findings in, finished objects out, in the order in which they refer to one another."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from pydicom import Dataset

from dicom_node.contract import Findings
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results.derived_images import build_images
from dicom_node.results.document import build_document
from dicom_node.results.fitting import misfits
from dicom_node.results.key_objects import build_key_objects
from dicom_node.results.legible import legible
from dicom_node.results.objects import BuiltObject, Making, RunContext
from dicom_node.results.parametric_map import build_parametric_maps
from dicom_node.results.picture import build_pictures
from dicom_node.results.presentation_state import build_presentation_state
from dicom_node.results.report import build_report
from dicom_node.results.segmentation import build_segmentation
from dicom_node.settings import ResultKind

#: Returns the objects of one kind; none where the findings hold nothing for it.
Builder = Callable[[Making], tuple[BuiltObject, ...]]
#: In this order: later ones may refer to earlier ones.
BUILDERS: Final[Mapping[ResultKind, Builder]] = {
    ResultKind.SEGMENTATION: build_segmentation,
    ResultKind.PARAMETRIC_MAP: build_parametric_maps,
    ResultKind.IMAGES: build_images,
    ResultKind.PICTURE: build_pictures,
    ResultKind.REPORT: build_report,
    ResultKind.DOCUMENT: build_document,
    ResultKind.KEY_OBJECTS: build_key_objects,
    ResultKind.PRESENTATION_STATE: build_presentation_state,
}


def build(findings: Findings, sources: Mapping[str, SourceSeries], run: RunContext) -> tuple[BuiltObject, ...]:
    """Return the objects of every kind that the profile wants and the findings hold.

    Parameters
    ----------
    sources : mapping of role to SourceSeries
        Every series that the pipeline saw; masks and maps lie on that of `findings.role`.

    Raises
    ------
    WrongObject
        If the findings do not fit the images, or contradict themselves.
    """
    if findings.role not in sources:
        raise WrongObject(f"the pipeline's findings are about {findings.role!r}, of which it was given no images")
    if faults := tuple(misfits(findings, tuple(sources[findings.role].volume.spatial_shape))):
        raise WrongObject(f"the pipeline's findings do not fit the images: {'; '.join(faults)}")
    findings = legible(findings, sources[findings.role].datasets[0], run)
    taken = _series_numbers(image for each in sources.values() for image in each.datasets[:1])
    making = Making(findings, sources, run, taken)
    for kind, builder in BUILDERS.items():
        if kind in run.profile.kinds:
            making = replace(making, built=(*making.built, *builder(making)))
    return making.built


def _series_numbers(images: Iterable[Dataset]) -> frozenset[int]:
    numbers = (image.get("SeriesNumber") for image in images)
    return frozenset(int(number) for number in numbers if number is not None)
