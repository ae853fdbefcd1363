"""The journey of a study after reception. Read it top to bottom: this is the product.

    read headers · close quiet studies · route · run · collect · deliver

Stages never call one another: each looks into the ledger for its work, does it, and writes what came of it back. So a
crash anywhere is an ordinary start. A stage is a tick: it returns soon and may be called at any time.
"""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from dicom_node import completion, routing, task
from dicom_node.compute import Compute, Ended, report_progress
from dicom_node.entities import Peer, StudyFacts
from dicom_node.errors import ComputeUnavailable, Failure, PeerRefused, PeerUnreachable
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Commitment, Delivery, Job, Ledger, NewJob, Received, Revision
from dicom_node.ledger.moves import to_json
from dicom_node.lifecycle import DeliveryState, StudyState
from dicom_node.log import safe_text, where
from dicom_node.settings import Destination, Settings
from dicom_node.storage_scu import Outcome, OutgoingObject, StorageSCU, Verdict

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 60.0
_HEADERS_A_TICK: Final = 40
#: A study to which nothing has come for this long is not arriving at full speed any more.
_LULL_SECONDS: Final = 0.5
_DELIVERIES_A_TICK: Final = 50
_REPORTS_A_TICK: Final = 10
_REPORT_TIMEOUT_SECONDS: Final = 30.0
#: Only a node that went away may lose its lease: far longer than reporting can take.
_REPORT_LEASE_SECONDS: Final = _REPORTS_A_TICK * (_REPORT_TIMEOUT_SECONDS + LEASE_SECONDS)
SECONDS_A_DAY: Final = 86400.0
_PRIORITIES: Final = tuple(routing.Priority)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules in force, and the text that they were read from."""

    parsed: routing.RuleSet
    text: str


class Flow:
    """The stages, and what they act on.

    Parameters
    ----------
    rules : callable
        Returns the rules in force; asked at every routing.
    clock : callable
        UTC seconds.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        store: InstanceStore,
        compute: Compute,
        rules: Callable[[], Rules],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._store = store
        self._compute = compute
        self._rules = rules
        self._clock = clock
        self._owner = settings.node.name
        self._watched_since = clock()
        self._jobs: dict[int, Job] = {}
        # between a job's claim and its submission it runs nowhere, and must not be taken for one to be stopped
        self._handing_over = threading.Lock()
        self._puzzling: set[Revision] = set()

    # -- at a start ----------------------------------------------------------------------------------------------

    def take_back(self, *, starting: bool) -> None:
        """Queue again what a node that went away was doing: at a start its own work too."""
        now = self._clock()
        if starting:
            self._ledger.arrivals.lose_open_associations(now)
        jobs = self._ledger.jobs.take_back(self._owner, now, starting=starting)
        deliveries = self._ledger.deliveries.take_back(self._owner, now, starting=starting)
        reports = self._ledger.commitments.take_back(self._owner, now, starting=starting)
        if jobs or deliveries or reports:
            log.info("work taken back", count=len(jobs), objects=deliveries + reports)
        if starting:
            self._hold_homeless()

    def _hold_homeless(self) -> None:
        """Hold what waits for a destination that the settings no longer have: nobody would ever send it."""
        known = {destination.name for destination in self._settings.destinations}
        waiting = self._ledger.deliveries.in_state(DeliveryState.WAITING)
        for name in sorted({delivery.destination for delivery in waiting} - known):
            reason = f"there is no destination {name!r} in node.toml any more: add it and retry, or cancel this"
            now = self._clock()
            self._ledger.deliveries.bring_back(name, now, every=True)
            for delivery in self._ledger.deliveries.start(name, self._owner, now, now + LEASE_SECONDS, len(waiting)):
                self._ledger.deliveries.hold(delivery, None, reason, now)

    def keep_leases(self) -> None:
        """Say that this node is alive, and take over from those that are not."""
        self._ledger.jobs.renew(self._owner, self._clock() + LEASE_SECONDS)
        self.take_back(starting=False)

    # -- receive -> complete ---------------------------------------------------------------------------------------

    def read_headers(self) -> None:
        """Read the headers of what has arrived, before the study is complete: routing then finds them ready.

        Not while it is still arriving: reception would have to share the processor.
        """
        unread = self._ledger.studies.unread(_HEADERS_A_TICK, self._clock() - _LULL_SECONDS)
        if unread:
            self._ledger.studies.put_headers([(row_id, self._header(path)) for row_id, path in unread])

    def _header(self, path: str) -> str:
        try:
            return routing.header_to_json(routing.read_header(self._store.path_of(path)))
        except Exception as error:
            log.warning("header cannot be read", path=path, exc_info=error)
            return routing.header_to_json({})

    def close_quiet(self) -> None:
        """Freeze every study that its policy calls complete."""
        for revision in self._ledger.studies.in_state(StudyState.RECEIVING):
            answer = completion.decide(self._arrivals(revision), self._settings.completion, self._clock())
            if answer.complete and self._ledger.studies.close(revision, answer.reason, self._clock()):
                log.info("study complete", **_about(revision), reason=answer.reason)

    def _arrivals(self, revision: Revision) -> completion.StudyArrivals:
        carriers = self._ledger.studies.carriers(revision)
        states = tuple(completion.AssociationState(each.end, each.ended_at) for each in carriers)
        return completion.StudyArrivals(revision.instances, revision.last_arrival_at, states, self._watched_since)

    # -- complete -> routed ----------------------------------------------------------------------------------------

    def route(self) -> None:
        """Ask every rule about every frozen revision; record the verdicts, and a job for each rule that fires."""
        for revision in self._ledger.studies.in_state(StudyState.COMPLETE):
            received = self._ledger.studies.received(revision.study_instance_uid, revision.number)
            if received is not None:  # None: a header is still being read, the next tick looks again
                self._try_to_route(revision, received)

    def _try_to_route(self, revision: Revision, received: Sequence[Received]) -> None:
        """Route one study; an error that nobody foresaw holds up this study, and no other."""
        try:
            self._route(revision, received)
        except Exception:
            if revision not in self._puzzling:  # said once, tried again every tick: rules may be edited meanwhile
                log.exception("study cannot be routed", **_about(revision))
                self._puzzling.add(revision)

    def _route(self, revision: Revision, received: Sequence[Received]) -> None:
        rules = self._rules()
        facts = study_facts(revision.study_instance_uid, received)
        verdicts = routing.route(facts, rules.parsed)
        wanted: list[NewJob] = []
        told: list[dict[str, Any]] = []
        for verdict in verdicts:
            job = self._job(verdict) if verdict.fires else None
            unchanged = job and self._why_not_again(revision, job, verdict.rule.late_images)
            if job and not unchanged:
                wanted.append(job)
            told.append(routing.verdict_to_json(verdict) | ({"late_images_reason": unchanged} if unchanged else {}))
        ids = self._ledger.studies.record_verdicts(
            revision, to_json(told), (rules.parsed.digest, rules.text), wanted, self._clock()
        )
        log.info("study routed", **_about(revision), rules=len(verdicts), count=len(ids))

    def _job(self, verdict: routing.Verdict) -> NewJob:
        rule = verdict.rule
        return NewJob(
            rule=rule.name,
            pipeline=rule.pipeline,
            inputs={role: series.paths for role, series in verdict.inputs.items()},
            destinations=rule.destinations,
            priority=_PRIORITIES.index(rule.priority),
            settings={**self._settings.pipelines.get(rule.pipeline, {}), **rule.settings},
        )

    def _why_not_again(self, revision: Revision, job: NewJob, late: routing.LateImages) -> str:
        """Return why a rule that fires makes no new job for late images; empty if it does."""
        study = revision.study_instance_uid
        if late is routing.LateImages.IGNORE and self._ledger.studies.has_job(study, job.rule):
            return "ran on an earlier revision, and late_images = 'ignore'"
        earlier = self._ledger.studies.earlier_inputs(study, job.rule)
        if earlier is None:
            return ""
        number, inputs, settings = earlier
        same = _inputs(job.inputs) == _inputs(inputs) and dict(job.settings) == settings
        return f"the late images are not among its inputs: revision {number}'s job stands" if same else ""

    # -- routed -> done ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start due jobs, the most urgent first, as many as there are free workers."""
        with self._handing_over:
            now = self._clock()
            due_at = self._ledger.jobs.next_due()
            # the engine is asked only when there is work: its answer takes longer than the ledger's
            free = self._compute.free_slots() if due_at is not None and due_at <= now else 0
            for job in self._ledger.jobs.claim(self._owner, now, now + LEASE_SECONDS, free) if free else ():
                self._hand_over(job)

    def _hand_over(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._compute.cancel(job.id)  # cancelled and asked for again before the next collect
        try:
            self._compute.submit(job.id, run_order, job.id, self._order(job))
            log.info("job started", **_about_job(job), attempt=job.attempts)
        except Failure as failure:
            self._failed(job, failure)
        except Exception as error:  # noqa: BLE001 - the engine may raise anything, and nobody would run the job
            said = f"the job could not be handed to a worker ({safe_text(error)} at {where(error)})"
            self._failed(job, ComputeUnavailable(said))

    def _order(self, job: Job) -> task.Order:
        wanted = {each.name for each in self._settings.destinations if each.empty_frames}
        return task.Order(
            name=f"J{job.id}",
            pipeline=job.pipeline,
            settings=job.settings,
            inputs={role: self._ledger.studies.refs(paths) for role, paths in job.inputs.items()},
            created_at=job.created_at,
            store=self._store.root,
            node_name=self._settings.node.name,
            results=self._settings.results,
            device=self._settings.compute.device,
            empty_frames=bool(wanted & set(job.destinations)),
            utc_offset_minutes=local_offset_minutes(job.created_at),
        )

    def collect(self) -> int:
        """Record the jobs that ended, and stop those that somebody cancelled; return how many ended."""
        with self._handing_over:
            all_ended = self._compute.collect()
            for ended in all_ended:
                self._record(self._jobs.pop(ended.job_id), ended)
            running = self._compute.running()
            for job_id in running - self._ledger.jobs.still_running(self._owner) if running else ():
                log.info("job stopped", job=job_id, reason="it is no longer this node's to run")
                self._jobs.pop(job_id, None)
                self._compute.cancel(job_id)
            return len(all_ended)

    def _record(self, job: Job, ended: Ended) -> None:
        answer: task.Answer | None = ended.value
        failure = ended.failure if answer is None else answer.failure
        if failure is not None:
            self._failed(job, failure)
        elif answer is not None:
            now = self._clock()
            give_up_at = now + self._settings.delivery.give_up_days * SECONDS_A_DAY
            remarks = " ".join(answer.remarks)
            self._ledger.jobs.finish(job, answer.made, answer.seconds, now, give_up_at, remarks)
            log.info("job done", **_about_job(job), objects=len(answer.made))

    def _failed(self, job: Job, failure: Failure) -> None:
        self._jobs.pop(job.id, None)
        compute = self._settings.compute
        again = failure.retryable and (job.attempts < compute.attempts or isinstance(failure, ComputeUnavailable))
        now = self._clock()
        wait = compute.retry_wait_seconds * job.attempts
        self._ledger.jobs.fail(job, str(failure), now, now + wait if again else None)
        log.warning("job failed", **_about_job(job), reason=str(failure), state="queued" if again else "held")

    # -- done -> delivered -------------------------------------------------------------------------------------------

    def deliver(self, destination: Destination) -> None:
        """Send what is due to one destination; each object's answer becomes its row's state."""
        now = self._clock()
        due = self._ledger.deliveries.start(
            destination.name, self._owner, now, now + self._sending_lease(destination), _DELIVERIES_A_TICK
        )
        if not due:
            return
        unanswered = {delivery.sop_instance_uid: delivery for delivery in due}
        try:
            for outcome in self._scu(destination).store(peer_of(destination), [self._outgoing(one) for one in due]):
                self._note_outcome(unanswered.pop(outcome.sop_instance_uid), outcome)
        finally:
            for delivery in unanswered.values():  # only after an error that nobody foresaw
                again_at = self._clock() + self._wait(delivery.attempts)
                self._ledger.deliveries.wait(delivery, None, "sending broke off", self._clock(), again_at)

    def _sending_lease(self, destination: Destination) -> float:
        # only a node that went away may lose its lease: far longer than sending can take
        return _DELIVERIES_A_TICK * (destination.timeout_seconds + LEASE_SECONDS)

    def _note_outcome(self, delivery: Delivery, outcome: Outcome) -> None:
        now = self._clock()
        ledger = self._ledger.deliveries
        if outcome.verdict is Verdict.ACCEPTED:
            ledger.accept(delivery, outcome.status, outcome.reason if outcome.status else "", now)
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
        """Bring a destination back early: once it answers C-ECHO again, what waited for it is due now."""
        if not self._ledger.deliveries.waiting_for(destination.name):
            return
        try:
            self._scu(destination).echo(peer_of(destination))
        except (PeerUnreachable, PeerRefused):
            return
        count = self._ledger.deliveries.bring_back(destination.name, self._clock())
        if count:
            log.info("destination answers again", destination=destination.name, objects=count)

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

    def _scu(self, destination: Destination) -> StorageSCU:
        calling = destination.calling_ae_title or self._settings.node.ae_title
        return StorageSCU(calling, destination.timeout_seconds)

    def _outgoing(self, delivery: Delivery) -> OutgoingObject:
        return OutgoingObject(
            path=self._store.path_of(delivery.path),
            sop_class_uid=delivery.sop_class_uid,
            sop_instance_uid=delivery.sop_instance_uid,
            transfer_syntax_uid=delivery.transfer_syntax_uid,
        )


def run_order(job_id: int, order: task.Order) -> task.Answer:
    """Do one job; this is what a worker process is given."""
    return task.perform(order, task.reporting(report_progress, job_id))


def local_offset_minutes(at: float) -> int:
    """Return how far this computer's local time is ahead of UTC at a time (UTC seconds)."""
    offset = datetime.fromtimestamp(at, UTC).astimezone().utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


def peer_of(destination: Destination) -> Peer:
    """Return the application entity that a destination of `node.toml` names."""
    return Peer.parse(destination.ae_title, destination.host, destination.port)


def study_facts(study_instance_uid: str, received: Sequence[Received]) -> StudyFacts:
    """Return what rules may ask about a study."""
    headers = [
        routing.ReceivedHeader(
            each.ref, routing.header_from_json(each.header), each.calling, each.called, each.address
        )
        for each in received
    ]
    return routing.gather(study_instance_uid, headers)


def _inputs(inputs: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    return {role: frozenset(paths) for role, paths in inputs.items()}


def _about(revision: Revision) -> dict[str, Any]:
    return {"study": revision.study_instance_uid, "revision": revision.number}


def _about_job(job: Job) -> dict[str, Any]:
    return {"study": job.study_instance_uid, "job": job.id, "rule": job.rule, "pipeline": job.pipeline}
