"""Which segment holds voxels of which slice, and do segments overlap; never with all masks in memory at once."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dicom_node.contract import LabelMask, Segment

#: Labels below this are counted; others, and negative ones, are sorted, which takes ten times as long.
_COUNTABLE: Final = 1 << 16

Slices = NDArray[np.bool_]


def occupied(segments: Sequence[Segment]) -> Slices:
    """Return bool, (segment, slice): whether the segment holds a voxel of the slice.

    A volume of labels is looked through once, however many segments share it.
    """
    if not segments:
        return np.zeros((0, 0), dtype=np.bool_)
    drawn = np.zeros((len(segments), _slices(segments[0])), dtype=np.bool_)
    sharing: dict[int, list[int]] = defaultdict(list)
    for row, segment in enumerate(segments):
        if isinstance(segment.voxels, LabelMask):
            sharing[id(segment.voxels.labels)].append(row)
        else:
            drawn[row] = _any(segment.voxels)
    for rows in sharing.values():
        drawn[rows] = _labelled([segments[row].voxels for row in rows])
    return drawn


def areas(segments: Sequence[Segment]) -> NDArray[np.int64]:
    """Return (segment, slice): how many voxels of the slice the segment holds."""
    if not segments:
        return np.zeros((0, 0), dtype=np.int64)
    counted = np.zeros((len(segments), _slices(segments[0])), dtype=np.int64)
    sharing: dict[int, list[int]] = defaultdict(list)
    for row, segment in enumerate(segments):
        if isinstance(segment.voxels, LabelMask):
            sharing[id(segment.voxels.labels)].append(row)
        else:
            counted[row] = np.count_nonzero(segment.voxels, axis=(1, 2))
    for rows in sharing.values():
        counted[rows] = _counted([segments[row].voxels for row in rows])
    return counted


def _counted(masks: Sequence[Any]) -> NDArray[np.int64]:
    """Return (mask, slice), for masks of one volume of labels."""
    counts = [_counts(plane) for plane in masks[0].labels]
    return np.array([[each.get(mask.value, 0) for each in counts] for mask in masks])


def _counts(plane: NDArray[np.integer[Any]]) -> dict[int, int]:
    """Return every value that occurs, and how often."""
    if plane.size and plane.min() >= 0 and plane.max() < _COUNTABLE:
        times = np.bincount(plane.ravel().astype(np.intp))
        return {value: int(times[value]) for value in np.flatnonzero(times).tolist()}
    values, several = np.unique(plane, return_counts=True)
    return dict(zip(values.tolist(), several.tolist(), strict=True))


def _slices(segment: Segment) -> int:
    voxels = segment.voxels
    return len(voxels.labels if isinstance(voxels, LabelMask) else voxels)


def _any(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each slice whether it holds a voxel; the largest of bytes is found faster than any true one."""
    octets = np.ascontiguousarray(mask).view(np.uint8).reshape(len(mask), -1)
    return octets.max(axis=1, initial=0).astype(np.bool_)


def _labelled(masks: Sequence[Any]) -> Slices:
    """Return bool, (mask, slice), for masks of one volume of labels."""
    values = np.array([mask.value for mask in masks])
    return np.stack([np.isin(values, _values(plane)) for plane in masks[0].labels], axis=1)


def _values(plane: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return every value that occurs."""
    if plane.size and plane.min() >= 0 and plane.max() < _COUNTABLE:
        return np.flatnonzero(np.bincount(plane.ravel().astype(np.intp)))
    return np.unique(plane)


def overlap(segments: Sequence[Segment], drawn: Slices) -> bool:
    """Return True if a voxel belongs to two segments.

    Parameters
    ----------
    drawn : bool, (segment, slice)
        As `occupied` returns it.
    """
    if _one_volume(segments):
        return False
    return any(_overlap(segments, int(index), drawn) for index in np.flatnonzero(drawn.sum(axis=0) > 1))


def _one_volume(segments: Sequence[Segment]) -> bool:
    """Return True if all segments are different labels of one volume."""
    labels = {(id(each.voxels.labels), each.voxels.value) for each in segments if isinstance(each.voxels, LabelMask)}
    return len(labels) == len(segments) and len({volume for volume, _ in labels}) == 1


def _overlap(segments: Sequence[Segment], index: int, drawn: Slices) -> bool:
    planes = [segments[row].voxels[index] for row in np.flatnonzero(drawn[:, index]).tolist()]
    return bool(np.sum(planes, axis=0, dtype=np.uint16).max() > 1)
