"""The gate refuses every label map that could be read wrongly."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, build, check
from dicom_node.settings import ResultKind
from tests.label_cases import organs, volume
from tests.results_cases import ROLE, findings, profile, run_context, source_series

Corrupt = Callable[[Dataset], object]


def built(source: SourceSeries, form: str = "labelmap") -> tuple[BuiltObject, ...]:
    run = run_context(profile=profile(segmentation=form))
    objects = build(findings(*organs(volume())), {ROLE: source}, run)
    return tuple(replace(each, dataset=deepcopy(each.dataset)) for each in objects)


def put(**values: object) -> Corrupt:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def _no_padding(dataset: Dataset) -> None:
    del dataset.PixelPaddingValue


def _no_background(dataset: Dataset) -> None:
    """What makes some viewers draw the right colours, and the object wrong."""
    del dataset.SegmentSequence[0]


def _other_background(dataset: Dataset) -> None:
    item = dataset.SegmentSequence[0]
    item.SegmentedPropertyTypeCodeSequence = deepcopy(dataset.SegmentSequence[1].SegmentedPropertyTypeCodeSequence)


def _unnamed_value(dataset: Dataset) -> None:
    pixels = np.frombuffer(dataset.PixelData, np.uint8).copy()
    pixels[5] = 77
    dataset.PixelData = pixels.tobytes()


def _unused_segment(dataset: Dataset) -> None:
    item = deepcopy(dataset.SegmentSequence[1])
    item.SegmentNumber = 4
    dataset.SegmentSequence.append(item)


def _named_segment(dataset: Dataset) -> None:
    item = Dataset()
    item.ReferencedSegmentNumber = 1
    dataset.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence = [item]


def _twice(dataset: Dataset) -> None:
    frames = dataset.PerFrameFunctionalGroupsSequence
    for keyword in ("DerivationImageSequence", "PlanePositionSequence"):
        setattr(frames[1], keyword, deepcopy(getattr(frames[0], keyword)))


CASES: tuple[tuple[str, Corrupt, str], ...] = (
    ("form", put(SegmentationType="BINARY"), "SegmentationType is not LABELMAP"),
    ("form", put(SOPClassUID=SegmentationStorage), "SegmentationType is not BINARY"),
    ("form", put(SegmentsOverlap="YES"), "SegmentsOverlap is not NO"),
    ("form", put(PhotometricInterpretation="PALETTE COLOR"), "PhotometricInterpretation is not MONOCHROME2"),
    ("form", put(PixelRepresentation=1), "PixelRepresentation is not 0"),
    ("form", put(BitsStored=7), "not whole bytes or words"),
    ("form", put(BitsAllocated=32), "not whole bytes or words"),
    ("form", _no_padding, "PixelPaddingValue is not 0"),
    ("pixels", put(BitsAllocated=16), "PixelData has 1920 bytes, not 3840"),
    ("pixels", put(PixelData=b"\1\0"), "PixelData has 2 bytes"),
    ("frames", _twice, "frame 2 shows what another frame shows"),
    ("segments", _no_background, "segments are numbered [1, 2, 3], not 0 to 2"),
    ("segments", _other_background, "segment 0 is not the background"),
    ("segments", _unnamed_value, "frames show segments [0, 1, 2, 3, 77], but [0, 1, 2, 3] are described"),
    ("segments", _unused_segment, "frames show segments [0, 1, 2, 3], but [0, 1, 2, 3, 4] are described"),
    ("segments", _named_segment, "frames of a label map name a segment"),
)


@pytest.mark.parametrize(("name", "change", "said"), CASES)
def test_a_corrupted_label_map_is_refused_with_its_reason(name: str, change: Corrupt, said: str) -> None:
    """One fault, and the object stays here; the sentence names the check and what is wrong."""
    source = source_series()
    objects = built(source)
    check(objects, {ROLE: source})
    change(objects[0].dataset)
    with pytest.raises(WrongObject) as caught:
        check(objects, {ROLE: source})
    assert f"SEG, {name}: " in str(caught.value)
    assert said in str(caught.value)


def test_a_report_never_names_the_background() -> None:
    """The report of a label map refers to its segments under its own SOP class, and never to number 0."""
    source = source_series()
    seg, report = built(source)
    named = [
        reference
        for item in _walk(report.dataset)
        for reference in item.get("ReferencedSOPSequence", ())
        if reference.ReferencedSOPInstanceUID == seg.sop_instance_uid
    ]
    assert [reference.ReferencedSegmentNumber for reference in named] == [1, 2, 3]
    assert {reference.ReferencedSOPClassUID for reference in named} == {seg.sop_class_uid}
    named[0].ReferencedSegmentNumber = 0
    with pytest.raises(WrongObject, match=r"a segment of .* is referred to that it does not have"):
        check((seg, report), {ROLE: source})


def _walk(item: Dataset) -> list[Dataset]:
    children = list(item.get("ContentSequence", ()))
    return [each for child in children for each in (child, *_walk(child))]


def test_bit_planes_that_show_a_segment_twice_on_a_slice_are_refused() -> None:
    """Two frames for one segment and one source image contradict each other, or say nothing."""
    source = source_series()
    objects = built(source, "binary")
    _twice(objects[0].dataset)
    with pytest.raises(WrongObject, match="SEG, frames: frame 2 shows what another frame shows"):
        check(objects, {ROLE: source})


def test_a_label_map_goes_with_every_other_kind() -> None:
    """A presentation state is looked at beside a label map as beside bit planes: both may leave."""
    source = source_series()
    run = run_context(profile=profile(segmentation="labelmap", kinds=tuple(ResultKind)))
    objects = build(findings(*organs(volume())), {ROLE: source}, run)
    check(objects, {ROLE: source})
    assert {ResultKind.SEGMENTATION, ResultKind.PRESENTATION_STATE} <= {each.kind for each in objects}


def test_lines_where_a_label_map_has_no_pixel_are_refused() -> None:
    """A line around a segment lies on a slice only if the label map has a pixel of that segment there."""
    source = source_series()
    run = run_context(profile=profile(segmentation="labelmap", kinds=tuple(ResultKind)))
    objects = build(findings(*organs(volume())), {ROLE: source}, run)
    (label_map,) = (each.dataset for each in objects if each.kind is ResultKind.SEGMENTATION)
    pixels = np.frombuffer(label_map.PixelData, np.uint8).copy()
    pixels[pixels == 1] = 2
    label_map.PixelData = pixels.tobytes()
    with pytest.raises(WrongObject, match="PR, segments: segment 1 is not outlined where the SEG has it"):
        check(objects, {ROLE: source})
