"""DIMSE command sets (PS3.7 6.3.1, E.1) and their PDUs, without pydicom: a dozen elements, always the same.

Command sets are in Implicit VR Little Endian. The group length (0000,0000) is not trusted: the PDV that is marked as
last ends a command set, whatever the length says.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from dicom_node.storage_scp.upper_layer import ProtocolFault

COMMAND: Final = 1  # bits of the message control header (PS3.8 E.2)
LAST: Final = 2

_HEAD: Final = struct.Struct("<HHI")
_US: Final = struct.Struct("<H")
_PDU: Final = struct.Struct(">BxIIBB")
_PDV_OVERHEAD: Final = 6
_NO_DATA_SET: Final = 0x0101
_RESPONSE: Final = 0x8000
#: VR of UIDs is at most this long; a longer one cannot be repeated in a response.
_MAX_UID: Final = 64
#: Error Comment (0000,0902) has VR LO.
_MAX_COMMENT: Final = 64


class Field(IntEnum):
    """Values of Command Field (0000,0100) that are treated one by one (PS3.7 E.1)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF


@dataclass(frozen=True, slots=True)
class Command:
    """One received request.

    Parameters
    ----------
    has_data_set : bool
        Whether a data set follows, under the same presentation context.
    """

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def decode(data: bytes) -> Command:
    """Return the request that a command set holds.

    Raises
    ------
    ProtocolFault
        If it is none: damaged, a response, or without the elements that every request has.
    """
    values = _elements(data)
    try:
        field, message_id = _US.unpack(values[0x0100])[0], _US.unpack(values.get(0x0110, b"\0\0"))[0]
        data_set_type = _US.unpack(values[0x0800])[0]
    except (KeyError, struct.error):
        raise ProtocolFault("the command set lacks a mandatory element") from None
    if field & _RESPONSE:
        raise ProtocolFault("a response to nothing")
    sop_class = values.get(0x0002) or values.get(0x0003, b"")
    sop_instance = values.get(0x1000) or values.get(0x1001, b"")
    return Command(field, message_id, _uid(sop_class), _uid(sop_instance), data_set_type != _NO_DATA_SET)


def _elements(data: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        try:
            group, element, length = _HEAD.unpack_from(data, at)
        except struct.error:
            raise ProtocolFault("the command set ends in the middle of an element") from None
        at += _HEAD.size
        if group != 0 or at + length > end:
            raise ProtocolFault("the command set is damaged")
        values[element] = data[at : at + length]
        at += length
    return values


def _uid(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


def response(request: Command, status: int, comment: str = "") -> bytes:
    """Return the command set of the response to a request (PS3.7 9.3.1.2, 9.3.5.2)."""
    body = _element(0x0002, _padded(request.sop_class_uid, b"\0")) if _repeatable(request.sop_class_uid) else b""
    body += _element(0x0100, _US.pack(request.field | _RESPONSE))
    body += _element(0x0120, _US.pack(request.message_id))
    body += _element(0x0800, _US.pack(_NO_DATA_SET))
    body += _element(0x0900, _US.pack(status))
    if comment:
        body += _element(0x0902, _padded(error_comment(comment), b" "))
    if _repeatable(request.sop_instance_uid):
        body += _element(0x1000, _padded(request.sop_instance_uid, b"\0"))
    return _element(0x0000, struct.pack("<I", len(body))) + body


def error_comment(text: str) -> str:
    """Return what Error Comment (0000,0902, VR LO) can hold of a text: one line of ASCII without backslash."""
    return printable(text)[:_MAX_COMMENT].replace("\\", "/")


def printable(text: str) -> str:
    """Return a text without anything that is not printable ASCII."""
    return "".join(
        character if character.isascii() and character.isprintable() else "?" for character in text
    ).strip()


def _repeatable(uid: str) -> bool:
    return 0 < len(uid) <= _MAX_UID and uid.isascii()


def _padded(text: str, pad: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    return value + pad * (len(value) % 2)


def _element(element: int, value: bytes) -> bytes:
    return _HEAD.pack(0, element, len(value)) + value


def p_data(context_id: int, command_set: bytes, maximum_length: int) -> bytes:
    """Return a command set as P-DATA-TF PDUs that the peer is willing to take (PS3.8 9.3.5, D.1; 0: any length)."""
    size = max(maximum_length - _PDV_OVERHEAD, 1) if maximum_length else len(command_set)
    pieces = [command_set[at : at + size] for at in range(0, len(command_set), size)]
    last = len(pieces) - 1
    return b"".join(_one(context_id, piece, last=number == last) for number, piece in enumerate(pieces))


def _one(context_id: int, piece: bytes, *, last: bool) -> bytes:
    control = COMMAND | LAST if last else COMMAND
    return _PDU.pack(4, len(piece) + _PDV_OVERHEAD, len(piece) + 2, context_id, control) + piece
