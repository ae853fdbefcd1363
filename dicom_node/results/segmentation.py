"""Findings to a DICOM Segmentation (PS3.3 A.51, C.8.20): BINARY, on the source's own grid.

Every frame names its source image, because viewers place frames by that reference; positions, orientation and
spacing are the source's own elements, character by character.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import highdicom as hd
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage
from pydicom.valuerep import DS

from dicom_node import MANUFACTURER
from dicom_node.contract import Algorithm, Findings, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results.objects import BuiltObject, RunContext
from dicom_node.results.provenance import code_item, copy_elements, new_object, own_text, series_number
from dicom_node.results.source_images import (
    image_reference,
    plane_of,
    position_of,
    series_reference,
    source_of,
)

_SEGMENTATION: Final = Code("113076", "DCM", "Segmentation")
_SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")
_LO_LENGTH: Final = 64
_CS_LENGTH: Final = 16
_ONE_BIT: Final = 1

#: (segment number, slice index, row-column mask) of one frame.
_Frame = tuple[int, int, NDArray[np.bool_]]


def found(findings: Findings) -> tuple[Segment, ...]:
    """Return the segments that hold at least one voxel; number n in the SEG is the n-th of these."""
    return tuple(segment for segment in findings.segments if segment.mask.any())


def build_segmentation(
    findings: Findings, source: SourceSeries, run: RunContext, taken: frozenset[int]
) -> BuiltObject:
    """Return the SEG of every segment that was found.

    Parameters
    ----------
    taken : frozenset of int
        Series numbers that the study is known to have.
    """
    image = source.datasets[0]
    dataset = new_object("SEG", SegmentationStorage, image, run, findings.algorithm)
    dataset.SeriesNumber = series_number("SEG", run, taken)
    segments = found(findings)
    frames = [frame for number, segment in enumerate(segments, 1) for frame in _frames(number, segment, run)]
    _add_series(dataset, image, run)
    _add_image(dataset, image, run, frames)
    dataset.SegmentSequence = [
        _description(number, segment, findings.algorithm, run, dataset) for number, segment in enumerate(segments, 1)
    ]
    dataset.SegmentsOverlap = "YES" if _overlap(segments) else "NO"
    dataset.ReferencedSeriesSequence = [series_reference(source.datasets, "ReferencedInstanceSequence")]
    _add_dimensions(dataset, run)
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(source)]
    purposes = _Purposes()
    dataset.PerFrameFunctionalGroupsSequence = [_frame_groups(source, frame, purposes) for frame in frames]
    dataset.PixelData = _packed(frames)
    dataset["PixelData"].VR = "OB"  # PS3.5 A.2: Bits Allocated <= 8
    return BuiltObject("SEG", dataset)


def _frames(number: int, segment: Segment, run: RunContext) -> list[_Frame]:
    kept = np.full(len(segment.mask), run.empty_frames) | segment.mask.any(axis=(1, 2))
    return [(number, int(index), segment.mask[index]) for index in np.flatnonzero(kept)]


def _overlap(segments: Sequence[Segment]) -> bool:
    covered = np.zeros(segments[0].mask.shape, dtype=np.bool_)
    for segment in segments:
        if np.logical_and(covered, segment.mask).any():
            return True
        covered |= segment.mask
    return False


def _add_series(dataset: Dataset, image: Dataset, run: RunContext) -> None:
    """Add General Series and Frame of Reference (PS3.3 C.7.3.1, C.7.4.1)."""
    dataset.SeriesDescription = own_text(f"{run.pipeline_title} (AI, not reviewed)", dataset)[:_LO_LENGTH]
    copy_elements(image, dataset, ("BodyPartExamined", "Laterality", "FrameOfReferenceUID"))
    dataset.PositionReferenceIndicator = image.get("PositionReferenceIndicator", "")


def _add_image(dataset: Dataset, image: Dataset, run: RunContext, frames: Sequence[_Frame]) -> None:
    """Add General Image, Image Pixel and Segmentation Image (PS3.3 C.7.6.1, C.7.6.3, C.8.20.2)."""
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = image.Rows, image.Columns
    dataset.BitsAllocated = dataset.BitsStored = _ONE_BIT
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "00"
    if image.get("LossyImageCompression") == "01":
        copy_elements(
            image, dataset, ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
        )
    dataset.SegmentationType = "BINARY"
    dataset.ContentLabel = re.sub(r"[^A-Z0-9_ ]+", "_", own_text(run.pipeline_title, Dataset()).upper())[:_CS_LENGTH]
    dataset.ContentDescription = own_text(run.settings.notice, dataset)[:_LO_LENGTH]
    dataset.ContentCreatorName = ""
    if run.settings.notice:
        dataset.ImageComments = own_text(run.settings.notice, dataset)


def _description(number: int, segment: Segment, algorithm: Algorithm, run: RunContext, dataset: Dataset) -> Dataset:
    """Return a Segment Sequence item (PS3.3 C.8.20.2, 10.16)."""
    lightness, a, b = segment.colour_lab
    return SegmentDescription(
        segment_number=number,
        segment_label=own_text(segment.label, dataset)[:_LO_LENGTH],
        segmented_property_category=segment.category,
        segmented_property_type=segment.type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=own_text(algorithm.name, dataset)[:_LO_LENGTH],
            family=algorithm.family,
            version=own_text(algorithm.version, dataset)[:_LO_LENGTH],
            source=MANUFACTURER,
            parameters=algorithm_parameters(algorithm),
        ),
        tracking_uid=tracking_uid(number, run),
        tracking_id=own_text(segment.label, dataset),
        anatomic_regions=None if segment.region is None else [segment.region],
        display_color=hd.color.CIELabColor(lightness, a, b),
    )


def tracking_uid(number: int, run: RunContext) -> str:
    """Return the Tracking UID (0062,0021) of a segment, the same in the SEG and in the SR."""
    return run.key.uid(f"tracking.{number}")


def algorithm_parameters(algorithm: Algorithm) -> dict[str, str]:
    """Return what the algorithm ran with, the hash of its weights first."""
    weights = {"weights_sha256": algorithm.weights_sha256} if algorithm.weights_sha256 else {}
    return weights | {name: str(value) for name, value in sorted(algorithm.parameters.items())}


def _add_dimensions(dataset: Dataset, run: RunContext) -> None:
    """Add Multi-frame Dimension (PS3.3 C.7.6.17): by segment, then by position."""
    organization = run.key.uid("seg.dimensions")
    item = Dataset()
    item.DimensionOrganizationUID = organization
    dataset.DimensionOrganizationSequence = [item]
    dataset.DimensionIndexSequence = [
        _dimension(organization, 0x0062000B, 0x0062000A, "ReferencedSegmentNumber"),
        _dimension(organization, 0x00200032, 0x00209113, "ImagePositionPatient"),
    ]


def _dimension(organization: str, pointer: int, group: int, label: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organization
    item.DimensionIndexPointer = pointer
    item.FunctionalGroupPointer = group
    item.DimensionDescriptionLabel = label
    return item


def _shared_groups(source: SourceSeries) -> Dataset:
    """Return Pixel Measures and Plane Orientation (PS3.3 C.7.6.16.2.1, C.7.6.16.2.4), one for all frames."""
    plane = plane_of(*source_of(source, 0))
    orientation, measures, groups = Dataset(), Dataset(), Dataset()
    orientation.add(plane.orientation)
    measures.add(plane.spacing)
    step = DS(float(source.volume.spacing[0]), auto_format=True)
    measures.SliceThickness = step if plane.thickness is None else plane.thickness.value
    measures.SpacingBetweenSlices = step
    groups.PixelMeasuresSequence = [measures]
    groups.PlaneOrientationSequence = [orientation]
    return groups


@dataclass(frozen=True, slots=True)
class _Purposes:
    """The two coded elements that every frame carries, made once per object."""

    derivation: DataElement = field(default_factory=lambda: _coded(0x00089215, _SEGMENTATION))
    reference: DataElement = field(default_factory=lambda: _coded(0x0040A170, _SOURCE_IMAGE))


def _coded(tag: int, code: Code) -> DataElement:
    return DataElement(tag, "SQ", [code_item(code)])


def _frame_groups(source: SourceSeries, frame: _Frame, purposes: _Purposes) -> Dataset:
    """Return what differs from frame to frame (PS3.3 C.7.6.16.2.2, .3, .6; C.8.20.3.1)."""
    number, index, _ = frame
    image, source_frame = source_of(source, index)
    groups, content, position, segment = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [number, index + 1]
    position.add(position_of(image, source_frame))
    segment.ReferencedSegmentNumber = number
    groups.FrameContentSequence = [content]
    groups.PlanePositionSequence = [position]
    groups.SegmentIdentificationSequence = [segment]
    groups.DerivationImageSequence = [_derivation(image, source_frame, purposes)]
    return groups


def _derivation(image: Dataset, source_frame: int, purposes: _Purposes) -> Dataset:
    """Return the item that names a frame's source image: viewers place the frame by it (PS3.3 C.7.6.16.2.6)."""
    reference = image_reference(image, source_frame)
    reference.SpatialLocationsPreserved = "YES"
    reference.add(purposes.reference)
    derivation = Dataset()
    derivation.SourceImageSequence = [reference]
    derivation.add(purposes.derivation)
    return derivation


def _packed(frames: Sequence[_Frame]) -> bytes:
    """Return the bits of all frames, first pixel in the lowest bit, no padding between frames (PS3.5 8.1.1)."""
    bits = np.concatenate([mask.ravel() for _, _, mask in frames])
    packed = np.packbits(bits, bitorder="little").tobytes()
    return packed + b"\0" * (len(packed) % 2)
