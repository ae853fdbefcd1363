"""The journey of a study after reception. Read it top to bottom: this is the product.

    read headers · close quiet studies · route · run · collect

and from there on `delivering`: deliver · probe · prove · report commitments.

Stages never call one another: each looks into the ledger for its work, does it, and writes what came of it back. So a
crash anywhere is an ordinary start. A stage is a tick: it returns soon and may be called at any time.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from dicom_node import completion, routing, task
from dicom_node.compute import Compute, Ended, report_progress
from dicom_node.entities import StudyFacts
from dicom_node.errors import ComputeUnavailable, Failure
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import AskedPriors, Job, Ledger, NewJob, Received, Revision
from dicom_node.ledger.moves import to_json
from dicom_node.lifecycle import LEASE_SECONDS, DeliveryState, StudyState
from dicom_node.log import safe_text, where
from dicom_node.offers import Offers, fitted
from dicom_node.results import Predecessor
from dicom_node.settings import DEFAULT_PROFILE, NoticeKind, ResultKind, ResultProfile, Settings

log = structlog.get_logger(__name__)

_HEADERS_A_TICK: Final = 40
#: A study to which nothing has come for this long is not arriving at full speed any more.
_LULL_SECONDS: Final = 0.5
SECONDS_A_DAY: Final = 86400.0
#: A fetch ends by itself when its time is over; so long after that a study waits for it no more.
_LATE_SECONDS: Final = 15.0
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
    known : Offers or None
        What destinations accept: what they are sent is fitted to that.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        store: InstanceStore,
        compute: Compute,
        rules: Callable[[], Rules],
        clock: Callable[[], float],
        known: Offers | None = None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._store = store
        self._compute = compute
        self._rules = rules
        self._clock = clock
        self._offers = known or Offers()
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
        fetches = self._ledger.fetches.take_back(self._owner, now, starting=starting)
        if jobs or deliveries or reports or fetches:
            log.info("work taken back", count=len(jobs), objects=deliveries + reports + fetches)
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
        until = self._clock() + LEASE_SECONDS
        self._ledger.jobs.renew(self._owner, until)
        self._ledger.deliveries.renew(self._owner, until)
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
            fetched = self._fetched(revision) if answer.complete else None
            if fetched is None:
                continue
            reason = f"{answer.reason}{fetched}"
            if self._ledger.studies.close(revision, reason, self._clock()):
                log.info("study complete", **_about(revision), reason=reason)

    def _fetched(self, revision: Revision) -> str | None:
        """Return what an archive has given of what was missing, to be added to a reason; None while it is asked."""
        policy, fetches, study = self._settings.completion, self._ledger.fetches, revision.study_instance_uid
        if not policy.archive or fetches.as_prior_of(study, revision.number) is not None:
            return ""
        fetch, now = fetches.of_revision(study, revision.number), self._clock()
        if fetch is None:
            fetches.ask_missing(study, revision.number, policy.archive, now, now + policy.archive_seconds)
            return None
        if not fetch.over and now < fetch.give_up_at + _LATE_SECONDS:
            return None
        said = fetch.reason if fetch.over else "it did not answer in time"
        return f"; asked {fetch.archive} what is missing: {said}"

    def _arrivals(self, revision: Revision) -> completion.StudyArrivals:
        carriers = self._ledger.studies.carriers(revision)
        states = tuple(completion.AssociationState(each.end, each.ended_at) for each in carriers)
        return completion.StudyArrivals(revision.instances, revision.last_arrival_at, states, self._watched_since)

    # -- complete -> routed ----------------------------------------------------------------------------------------

    def route(self) -> None:
        """Ask every rule about every frozen revision; record the verdicts, and a job for each rule that fires."""
        for revision in self._ledger.studies.in_state(StudyState.COMPLETE):
            asked_for = self._ledger.fetches.as_prior_of(revision.study_instance_uid, revision.number)
            if asked_for is not None:
                reason = f"it was only fetched as prior of {asked_for}: no rule is asked"
                self._ledger.studies.keep_as_prior(revision, reason, self._clock())
                continue
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
            priors=self._asked(rule),
        )

    def _asked(self, rule: routing.Rule) -> AskedPriors | None:
        if rule.priors is None:
            return None
        text = routing.print_rules(routing.RuleSet((rule,)))
        return AskedPriors(rule.priors.archive, text, self._clock() + rule.priors.time_limit_seconds)

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
        fetch = self._ledger.fetches.of_job(job.id)
        priors = {} if fetch is None else fetch.inputs
        return task.Order(
            name=f"J{job.id}",
            pipeline=job.pipeline,
            settings=job.settings,
            inputs={role: self._ledger.studies.refs(paths) for role, paths in job.inputs.items()},
            priors={role: self._ledger.studies.refs(paths) for role, paths in priors.items()},
            created_at=job.created_at,
            store=self._store.root,
            node_name=self._settings.node.name,
            products=self._products(job),
            notices=self._notices(job),
            device=self._settings.compute.device,
            utc_offset_minutes=local_offset_minutes(job.created_at),
        )

    def _products(self, job: Job) -> tuple[task.Product, ...]:
        """Return one product for each distinct profile of a job's destinations; one for nobody, if there are none."""
        return self._grouped(job, ResultProfile.content) or (task.Product(self._settings.profile()),)

    def _notices(self, job: Job) -> tuple[task.Product, ...]:
        """Return one product for each distinct profile of those destinations that want to know of a refusal."""
        found = self._grouped(job, lambda profile: f"{profile.not_run} {profile.content()}")
        return tuple(product for product in found if product.profile.not_run is not NoticeKind.NONE)

    def _grouped(self, job: Job, key: Callable[[ResultProfile], str]) -> tuple[task.Product, ...]:
        profiles = {each.name: each.profile for each in self._settings.destinations}
        products: dict[str, task.Product] = {}
        for name in job.destinations:
            profile = fitted(self._settings.profile(profiles.get(name, DEFAULT_PROFILE)), self._offers.of(name))
            known = products.get(key(profile), task.Product(profile))
            products[key(profile)] = replace(known, destinations=(*known.destinations, name))
        found = products.values()
        return tuple(replace(each, predecessor=self._predecessor(job, each.destinations)) for each in found)

    def _predecessor(self, job: Job, destinations: Sequence[str]) -> Predecessor | None:
        """Return the report of an earlier revision that the same destinations were sent, if there is one."""
        earlier = self._ledger.jobs.superseded(job, ResultKind.REPORT, destinations)
        if earlier is None:
            return None
        return Predecessor(
            earlier.study_instance_uid, earlier.series_instance_uid, earlier.sop_class_uid, earlier.sop_instance_uid
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
            self._failed(job, failure, answer)
        elif answer is not None:
            now = self._clock()
            remarks = " ".join(answer.remarks)
            self._ledger.jobs.finish(
                job, answer.made, answer.seconds, now, self._give_up_at(now), remarks, recipients=answer.recipients
            )
            log.info("job done", **_about_job(job), objects=len(answer.made))

    def _give_up_at(self, now: float) -> float:
        return now + self._settings.delivery.give_up_days * SECONDS_A_DAY

    def _failed(self, job: Job, failure: Failure, answer: task.Answer | None = None) -> None:
        """Record a failure; what was made all the same is the notice that tells it."""
        self._jobs.pop(job.id, None)
        compute = self._settings.compute
        again = failure.retryable and (job.attempts < compute.attempts or isinstance(failure, ComputeUnavailable))
        now = self._clock()
        wait = compute.retry_wait_seconds * job.attempts
        notices = answer or task.Answer()
        self._ledger.jobs.fail(
            job,
            str(failure),
            now,
            now + wait if again else None,
            notices.made,
            recipients=notices.recipients,
            give_up_at=self._give_up_at(now),
        )
        log.warning("job failed", **_about_job(job), reason=str(failure), state="queued" if again else "held")


def run_order(job_id: int, order: task.Order) -> task.Answer:
    """Do one job; this is what a worker process is given."""
    return task.perform(order, task.reporting(report_progress, job_id))


def local_offset_minutes(at: float) -> int:
    """Return how far this computer's local time is ahead of UTC at a time (UTC seconds)."""
    offset = datetime.fromtimestamp(at, UTC).astimezone().utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


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
