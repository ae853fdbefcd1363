"""Associations out: C-ECHO, storage commitment reports, and C-STORE of stored bytes with an outcome for each.

`requestor` carries C-STORE and C-ECHO, pynetdicom what a PACS is seldom asked.
"""

import ssl
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

import structlog
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import build_role

from dicom_node.commitment import SOP_CLASS_UID, SOP_INSTANCE_UID, Report
from dicom_node.entities import Peer
from dicom_node.errors import Failure, PeerRefused, PeerUnreachable, ServiceNotOffered
from dicom_node.outgoing import MEANINGS, SUCCESS, Meaning, Outcome, OutgoingObject, Verdict, meaning_of
from dicom_node.pace import Pace
from dicom_node.presentation import (
    MAXIMUM_CONTEXTS,
    commitment_report,
    described,
    proposal,
    sop_class_name,
    verification,
)
from dicom_node.requestor import Agreed, Association, LineLost, Requestor, opened

__all__ = ["MEANINGS", "Meaning", "Outcome", "OutgoingObject", "StorageSCU", "Verdict", "meaning_of"]

log = structlog.get_logger(__name__)

_TRANSFER_SYNTAX_NOT_SUPPORTED: Final = 4
_SILENT_ASSOCIATIONS: Final = 2


class StorageSCU:
    """Calls peers; one association per call of a method, every wait bounded.

    Parameters
    ----------
    calling_ae_title : str
        Who this node says it is.
    timeout_seconds : float
        Longest wait for a connection, for an answer, and for a silent line. The wait for the answer to a C-STORE is
        longer by the time that its bytes take at 250 kB/s.
    context : ssl.SSLContext or None
        What wraps every connection in TLS (PS3.15 B.12).
    pace : Pace or None
        How fast objects may leave.
    """

    def __init__(
        self,
        calling_ae_title: str,
        timeout_seconds: float,
        context: ssl.SSLContext | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._timeout = timeout_seconds
        self._requestor: Final = Requestor(calling_ae_title, timeout_seconds, context, pace or Pace(0))

    def echo(self, peer: Peer) -> None:
        """Return if a C-ECHO (PS3.4 Annex A) succeeds.

        Raises
        ------
        PeerUnreachable
            If the peer does not answer, or not now.
        PeerRefused
            If it answers that it does not want this node, or no C-ECHO.
        """
        with self._requestor.line(peer, verification()) as line:
            context_id = next(iter(line.agreed.accepted.values()), None)
            if context_id is None:
                raise ServiceNotOffered(f"{peer} does not accept Verification (C-ECHO)")
            try:
                status = line.echo(context_id)
            except LineLost as error:
                raise PeerUnreachable(f"{peer} did not answer a C-ECHO within {self._timeout:g} s") from error
        if status != SUCCESS:
            raise PeerRefused(f"{peer} answered a C-ECHO with status 0x{status:04X}")

    def accepted(
        self, peer: Peer, sop_class_uids: Iterable[str], transfer_syntax_uid: str = str(ExplicitVRLittleEndian)
    ) -> Mapping[str, bool]:
        """Return which SOP classes a peer accepts in a transfer syntax; nothing is sent.

        Raises
        ------
        PeerUnreachable, PeerRefused
            As `echo`.
        """
        uids = tuple(dict.fromkeys(sop_class_uids))
        contexts = proposal((uid, transfer_syntax_uid) for uid in uids)
        with self._requestor.line(peer, contexts) as line:
            taken = {sop_class for sop_class, _ in line.agreed.accepted}
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
        with self._requestor.association(peer, commitment_report(), roles) as association:
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
        if status != SUCCESS:
            raise PeerRefused(f"{peer} answered an N-EVENT-REPORT with status 0x{status:04X}")

    def _store_batch(self, peer: Peer, batch: Sequence[OutgoingObject]) -> Iterator[Outcome]:
        """Send over one association; over another one what is left where the peer ends it at one of the objects.

        One object that a peer cannot bear holds up no other. Two associations in a row without any answer are enough:
        then it is the peer.
        """
        left = list(batch)
        silent = 0
        while left and silent < _SILENT_ASSOCIATIONS:
            answered = False
            with closing(self._over_one_line(peer, tuple(left))) as outcomes:
                for outcome in outcomes:
                    answered = answered or outcome.status is not None
                    del left[0]
                    yield _noted(peer, outcome)
            silent = 0 if answered else silent + 1
        for item in left:
            yield _noted(peer, item.postponed(_lost(peer)))

    def _over_one_line(self, peer: Peer, batch: Sequence[OutgoingObject]) -> Generator[Outcome]:
        """Yield outcomes up to the object at which the association is lost; of all, if there is no association."""
        contexts = proposal((item.sop_class_uid, item.transfer_syntax_uid) for item in batch)
        try:
            with self._requestor.line(peer, contexts) as line:
                for item in batch:
                    yield _stored(line, peer, item)
                    if line.is_lost:
                        return
        except Failure as failure:
            # raised only before the first object
            for item in batch:
                yield item.postponed(str(failure))


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


def _stored(line: Association, peer: Peer, item: OutgoingObject) -> Outcome:
    """Send one object; what the association has come to is known only to it."""
    name = str(peer.ae_title)
    context_id = line.agreed.accepted.get((item.sop_class_uid, item.transfer_syntax_uid))
    if context_id is None:
        return Outcome(item.sop_instance_uid, Verdict.PERMANENT, None, _not_accepted(line.agreed, name, item))
    try:
        with opened(item.path) as file:
            status = line.store(context_id, item.sop_class_uid, item.sop_instance_uid, file)
    except LineLost:
        return item.postponed(_lost(peer))
    except (OSError, ValueError) as error:
        return item.unreadable(error)
    return item.answered(name, status)


def _noted(peer: Peer, outcome: Outcome) -> Outcome:
    log.info(
        "object sent",
        peer=str(peer),
        sop_instance_uid=outcome.sop_instance_uid,
        outcome=outcome.verdict,
        reason=outcome.reason,
    )
    return outcome


def _lost(peer: Peer) -> str:
    return f"{peer} did not answer in time, or ended the association"


def _not_accepted(agreed: Agreed, name: str, item: OutgoingObject) -> str:
    """Return why an object has no presentation context."""
    results = {result for sop_class, result in agreed.refused if sop_class == item.sop_class_uid}
    text = f"{name} does not accept {described(item.sop_class_uid)}"
    if results <= {_TRANSFER_SYNTAX_NOT_SUPPORTED}:
        return f"{text} in {sop_class_name(item.transfer_syntax_uid)}"
    return text
