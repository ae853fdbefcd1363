"""A stored Part 10 file (PS3.10 7.1), and where its data set begins."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.errors import InvalidDicomError
from pynetdicom.dsutils import split_dataset

_PREAMBLE: Final = 128
_PREFIX: Final = b"DICM"
_META: Final = _PREAMBLE + len(_PREFIX)
_GROUP: Final = b"\x02\x00"
_SHORT: Final = struct.Struct("<HH2sH")
_LONG: Final = struct.Struct("<HH2sxxI")
_LONG_VRS: Final = frozenset({b"OB", b"UN", b"UT", b"OW"})
#: File Meta Information of any system is shorter; what is longer is left to pydicom.
_LOOK: Final = 4096


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An open file: the data set is `size` bytes from `offset` on."""

    descriptor: int
    offset: int
    size: int


@contextmanager
def opened(path: Path) -> Iterator[StoredFile]:
    """Open a Part 10 file to send its data set as it is.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or is no Part 10 file.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        offset = _data_set(path, os.pread(descriptor, _LOOK, 0))
        yield StoredFile(descriptor, offset, os.fstat(descriptor).st_size - offset)
    finally:
        os.close(descriptor)


def _data_set(path: Path, head: bytes) -> int:
    """Return where the data set begins: where File Meta Information says so and ends; else where pydicom finds it."""
    if head[_PREAMBLE:_META] != _PREFIX:
        raise ValueError("not a DICOM file")
    at = _META
    length = 0
    while head[at : at + 2] == _GROUP and at + _LONG.size <= len(head):
        _, element, vr, size = _SHORT.unpack_from(head, at)
        if element == 0:
            length = int.from_bytes(head[at + _SHORT.size : at + _SHORT.size + size], "little")
        if vr in _LONG_VRS:
            at += _LONG.unpack_from(head, at)[3] + _LONG.size
        else:
            at += size + _SHORT.size
        if at == _META + _SHORT.size + 4 + length:
            return at
    try:
        return int(split_dataset(path)[1])
    except (InvalidDicomError, EOFError, AttributeError, struct.error) as error:
        raise ValueError("not a DICOM file") from error
