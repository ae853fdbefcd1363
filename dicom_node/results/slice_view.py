"""Slices of the source as a radiologist looks at them, and which of them to look at.

Turned by quarter turns and flips only: axial planes with the patient's right on the left and the front on top,
coronal ones with the right on the left and the head on top, sagittal ones with the front on the left and the head on
top.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from dicom_node.contract import Findings, KeySlice, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results.drawing import Mark, Panel, Points, grey_values
from dicom_node.results.marks import nearest_slice
from dicom_node.results.masks import areas
from dicom_node.results.outline import borders
from dicom_node.results.segmentation import found
from dicom_node.results.source_window import windows

MOST_SLICES: Final = 6
#: Positive and negative directions of the patient axes (LPS).
_LETTERS: Final = ("LR", "PA", "HF")
#: Share of a unit vector from which on a second letter is named.
_OBLIQUE: Final = 0.26
#: By the axis that a plane is seen along: the directions that go right and down (axis, sign).
_SEEN: Final = {0: ((1, 1), (2, -1)), 1: ((0, 1), (2, -1)), 2: ((0, 1), (1, 1))}
_CENTRE: Final = 0.5

Vector = NDArray[np.float64]
_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stored slice becomes the one that is looked at: first exchange rows and columns, then flip.

    Parameters
    ----------
    right, down : (3,) float64, LPS
        Unit vectors of the slice as it is looked at.
    spacing : (float, float)
        mm from row to row and from column to column, of the slice as it is looked at.
    """

    exchanged: bool
    flip_rows: bool
    flip_columns: bool
    right: Vector
    down: Vector
    spacing: tuple[float, float]

    @property
    def edges(self) -> tuple[str, str, str, str]:
        """Return what lies left, right, top and bottom."""
        return letters(-self.right), letters(self.right), letters(-self.down), letters(self.down)

    def array(self, stored: NDArray[_Value]) -> NDArray[_Value]:
        """Return a slice, (row, column), as it is looked at."""
        turned = stored.T if self.exchanged else stored
        return turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def points(self, stored: Points, shape: tuple[int, int]) -> Points:
        """Return points, (n, 2), column and row from the slice's border, as they are looked at."""
        points, (height, width) = stored, shape
        if self.exchanged:
            points, height, width = points[:, ::-1], width, height
        columns, rows = points.T
        columns = width - columns if self.flip_columns else columns
        rows = height - rows if self.flip_rows else rows
        return np.stack([columns, rows], axis=1)


def letters(direction: Vector) -> str:
    """Return a direction in letters, the main one first (PS3.3 C.7.6.1.1.1)."""
    order = [int(axis) for axis in np.argsort(-np.abs(direction))]
    named = [axis for axis in order if axis == order[0] or abs(direction[axis]) > _OBLIQUE]
    return "".join(_LETTERS[axis][0 if direction[axis] > 0 else 1] for axis in named)


def turn_of(source: SourceSeries) -> Turn:
    """Return how the slices of a series are looked at."""
    steps = source.volume.affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    _, down, right = (steps / lengths).T
    (right_axis, right_sign), (down_axis, down_sign) = _SEEN[int(np.abs(np.cross(right, down)).argmax())]
    spacing = (float(lengths[1]), float(lengths[2]))
    exchanged = bool(abs(down[right_axis]) > abs(right[right_axis]))
    if exchanged:
        right, down, spacing = down, right, spacing[::-1]
    flip_columns, flip_rows = bool(right[right_axis] * right_sign < 0), bool(down[down_axis] * down_sign < 0)
    return Turn(
        exchanged,
        flip_rows,
        flip_columns,
        -right if flip_columns else right,
        -down if flip_rows else down,
        (spacing[0], spacing[1]),
    )


def key_slices(findings: Findings, source: SourceSeries, most: int = MOST_SLICES) -> tuple[KeySlice, ...]:
    """Return the slices to look at, in order: the pipeline's own choice, or those that show most of what was found.

    Ours are spread over the slices on which something was found: as many parts as there are to be slices, and of each
    part the slice where the segments are largest, each measured by its own largest area, so that a small one counts
    as much as a large one, and a location as much as a segment.

    Parameters
    ----------
    most : int
        How many slices we choose at most; a pipeline may choose more.
    """
    if findings.key_slices:
        reasons: dict[int, list[str]] = {}
        for each in sorted(findings.key_slices, key=lambda each: each.index):
            reasons.setdefault(each.index, []).append(each.reason)
        return tuple(KeySlice(index, "; ".join(filter(None, said))) for index, said in reasons.items())
    shares = _shares(findings, source)
    covered = np.flatnonzero(shares)
    parts = np.array_split(covered, min(most, max(1, len(covered))))
    return tuple(KeySlice(int(part[shares[part].argmax()]), "") for part in parts if len(part))


def spread(slices: tuple[KeySlice, ...], most: int) -> tuple[KeySlice, ...]:
    """Return at most so many slices: all, or some at equal steps."""
    count = len(slices)
    return slices if count <= most else tuple(slices[(2 * step + 1) * count // (2 * most)] for step in range(most))


def _shares(findings: Findings, source: SourceSeries) -> NDArray[np.float64]:
    """Return, for each slice, how much of what was found it shows."""
    shares = np.zeros(source.volume.spatial_shape[0])
    for of_segment in areas(findings.segments):
        shares += of_segment / max(1, of_segment.max())
    for location in findings.locations:
        shares[nearest_slice(location.point[0], len(shares))] += 1
    return shares


def panels(findings: Findings, source: SourceSeries, slices: Sequence[KeySlice]) -> Iterator[Panel]:
    """Yield each of the slices as it is looked at, with the outlines of `found(findings)` and the locations on it."""
    turn, segments = turn_of(source), found(findings)
    shown = windows(source, [each.index for each in slices])
    for each in slices:
        window = shown[each.index]
        values = turn.array(source.volume.array[each.index])
        grey = grey_values(values, window.darkest, window.brightest)
        height, width = grey.shape
        yield Panel(
            np.ascontiguousarray(255 - grey if window.inverse else grey),
            tuple(_outlines(segment, each.index, turn) for segment in segments),
            turn.edges,
            height * turn.spacing[0],
            width * turn.spacing[1],
            tuple(_marks(findings, each.index, turn, source)),
        )


def _outlines(segment: Segment, index: int, turn: Turn) -> tuple[Points, ...]:
    mask = segment.voxels[index]
    return tuple(turn.points(points, mask.shape) for points in borders(mask))


def _marks(findings: Findings, index: int, turn: Turn, source: SourceSeries) -> Iterator[Mark]:
    slices, *shape = source.volume.spatial_shape
    for location in findings.locations:
        at, row, column = location.point
        if nearest_slice(at, slices) == index:
            ((x, y),) = turn.points(np.array([[column + _CENTRE, row + _CENTRE]]), (shape[0], shape[1]))
            yield Mark(location.label, float(x), float(y))
