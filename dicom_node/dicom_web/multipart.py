"""The body of a STOW-RS request (PS3.18 8.6.1.2): files between boundaries, read while they are sent."""

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from dicom_node.outgoing import OutgoingObject
from dicom_node.pace import Pace

_PIECE: Final = 2**18
_PART: Final = "--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
_END: Final = "--{boundary}--\r\n"
_NEXT: Final = b"\r\n"


class SourceLost(Exception):
    """A stored file cannot be read to its end while it is being sent."""


class TooSlow(Exception):
    """The server takes the body more slowly than any line is."""


class Body:
    """A multipart/related body whose length is known before it is sent.

    Parameters
    ----------
    files : sequence of (OutgoingObject, int)
        The objects, and the size of each file in bytes.
    deadline : float
        When it must have been sent, in seconds of the monotonic clock.
    """

    def __init__(self, files: Sequence[tuple[OutgoingObject, int]], pace: Pace, deadline: float) -> None:
        self._files = files
        self._pace = pace
        self._deadline = deadline
        # random, so that no file holds it: 128 bits
        self._boundary = secrets.token_hex(16)
        self._part = _PART.format(boundary=self._boundary).encode()
        self._end = _END.format(boundary=self._boundary).encode()

    @property
    def content_type(self) -> str:
        """The Content-Type header."""
        return f'multipart/related; type="application/dicom"; boundary={self._boundary}'

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        around = len(self._part) + len(_NEXT)
        return sum(size + around for _, size in self._files) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body piece by piece, at the pace of the destination.

        Raises
        ------
        SourceLost
            If a file has not the bytes that it had.
        TooSlow
            If the deadline has passed.
        """
        for item, size in self._files:
            yield self._part
            for piece in _pieces(item.path, size, self._pace.piece(_PIECE)):
                if time.monotonic() > self._deadline:
                    raise TooSlow
                self._pace.spend(len(piece))
                yield piece
            yield _NEXT
        yield self._end


def _pieces(path: Path, size: int, length: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                raise SourceLost(str(path))
            while piece := file.read(length):
                size -= len(piece)
                yield piece
    except OSError as error:
        raise SourceLost(str(path)) from error
    if size:
        raise SourceLost(str(path))
