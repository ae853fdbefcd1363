"""How every check of a report walks its content tree."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydicom import Dataset

from dicom_node.results.gate_case import items

_GROUP: Final = "125007"
_TRACKING_UID: Final = "112040"
_REFERENCED_SEGMENT: Final = "121191"


def walk(item: Dataset) -> Iterator[Dataset]:
    """Yield every content item below one, depth first."""
    for child in children(item):
        yield child
        yield from walk(child)


def children(item: Dataset) -> Sequence[Any]:
    """Return the content items right below one."""
    return items(item, "ContentSequence")


def code_of(item: Dataset) -> str:
    """Return the code value of a content item's concept name; empty, if it has none."""
    names = items(item, "ConceptNameCodeSequence")
    return value_of(names[0]) if names else ""


def value_of(code: Dataset) -> str:
    """Return the value of a code, in whichever attribute its length put it (PS3.3 Table 8.8-1); empty, if none."""
    return str(code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue") or "")


def groups_of(dataset: Dataset) -> list[Dataset]:
    """Return every measurement group of a report."""
    return [item for item in walk(dataset) if code_of(item) == _GROUP]


def tracking_uids(group: Dataset) -> list[str]:
    """Return the Tracking UIDs of a measurement group: there should be one."""
    return [str(item.UID) for item in children(group) if code_of(item) == _TRACKING_UID]


def references_to_segments(group: Dataset) -> list[Dataset]:
    """Return the references of a measurement group to segments of a SEG."""
    return [item.ReferencedSOPSequence[0] for item in children(group) if code_of(item) == _REFERENCED_SEGMENT]


def template_of(dataset: Dataset) -> str:
    """Return the template that a report says its root is by; empty, if it names none or several."""
    templates = [str(item.TemplateIdentifier) for item in items(dataset, "ContentTemplateSequence")]
    return templates[0] if len(templates) == 1 else ""


def described(segmentation: Dataset) -> list[Dataset]:
    """Return the segments of a SEG; 0 in a label map is the background, which nobody reports."""
    return [item for item in segmentation.SegmentSequence if int(item.SegmentNumber)]
