"""A label map says the same as bit planes, where no voxel belongs to two segments (DICOM Supplement 243)."""

from dataclasses import replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import SegmentationStorage

from dicom_node.contract import Findings
from dicom_node.entities import derived_uid
from dicom_node.geometry import SourceSeries
from dicom_node.results import build, check, encode
from tests.label_cases import VALUES, organs, volume
from tests.results_cases import ROLE, findings, profile, run_context, segment, source_series

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


def label_map_of(found: Findings | None = None, source: SourceSeries | None = None, **changes: object) -> Dataset:
    """Build, pass the gate, encode and read a label map again."""
    source = source or source_series()
    run = run_context(profile=profile(**({"segmentation": "labelmap"} | changes)))
    objects = build(found or findings(*organs(volume())), {ROLE: source}, run)
    check(objects, {ROLE: source})
    return dcmread(BytesIO(encode(objects[0])))


def test_every_value_has_its_segment() -> None:
    """PS3.3 C.8.20.2.3: each value encoded has an item, the background too; Pixel Padding Value says which it is."""
    seg = label_map_of()
    assert (seg.SOPClassUID, seg.file_meta.MediaStorageSOPClassUID) == (LABEL_MAP, LABEL_MAP)
    assert (seg.SegmentationType, seg.SegmentsOverlap, seg.PixelPaddingValue) == ("LABELMAP", "NO", 0)
    assert [item.SegmentNumber for item in seg.SegmentSequence] == [0, 1, 2, 3]
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Background", *(f"Organ {v}" for v in VALUES)]
    assert "TrackingUID" not in seg.SegmentSequence[0]


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("transfer_syntax", ["explicit", "implicit"])
def test_pixels_are_segment_numbers(enhanced: bool, transfer_syntax: str) -> None:
    """One frame for each slice that has a voxel; each pixel is the number of its segment."""
    labels = volume()
    seg = label_map_of(source=source_series(enhanced=enhanced), transfer_syntax=transfer_syntax)
    expected = np.zeros_like(labels)
    for number, value in enumerate(VALUES, 1):
        expected[labels == value] = number
    assert seg.NumberOfFrames == 4
    assert np.array_equal(seg.pixel_array, expected[1:5])


def test_an_independent_reader_finds_the_same_in_both_forms() -> None:
    """Highdicom reads equal masks from label map and bit planes, asked by source image."""
    source = source_series()
    uids = [image.SOPInstanceUID for image in source.datasets]
    forms = [
        hd.seg.Segmentation.from_dataset(label_map_of(source=source, segmentation=form))
        for form in ("binary", "labelmap")
    ]
    both = [each.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True) for each in forms]
    assert np.array_equal(*both)
    assert np.array_equal(both[0][..., 1], volume() == VALUES[1])


def test_segments_that_overlap_become_bit_planes() -> None:
    """A pixel of a label map has one value only: what it could not say is sent in the form that can."""
    seg = label_map_of(findings(segment(), segment("Inside")))
    assert (seg.SOPClassUID, seg.SegmentationType, seg.SegmentsOverlap) == (SegmentationStorage, "BINARY", "YES")


def test_masks_that_do_not_overlap_become_one_map() -> None:
    """Masks of their own are as good as labels."""
    first, *_ = organs(volume())
    seg = label_map_of(findings(segment("One", first.mask), segment("Rest", ~first.mask)))
    assert seg.SegmentationType == "LABELMAP"
    assert set(np.unique(seg.pixel_array)) == {1, 2}


def test_frames_without_a_voxel_are_there_if_asked_for() -> None:
    """A destination that needs all slices gets them in this form too."""
    assert label_map_of(empty_frames=True).NumberOfFrames == 6


def test_many_segments_need_two_bytes() -> None:
    """PS3.3 C.8.20.2: 8 bits hold 255 segments, 16 bits the rest; words are written as OW (PS3.5 A.2)."""
    labels = np.arange(6 * 20 * 24, dtype=np.int32).reshape(6, 20, 24)
    few, many = (
        label_map_of(replace(findings(*organs(labels, tuple(range(1, count + 1)))), measurements=()), kinds=("SEG",))
        for count in (255, 256)
    )
    assert (few.BitsAllocated, few.HighBit, few["PixelData"].VR) == (8, 7, "OB")
    assert (many.BitsAllocated, many.HighBit, many["PixelData"].VR) == (16, 15, "OW")
    assert few.pixel_array.max() == 255
    assert many.pixel_array.max() == 256


def test_it_is_what_highdicom_writes() -> None:
    """The image itself is highdicom's, element by element: form, background, frames, their order, their pixels."""
    source = source_series()
    ours = label_map_of(source=source)
    theirs = hd.seg.Segmentation(
        source_images=source.datasets,
        pixel_array=ours_to_labels(ours),
        segmentation_type="LABELMAP",
        segment_descriptions=[
            hd.seg.SegmentDescription.from_dataset(item) for item in list(ours.SegmentSequence)[1:]
        ],
        series_instance_uid=derived_uid("theirs"),
        series_number=1,
        sop_instance_uid=derived_uid("their object"),
        instance_number=1,
        manufacturer="theirs",
        manufacturer_model_name="theirs",
        software_versions="1",
        device_serial_number="1",
    )
    for keyword in (
        "SOPClassUID", "SegmentationType", "SegmentsOverlap", "PixelPaddingValue", "BitsAllocated", "BitsStored",
        "HighBit", "PixelRepresentation", "PhotometricInterpretation", "SamplesPerPixel", "NumberOfFrames", "Rows",
        "Columns", "ImageType", "PixelData",
    ):  # fmt: skip
        assert ours[keyword].value == theirs[keyword].value, keyword
    assert ours.SegmentSequence[0] == theirs.SegmentSequence[0]
    pointers = [[item.DimensionIndexPointer for item in each.DimensionIndexSequence] for each in (ours, theirs)]
    assert pointers[0] == pointers[1]
    for frame, their_frame in zip(
        ours.PerFrameFunctionalGroupsSequence, theirs.PerFrameFunctionalGroupsSequence, strict=True
    ):
        assert frame.keys() == their_frame.keys()


def ours_to_labels(seg: Dataset) -> np.ndarray:
    """Return the label map on all six slices."""
    labels = np.zeros((6, 20, 24), dtype=np.uint8)
    labels[1:5] = seg.pixel_array
    return labels
