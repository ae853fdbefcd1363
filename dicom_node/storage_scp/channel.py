"""What a receiver process and the node tell each other about the receiver's journal, on a socket pair.

The receiver tells what its journal takes, and which associations ended; the node moves it (`moves`), and tells which
segments can be used again. A message is one packet: a letter, and JSON.
"""

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

from dicom_node.entities import Association, AssociationEnd, AssociationRecord
from dicom_node.instance_store import Journal, Place
from dicom_node.storage_scp.intake import note_of, noted
from dicom_node.storage_scp.moves import Ended, Event, Journaled, Sealed

_JOURNALED, _SEALED, _ENDED, _OVER = b"J", b"S", b"E", b"O"
_CLEARED, _STUCK, _UNSTUCK = b"C", b"T", b"U"
_LARGEST: Final = 2**16


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """The receiver's end; `put` from any thread, the rest from the receiver's."""

    def __init__(self, line: socket.socket, journal: Journal) -> None:
        line.setblocking(False)
        self._line = line
        self._journal = journal
        self._unsent: deque[bytes] = deque()
        self._lock = threading.Lock()
        #: Told, on any thread, that the node does not take something yet: `flush` is to be called in a while.
        self.unsent: Callable[[], None] = lambda: None
        #: Whether the node cannot move objects now.
        self.stuck = False

    def fileno(self) -> int:
        """Return the descriptor to watch for what the node tells."""
        return self._line.fileno()

    def put(self, event: Event) -> None:
        """Tell the node, after what it was told before; does not wait."""
        with self._lock:
            self._unsent.append(_packed(event))
            self._send()
        if self._unsent:
            self.unsent()

    def flush(self) -> bool:
        """Send what was not yet taken; return whether all of it is sent."""
        with self._lock:
            self._send()
            return not self._unsent

    def _send(self) -> None:
        # the node is busy, or gone: then this process will be told
        with contextlib.suppress(OSError):
            while self._unsent:
                self._line.send(self._unsent[0])
                self._unsent.popleft()

    def heard(self) -> bool:
        """Do what the node tells; return whether it is still there."""
        while True:
            try:
                message = self._line.recv(_LARGEST)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not message:
                return False
            if message[:1] == _CLEARED:
                self._journal.clear(int(message[1:]))
            else:
                self.stuck = message[:1] == _STUCK

    def close(self) -> None:
        """Tell that there will be no more; the journal is the node's to clear."""
        self._line.setblocking(True)
        with contextlib.suppress(OSError):
            self._unsent.append(_OVER)
            self._send()
        self._line.close()
        self._journal.close(forget=False)


class FarEnd:
    """The node's end."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self.line = line
        self._messages: deque[bytes] = deque()
        #: Whether the receiver has told that there will be no more, or is gone.
        self.over = self.gone = False

    def heard(self, descriptors: Callable[[], tuple[int, ...]]) -> Iterator[Event]:
        """Give what the receiver has told; `descriptors` opens its journal's segments."""
        self._receive()
        while self._messages:
            event = _unpacked(self._messages[0], descriptors)
            self._messages.popleft()  # only now: what cannot be unpacked yet is not lost
            yield event

    def _receive(self) -> None:
        while not self.gone:
            try:
                message = self.line.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if message[:1] in {b"", _OVER}:
                self.over = self.over or bool(message)
                self.gone = not message
            else:
                self._messages.append(message)

    def cleared(self, segment: int) -> None:
        """Tell that a segment can be used again."""
        self._tell(_CLEARED + str(segment).encode())

    def stuck(self, stuck: bool) -> None:
        """Tell whether objects cannot be moved now."""
        self._tell(_STUCK if stuck else _UNSTUCK)

    def _tell(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # a receiver that is gone has no journal any more
            self.line.send(message)

    def close(self) -> None:
        """Close the line."""
        self.line.close()


def _packed(event: Event) -> bytes:
    match event:
        case Journaled(place, instance, association, at):
            head = f"{place.segment} {place.offset} {place.size} ".encode()
            return _JOURNALED + head + note_of(instance, association, at)
        case Sealed(segment):
            return _SEALED + str(segment).encode()
        case Ended(record):
            return _ENDED + json.dumps(asdict(record)).encode()


def _unpacked(message: bytes, descriptors: Callable[[], tuple[int, ...]]) -> Event:
    kind, rest = message[:1], message[1:]
    if kind == _JOURNALED:
        segment, offset, size, note = rest.split(b" ", 3)
        place = Place(int(segment), descriptors()[int(segment)], int(offset), int(size))
        return Journaled(place, *noted(note))
    if kind == _SEALED:
        return Sealed(int(rest))
    return Ended(_record(json.loads(rest)))


def _record(values: dict[str, Any]) -> AssociationRecord:
    return AssociationRecord(
        **{
            **values,
            "association": Association(**values["association"]),
            "end": AssociationEnd(values["end"]),
            "accepted": tuple(values["accepted"]),
            "refused": tuple(values["refused"]),
            "statuses": {int(status): count for status, count in values["statuses"].items()},
        }
    )
