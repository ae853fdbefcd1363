"""Outlines that delimit nothing: around a place that was found, and around images that are meant as a whole.

Viewers draw a measurement group only where it has coordinates, fail on one without any, and take a single point for
something to be tracked. So what has no outline of its own gets one, and the group says in words that it is none.
"""

from typing import Final

import numpy as np

from dicom_node.contract import Findings, Location
from dicom_node.geometry import SourceSeries
from dicom_node.results.outline import Outline, Points

_CORNERS: Final = 16
_RADIUS_MM: Final = 4.0
#: A ring narrower than this hides what it marks.
_FEWEST_PIXELS: Final = 3.0
#: From a voxel's index to its centre in image coordinates.
_HALF: Final = 0.5
#: How far a frame stays inside the image, as a share of its smaller side.
_INSET: Final = 0.02
#: Cosines may differ in their last bit from one processor to the next; the bytes of a report must not.
_DECIMALS: Final = 2


def ring(location: Location, source: SourceSeries) -> Outline:
    """Return a small ring around a location, on the slice nearest to it; cut off where the image ends."""
    slices, rows, columns = source.volume.spatial_shape
    _, row_mm, column_mm = source.volume.spacing
    radius_mm = max(_RADIUS_MM, _FEWEST_PIXELS * max(row_mm, column_mm))
    at, row, column = location.point
    angles = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    x = column + _HALF + radius_mm / column_mm * np.cos(angles)
    y = row + _HALF + radius_mm / row_mm * np.sin(angles)
    points = np.clip(np.stack([x, y], axis=1), 0, (columns, rows)).round(_DECIMALS)
    return Outline(nearest_slice(at, slices), _closed(points))


def nearest_slice(at: float, slices: int) -> int:
    """Return the index of the slice that a place between slices lies on."""
    return min(max(round(at), 0), slices - 1)


def frame(findings: Findings, source: SourceSeries) -> Outline:
    """Return a frame just inside one image: the pipeline's first key slice, or the middle slice."""
    slices, rows, columns = source.volume.spatial_shape
    index = findings.key_slices[0].index if findings.key_slices else slices // 2
    inset = round(_INSET * min(rows, columns), _DECIMALS)
    left, top, right, bottom = inset, inset, columns - inset, rows - inset
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)
    # with the middle of each side: a rectangle of five points would be taken for one to be tracked
    middles = (corners + np.roll(corners, -1, axis=0)) / 2
    return Outline(index, _closed(np.stack([corners, middles], axis=1).reshape(-1, 2)))


def _closed(points: Points) -> Points:
    return np.vstack([points, points[:1]])
