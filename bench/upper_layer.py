"""DICOM's upper layer as bytes (PS3.8 9.3): PDUs put together and taken apart without any part of the node.

What sends right things and wrong things at will cannot use a library that refuses to send wrong ones.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from dicom_node.entities import Peer

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
MR_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.4"
VERIFICATION: Final = "1.2.840.10008.1.1"
C_STORE_RQ: Final = 0x0001
C_ECHO_RQ: Final = 0x0030
C_STORE_RSP: Final = 0x8001
_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
_IMPLEMENTATION: Final = "2.25.283746510928374651092837465"
_HEADER: Final = struct.Struct(">BxI")
_PDV: Final = struct.Struct(">IBB")
_COMMAND, _LAST = 1, 2
_COMMAND_FIELD, _MESSAGE_ANSWERED, _DATA_SET_TYPE, _STATUS = 0x0100, 0x0120, 0x0800, 0x0900
_AFFECTED_CLASS, _AFFECTED_INSTANCE, _MESSAGE_ID, _PRIORITY = 0x0002, 0x1000, 0x0110, 0x0700
_NO_DATA_SET: Final = 0x0101


class LineGone(Exception):
    """The association or its connection is over; nothing more will be answered."""


def pdu(kind: int, body: bytes) -> bytes:
    """Return one PDU (PS3.8 9.3.1)."""
    return _HEADER.pack(kind, len(body)) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def associate_rq(calling: str, called: str, contexts: Sequence[tuple[str, str]], maximum_pdu: int = 131072) -> bytes:
    """Return an A-ASSOCIATE-RQ (PS3.8 9.3.2): contexts are (abstract syntax, transfer syntax), IDs 1, 3, 5..."""
    items = [_item(0x10, _APPLICATION_CONTEXT.encode())]
    for number, (abstract, transfer) in enumerate(contexts):
        syntaxes = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
        items.append(_item(0x20, struct.pack(">Bxxx", 2 * number + 1) + syntaxes))
    user = _item(0x51, struct.pack(">I", maximum_pdu)) + _item(0x52, _IMPLEMENTATION.encode())
    items.append(_item(0x50, user))
    titles = called.ljust(16).encode() + calling.ljust(16).encode()
    return pdu(ASSOCIATE_RQ, struct.pack(">Hxx", 1) + titles + bytes(32) + b"".join(items))


def command_set(elements: Mapping[int, int | str]) -> bytes:
    """Return a command set (PS3.7 6.3.1): Implicit VR Little Endian, group 0000, with its group length."""
    body = b"".join(_element(number, value) for number, value in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _element(number: int, value: int | str) -> bytes:
    data = struct.pack("<H", value) if isinstance(value, int) else value.encode() + b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(data)) + data


def c_store_rq(message_id: int, sop_class: str, sop_instance: str) -> bytes:
    """Return the command set of a C-STORE request (PS3.7 9.3.1.1)."""
    return command_set(
        {
            _AFFECTED_CLASS: sop_class,
            _COMMAND_FIELD: C_STORE_RQ,
            _MESSAGE_ID: message_id,
            _PRIORITY: 2,
            _DATA_SET_TYPE: 0,
            _AFFECTED_INSTANCE: sop_instance,
        }
    )


def c_echo_rq(message_id: int) -> bytes:
    """Return the command set of a C-ECHO request (PS3.7 9.3.5.1)."""
    return command_set(
        {
            _AFFECTED_CLASS: VERIFICATION,
            _COMMAND_FIELD: C_ECHO_RQ,
            _MESSAGE_ID: message_id,
            _DATA_SET_TYPE: _NO_DATA_SET,
        }
    )


def p_data(context: int, data: bytes, *, command: bool, maximum: int = 16384) -> Iterator[bytes]:
    """Yield the P-DATA-TF PDUs that carry one command set or data set, each with one fragment (PS3.8 9.3.5)."""
    step = maximum - _PDV.size
    for start in range(0, len(data) or 1, step):
        last = _LAST if start + step >= len(data) else 0
        piece = data[start : start + step]
        yield pdu(P_DATA, _PDV.pack(len(piece) + 2, context, last | (_COMMAND if command else 0)) + piece)


def c_store(context: int, message_id: int, sop_class: str, sop_instance: str, data: bytes) -> bytes:
    """Return every PDU of one C-STORE request."""
    request = c_store_rq(message_id, sop_class, sop_instance)
    return b"".join((*p_data(context, request, command=True), *p_data(context, data, command=False)))


@dataclass(frozen=True, slots=True)
class Answer:
    """What one response says: which command, to which message, with which status, about which instance."""

    command: int
    message_id: int
    status: int
    sop_instance_uid: str

    @classmethod
    def parse(cls, command: bytes) -> Self:
        """Read a command set."""
        values: dict[int, bytes] = {}
        at = 0
        while at + 8 <= len(command):
            _, number, length = struct.unpack_from("<HHI", command, at)
            values[number] = command[at + 8 : at + 8 + length]
            at += 8 + length
        numbers = {name: int.from_bytes(value[:2], "little") for name, value in values.items()}
        uid = values.get(_AFFECTED_INSTANCE, b"").decode("ascii", "replace").rstrip("\0 ")
        return cls(
            numbers.get(_COMMAND_FIELD, 0), numbers.get(_MESSAGE_ANSWERED, 0), numbers.get(_STATUS, 0xFFFF), uid
        )


def answers(pdus: Iterable[tuple[int, bytes]]) -> Iterator[Answer]:
    """Yield every command set in a series of PDUs, put together from its fragments."""
    command = b""
    for kind, body in pdus:
        at = 0
        while kind == P_DATA and at + _PDV.size <= len(body):
            length, _context, control = _PDV.unpack_from(body, at)
            if control & _COMMAND:
                command += body[at + _PDV.size : at + 4 + length]
                if control & _LAST:
                    yield Answer.parse(command)
                    command = b""
            at += 4 + length


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, body) of every whole PDU in a stream."""
    at = 0
    while at + _HEADER.size <= len(data):
        kind, length = _HEADER.unpack_from(data, at)
        if at + _HEADER.size + length > len(data):
            return
        yield kind, data[at + _HEADER.size : at + _HEADER.size + length]
        at += _HEADER.size + length


class RawAssociation:
    """One association of a sender that can send anything.

    Parameters
    ----------
    contexts : sequence of (str, str)
        Abstract syntax and transfer syntax; the IDs are 1, 3, 5...

    Raises
    ------
    LineGone
        If there is no connection, or no association.
    """

    def __init__(
        self, peer: Peer, calling: str, contexts: Sequence[tuple[str, str]], timeout_seconds: float = 20
    ) -> None:
        try:
            self.line = socket.create_connection((peer.host, peer.port), timeout_seconds)
            self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise LineGone from error
        self._message = 0
        try:
            self.send(associate_rq(calling, str(peer.ae_title), contexts))
            self._expect(ASSOCIATE_AC)
        except LineGone:
            self.close()
            raise

    def send(self, data: bytes) -> None:
        """Send bytes, right or wrong."""
        try:
            self.line.sendall(data)
        except OSError as error:
            raise LineGone from error

    def receive(self) -> tuple[int, bytes]:
        """Return type and body of the next PDU."""
        kind, length = _HEADER.unpack(self._exactly(_HEADER.size))
        return kind, self._exactly(length)

    def _expect(self, wanted: int) -> bytes:
        kind, body = self.receive()
        if kind != wanted:
            raise LineGone
        return body

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                piece = self.line.recv(count - len(data))
            except OSError as error:
                raise LineGone from error
            if not piece:
                raise LineGone
            data += piece
        return bytes(data)

    def answer(self) -> Answer:
        """Return the next answer; raises LineGone if the association ends instead."""
        pdus: list[tuple[int, bytes]] = []
        while not (found := list(answers(pdus))):
            pdus.append((P_DATA, self._expect(P_DATA)))
        return found[0]

    def store(self, context: int, sop_class: str, sop_instance: str, data: bytes) -> int:
        """Send one instance (PS3.7 9.1.1); return the status that it is answered with."""
        self._message = self._message % 65535 + 1
        self.send(c_store(context, self._message, sop_class, sop_instance, data))
        return self.answer().status

    def echo(self, context: int) -> int:
        """Send a C-ECHO (PS3.7 9.1.5); return the status that it is answered with."""
        self._message = self._message % 65535 + 1
        self.send(b"".join(p_data(context, c_echo_rq(self._message), command=True)))
        return self.answer().status

    def release(self) -> None:
        """End the association in order (PS3.8 7.2)."""
        try:
            self.send(pdu(RELEASE_RQ, bytes(4)))
            self.receive()
        except LineGone:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Drop the connection."""
        self.line.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Release it; drop it if something went wrong."""
        if kind is None:
            self.release()
        else:
            self.close()


def answers_echo(peer: Peer, calling: str) -> bool:
    """Return whether a peer answers a C-ECHO with success; it may die meanwhile, and nothing stays open."""
    try:
        with RawAssociation(peer, calling, [(VERIFICATION, EXPLICIT_LITTLE)], timeout_seconds=2) as association:
            return association.echo(1) == 0
    except LineGone:
        return False
