"""Associations out: C-ECHO, storage commitment reports, and C-STORE of stored bytes with an outcome for each.

What a status means for a delivery is one table, `MEANINGS` (PS3.4 B.2.3, PS3.7 Annex C). An Error Comment of the
peer is never read: it may quote patient data.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import structlog
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association as PeerAssociation
from pynetdicom.presentation import PresentationContext

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.commitment import SOP_CLASS_UID, SOP_INSTANCE_UID, Report
from dicom_node.entities import Peer
from dicom_node.errors import Failure, PeerRefused, PeerUnreachable
from dicom_node.presentation import (
    MAXIMUM_CONTEXTS,
    commitment_report,
    described,
    proposal,
    sop_class_name,
    verification,
)
from dicom_node.requestor import leave_answers

log = structlog.get_logger(__name__)

#: The slowest line that counts as alive: the wait for an answer grows with the object by this rate.
_SLOWEST_BYTES_A_SECOND: Final = 250_000
_MAXIMUM_PDU: Final = 131072
_PERMANENT_REJECTION: Final = 1
_LAST_MESSAGE_ID: Final = 65535
_TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 4
_SUCCESS: Final = 0x0000
#: TCP_QUICKACK of Linux; where there is none, setting TCP_NODELAY again does no harm.
_QUICK_ACK: Final[int] = getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY)


class Verdict(StrEnum):
    """What an answer means for one delivery."""

    ACCEPTED = "accepted"
    TEMPORARY = "temporary"  # trying again later may help without anybody changing anything
    PERMANENT = "permanent"  # a person has to look


@dataclass(frozen=True, slots=True)
class Meaning:
    """A range of DIMSE statuses, both ends included, and what it means for a delivery."""

    first: int
    last: int
    verdict: Verdict
    text: str


#: Read from the top; the first line that holds the status counts. A test holds CONFORMANCE.md to it.
MEANINGS: Final = (
    Meaning(0x0000, 0x0000, Verdict.ACCEPTED, "stored"),
    Meaning(0x0001, 0x0001, Verdict.ACCEPTED, "stored, with a warning"),
    Meaning(0x0107, 0x0107, Verdict.ACCEPTED, "stored, with a warning about attributes"),
    Meaning(0x0116, 0x0116, Verdict.ACCEPTED, "stored, with a warning about attribute values"),
    Meaning(0xB000, 0xB000, Verdict.ACCEPTED, "stored, with data elements changed by the receiver"),
    Meaning(0xB006, 0xB006, Verdict.ACCEPTED, "stored, with data elements dropped by the receiver"),
    Meaning(0xB007, 0xB007, Verdict.ACCEPTED, "stored, though the receiver finds that it does not fit its SOP class"),
    Meaning(0xB000, 0xBFFF, Verdict.ACCEPTED, "stored, with a warning"),
    Meaning(0x0111, 0x0111, Verdict.ACCEPTED, "already stored there"),
    Meaning(0x0110, 0x0110, Verdict.TEMPORARY, "processing failure at the receiver"),
    Meaning(0x0210, 0x0210, Verdict.TEMPORARY, "duplicate invocation"),
    Meaning(0xA700, 0xA7FF, Verdict.TEMPORARY, "receiver is out of resources"),
    Meaning(0xFE00, 0xFE00, Verdict.TEMPORARY, "cancelled by the receiver"),
    Meaning(0x0117, 0x0117, Verdict.PERMANENT, "invalid SOP instance"),
    Meaning(0x0122, 0x0122, Verdict.PERMANENT, "SOP class not supported"),
    Meaning(0x0124, 0x0124, Verdict.PERMANENT, "not authorised: allow this node to store there"),
    Meaning(0xA900, 0xA9FF, Verdict.PERMANENT, "data set does not match its SOP class"),
    Meaning(0xC000, 0xCFFF, Verdict.PERMANENT, "receiver cannot understand the data set"),
    Meaning(0x0000, 0xFFFF, Verdict.PERMANENT, "refused"),
)

#: (source, diagnostic) of an A-ASSOCIATE-RJ (PS3.8 Table 9-21), and what an administrator can do about it.
_REJECTIONS: Final[Mapping[tuple[int, int], str]] = {
    (1, 2): "it does not speak DICOM's application context; is this a DICOM port?",
    (1, 3): "it does not know the calling AE title {calling}: add it at {peer}",
    (1, 7): "there is no AE title {peer} at that port: correct ae_title of the destination",
    (2, 2): "it does not speak this protocol version; is this a DICOM port?",
    (3, 1): "it is congested",
    (3, 2): "it has reached a limit of its own",
}


@dataclass(frozen=True, slots=True)
class OutgoingObject:
    """One stored Part 10 file to send as it is."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object; `status` is None where no C-STORE was answered."""

    sop_instance_uid: str
    verdict: Verdict
    status: int | None
    reason: str


def meaning_of(status: int) -> Meaning:
    """Return what a C-STORE status means for a delivery."""
    return next(meaning for meaning in MEANINGS if meaning.first <= status <= meaning.last)


class StorageSCU:
    """Calls peers; one association per call of a method, every wait bounded.

    Parameters
    ----------
    calling_ae_title : str
        Who this node says it is.
    timeout_seconds : float
        Longest wait for a connection, for an answer, and for a silent line. The wait for the answer to a C-STORE is
        longer by the time that its bytes take at 250 kB/s.
    """

    def __init__(self, calling_ae_title: str, timeout_seconds: float) -> None:
        self._calling = calling_ae_title
        self._timeout = timeout_seconds

    def echo(self, peer: Peer) -> None:
        """Return if a C-ECHO (PS3.4 Annex A) succeeds.

        Raises
        ------
        PeerUnreachable
            If the peer does not answer, or not now.
        PeerRefused
            If it answers that it does not want this node, or no C-ECHO.
        """
        with self._association(peer, verification()) as association:
            if not association.accepted_contexts:
                raise PeerRefused(f"{peer} does not accept Verification (C-ECHO)")
            status = association.send_c_echo().get("Status")
        if status is None:
            raise PeerUnreachable(f"{peer} did not answer a C-ECHO within {self._timeout:g} s")
        if status != _SUCCESS:
            raise PeerRefused(f"{peer} answered a C-ECHO with status 0x{status:04X}")

    def accepted(self, peer: Peer, sop_class_uids: Iterable[str]) -> Mapping[str, bool]:
        """Return which SOP classes a peer accepts in Explicit VR Little Endian; nothing is sent.

        Raises
        ------
        PeerUnreachable, PeerRefused
            As `echo`.
        """
        uids = tuple(dict.fromkeys(sop_class_uids))
        contexts = proposal((uid, str(ExplicitVRLittleEndian)) for uid in uids)
        with self._association(peer, contexts) as association:
            taken = {str(context.abstract_syntax) for context in association.accepted_contexts}
        return {uid: uid in taken for uid in uids}

    def store(self, peer: Peer, objects: Sequence[OutgoingObject]) -> Iterator[Outcome]:
        """Send stored objects, each in its own encoding; yield one outcome for every one of them, in order.

        A peer that cannot be reached, or rejects the association, gives temporary outcomes: an AE title that is
        wrong is put right by a person, and the objects then go without anybody asking for it.
        """
        for batch in _batches(objects):
            yield from self._store_batch(peer, batch)

    def report(self, peer: Peer, report: Report) -> None:
        """Give a storage commitment report by an association of our own, as SCP of that service (PS3.4 J.3.3).

        Raises
        ------
        PeerUnreachable
            If the peer does not answer, or not now.
        PeerRefused
            If it answers that it does not want the report.
        """
        roles = [build_role(SOP_CLASS_UID, scp_role=True)]
        with self._association(peer, commitment_report(), roles) as association:
            if not association.accepted_contexts:
                raise PeerRefused(f"{peer} does not accept Storage Commitment")
            try:
                answer, _ = association.send_n_event_report(
                    report.information(), report.event_type, SOP_CLASS_UID, SOP_INSTANCE_UID
                )
            except RuntimeError as error:
                raise PeerUnreachable(f"{peer} ended the association before the report") from error
        status = answer.get("Status")
        if status is None:
            raise PeerUnreachable(f"{peer} did not answer an N-EVENT-REPORT within {self._timeout:g} s")
        if status != _SUCCESS:
            raise PeerRefused(f"{peer} answered an N-EVENT-REPORT with status 0x{status:04X}")

    def _store_batch(self, peer: Peer, batch: Sequence[OutgoingObject]) -> Iterator[Outcome]:
        contexts = proposal((item.sop_class_uid, item.transfer_syntax_uid) for item in batch)
        try:
            with self._association(peer, contexts) as association:
                ended = False
                for number, item in enumerate(batch):
                    outcome = _gone(peer, item) if ended else self._store_one(association, peer, item, number)
                    # pynetdicom may still call it established, and would wait for an answer that cannot come
                    ended = ended or (outcome.verdict is Verdict.TEMPORARY and outcome.status is None)
                    log.info(
                        "object sent",
                        peer=str(peer),
                        sop_instance_uid=item.sop_instance_uid,
                        outcome=outcome.verdict,
                        reason=outcome.reason,
                    )
                    yield outcome
        except Failure as failure:
            # raised only before the first object
            for item in batch:
                yield Outcome(item.sop_instance_uid, Verdict.TEMPORARY, None, str(failure))

    def _store_one(self, association: PeerAssociation, peer: Peer, item: OutgoingObject, number: int) -> Outcome:
        name = str(peer.ae_title)
        refused = _not_accepted(association, name, item)
        if refused:
            return Outcome(item.sop_instance_uid, Verdict.PERMANENT, None, refused)
        try:
            size = item.path.stat().st_size
            association.dimse_timeout = self._timeout + size / _SLOWEST_BYTES_A_SECOND
            status = association.send_c_store(item.path, msg_id=number % _LAST_MESSAGE_ID + 1).get("Status")
        except RuntimeError:
            return _gone(peer, item)
        except (OSError, ValueError, AttributeError, InvalidDicomError, EOFError, struct.error) as error:
            reason = f"{item.path} cannot be read as a DICOM file ({type(error).__name__}); is the store damaged?"
            return Outcome(item.sop_instance_uid, Verdict.PERMANENT, None, reason)
        if status is None:
            return _gone(peer, item)
        return _outcome(item, name, int(status))

    @contextmanager
    def _association(
        self, peer: Peer, contexts: list[PresentationContext], roles: Sequence[Any] = ()
    ) -> Iterator[PeerAssociation]:
        """Open an association and release it afterwards.

        Raises
        ------
        PeerUnreachable, PeerRefused
            If it is not established.
        """
        lines: list[socket.socket] = []
        try:
            association = self._requested(peer, contexts, lines, roles)
            try:
                yield association
            finally:
                if association.is_established:
                    association.release()
        finally:
            # pynetdicom leaves a socket unclosed that did not connect, or that the peer closed first
            for line in lines:
                line.close()

    def _requested(
        self, peer: Peer, contexts: list[PresentationContext], lines: list[socket.socket], roles: Sequence[Any]
    ) -> PeerAssociation:
        try:
            association = self._entity().associate(
                peer.host,
                peer.port,
                contexts,
                ae_title=str(peer.ae_title),
                max_pdu=_MAXIMUM_PDU,
                ext_neg=list(roles),
                evt_handlers=[
                    (evt.EVT_ACSE_SENT, _remember_socket, [lines]),
                    (evt.EVT_CONN_OPEN, _prepare_socket, [self._timeout]),
                    (evt.EVT_DATA_RECV, _acknowledge_at_once),
                ],
            )
        except OSError as error:
            raise PeerUnreachable(f"{peer.host} is not known here ({error.strerror}): check host and DNS") from error
        if association.is_established:
            leave_answers(association)
            return association
        if association.rejected_contexts:
            # accepted, but with none of the contexts: pynetdicom has ended it already
            return association
        raise self._failure(association, peer)

    def _failure(self, association: PeerAssociation, peer: Peer) -> Failure:
        answer = association.acceptor.primitive
        if not association.is_rejected or answer is None:
            return PeerUnreachable(
                f"{peer} does not answer: check that it runs, its host and port, and the firewall between"
            )
        unexplained = "it gives no reason: look at its log"
        advice = _REJECTIONS.get((answer.result_source, answer.diagnostic), unexplained)
        text = f"{peer} rejects the association: {advice.format(calling=self._calling, peer=peer.ae_title)}"
        return PeerRefused(text) if answer.result == _PERMANENT_REJECTION else PeerUnreachable(text)

    def _entity(self) -> Any:
        entity = AE(self._calling)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.connection_timeout = self._timeout
        entity.acse_timeout = self._timeout
        entity.dimse_timeout = self._timeout
        # counts while nothing comes in, so also while an answer is awaited: the DIMSE timeout must come first
        entity.network_timeout = None
        return entity


def _remember_socket(event: evt.Event, lines: list[socket.socket]) -> None:
    # this event comes before pynetdicom tries to connect
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None and not lines:
        lines.append(wrapped.socket)


def _prepare_socket(event: evt.Event, timeout: float) -> None:
    line = event.assoc.dul.socket.socket
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # pynetdicom sends without one: a peer that stops reading would hold the thread for ever
    line.settimeout(timeout)


def _acknowledge_at_once(event: evt.Event) -> None:
    # many a PACS sends its answers in two pieces with Nagle's algorithm on: it would wait 40 ms for our delayed ACK.
    # Linux forgets this option, so it is set after every read
    line = event.assoc.dul.socket
    if line is not None and line.socket is not None:
        line.socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


def _batches(objects: Sequence[OutgoingObject]) -> Iterator[Sequence[OutgoingObject]]:
    """Split objects so that no batch needs more presentation contexts than an association holds."""
    batch: list[OutgoingObject] = []
    pairs: set[tuple[str, str]] = set()
    for item in objects:
        pair = (item.sop_class_uid, item.transfer_syntax_uid)
        if pair not in pairs and len(pairs) == MAXIMUM_CONTEXTS:
            yield batch
            batch, pairs = [], set()
        pairs.add(pair)
        batch.append(item)
    if batch:
        yield batch


def _not_accepted(association: PeerAssociation, name: str, item: OutgoingObject) -> str:
    """Return why an object has no presentation context, empty if it has one."""
    for context in association.accepted_contexts:
        if context.abstract_syntax == item.sop_class_uid and item.transfer_syntax_uid in context.transfer_syntax:
            return ""
    results = {
        context.result for context in association.rejected_contexts if context.abstract_syntax == item.sop_class_uid
    }
    text = f"{name} does not accept {described(item.sop_class_uid)}"
    if results <= {_TRANSFER_SYNTAX_NOT_SUPPORTED}:
        return f"{text} in {sop_class_name(item.transfer_syntax_uid)}"
    return text


def _gone(peer: Peer, item: OutgoingObject) -> Outcome:
    return Outcome(
        item.sop_instance_uid, Verdict.TEMPORARY, None, f"{peer} did not answer in time, or ended the association"
    )


def _outcome(item: OutgoingObject, name: str, status: int) -> Outcome:
    meaning = meaning_of(status)
    reason = meaning.text if status == _SUCCESS else f"{name} answered 0x{status:04X}: {meaning.text}"
    return Outcome(item.sop_instance_uid, meaning.verdict, status, reason)
