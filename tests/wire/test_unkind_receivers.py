"""C-STORE to receivers that break the protocol, stall or dawdle: every wait ends, and nothing counts as stored."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import build_context

from bench import upper_layer
from bench.upper_layer import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, command_set, p_data, pdu
from dicom_node.entities import Peer
from dicom_node.errors import PeerUnreachable
from dicom_node.outgoing import Verdict
from dicom_node.pace import Pace
from dicom_node.storage_scu import StorageSCU

_TITLES: Final = b"PACS1".ljust(16) + b"DICOM_NODE".ljust(16)
A, T, P = Verdict.ACCEPTED, Verdict.TEMPORARY, Verdict.PERMANENT


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def acceptance(maximum: int = 16384, result: int = 0, syntax: str = ExplicitVRLittleEndian, number: int = 1) -> bytes:
    """Return an A-ASSOCIATE-AC for one context."""
    context = struct.pack(">BxBx", number, result) + _item(0x40, syntax.encode())
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x21, context)
    items += _item(0x50, _item(0x51, struct.pack(">I", maximum)))
    return pdu(ASSOCIATE_AC, struct.pack(">Hxx", 1) + _TITLES + bytes(32) + items)


def response(message_id: int = 1, field: int = 0x8001, status: int = 0) -> bytes:
    """Return a C-STORE-RSP."""
    elements: dict[int, int | str] = {0x0100: field, 0x0120: message_id, 0x0800: 0x0101, 0x0900: status}
    return b"".join(p_data(1, command_set(elements), command=True))


Play = Callable[[socket.socket], None]


@pytest.fixture
def receiver() -> Iterator[Callable[..., Peer]]:
    """Return a function that lets a receiver accept the association with some bytes, and then play its part."""
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(accept: bytes, play: Play = lambda _: None) -> Peer:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                line.settimeout(10)
                try:
                    line.recv(65536)
                    line.sendall(accept)
                    play(line)
                except OSError:
                    return

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return Peer.parse("PACS1", "127.0.0.1", listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(15)
    for listener in listeners:
        listener.close()
    assert not any(thread.is_alive() for thread in threads)


def _whole_message(line: socket.socket) -> None:
    """Read until the data set is whole: its last fragment is marked (PS3.8 E.2)."""
    data = b""
    while True:
        piece = line.recv(65536)
        if not piece:
            raise OSError
        data += piece
        bodies = [body for kind, body in upper_layer.split(data) if kind == P_DATA]
        if any(body[5] == 2 for body in bodies):
            return


def _answering(*answers: bytes, pause: float = 0.0) -> Play:
    def play(line: socket.socket) -> None:
        _whole_message(line)
        for answer in answers:
            line.sendall(answer)
            time.sleep(pause)
        while line.recv(65536):
            pass

    return play


_SPLIT = [response()[at : at + 7] for at in range(0, len(response()), 7)]


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([response()], A),
        (_SPLIT, A),
        ([response(status=0xA700)], T),
        ([response(message_id=2)], T),
        ([response(field=0x8030)], T),
        ([response(field=0x0001)], T),
        ([pdu(ABORT, bytes(4))], T),
        ([pdu(RELEASE_RQ, bytes(4))], T),
        ([pdu(ASSOCIATE_AC, bytes(100))], T),
        ([pdu(99, b"?")], T),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 100], T),
        ([struct.pack(">BxI", P_DATA, 2**32 - 1)], T),
        ([pdu(P_DATA, b"")] * 3 + [response()], A),
        ([pdu(P_DATA, struct.pack(">IBB", 2**31, 1, 3))], T),
        ([pdu(P_DATA, struct.pack(">IBB", 6, 1, 2) + b"data")], T),
        ([pdu(P_DATA, struct.pack(">IBB", 60_002, 1, 1) + bytes(60_000))] * 3, T),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)
def test_only_a_success_is_one(
    receiver: Callable[..., Peer], stored: Any, answers: list[bytes], verdict: Verdict
) -> None:
    """Whatever else comes back, in whatever pieces, the object is tried again, and so is the rest of the batch."""
    peer = receiver(acceptance(), _answering(*answers))
    started = time.monotonic()
    first, second = StorageSCU("DICOM_NODE", 2).store(peer, [stored(), stored()])
    assert first.verdict is verdict
    assert second.verdict is T
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("accept", "verdict"),
    [
        (acceptance(number=3), T),  # a context that was not proposed
        (acceptance(result=3), P),
        (acceptance(result=4), P),
        (acceptance(syntax="1.2.840.10008.1.2.4.70"), P),  # a transfer syntax that was not proposed
        (acceptance()[:-3], T),
        (acceptance()[:60], T),
        (pdu(ASSOCIATE_AC, b""), T),
        (pdu(ASSOCIATE_RJ, b"\0"), T),
        (pdu(ASSOCIATE_RJ, bytes([0, 1, 1, 7])), T),
        (pdu(P_DATA, bytes(20)), T),
        (b"SSH-2.0-OpenSSH_9.2\r\n", T),
        (b"", T),
    ],
)
def test_an_association_that_is_none(
    receiver: Callable[..., Peer], stored: Any, accept: bytes, verdict: Verdict
) -> None:
    """Nothing is sent under a context that was not accepted; what is no answer is given up in time."""
    heard = bytearray()

    def play(line: socket.socket) -> None:
        while piece := line.recv(65536):
            heard.extend(piece)

    started = time.monotonic()
    (outcome,) = StorageSCU("DICOM_NODE", 1).store(receiver(accept, play), [stored()])
    assert outcome.verdict is verdict
    assert time.monotonic() - started < 5
    assert not any(kind == P_DATA for kind, _ in upper_layer.split(bytes(heard)))


def test_a_receiver_that_stops_reading(receiver: Callable[..., Peer], stored: Any) -> None:
    """Once the buffers are full nothing more goes out: given up after the timeout, not held for ever."""
    peer = receiver(acceptance(), lambda line: time.sleep(6))
    big = stored(PixelData=bytes(30_000_000))
    started = time.monotonic()
    (outcome,) = StorageSCU("DICOM_NODE", 1).store(peer, [big])
    assert outcome.verdict is T
    assert time.monotonic() - started < 5


def test_a_receiver_that_dawdles_with_its_answer(receiver: Callable[..., Peer], stored: Any) -> None:
    """A byte now and then does not prolong the wait: it ends when the whole answer is due."""
    answer = response()
    peer = receiver(acceptance(), _answering(*(answer[at : at + 1] for at in range(len(answer))), pause=0.3))
    started = time.monotonic()
    (outcome,) = StorageSCU("DICOM_NODE", 1).store(peer, [stored()])
    assert outcome.verdict is T
    assert time.monotonic() - started < 5


def test_a_receiver_that_dawdles_over_the_association(receiver: Callable[..., Peer]) -> None:
    """The same holds while the association is asked for."""

    def play(line: socket.socket) -> None:
        for byte in acceptance():
            line.sendall(bytes([byte]))
            time.sleep(0.2)

    started = time.monotonic()
    with pytest.raises(PeerUnreachable):
        StorageSCU("DICOM_NODE", 1).echo(receiver(b"", play))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("maximum", [0, 200, 4096, 16384, 1_000_000])
def test_the_peers_largest_pdu_is_respected(pacs: Any, stored: Any, maximum: int) -> None:
    """No PDU is longer than the acceptor takes (PS3.8 D.1), and everything arrives whole."""
    peer = pacs.listen([build_context(MRImageStorage)], maximum_pdu_size=maximum)
    objects = [stored(PixelData=bytes(range(256)) * 300), stored()]
    assert [outcome.verdict for outcome in StorageSCU("DICOM_NODE", 10).store(peer, objects)] == [A, A]
    for item, (uid, data) in zip(objects, pacs.received, strict=True):
        assert (uid, item.path.read_bytes().endswith(data)) == (item.sop_instance_uid, True)
        assert len(data) > 500


def test_the_pace_is_kept(pacs: Any, stored: Any) -> None:
    """3 MB at 2 MiB a second take more than a second."""
    peer = pacs.listen([build_context(MRImageStorage)])
    started = time.monotonic()
    scu = StorageSCU("DICOM_NODE", 10, pace=Pace(2))
    assert [outcome.verdict for outcome in scu.store(peer, [stored(PixelData=bytes(3_000_000))])] == [A]
    assert time.monotonic() - started > 1.2
