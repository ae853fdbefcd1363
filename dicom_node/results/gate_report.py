"""What the gate looks at in a report: references that resolve, outlines that viewers draw, words that they show."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.results.gate_case import Case, Check, items
from dicom_node.results.outline import FEWEST_POINTS, MOST_POINTS
from dicom_node.results.source_images import is_multiframe

_GROUP: Final = "125007"
_TRACKING_IDENTIFIER: Final = "112039"
_TRACKING_UID: Final = "112040"
_REFERENCED_SEGMENT: Final = "121191"
#: Of a segment, and of a sentence.
_SOURCE_SERIES: Final = ("121232", "112002")
_CONCLUSIONS: Final = "55110-1"
_CONCLUSION: Final = "121077"
#: Template to title. Viewers look for measurements in every report with the first title, and fail without any.
_TITLES: Final[Mapping[str, str]] = {"1500": "126000", "2000": "18748-4"}


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.17.2: a finished document that nobody has verified yet; PS3.16 TID 1500, without a SEG TID 2000."""
    wanted = {
        "SOPClassUID": Comprehensive3DSRStorage,
        "ValueType": "CONTAINER",
        "CompletionFlag": "COMPLETE",
        "VerificationFlag": "UNVERIFIED",
        "PreliminaryFlag": "PRELIMINARY",
    }
    for keyword, value in wanted.items():
        if case.dataset.get(keyword) != value:
            yield f"{keyword} is not {value}"
    template = "1500" if _segmented(case) else "2000"
    if [item.TemplateIdentifier for item in items(case.dataset, "ContentTemplateSequence")] != [template]:
        yield f"the root is not by template {template}"
    if _code(case.dataset) != _TITLES[template]:
        yield f"the title is not that of a report by template {template}"


def _segmented(case: Case) -> bool:
    return any(built.kind == "SEG" for built in case.objects)


def _walk(item: Dataset) -> Iterator[Dataset]:
    for child in items(item, "ContentSequence"):
        yield child
        yield from _walk(child)


def _code(item: Dataset) -> str:
    names = items(item, "ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _references(case: Case) -> Iterator[str]:
    """Every reference leads to a source image or to an object of the same build, and is listed as evidence."""
    targets = case.source_images() | {built.sop_instance_uid: built.dataset for built in case.objects}
    evidence = _evidence(case.dataset)
    for item in _walk(case.dataset):
        for reference in items(item, "ReferencedSOPSequence"):
            target = targets.get(str(reference.ReferencedSOPInstanceUID))
            if target is None or target is case.dataset:
                yield f"a reference leads nowhere ({reference.ReferencedSOPInstanceUID})"
                continue
            yield from _resolves(reference, target)
            if str(reference.ReferencedSOPInstanceUID) not in evidence:
                yield f"{reference.ReferencedSOPInstanceUID} is referred to, but not listed as evidence"
    if unknown := evidence - targets.keys():
        yield f"{len(unknown)} objects listed as evidence are unknown"


def _evidence(dataset: Dataset) -> set[str]:
    return {
        str(reference.ReferencedSOPInstanceUID)
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in items(dataset, keyword)
        for series in items(study, "ReferencedSeriesSequence")
        for reference in items(series, "ReferencedSOPSequence")
    }


def _resolves(reference: Dataset, target: Dataset) -> Iterator[str]:
    uid = reference.ReferencedSOPInstanceUID
    if reference.ReferencedSOPClassUID != target.SOPClassUID:
        yield f"{uid} is referred to with another SOP class"
    if "SegmentSequence" in target:
        described = {int(item.SegmentNumber) for item in target.SegmentSequence}
        named = reference.get("ReferencedSegmentNumber")
        if named is None or int(named) not in described:
            yield f"a segment of {uid} is referred to that it does not have"
    elif is_multiframe(target):
        frame = reference.get("ReferencedFrameNumber")
        if frame is None or not 1 <= int(frame) <= int(target.NumberOfFrames):
            yield f"a frame of {uid} is referred to that it does not have"


def _source_series(case: Case) -> Iterator[str]:
    known = {str(image.SeriesInstanceUID) for image in case.source_images().values()}
    for item in _walk(case.dataset):
        if _code(item) in _SOURCE_SERIES and str(item.UID) not in known:
            yield "the source series of a segment or sentence is not one of the sources"


def _groups(dataset: Dataset) -> list[Dataset]:
    return [item for item in _walk(dataset) if _code(item) == _GROUP]


def _tracking(case: Case) -> Iterator[str]:
    """Every group is tracked, and every tracked finding has an outline: a group without one crashes viewers."""
    outlined: set[str] = set()
    tracked: set[str] = set()
    for number, group in enumerate(_groups(case.dataset), 1):
        children = items(group, "ContentSequence")
        uids = [str(item.UID) for item in children if _code(item) == _TRACKING_UID]
        if len(uids) != 1 or not any(_code(item) == _TRACKING_IDENTIFIER for item in children):
            yield f"measurement group {number} has no tracking identifier and UID"
        tracked.update(uids)
        if any(item.ValueType == "SCOORD" for item in children):
            outlined.update(uids)
    if tracked - outlined:
        yield f"{len(tracked - outlined)} tracked findings have no outline on a source image"


def _outlines(case: Case) -> Iterator[str]:
    """PS3.3 C.18.6: closed, neither too short nor too long for viewers, and inside the image."""
    images = case.source_images()
    for item in _walk(case.dataset):
        if item.ValueType != "SCOORD":
            continue
        values = [float(value) for value in items(item, "GraphicData")]
        points = list(zip(values[::2], values[1::2], strict=True))
        if item.GraphicType != "POLYLINE" or points[0] != points[-1]:
            yield "an outline is not a closed POLYLINE"
        if not FEWEST_POINTS <= len(points) <= MOST_POINTS:
            yield f"an outline has {len(points)} points, not {FEWEST_POINTS} to {MOST_POINTS}"
        selected = [child for child in items(item, "ContentSequence") if child.RelationshipType == "SELECTED FROM"]
        if len(selected) != 1:
            yield "an outline does not say which image it lies on"
            continue
        image = images[str(selected[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)]
        if any(not (0 <= x <= image.Columns and 0 <= y <= image.Rows) for x, y in points):
            yield "an outline leaves the image"


def _same_segments(case: Case) -> Iterator[str]:
    """Every segment of the SEG is reported, under the Tracking UID that it has there."""
    for built in case.objects:
        if built.kind != "SEG":
            continue
        described = {int(item.SegmentNumber): str(item.TrackingUID) for item in built.dataset.SegmentSequence}
        if _reported(case.dataset, built.sop_instance_uid) != described:
            yield "the segments that it reports are not those of the SEG"


def _reported(dataset: Dataset, sop_instance_uid: str) -> dict[int, str]:
    """Return segment number to Tracking UID, for every group that refers to a segment of one SEG."""
    reported = {}
    for group in _groups(dataset):
        children = items(group, "ContentSequence")
        uid = next((str(item.UID) for item in children if _code(item) == _TRACKING_UID), "")
        for item in children:
            if _code(item) == _REFERENCED_SEGMENT:
                reference = item.ReferencedSOPSequence[0]
                if reference.ReferencedSOPInstanceUID == sop_instance_uid:
                    reported[int(reference.ReferencedSegmentNumber)] = uid
    return reported


def _words(case: Case) -> Iterator[str]:
    """A report without a SEG is read, not drawn: a sentence at least, where it is looked for, and no measurement."""
    if _segmented(case):
        return
    headings = [item for item in items(case.dataset, "ContentSequence") if _code(item) == _CONCLUSIONS]
    sentences = [item for each in headings for item in items(each, "ContentSequence") if _code(item) == _CONCLUSION]
    if not sentences:
        yield "there is no SEG, and not a word that says so"
    for number, item in enumerate(sentences, 1):
        if item.ValueType != "TEXT" or not str(item.get("TextValue") or "").strip():
            yield f"sentence {number} is empty"
        if not any(_code(child) in _SOURCE_SERIES for child in items(item, "ContentSequence")):
            yield f"sentence {number} does not say which series it is about"
    if any(item.ValueType in {"NUM", "SCOORD", "SCOORD3D"} or _code(item) == _GROUP for item in _walk(case.dataset)):
        yield "there is no SEG, but a measurement"


REPORT_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "references": _references,
    "source series": _source_series,
    "tracking": _tracking,
    "outlines": _outlines,
    "segments": _same_segments,
    "words": _words,
}
