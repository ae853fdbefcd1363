"""The DICOM Upper Layer protocol of an association acceptor (PS3.8 9): bytes in, indications and bytes out; no I/O.

`TRANSITIONS` is PS3.8 Table 9-10 for the states an acceptor can be in that never asks for a release itself. Read it
line by line against the standard; a key that is missing is a cell that cannot occur.

P-DATA is not collected: each fragment of a presentation data value (PDV) goes to the user as it comes off the wire,
so a data set of any size passes through the memory of one read.
"""

import struct
from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final, Protocol


class State(Enum):
    """States of PS3.8 9.2.1, those of an acceptor."""

    IDLE = "Sta1"
    AWAITING_REQUEST = "Sta2"
    AWAITING_ANSWER = "Sta3"  # from our own side
    DATA = "Sta6"
    AWAITING_RELEASE_ANSWER = "Sta8"  # from our own side
    AWAITING_CLOSE = "Sta13"


class Event(Enum):
    """Events of PS3.8 9.2.2, those that an acceptor can meet."""

    ASSOCIATE_AC = "Evt3"
    ASSOCIATE_RJ = "Evt4"
    ASSOCIATE_RQ = "Evt6"
    ACCEPT = "Evt7"
    REJECT = "Evt8"
    SEND_DATA = "Evt9"
    P_DATA = "Evt10"
    RELEASE_RQ = "Evt12"
    RELEASE_RP = "Evt13"
    RELEASE_ANSWER = "Evt14"
    ABORT = "Evt15"  # by us
    ABORTED = "Evt16"  # by the peer
    CLOSED = "Evt17"
    ARTIM_EXPIRED = "Evt18"
    INVALID = "Evt19"


class Action(Enum):
    """Actions of PS3.8 9.2.3."""

    AE_6 = "stop ARTIM, judge the request"
    AE_7 = "send A-ASSOCIATE-AC"
    AE_8 = "send A-ASSOCIATE-RJ, start ARTIM"
    DT_1 = "send P-DATA"
    DT_2 = "give P-DATA to the user"
    AR_2 = "tell the user of the release request"
    AR_4 = "send A-RELEASE-RP, start ARTIM"
    AR_5 = "stop ARTIM"
    AR_7 = "send P-DATA after a release request"
    AA_1 = "send A-ABORT, start ARTIM"
    AA_2 = "stop ARTIM, close"
    AA_3 = "tell the user of the abort, close"
    AA_4 = "tell the user that the connection is lost"
    AA_5 = "stop ARTIM, nobody to tell"
    AA_6 = "ignore"
    AA_7 = "send A-ABORT again"
    AA_8 = "send A-ABORT, tell the user, start ARTIM"


_S, _E, _A = State, Event, Action

#: PS3.8 Table 9-10: (state, event) to (action, next state).
TRANSITIONS: Final[Mapping[tuple[State, Event], tuple[Action, State]]] = MappingProxyType(
    {
        (_S.AWAITING_REQUEST, _E.ASSOCIATE_AC): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.AWAITING_REQUEST, _E.ASSOCIATE_RJ): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.AWAITING_REQUEST, _E.ASSOCIATE_RQ): (_A.AE_6, _S.AWAITING_ANSWER),
        (_S.AWAITING_REQUEST, _E.P_DATA): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.AWAITING_REQUEST, _E.RELEASE_RQ): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.AWAITING_REQUEST, _E.RELEASE_RP): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.AWAITING_REQUEST, _E.ABORTED): (_A.AA_2, _S.IDLE),
        (_S.AWAITING_REQUEST, _E.CLOSED): (_A.AA_5, _S.IDLE),
        (_S.AWAITING_REQUEST, _E.ARTIM_EXPIRED): (_A.AA_2, _S.IDLE),
        (_S.AWAITING_REQUEST, _E.INVALID): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.ASSOCIATE_AC): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.ASSOCIATE_RJ): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.ASSOCIATE_RQ): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.ACCEPT): (_A.AE_7, _S.DATA),
        (_S.AWAITING_ANSWER, _E.REJECT): (_A.AE_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.P_DATA): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.RELEASE_RQ): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.RELEASE_RP): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.ABORT): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.AWAITING_ANSWER, _E.ABORTED): (_A.AA_3, _S.IDLE),
        (_S.AWAITING_ANSWER, _E.CLOSED): (_A.AA_4, _S.IDLE),
        (_S.AWAITING_ANSWER, _E.INVALID): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.DATA, _E.ASSOCIATE_AC): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.DATA, _E.ASSOCIATE_RJ): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.DATA, _E.ASSOCIATE_RQ): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.DATA, _E.SEND_DATA): (_A.DT_1, _S.DATA),
        (_S.DATA, _E.P_DATA): (_A.DT_2, _S.DATA),
        (_S.DATA, _E.RELEASE_RQ): (_A.AR_2, _S.AWAITING_RELEASE_ANSWER),
        (_S.DATA, _E.RELEASE_RP): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.DATA, _E.ABORT): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.DATA, _E.ABORTED): (_A.AA_3, _S.IDLE),
        (_S.DATA, _E.CLOSED): (_A.AA_4, _S.IDLE),
        (_S.DATA, _E.INVALID): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.ASSOCIATE_AC): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.ASSOCIATE_RJ): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.ASSOCIATE_RQ): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.SEND_DATA): (_A.AR_7, _S.AWAITING_RELEASE_ANSWER),
        (_S.AWAITING_RELEASE_ANSWER, _E.P_DATA): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.RELEASE_RQ): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.RELEASE_RP): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.RELEASE_ANSWER): (_A.AR_4, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.ABORT): (_A.AA_1, _S.AWAITING_CLOSE),
        (_S.AWAITING_RELEASE_ANSWER, _E.ABORTED): (_A.AA_3, _S.IDLE),
        (_S.AWAITING_RELEASE_ANSWER, _E.CLOSED): (_A.AA_4, _S.IDLE),
        (_S.AWAITING_RELEASE_ANSWER, _E.INVALID): (_A.AA_8, _S.AWAITING_CLOSE),
        (_S.AWAITING_CLOSE, _E.ASSOCIATE_AC): (_A.AA_6, _S.AWAITING_CLOSE),
        (_S.AWAITING_CLOSE, _E.ASSOCIATE_RJ): (_A.AA_6, _S.AWAITING_CLOSE),
        (_S.AWAITING_CLOSE, _E.ASSOCIATE_RQ): (_A.AA_7, _S.AWAITING_CLOSE),
        (_S.AWAITING_CLOSE, _E.P_DATA): (_A.AA_6, _S.AWAITING_CLOSE),
        (_S.AWAITING_CLOSE, _E.RELEASE_RQ): (_A.AA_6, _S.AWAITING_CLOSE),
        (_S.AWAITING_CLOSE, _E.RELEASE_RP): (_A.AA_6, _S.AWAITING_CLOSE),
        (_S.AWAITING_CLOSE, _E.ABORTED): (_A.AA_2, _S.IDLE),
        (_S.AWAITING_CLOSE, _E.CLOSED): (_A.AR_5, _S.IDLE),
        (_S.AWAITING_CLOSE, _E.ARTIM_EXPIRED): (_A.AA_2, _S.IDLE),
        (_S.AWAITING_CLOSE, _E.INVALID): (_A.AA_7, _S.AWAITING_CLOSE),
    }
)


#: What each action does; the methods stand in `UpperLayer`.
_ACTIONS: Final[Mapping[Action, str]] = MappingProxyType(
    {
        Action.AE_6: "_indicate_request",
        Action.AE_7: "_send",
        Action.AE_8: "_send_last",
        Action.DT_1: "_send",
        Action.DT_2: "_ignore",
        Action.AR_2: "_indicate_release",
        Action.AR_4: "_release",
        Action.AR_5: "_stop_artim",
        Action.AR_7: "_send",
        Action.AA_1: "_send_abort",
        Action.AA_2: "_stop_artim",
        Action.AA_3: "_indicate_abort",
        Action.AA_4: "_indicate_loss",
        Action.AA_5: "_stop_artim",
        Action.AA_6: "_ignore",
        Action.AA_7: "_send_abort",
        Action.AA_8: "_send_abort_and_tell",
    }
)


class AbortReason(IntEnum):
    """Reason of an A-ABORT whose source is the service provider (PS3.8 9.3.8)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    INVALID_PARAMETER = 6


class _Pdu(IntEnum):
    """PDU types (PS3.8 9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


_EVENTS: Final = {
    _Pdu.ASSOCIATE_RQ: _E.ASSOCIATE_RQ,
    _Pdu.ASSOCIATE_AC: _E.ASSOCIATE_AC,
    _Pdu.ASSOCIATE_RJ: _E.ASSOCIATE_RJ,
    _Pdu.P_DATA: _E.P_DATA,
    _Pdu.RELEASE_RQ: _E.RELEASE_RQ,
    _Pdu.RELEASE_RP: _E.RELEASE_RP,
    _Pdu.ABORT: _E.ABORTED,
}
_PDU_HEAD: Final = struct.Struct(">BxI")
_PDV_HEAD: Final = struct.Struct(">IBB")
_HEAD_SIZE: Final = 6  # of a PDU and of a PDV alike
_PDV_OVERHEAD: Final = 2  # context ID and message control header are counted in a PDV's length
_SHORT_BODY: Final = 4  # of A-RELEASE and A-ABORT
#: 128 contexts with every transfer syntax there is take a fifth of it.
_LONGEST_REQUEST: Final = 2**20
_RELEASE_RP: Final = struct.pack(">BxII", 6, 4, 0)


class Transport(Protocol):
    """The connection below."""

    def send(self, data: bytes) -> None:
        """Send bytes, now or when the peer takes them."""
        ...

    def close(self) -> None:
        """Close the connection, once what was sent has gone out."""
        ...

    def start_artim(self) -> None:
        """Start the ARTIM timer anew (PS3.8 9.1.5)."""
        ...

    def stop_artim(self) -> None:
        """Stop it."""
        ...


class User(Protocol):
    """The user of the service above: ACSE and DIMSE."""

    def requested(self, pdu: bytes) -> None:
        """Judge an A-ASSOCIATE-RQ; `accept` or `reject` is called then or later."""
        ...

    def data(self, context_id: int, control: int, fragment: memoryview, last: bool) -> None:
        """Take a piece of a PDV; `last` says that the PDV ends with it. Raises `ProtocolFault` to abort."""
        ...

    def release_requested(self) -> None:
        """Finish what is under way, then `answer_release`."""
        ...

    def aborted(self) -> None:
        """The peer has aborted."""
        ...

    def lost(self) -> None:
        """The connection is gone, or was aborted over a fault of the peer."""
        ...


class ProtocolFault(Exception):
    """The peer has broken the protocol in a way that ends the association."""


class UpperLayer:
    """One association's upper layer."""

    def __init__(self, transport: Transport, user: User) -> None:
        self.state = State.AWAITING_REQUEST
        self._transport = transport
        self._user = user
        self._partial = bytearray()  # of a head that is not yet whole, or of a short PDU
        self._pdu_left = 0  # bytes of the P-DATA-TF PDU that are still to come
        self._pdv_left = -1  # bytes of the PDV that are still to come; -1: its head comes next
        self._context_id = self._control = 0
        self._skip = 0  # bytes of a PDU that nobody wants
        self._deaf = False  # PDU boundaries are lost, or somebody else reads them
        self.rest = b""  # bytes that came after the request of an association that was handed over
        self._abort_reason = AbortReason.NOT_SPECIFIED
        transport.start_artim()

    # What the user does

    def accept(self, pdu: bytes) -> None:
        """Answer the request with this A-ASSOCIATE-AC."""
        self._step(Event.ACCEPT, pdu)

    def reject(self, pdu: bytes) -> None:
        """Answer the request with this A-ASSOCIATE-RJ, unless its sender has gone meanwhile."""
        if (self.state, Event.REJECT) in TRANSITIONS:
            self._step(Event.REJECT, pdu)

    def send(self, pdus: bytes) -> None:
        """Send P-DATA-TF PDUs; dropped if the association has ended meanwhile."""
        if (self.state, Event.SEND_DATA) in TRANSITIONS:
            self._step(Event.SEND_DATA, pdus)

    def answer_release(self) -> None:
        """Answer the release request."""
        if self.state is State.AWAITING_RELEASE_ANSWER:
            self._step(Event.RELEASE_ANSWER)

    def abort(self) -> None:
        """Abort the association, if there is still one."""
        if (self.state, Event.ABORT) in TRANSITIONS:
            self._step(Event.ABORT)

    def detach(self) -> None:
        """Leave the association to somebody else; called while its request is judged."""
        self._deaf = True
        self._transport.stop_artim()

    # What happens below

    def closed(self) -> None:
        """Note that the connection is closed."""
        if self.state is not State.IDLE:
            self._step(Event.CLOSED)

    def artim_expired(self) -> None:
        """Note that the ARTIM timer ran out."""
        if (self.state, Event.ARTIM_EXPIRED) in TRANSITIONS:
            self._step(Event.ARTIM_EXPIRED)

    def received(self, data: memoryview) -> None:
        """Take bytes off the wire; all of them are used or kept when this returns."""
        at, end = 0, len(data)
        try:
            while at < end and self.state is not State.IDLE and not self._deaf:
                if self._skip:
                    step = min(self._skip, end - at)
                    self._skip -= step
                    at += step
                elif self._pdu_left:
                    at = self._p_data(data, at)
                else:
                    at = self._pdu(data, at)
            self.rest = bytes(data[at:])
        except ProtocolFault:
            self._invalid(AbortReason.INVALID_PARAMETER)

    # Taking PDUs apart

    def _collect(self, data: memoryview, at: int, size: int) -> tuple[int, bytes | None]:
        """Collect `size` bytes over as many reads as it takes; return the new position, and them when whole."""
        partial = self._partial
        if not partial and at + size <= len(data):
            return at + size, bytes(data[at : at + size])
        step = min(size - len(partial), len(data) - at)
        partial += data[at : at + step]
        if len(partial) < size:
            return at + step, None
        whole = bytes(partial)
        partial.clear()
        return at + step, whole

    def _pdu(self, data: memoryview, at: int) -> int:
        """Take the head of a PDU, and the whole of one that is not P-DATA."""
        if len(self._partial) < _HEAD_SIZE:
            at, head = self._collect(data, at, _HEAD_SIZE)
            if head is None:
                return self._early(at)
        else:
            head = bytes(self._partial[:_HEAD_SIZE])
        kind, length = _PDU_HEAD.unpack(head)
        if kind not in _EVENTS:
            return self._invalid(AbortReason.UNRECOGNISED_PDU)
        if kind == _Pdu.P_DATA:
            return self._p_data_head(at, length)
        if not self._wanted(kind):
            self._skip = length
            self._unexpected(_EVENTS[kind])
            return at
        if length > (_LONGEST_REQUEST if kind == _Pdu.ASSOCIATE_RQ else _SHORT_BODY):
            return self._invalid(AbortReason.INVALID_PARAMETER)
        if not self._partial:
            self._partial += head
        at, pdu = self._collect(data, at, _HEAD_SIZE + length)
        if pdu is not None:
            self._step(_EVENTS[_Pdu(kind)], pdu)
        return at

    def _early(self, at: int) -> int:
        """Turn away at the first byte who speaks no DICOM at all: a browser may not send a sixth."""
        if self._partial and self._partial[0] not in _EVENTS:
            return self._invalid(AbortReason.UNRECOGNISED_PDU)
        return at

    def _wanted(self, kind: int) -> bool:
        """Return whether the body of a PDU has to be read before its event can be met."""
        if kind == _Pdu.ASSOCIATE_RQ:
            return self.state is State.AWAITING_REQUEST
        return kind in {_Pdu.RELEASE_RQ, _Pdu.RELEASE_RP, _Pdu.ABORT}

    def _p_data_head(self, at: int, length: int) -> int:
        if TRANSITIONS[self.state, Event.P_DATA][0] is Action.DT_2:
            self._pdu_left = length
        else:
            self._skip = length
            self._unexpected(Event.P_DATA)
        return at

    def _p_data(self, data: memoryview, at: int) -> int:
        """Take what there is of a P-DATA-TF PDU (PS3.8 9.3.5)."""
        if self._pdv_left < 0:
            if self._pdu_left < _HEAD_SIZE - len(self._partial):
                raise ProtocolFault("a PDU ends in the head of a PDV")
            before = at
            at, head = self._collect(data, at, _HEAD_SIZE)
            self._pdu_left -= at - before
            if head is None:
                return at
            length, self._context_id, self._control = _PDV_HEAD.unpack(head)
            self._pdv_left = length - _PDV_OVERHEAD
            if not 0 <= self._pdv_left <= self._pdu_left:
                raise ProtocolFault("a PDV is longer than its PDU")
        size = min(self._pdv_left, len(data) - at)
        self._pdv_left -= size
        self._pdu_left -= size
        last = self._pdv_left == 0
        if last:
            self._pdv_left = -1
        if size or last:
            self._user.data(self._context_id, self._control, data[at : at + size], last)
        return at + size

    # The state machine

    def _invalid(self, reason: AbortReason) -> int:
        self._deaf = True
        self._partial.clear()
        self._abort_reason = reason
        self._step(Event.INVALID)
        return 0  # the position does not matter any more

    def _unexpected(self, event: Event) -> None:
        self._partial.clear()
        self._abort_reason = AbortReason.UNEXPECTED_PDU
        self._step(event)

    def _step(self, event: Event, pdu: bytes = b"") -> None:
        if event in {Event.RELEASE_RQ, Event.RELEASE_RP}:
            self._abort_reason = AbortReason.UNEXPECTED_PDU
        action, self.state = TRANSITIONS[self.state, event]
        getattr(self, _ACTIONS[action])(pdu)

    def _indicate_request(self, pdu: bytes) -> None:
        self._transport.stop_artim()
        self._user.requested(pdu)

    def _send(self, pdu: bytes) -> None:
        self._transport.send(pdu)

    def _send_last(self, pdu: bytes) -> None:
        self._transport.send(pdu)
        self._transport.start_artim()

    def _indicate_release(self, _pdu: bytes) -> None:
        self._user.release_requested()

    def _release(self, _pdu: bytes) -> None:
        self._send_last(_RELEASE_RP)

    def _stop_artim(self, _pdu: bytes) -> None:
        self._transport.stop_artim()
        self._transport.close()

    def _indicate_abort(self, _pdu: bytes) -> None:
        self._user.aborted()
        self._transport.close()

    def _indicate_loss(self, _pdu: bytes) -> None:
        self._user.lost()
        self._transport.close()

    def _ignore(self, _pdu: bytes) -> None:
        """AA-6 and DT-2: P-DATA goes to the user fragment by fragment."""

    def _send_abort(self, _pdu: bytes) -> None:
        self._send_last(abort_pdu(self._abort_reason))

    def _send_abort_and_tell(self, _pdu: bytes) -> None:
        self._send_last(abort_pdu(self._abort_reason))
        self._user.lost()


def abort_pdu(reason: AbortReason) -> bytes:
    """Return an A-ABORT of the service provider: the peer learns more than from one of the service user."""
    return struct.pack(">BxIBBBB", _Pdu.ABORT, 4, 0, 0, 2, reason)


def reject_pdu(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BxIBBBB", _Pdu.ASSOCIATE_RJ, 4, 0, result, source, reason)
