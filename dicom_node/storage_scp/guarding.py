"""What a peer may do to an association, and that its errors end nothing but its own association.

pynetdicom reads a PDU of any length into memory, waits for its bytes one by one for as long as they trickle, keeps
messages of any length in memory, and lets whatever a damaged message raises end its thread with a traceback.
"""

import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from pynetdicom.association import Association as PeerAssociation

log = structlog.get_logger(__name__)

_MIB: Final = 2**20
#: Association requests with every context and transfer syntax stay far below; P-DATA may be twice what was agreed.
_LONGEST_OTHER_PDU: Final = _MIB
_LONGEST_UNLIMITED_PDU: Final = 64 * _MIB
#: Command sets, and data sets of requests other than C-STORE: a commitment of 50,000 instances takes 8 MiB.
_LONGEST_IN_MEMORY: Final = 16 * _MIB
_READ_BYTES: Final = 65536
_HEADER_BYTES: Final = 6
#: A-ABORT (PS3.8 9.3.8): source 2, service provider; reason 6, invalid PDU parameter value.
_A_ABORT: Final = struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 2, 6)


class ProtocolViolated(OSError):
    """A peer sent what no association has to put up with; an `OSError` because pynetdicom then hangs up."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how slow a peer may be.

    Parameters
    ----------
    maximum_pdu : int
        Bytes, as negotiated (PS3.8 D.1); 0 for no limit.
    request_seconds : float
        For the association request, from its first byte to its last (ARTIM, PS3.8 9.1.5).
    pdu_seconds : float
        For every later PDU, from its first byte to its last.
    message_seconds : float
        A message may be slower than `slowest_bytes_per_second` on the average for so long.
    """

    maximum_pdu: int
    request_seconds: float
    pdu_seconds: float
    message_seconds: float
    slowest_bytes_per_second: int

    @property
    def longest_pdu(self) -> int:
        """Bytes of one PDU that are read into memory."""
        return max(2 * self.maximum_pdu, _LONGEST_OTHER_PDU) if self.maximum_pdu else _LONGEST_UNLIMITED_PDU


class Reading:
    """Reads PDUs for pynetdicom, which asks for the 6 bytes of a header, and then for as many as the header says."""

    def __init__(self, line: socket.socket, bounds: Bounds, ahead: bytes = b"") -> None:
        self._line = line
        self._ahead = ahead
        self._bounds = bounds
        self._seconds = bounds.request_seconds
        self._header_next = True
        self._deadline = 0.0

    @property
    def ahead(self) -> bool:
        """Whether there are bytes that were read before, and not yet returned."""
        return bool(self._ahead)

    def recv(self, count: int) -> bytearray:
        """Return so many bytes; fewer if the connection ends before.

        Raises
        ------
        ProtocolViolated
            If a PDU is longer than any that was agreed, or comes too slowly; the peer has been sent an A-ABORT.
        OSError
            If the connection breaks.
        """
        if self._header_next:
            self._deadline = time.monotonic() + self._seconds
        elif count > self._bounds.longest_pdu:
            self._abort(f"a PDU of {count} bytes; at most {self._bounds.longest_pdu} are read")
        data = bytearray()
        while len(data) < count:
            piece = self._piece(count - len(data))
            if not piece:
                return data
            data += piece
        if not self._header_next or count != _HEADER_BYTES:
            self._seconds = self._bounds.pdu_seconds
        self._header_next = not self._header_next
        return data

    def _piece(self, count: int) -> bytes:
        if self._ahead:
            first, self._ahead = self._ahead[:count], self._ahead[count:]
            return first
        left = self._deadline - time.monotonic()
        if left <= 0:
            self._abort(f"a PDU took more than {self._seconds:g} s to arrive")
        self._line.settimeout(left)
        try:
            return self._line.recv(min(count, _READ_BYTES))
        except TimeoutError:
            self._abort(f"a PDU took more than {self._seconds:g} s to arrive")
            return b""
        finally:
            # answers are sent with the connection's usual patience
            self._line.settimeout(self._bounds.pdu_seconds)

    def _abort(self, reason: str) -> None:
        send_abort(self._line)
        raise ProtocolViolated(reason)


class Pace:
    """How big and how slow the message is that is coming in."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._started: float | None = None
        self._bytes = 0
        self._in_memory = 0

    def took(self, count: int, *, in_memory: bool) -> None:
        """Count one fragment of the message.

        Raises
        ------
        ProtocolViolated
            If the message is too slow, or more of it than allowed has to be kept in memory.
        """
        now = self._clock()
        self._started = now if self._started is None else self._started
        self._bytes += count
        self._in_memory += count if in_memory else 0
        seconds = now - self._started
        if self._in_memory > _LONGEST_IN_MEMORY:
            raise ProtocolViolated(f"a message of more than {_LONGEST_IN_MEMORY // _MIB} MiB that is no C-STORE")
        slow = self._bytes < seconds * self._bounds.slowest_bytes_per_second
        if slow and seconds > self._bounds.message_seconds:
            raise ProtocolViolated(f"a message of {self._bytes} bytes in {seconds:.0f} s: slower than allowed")

    def ended(self) -> None:
        """The message is complete; the next one starts with its first fragment."""
        self._started, self._bytes, self._in_memory = None, 0, 0


def send_abort(line: socket.socket) -> None:
    """Send an A-ABORT past pynetdicom's state machine, if the connection still takes it."""
    try:
        line.sendall(_A_ABORT)
    except OSError:
        return


def guard(peer: PeerAssociation, association: str, aborted: Callable[[], None]) -> None:
    """Make an error in either of the two threads of a new association its own end only.

    Parameters
    ----------
    association : str
        Its id, for the log.
    aborted : callable
        Told before an association is ended here.
    """
    line = peer.dul.socket.socket

    def guarded(run: Callable[[], None]) -> Callable[[], None]:
        def run_to_its_end() -> None:
            try:
                run()
            except Exception:  # boundary: damaged messages make pynetdicom raise anything
                log.warning(
                    "association aborted: its peer broke the protocol", association=association, exc_info=True
                )
                aborted()
                send_abort(line)
                _end(peer)

        return run_to_its_end

    peer.dul.run = guarded(peer.dul.run)
    peer.run = guarded(peer.run)


def _end(peer: PeerAssociation) -> None:
    # pynetdicom's own way out after an error in its reactor: both threads leave at their next turn
    peer.is_aborted = True
    peer.is_established = False
    peer._kill = True  # noqa: SLF001 - it has no public name for it
    peer.dul.kill_dul()
