"""PS3.8 Table 9-10 on the wire: every PDU in every state that a peer can bring the node into, on both engines.

What the peer sees is the same wherever the standard says what it sees. The cells of the fast engine's own table are
tested one by one in `tests/unit/test_upper_layer.py`.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from bench import upper_layer
from bench.upper_layer import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, ASSOCIATE_RQ, RELEASE_RP, RELEASE_RQ
from dicom_node.entities import AssociationEnd
from dicom_node.settings import Engine, Source

_CONTEXTS: Final = [(upper_layer.MR_STORAGE, upper_layer.EXPLICIT_LITTLE)]
_REQUEST: Final = upper_layer.associate_rq("SCANNER", "NODE", _CONTEXTS)
#: The same with an asynchronous operations window (PS3.7 D.3.3.3): without one nothing is read before the answer.
_WINDOW: Final = struct.pack(">BxHHH", 0x53, 4, 4, 1)
_USER: Final = _REQUEST.rindex(b"\x50\x00")
_OVERLAPPING: Final = upper_layer.pdu(
    ASSOCIATE_RQ,
    _REQUEST[6:_USER]
    + struct.pack(">BxH", 0x50, len(_REQUEST) - _USER - 4 + len(_WINDOW))
    + _REQUEST[_USER + 4 :]
    + _WINDOW,
)
_ECHO: Final = b"".join(upper_layer.p_data(1, upper_layer.c_echo_rq(1), command=True))
_PDUS: Final = {
    "A-ASSOCIATE-RQ": _REQUEST,
    "A-ASSOCIATE-AC": upper_layer.pdu(ASSOCIATE_AC, _REQUEST[6:]),
    "A-ASSOCIATE-RJ": upper_layer.pdu(ASSOCIATE_RJ, bytes([0, 1, 1, 1])),
    "P-DATA-TF": _ECHO,
    "A-RELEASE-RQ": upper_layer.pdu(RELEASE_RQ, bytes(4)),
    "A-RELEASE-RP": upper_layer.pdu(RELEASE_RP, bytes(4)),
    "A-ABORT": upper_layer.pdu(ABORT, bytes(4)),
    "unknown": upper_layer.pdu(0x4C, b""),
}
_OUT_OF_TURN: Final = ("A-ASSOCIATE-RQ", "A-ASSOCIATE-AC", "A-ASSOCIATE-RJ", "A-RELEASE-RP", "unknown")


class Wire:
    """One connection, and all PDUs that came by it."""

    def __init__(self, node: Any) -> None:
        self.line = socket.create_connection(("127.0.0.1", node.scp.port), 6)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        self._taken = 0

    def send(self, *names: str) -> None:
        """Send PDUs at once."""
        self.line.sendall(b"".join(_PDUS[name] for name in names))

    def next(self) -> int:
        """Return the type of the next PDU; 0 if there is none, because the node has hung up."""
        while len(found := list(upper_layer.split(self._data))) == self._taken:
            try:
                piece = self.line.recv(4096)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return 0
            self._data += piece
        self._taken += 1
        return found[self._taken - 1][0]


@pytest.fixture
def house(start_node: Any) -> Any:
    """A node that soon stops waiting for its peer to hang up (ARTIM)."""
    return start_node(acse_timeout_seconds=0.5, network_timeout_seconds=2.0)


@pytest.fixture
def connect(house: Any) -> Iterator[Callable[[], Wire]]:
    """Return a function that connects to it."""
    opened: list[Wire] = []

    def open_one() -> Wire:
        opened.append(Wire(house))
        return opened[-1]

    yield open_one
    for each in opened:
        each.line.close()


@pytest.mark.parametrize("name", [name for name in _PDUS if name not in {"A-ASSOCIATE-RQ", "A-ABORT"}])
def test_before_any_request(house: Any, connect: Any, name: str) -> None:
    """Sta2: whatever is no request is answered with A-ABORT, and the connection closed when ARTIM expires (AA-1)."""
    wire = connect()
    wire.send(name)
    assert (wire.next(), wire.next()) == (ABORT, 0)
    assert house.still_serves()


def test_an_abort_before_any_request(house: Any, connect: Any) -> None:
    """Sta2: an A-ABORT closes the connection without a word (AA-2)."""
    wire = connect()
    wire.send("A-ABORT")
    assert wire.next() == 0
    assert house.still_serves()


@pytest.mark.parametrize("name", _OUT_OF_TURN)
def test_out_of_turn_while_associated(house: Any, connect: Any, eventually: Any, name: str) -> None:
    """Sta6: A-ABORT (AA-8); the association counts as lost."""
    wire = connect()
    wire.send("A-ASSOCIATE-RQ")
    assert wire.next() == ASSOCIATE_AC
    wire.send(name)
    assert (wire.next(), wire.next()) == (ABORT, 0)
    assert eventually(lambda: [record.end for record in house.ledger.records] == [AssociationEnd.LOST])
    assert house.still_serves()


@pytest.mark.parametrize(
    ("name", "answer", "end"),
    [("A-RELEASE-RQ", [RELEASE_RP, 0], AssociationEnd.RELEASED), ("A-ABORT", [0], AssociationEnd.ABORTED)],
)
def test_the_end_of_an_idle_association(
    house: Any, connect: Any, eventually: Any, name: str, answer: list[int], end: AssociationEnd
) -> None:
    """Sta6: a release is answered (AR-2, AR-4), an abort is not (AA-3); then the node hangs up."""
    wire = connect()
    wire.send("A-ASSOCIATE-RQ")
    assert wire.next() == ASSOCIATE_AC
    wire.send(name)
    assert [wire.next() for _ in answer] == answer
    assert eventually(lambda: [record.end for record in house.ledger.records] == [end])


@pytest.fixture
def storing(house: Any, connect: Any, mr_image: Any, encoded: Any, engine: Engine, way: str) -> Iterator[Wire]:
    """A connection whose object is being kept: the ledger has not returned yet."""
    if way == "journal":
        pytest.skip("what goes to the journal is kept and answered in one step")
    if engine is Engine.PYNETDICOM:
        pytest.skip("pynetdicom looks at nothing that comes while it answers")
    wire = connect()
    wire.line.sendall(_OVERLAPPING)
    assert wire.next() == ASSOCIATE_AC
    image = mr_image()
    house.ledger.gate.clear()
    data = upper_layer.c_store(1, 1, upper_layer.MR_STORAGE, image.SOPInstanceUID, encoded(image))
    wire.line.sendall(data)
    assert house.ledger.asked.wait(10)
    yield wire
    house.ledger.gate.set()


@pytest.mark.parametrize("name", [*_OUT_OF_TURN, "A-ABORT"])
def test_an_end_while_an_object_is_kept(house: Any, storing: Wire, eventually: Any, name: str) -> None:
    """Sta6, an answer due: the association ends as if idle; the object is kept, and its sender will send it again."""
    storing.send(name)
    assert storing.next() == (0 if name == "A-ABORT" else ABORT)
    house.ledger.gate.set()
    end = AssociationEnd.ABORTED if name == "A-ABORT" else AssociationEnd.LOST
    assert eventually(lambda: [(record.end, record.kept) for record in house.ledger.records] == [(end, 1)])
    assert [each for _, each in house.ledger.ends] == [end]
    assert house.ledger.log == ["arrival", "end"]
    assert house.files("incoming") == []


@pytest.mark.parametrize("name", ["P-DATA-TF", "A-RELEASE-RQ", *_OUT_OF_TURN])
def test_anything_after_a_release_request(house: Any, storing: Wire, eventually: Any, name: str) -> None:
    """Sta8, an answer due: who has asked for the release has nothing more to say, so A-ABORT (AA-8)."""
    storing.send("A-RELEASE-RQ", name)
    assert storing.next() == ABORT
    house.ledger.gate.set()
    assert eventually(lambda: [(each.end, each.kept) for each in house.ledger.records] == [(AssociationEnd.LOST, 1)])


def test_an_abort_after_a_release_request(house: Any, storing: Wire, eventually: Any) -> None:
    """Sta8, an answer due: the abort counts (AA-3)."""
    storing.send("A-RELEASE-RQ", "A-ABORT")
    assert storing.next() == 0
    house.ledger.gate.set()
    assert eventually(lambda: [each.end for each in house.ledger.records] == [AssociationEnd.ABORTED])


_AFTER_THE_END: Final = [
    *((name, [0]) for name in _PDUS if name not in {"A-ASSOCIATE-RQ", "unknown"}),
    *((name, [ABORT, 0]) for name in ("A-ASSOCIATE-RQ", "unknown")),
]


@pytest.mark.parametrize(("name", "answer"), _AFTER_THE_END)
def test_anything_after_a_release(
    house: Any, connect: Any, eventually: Any, engine: Engine, name: str, answer: list[int]
) -> None:
    """Sta13: ignored (AA-6), but a new request or noise is answered with A-ABORT (AA-7); then hung up (ARTIM)."""
    if engine is Engine.PYNETDICOM:
        pytest.skip("pynetdicom hangs up as soon as it has answered a release")
    wire = connect()
    for sent, heard in (("A-ASSOCIATE-RQ", ASSOCIATE_AC), ("A-RELEASE-RQ", RELEASE_RP)):
        wire.send(sent)
        assert wire.next() == heard
    wire.send(name)
    assert [wire.next() for _ in answer] == answer
    assert eventually(lambda: [each.end for each in house.ledger.records] == [AssociationEnd.RELEASED])
    assert house.still_serves()


@pytest.fixture
def judging(start_node: Any) -> Iterator[Any]:
    """A node that takes its time to note a stranger, and a connection of one."""
    node = start_node((Source(name="other", ae_titles=("OTHER",), addresses=("*",)),), acse_timeout_seconds=0.5)
    told, asked = threading.Event(), threading.Event()

    def slow(**_: Any) -> None:
        asked.set()
        assert told.wait(10)

    node.ledger.note_refused_sender = slow
    wire = Wire(node)
    wire.send("A-ASSOCIATE-RQ")
    assert asked.wait(10)
    yield wire, told
    told.set()
    wire.line.close()


def test_a_refused_request(judging: Any) -> None:
    """Sta3, Sta13: A-ASSOCIATE-RJ once the request is judged (AE-8), then hung up when ARTIM expires."""
    wire, told = judging
    told.set()
    assert (wire.next(), wire.next()) == (ASSOCIATE_RJ, 0)


@pytest.mark.parametrize("name", [name for name in _PDUS if name != "A-ABORT"])
def test_anything_while_a_request_is_judged(judging: Any, name: str) -> None:
    """Sta3: nothing may come before the answer, so A-ABORT (AA-8), and no answer afterwards."""
    wire, told = judging
    wire.send(name)
    assert wire.next() == ABORT
    told.set()
    assert wire.next() == 0


def test_an_abort_while_a_request_is_judged(judging: Any) -> None:
    """Sta3: the connection is closed without a word (AA-3)."""
    wire, told = judging
    wire.send("A-ABORT")
    assert wire.next() == 0
    told.set()


@pytest.mark.parametrize(("name", "answer"), _AFTER_THE_END)
def test_anything_after_a_rejection(judging: Any, name: str, answer: list[int]) -> None:
    """Sta13, as after a release: ignored, or answered with A-ABORT; then hung up."""
    wire, told = judging
    told.set()
    assert wire.next() == ASSOCIATE_RJ
    wire.send(name)
    assert [wire.next() for _ in answer] == answer


@pytest.mark.parametrize("names", [[], ["A-ASSOCIATE-RQ"], ["A-ASSOCIATE-RQ", "A-RELEASE-RQ"]])
def test_a_connection_closed_in_any_state(house: Any, connect: Any, eventually: Any, names: list[str]) -> None:
    """Sta2, Sta6, Sta13: a peer that is gone without a word leaves nothing behind (AA-5, AA-4, AR-5)."""
    before = threading.active_count()
    wire = connect()
    for name in names:
        wire.send(name)
        wire.next()
    wire.line.close()
    ends = {0: [], 1: [AssociationEnd.LOST], 2: [AssociationEnd.RELEASED]}[len(names)]
    assert eventually(lambda: [record.end for record in house.ledger.records] == ends)
    assert eventually(lambda: threading.active_count() <= before)


def test_a_connection_closed_while_an_object_is_kept(house: Any, storing: Wire, eventually: Any) -> None:
    """Sta6 and Sta8, an answer due: the object is kept, and the association lost."""
    storing.send("A-RELEASE-RQ")
    storing.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    storing.line.close()
    house.ledger.gate.set()
    assert eventually(lambda: [each.kept for each in house.ledger.records] == [1])
