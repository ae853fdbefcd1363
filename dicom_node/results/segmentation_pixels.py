"""Pixel Data (7FE0,0010) of a Segmentation: bit planes, or a map of labels."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_node.contract import Segment
from dicom_node.results.masks import Slices

#: As many frames as certainly fill whole bytes, whatever their number of pixels.
_BLOCK: Final = 8
_MOST_OF_ONE_BYTE: Final = 255


def bit_planes(planes: Iterable[NDArray[np.bool_]]) -> bytes:
    """Return the bits of all frames, first pixel in the lowest bit, no padding between frames (PS3.5 8.1.1)."""
    frames = iter(planes)
    blocks = []
    while block := list(islice(frames, _BLOCK)):
        blocks.append(np.packbits(np.stack(block), bitorder="little").tobytes())
    return _even(b"".join(blocks))


def label_type(segments: Sequence[Segment]) -> np.dtype[np.unsignedinteger]:
    """Return the smallest type of a label map that can hold the number of every segment (PS3.3 C.8.20.2)."""
    return np.dtype(np.uint8 if len(segments) <= _MOST_OF_ONE_BYTE else "<u2")


def label_planes(segments: Sequence[Segment], drawn: Slices, slices: Iterable[int]) -> bytes:
    """Return one frame for each slice, every pixel the number of its segment, 0 where there is none.

    Parameters
    ----------
    drawn : bool, (segment, slice)
        Which segments hold voxels of which slice; no two hold the same voxel.
    """
    return _even(b"".join(_label_plane(segments, drawn, index).tobytes() for index in slices))


def _label_plane(segments: Sequence[Segment], drawn: Slices, index: int) -> NDArray[np.unsignedinteger]:
    plane = np.zeros(segments[0].voxels[index].shape, dtype=label_type(segments))
    for row in np.flatnonzero(drawn[:, index]).tolist():
        np.putmask(plane, segments[row].voxels[index], row + 1)
    return plane


def _even(pixels: bytes) -> bytes:
    return pixels + b"\0" * (len(pixels) % 2)  # PS3.5 7.1.1
