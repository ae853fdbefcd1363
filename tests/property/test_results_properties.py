"""For any geometry and any mask: every voxel lies where its source voxel lies, and bytes follow from the job."""

from io import BytesIO

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from scipy import ndimage

from dicom_node.contract import LabelMask, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results import build, check, encode
from dicom_node.results.outline import FEWEST_POINTS, MOST_POINTS, outlines
from tests.results_cases import ANATOMY, BRAIN, ROLE, findings, profile, run_context, segment, source_series

Mask = NDArray[np.bool_]

angles = st.floats(-180, 180)
lengths = st.floats(0.3, 6).map(lambda value: round(value, 4))
places = st.floats(-400, 400).map(lambda value: round(value, 4))
shapes = st.tuples(st.integers(1, 5), st.integers(2, 9), st.integers(2, 9))
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def orientation_of(yaw: float, pitch: float, roll: float) -> tuple[float, ...]:
    """Return direction cosines of rows and columns for any rotation (degrees)."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    rotation = about_z @ about_y @ about_x
    return tuple(np.concatenate([rotation[:, 0], rotation[:, 1]]).tolist())


@st.composite
def cases(draw: st.DrawFn) -> tuple[SourceSeries, Mask]:
    shape = draw(shapes)
    mask = draw(arrays.arrays(np.bool_, shape).filter(np.any))
    source = source_series(
        shape,
        orientation_of(draw(angles), draw(angles), draw(angles)),
        (draw(lengths), draw(lengths), draw(lengths)),
        (draw(places), draw(places), draw(places)),
        enhanced=draw(st.booleans()),
    )
    return source, mask


def seg_points(seg: Dataset) -> NDArray[np.float64]:
    """Return the LPS position (mm) of every voxel of a SEG, read with pydicom alone."""
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    points = [
        np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        + column * spacing[1] * cosines[:3]
        + row * spacing[0] * cosines[3:]
        for frame, groups in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True)
        for row, column in np.argwhere(frame)
    ]
    return np.array(points)


@SLOW
@given(cases())
def test_every_voxel_lies_on_its_source_voxel(case: tuple[SourceSeries, Mask]) -> None:
    """Any oblique geometry, classic or Enhanced: each SEG voxel is within 1e-3 mm of the voxel that was found."""
    source, mask = case
    objects = build(findings(segment(mask=mask)), {ROLE: source}, run_context())
    check(objects, {ROLE: source})
    points = seg_points(dcmread(BytesIO(encode(objects[0]))))
    indices = np.argwhere(mask)
    expected = indices @ source.volume.affine[:3, :3].T + source.volume.affine[:3, 3]
    assert points.shape == expected.shape
    assert np.abs(points - expected).max() < 1e-3


@st.composite
def labelled(draw: st.DrawFn) -> tuple[SourceSeries, NDArray[np.uint8]]:
    source, mask = draw(cases())
    return source, np.where(mask, draw(arrays.arrays(np.uint8, mask.shape, elements=st.integers(0, 3))), 0)


@SLOW
@given(labelled(), st.sampled_from(["binary", "labelmap"]), st.booleans(), st.sampled_from(["explicit", "implicit"]))
def test_every_label_is_read_where_it_was_found(
    case: tuple[SourceSeries, NDArray[np.uint8]], form: str, empty_frames: bool, transfer_syntax: str
) -> None:
    """Either form, read with pydicom alone, has on each source image exactly the labels that were found there."""
    source, labels = case
    assume(labels.any())
    segments = [Segment(f"{n}", LabelMask(labels, n), ANATOMY, BRAIN, (50.0, 0.0, 0.0)) for n in (1, 2, 3)]
    run = run_context(profile=profile(segmentation=form, empty_frames=empty_frames, transfer_syntax=transfer_syntax))
    objects = build(findings(*segments), {ROLE: source}, run)
    check(objects, {ROLE: source})
    seg = dcmread(BytesIO(encode(objects[0])))
    assert seg.SegmentationType == form.upper()
    # segments without a voxel are left out, so numbers are not labels
    labels_of = {item.SegmentNumber: int(item.SegmentLabel) for item in seg.SegmentSequence if item.SegmentNumber}
    read = np.zeros_like(labels)
    for pixels, groups in zip(
        seg.pixel_array.reshape(-1, *labels.shape[1:]), seg.PerFrameFunctionalGroupsSequence, strict=True
    ):
        (index,) = [i for i in range(len(labels)) if image_of(source, i) == named(groups)]
        only = groups.get("SegmentIdentificationSequence")
        numbers = [only[0].ReferencedSegmentNumber] if only else labels_of
        for number in numbers:
            read[index][pixels == (1 if only else number)] = labels_of[number]
    assert np.array_equal(read, labels)


def image_of(source: SourceSeries, index: int) -> tuple[str, int | None]:
    """Return UID and, of a multi-frame image, frame number of a slice."""
    frame = source.frames[index]
    image = source.datasets[frame.dataset]
    return image.SOPInstanceUID, frame.frame if "NumberOfFrames" in image else None


def named(groups: Dataset) -> tuple[str, int | None]:
    """Return UID and, if there is one, frame number of the source image that a frame names."""
    reference = groups.DerivationImageSequence[0].SourceImageSequence[0]
    return reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber")


@SLOW
@given(cases(), st.booleans())
def test_the_same_job_gives_the_same_bytes(case: tuple[SourceSeries, Mask], empty_frames: bool) -> None:
    """Built twice from the same findings, files are identical: sending again is harmless."""
    source, mask = case
    run = run_context(profile=profile(empty_frames=empty_frames))
    first, again = (
        [encode(each) for each in build(findings(segment(mask=mask)), {ROLE: source}, run)] for _ in range(2)
    )
    assert first == again


@settings(max_examples=200, deadline=None)
@given(arrays.arrays(np.bool_, st.tuples(st.just(1), st.integers(1, 8), st.integers(1, 8))).filter(np.any))
def test_an_outline_encloses_the_largest_component(mask: Mask) -> None:
    """The outline's area is that of the largest component with its holes filled, less its cut corners."""
    outline, _ = outlines(mask)
    points = outline.points
    assert FEWEST_POINTS <= len(points) <= MOST_POINTS
    assert points[0].tolist() == points[-1].tolist()
    assert points.min() >= 0
    assert (points.max(axis=0) <= mask.shape[:0:-1]).all()
    labels, count = ndimage.label(mask[0])
    # a pixel that touches the outside at a corner only is outside: the outline goes around it
    filled = [ndimage.binary_fill_holes(labels == n, np.ones((3, 3))).sum() for n in range(1, count + 1)]
    # the outline of three pixels or more runs through the middle of pixel edges and cuts its corners
    assert outline.area() == max(filled) - (0.5 if max(filled) > 2 else 0)
