"""Findings to a DICOM Segmentation (PS3.3 A.51, C.8.20), on the source's own grid: BINARY, or a label map.

Every frame names its source image, because viewers place frames by that reference; positions, orientation and
spacing are the source's own elements, character by character.
"""

from collections.abc import Sequence
from typing import Final

import highdicom as hd
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from dicom_node import MANUFACTURER
from dicom_node.contract import Algorithm, Findings, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results.derived_frames import plane_groups
from dicom_node.results.masks import Slices, occupied, overlap
from dicom_node.results.objects import BuiltObject, Making, RunContext
from dicom_node.results.provenance import (
    code_item,
    content_label,
    copy_compression,
    copy_elements,
    new_object,
    own_text,
    series_description,
    series_number,
)
from dicom_node.results.segmentation_frames import Frame, add_frames
from dicom_node.results.segmentation_pixels import bit_planes, label_planes, label_type
from dicom_node.results.source_images import series_reference
from dicom_node.settings import ResultKind

#: PS3.4 B.5; pydicom 3.0 has no name for it.
LABEL_MAP_SEGMENTATION_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.66.7"
_BACKGROUND: Final = Code("125040", "DCM", "Background")
_BLACK: Final = (0.0, 0.0, 0.0)
_PIXEL_PADDING_VALUE: Final = 0x00280120
_LO_LENGTH: Final = 64


def found(findings: Findings) -> tuple[Segment, ...]:
    """Return the segments that hold at least one voxel; number n in the SEG is the n-th of these."""
    drawn = occupied(findings.segments)
    return tuple(segment for segment, slices in zip(findings.segments, drawn, strict=True) if slices.any())


def build_segmentation(making: Making) -> tuple[BuiltObject, ...]:
    """Return the SEG of every segment that was found; nothing, if none was.

    A label map only where the profile wants one and no voxel belongs to two segments, which it could not say.
    """
    findings, source, run = making.findings, making.source, making.run
    segments = found(findings)
    if not segments:
        return ()
    drawn = occupied(segments)
    overlapping = overlap(segments, drawn)
    labelled = run.profile.segmentation == "labelmap" and not overlapping
    sop_class = LABEL_MAP_SEGMENTATION_STORAGE if labelled else SegmentationStorage
    dataset = new_object(ResultKind.SEGMENTATION, sop_class, source.datasets[0], run, findings.algorithm)
    dataset.SeriesNumber = series_number(ResultKind.SEGMENTATION, run, making.taken)
    _add_series(dataset, source.datasets[0], run, findings.algorithm)
    _add_image(dataset, source.datasets[0], run)
    dataset.SegmentSequence = [
        _description(number, segment, findings.algorithm, run, dataset) for number, segment in enumerate(segments, 1)
    ]
    dataset.SegmentsOverlap = "YES" if overlapping else "NO"
    dataset.ReferencedSeriesSequence = [series_reference(source.datasets, "ReferencedInstanceSequence")]
    dataset.SharedFunctionalGroupsSequence = [plane_groups(source)]
    (_add_label_map if labelled else _add_bit_planes)(dataset, source, run, segments, drawn)
    return (BuiltObject(ResultKind.SEGMENTATION, dataset),)


def _add_bit_planes(
    dataset: Dataset, source: SourceSeries, run: RunContext, segments: Sequence[Segment], drawn: Slices
) -> None:
    """Add the pixels of a BINARY Segmentation: one frame for each segment and slice."""
    dataset.SegmentationType = "BINARY"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = 0
    shown = np.argwhere(drawn | run.profile.empty_frames).tolist()
    add_frames(dataset, source, run, [Frame(index, row + 1) for row, index in shown])
    dataset.PixelData = bit_planes(segments[row].voxels[index] for row, index in shown)
    dataset["PixelData"].VR = "OB"  # PS3.5 A.2: Bits Allocated <= 8


def _add_label_map(
    dataset: Dataset, source: SourceSeries, run: RunContext, segments: Sequence[Segment], drawn: Slices
) -> None:
    """Add the pixels of a label map (PS3.3 C.8.20.2.3): one frame for each slice, every value with its segment."""
    kind = label_type(segments)
    dataset.SegmentationType = "LABELMAP"
    dataset.BitsAllocated = dataset.BitsStored = kind.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.add_new(_PIXEL_PADDING_VALUE, "US", 0)
    dataset.SegmentSequence.insert(0, _background(dataset.SegmentSequence[0]))
    shown = np.flatnonzero(drawn.any(axis=0) | run.profile.empty_frames).tolist()
    add_frames(dataset, source, run, [Frame(index) for index in shown])
    dataset.PixelData = label_planes(segments, drawn, shown)
    dataset["PixelData"].VR = "OB" if kind.itemsize == 1 else "OW"  # PS3.5 A.2


def _add_series(dataset: Dataset, image: Dataset, run: RunContext, algorithm: Algorithm) -> None:
    """Add General Series and Frame of Reference (PS3.3 C.7.3.1, C.7.4.1)."""
    dataset.SeriesDescription = series_description(ResultKind.SEGMENTATION, run, algorithm, dataset)
    copy_elements(image, dataset, ("BodyPartExamined", "Laterality", "FrameOfReferenceUID"))
    dataset.PositionReferenceIndicator = image.get("PositionReferenceIndicator", "")


def _add_image(dataset: Dataset, image: Dataset, run: RunContext) -> None:
    """Add General Image, Image Pixel and Segmentation Image (PS3.3 C.7.6.1, C.7.6.3, C.8.20.2)."""
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.Rows, image.Columns
    dataset.PixelRepresentation = 0
    copy_compression(image, dataset)
    dataset.ContentLabel = content_label(run.pipeline_title)
    dataset.ContentDescription = own_text(run.notice, dataset)[:_LO_LENGTH]
    dataset.ContentCreatorName = ""
    if run.notice:
        dataset.ImageComments = own_text(run.notice, dataset)


def _description(number: int, segment: Segment, algorithm: Algorithm, run: RunContext, dataset: Dataset) -> Dataset:
    """Return a Segment Sequence item (PS3.3 C.8.20.2, 10.16)."""
    description = SegmentDescription(
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
            parameters={
                own_text(name, dataset): own_text(text, dataset)
                for name, text in algorithm_parameters(algorithm).items()
            },
        ),
        tracking_uid=tracking_uid(number, run),
        tracking_id=own_text(segment.label, dataset),
        anatomic_regions=None if segment.region is None else [segment.region],
        display_color=hd.color.CIELabColor(*segment.colour_lab),
    )
    _add_laterality(description, segment.laterality)
    return description


def _add_laterality(description: Dataset, laterality: Code | None) -> None:
    """Say the side of the region, or of the property type where there is no region (PS3.3 10.5, C.8.20.4)."""
    if laterality is None:
        return
    if "AnatomicRegionSequence" in description:
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [code_item(laterality)]
    else:
        described = description.SegmentedPropertyTypeCodeSequence[0]
        described.SegmentedPropertyTypeModifierCodeSequence = [code_item(laterality)]


def _background(other: Dataset) -> Dataset:
    """Return the item of value 0, which a label map has too: each value needs one (PS3.3 C.8.20.2.3)."""
    item = Dataset()
    item.SegmentNumber = 0
    item.SegmentLabel = "Background"
    item.SegmentedPropertyCategoryCodeSequence = [code_item(_BACKGROUND)]
    item.SegmentedPropertyTypeCodeSequence = [code_item(_BACKGROUND)]
    item.SegmentAlgorithmType = other.SegmentAlgorithmType
    item.SegmentAlgorithmName = other.SegmentAlgorithmName
    item.RecommendedDisplayCIELabValue = list(hd.color.CIELabColor(*_BLACK).value)
    return item


def tracking_uid(number: int, run: RunContext) -> str:
    """Return the Tracking UID (0062,0021) of a segment, the same in the SEG and in the SR."""
    return run.key.uid(f"tracking.{number}")


def algorithm_parameters(algorithm: Algorithm) -> dict[str, str]:
    """Return what the algorithm ran with, the hash of its weights first."""
    weights = {"weights_sha256": algorithm.weights_sha256} if algorithm.weights_sha256 else {}
    return weights | {name: str(value) for name, value in sorted(algorithm.parameters.items())}
