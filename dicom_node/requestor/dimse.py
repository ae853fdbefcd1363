"""Command sets of a C-STORE and C-ECHO SCU (PS3.7 9.3.1, 9.3.5, E.1): Implicit VR Little Endian, group 0000."""

import struct
from enum import IntEnum
from typing import Final

from dicom_node.requestor.acse import MalformedPdu

VERIFICATION: Final = "1.2.840.10008.1.1"
_HEAD: Final = struct.Struct("<HHI")
_US: Final = struct.Struct("<H")
_RESPONSE: Final = 0x8000
_NO_DATA_SET: Final = 0x0101
_DATA_SET: Final = 0x0001
_MEDIUM: Final = 0x0000


class _Element(IntEnum):
    """Elements of group 0000 (PS3.7 E.1)."""

    GROUP_LENGTH = 0x0000
    AFFECTED_SOP_CLASS_UID = 0x0002
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_RESPONDED_TO = 0x0120
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    AFFECTED_SOP_INSTANCE_UID = 0x1000


class Command(IntEnum):
    """Values of Command Field (0000,0100)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030


def c_store_rq(message_id: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Return the command set of a C-STORE-RQ (PS3.7 9.3.1.1)."""
    return _command_set(
        (_Element.AFFECTED_SOP_CLASS_UID, _uid(sop_class_uid)),
        (_Element.COMMAND_FIELD, _US.pack(Command.C_STORE_RQ)),
        (_Element.MESSAGE_ID, _US.pack(message_id)),
        (_Element.PRIORITY, _US.pack(_MEDIUM)),
        (_Element.DATA_SET_TYPE, _US.pack(_DATA_SET)),
        (_Element.AFFECTED_SOP_INSTANCE_UID, _uid(sop_instance_uid)),
    )


def c_echo_rq(message_id: int) -> bytes:
    """Return the command set of a C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return _command_set(
        (_Element.AFFECTED_SOP_CLASS_UID, _uid(VERIFICATION)),
        (_Element.COMMAND_FIELD, _US.pack(Command.C_ECHO_RQ)),
        (_Element.MESSAGE_ID, _US.pack(message_id)),
        (_Element.DATA_SET_TYPE, _US.pack(_NO_DATA_SET)),
    )


def _command_set(*elements: tuple[_Element, bytes]) -> bytes:
    body = b"".join(_element(element, value) for element, value in elements)
    return _element(_Element.GROUP_LENGTH, struct.pack("<I", len(body))) + body


def _element(element: int, value: bytes) -> bytes:
    return _HEAD.pack(0, element, len(value)) + value


def _uid(text: str) -> bytes:
    value = text.encode("ascii", "replace")
    return value + b"\0" * (len(value) % 2)


def status_of(command_set: bytes, request: Command, message_id: int) -> int:
    """Return the status that a response to a request gives; its Error Comment is not read.

    Raises
    ------
    MalformedPdu
        If it is no response to that request.
    """
    values: dict[int, bytes] = {}
    at = 0
    while at + _HEAD.size <= len(command_set):
        _, element, length = _HEAD.unpack_from(command_set, at)
        at += _HEAD.size
        values[element] = command_set[at : at + length]
        at += length
    try:
        field, answered, status = (
            _US.unpack(values[element])[0]
            for element in (_Element.COMMAND_FIELD, _Element.MESSAGE_ID_RESPONDED_TO, _Element.STATUS)
        )
    except (KeyError, struct.error):
        raise MalformedPdu("a response without status") from None
    if (field, answered) != (request | _RESPONSE, message_id):
        raise MalformedPdu("a response to another request")
    return int(status)
