"""Wrong objects made on purpose: for each known way in which a result goes wrong in a PACS or viewer, one is stopped.

`python -m tests.wrong_objects` prints what is made and what stops it. Some failures are no property of an object; the
table says where they are met instead.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.contract import Findings, ProbabilityMap
from dicom_node.entities import derived_uid
from dicom_node.errors import Failure
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.results import BuiltObject, build, check
from dicom_node.settings import ResultKind, parse_settings
from tests.gate_cases import Corrupt, in_group, put, without
from tests.report_cases import all_sorts, drop, first, group_of, groups
from tests.results_cases import ROLE, findings, profile, run_context, segment, source_series
from tests.study_cases import write_study

PROBABILITY: Final = Code("110858", "DCM", "Probability")
KINDS: Final = (ResultKind.SEGMENTATION, ResultKind.REPORT, ResultKind.PARAMETRIC_MAP)
NO_UNITS: Final = Code("1", "UCUM", "no units")


@dataclass(frozen=True, slots=True)
class Wrong:
    """One failure.

    Parameters
    ----------
    number : int
        In the list of failures.
    breaks : str
        What users see where nothing stops it.
    refused : callable
        Makes it; returns the sentence of the refusal.
    said : str
        Words that the sentence must hold.
    """

    number: int
    breaks: str
    refused: Callable[[], str]
    said: str


def _objects(source: SourceSeries, **changes: object) -> list[BuiltObject]:
    found = replace(all_sorts(), maps=(_map(source),))
    if changes.get("segmentation") == "labelmap":
        found = findings(segment())  # segments that overlap are never put into one
    objects = build(found, {ROLE: source}, run_context(profile=profile(**changes)))
    check(objects, {ROLE: source})
    return [replace(each, dataset=deepcopy(each.dataset)) for each in objects]


def _map(source: SourceSeries) -> ProbabilityMap:
    values = np.full(source.volume.array.shape, 0.5, np.float32)
    return ProbabilityMap("Brain", values, PROBABILITY, NO_UNITS)


def _gate(objects: list[BuiltObject], source: SourceSeries, found: Findings | None = None) -> str:
    return _words(lambda: check(objects, {ROLE: source}, found))


def _words(act: Callable[[], object]) -> str:
    """Return the sentence of a refusal; empty, if there is none."""
    try:
        act()
    except Failure as failure:
        return str(failure)
    return ""


def _made(kind: str, change: Corrupt, *, enhanced: bool = False, **profile_changes: object) -> Callable[[], str]:
    """Return what makes a right object of one kind, changes it, and asks the gate."""

    def refused() -> str:
        source = source_series(enhanced=enhanced)
        objects = _objects(source, **profile_changes)
        change(next(each.dataset for each in objects if each.kind == kind), source)
        return _gate(objects, source)

    return refused


def _frames(dataset: Dataset) -> list[Dataset]:
    return list(dataset.PerFrameFunctionalGroupsSequence)


def _nameless_frames(dataset: Dataset, _: SourceSeries) -> None:
    for frame in _frames(dataset):
        del frame.DerivationImageSequence


def _mirrored(dataset: Dataset, _: SourceSeries) -> None:
    item = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    item.ImageOrientationPatient = [-float(value) for value in item.ImageOrientationPatient]


def _empty(dataset: Dataset, _: SourceSeries) -> None:
    """No frame at all: what empty masks leave when empty frames are left out."""
    dataset.PerFrameFunctionalGroupsSequence = []
    dataset.NumberOfFrames, dataset.PixelData = 0, b""


def _no_frame_numbers(dataset: Dataset, _: SourceSeries) -> None:
    for frame in _frames(dataset):
        del frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber


def _numbering_gap(dataset: Dataset, _: SourceSeries) -> None:
    dataset.SegmentSequence[1].SegmentNumber = 5


def _no_colour(dataset: Dataset, _: SourceSeries) -> None:
    del dataset.SegmentSequence[0].RecommendedDisplayCIELabValue


def _overlap_denied(dataset: Dataset, _: SourceSeries) -> None:
    dataset.SegmentsOverlap = "NO"


def _no_background(dataset: Dataset, _: SourceSeries) -> None:
    del dataset.SegmentSequence[0]


def _deflated(dataset: Dataset, _: SourceSeries) -> None:
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def _uid_of_a_source(dataset: Dataset, source: SourceSeries) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = source.datasets[0].SOPInstanceUID


def _number_of_a_source(dataset: Dataset, source: SourceSeries) -> None:
    dataset.SeriesNumber = source.datasets[0].SeriesNumber


def _no_outlines(dataset: Dataset, _: SourceSeries) -> None:
    for group in groups(dataset, "1410"):
        drop(group, "111030")


def _a_point(dataset: Dataset, _: SourceSeries) -> None:
    item = first(group_of(dataset, "Mass 1"), "SCOORD")
    item.GraphicType, item.GraphicData = "POINT", [8.0, 8.0]


def _other_title(dataset: Dataset, _: SourceSeries) -> None:
    dataset.ConceptNameCodeSequence[0].CodeValue = "126001"


def _long_outline(dataset: Dataset, _: SourceSeries) -> None:
    item = first(dataset, "SCOORD")
    first_point = [float(value) for value in islice(item.GraphicData, 2)]
    item.GraphicData = [*first_point, *([5.0, 5.0, 6.0, 6.0] * 150), *first_point]


def _drawn(turned: Callable[[NDArray[np.bool_]], NDArray[np.bool_]], *, as_map: bool = False) -> Callable[[], str]:
    """Return what builds right objects of a mask, or map, that is not the one that was found."""

    def refused() -> str:
        source = source_series()
        found = findings(segment())
        other = findings(segment(mask=turned(segment().mask)))
        if as_map:
            values = segment().mask.astype(np.float32)
            found = replace(found, maps=(ProbabilityMap("Brain", values, PROBABILITY, NO_UNITS),))
            other = replace(found, maps=(replace(found.maps[0], values=turned(values)),))
        objects = list(build(other, {ROLE: source}, run_context(profile=profile(kinds=KINDS))))
        check(objects, {ROLE: source}, other)
        return _gate(objects, source, found)

    return refused


def _one_series() -> str:
    """Two objects that share a series: a viewer shows the last only."""
    source = source_series()
    objects = _objects(source)
    objects[1].dataset.SeriesInstanceUID = objects[0].dataset.SeriesInstanceUID
    return _gate(objects, source)


def _uid_twice() -> str:
    source = source_series()
    objects = _objects(source)
    for each in objects:
        each.dataset.SOPInstanceUID = each.dataset.file_meta.MediaStorageSOPInstanceUID = derived_uid("twice")
    return _gate(objects, source)


def _no_frame_of_reference() -> str:
    """Such images are refused before anything is computed on them."""
    with TemporaryDirectory() as folder:
        write_study(Path(folder), FrameOfReferenceUID="")
        return _words(lambda: read_series(sorted(Path(folder).iterdir())))


def _two_patients() -> str:
    """An image of another patient in the series: whose would the result be."""
    source = source_series()
    objects = _objects(source)
    source.datasets[3].PatientID = "P-2"
    return _gate(objects, source)


def _lone_pointers() -> str:
    """A profile that sends nothing but what many viewers do not show."""
    return _words(lambda: parse_settings('[[profile]]\nname = "x"\nkinds = ["KO", "PR"]\n', "node.toml"))


WRONG: Final = (
    Wrong(
        1,
        "SEG without referenced series: unsupported",
        _made("SEG", without("ReferencedSeriesSequence")),
        "no series",
    ),
    Wrong(2, "SEG frames without source image: wrong slices", _made("SEG", _nameless_frames), "its one source image"),
    Wrong(3, "SEG of another grid: not drawn", _made("SEG", put(Rows=10, Columns=48)), "not those of the source"),
    Wrong(4, "flipped mask", _made("SEG", _mirrored), "ImageOrientationPatient is not that of the source"),
    Wrong(4, "mask on the next slice", _drawn(lambda mask: np.roll(mask, 1, axis=0)), "as it was found on its slice"),
    Wrong(
        4, "mask with left and right exchanged", _drawn(lambda mask: mask[..., ::-1]), "as it was found on its slice"
    ),
    Wrong(
        4,
        "map upside down",
        _drawn(lambda mask: mask[:, ::-1], as_map=True),
        "not hold the numbers that were found on its slice",
    ),
    Wrong(4, "half of a mask", _drawn(lambda mask: mask & (np.arange(6) < 3)[:, None, None]), "voxels, but"),
    Wrong(5, "FRACTIONAL: viewers hang", _made("SEG", put(SegmentationType="FRACTIONAL")), "is not BINARY"),
    Wrong(
        6,
        "label map without its background: colours shifted or wrong",
        _made("SEG", _no_background, segmentation="labelmap"),
        "segments are numbered",
    ),
    Wrong(7, "SEG without any frame", _made("SEG", _empty), "NumberOfFrames is 0"),
    Wrong(8, "overlap denied: a segment loses voxels", _made("SEG", _overlap_denied), "a voxel is in two segments"),
    Wrong(9, "two results in one series: one vanishes", _one_series, "that of another result"),
    Wrong(
        10,
        "SEG of a multi-frame image without frame numbers",
        _made("SEG", _no_frame_numbers, enhanced=True),
        "names no frame of the volume",
    ),
    Wrong(11, "source without Frame of Reference", _no_frame_of_reference, "frame of reference"),
    Wrong(12, "gap in segment numbers", _made("SEG", _numbering_gap), "segments are numbered"),
    Wrong(12, "segment without colour", _made("SEG", _no_colour), "has no colour"),
    Wrong(13, "deflated: 7 of 8 web viewers fail", _made("SEG", _deflated), "not Explicit or Implicit VR"),
    Wrong(15, "another Patient ID: a second study", _made("SR", put(PatientID="P-2")), "PatientID is not that"),
    Wrong(15, "another issuer", _made("SR", put(IssuerOfPatientID="OTHER")), "IssuerOfPatientID is not that"),
    Wrong(15, "images of two patients", _two_patients, "the source images disagree on PatientID"),
    Wrong(16, "Study ID missing: studies split", _made("SEG", without("StudyID")), "StudyID is not that"),
    Wrong(16, "accession number changed", _made("SEG", put(AccessionNumber="A2")), "AccessionNumber is not that"),
    Wrong(17, "UID of a source image: it is replaced", _made("SEG", _uid_of_a_source), "that of a source image"),
    Wrong(17, "UID used twice", _uid_twice, "that of another result"),
    Wrong(18, "series number of a source series", _made("SR", _number_of_a_source), "that of a source series"),
    Wrong(19, "no series UID", _made("PM", put(SeriesInstanceUID=""), kinds=KINDS), "is not a UID"),
    Wrong(20, "character set lost", _made("SR", without("SpecificCharacterSet")), "SpecificCharacterSet is neither"),
    Wrong(21, "SR group without outline: black viewport", _made("SR", _no_outlines), "no outline on a source image"),
    Wrong(22, "point instead of an outline: useless question", _made("SR", _a_point), "not a closed POLYLINE"),
    Wrong(23, "another title: shown as a tree of text", _made("SR", _other_title), "the title is not that"),
    Wrong(24, "outline of 302 points: sent apart, and lost", _made("SR", _long_outline), "has 302 points"),
    Wrong(25, "nothing but KO and PR: viewers ignore both", _lone_pointers, "many viewers do not show"),
    Wrong(
        26,
        "result in another study",
        _made("SEG", put(StudyInstanceUID=derived_uid("another study"))),
        "StudyInstanceUID is not that",
    ),
    Wrong(
        26,
        "SEG of images that are not there",
        _made("SEG", in_group("DerivationImageSequence", 1, SourceImageSequence=[])),
        "its one source image",
    ),
)
#: What no object is guilty of, and where it is met.
ELSEWHERE: Final = {
    14: "SOP class refused by the PACS: contexts are read before sending, the object is held (tests/wire)",
    27: "no failure of any system is known: the ready profile no-seg-pacs, and a list to check by",
}


def main() -> None:
    """Print the table."""
    lines = [(wrong.number, f"{wrong.breaks}\n    -> {wrong.refused() or 'NOT REFUSED'}") for wrong in WRONG]
    for number, line in sorted([*lines, *ELSEWHERE.items()]):
        print(f"{number:2}  {line}")


if __name__ == "__main__":
    main()
