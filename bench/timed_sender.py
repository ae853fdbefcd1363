"""A sender that times every answer; a process of its own, so that no other sender's Python holds it up.

    python -m bench.timed_sender HOST PORT CALLED BYTES long|short COUNT

"long": it associates, prints "ready", waits for a line, sends, and prints the seconds of each instance as JSON: from
just before the first byte of the C-STORE request goes to the operating system until its response has been read. The
next instance goes only then. What is sent was put together before the clock starts; PDUs are of 16 kB, DCMTK's
default. "short": an association for each instance, timed from connecting until it is released.
"""

import json
import sys
import time
import uuid

from bench.upper_layer import EXPLICIT_LITTLE, MR_STORAGE, RawAssociation, c_store
from dicom_node.entities import Peer


def _element(group: int, element: int, representation: str, value: bytes) -> bytes:
    head = group.to_bytes(2, "little") + element.to_bytes(2, "little") + representation.encode()
    if representation == "OW":
        return head + bytes(2) + len(value).to_bytes(4, "little") + value
    return head + len(value).to_bytes(2, "little") + value


def _uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def _text(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)


def data_set(study: str, series: str, instance: str, pixels: bytes) -> bytes:
    """Return an MR image's data set in Explicit VR Little Endian (PS3.5 7.1.2): what a receiver files it by."""
    return b"".join(
        (
            _element(0x0008, 0x0016, "UI", _text(MR_STORAGE)),
            _element(0x0008, 0x0018, "UI", _text(instance)),
            _element(0x0008, 0x0060, "CS", b"MR"),
            _element(0x0010, 0x0020, "LO", b"BENCH "),
            _element(0x0020, 0x000D, "UI", _text(study)),
            _element(0x0020, 0x000E, "UI", _text(series)),
            _element(0x7FE0, 0x0010, "OW", pixels),
        )
    )


class Sender:
    """Sends new instances of one series."""

    def __init__(self, peer: Peer, size: int) -> None:
        self._peer = peer
        self._pixels, self._study, self._series = bytes(range(256)) * (size // 256), _uid(), _uid()

    def long(self, count: int) -> list[float]:
        """Send over one association; return the seconds that each answer took."""
        with self._associated() as association:
            _wait()
            return [self._timed(association) for _ in range(count)]

    def short(self, count: int) -> list[float]:
        """Send over an association for each instance; return the seconds that each took in all."""
        _wait()
        seconds = []
        for _ in range(count):
            started = time.perf_counter()
            with self._associated() as association:
                self._timed(association)
            seconds.append(time.perf_counter() - started)
        return seconds

    def _associated(self) -> RawAssociation:
        return RawAssociation(self._peer, "STORESCU", [(MR_STORAGE, EXPLICIT_LITTLE)])

    def _timed(self, association: RawAssociation) -> float:
        instance = _uid()
        data = data_set(self._study, self._series, instance, self._pixels)
        request = c_store(1, 1, MR_STORAGE, instance, data)
        started = time.perf_counter()
        association.send(request)
        answer = association.answer()
        seconds = time.perf_counter() - started
        assert answer.status == 0, f"status {answer.status:#06x}"
        return seconds


def _wait() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main(host: str, port: str, called: str, size: str, how: str, count: str) -> None:
    """Send and print."""
    sender = Sender(Peer.parse(called, host, int(port)), int(size))
    seconds = sender.short(int(count)) if how == "short" else sender.long(int(count))
    print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
