"""Results on their way out: sent to the right patient's study, proven to be there, sent again until they are.

    deliver · probe · prove · report commitments

Stages of the journey like those of `flow`: ticks that meet the others only in the ledger.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from dicom_node import offers, proving
from dicom_node.breaker import Breakers, Outage
from dicom_node.commitment import Report
from dicom_node.echoes import Echo, Echoes
from dicom_node.entities import Peer, derived_uid
from dicom_node.errors import Failure, ServiceNotOffered
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Commitment, Conflict, Delivery, Ledger
from dicom_node.lifecycle import LEASE_SECONDS
from dicom_node.outgoing import Outcome, OutgoingObject, Verdict
from dicom_node.senders import Senders
from dicom_node.settings import ArchiveDestination, Confirmation, Destination, PatientCheck, Settings
from dicom_node.storage_scu import StorageSCU

log = structlog.get_logger(__name__)

_SECONDS_A_DAY: Final = 86400.0
_DELIVERIES_A_TICK: Final = 50
_REPORTS_A_TICK: Final = 10
_REPORT_TIMEOUT_SECONDS: Final = 30.0
#: Only a node that went away may lose its lease: far longer than reporting can take.
_REPORT_LEASE_SECONDS: Final = _REPORTS_A_TICK * (_REPORT_TIMEOUT_SECONDS + LEASE_SECONDS)
_PROOFS_A_TICK: Final = 200
#: How long a storage commitment report is waited for on the association that asked for it.
_REPORT_WAIT_SECONDS: Final = 3.0
#: How long a destination without a query service is not asked again.
_MUTE_SECONDS: Final = 600.0


class Delivering:
    """The stages that leave the node, and what they act on.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    known : Offers or None
        Where it is kept what destinations accept.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        store: InstanceStore,
        clock: Callable[[], float],
        known: offers.Offers | None = None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._owner = settings.node.name
        delivery = settings.delivery
        self._breakers = Breakers(delivery.first_wait_seconds, delivery.longest_wait_seconds)
        self._senders = Senders(settings.node.ae_title, clock)
        self._offers = known or offers.Offers()
        self._echoes = Echoes()
        self._mute_until: dict[str, float] = {}
        self._stopping = threading.Event()
        # destinations to which something is being sent, or was when a tick broke off
        self._begun: set[str] = set()
        # what each destination's last probe found
        self._was_there: dict[str, bool] = {}

    def stop(self) -> None:
        """Begin no other object: the node is about to go away, and a slow line may need hours for what is due."""
        self._stopping.set()

    def take(self, settings: Settings) -> None:
        """Work with these settings from now on; what was learnt of a destination that has changed is forgotten."""
        before, self._settings = self._settings.destinations, settings
        for destination in before:
            if destination not in settings.destinations:
                self._forget(destination.name)

    def _forget(self, name: str) -> None:
        self._breakers.answered(name)
        self._offers.forget(name)
        self._echoes.forget(name)
        self._mute_until.pop(name, None)
        self._was_there.pop(name, None)
        # what waited because it could not be reached has another way now
        self._ledger.deliveries.bring_back(name, self._clock())

    # -- done -> delivered -------------------------------------------------------------------------------------------

    def outage(self, destination: Destination) -> Outage | None:
        """Return since when a destination does not answer, or None."""
        return self._breakers.outage(destination.name)

    def echo(self, destination: Destination) -> Echo | None:
        """Return when a destination was last asked whether it is there, and what came of it."""
        return self._echoes.of(destination.name)

    def deliver(self, destination: Destination) -> None:
        """Send what is due to one destination; each object's answer becomes its row's state."""
        now = self._clock()
        if self._stopping.is_set() or not self._breakers.allows(destination.name, now):
            return
        name, ledger = destination.name, self._ledger.deliveries
        if name in self._begun:  # the tick before broke off, and could not even say so in the ledger
            ledger.take_back_from(name, self._owner, now, now + self._wait(1))
        # whoever keeps the leases of this node renews it
        due = ledger.start(name, self._owner, now, now + LEASE_SECONDS, _DELIVERIES_A_TICK)
        if not due:
            return
        self._begun.add(name)
        unanswered = {delivery.sop_instance_uid: delivery for delivery in due}
        answers = False
        try:
            sendable = self._for_the_right_patient(destination, due)
            unanswered = {delivery.sop_instance_uid: delivery for delivery in sendable}
            silence = ""
            for outcome in self._senders.of(destination).store([self._outgoing(one) for one in sendable]):
                self._note_outcome(destination, unanswered.pop(outcome.sop_instance_uid), outcome)
                answers = answers or outcome.status is not None
                silence = silence or (outcome.reason if outcome.verdict is Verdict.TEMPORARY else "")
                if self._stopping.is_set():
                    unanswered.clear()  # the next start takes them back
                    break
            # one object without an answer among others with one is trouble with that object
            if silence and not answers:
                self._note_outage(destination, silence)
        finally:
            for delivery in unanswered.values():  # only after an error that nobody foresaw
                again_at = self._clock() + self._wait(delivery.attempts)
                ledger.wait(delivery, None, "sending broke off", self._clock(), again_at)
        self._begun.discard(name)

    def _for_the_right_patient(self, destination: Destination, due: Sequence[Delivery]) -> list[Delivery]:
        """Return what may be sent: the destination has its study, under the same patient, or cannot be asked.

        What may not waits (the study is not there yet) or is held (it is another patient's), each with its reason.
        """
        archive = self._senders.archive(destination)
        if archive is None or not isinstance(destination, ArchiveDestination):
            return list(due)
        if destination.check_patient is PatientCheck.OFF or not self._may_be_asked(destination):
            return list(due)
        studies = sorted({delivery.study_instance_uid for delivery in due})
        try:
            there = archive.find_studies(studies, proving.IDENTITY)
        except ServiceNotOffered as refusal:
            self._not_asked_again(destination, str(refusal))
            return list(due)
        except Failure as failure:
            self._unreachable(destination, due, str(failure))
            return []
        return [one for one in due if self._is_right(destination, one, there[one.study_instance_uid])]

    def _is_right(
        self, destination: ArchiveDestination, delivery: Delivery, theirs: Sequence[Mapping[str, str]]
    ) -> bool:
        now, ledger, study = self._clock(), self._ledger, delivery.study_instance_uid
        if not theirs:
            if destination.check_patient is PatientCheck.IF_THERE:
                return True
            reason = f"{destination.name} does not have the study yet: it must have the images before their results"
            ledger.deliveries.wait(delivery, None, reason, now, now + self._wait(delivery.attempts))
            return False
        try:
            ours = proving.identity_in(self._store.path_of(delivery.path))
        except Exception as error:  # noqa: BLE001 - boundary: damaged bytes make pydicom raise anything
            # what nobody knows the patient of goes nowhere, though its bytes could be sent
            ledger.deliveries.hold(delivery, None, self._outgoing(delivery).unreadable(error).reason, now)
            return False
        wrong = proving.disagreement(ours, theirs)
        if not wrong:
            ledger.proofs.clear_conflict(study, destination.name)
            return True
        ledger.proofs.note_conflict(Conflict(study, destination.name, ours, theirs[0], now))
        reason = (
            f"{destination.name} has this study under another patient ({', '.join(wrong)}): compare both with "
            f"`dicom-node status {study}`, correct one of them, then retry"
        )
        ledger.deliveries.hold(delivery, None, reason, now)
        return False

    def _may_be_asked(self, destination: Destination) -> bool:
        return self._clock() >= self._mute_until.get(destination.name, 0.0)

    def _not_asked_again(self, destination: Destination, reason: str) -> None:
        """A destination without a query service is sent to unasked, and asked again after a while."""
        self._mute_until[destination.name] = self._clock() + _MUTE_SECONDS
        log.info("destination cannot be asked whose a study is", destination=destination.name, reason=reason)

    def _unreachable(self, destination: Destination, due: Sequence[Delivery], reason: str) -> None:
        """A destination does not answer: what was due waits, and nothing more is tried for a while."""
        now = self._clock()
        for delivery in due:
            self._ledger.deliveries.wait(delivery, None, reason, now, now + self._wait(delivery.attempts))
        self._note_outage(destination, reason)

    def _note_outage(self, destination: Destination, reason: str) -> None:
        now = self._clock()
        if self._breakers.failed(destination.name, reason, now):
            self._ledger.note("destination down", f"{destination.name}: {reason}", now)
            log.warning("destination down", destination=destination.name, reason=reason)

    def _answers(self, destination: Destination) -> None:
        outage = self._breakers.answered(destination.name)
        if outage is not None:
            now = self._clock()
            minutes = (now - outage.since) / 60
            self._ledger.note("destination back", f"{destination.name}, after {minutes:.1f} minutes", now)
            log.info("destination back", destination=destination.name, seconds=now - outage.since)

    def _note_outcome(self, destination: Destination, delivery: Delivery, outcome: Outcome) -> None:
        now = self._clock()
        ledger = self._ledger.deliveries
        if outcome.status is not None:
            self._answers(destination)
        if outcome.verdict is Verdict.ACCEPTED:
            proves = _is_proven(destination)
            prove_at = now + self._settings.delivery.confirm_after_seconds if proves else None
            ledger.accept(delivery, outcome.status, outcome.reason if outcome.status else "", now, prove_at)
        elif outcome.verdict is Verdict.TEMPORARY:
            ledger.wait(delivery, outcome.status, outcome.reason, now, now + self._wait(delivery.attempts))
        else:
            ledger.hold(delivery, outcome.status, outcome.reason, now)

    def _wait(self, attempts: int) -> float:
        """Return the growing, jittered wait before the next attempt, in seconds."""
        policy = self._settings.delivery
        longest = min(policy.longest_wait_seconds, policy.first_wait_seconds * 2.0 ** min(attempts - 1, 30))
        return longest * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, guards no secret

    def probe(self, destination: Destination) -> None:
        """Bring a destination back early: once it is there again, what waited for it is due now.

        One that was there the time before, too, was never away: what fails there all the same keeps its growing
        waits, and only new objects are tried.
        """
        name, echo = destination.name, self._echoes.of(destination.name)
        silent = echo is not None and not echo.answered
        if self._breakers.outage(name) is None and not silent and not self._ledger.deliveries.waiting_for(name):
            return
        was_there = self._was_there.get(name, False)
        self._was_there[name] = self._is_there(destination)
        if not self._was_there[name]:
            return
        if was_there:
            self._breakers.let_through(name, self._clock())
            return
        self._answers(destination)
        count = self._ledger.deliveries.bring_back(name, self._clock())
        if count:
            log.info("destination answers again", destination=name, objects=count)

    def _is_there(self, destination: Destination) -> bool:
        answered, reason, began = True, "", time.monotonic()
        try:
            self._senders.of(destination).echo()
        except ServiceNotOffered as refusal:
            reason = str(refusal)  # without C-ECHO it answers all the same
        except Failure as failure:
            answered, reason = False, str(failure)
        self._echoes.note(destination.name, Echo(self._clock(), answered, time.monotonic() - began, reason))
        return answered

    # -- what destinations accept ------------------------------------------------------------------------------------

    def learn(self, destination: Destination) -> None:
        """Ask a destination which results it accepts; what it does not take as its profile says is noted once."""
        if not self._breakers.allows(destination.name, self._clock()) or not self._is_there(destination):
            return
        profile = self._settings.profile(destination.profile)
        try:
            accepted = offers.ask(profile, self._senders.of(destination))
        except Failure:
            return  # whoever delivers there says why
        if self._offers.learn(destination.name, accepted):
            for loss in offers.losses(profile, accepted):
                self._ledger.note("destination takes less", f"{destination.name}: {loss.text}", self._clock())
                log.warning("destination takes less", destination=destination.name, reason=loss.text)

    # -- delivered -> confirmed --------------------------------------------------------------------------------------

    def prove(self, destination: Destination) -> None:
        """Ask a destination whether it still has what it accepted; what it has not is sent again."""
        now = self._clock()
        if not _is_proven(destination) or not self._breakers.allows(destination.name, now):
            return
        lease_until = now + LEASE_SECONDS + 4 * destination.timeout_seconds
        due = self._ledger.proofs.start(destination.name, self._owner, now, lease_until, _PROOFS_A_TICK)
        due = self._still_worth_asking(due)
        archive = self._senders.archive(destination)
        if due and archive is not None and isinstance(destination, ArchiveDestination):
            self._prove(destination, archive, due)

    def _still_worth_asking(self, due: Sequence[Delivery]) -> list[Delivery]:
        """Return what is not older than the days that a delivery is tried; the rest stays delivered, and says why."""
        days = self._settings.delivery.give_up_days
        oldest = self._clock() - days * _SECONDS_A_DAY
        late = [one for one in due if one.proof_attempts > 1 and (one.delivered_at or 0.0) < oldest]
        for one in late:
            why = one.proof or "no storage commitment report came"
            self._ledger.proofs.put_off([one], f"not proven, gave up after {days:g} days: {why}", None)
        return [one for one in due if one not in late]

    def _prove(self, destination: ArchiveDestination, archive: proving.Archive, due: Sequence[Delivery]) -> None:
        transaction = derived_uid(f"commitment/{self._owner}/{due[0].id}/{due[0].proof_attempts}/{self._clock()}")
        # the report may come before the answer to the request has been seen, to a receiver of this node
        longer = 2.0 ** min(due[0].proof_attempts - 1, 30)
        again_at = self._clock() + self._settings.delivery.report_seconds * longer
        self._ledger.proofs.asked(due, transaction, again_at)
        try:
            proof = proving.prove(
                archive, destination.confirm, due, transaction, _REPORT_WAIT_SECONDS, self._reported
            )
        except Failure as failure:
            self._ledger.proofs.put_off(due, str(failure), self._clock() + self._wait(due[0].proof_attempts))
            return
        self._note_proof(due, proof)

    def _reported(self, report: Report) -> None:
        """Take in a report on an earlier request, which came on the association of another."""
        now = self._clock()
        known = self._ledger.proofs.reported(report, now, now + self._settings.delivery.first_wait_seconds)
        log.info("commitment report taken", instances=known, reason=str(report))

    def _note_proof(self, due: Sequence[Delivery], proof: proving.Proof) -> None:
        now, proofs = self._clock(), self._ledger.proofs
        proofs.confirm(proof.confirmed, proof.how, now)
        proofs.missing(proof.missing, now, now + self._settings.delivery.first_wait_seconds)
        for why in sorted(set(proof.open.values())):
            still = [delivery for delivery, each in proof.open.items() if each == why]
            proofs.put_off(still, why, now + self._wait(still[0].proof_attempts))
        if proof.unprovable:
            proofs.put_off(due, f"not proven: {proof.unprovable}", None)

    # -- storage commitment ------------------------------------------------------------------------------------------

    def report_commitments(self) -> None:
        """Bring the reports that no open association could take to where their [[source]] wants them."""
        now = self._clock()
        due = self._ledger.commitments.start(self._owner, now, now + _REPORT_LEASE_SECONDS, _REPORTS_A_TICK)
        for commitment in due:
            self._report(commitment)

    def _report(self, commitment: Commitment) -> None:
        ledger = self._ledger.commitments
        peer = self._requester(commitment)
        if peer is None:
            reason = "its association is over, and its [[source]] has no commitment_host to report to"
            ledger.hold(commitment, reason, self._clock())
            return
        try:
            report = ledger.report(commitment.request, self._store.holds)
            StorageSCU(commitment.called, _REPORT_TIMEOUT_SECONDS).report(peer, report)
        except Failure as failure:
            again_at = self._clock() + self._wait(commitment.attempts)
            ledger.wait(commitment, str(failure), self._clock(), again_at)
        else:
            ledger.accept(commitment, str(report), self._clock())
            log.info("commitment reported", peer=str(peer), instances=len(commitment.request.references))

    def _requester(self, commitment: Commitment) -> Peer | None:
        for source in self._settings.sources:
            known = source.is_called(commitment.calling) and source.is_at(commitment.address)
            if known and source.commitment_host is not None:
                return Peer.parse(commitment.calling, source.commitment_host, source.commitment_port)
        return None

    def _outgoing(self, delivery: Delivery) -> OutgoingObject:
        return OutgoingObject(
            path=self._store.path_of(delivery.path),
            sop_class_uid=delivery.sop_class_uid,
            sop_instance_uid=delivery.sop_instance_uid,
            transfer_syntax_uid=delivery.transfer_syntax_uid,
        )


def _is_proven(destination: Destination) -> bool:
    return isinstance(destination, ArchiveDestination) and destination.confirm is not Confirmation.NONE
