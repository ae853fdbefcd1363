"""What the gate looks at in measurement groups: tracking, outlines that viewers draw, numbers that mean something."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from pydicom import Dataset

from dicom_node.results.gate_case import Case, Check, items
from dicom_node.results.gate_content import (
    children,
    code_of,
    described,
    groups_of,
    references_to_segments,
    template_of,
    tracking_uids,
    value_of,
    walk,
)
from dicom_node.results.outline import FEWEST_POINTS, MOST_POINTS
from dicom_node.settings import ResultKind

_TRACKING_IDENTIFIER: Final = "112039"
_ALGORITHM_NAME: Final = "111001"
_CONCLUSION: Final = "121077"
_AREA: Final = "42798000"
_COMMENT: Final = "121106"
_PROBABILITY: Final = "122157"
_MOST_PERCENT: Final = 100
_FINDING_SITE: Final = "363698007"
_LATERALITY: Final = "272741003"
#: CID 244: right, left, both, one of the two.
_SIDES: Final = frozenset({"24028007", "7771000", "51440002", "66459002"})


def _tracking(case: Case) -> Iterator[str]:
    """Every group is tracked, and every tracked finding has an outline: a group without one crashes viewers."""
    outlined: set[str] = set()
    tracked: set[str] = set()
    for number, group in enumerate(groups_of(case.dataset), 1):
        uids = tracking_uids(group)
        if len(uids) != 1 or not any(code_of(item) == _TRACKING_IDENTIFIER for item in children(group)):
            yield f"measurement group {number} has no tracking identifier and UID"
        if not any(code_of(item) == _ALGORITHM_NAME for item in children(group)):
            yield f"measurement group {number} does not say which algorithm it is from"
        tracked.update(uids)
        if any(item.ValueType == "SCOORD" for item in children(group)):
            outlined.update(uids)
    if tracked - outlined:
        yield f"{len(tracked - outlined)} tracked findings have no outline on a source image"


def _outlines(case: Case) -> Iterator[str]:
    """PS3.3 C.18.6: closed, neither too short nor too long for viewers, and inside the image."""
    images = case.source_images()
    for item in walk(case.dataset):
        if item.ValueType != "SCOORD":
            continue
        values = [float(value) for value in items(item, "GraphicData")]
        points = list(zip(values[::2], values[1::2], strict=True))
        if item.GraphicType != "POLYLINE" or points[0] != points[-1]:
            yield "an outline is not a closed POLYLINE"
        if not FEWEST_POINTS <= len(points) <= MOST_POINTS:
            yield f"an outline has {len(points)} points, not {FEWEST_POINTS} to {MOST_POINTS}"
        selected = [child for child in children(item) if child.RelationshipType == "SELECTED FROM"]
        if len(selected) != 1:
            yield "an outline does not say which image it lies on"
            continue
        image = images[str(selected[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)]
        if any(not (0 <= x <= image.Columns and 0 <= y <= image.Rows) for x, y in points):
            yield "an outline leaves the image"


def _marks(case: Case) -> Iterator[str]:
    """What is outlined is a segment, or has an area; a mark for something that is not outlined says so in words."""
    findings: dict[str, list[Dataset]] = defaultdict(list)
    for group in groups_of(case.dataset):
        for uid in tracking_uids(group):
            findings[uid].append(group)
    for of_finding in findings.values():
        outlined = any(references_to_segments(group) or _has(group, "NUM", _AREA) for group in of_finding)
        if not outlined and not any(_has(group, "TEXT", _COMMENT) for group in of_finding):
            yield "a mark does not say that it delimits nothing"


def _has(group: Dataset, value_type: str, code: str) -> bool:
    return any(item.ValueType == value_type and code_of(item) == code for item in children(group))


def _numbers(case: Case) -> Iterator[str]:
    """PS3.3 C.18.1: one finite number, with a unit of UCUM; a probability is 0 to 100 %."""
    for item in walk(case.dataset):
        if item.ValueType != "NUM":
            continue
        measured = items(item, "MeasuredValueSequence")
        if len(measured) != 1:
            yield f"the number {code_of(item)} has {len(measured)} values, not one"
            continue
        value, unit = float(measured[0].NumericValue), measured[0].MeasurementUnitsCodeSequence[0]
        if not math.isfinite(value):
            yield f"the number {code_of(item)} is none"
        if unit.CodingSchemeDesignator != "UCUM":
            yield f"the unit of {code_of(item)} is not one of UCUM"
        if code_of(item) == _PROBABILITY and (unit.CodeValue != "%" or not 0 <= value <= _MOST_PERCENT):
            yield "a probability is not 0 to 100 %"


def _answers(case: Case) -> Iterator[str]:
    """PS3.3 C.18.2: what is said in codes is one whole code; sides are those of CID 244, of a finding site."""
    for item in walk(case.dataset):
        if item.ValueType == "CODE" and not _is_whole(item):
            yield f"the answer to {code_of(item)} is no code"
        for child in children(item):
            if code_of(child) != _LATERALITY or not _is_whole(child):
                continue
            if code_of(item) != _FINDING_SITE or value_of(child.ConceptCodeSequence[0]) not in _SIDES:
                yield "a laterality is none, or not of a finding site"


def _is_whole(item: Dataset) -> bool:
    codes = items(item, "ConceptCodeSequence")
    if len(codes) != 1 or not codes[0].get("CodeMeaning"):
        return False
    # a code that is a URN names its scheme itself
    return bool(value_of(codes[0]) and (codes[0].get("CodingSchemeDesignator") or "URNCodeValue" in codes[0]))


def _same_segments(case: Case) -> Iterator[str]:
    """Every segment of the SEG is reported under the Tracking UID that it has there; in words, by its label."""
    for built in case.objects:
        if built.kind is not ResultKind.SEGMENTATION:
            continue
        segments = described(built.dataset)
        if template_of(case.dataset) == "2000":
            said = "\n".join(str(item.TextValue) for item in walk(case.dataset) if code_of(item) == _CONCLUSION)
            if any(str(segment.SegmentLabel) not in said for segment in segments):
                yield "a segment of the SEG is not mentioned"
        elif _reported(case.dataset, built.sop_instance_uid) != {
            int(segment.SegmentNumber): str(segment.TrackingUID) for segment in segments
        }:
            yield "the segments that it reports are not those of the SEG"


def _reported(dataset: Dataset, sop_instance_uid: str) -> dict[int, str]:
    """Return segment number to Tracking UID, for every group that refers to a segment of one SEG."""
    return {
        int(reference.ReferencedSegmentNumber): next(iter(tracking_uids(group)), "")
        for group in groups_of(dataset)
        for reference in references_to_segments(group)
        if reference.ReferencedSOPInstanceUID == sop_instance_uid
    }


MEASUREMENT_CHECKS: Final[Mapping[str, Check]] = {
    "tracking": _tracking,
    "outlines": _outlines,
    "marks": _marks,
    "numbers": _numbers,
    "answers": _answers,
    "segments": _same_segments,
}
