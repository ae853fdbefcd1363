"""Wherever a series lies and however its files are ordered, every voxel is where its own header says."""

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from dicom_node.geometry import SourceSeries, load_series
from tests.series_cases import Floats, Stack, classic, enhanced, reread

Placement = tuple[Floats, Floats, Floats]
#: Millimetres between the affine's and the header's position of a voxel.
TOLERANCE_MM = 1e-3


def _rotation(quaternion: Sequence[float]) -> Floats:
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


_component = st.floats(-1, 1, allow_nan=False)
_rotations = (
    st.tuples(_component, _component, _component, _component)
    .filter(lambda quaternion: np.linalg.norm(quaternion) > 0.1)
    .map(_rotation)
)
_spacings = st.tuples(st.floats(0.4, 8), st.floats(0.2, 3), st.floats(0.2, 3))
_origins = st.tuples(*[st.floats(-300, 300)] * 3).map(np.array)


@st.composite
def stacks(draw: Callable[[st.SearchStrategy], object]) -> Stack:
    """Return a stack of 2 to 7 slices, obliquely placed."""
    shape = {name: draw(st.integers(2, 7)) for name in ("slices", "rows", "columns")}
    return Stack.of(**shape, rotation=draw(_rotations), origin=draw(_origins), spacing=draw(_spacings))


def _header_placement(dataset: Dataset, frame: int) -> Placement:
    """Return position, orientation (2 x 3) and spacing of one frame, read straight from its header."""
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        source = position = dataset
        measures = dataset
    else:
        shared = dataset.SharedFunctionalGroupsSequence[0]
        source, measures = shared.PlaneOrientationSequence[0], shared.PixelMeasuresSequence[0]
        position = dataset.PerFrameFunctionalGroupsSequence[frame - 1].PlanePositionSequence[0]
    orientation = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
    return np.array(position.ImagePositionPatient, float), orientation, np.array(measures.PixelSpacing, float)


def _largest_error(series: SourceSeries) -> float:
    """Return the largest distance (mm) between the affine's and PS3.3 C.7.6.2.1.1's position of any voxel."""
    shape = series.volume.spatial_shape
    rows, columns = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    worst = 0.0
    for index, source in enumerate(series.frames):
        position, (along_row, along_column), spacing = _header_placement(
            series.datasets[source.dataset], source.frame
        )
        expected = (
            position + columns[..., None] * spacing[1] * along_row + rows[..., None] * spacing[0] * along_column
        )
        indices = np.stack([np.full_like(rows, index), rows, columns], axis=-1)
        found = indices @ series.volume.affine[:3, :3].T + series.volume.affine[:3, 3]
        worst = max(worst, float(np.linalg.norm(found - expected, axis=-1).max()))
    return worst


@settings(max_examples=80, deadline=None)
@given(stacks(), st.randoms(use_true_random=False))
def test_each_voxel_of_a_classic_series_lies_where_its_own_header_says(stack: Stack, random: object) -> None:
    """The affine gives every voxel the position of PS3.3 C.7.6.2.1.1 within 1e-3 mm, whatever the file order."""
    datasets = [reread(dataset) for dataset in classic(stack)]
    random.shuffle(datasets)
    series = load_series(datasets)
    assert _largest_error(series) < TOLERANCE_MM


@settings(max_examples=80, deadline=None)
@given(stacks(), st.randoms(use_true_random=False))
def test_each_voxel_of_an_enhanced_image_lies_where_its_own_frame_says(stack: Stack, random: object) -> None:
    """The same for frames of one Enhanced image in any order, each with its own pixel value transformation."""
    order = list(range(len(stack.stored)))
    random.shuffle(order)
    series = load_series([reread(enhanced(stack, order))])
    assert _largest_error(series) < TOLERANCE_MM
    for values, source in zip(series.volume.array, series.frames, strict=True):
        index = order[source.frame - 1]
        np.testing.assert_array_equal(values, stack.stored[index] * np.float32(index + 1) - 3)


@settings(max_examples=40, deadline=None)
@given(stacks(), st.randoms(use_true_random=False))
def test_file_order_changes_neither_volume_nor_sources(stack: Stack, random: object) -> None:
    """Arrival order is an accident: array, affine and the source of every slice are the same for any order."""
    first = load_series([reread(dataset) for dataset in classic(stack)])
    shuffled = [reread(dataset) for dataset in classic(stack)]
    random.shuffle(shuffled)
    second = load_series(shuffled)
    np.testing.assert_array_equal(first.volume.array, second.volume.array)
    np.testing.assert_array_equal(first.volume.affine, second.volume.affine)
    assert first.frames == second.frames
    assert [dataset.SOPInstanceUID for dataset in first.datasets] == [
        dataset.SOPInstanceUID for dataset in second.datasets
    ]


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_each_slice_holds_the_pixels_of_its_source(stack: Stack) -> None:
    """`frames` leads from each slice to the very image whose pixels it holds."""
    stored = {dataset.SOPInstanceUID: stack.stored[index] for index, dataset in enumerate(classic(stack))}
    series = load_series([reread(dataset) for dataset in classic(stack)])
    for values, source in zip(series.volume.array, series.frames, strict=True):
        np.testing.assert_array_equal(values, stored[series.datasets[source.dataset].SOPInstanceUID])
