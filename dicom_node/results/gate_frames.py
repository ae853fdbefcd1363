"""The frames of a finished Segmentation, as the gate reads them.

Thousands of frames name only as many images as there are slices: equal parts are decoded once, and remembered by
their bytes.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.values import convert_SQ

_PER_FRAME: Final = Tag("PerFrameFunctionalGroupsSequence")
_DERIVATION: Final = Tag("DerivationImageSequence")
_POSITION: Final = Tag("PlanePositionSequence")
_SEGMENT: Final = Tag("SegmentIdentificationSequence")
_LOOKED_AT: Final = frozenset({_DERIVATION, _POSITION, _SEGMENT})
_ITEM: Final = Tag(0xFFFEE000)

Items = Sequence[Any]
_NONE: Final[Items] = ()


@dataclass(frozen=True, slots=True)
class FrameGroups:
    """What the gate looks at in one frame: the items of its functional groups, none where a group is absent."""

    derivation: Items
    position: Items
    segment: Items


def frame_groups(dataset: Dataset) -> Iterator[FrameGroups]:
    """Yield every frame, in order; parts that are equal in the encoded object are the same objects.

    Raises
    ------
    ValueError
        If the encoded object holds anything but items of sequences, each of explicit length (PS3.5 7.5).
    """
    for groups in _every_frame(dataset):
        yield FrameGroups(groups.get(_DERIVATION, _NONE), groups.get(_POSITION, _NONE), groups.get(_SEGMENT, _NONE))


def _every_frame(dataset: Dataset) -> Iterator[Mapping[int, Items]]:
    if _PER_FRAME not in dataset:
        return
    element: DataElement | RawDataElement = dataset.get_item(_PER_FRAME)
    if not isinstance(element, RawDataElement):
        yield from ({each.tag: each.value for each in groups} for groups in element.value)
        return
    known: dict[bytes, Items] = {}
    for frame in _items(element.value or b""):
        parts = _sequences(frame, element)
        yield {tag: _decoded(value, element, known) for tag, value in parts if tag in _LOOKED_AT}


def _decoded(value: bytes, within: RawDataElement, known: dict[bytes, Items]) -> Items:
    if value not in known:
        known[value] = convert_SQ(value, within.is_implicit_VR, within.is_little_endian)
    return known[value]


def _items(value: bytes) -> Iterator[bytes]:
    """Yield the content of every item of a sequence."""
    at = 0
    while at < len(value):
        group, element, length = struct.unpack("<HHL", _part(value, at, 8))
        if (group << 16 | element) != _ITEM:
            raise ValueError("no item of a sequence")
        yield _part(value, at + 8, length)
        at += 8 + length


def _sequences(value: bytes, within: RawDataElement) -> Iterator[tuple[int, bytes]]:
    """Yield tag and value of every element of a functional group's item: each is a sequence."""
    at, head = 0, "<HHL" if within.is_implicit_VR else "<HH4sL"
    size = struct.calcsize(head)
    while at < len(value):
        group, element, *representation, length = struct.unpack(head, _part(value, at, size))
        if representation not in ([], [b"SQ\0\0"]):
            raise ValueError("no sequence in a functional group")
        yield group << 16 | element, _part(value, at + size, length)
        at += size + length


def _part(value: bytes, at: int, length: int) -> bytes:
    if at + length > len(value):
        raise ValueError("cut short")
    return value[at : at + length]
