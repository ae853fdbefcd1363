"""Marks of many segments, as label map and as bit planes: named and coloured as they are, in little memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.admin.looked import Looked
from dicom_node.admin.marks import labels_of, read_marks
from dicom_node.contract import LabelMask, Segment
from dicom_node.errors import GeometryUnusable
from dicom_node.geometry import SourceSeries
from dicom_node.results.objects import Making, encode
from dicom_node.results.segmentation import build_segmentation
from dicom_node.results.slice_view import turn_of
from dicom_node.results.source_window import windows
from tests.results_cases import ANATOMY, BRAIN, ROLE, findings, profile, run_context, source_series

_SEGMENTS = 104
#: No whole number of bytes in a frame.
_SHAPE = (9, 299, 341)


def _volume() -> NDArray[np.uint8]:
    """Return organs one beside the other: columns of small boxes, none of them on the first slice."""
    labels = np.zeros(_SHAPE, np.uint8)
    for number in range(_SEGMENTS):
        row, column = divmod(number, 16)
        labels[1 + number % 4 : 6 + number % 4, 10 * row : 10 * row + 7, 5 * column : 5 * column + 4] = number + 1
    return labels


def _organs(labels: NDArray[np.uint8]) -> tuple[Segment, ...]:
    return tuple(
        Segment(f"Organ {number}", LabelMask(labels, number), ANATOMY, BRAIN, (60.0, 40.0, 30.0))
        for number in range(1, _SEGMENTS + 1)
    )


def _looked(source: SourceSeries) -> Looked:
    array = source.volume.array
    of_slices = tuple(windows(source, range(len(array))).values())
    return Looked(array, source.volume.affine, turn_of(source), of_slices, 0.0, 1.0)


def _written(folder: Path, kind: str, segments: tuple[Segment, ...]) -> tuple[Path, Looked]:
    source = source_series(_SHAPE)
    run = run_context(profile=profile(segmentation=kind))
    (built,) = build_segmentation(Making(findings(*segments), {ROLE: source}, run, frozenset()))
    path = folder / "seg.dcm"
    path.write_bytes(encode(built))
    return path, _looked(source)


@pytest.mark.parametrize("kind", ["labelmap", "binary"])
def test_each_segment_has_its_name_its_colour_and_its_pixels(tmp_path: Path, kind: str) -> None:
    """The background of a label map (PS3.3 C.8.20.2.3) is no segment, so it moves no name and no colour."""
    labels = _volume()
    path, looked = _written(tmp_path, kind, _organs(labels))
    assert labels_of(path) == tuple(f"Organ {number}" for number in range(1, _SEGMENTS + 1))
    marks = read_marks(path, looked)
    for index in range(_SHAPE[0]):
        found = dict(marks.on(index))
        assert set(found) == {number - 1 for number in np.unique(labels[index]).tolist() if number}
        for place, mask in found.items():
            assert (mask == (labels[index] == place + 1)).all()
    assert not list(marks.on(0))
    assert not list(marks.on(_SHAPE[0]))


def test_segments_that_overlap_are_all_marked(tmp_path: Path) -> None:
    """A label map could not say it: two organs share pixels, and each has its own."""
    labels = _volume()
    first, second = labels == 1, (labels == 1) | (labels == 2)
    segments = tuple(
        Segment(name, mask, ANATOMY, BRAIN, (60.0, 40.0, 30.0)) for name, mask in (("A", first), ("B", second))
    )
    path, looked = _written(tmp_path, "labelmap", segments)
    found = dict(read_marks(path, looked).on(3))
    assert (found[0] == first[3]).all()
    assert (found[1] == second[3]).all()


@pytest.mark.parametrize("kind", ["labelmap", "binary"])
def test_many_segments_take_little_memory(tmp_path: Path, kind: str) -> None:
    """While a slice is looked at, less than four volumes of labels, not one for each of 104; kept, less than one."""
    path, looked = _written(tmp_path, kind, _organs(_volume()))
    tracemalloc.start()
    try:
        marks = read_marks(path, looked)
        assert sum(1 for _ in marks.on(4)) > 50
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    one = int(np.prod(_SHAPE))
    assert marks.nbytes < one
    assert peak < 4 * one, f"{peak / one:.1f} volumes"


def test_what_is_too_large_is_refused_in_words(tmp_path: Path) -> None:
    """How many frames, and what to do; a file that is gone is told, too."""
    path, looked = _written(tmp_path, "binary", _organs(_volume()))
    with pytest.raises(GeometryUnusable, match=r"has 520 frames, and at most 500 are shown here; look at it in the"):
        read_marks(path, looked, 500)
    with pytest.raises(GeometryUnusable, match="not in the store"):
        labels_of(tmp_path / "gone.dcm")
