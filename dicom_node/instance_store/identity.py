"""Which instance a received data set is, and whether its bytes are all there."""

import os
import re
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO, Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dicom_node.errors import CannotUnderstand
from dicom_node.instance_store.header import quick_identity
from dicom_node.instance_store.incoming import Incoming

#: PS3.5 9.1: digits and dots, at most 64 characters. Leading zeros are tolerated: old devices write them.
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID: Final = 64
_SOP_CLASS, _SOP_INSTANCE, _MANUFACTURER = 0x00080016, 0x00080018, 0x00080070
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_NAMES: Final = {
    _SOP_CLASS: "SOP Class",
    _SOP_INSTANCE: "SOP Instance",
    _STUDY: "Study Instance",
    _SERIES: "Series Instance",
}
_IDENTITY: Final = (*_NAMES, _MANUFACTURER)
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM_HEAD: Final = 8
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
#: Deflated encodings are inflated no further than this for their identity, however far they would expand.
_INFLATE_LIMIT: Final = 2**24


def is_uid(text: str) -> bool:
    """Return whether a text is a UID and so safe as a file name (PS3.5 9.1)."""
    return len(text) <= _MAX_UID and _UID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a data set says that it is; the manufacturer may be empty."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    manufacturer: str


def identity_of(part: Incoming) -> Identity:
    """Return what a received data set says that it is; values are not decoded, pixels not read.

    Raises
    ------
    CannotUnderstand
        If the bytes are not a whole data set, or one of the four UIDs is missing or not a UID (PS3.5 9.1).
    """
    quick = _quick(part)
    if quick is not None:
        return quick
    try:
        header = _header(part)
    except CannotUnderstand:
        raise
    except Exception as error:  # boundary: damaged bytes make pydicom raise anything
        raise CannotUnderstand("the bytes are not a DICOM data set") from error
    uids = {tag: _text(header, tag) for tag in _IDENTITY}
    for tag, name in _NAMES.items():
        _check_uid(uids[tag], name)
    return Identity(uids[_SOP_CLASS], uids[_SOP_INSTANCE], uids[_STUDY], uids[_SERIES], uids[_MANUFACTURER])


def _quick(part: Incoming) -> Identity | None:
    """Return the identity of a regular data set; None where it takes pydicom to read it, or to say what is wrong."""
    if part.closed or _deflated(part.transfer_syntax_uid):
        return None
    syntax = part.transfer_syntax_uid
    try:
        with part.contents() as (data, start):
            texts = quick_identity(data, start, len(data), syntax)
    except (OSError, ValueError):
        return None
    if texts is None or not all(is_uid(texts.get(tag, "")) for tag in _NAMES):
        return None
    return Identity(
        texts[_SOP_CLASS], texts[_SOP_INSTANCE], texts[_STUDY], texts[_SERIES], texts.get(_MANUFACTURER, "")
    )


def _check_uid(text: str, name: str) -> None:
    if not text:
        raise CannotUnderstand(f"no {name} UID in the data set")
    if not is_uid(text):
        raise CannotUnderstand(f"{name} UID in the data set is not a UID")


def _text(header: Dataset, tag: int) -> str:
    # the raw bytes: converting would warn about, and so quote, whatever is wrong with them
    value = header.get_item(tag).value if tag in header else b""
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value or "")


def _header(part: Incoming) -> Dataset:
    syntax = UID(part.transfer_syntax_uid)
    with part.contents() as (data, start):
        size = len(data)
        file: BinaryIO = BytesIO(data) if isinstance(data, bytearray) else part.path.open("rb")
    with file:
        file.seek(start)
        if not _deflated(part.transfer_syntax_uid):
            return _read(file, syntax, size)
        packed = file.read(_INFLATE_LIMIT)
        plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, _INFLATE_LIMIT)
        whole = max(len(packed), len(plain)) < _INFLATE_LIMIT
        return _read(BytesIO(plain), syntax, len(plain) if whole else None)


@lru_cache(maxsize=256)
def _deflated(transfer_syntax_uid: str) -> bool:
    # pydicom knows one of the three; JPIP Referenced Deflate and its HTJ2K sister are inflated alike (PS3.5 A.5)
    syntax = UID(transfer_syntax_uid)
    return "Deflate" in syntax.name and "Frame" not in syntax.name


def _read(file: BinaryIO, syntax: UID, size: int | None) -> Dataset:
    """Read the identity up to the pixel data, and see that the bytes reach as far as their lengths say."""
    last: list[tuple[int, int, int]] = []

    def at_pixels(tag: BaseTag, _vr: str | None, length: int) -> bool:
        last[:] = [(int(tag), length, file.tell())]
        return tag in _PIXELS

    implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
    header = read_dataset(file, implicit, little, stop_when=at_pixels, specific_tags=list(_IDENTITY))
    if not last:
        raise CannotUnderstand("the data set is empty")
    if size is not None:
        _check_length(file, last[0], size, "<" if little else ">")
    return header


def _check_length(file: BinaryIO, element: tuple[int, int, int], size: int, order: str) -> None:
    tag, length, start = element
    if length != _UNDEFINED and start + length > size:
        raise CannotUnderstand("the data set ends in the middle of an element")
    if length == _UNDEFINED and tag in _PIXELS and not _fragments_end(file, start, size, order):
        raise CannotUnderstand("the pixel data ends in the middle of a fragment")


def _fragments_end(file: BinaryIO, start: int, size: int, order: str) -> bool:
    """Return whether encapsulated pixel data (PS3.5 A.4) reaches its Sequence Delimitation Item."""
    file.seek(start)
    while len(head := file.read(8)) == _ITEM_HEAD:
        group, element, length = struct.unpack(f"{order}HHI", head)
        if group << 16 | element == _SEQUENCE_END:
            return True
        if group << 16 | element != _ITEM or file.tell() + length > size:
            return False
        file.seek(length, os.SEEK_CUR)
    return False
