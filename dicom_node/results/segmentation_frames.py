"""What describes each frame: its source image, place and segment (PS3.3 C.7.6.16), and in which order they lie.

A Segmentation of a hundred organs has thousands of frames. As data sets of pydicom they would take seconds and
hundreds of megabytes, so what a slice or a segment contributes is encoded once, and each frame's item is put together
from that. The sequence stays encoded, as pydicom keeps a sequence of a file until somebody asks for it.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sr.coding import Code
from pydicom.tag import Tag

from dicom_node.geometry import SourceSeries
from dicom_node.results.objects import RunContext
from dicom_node.results.provenance import code_item
from dicom_node.results.source_images import image_reference, position_of, source_of

_SEGMENTATION: Final = Code("113076", "DCM", "Segmentation")
_SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")
_PER_FRAME: Final = Tag(0x52009230)
_ITEM: Final = (0xFFFE, 0xE000)
_DIMENSION_INDEX_VALUES: Final = 0x00209157
#: Pointer, functional group, and name of what frames are ordered by.
_BY_SEGMENT: Final = (0x0062000B, 0x0062000A, "ReferencedSegmentNumber")
_BY_POSITION: Final = (0x00200032, 0x00209113, "ImagePositionPatient")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a Segmentation.

    Parameters
    ----------
    index : int
        The slice of the volume that it lies on.
    segment : int or None
        The number of the one segment that it shows; None in a label map, which shows all.
    """

    index: int
    segment: int | None = None


def add_frames(dataset: Dataset, source: SourceSeries, run: RunContext, frames: Sequence[Frame]) -> None:
    """Add Number of Frames, Multi-frame Dimension and Per-Frame Functional Groups (PS3.3 C.7.6.16, C.7.6.17).

    Parameters
    ----------
    dataset : Dataset
        With File Meta Information and Specific Character Set, both as they will be written.
    frames : sequence of Frame
        All with a segment, ordered by segment and then slice, or all without, ordered by slice.
    """
    dataset.NumberOfFrames = len(frames)
    _add_dimensions(dataset, run, by_segment=frames[0].segment is not None)
    implicit = dataset.file_meta.TransferSyntaxUID.is_implicit_VR
    value = _encoded_items(source, frames, implicit=implicit)
    dataset[_PER_FRAME] = RawDataElement(_PER_FRAME, "SQ", len(value), value, 0, implicit, is_little_endian=True)
    _keep_encoded(dataset, implicit=implicit)


def _keep_encoded(dataset: Dataset, *, implicit: bool) -> None:
    """Say how the encoded element is encoded: equal to what is asked for, it will be written as it is."""
    known = "SpecificCharacterSet" in dataset
    encodings = convert_encodings(dataset.SpecificCharacterSet) if known else default_encoding
    dataset.set_original_encoding(implicit, is_little_endian=True, character_encoding=encodings)


def _add_dimensions(dataset: Dataset, run: RunContext, *, by_segment: bool) -> None:
    organization = Dataset()
    organization.DimensionOrganizationUID = run.key.uid("seg.dimensions")
    dataset.DimensionOrganizationSequence = [organization]
    dimensions = (_BY_SEGMENT, _BY_POSITION) if by_segment else (_BY_POSITION,)
    dataset.DimensionIndexSequence = [_dimension(organization.DimensionOrganizationUID, *each) for each in dimensions]


def _dimension(organization: str, pointer: int, group: int, label: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organization
    item.DimensionIndexPointer = pointer
    item.FunctionalGroupPointer = group
    item.DimensionDescriptionLabel = label
    return item


def _encoded_items(source: SourceSeries, frames: Sequence[Frame], *, implicit: bool) -> bytes:
    """Return the value of Per-Frame Functional Groups Sequence: items of explicit length (PS3.5 7.5)."""
    encoded = partial(_encoded, implicit=implicit)
    purposes = _Purposes()
    indices = {frame.index for frame in frames}
    derivations = {index: encoded(_derivation_image(source, index, purposes)) for index in indices}
    positions = {index: encoded(_plane_position(source, index)) for index in indices}
    segments = {number: encoded(_segment_identification(number)) for number in {frame.segment for frame in frames}}
    ranks = {index: rank for rank, index in enumerate(sorted(indices), 1)}
    content = encoded(_frame_content(frames[0], ranks)).removesuffix(_dimension_indices(frames[0], ranks))
    items = []
    for frame in frames:
        # in the order of their tags
        groups = (
            derivations[frame.index],
            content + _dimension_indices(frame, ranks),
            positions[frame.index],
            segments[frame.segment],
        )
        items.append(struct.pack("<HHL", *_ITEM, sum(map(len, groups))))
        items.extend(groups)
    return b"".join(items)


def _encoded(dataset: Dataset, *, implicit: bool) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class _Purposes:
    """The two coded elements that every frame carries, made once per object."""

    derivation: DataElement = field(default_factory=lambda: _coded(0x00089215, _SEGMENTATION))
    reference: DataElement = field(default_factory=lambda: _coded(0x0040A170, _SOURCE_IMAGE))


def _coded(tag: int, code: Code) -> DataElement:
    return DataElement(tag, "SQ", [code_item(code)])


def _derivation_image(source: SourceSeries, index: int, purposes: _Purposes) -> Dataset:
    """Return the group that names the source image: viewers place the frame by it (PS3.3 C.7.6.16.2.6)."""
    image, source_frame = source_of(source, index)
    reference = image_reference(image, source_frame)
    reference.SpatialLocationsPreserved = "YES"
    reference.add(purposes.reference)
    derivation, groups = Dataset(), Dataset()
    derivation.SourceImageSequence = [reference]
    derivation.add(purposes.derivation)
    groups.DerivationImageSequence = [derivation]
    return groups


def _plane_position(source: SourceSeries, index: int) -> Dataset:
    """Return the group that says where the frame lies (PS3.3 C.7.6.16.2.3), as the source image says it."""
    position, groups = Dataset(), Dataset()
    position.add(position_of(*source_of(source, index)))
    groups.PlanePositionSequence = [position]
    return groups


def _segment_identification(number: int | None) -> Dataset:
    """Return the group that names the segment (PS3.3 C.8.20.3.1); a frame of a label map has none."""
    segment, groups = Dataset(), Dataset()
    if number is not None:
        segment.ReferencedSegmentNumber = number
        groups.SegmentIdentificationSequence = [segment]
    return groups


def _frame_content(frame: Frame, ranks: Mapping[int, int]) -> Dataset:
    """Return the group that says where in the order of all frames this one comes (PS3.3 C.7.6.16.2.2)."""
    content, groups = Dataset(), Dataset()
    content.add_new(_DIMENSION_INDEX_VALUES, "UL", list(_order(frame, ranks)))
    groups.FrameContentSequence = [content]
    return groups


def _order(frame: Frame, ranks: Mapping[int, int]) -> tuple[int, ...]:
    """Return ordinal numbers, each from 1 and without gaps over all frames (PS3.3 C.7.6.17.1)."""
    rank = ranks[frame.index]
    return (rank,) if frame.segment is None else (frame.segment, rank)


def _dimension_indices(frame: Frame, ranks: Mapping[int, int]) -> bytes:
    """Return the value of Dimension Index Values, encoded."""
    order = _order(frame, ranks)
    return struct.pack(f"<{len(order)}L", *order)
