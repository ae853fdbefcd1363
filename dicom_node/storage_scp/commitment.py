"""Storage Commitment Push Model (PS3.4 Annex J) on one association: requests to us, and reports on requests of ours.

The N-ACTION is answered 0x0000 once the request is in the ledger. The report follows on the same association if it is
still open a moment later; else it stays due, and `flow.report_commitments` brings it by an association of our own.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association as PeerAssociation
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode

from dicom_node.commitment import (
    REQUEST_ACTION,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    Report,
    Request,
    parse_report,
    parse_request,
)
from dicom_node.entities import Association
from dicom_node.errors import InvalidArgument, NoSuchAction, NoSuchInstance, ProcessingFailure, Refusal
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Commitment, Commitments, Proofs

log = structlog.get_logger(__name__)

_SUCCESS: Final = 0x0000
#: The requester has its N-ACTION answer by then, and is ready for the report.
_BREATH_SECONDS: Final = 0.1
#: From the request until a report by a new association is due.
_SAME_ASSOCIATION_SECONDS: Final = 5.0
_LEASE_SECONDS: Final = 300.0
_SETTLE_SECONDS: Final = 5.0
#: From the first report that a destination has not kept an object until it is sent again.
_SEND_AGAIN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.2
_LAST_MESSAGE_ID: Final = 65535


@dataclass(frozen=True, slots=True)
class CommitmentDesk:
    """What every association needs to answer requests for commitment.

    Parameters
    ----------
    owner : str
        The node's name, for leases.
    give_up_seconds : float
        How long a requester that cannot be reached is tried.
    settled : callable
        Waits, no longer than so many seconds, until the ledger has what was answered before; returns whether it has.
    """

    commitments: Commitments
    proofs: Proofs
    store: InstanceStore
    owner: str
    give_up_seconds: float
    clock: Callable[[], float]
    settled: Callable[[float], bool] = bool

    def accept(self, event: evt.Event, association: Association) -> int:
        """Keep one request, durably; return its id.

        Raises
        ------
        Refusal
            With the status to answer.
        """
        request = _requested(event)
        now = self.clock()
        due_at = now + _SAME_ASSOCIATION_SECONDS
        number = self.commitments.note(request, association, now, due_at, now + self.give_up_seconds)
        if number is None:
            raise InvalidArgument("this Transaction UID has been used for other instances")
        log.info("commitment requested", association=association.id, instances=len(request.references))
        return number

    def told(self, event: evt.Event, association: Association) -> None:
        """Take in what a destination reports on a request of ours (PS3.4 J.3.3).

        Raises
        ------
        Refusal
            With the status to answer.
        """
        if event.request.AffectedSOPInstanceUID != SOP_INSTANCE_UID:
            raise NoSuchInstance("Affected SOP Instance UID is not that of storage commitment")
        try:
            report = parse_report(event.event_information)
        except Refusal:
            raise
        except Exception as error:  # boundary: damaged bytes make pydicom raise anything
            raise InvalidArgument("the Event Information cannot be decoded") from error
        now = self.clock()
        known = self.proofs.reported(report, now, now + _SEND_AGAIN_SECONDS)
        log.info("commitment report taken", association=association.id, instances=known, reason=str(report))

    def take(self, number: int) -> Commitment | None:
        """Take a request whose report nobody else is giving."""
        now = self.clock()
        return next(iter(self.commitments.start(self.owner, now, now + _LEASE_SECONDS, only=number)), None)


def _requested(event: evt.Event) -> Request:
    request = event.request
    if request.RequestedSOPInstanceUID != SOP_INSTANCE_UID:
        raise NoSuchInstance("Requested SOP Instance UID is not that of storage commitment")
    if request.ActionTypeID != REQUEST_ACTION:
        raise NoSuchAction("Action Type ID is not 1, Request Storage Commitment")
    try:
        action = event.action_information
        return parse_request(action)
    except Refusal:
        raise
    except Exception as error:  # boundary: damaged bytes make pydicom raise anything
        raise InvalidArgument("the Action Information cannot be decoded") from error


class CommitmentLine:
    """Requests and reports of one association; reports are given one after the other, on a thread of their own."""

    def __init__(self, peer: PeerAssociation, desk: CommitmentDesk) -> None:
        self._peer = peer
        self._desk = desk
        self._due: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._message_id = 0
        self._status: int | None = None
        self._answered = threading.Event()
        peer.bind(evt.EVT_DIMSE_RECV, self._heard)

    def asked(self, event: evt.Event, association: Association) -> tuple[Dataset, None]:
        """Answer one N-ACTION (PS3.4 J.3.2); the boundary at which every error becomes a status."""
        answer = Dataset()
        answer.Status = _SUCCESS
        try:
            self._due.put(self._desk.accept(event, association))
        except Refusal as refusal:
            log.warning("commitment refused", association=association.id, reason=str(refusal))
            answer.Status = refusal.status
        except Exception:  # boundary: the requester may ask again
            log.exception("commitment not noted", association=association.id)
            answer.Status = ProcessingFailure.status
        else:
            self._start()
        return answer, None

    def told(self, event: evt.Event, association: Association) -> tuple[int, None]:
        """Answer one N-EVENT-REPORT; the boundary at which every error becomes a status."""
        try:
            self._desk.told(event, association)
        except Refusal as refusal:
            log.warning("commitment report refused", association=association.id, reason=str(refusal))
            return refusal.status, None
        except Exception:  # boundary: the destination may report again
            log.exception("commitment report not noted", association=association.id)
            return ProcessingFailure.status, None
        return _SUCCESS, None

    def ended(self) -> None:
        """Stop reporting: the association is over."""
        self._due.put(None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._report_all, name="commitment", daemon=True)
            self._thread.start()

    def _report_all(self) -> None:
        while (number := self._due.get()) is not None:
            time.sleep(_BREATH_SECONDS)
            if not self._peer.is_established:
                return  # the flow brings what is left
            try:
                self._report(number)
            except Exception:  # boundary: the row is still there, and its lease runs out
                log.exception("commitment not reported", step="same association")

    def _report(self, number: int) -> None:
        if not self._desk.settled(_SETTLE_SECONDS):
            return  # the flow reports what is true when it is known
        taken = self._desk.take(number)
        if taken is None:
            return
        desk = self._desk
        try:
            report = desk.commitments.report(taken.request, desk.store.holds)
            heard = self._send(report)
        except BaseException:
            desk.commitments.wait(taken, "reporting broke off", desk.clock(), desk.clock())
            raise
        if heard:
            desk.commitments.accept(taken, str(report), desk.clock())
        else:
            desk.commitments.wait(taken, "not taken on the association of the request", desk.clock(), desk.clock())

    def _send(self, report: Report) -> bool:
        """Send one N-EVENT-REPORT (PS3.4 J.3.3); return whether the requester took it.

        Not by pynetdicom's own method, which takes whatever comes next for the answer: a requester may well go on
        storing, and ask for more.
        """
        context = next(each for each in self._peer.accepted_contexts if each.abstract_syntax == SOP_CLASS_UID)
        syntax = context.transfer_syntax[0]
        told = encode(report.information(), syntax.is_implicit_VR, syntax.is_little_endian)
        if told is None:
            return False
        self._message_id = self._message_id % _LAST_MESSAGE_ID + 1
        self._answered.clear()
        self._status = None
        self._peer.dimse.send_msg(_event_report(report.event_type, told, self._message_id), context.context_id)
        until = time.monotonic() + self._peer.dimse_timeout
        while self._peer.is_established and time.monotonic() < until:
            if self._answered.wait(_LOOK_SECONDS):
                return self._status == _SUCCESS
        return False

    def _heard(self, event: evt.Event) -> None:
        """Note the answer to a report; called on the thread that reads the connection."""
        message = event.message
        if isinstance(message, N_EVENT_REPORT_RSP):
            command = message.command_set
            if command.get("MessageIDBeingRespondedTo") == self._message_id:
                self._status = command.get("Status")
                self._answered.set()


def _event_report(event_type: int, information: bytes, message_id: int) -> N_EVENT_REPORT:
    request = N_EVENT_REPORT()
    request.MessageID = message_id
    request.AffectedSOPClassUID = SOP_CLASS_UID
    request.AffectedSOPInstanceUID = SOP_INSTANCE_UID
    request.EventTypeID = event_type
    request.EventInformation = BytesIO(information)
    return request
