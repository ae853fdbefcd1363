"""Associations carried by pynetdicom: those that propose what the fast path does not provide, or all of them.

The receiver has accepted the connection and read the A-ASSOCIATE-RQ; from there on a thread of its own, and
pynetdicom's, carry the association. What is promised by 0x0000 is the same, and kept by the same thread.
"""

import socket
import threading
import time
from typing import Any, Final

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association as PeerAssociation
from pynetdicom.pdu_primitives import A_ABORT, SOPClassCommonExtendedNegotiation
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AddressInformation, AssociationSocket

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.entities import AssociationEnd
from dicom_node.errors import CannotUnderstand, ProcessingFailure, Refusal
from dicom_node.instance_store import Incoming
from dicom_node.presentation import STORAGE_SOP_CLASSES, acceptable, is_storage
from dicom_node.storage_scp.admission import Rejection, local_limit
from dicom_node.storage_scp.commands import error_comment
from dicom_node.storage_scp.commitment import CommitmentLine
from dicom_node.storage_scp.commits import Commits
from dicom_node.storage_scp.guarding import Pace, Reading, guard
from dicom_node.storage_scp.moves import Ended
from dicom_node.storage_scp.negotiation import STORAGE_SERVICE, told_accepted, told_refused
from dicom_node.storage_scp.reception import Reception, named
from dicom_node.storage_scp.streaming import StreamingDimse, StreamingPart
from dicom_node.storage_scp.tally import Tally
from dicom_node.storage_scp.tls import names_of

log = structlog.get_logger(__name__)

_SUCCESS: Final = 0x0000
#: pynetdicom counts too, later and less exactly; ours is the count that holds.
_NO_OWN_LIMIT: Final = 2**31
#: How long pynetdicom may take to send an answer once it has it.
_ANSWER_SECONDS: Final = 0.1


class _ReadAhead(AssociationSocket):
    """A connection of which the first bytes were read by somebody else, read within bounds."""

    def __init__(self, association: PeerAssociation, line: socket.socket, reading: Reading) -> None:
        self._reading = reading
        super().__init__(association, client_socket=line)

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        return self._reading.ahead or super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """Read as many bytes as asked for."""
        return self._reading.recv(nr_bytes)


class Session:
    """One association, from its request to its end; pynetdicom calls its methods on the association's own threads.

    Parameters
    ----------
    line : socket
        Accepted; it becomes blocking, and is closed at the end.
    ahead : bytes
        What was read from it.
    """

    def __init__(
        self, line: socket.socket, address: Any, ahead: bytes, reception: Reception, commits: Commits
    ) -> None:
        # a peer that stops in the middle of a PDU must not hold a thread for ever
        line.settimeout(reception.settings.network_timeout_seconds)
        self._socket = line
        self._reception = reception
        self._commits = commits
        self._association = reception.unnamed(address[0])
        self._certificates = names_of(line)
        self._admitted = False
        self._tally = Tally()
        self._place = -1
        self._aborted = False
        self._aborting = False
        self._storing = False
        self._stored_at = -_ANSWER_SECONDS
        self.peer = _peer(reception, line, address, ahead)
        self._dimse = StreamingDimse(self.peer, self._open_part, Pace(reception.bounds))
        self.peer.dimse = self._dimse
        guard(self.peer, self._association.id, self._broken)
        self.peer.bind(evt.EVT_REQUESTED, self._requested)
        self.peer.bind(evt.EVT_SOP_COMMON, self._unknown_are_storage)
        self.peer.bind(evt.EVT_SOP_EXTENDED, self._storage_service)
        self.peer.bind(evt.EVT_ACSE_RECV, self._heard)
        self.peer.bind(evt.EVT_C_STORE, self._store)
        self._commitment: CommitmentLine | None = None
        if reception.desk is not None:
            self._commitment = desk_line = CommitmentLine(self.peer, reception.desk)
            self.peer.bind(evt.EVT_N_ACTION, lambda event: desk_line.asked(event, self._association))
            self.peer.bind(evt.EVT_N_EVENT_REPORT, lambda event: desk_line.told(event, self._association))
        self._thread = threading.Thread(target=self._run, name="storage-scp-association")

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the association has ended, and its end is noted."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        self.peer.start()
        self.peer.join()
        # pynetdicom ends it with the association, unless an error came between
        self.peer.dul.kill_dul()
        if self.peer.dul.is_alive():
            self.peer.dul.join()
        self._ended()
        # pynetdicom leaves a socket unclosed that its peer closed first
        self._socket.close()

    @property
    def busy(self) -> bool:
        """Whether a C-STORE is under way: bytes arriving, being kept, or the answer just being sent."""
        answering = time.monotonic() < self._stored_at + _ANSWER_SECONDS
        return answering or self._storing or self._dimse.receiving or not self._dimse.msg_queue.empty()

    def abort(self) -> None:
        """Abort the association, if it has not been aborted yet."""
        if not self._aborting:
            self._aborting = True
            self.peer.abort()

    def join(self, seconds: float) -> None:
        """Wait until the association is over, no longer than so many seconds."""
        self._thread.join(seconds)

    def _ended(self) -> None:
        """Note the association's end, hence after its last arrival."""
        self._dimse.discard()
        if self._commitment is not None:
            self._commitment.ended()
        if not self._admitted:
            return
        self._reception.places.give_back(self._place)
        end = self._end()
        accepted, refused = told_accepted(self.peer.accepted_contexts), told_refused(self.peer.rejected_contexts)
        now = self._reception.clock()
        self._commits.submit(Ended(self._tally.record(self._association, accepted, refused, end, now)))

    def _broken(self) -> None:
        self._aborted = True

    def _end(self) -> AssociationEnd:
        if self.peer.is_released:
            return AssociationEnd.RELEASED
        # an A-ABORT may still wait unread if the connection closed right behind it
        aborted = self._aborted or isinstance(self.peer.dul.peek_next_pdu(), A_ABORT)
        return AssociationEnd.ABORTED if aborted else AssociationEnd.LOST

    def _heard(self, event: evt.Event) -> None:
        self._aborted = self._aborted or isinstance(event.primitive, A_ABORT)

    def _requested(self, event: evt.Event) -> None:
        request = event.assoc.requestor.primitive
        self._association = named(self._association, request.calling_ae_title, request.called_ae_title)
        caller = self._association
        try:
            rejection = self._reception.stranger(caller, self._certificates)
            if rejection is None:
                place = self._reception.placed(caller)
                if isinstance(place, Rejection):
                    rejection = place
                else:
                    self._place = place
        except Exception:  # boundary: whatever fails at the door, nobody gets in unchecked
            log.exception("association not judged", association=caller.id)
            rejection = local_limit("the node failed while judging the request")
        if rejection is not None:
            self._reject(rejection)
            return
        self._admitted = True
        proposed = request.presentation_context_definition_list
        event.assoc.acceptor.supported_contexts = acceptable(
            (str(context.abstract_syntax) for context in proposed), commitment=self._commitment is not None
        )
        log.info(
            "association opened",
            association=caller.id,
            calling=caller.calling,
            called=caller.called,
            address=caller.address,
        )

    def _reject(self, rejection: Rejection) -> None:
        self._reception.note_refused(self._association, rejection)
        self.peer.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
        # returns once the rejection is sent and the connection closed, as pynetdicom's own rejections do
        self.peer.kill()

    def _storage_service(self, event: evt.Event) -> dict[str, bytes]:
        """Say how storage classes are provided, where a requestor asks (PS3.4 B.3.1)."""
        return {uid: STORAGE_SERVICE for uid in event.app_info if is_storage(str(uid))}

    def _unknown_are_storage(self, event: evt.Event) -> dict[str, SOPClassCommonExtendedNegotiation]:
        """Tell pynetdicom that SOP classes it does not know belong to the Storage Service Class.

        Meant for requestors that say so themselves (PS3.7 D.3.3.6); nothing of it is sent.
        """
        proposed = event.assoc.requestor.primitive.presentation_context_definition_list
        uids = {str(context.abstract_syntax) for context in proposed}
        unknown = sorted(uid for uid in uids if is_storage(uid) and uid not in STORAGE_SOP_CLASSES)
        return {uid: _storage_item(uid) for uid in unknown}

    def _open_part(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Incoming:
        uids = sop_class_uid, sop_instance_uid, transfer_syntax_uid
        return self._reception.open_part(self._association, self._place, *uids)

    def _store(self, event: evt.Event) -> Dataset:
        """Answer one C-STORE request (PS3.4 B.2.3); the boundary at which every error becomes a status."""
        self._storing = True
        try:
            refusal = self._refusal(event)
        except Exception:  # boundary: the node goes on, and the sender may try again
            log.exception("instance not kept", association=self._association.id)
            refusal = ProcessingFailure("the node failed to keep the instance; see its log")
        finally:
            self._stored_at = time.monotonic()
            self._storing = False
        self._tally.answered(_SUCCESS if refusal is None else refusal.status)
        return _status(_SUCCESS) if refusal is None else _status(refusal.status, str(refusal))

    def _refusal(self, event: evt.Event) -> Refusal | None:
        """Keep the object; return why it was not kept, or None."""
        held: StreamingPart | None = event.request._dataset_file  # noqa: SLF001 - pynetdicom's place for it
        if held is None:
            return CannotUnderstand("the request has no data set")
        sop_class, sop_instance = str(event.request.AffectedSOPClassUID), str(event.request.AffectedSOPInstanceUID)
        return self._commits.keep(held.part, sop_class, sop_instance, self._association, self._tally)


def _peer(reception: Reception, line: socket.socket, address: Any, ahead: bytes) -> PeerAssociation:
    """Return pynetdicom's association on an accepted connection; as its own server makes it."""
    settings = reception.settings
    entity = AE(reception.ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_associations = _NO_OWN_LIMIT
    entity.maximum_pdu_size = settings.maximum_pdu
    entity.acse_timeout = settings.acse_timeout_seconds
    entity.dimse_timeout = settings.dimse_timeout_seconds
    entity.network_timeout = settings.network_timeout_seconds
    peer = PeerAssociation(entity, "acceptor")
    peer.set_socket(_ReadAhead(peer, line, Reading(line, reception.bounds, ahead)))
    peer.acceptor.maximum_length = settings.maximum_pdu
    peer.acceptor.ae_title = reception.ae_title
    peer.acceptor.address_info = AddressInformation.from_tuple(line.getsockname())
    peer.acceptor.implementation_class_uid = entity.implementation_class_uid
    peer.acceptor.implementation_version_name = entity.implementation_version_name
    peer.requestor.address_info = AddressInformation.from_tuple(address)
    return peer


def _storage_item(sop_class_uid: str) -> SOPClassCommonExtendedNegotiation:
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid = sop_class_uid
    item.service_class_uid = StorageServiceClass.uid
    return item


def _status(code: int, comment: str = "") -> Dataset:
    answer = Dataset()
    answer.Status = code
    if comment:
        answer.ErrorComment = error_comment(comment)
    return answer
