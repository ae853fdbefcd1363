"""The identity of a data set, walked without pydicom: a quick yes for what is regular, no opinion on the rest.

Every received instance passes here, so the walk decodes no value but the five that name the instance. It knows the
uncompressed and encapsulated encodings of PS3.5 (7.1, A.1, A.2, A.3, A.4). What it does not understand it does not
judge: `identity.identity_of` then reads the data set with pydicom and says what is wrong with it.
"""

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct, error
from types import MappingProxyType
from typing import Final

SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
MANUFACTURER: Final = 0x00080070
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E
_WANTED: Final = frozenset({SOP_CLASS, SOP_INSTANCE, MANUFACTURER, STUDY, SERIES})
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
#: PS3.5 7.1.2: these have two reserved bytes and a length of four; the others a length of two.
_LONG: Final = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT: Final = frozenset(
    f"{vr}".encode()
    for vr in "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905 - one line
)
_IMPLICIT: Final = "1.2.840.10008.1.2"
_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
#: Sequences inside sequences, deeper than any IOD nests them.
_DEEPEST: Final = 16


Bytes = bytes | bytearray | mmap.mmap


class _Irregular(Exception):
    """The walk does not understand the bytes."""


@dataclass(frozen=True, slots=True)
class _Encoding:
    """Reads one element header: (data, position, end) to (tag, VR or b"", length, start of the value)."""

    head: Callable[["_Encoding", Bytes, int], tuple[int, bytes, int, int]]
    tag: Struct
    short: Struct
    long: Struct


def _explicit(encoding: _Encoding, data: Bytes, at: int) -> tuple[int, bytes, int, int]:
    group, element, vr, length = encoding.short.unpack_from(data, at)
    if vr in _SHORT:
        return group << 16 | element, vr, length, at + 8
    if vr in _LONG:
        return group << 16 | element, vr, encoding.long.unpack_from(data, at + 8)[0], at + 12
    if group == _ITEM >> 16:
        return _implicit(encoding, data, at)
    raise _Irregular


def _implicit(encoding: _Encoding, data: Bytes, at: int) -> tuple[int, bytes, int, int]:
    group, element, length = encoding.tag.unpack_from(data, at)
    return group << 16 | element, b"", length, at + 8


def _encoding(head: Callable[[_Encoding, Bytes, int], tuple[int, bytes, int, int]], order: str) -> _Encoding:
    return _Encoding(head, Struct(f"{order}HHI"), Struct(f"{order}HH2sH"), Struct(f"{order}I"))


_LITTLE: Final = _encoding(_explicit, "<")
_ENCODINGS: Final[Mapping[str, _Encoding]] = MappingProxyType(
    {_IMPLICIT: _encoding(_implicit, "<"), _BIG_ENDIAN: _encoding(_explicit, ">")}
)


def quick_identity(data: Bytes, start: int, size: int, transfer_syntax_uid: str) -> Mapping[int, str] | None:
    """Return the texts of the identifying elements of a whole, regular data set; None if it may not be one.

    Parameters
    ----------
    data : bytes-like
        The file, or the data set.
    start, size : int
        Where the data set begins and ends in it. Deflated data sets are never regular.

    Returns
    -------
    mapping or None
        Tag to text, without padding. Elements that the data set lacks are absent.
    """
    encoding = _ENCODINGS.get(transfer_syntax_uid, _LITTLE)
    found: dict[int, str] = {}
    try:
        _walk(encoding, data, start, size, found)
    except (_Irregular, error, RecursionError):
        return None
    return found


def _walk(encoding: _Encoding, data: Bytes, at: int, end: int, found: dict[int, str]) -> None:
    """Walk the top level; return at the end of the bytes, or behind whole pixel data."""
    head, last = encoding.head, 0
    while at < end:
        tag, vr, length, at = head(encoding, data, at)
        if tag <= last or tag >> 16 < 8:  # noqa: PLR2004 - group 0008 is the first of a data set (PS3.5 7.1)
            raise _Irregular
        last = tag
        if length == _UNDEFINED:
            at = _fragments(encoding, data, at) if tag in _PIXELS else _sequence(encoding, data, at, vr, 0)
        elif at + length > end:
            raise _Irregular
        else:
            if tag in _WANTED:
                found[tag] = data[at : at + length].decode("ascii", "replace").strip(" \0")
            at += length
        if tag in _PIXELS:
            return


def _fragments(encoding: _Encoding, data: Bytes, at: int) -> int:
    """Return the end of encapsulated pixel data (PS3.5 A.4)."""
    while True:
        tag, _, length, at = _implicit(encoding, data, at)
        if tag == _SEQUENCE_END:
            return at
        at += length
        if tag != _ITEM or at > len(data):
            raise _Irregular


def _sequence(encoding: _Encoding, data: Bytes, at: int, vr: bytes, depth: int) -> int:
    """Return the end of a sequence of undefined length (PS3.5 7.5)."""
    if depth > _DEEPEST or vr == b"UN":  # UN: its inside is Implicit VR Little Endian (PS3.5 6.2.2)
        raise _Irregular
    while True:
        tag, _, length, at = _implicit(encoding, data, at)
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _Irregular
        at = _item(encoding, data, at, depth) if length == _UNDEFINED else at + length


def _item(encoding: _Encoding, data: Bytes, at: int, depth: int) -> int:
    head = encoding.head
    while True:
        tag, vr, length, at = head(encoding, data, at)
        if tag == _ITEM_END:
            return at
        at = _sequence(encoding, data, at, vr, depth + 1) if length == _UNDEFINED else at + length
