"""A mask may be given as a label of a volume that many segments share; nobody who reads it notices."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from dicom_node.contract import LabelMask, Segment
from dicom_node.results.fitting import misfits
from dicom_node.results.masks import occupied, overlap
from tests.label_cases import VALUES, organs, volume
from tests.results_cases import ANATOMY, BRAIN, blob, findings, segment


def test_a_label_reads_as_a_mask() -> None:
    """`mask` is a bool array, whether it was given as one or as a label, by place or by name."""
    labels = volume()
    for each, value in zip(organs(labels), VALUES, strict=True):
        assert each.mask.dtype == np.bool_
        assert np.array_equal(each.mask, labels == value)
        assert np.array_equal(each.voxels[2], labels[2] == value)
    mask = blob()
    by_name = Segment(label="Brain", mask=mask, category=ANATOMY, type=BRAIN, colour_lab=(1.0, 2.0, 3.0))
    assert by_name.mask is mask
    assert by_name.voxels is mask


def test_a_segment_has_a_mask() -> None:
    """There is no default: an outlined structure without an outline is a mistake of its author."""
    with pytest.raises(TypeError, match="mask"):
        Segment("Brain", category=ANATOMY, type=BRAIN, colour_lab=(1.0, 2.0, 3.0))  # type: ignore[call-arg]


def test_a_changed_copy_keeps_its_mask() -> None:
    """`dataclasses.replace` works as on any frozen value."""
    first = organs(volume())[0]
    assert np.array_equal(replace(first, label="Other").mask, first.mask)


def test_many_labels_take_the_memory_of_one_volume() -> None:
    """A hundred segments of one volume never become a hundred masks at once."""
    labels = np.arange(100 * 64 * 64, dtype=np.uint8).reshape(100, 64, 64)
    segments = organs(labels, tuple(range(1, 101)))
    tracemalloc.start()
    drawn = occupied(segments)
    assert not overlap(segments, drawn)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert drawn.shape == (100, 100)
    assert peak < labels.nbytes * 3


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.uint64])
def test_slices_with_voxels_are_found(dtype: type) -> None:
    """Labels of any integer type, and masks beside them, say the same as a look at every voxel."""
    labels = volume(dtype)
    segments = (*organs(labels), segment(), segment("Nothing", np.zeros(labels.shape, dtype=np.bool_)))
    expected = np.array([each.mask.any(axis=(1, 2)) for each in segments])
    assert np.array_equal(occupied(segments), expected)
    assert occupied(()).size == 0


def test_labels_that_cannot_be_counted_are_found() -> None:
    """Negative labels, and labels beyond 16 bits, count as any other."""
    labels = volume(np.int64)
    labels[labels == VALUES[0]] = -7
    labels[labels == VALUES[1]] = 1 << 40
    segments = organs(labels, (-7, 1 << 40, VALUES[2], 5))
    expected = np.array([each.mask.any(axis=(1, 2)) for each in segments])
    assert np.array_equal(occupied(segments), expected)


def test_a_mask_in_another_order_in_memory_is_read_alike() -> None:
    """A transposed or sliced array is as good as a contiguous one."""
    mask = np.asfortranarray(np.pad(blob(), 2))[2:-2, 2:-2, 2:-2]
    assert np.array_equal(occupied((segment(mask=mask),)), blob().any(axis=(1, 2))[None])


def test_overlap_is_found_wherever_it_is() -> None:
    """Labels of one volume never overlap; masks, volumes, and a label used twice may."""
    labels = volume()
    other = np.zeros_like(labels)
    other[5, 0, 0] = 1
    touching = np.roll(other, 1, axis=2)
    touching[4, 2, 3] = 1
    first = organs(labels)[0]
    for segments, expected in (
        (organs(labels), False),
        ((*organs(labels), *organs(other, (1,))), False),
        ((*organs(labels), *organs(touching, (1,))), True),
        ((first, replace(first, label="Again")), True),
        ((first, segment("Rest", ~first.mask)), False),
        ((first, segment("Same", first.mask)), True),
        ((segment(),), False),
    ):
        assert overlap(segments, occupied(segments)) == expected


@pytest.mark.parametrize(
    "labels",
    [np.zeros((6, 20, 23), dtype=np.uint8), np.zeros((6, 20, 24), dtype=np.float32), np.zeros((6, 20, 24), bool)],
)
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray) -> None:
    """A volume of labels has the shape of the source and whole numbers in it."""
    found = findings(Segment("Organ", LabelMask(labels, 1), ANATOMY, BRAIN, (1.0, 2.0, 3.0)))
    (said,) = misfits(found, (6, 20, 24))
    assert said.startswith("'Organ' is a label in ")
