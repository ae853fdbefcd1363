"""PDUs of an association requestor (PS3.8 9.3; PS3.7 Annex D.3.3): what is proposed, and what came of it."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
_HEAD: Final = struct.Struct(">BxI")
_ITEM: Final = struct.Struct(">BxH")
_FIXED: Final = 68  # bytes of an A-ASSOCIATE body before its items
_ACCEPTED: Final = 0
_MAXIMUM_LENGTH: Final = struct.Struct(">I")


class Pdu(IntEnum):
    """PDU types (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class _Item(IntEnum):
    """Item types of an A-ASSOCIATE (PS3.8 9.3.2, 9.3.3; PS3.7 D.3.3)."""

    APPLICATION_CONTEXT = 0x10
    PROPOSED_CONTEXT = 0x20
    ANSWERED_CONTEXT = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS_UID = 0x52
    IMPLEMENTATION_VERSION_NAME = 0x55


class MalformedPdu(ValueError):
    """A PDU is not what its type says."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """One presentation context to ask for (PS3.8 7.1.1.13)."""

    sop_class_uid: str
    transfer_syntax_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an A-ASSOCIATE-AC says.

    Parameters
    ----------
    accepted : mapping of (SOP class, transfer syntax) to int
        Presentation context IDs.
    refused : sequence of (str, int)
        SOP class and Result/Reason (PS3.8 Table 9-18) of each context that was not accepted.
    maximum_length : int
        Of PDUs that the acceptor takes, in bytes; 0: any.
    """

    accepted: Mapping[tuple[str, str], int]
    refused: Sequence[tuple[str, int]]
    maximum_length: int


def pdu(kind: Pdu, body: bytes) -> bytes:
    """Return one PDU (PS3.8 9.3.1)."""
    return _HEAD.pack(kind, len(body)) + body


def _item(kind: _Item, body: bytes) -> bytes:
    return _ITEM.pack(kind, len(body)) + body


def associate_rq(calling: str, called: str, proposed: Sequence[Proposed], maximum_length: int) -> bytes:
    """Return an A-ASSOCIATE-RQ (PS3.8 9.3.2); the context IDs are 1, 3, 5 and so on."""
    items = [_item(_Item.APPLICATION_CONTEXT, _APPLICATION_CONTEXT.encode())]
    for number, context in enumerate(proposed):
        syntaxes = b"".join(_item(_Item.TRANSFER_SYNTAX, uid.encode()) for uid in context.transfer_syntax_uids)
        abstract = _item(_Item.ABSTRACT_SYNTAX, context.sop_class_uid.encode())
        body = struct.pack(">Bxxx", _context_id(number)) + abstract + syntaxes
        items.append(_item(_Item.PROPOSED_CONTEXT, body))
    ourselves = (
        _item(_Item.MAXIMUM_LENGTH, _MAXIMUM_LENGTH.pack(maximum_length))
        + _item(_Item.IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_CLASS_UID.encode())
        + _item(_Item.IMPLEMENTATION_VERSION_NAME, IMPLEMENTATION_VERSION_NAME.encode())
    )
    items.append(_item(_Item.USER_INFORMATION, ourselves))
    titles = called.ljust(16).encode() + calling.ljust(16).encode()
    return pdu(Pdu.ASSOCIATE_RQ, struct.pack(">Hxx", 1) + titles + bytes(32) + b"".join(items))


def _context_id(number: int) -> int:
    return 2 * number + 1


def agreed(body: bytes, proposed: Sequence[Proposed]) -> Agreed:
    """Return what the body of an A-ASSOCIATE-AC says to a proposal (PS3.8 9.3.3).

    Raises
    ------
    MalformedPdu
        If it is damaged.
    """
    if len(body) < _FIXED:
        raise MalformedPdu("an acceptance that ends before its items")
    asked = {_context_id(number): context for number, context in enumerate(proposed)}
    accepted: dict[tuple[str, str], int] = {}
    refused: list[tuple[str, int]] = []
    maximum_length = 0
    for kind, content in _items(body, _FIXED):
        if kind == _Item.ANSWERED_CONTEXT:
            number, result, syntax = _answered_context(content)
            context = asked.pop(number, None)
            if context is None:
                raise MalformedPdu("a presentation context was answered that was not proposed")
            if result == _ACCEPTED and syntax in context.transfer_syntax_uids:
                accepted[context.sop_class_uid, syntax] = number
            else:
                refused.append((context.sop_class_uid, result))
        elif kind == _Item.USER_INFORMATION:
            sizes = [value for inner, value in _items(content, 0) if inner == _Item.MAXIMUM_LENGTH]
            maximum_length = _MAXIMUM_LENGTH.unpack(sizes[0])[0] if sizes and len(sizes[0]) == 4 else 0  # noqa: PLR2004
    # a context without an answer was not accepted
    refused += [(context.sop_class_uid, 1) for context in asked.values()]
    return Agreed(accepted, tuple(refused), maximum_length)


def _answered_context(content: bytes) -> tuple[int, int, str]:
    try:
        number, result = struct.unpack_from(">BxB", content)
    except struct.error:
        raise MalformedPdu("an answered presentation context is too short") from None
    # the transfer syntax of a context that was refused is not significant (PS3.8 9.3.3.2), and may be missing
    syntaxes = [value for kind, value in _items(content, 4) if kind == _Item.TRANSFER_SYNTAX] if result == 0 else []
    return number, result, syntaxes[0].decode("ascii", "replace").strip("\0 ") if syntaxes else ""


def _items(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + _ITEM.size <= len(data):
        kind, length = _ITEM.unpack_from(data, at)
        at += _ITEM.size
        if at + length > len(data):
            raise MalformedPdu("an item is longer than its PDU")
        yield kind, data[at : at + length]
        at += length


def rejection(body: bytes) -> tuple[int, int, int]:
    """Return result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4); raises MalformedPdu."""
    try:
        result, source, reason = struct.unpack(">xBBB", body)
    except struct.error:
        raise MalformedPdu("a rejection of the wrong length") from None
    return result, source, reason


#: PS3.8 9.3.6 to 9.3.8; source 0 of an A-ABORT is the service user.
RELEASE_RQ: Final = pdu(Pdu.RELEASE_RQ, bytes(4))
RELEASE_RP: Final = pdu(Pdu.RELEASE_RP, bytes(4))
ABORT: Final = pdu(Pdu.ABORT, bytes(4))
