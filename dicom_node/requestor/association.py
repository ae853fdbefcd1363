"""One association that the node has asked for: one operation at a time, and every wait has an end."""

import socket
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from dicom_node.entities import Peer
from dicom_node.errors import PeerUnreachable
from dicom_node.pace import Pace
from dicom_node.requestor import acse, dimse
from dicom_node.requestor.acse import Agreed, MalformedPdu, Pdu, Proposed
from dicom_node.requestor.framing import Framer, command_fragments
from dicom_node.requestor.part10 import StoredFile
from dicom_node.requestor.rejections import silent
from dicom_node.tls import trouble

#: Lines of our own lead to destinations only.
_TABLE: Final = "[destination.tls]"
#: The slowest receiver that counts as alive: the wait for an answer grows with the object by this rate.
_SLOWEST_BYTES_A_SECOND: Final = 250_000
#: The slowest line: an object that goes more slowly over all is given up.
_SLOWEST_LINE: Final = 10_000
_MAXIMUM_PDU: Final = 131072
_LONGEST_PDU: Final = 2 * _MAXIMUM_PDU
_LONGEST_COMMAND: Final = 2**16
_LAST_MESSAGE_ID: Final = 65535
_PDU_HEAD: Final = struct.Struct(">BxI")
_READ: Final = 2**16
#: What TLS is given at once: small enough that a slow line shows some progress within the timeout.
_TLS_PIECE: Final = 2**16
_RELEASE_SECONDS: Final = 5.0
_ABORT_SECONDS: Final = 1.0
#: TCP_QUICKACK of Linux; where there is none, setting TCP_NODELAY again does no harm.
_QUICK_ACK: Final[int] = getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY)


class LineLost(Exception):
    """The association is over: the peer ended it, was silent for too long, or broke the protocol."""


class AssociationRejected(Exception):
    """The peer has answered with an A-ASSOCIATE-RJ (PS3.8 9.3.4).

    Attributes
    ----------
    result, source, reason : int
        As in PS3.8 Table 9-21.
    """

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(f"rejected ({result}, {source}, {reason})")
        self.result, self.source, self.reason = result, source, reason


def requested(
    peer: Peer,
    calling: str,
    proposed: Sequence[Proposed],
    timeout_seconds: float,
    context: ssl.SSLContext | None,
    pace: Pace,
) -> "Association":
    """Ask a peer for an association; it may come with none of the proposed presentation contexts.

    Parameters
    ----------
    context : ssl.SSLContext or None
        What wraps the connection in TLS (PS3.15 B.12).

    Raises
    ------
    PeerUnreachable
        If there is no connection, or no answer.
    AssociationRejected
        If the answer is no.
    """
    line = _connected(peer, timeout_seconds, context)
    wire = _Wire(line, timeout_seconds)
    try:
        deadline = time.monotonic() + timeout_seconds
        wire.send(memoryview(acse.associate_rq(calling, str(peer.ae_title), proposed, _MAXIMUM_PDU)), deadline)
        kind, body = wire.pdu(deadline)
        agreed = _answered(kind, body, proposed)
        if agreed is not None:
            return Association(wire, agreed, timeout_seconds, pace)
    except (LineLost, MalformedPdu) as error:
        line.close()
        if isinstance(error.__cause__, ssl.SSLError):
            raise PeerUnreachable(f"{peer} {trouble(error.__cause__, _TABLE)}") from error
    except BaseException:
        line.close()
        raise
    line.close()
    raise silent(peer)


def _answered(kind: int, body: bytes, proposed: Sequence[Proposed]) -> Agreed | None:
    """Return what a peer agrees to, None if it does not say; raises AssociationRejected, MalformedPdu."""
    if kind == Pdu.ASSOCIATE_RJ:
        raise AssociationRejected(*acse.rejection(body))
    return acse.agreed(body, proposed) if kind == Pdu.ASSOCIATE_AC else None


def _connected(peer: Peer, timeout_seconds: float, context: ssl.SSLContext | None) -> socket.socket:
    try:
        line = socket.create_connection((peer.host, peer.port), timeout_seconds)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name that DNS could know
        reason = getattr(error, "strerror", "it is no host name")
        raise PeerUnreachable(f"{peer.host} is not known here ({reason}): check host and DNS") from error
    except OSError as error:
        raise silent(peer) from error
    try:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line if context is None else context.wrap_socket(line, server_hostname=peer.host)
    except (OSError, ValueError) as error:
        line.close()
        if isinstance(error, ssl.SSLError):
            raise PeerUnreachable(f"{peer} {trouble(error, _TABLE)}") from error
        raise silent(peer) from error


class _Wire:
    """PDUs over a connection; each wait ends at a deadline (seconds of the monotonic clock)."""

    def __init__(self, line: socket.socket, timeout_seconds: float) -> None:
        self._line = line
        self._timeout = timeout_seconds
        self._most = _TLS_PIECE if isinstance(line, ssl.SSLSocket) else None
        self._read = bytearray()

    def send(self, data: memoryview, deadline: float) -> None:
        """Send all of it; raises LineLost."""
        try:
            while data:
                self._line.settimeout(min(_left(deadline), self._timeout))
                data = data[self._line.send(data[: self._most]) :]
        except OSError as error:
            raise LineLost from error

    def pdu(self, deadline: float) -> tuple[int, bytes]:
        """Return type and body of the next PDU; raises LineLost."""
        self._fill(_PDU_HEAD.size, deadline)
        kind, length = _PDU_HEAD.unpack_from(self._read)
        if length > _LONGEST_PDU:
            raise LineLost
        end = _PDU_HEAD.size + length
        self._fill(end, deadline)
        body = bytes(self._read[_PDU_HEAD.size : end])
        del self._read[:end]
        return kind, body

    def _fill(self, size: int, deadline: float) -> None:
        line, read = self._line, self._read
        while len(read) < size:
            try:
                line.settimeout(_left(deadline))
                # many a PACS sends its answers in two pieces with Nagle's algorithm on: it would wait 40 ms for our
                # delayed ACK. Linux forgets this option, so it is set before every read
                line.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
                piece = line.recv(_READ)
            except OSError as error:
                raise LineLost from error
            if not piece:
                raise LineLost
            read += piece

    def close(self) -> None:
        """Drop the connection."""
        self._line.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise LineLost
    return left


class Association:
    """What `requested` returns. What raises LineLost has closed it, and raises it again.

    Attributes
    ----------
    agreed : Agreed
        Which presentation contexts the peer accepted.
    """

    def __init__(self, wire: _Wire, agreed: Agreed, timeout_seconds: float, pace: Pace) -> None:
        self.agreed = agreed
        self._wire = wire
        self._timeout = timeout_seconds
        self._pace = pace
        self._framer = Framer(agreed.maximum_length, pace.piece(2**20))
        self._message_id = 0
        self._open = True

    @property
    def is_lost(self) -> bool:
        """Whether it is over."""
        return not self._open

    def echo(self, context_id: int) -> int:
        """Send a C-ECHO (PS3.7 9.1.5); return the status that it is answered with."""
        self._still_open()
        deadline = time.monotonic() + self._timeout
        try:
            request = dimse.c_echo_rq(self._next())
            self._wire.send(memoryview(self._framer.command(context_id, request)), deadline)
            return self._status(dimse.Command.C_ECHO_RQ, deadline)
        except BaseException:
            self.abort()
            raise

    def store(self, context_id: int, sop_class_uid: str, sop_instance_uid: str, file: StoredFile) -> int:
        """Send a C-STORE (PS3.7 9.1.1) of a file's data set; return the status that it is answered with.

        Raises
        ------
        LineLost
            If there is no answer in time.
        OSError
            If the file cannot be read; the association is closed then, too.
        """
        self._still_open()
        try:
            self._send(context_id, dimse.c_store_rq(self._next(), sop_class_uid, sop_instance_uid), file)
            wait = self._timeout + file.size / _SLOWEST_BYTES_A_SECOND
            return self._status(dimse.Command.C_STORE_RQ, time.monotonic() + wait)
        except BaseException:  # whatever it is, half a message has gone out
            self.abort()
            raise

    def _send(self, context_id: int, request: bytes, file: StoredFile) -> None:
        slow = file.size / _SLOWEST_LINE + self._pace.seconds(file.size)
        deadline = time.monotonic() + self._timeout + slow
        wire, pace = self._wire, self._pace
        for pdus in self._framer.message(context_id, request, file):
            pace.spend(len(pdus))
            wire.send(pdus, deadline)

    def _still_open(self) -> None:
        if not self._open:
            raise LineLost

    def _next(self) -> int:
        self._message_id = self._message_id % _LAST_MESSAGE_ID + 1
        return self._message_id

    def _status(self, request: dimse.Command, deadline: float) -> int:
        command_set = bytearray()
        try:
            while len(command_set) <= _LONGEST_COMMAND:
                kind, body = self._wire.pdu(deadline)
                if kind != Pdu.P_DATA:
                    self._ended(kind)
                    raise LineLost
                for fragment, last in command_fragments(body):
                    command_set += fragment
                    if last:
                        return dimse.status_of(bytes(command_set), request, self._message_id)
        except MalformedPdu as error:
            raise LineLost from error
        raise LineLost

    def _ended(self, kind: int) -> None:
        """Answer a release request (PS3.8 7.2): the peer has had enough, though an answer is due."""
        if kind == Pdu.RELEASE_RQ:
            with suppress(LineLost):
                self._wire.send(memoryview(acse.RELEASE_RP), time.monotonic() + _RELEASE_SECONDS)
        if kind in {Pdu.RELEASE_RQ, Pdu.ABORT}:
            self._close()

    def release(self) -> None:
        """End the association in order (PS3.8 7.2), if there still is one."""
        if not self._open:
            return
        deadline = time.monotonic() + min(self._timeout, _RELEASE_SECONDS)
        with suppress(LineLost):
            self._wire.send(memoryview(acse.RELEASE_RQ), deadline)
            self._wire.pdu(deadline)
        self._close()

    def abort(self) -> None:
        """Abort the association (PS3.8 7.3), if there still is one."""
        if self._open:
            with suppress(LineLost):
                self._wire.send(memoryview(acse.ABORT), time.monotonic() + _ABORT_SECONDS)
            self._close()

    def _close(self) -> None:
        self._open = False
        self._wire.close()
