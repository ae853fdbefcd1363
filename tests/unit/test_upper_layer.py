"""PS3.8 Table 9-10, cell by cell, and P-DATA in every cut."""

import struct

import pytest

from dicom_node.storage_scp.commands import COMMAND, LAST, p_data
from dicom_node.storage_scp.upper_layer import TRANSITIONS, Action, Event, ProtocolFault, State, UpperLayer

RQ = struct.pack(">BxI", 1, 68) + bytes(68)
AC, RJ = struct.pack(">BxI", 2, 68) + bytes(68), struct.pack(">BxII", 3, 4, 0)
RELEASE_RQ, RELEASE_RP = struct.pack(">BxII", 5, 4, 0), struct.pack(">BxII", 6, 4, 0)
ABORT = struct.pack(">BxII", 7, 4, 0)
DATA = struct.pack(">BxIIBB", 4, 7, 3, 1, LAST) + b"x"
UNKNOWN = struct.pack(">BxI", 9, 0)
OUR_ABORT, OUR_RELEASE = 7, 6


class World:
    """Both neighbours of an upper layer: what they were told."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.sent: list[bytes] = []
        self.told: list[str] = []
        self.closed = False
        self.artim = False
        self.fragments: list[tuple[int, int, bytes, bool]] = []
        self.stubborn = stubborn
        self.layer = UpperLayer(self, self)

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True

    def start_artim(self) -> None:
        self.artim = True

    def stop_artim(self) -> None:
        self.artim = False

    def requested(self, pdu: bytes) -> None:
        self.told.append("requested")

    def data(self, context_id: int, control: int, fragment: memoryview, last: bool) -> None:
        if self.stubborn:
            raise ProtocolFault
        self.fragments.append((context_id, control, bytes(fragment), last))

    def release_requested(self) -> None:
        self.told.append("release requested")

    def aborted(self) -> None:
        self.told.append("aborted")

    def lost(self) -> None:
        self.told.append("lost")

    def hears(self, *pdus: bytes) -> None:
        self.layer.received(memoryview(b"".join(pdus)))


def in_state(state: State) -> World:
    """Return a world whose association is in a state, reached as the standard says."""
    world = World()
    if state is State.AWAITING_REQUEST:
        return world
    world.hears(RQ)
    if state in {State.DATA, State.AWAITING_RELEASE_ANSWER, State.AWAITING_CLOSE}:
        world.layer.accept(AC)
    if state in {State.AWAITING_RELEASE_ANSWER, State.AWAITING_CLOSE}:
        world.hears(RELEASE_RQ)
    if state is State.AWAITING_CLOSE:
        world.layer.answer_release()
    assert world.layer.state is state
    world.sent.clear()
    world.told.clear()
    return world


def happen(world: World, event: Event) -> None:
    """Let one event of PS3.8 9.2.2 happen."""
    pdus = {
        Event.ASSOCIATE_AC: AC,
        Event.ASSOCIATE_RJ: RJ,
        Event.ASSOCIATE_RQ: RQ,
        Event.P_DATA: DATA,
        Event.RELEASE_RQ: RELEASE_RQ,
        Event.RELEASE_RP: RELEASE_RP,
        Event.ABORTED: ABORT,
        Event.INVALID: UNKNOWN,
    }
    calls = {
        Event.ACCEPT: lambda: world.layer.accept(AC),
        Event.REJECT: lambda: world.layer.reject(RJ),
        Event.SEND_DATA: lambda: world.layer.send(DATA),
        Event.RELEASE_ANSWER: world.layer.answer_release,
        Event.ABORT: world.layer.abort,
        Event.CLOSED: world.layer.closed,
        Event.ARTIM_EXPIRED: world.layer.artim_expired,
    }
    if event in pdus:
        world.hears(pdus[event])
    else:
        calls[event]()


def _aborts(world: World) -> bool:
    return [pdu[0] for pdu in world.sent] == [OUR_ABORT] and world.artim and not world.closed


#: What is seen from outside of each action of PS3.8 9.2.3.
SEEN = {
    Action.AE_6: lambda world: world.told == ["requested"] and not world.artim,
    Action.AE_7: lambda world: world.sent == [AC],
    Action.AE_8: lambda world: world.sent == [RJ] and world.artim,
    Action.DT_1: lambda world: world.sent == [DATA],
    Action.DT_2: lambda world: world.fragments == [(1, LAST, b"x", True)],
    Action.AR_2: lambda world: world.told == ["release requested"],
    Action.AR_4: lambda world: [pdu[0] for pdu in world.sent] == [OUR_RELEASE] and world.artim,
    Action.AR_5: lambda world: world.closed and not world.artim and not world.sent,
    Action.AR_7: lambda world: world.sent == [DATA],
    Action.AA_1: _aborts,
    Action.AA_2: lambda world: world.closed and not world.artim,
    Action.AA_3: lambda world: world.told == ["aborted"] and world.closed,
    Action.AA_4: lambda world: world.told == ["lost"],
    Action.AA_5: lambda world: not world.artim and not world.told,
    Action.AA_6: lambda world: not world.sent and not world.told and not world.closed,
    Action.AA_7: lambda world: [pdu[0] for pdu in world.sent] == [OUR_ABORT],
    Action.AA_8: lambda world: _aborts(world) and world.told == ["lost"],
}

#: PS3.8 Table 9-10, columns Sta2, Sta3, Sta6, Sta8, Sta13, copied from the standard line by line.
TABLE = """
Evt3   AA-1  AA-8  AA-8  AA-8  AA-6
Evt4   AA-1  AA-8  AA-8  AA-8  AA-6
Evt6   AE-6  AA-8  AA-8  AA-8  AA-7
Evt7   -     AE-7  -     -     -
Evt8   -     AE-8  -     -     -
Evt9   -     -     DT-1  AR-7  -
Evt10  AA-1  AA-8  DT-2  AA-8  AA-6
Evt12  AA-1  AA-8  AR-2  AA-8  AA-6
Evt13  AA-1  AA-8  AA-8  AA-8  AA-6
Evt14  -     -     -     AR-4  -
Evt15  -     AA-1  AA-1  AA-1  -
Evt16  AA-2  AA-3  AA-3  AA-3  AA-2
Evt17  AA-5  AA-4  AA-4  AA-4  AR-5
Evt18  AA-2  -     -     -     AA-2
Evt19  AA-1  AA-8  AA-8  AA-8  AA-7
"""
COLUMNS = [
    State.AWAITING_REQUEST,
    State.AWAITING_ANSWER,
    State.DATA,
    State.AWAITING_RELEASE_ANSWER,
    State.AWAITING_CLOSE,
]
CELLS = [
    (state, Event(line.split()[0]), Action[action.replace("-", "_")])
    for line in TABLE.strip().splitlines()
    for state, action in zip(COLUMNS, line.split()[1:], strict=True)
    if action != "-"
]


def test_the_table_is_the_standards() -> None:
    """`TRANSITIONS` holds the cells of PS3.8 Table 9-10 for an acceptor, no more and no fewer."""
    assert {key: action for key, (action, _) in TRANSITIONS.items()} == {(s, e): a for s, e, a in CELLS}


@pytest.mark.parametrize(("state", "event", "action"), CELLS, ids=lambda value: value.name)
def test_a_cell_of_the_table(state: State, event: Event, action: Action) -> None:
    """What is seen from outside is what the cell's action says, and the next state is the table's."""
    world = in_state(state)
    happen(world, event)
    assert SEEN[action](world), (world.sent, world.told, world.closed, world.artim)
    assert world.layer.state is TRANSITIONS[state, event][1]


@pytest.mark.parametrize("state", [State.AWAITING_CLOSE, State.DATA])
def test_what_follows_garbage_is_not_read(state: State) -> None:
    """After an unrecognised PDU nobody knows where the next one begins: one A-ABORT, and silence."""
    world = in_state(state)
    world.hears(UNKNOWN, RELEASE_RQ, b"\xff" * 1000)
    assert [pdu[0] for pdu in world.sent] == [OUR_ABORT]


@pytest.mark.parametrize("cut", range(1, 12))
def test_pdus_arrive_in_any_pieces(cut: int) -> None:
    """TCP cuts where it likes: the same fragments and events, however the bytes arrive."""
    world = World()
    for at in range(0, len(RQ), cut):
        world.hears(RQ[at : at + cut])
    world.layer.accept(AC)
    stream = DATA + DATA + RELEASE_RQ
    for at in range(0, len(stream), cut):
        world.hears(stream[at : at + cut])
    assert world.told == ["requested", "release requested"]
    assert b"".join(data for _, _, data, _ in world.fragments) == b"xx"
    assert [last for *_, last in world.fragments] == [True, True]


def test_several_pdvs_in_a_pdu() -> None:
    """A P-DATA-TF PDU may hold several PDVs, of several contexts, empty ones among them (PS3.8 9.3.5.1)."""
    pdvs = [(1, COMMAND, b"ab"), (1, COMMAND | LAST, b""), (3, 0, b"c"), (3, LAST, b"def")]
    body = b"".join(struct.pack(">IBB", len(data) + 2, context, control) + data for context, control, data in pdvs)
    world = in_state(State.DATA)
    world.hears(struct.pack(">BxI", 4, len(body)) + body)
    assert world.fragments == [(*pdv, True) for pdv in pdvs]


@pytest.mark.parametrize("body", [struct.pack(">IBB", 100, 1, 0) + b"x", struct.pack(">IBB", 1, 1, 0), b"\0\0\0"])
def test_a_pdv_that_does_not_fit_its_pdu(body: bytes) -> None:
    """A PDV longer than its PDU, shorter than its own head, or cut off: A-ABORT, invalid parameter (PS3.8 9.3.8)."""
    world = in_state(State.DATA)
    world.hears(struct.pack(">BxI", 4, len(body)) + body)
    assert world.sent == [bytes.fromhex("07000000000400000206")]
    assert world.told == ["lost"]


def test_a_user_that_objects_aborts() -> None:
    """What DIMSE cannot make sense of ends the association with an A-ABORT."""
    world = World(stubborn=True)
    world.hears(RQ)
    world.layer.accept(AC)
    world.sent.clear()
    world.hears(DATA)
    assert [pdu[0] for pdu in world.sent] == [OUR_ABORT]


@pytest.mark.parametrize(
    "pdu", [struct.pack(">BxI", 1, 2**21), struct.pack(">BxI", 5, 5), struct.pack(">BxI", 7, 0xFFFFFFFF)]
)
def test_no_pdu_fills_the_memory(pdu: bytes) -> None:
    """A PDU that claims to be longer than its kind can be is refused at its head."""
    world = in_state(State.AWAITING_REQUEST if pdu[0] == 1 else State.DATA)
    world.hears(pdu)
    assert [sent[0] for sent in world.sent] == [OUR_ABORT]


@pytest.mark.parametrize("limit", [0, 4096, 2**20, 7, 30])
def test_answers_fit_the_peers_maximum(limit: int) -> None:
    """No P-DATA-TF PDU of ours is longer than the peer's maximum (PS3.8 D.1); 0 is no maximum."""
    command = bytes(range(100))
    data, pieces = p_data(5, command, limit), []
    while data:
        length, pdv, context, control = struct.unpack_from(">xxIIBB", data)
        assert not limit or length <= limit
        assert (pdv, context) == (length - 4, 5)
        pieces.append((control, data[12 : 6 + length]))
        data = data[6 + length :]
    assert b"".join(piece for _, piece in pieces) == command
    assert [control for control, _ in pieces] == [COMMAND] * (len(pieces) - 1) + [COMMAND | LAST]
