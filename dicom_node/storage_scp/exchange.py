"""DIMSE over one association (PS3.7 8, 9): C-ECHO, C-STORE; its upper layer's user. Runs on the receiver's thread."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog

from dicom_node.entities import AssociationEnd
from dicom_node.errors import CannotUnderstand, Refusal, SopClassMismatch
from dicom_node.instance_store import Incoming, is_uid
from dicom_node.settings import Engine
from dicom_node.storage_scp.admission import Rejection, local_limit
from dicom_node.storage_scp.commands import COMMAND, LAST, Command, Field, decode, p_data, response
from dicom_node.storage_scp.commits import Complete
from dicom_node.storage_scp.intake import Intake
from dicom_node.storage_scp.moves import Ended
from dicom_node.storage_scp.negotiation import Context, Negotiated, accept_pdu, callers, negotiate
from dicom_node.storage_scp.reception import Reception, named
from dicom_node.storage_scp.tally import Tally
from dicom_node.storage_scp.upper_layer import ProtocolFault, UpperLayer, reject_pdu

log = structlog.get_logger(__name__)

_SUCCESS: Final = 0x0000
_UNRECOGNISED_OPERATION: Final = 0x0211  # PS3.7 C.5.22
#: The longest command set of a C-STORE has some 400 bytes.
_LONGEST_COMMAND: Final = 2**16


class Line(Protocol):
    """What an association asks of its connection."""

    layer: UpperLayer

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the receiver's thread; from any thread."""
        ...

    def resume(self) -> None:
        """Read again, if reading had stopped because the association was `full`."""
        ...

    def hand_over(self, request: bytes) -> None:
        """Let pynetdicom carry the association that this A-ASSOCIATE-RQ asks for."""
        ...


class Exchange:
    """One association, from its request to its end."""

    def __init__(self, line: Line, address: str, reception: Reception, intake: Intake) -> None:
        self._line = line
        self._reception = reception
        self._intake = intake
        self._association = reception.unnamed(address)
        self._negotiated: Negotiated | None = None
        self._place = -1
        self._command = bytearray()
        self._context_id = 0  # of the message that is being received
        self._request: Command | None = None  # whose data set is being received
        self._part: Incoming | None = None
        self._under_way = 0  # requests that were received and are not yet answered
        self._releasing = False
        self._end: AssociationEnd | None = None
        self._end_noted = False
        self._tally = Tally()
        #: Messages begun and bytes of them received, so that somebody can see whether they go on.
        self.messages = 0
        self.bytes_received = 0

    @property
    def receiving(self) -> bool:
        """Whether a message is only partly here."""
        return bool(self._command) or self._request is not None

    @property
    def busy(self) -> bool:
        """Whether a message is arriving, or being answered."""
        return self.receiving or self._under_way > 0

    @property
    def waiting_for_us(self) -> bool:
        """Whether the peer may be silent because it waits for an answer."""
        return self._under_way > 0

    @property
    def full(self) -> bool:
        """Whether as many requests are under way as were agreed on; a peer that does not wait is made to."""
        return self._negotiated is not None and self._under_way >= self._negotiated.window and not self._releasing

    # ACSE

    def requested(self, pdu: bytes) -> None:
        """Admit a caller, or refuse it (PS3.8 7.1)."""
        self._association = named(self._association, *callers(pdu))
        try:
            rejection = self._reception.stranger(self._association)
            if rejection is None:
                rejection = self._admit(pdu)
        except ProtocolFault:
            raise
        except Exception:  # boundary: whatever fails at the door, nobody gets in unchecked
            log.exception("association not judged", association=self._association.id)
            rejection = local_limit("the node failed while judging the request")
        if rejection is not None:
            self._refuse(rejection)

    def _admit(self, pdu: bytes) -> Rejection | None:
        settings = self._reception.settings
        if settings.engine is Engine.PYNETDICOM:
            self._line.hand_over(pdu)
            return None
        negotiated = negotiate(pdu, settings.maximum_pdu)
        if negotiated.fault is not None:
            return Rejection(*negotiated.fault, "the request is not of a kind that DICOM knows")
        if negotiated.foreign:
            self._line.hand_over(pdu)
            return None
        place = self._reception.placed(self._association)
        if not isinstance(place, Rejection):
            self._place = place
            self._negotiated = negotiated
            self._line.layer.accept(accept_pdu(pdu, negotiated))
            caller = self._association
            log.info(
                "association opened",
                association=caller.id,
                calling=caller.calling,
                called=caller.called,
                address=caller.address,
            )
            return None
        return place

    def _refuse(self, rejection: Rejection) -> None:
        """Note a refusal and give it; noting may have to wait for the ledger, so others go on meanwhile."""
        caller, line = self._association, self._line
        pdu = reject_pdu(rejection.result, rejection.source, rejection.diagnostic)

        def note_and_reject() -> None:
            self._reception.note_refused(caller, rejection)
            line.call(lambda: line.layer.reject(pdu))

        self._intake.submit(note_and_reject)

    def release_requested(self) -> None:
        """Answer a release request, when what came before it is answered (PS3.8 7.2)."""
        self._releasing = True
        self._discard()
        self._release_if_idle()

    def _release_if_idle(self) -> None:
        if self._releasing and not self._under_way:
            self._line.layer.answer_release()
            self._ended(AssociationEnd.RELEASED)

    def aborted(self) -> None:
        """Note an A-ABORT of the peer."""
        self._ended(AssociationEnd.ABORTED)

    def lost(self) -> None:
        """Note the end of a connection, or an A-ABORT of ours."""
        self._ended(AssociationEnd.LOST)

    def _ended(self, end: AssociationEnd) -> None:
        self._discard()
        if self._negotiated is None or self._end is not None:
            return
        self._end = end
        self._note_end()

    def _note_end(self) -> None:
        """Have the end noted, once, after the last arrival."""
        agreed = self._negotiated
        if agreed is not None and self._end is not None and not self._under_way and not self._end_noted:
            self._end_noted = True
            self._reception.places.give_back(self._place)
            now = self._reception.clock()
            record = self._tally.record(self._association, agreed.accepted, agreed.refused, self._end, now)
            self._intake.submit(Ended(record))

    def _discard(self) -> None:
        part, self._part, self._request = self._part, None, None
        self._command.clear()
        if part is not None:
            part.discard()

    # DIMSE

    def data(self, context_id: int, control: int, fragment: memoryview, last: bool) -> None:
        """Take a piece of a command set or data set (PS3.8 9.3.5.1, E.2)."""
        self.bytes_received += len(fragment)
        if not control & COMMAND:
            if self._request is None or context_id != self._context_id:
                raise ProtocolFault("a data set without its command")
            if self._part is not None and fragment:
                self._part.write(fragment)
            if last and control & LAST:
                self._received(self._request)
            return
        if self._request is not None or (self._command and context_id != self._context_id):
            raise ProtocolFault("a command in the middle of a message")
        self._context_id = context_id
        self._command += fragment
        if len(self._command) > _LONGEST_COMMAND:
            raise ProtocolFault("a command set without end")
        if last and control & LAST:
            command = decode(bytes(self._command))
            self._command.clear()
            self._begin(command)

    def _begin(self, command: Command) -> None:
        """Begin a request: open the file that its data set goes to, or answer it."""
        context = self._context()
        self.messages += 1
        if command.field == Field.C_CANCEL_RQ:
            return  # there is nothing that takes long enough to be cancelled
        if not command.has_data_set:
            self._under_way += 1
            self._answer(command, self._context_id, *_without_data_set(command))
            return
        self._request = command
        if command.field == Field.C_STORE_RQ:
            self._part = self._opened(command, context)

    def _context(self) -> Context:
        context = self._negotiated.contexts.get(self._context_id) if self._negotiated else None
        if context is None:
            raise ProtocolFault("a message under a presentation context that was not accepted")
        return context

    def _opened(self, command: Command, context: Context) -> Incoming:
        part = self._reception.open_part(
            self._association,
            self._place,
            command.sop_class_uid,
            command.sop_instance_uid,
            context.transfer_syntax_uid,
        )
        if command.sop_class_uid != context.sop_class_uid:
            part.refuse(SopClassMismatch("SOP class of request and presentation context differ"))
        if not is_uid(command.sop_instance_uid):
            part.refuse(CannotUnderstand("Affected SOP Instance UID of the request is not a UID"))
        return part

    def _received(self, request: Command) -> None:
        """The last byte of a request is here."""
        part, self._part, self._request = self._part, None, None
        context_id = self._context_id
        self._under_way += 1
        if part is None:
            self._answer(request, context_id, *_without_data_set(request))
            return
        answer = partial(self._stored, request, context_id)
        uids = request.sop_class_uid, request.sop_instance_uid
        self._intake.submit(Complete(part, *uids, self._association, self._tally, answer, self._line.call))

    def _stored(self, request: Command, context_id: int, refusal: Refusal | None) -> None:
        self._line.resume()
        status = _SUCCESS if refusal is None else refusal.status
        self._answer(request, context_id, status, "" if refusal is None else str(refusal))

    def _answer(self, request: Command, context_id: int, status: int, comment: str) -> None:
        self._under_way -= 1
        if request.field == Field.C_STORE_RQ:
            self._tally.answered(status)
        limit = self._negotiated.maximum_length if self._negotiated else 0
        self._line.layer.send(p_data(context_id, response(request, status, comment), limit))
        self._release_if_idle()
        self._note_end()


def _without_data_set(command: Command) -> tuple[int, str]:
    """Return status and comment of a request that is answered at once."""
    if command.field == Field.C_ECHO_RQ:
        return _SUCCESS, ""
    if command.field == Field.C_STORE_RQ:
        refusal: Refusal = CannotUnderstand("the request has no data set")
        return refusal.status, str(refusal)
    return _UNRECOGNISED_OPERATION, "the node provides storage and verification only"
