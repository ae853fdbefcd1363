"""Outlines of a segment: on two of its slices for the planar groups that viewers draw (TID 1410), or on all of them.

Image coordinates are those of PS3.3 C.10.5 (SCOORD): column then row, in pixels, the top left corner of the first
pixel is (0, 0) and its centre (0.5, 0.5).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_node.contract import LabelMask

#: Longer outlines become bulk data in some archives, which viewers then fail to load.
MOST_POINTS: Final = 100
#: Viewers take an outline of 4 or 5 points for a length or a rectangle and ask whether to track it.
FEWEST_POINTS: Final = 7
_FIRST_TOLERANCE: Final = 0.5  # pixels
_TOLERANCE_STEP: Final = 1.4

Points = NDArray[np.float64]
_Vertex = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Outline:
    """One closed outline.

    Parameters
    ----------
    slice_index : int
        Index along the volume's first axis.
    points : float64, (n, 2), column and row in pixels
        Closed: the last point is the first. FEWEST_POINTS to MOST_POINTS points.
    """

    slice_index: int
    points: Points

    def area(self) -> float:
        """Return the enclosed area in square pixels."""
        return abs(_signed_area(self.points[:-1]))


def outlines(mask: NDArray[np.bool_]) -> tuple[Outline, Outline]:
    """Return the outer outline of the largest component on two slices: where the mask is largest, and its middle.

    Two, because the validator that the IHE AI Results profile is judged by (PixelMed's) takes every group of a report
    with exactly one outline for a planar one, and then refuses the volumetric group. Only for a mask on a single
    slice are the two alike.

    Parameters
    ----------
    mask : bool array, (slice, row, column), not empty

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    areas = mask.sum(axis=(1, 2))
    covered = np.flatnonzero(areas)
    if not len(covered):
        raise ValueError("an empty mask has no outline")
    largest = int(areas.argmax())
    others = covered[covered != largest]
    second = int(others[len(others) // 2]) if len(others) else largest
    return _outline(mask, largest), _outline(mask, second)


def all_outlines(mask: NDArray[np.bool_] | LabelMask, slices: Iterable[int]) -> Iterator[Outline]:
    """Yield every outline on some slices of a mask, (slice, row, column): of each component, and of each hole."""
    for index in slices:
        for corners in _loops(mask[index]):
            yield Outline(index, _fitted(corners))


def borders(mask: NDArray[np.bool_]) -> list[Points]:
    """Return every outline of one slice of a mask, (row, column), with all of its points: for drawing."""
    return [_closed(corners) for corners in _loops(mask)]


def _outline(mask: NDArray[np.bool_], index: int) -> Outline:
    return Outline(index, _fitted(max(_loops(mask[index]), key=_signed_area)))


def _closed(corners: Points) -> Points:
    """Return a closed outline through the middle of every pixel edge; a very short one through its corners too."""
    following = np.roll(corners, -1, axis=0)
    middles = (corners + following) / 2
    points = np.stack([corners, middles], axis=1).reshape(-1, 2) if len(corners) < FEWEST_POINTS else middles
    return np.vstack([points, points[:1]])


def _fitted(corners: Points) -> Points:
    """Return a closed outline with an allowed number of points."""
    closed = _closed(corners)
    tolerance = _FIRST_TOLERANCE
    simpler = closed
    while len(simpler) > MOST_POINTS:
        simpler = _simplified(closed, tolerance)
        tolerance *= _TOLERANCE_STEP
    return _with_enough_points(simpler)


def _with_enough_points(closed: Points) -> Points:
    """Split the longest edges until viewers take the outline for what it is."""
    while len(closed) < FEWEST_POINTS:
        lengths = np.hypot(*np.diff(closed, axis=0).T)
        longest = int(lengths.argmax())
        middle = (closed[longest] + closed[longest + 1]) / 2
        closed = np.insert(closed, longest + 1, middle, axis=0)
    return closed


def _loops(mask: NDArray[np.bool_]) -> list[Points]:
    """Return every border of a mask as pixel corners; outer borders have positive area, holes negative.

    Walks the edges between inside and outside with the inside always on the same hand; where two components touch at
    a corner only, the walk stays on its own (4-connectivity).
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    edges = _edges(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    loops = []
    while edges:
        start = next(iter(edges))
        loops.append(_walk(edges, start) + np.array([columns[0], rows[0]]))
    return loops


def _edges(mask: NDArray[np.bool_]) -> dict[_Vertex, list[_Vertex]]:
    """Return the directed border edges, start corner (column, row) to end corners; inside lies to the right."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (inside & ~padded[:-2, 1:-1], (0, 0), (1, 0)),  # border above: left to right
        (inside & ~padded[1:-1, 2:], (1, 0), (1, 1)),  # border right: downwards
        (inside & ~padded[2:, 1:-1], (1, 1), (0, 1)),  # border below: right to left
        (inside & ~padded[1:-1, :-2], (0, 1), (0, 0)),  # border left: upwards
    )
    edges: dict[_Vertex, list[_Vertex]] = defaultdict(list)
    for border, start, end in sides:
        for row, column in np.argwhere(border).tolist():
            edges[column + start[0], row + start[1]].append((column + end[0], row + end[1]))
    return edges


def _walk(edges: dict[_Vertex, list[_Vertex]], start: _Vertex) -> Points:
    """Follow and use up one loop of edges."""
    loop = [start]
    previous, here = start, _take(edges, start, edges[start][0])
    while here != start:
        loop.append(here)
        ends = edges[here]
        onward = ends[0] if len(ends) == 1 else _turn_inwards(previous, here, ends)
        previous, here = here, _take(edges, here, onward)
    return np.array(loop, dtype=np.float64)


def _take(edges: dict[_Vertex, list[_Vertex]], start: _Vertex, end: _Vertex) -> _Vertex:
    edges[start].remove(end)
    if not edges[start]:
        del edges[start]
    return end


def _turn_inwards(previous: _Vertex, here: _Vertex, ends: list[_Vertex]) -> _Vertex:
    """Return the end that turns right (rows grow downwards), which keeps to the same pixel."""
    ahead = (here[0] - previous[0], here[1] - previous[1])
    right = (here[0] - ahead[1], here[1] + ahead[0])
    return right if right in ends else ends[0]


def _signed_area(points: Points) -> float:
    """Return the shoelace area of an open ring; positive clockwise on the screen (rows grow downwards)."""
    x, y = points[:, 0], points[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _simplified(closed: Points, tolerance: float) -> Points:
    """Return a closed outline with fewer points, none of the dropped ones farther off than the tolerance (pixels).

    Douglas and Peucker's method, started from the first point and the one farthest from it.
    """
    far = int(np.hypot(*(closed - closed[0]).T).argmax())
    keep = np.zeros(len(closed), dtype=np.bool_)
    keep[[0, far, -1]] = True
    spans = [(0, far), (far, len(closed) - 1)]
    while spans:
        first, last = spans.pop()
        middle = _farthest(closed, first, last, tolerance)
        if middle is not None:
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return closed[keep]


def _farthest(points: Points, first: int, last: int, tolerance: float) -> int | None:
    """Return the index of the point between two others that lies farthest from their chord, if beyond tolerance."""
    between = points[first + 1 : last]
    if not len(between):
        return None
    chord = points[last] - points[first]
    offsets = between - points[first]
    length = float(np.hypot(*chord))
    across = np.abs(chord[0] * offsets[:, 1] - chord[1] * offsets[:, 0]) / length if length else np.hypot(*offsets.T)
    index = int(across.argmax())
    return first + 1 + index if across[index] > tolerance else None
