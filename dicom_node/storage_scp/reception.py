"""One association: admit it, keep each instance, note each arrival, answer, and note how it ended.

The most important function is the most boring: `_stored`. Keep the bytes, note the arrival, answer 0x0000.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association as PeerAssociation
from pynetdicom.pdu_primitives import A_ABORT, SOPClassCommonExtendedNegotiation
from pynetdicom.service_class import StorageServiceClass
from sqlalchemy.exc import DBAPIError

from dicom_node.entities import Arrival, Association, AssociationEnd, AssociationRecord, InstanceRef, SameUidPolicy
from dicom_node.errors import (
    CannotUnderstand,
    DuplicateInstance,
    Failure,
    OutOfResources,
    ProcessingFailure,
    Refusal,
)
from dicom_node.instance_store import Incoming, InstanceStore
from dicom_node.presentation import STORAGE_SOP_CLASSES, acceptable, is_storage
from dicom_node.storage_scp.admission import Admission, Rejection, local_limit
from dicom_node.storage_scp.commitment import CommitmentDesk, CommitmentLine
from dicom_node.storage_scp.guarding import Bounds, Pace, guard
from dicom_node.storage_scp.streaming import StreamingDimse, StreamingPart
from dicom_node.storage_scp.tally import Tally

log = structlog.get_logger(__name__)

_SUCCESS: Final = 0x0000
#: Error Comment (0000,0902) has VR LO.
_MAX_COMMENT: Final = 64


class Arrivals(Protocol):
    """Where arrivals are noted; what a method has returned from is durable. Called from many threads."""

    def note_arrival(
        self, instance: InstanceRef, association: Association, at: float, policy: SameUidPolicy
    ) -> Arrival:
        """Note one kept instance; say what it is to what came before."""
        ...

    def end_association(self, association: Association, end: AssociationEnd, at: float) -> None:
        """Note the end of an association that carried at least one instance; after its last arrival."""
        ...

    def note_refused_sender(self, calling: str, called: str, address: str, reason: str, at: float) -> None:
        """Note a caller that is not configured."""
        ...

    def note_quarantined(
        self, association: Association, sop_instance_uid: str, status: int, reason: str, path: str, at: float
    ) -> None:
        """Note an object that was refused, and where its bytes are."""
        ...


@dataclass(frozen=True, slots=True)
class Reception:
    """What every association needs."""

    admission: Admission
    bounds: Bounds
    policy: SameUidPolicy
    store: InstanceStore
    arrivals: Arrivals
    clock: Callable[[], float]
    desk: CommitmentDesk | None = None
    note_record: Callable[[AssociationRecord], None] | None = None


class Admitted:
    """The associations that are open now; counted under a lock, so that no two take the last place."""

    def __init__(self) -> None:
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()

    def enter(self, session: "Session", admission: Admission) -> Rejection | None:
        """Add an association, or return why there is no place for it."""
        caller = session.caller
        with self._lock:
            like = sum(session.caller == caller for session in self._sessions)
            rejection = admission.overload(len(self._sessions), like)
            if rejection is None:
                self._sessions.add(session)
            return rejection

    def leave(self, session: "Session") -> None:
        """Give an association's place back."""
        with self._lock:
            self._sessions.discard(session)

    def now(self) -> tuple["Session", ...]:
        """Return the associations that are open now."""
        with self._lock:
            return tuple(self._sessions)


class Session:
    """One association, from its request to its end; pynetdicom calls its methods on the association's own thread."""

    def __init__(
        self,
        peer: PeerAssociation,
        address: str,
        reception: Reception,
        admitted: Admitted,
        certificates: frozenset[str] = frozenset(),
    ) -> None:
        self.peer = peer
        self._reception = reception
        self._admitted = admitted
        self._certificates = certificates
        self._association = Association(uuid.uuid4().hex, "", "", address, reception.clock())
        self._tally = Tally()
        self._admitted_once = False
        self._aborted = False
        self._storing = False
        self._dimse = StreamingDimse(peer, self._open_part, Pace(reception.bounds))
        peer.dimse = self._dimse
        guard(peer, reception.bounds, self._association.id, self._broken)
        peer.bind(evt.EVT_REQUESTED, self._requested)
        peer.bind(evt.EVT_SOP_COMMON, self._unknown_are_storage)
        peer.bind(evt.EVT_ACSE_RECV, self._heard)
        peer.bind(evt.EVT_C_STORE, self._store)
        self._commitment: CommitmentLine | None = None
        if reception.desk is not None:
            self._commitment = line = CommitmentLine(peer, reception.desk)
            peer.bind(evt.EVT_N_ACTION, lambda event: line.asked(event, self._association))

    @property
    def caller(self) -> tuple[str, str]:
        """Who opened it: address and calling AE title."""
        return self._association.address, self._association.calling

    @property
    def busy(self) -> bool:
        """Whether a C-STORE is under way: bytes arriving, or being kept."""
        return self._storing or self._dimse.receiving or not self._dimse.msg_queue.empty()

    def ended(self) -> None:
        """Note the association's end; called once its thread is over, hence after its last arrival."""
        self._dimse.discard()
        self._admitted.leave(self)
        if self._commitment is not None:
            self._commitment.ended()
        if not self._admitted_once:
            return
        end, now, carried = self._end(), self._reception.clock(), self._tally.carried
        try:
            if carried:
                self._reception.arrivals.end_association(self._association, end, now)
            if self._reception.note_record is not None:
                self._reception.note_record(self._tally.record(self._association, self.peer, end, now))
        except Exception:  # boundary: the ledger closes it as lost at the next start
            log.exception("end of association not noted", association=self._association.id)
        log.info("association ended", association=self._association.id, outcome=end, instances=carried)

    def _end(self) -> AssociationEnd:
        if self.peer.is_released:
            return AssociationEnd.RELEASED
        # an A-ABORT may still wait unread if the connection closed right behind it
        aborted = self._aborted or isinstance(self.peer.dul.peek_next_pdu(), A_ABORT)
        return AssociationEnd.ABORTED if aborted else AssociationEnd.LOST

    def _broken(self) -> None:
        self._aborted = True

    def _heard(self, event: evt.Event) -> None:
        self._aborted = self._aborted or isinstance(event.primitive, A_ABORT)

    def _requested(self, event: evt.Event) -> None:
        request = event.assoc.requestor.primitive
        calling, called = _printable(request.calling_ae_title), _printable(request.called_ae_title)
        address = self._association.address
        self._association = Association(self._association.id, calling, called, address, self._association.opened_at)
        try:
            rejection = self._rejection()
        except Exception:  # boundary: whatever fails at the door, nobody gets in unchecked
            log.exception("association not judged", association=self._association.id)
            rejection = local_limit("the node failed while judging the request")
        if rejection is not None:
            self._reject(rejection)
            return
        self._admitted_once = True
        proposed = request.presentation_context_definition_list
        event.assoc.acceptor.supported_contexts = acceptable(
            (str(context.abstract_syntax) for context in proposed), commitment=self._commitment is not None
        )
        log.info(
            "association opened", association=self._association.id, calling=calling, called=called, address=address
        )

    def _rejection(self) -> Rejection | None:
        reception, caller = self._reception, self._association
        unknown = reception.admission.rejection(caller.calling, caller.called, caller.address, self._certificates)
        if unknown is not None:
            return unknown
        try:
            reception.store.ensure_space()
        except OutOfResources as refusal:
            return local_limit(str(refusal))
        return self._admitted.enter(self, reception.admission)

    def _reject(self, rejection: Rejection) -> None:
        caller = self._association
        named = {"calling": caller.calling, "called": caller.called, "address": caller.address}
        log.warning("association refused", reason=rejection.reason, **named)
        self.peer.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        if rejection.unknown_caller:
            try:
                self._reception.arrivals.note_refused_sender(
                    **named, reason=rejection.reason, at=self._reception.clock()
                )
            except Exception:  # boundary: the caller is refused all the same
                log.exception("refused sender not noted", **named)
        # returns once the rejection is sent and the connection closed, as pynetdicom's own rejections do
        self.peer.kill()

    def _unknown_are_storage(self, event: evt.Event) -> dict[str, SOPClassCommonExtendedNegotiation]:
        """Tell pynetdicom that SOP classes it does not know belong to the Storage Service Class.

        Meant for requestors that say so themselves (PS3.7 D.3.3.6); nothing of it is sent.
        """
        proposed = event.assoc.requestor.primitive.presentation_context_definition_list
        uids = {str(context.abstract_syntax) for context in proposed}
        unknown = sorted(uid for uid in uids if is_storage(uid) and uid not in STORAGE_SOP_CLASSES)
        return {uid: _storage_item(uid) for uid in unknown}

    def _open_part(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Incoming:
        calling = self._association.calling
        return self._reception.store.incoming(sop_class_uid, sop_instance_uid, transfer_syntax_uid, calling)

    def _store(self, event: evt.Event) -> Dataset:
        """Answer one C-STORE request (PS3.4 B.2.3); the boundary at which every error becomes a status."""
        held: StreamingPart | None = event.request._dataset_file  # noqa: SLF001 - pynetdicom's place for it
        part = held.part if held is not None else None
        uid = str(event.request.AffectedSOPInstanceUID)
        self._storing = True
        try:
            self._stored(event, part)
        except Refusal as refusal:
            return self._refused(refusal, part, uid)
        except Exception as error:  # boundary: the node goes on, and the sender may try again
            log.exception("instance not kept", association=self._association.id, sop_instance_uid=uid)
            return self._refused(_refusal(error), part, uid)
        finally:
            self._storing = False
        return _status(_SUCCESS)

    def _stored(self, event: evt.Event, part: Incoming | None) -> None:
        """Keep the bytes, note the arrival; returning means that both are on disk."""
        request, reception = event.request, self._reception
        if part is None:
            raise CannotUnderstand("the request has no data set")
        instance = reception.store.keep(part, str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        arrival = reception.arrivals.note_arrival(instance, self._association, reception.clock(), reception.policy)
        self._tally.arrived(arrival, instance.size)
        log.info(
            "instance kept",
            association=self._association.id,
            sop_instance_uid=instance.sop_instance_uid,
            size=instance.size,
            outcome=arrival,
        )
        if arrival is Arrival.DIFFERENT_REFUSED:
            raise DuplicateInstance("this SOP Instance UID is known with other bytes")

    def _refused(self, refusal: Refusal, part: Incoming | None, sop_instance_uid: str) -> Dataset:
        self._tally.answered(refusal.status)
        self._put_aside(part, sop_instance_uid, refusal)
        log.warning(
            "instance refused",
            association=self._association.id,
            sop_instance_uid=sop_instance_uid,
            status=f"0x{refusal.status:04X}",
            reason=str(refusal),
        )
        return _status(refusal.status, str(refusal))

    def _put_aside(self, part: Incoming | None, sop_instance_uid: str, refusal: Refusal) -> None:
        """Quarantine refused bytes; where there is no room for them, drop them: the sender still has them."""
        if part is None or not part.path.exists():
            return
        if isinstance(refusal, OutOfResources):
            part.discard()
            return
        part.close()
        reason = f"0x{refusal.status:04X} {refusal}"
        path = self._reception.store.quarantine(part.path, reason, self._association)
        try:
            self._reception.arrivals.note_quarantined(
                self._association, sop_instance_uid, refusal.status, str(refusal), str(path), self._reception.clock()
            )
        except Exception:  # boundary: the bytes and their reason are in the folder all the same
            log.exception("quarantine not noted", association=self._association.id, path=str(path))


def _storage_item(sop_class_uid: str) -> SOPClassCommonExtendedNegotiation:
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid = sop_class_uid
    item.service_class_uid = StorageServiceClass.uid
    return item


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, OSError):
        return OutOfResources(f"{error.strerror or type(error).__name__}: the node could not write")
    if isinstance(error, Failure | DBAPIError):
        # full, locked, gone or read-only: it may be over when the sender tries again
        return OutOfResources("the ledger could not be written; see the node's log")
    return ProcessingFailure("the node failed to keep the instance; see its log")


def _status(code: int, comment: str = "") -> Dataset:
    answer = Dataset()
    answer.Status = code
    if comment:
        # VR LO: no backslash, one line, the default character repertoire
        answer.ErrorComment = _printable(comment)[:_MAX_COMMENT].replace("\\", "/")
    return answer


def _printable(text: str) -> str:
    return "".join(
        character if character.isascii() and character.isprintable() else "?" for character in text
    ).strip()
