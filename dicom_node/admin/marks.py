"""What a job marked: where each frame of its Segmentation lies. Frames are decoded when their slice is looked at.

One volume a segment would be gigabytes for a model of a hundred organs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.filereader import read_sequence_item

from dicom_node.admin.looked import Looked
from dicom_node.errors import GeometryUnusable

#: 100 organs on 1000 slices each; where each lies is read from the header in the node's own process.
MOST_FRAMES: Final = 100_000
_PER_FRAME: Final = 0x52009230
_BACKGROUND: Final = 0
#: Tag, VR and length of Pixel Data, explicit VR (PS3.5 7.1.2), as all that this node makes.
_ELEMENT_HEAD: Final = 12
#: In place of a segment's row: the frame holds every segment of its slice.
_ALL: Final = -1


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Where the uncompressed pixels of a Segmentation lie in its file.

    Parameters
    ----------
    offset : int
        Of the first byte.
    bits : int
        Of a pixel: 1 where frames follow each other without a gap (PS3.5 8.1.1), 8 or 16.
    """

    offset: int
    rows: int
    columns: int
    bits: int

    def frame(self, file: BinaryIO, number: int) -> NDArray[np.unsignedinteger]:
        """Return one frame, counted from 0; pydicom 3.0 stumbles over one that begins within a byte."""
        length = self.rows * self.columns * self.bits
        begin, end = number * length, (number + 1) * length
        file.seek(self.offset + begin // 8)
        content = file.read(-(-end // 8) - begin // 8)
        if len(content) < -(-end // 8) - begin // 8:
            raise GeometryUnusable("the file of what was marked is cut short")
        if self.bits > 1:
            return np.frombuffer(content, f"<u{self.bits // 8}").reshape(self.rows, self.columns)
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
        return bits[begin % 8 : begin % 8 + length].reshape(self.rows, self.columns)


@dataclass(frozen=True, slots=True)
class Marks:
    """A Segmentation and the slices of a series that its frames lie on.

    Parameters
    ----------
    numbers : tuple of int
        Segment Number of each segment, in order; without the background of a label map.
    frames : int32, (frame, 3)
        Slice of the series, frame counted from 0, and the segment's place in `numbers`, or -1 in a label map.
    """

    path: Path
    pixels: _Pixels
    numbers: tuple[int, ...]
    frames: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """The bytes of what is kept; no pixels are."""
        return self.frames.nbytes

    def on(self, index: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Yield each segment on a slice: its place among the segments, and its pixels, (row, column) as stored.

        Raises
        ------
        GeometryUnusable
            If the file is gone or cut short.
        """
        found = self.frames[self.frames[:, 0] == index]
        if not len(found):
            return
        with _opened(self.path) as file:
            for number, place in found[:, 1:].tolist():
                frame = self.pixels.frame(file, number)
                if place == _ALL:
                    yield from self._parts(frame)
                else:
                    yield place, frame > 0

    def _parts(self, frame: NDArray[np.unsignedinteger]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        present = set(np.unique(frame).tolist())
        yield from ((place, frame == number) for place, number in enumerate(self.numbers) if number in present)


def labels_of(path: Path) -> tuple[str, ...]:
    """Return the names of the segments; the background of a label map (PS3.3 C.8.20.2.3) is none."""
    with _opened(path) as file:
        seg = dcmread(file, stop_before_pixels=True, specific_tags=["SegmentSequence"])
    return tuple(str(item.SegmentLabel) for item in _segments(seg))


def read_marks(path: Path, looked: Looked, most_frames: int = MOST_FRAMES) -> Marks:
    """Read where the frames of a Segmentation lie.

    Raises
    ------
    GeometryUnusable
        If it has too many, or its file is not in the store.
    """
    with _opened(path) as file:
        seg = dcmread(file, stop_before_pixels=True)
        pixels = _Pixels(file.tell() + _ELEMENT_HEAD, int(seg.Rows), int(seg.Columns), int(seg.BitsAllocated))
    count = int(seg.NumberOfFrames)
    if count > most_frames:
        raise GeometryUnusable(
            f"what was marked has {count:,} frames, and at most {most_frames:,} are shown here; "
            "look at it in the PACS"
        )
    numbers = tuple(int(item.SegmentNumber) for item in _segments(seg))
    if (seg.Rows, seg.Columns) != looked.array.shape[1:]:
        return Marks(path, pixels, numbers, np.empty((0, 3), np.int32))
    places = {number: place for place, number in enumerate(numbers)}
    labelled = seg.SegmentationType == "LABELMAP"
    rows = np.empty((count, 3), np.int32)
    for frame, groups in enumerate(_groups(seg)):
        rows[frame] = _slice_of(groups, looked), frame, _ALL if labelled else places[_number(groups)]
    return Marks(path, pixels, numbers, rows)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise GeometryUnusable("the file of what was marked is not in the store") from error


def _segments(seg: Dataset) -> list[Dataset]:
    return [item for item in seg.SegmentSequence if int(item.SegmentNumber) != _BACKGROUND]


def _number(groups: Dataset) -> int:
    return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _groups(seg: Dataset) -> Iterator[Dataset]:
    """Yield the functional groups of each frame, one in memory at a time: whole, they are large."""
    content = seg.get_item(_PER_FRAME).value
    if not isinstance(content, bytes):
        yield from seg.PerFrameFunctionalGroupsSequence
        return
    stream = BytesIO(content)
    while stream.tell() < len(content):
        item = read_sequence_item(stream, False, True, "utf-8")  # explicit VR, little endian
        if item is None:
            return
        yield item


def _slice_of(groups: Dataset, looked: Looked) -> int:
    """Return which slice of the series a frame lies on (PS3.3 C.7.6.16.2.3, Plane Position)."""
    position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
    step = looked.affine[:3, 0]
    return round(float((position - looked.affine[:3, 3]) @ step / (step @ step)))
