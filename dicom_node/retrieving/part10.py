"""A DICOM file that arrives in pieces (PS3.10 7.1): its File Meta Information first, then its data set."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from typing import Final

from pydicom.filereader import read_dataset

from dicom_node.errors import CannotUnderstand

_PREAMBLE: Final = 132
#: The group length (0002,0000) itself: tag, VR, length and value.
_GROUP_LENGTH: Final = 12
_LONGEST_META: Final = 2**16


@dataclass(frozen=True, slots=True)
class ArrivingFile:
    """What a file says that it holds, and the bytes of its data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: Iterator[bytes]


def arriving(pieces: Iterator[bytes]) -> ArrivingFile:
    """Return what arrives.

    Raises
    ------
    CannotUnderstand
        If it is no DICOM file.
    """
    buffer = bytearray()
    _fill(buffer, pieces, _PREAMBLE + _GROUP_LENGTH)
    if bytes(buffer[128:132]) != b"DICM" or bytes(buffer[132:138]) != b"\x02\x00\x00\x00UL":
        raise CannotUnderstand("it is no DICOM file with File Meta Information")
    length = int.from_bytes(buffer[140:144], "little")
    end = _PREAMBLE + _GROUP_LENGTH + length
    if length > _LONGEST_META:
        raise CannotUnderstand("its File Meta Information is too long")
    _fill(buffer, pieces, end)
    try:
        meta = read_dataset(BytesIO(bytes(buffer[_PREAMBLE:end])), is_implicit_VR=False, is_little_endian=True)
        sop_class, sop_instance, syntax = (str(meta[tag].value) for tag in (0x00020002, 0x00020003, 0x00020010))
    except Exception as error:  # boundary: damaged bytes make pydicom raise anything
        raise CannotUnderstand("its File Meta Information cannot be read") from error
    return ArrivingFile(sop_class, sop_instance, syntax, chain([bytes(buffer[end:])], pieces))


def _fill(buffer: bytearray, pieces: Iterator[bytes], size: int) -> None:
    while len(buffer) < size:
        piece = next(pieces, b"")
        if not piece:
            raise CannotUnderstand("it ends before its data set")
        buffer += piece
