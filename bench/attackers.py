"""Those who attack: numbered inputs by several threads, peers of a byte a second, and crowds of 500."""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from bench.mutations import Corpus, Input, make
from bench.upper_layer import (
    C_STORE_RSP,
    EXPLICIT_LITTLE,
    MR_STORAGE,
    LineGone,
    RawAssociation,
    answers,
    associate_rq,
    c_store,
    split,
)
from dicom_node.entities import Peer

_SLOW_PEERS: Final = 8
_CROWD: Final = 500
_CROWD_EVERY_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 0.3
_CLOSED_WITHIN_SECONDS: Final = 30.0
_CALLING: Final = "STORESCU"


class Attackers:
    """All of them, as threads.

    Parameters
    ----------
    numbers : sequence of int, optional
        Only these inputs, and nobody slow and no crowds.
    """

    def __init__(
        self, peer: Peer, corpus: Corpus, seed: int, threads: int, numbers: Sequence[int] | None = None
    ) -> None:
        self._peer = peer
        self._corpus = corpus
        self._seed = seed
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = iter(range(10**9) if numbers is None else numbers)
        self._current: dict[int, int] = {}
        self._stopping = threading.Event()
        self._workers = [threading.Thread(target=self._work, args=(each,), daemon=True) for each in range(threads)]
        self._others: list[threading.Thread] = []
        if numbers is None:
            self._others = [
                threading.Thread(target=self._trickle, args=(each % 2 == 0,), daemon=True)
                for each in range(_SLOW_PEERS)
            ]
            self._others.append(threading.Thread(target=self._crowds, daemon=True))
        #: Inputs sent, by kind.
        self.tried: Counter[str] = Counter()
        #: (SOP Instance UID, data set or None) of every 0x0000 to a C-STORE.
        self.claims: list[tuple[str, bytes | None]] = []
        #: Connections that the node left open though their peer had finished.
        self.not_closed = 0
        #: Longest time that a slow peer was listened to, in seconds.
        self.longest_hold = 0.0

    def start(self) -> None:
        """Begin."""
        for thread in (*self._workers, *self._others):
            thread.start()

    def stop(self) -> None:
        """End after the inputs that are under way."""
        self._stopping.set()
        for thread in (*self._workers, *self._others):
            thread.join()

    @property
    def done(self) -> bool:
        """Whether there is nothing more to try."""
        return not any(thread.is_alive() for thread in self._workers)

    def under_way(self) -> str:
        """Return the numbers of the inputs of the last moments."""
        with self._lock:
            return " ".join(str(number) for number in sorted(self._current.values()))

    def _work(self, worker: int) -> None:
        while not self._stopping.is_set():
            with self._lock:
                number = next(self._numbers, None)
                if number is None:
                    return
                self._current[worker] = number
            given = make(self._corpus, self._seed, number)
            try:
                heard = self._send(given)
            except OSError:
                heard = b""
            self._note(given, heard)

    def _note(self, given: Input, heard: bytes) -> None:
        found = [
            (answer.sop_instance_uid, given.data_sets.get(answer.sop_instance_uid))
            for answer in answers(split(heard))
            if answer.command == C_STORE_RSP and answer.status == 0
        ]
        with self._lock:
            self.tried[given.kind] += 1
            self.claims += found

    def _send(self, given: Input) -> bytes:
        with socket.create_connection((self._peer.host, self._peer.port), 10) as line:
            heard = bytearray()
            for number, piece in enumerate(_by_step(given.pieces)):
                if number == 1:
                    _listen(line, heard, 2.0, pdus=1)
                line.settimeout(10)
                line.sendall(piece)
            if given.cut:
                if len(given.pieces) % 2:  # a reset instead of an end
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return bytes(heard)
            if not _listen(line, heard, _ANSWER_SECONDS):
                line.shutdown(socket.SHUT_WR)
                if not _listen(line, heard, _CLOSED_WITHIN_SECONDS):
                    with self._lock:
                        self.not_closed += 1
            return bytes(heard)

    def _trickle(self, before_association: bool) -> None:
        """Send a byte a second, of the association request or of an object, as long as the node listens."""
        slow = c_store(1, 1, MR_STORAGE, "2.25.77", bytes(1000))
        request = associate_rq(_CALLING, str(self._peer.ae_title), [(MR_STORAGE, EXPLICIT_LITTLE)])
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                if before_association:
                    with socket.create_connection((self._peer.host, self._peer.port), 10) as line:
                        self._drip(line, request)
                else:
                    with RawAssociation(self._peer, _CALLING, [(MR_STORAGE, EXPLICIT_LITTLE)]) as association:
                        started = time.monotonic()
                        self._drip(association.line, slow)
            except (OSError, LineGone):
                self._stopping.wait(1)
            with self._lock:
                self.longest_hold = max(self.longest_hold, time.monotonic() - started)
                self.tried["a byte a second"] += 1

    def _drip(self, line: socket.socket, data: bytes) -> None:
        for at in range(len(data)):
            line.sendall(data[at : at + 1])
            if self._stopping.wait(1):
                return
            line.settimeout(0.01)
            try:
                if not line.recv(1000):
                    return
            except TimeoutError:
                continue

    def _crowds(self) -> None:
        while not self._stopping.wait(_CROWD_EVERY_SECONDS / 6):
            self._crowd()
            self._stopping.wait(_CROWD_EVERY_SECONDS * 5 / 6)

    def _crowd(self) -> None:
        """Connect 500 times at once; every second one asks for an association; then all go."""
        request = associate_rq(_CALLING, str(self._peer.ae_title), [(MR_STORAGE, EXPLICIT_LITTLE)])
        lines = []
        for number in range(_CROWD):
            try:
                lines.append(socket.create_connection((self._peer.host, self._peer.port), 10))
                if number % 2:
                    lines[-1].sendall(request)
            except OSError:
                continue
        with self._lock:
            self.tried["connections at once"] += len(lines)
        self._stopping.wait(2)
        for line in lines:
            line.close()


def _by_step(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the association request alone, where there is one, and then the rest in one."""
    whole = b"".join(pieces)
    if not whole:
        return
    first = 6 + int.from_bytes(whole[2:6], "big") if len(pieces) == 1 else len(pieces[0])
    yield whole[:first]
    if whole[first:]:
        yield whole[first:]


def _listen(line: socket.socket, heard: bytearray, seconds: float, pdus: int = 10**6) -> bool:
    """Read until so much has come, or nothing for so long; return whether the node has closed."""
    line.settimeout(seconds)
    start = len(heard)
    while len(list(split(bytes(heard[start:])))) < pdus:
        try:
            data = line.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            return True
        if not data:
            return True
        heard += data
    return False
