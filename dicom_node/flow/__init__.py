"""The journey of a study after reception. Read it top to bottom: this is the product.

    read headers · close quiet studies · route · run · collect

and from there on `delivering`: deliver · probe · prove · report commitments.

Stages never call one another: each looks into the ledger for its work, does it, and writes what came of it back. So a
crash anywhere is an ordinary start. A stage is a tick: it returns soon and may be called at any time.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import structlog

from dicom_node import completion, routing, task
from dicom_node.compute import Compute, Ended, report_line, report_progress
from dicom_node.counts import Counts
from dicom_node.early import LULL_SECONDS, EarlyLooks
from dicom_node.errors import ComputeUnavailable, Failure
from dicom_node.flow.again import what_is_new
from dicom_node.flow.orders import order_of
from dicom_node.flow.pauses import Pauses
from dicom_node.flow.putting_off import startable
from dicom_node.homeless import hold_homeless
from dicom_node.instance_store import InstanceStore
from dicom_node.known_facts import last_arrivals, study_facts
from dicom_node.ledger import Effort, Job, Ledger, NewJob, Received, Revision
from dicom_node.lifecycle import LEASE_SECONDS, StudyState
from dicom_node.log import safe_text, where
from dicom_node.offers import Offers
from dicom_node.rulebook import Rules
from dicom_node.settings import Settings
from dicom_node.settling import Arrived
from dicom_node.wanted import Moment, opens_again, waits_for_schedule, wanted_job, zone_of

log = structlog.get_logger(__name__)

_HEADERS_A_TICK: Final = 40
SECONDS_A_DAY: Final = 86400.0
#: A fetch ends by itself when its time is over; so long after that a study waits for it no more.
_LATE_SECONDS: Final = 15.0


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
    counts : Counts or None
        How many instances of a study destinations say there are.
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
        counts: Counts | None = None,
    ) -> None:
        self._settings = settings
        self._once_known: frozenset[str] = frozenset()
        self._ledger = ledger
        self._store = store
        self._compute = compute
        self._rules = rules
        self._clock = clock
        self._offers = known or Offers()
        self._counts = counts or Counts()
        self._early = EarlyLooks(ledger.studies, self._counts, settings.completion, zone_of(settings))
        self._owner = settings.node.name
        self._watched_since = clock()
        self._jobs: dict[int, Job] = {}
        self._unrecorded: list[tuple[Job, Ended]] = []
        # between a job's claim and its submission it runs nowhere, and must not be taken for one to be stopped
        self._handing_over = threading.Lock()
        self._puzzling: set[tuple[str, str, int]] = set()
        self._tries, self._looks = Pauses(), Pauses()

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
        self._hold_homeless(None if starting else self._once_known)

    def take(self, settings: Settings) -> None:
        """Work with these settings from now on; what jobs still bring for destinations that are gone is held."""
        self._once_known |= {destination.name for destination in self._settings.destinations}
        self._settings = settings
        for pauses in (self._tries, self._looks):
            pauses.end()

    def _hold_homeless(self, among: frozenset[str] | None) -> None:
        known = {destination.name for destination in self._settings.destinations}
        if among is None or among - known:
            hold_homeless(self._ledger, self._owner, known, self._clock(), among)

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
        unread = self._ledger.studies.unread(_HEADERS_A_TICK, self._clock() - LULL_SECONDS)
        if unread:
            self._ledger.studies.put_headers([(row_id, self._header(path)) for row_id, path in unread])

    def _header(self, path: str) -> str:
        try:
            return routing.header_to_json(routing.read_header(self._store.path_of(path)))
        except Exception as error:
            log.warning("header cannot be read", path=path, exc_info=error)
            return routing.header_to_json({})

    def close_quiet(self) -> None:
        """Freeze every study that its policy calls complete, or that a rule need not wait for any longer."""
        receiving = self._ledger.studies.in_state(StudyState.RECEIVING)
        self._looks.only([_key(revision) for revision in receiving])
        for revision in receiving:
            reason = self._why_whole(revision, self._arrivals(revision))
            if reason and self._ledger.studies.close(revision, reason, self._clock()):
                log.info("study complete", **_about(revision), reason=reason)

    def _why_whole(self, revision: Revision, arrivals: completion.StudyArrivals) -> str:
        """Return why a revision can be frozen; blank while it cannot."""
        answer = completion.decide(arrivals, self._settings.completion, self._clock())
        if not answer.complete:
            return self._why_early(revision, arrivals)
        fetched = self._fetched(revision)
        return "" if fetched is None else f"{answer.reason}{fetched}"

    def _why_early(self, revision: Revision, arrivals: completion.StudyArrivals) -> str:
        """Look whether a rule need not wait; an error that nobody foresaw lets this study wait, and no other."""
        rules, now = self._rules(), self._clock()
        if not self._looks.over(_key(revision), rules.name, now):
            return ""
        try:
            return self._early.why(revision, arrivals, rules.parsed, now)
        except Exception as error:  # noqa: BLE001 - the named boundary of one study
            self._looks.longer(_key(revision), rules.name, now)
            self._say_puzzling(revision, "study cannot be looked at early", error)
            return ""

    def _say_puzzling(self, revision: Revision, said: str, error: Exception) -> None:
        """Tell an error once for each revision, in the log and in the study's story: it is met at every tick."""
        puzzle = (said, revision.study_instance_uid, revision.number)
        if puzzle not in self._puzzling:
            log.error(said, **_about(revision), exc_info=error)
            self._puzzling.add(puzzle)
            reason = f"{safe_text(error)} at {where(error)}; the log has more, and it is tried again"
            self._ledger.note(said, reason, self._clock(), study=revision.study_instance_uid)

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
        frozen, rules = self._ledger.studies.in_state(StudyState.COMPLETE), self._rules()
        self._tries.only([_key(revision) for revision in frozen])
        for revision in frozen:
            asked_for = self._ledger.fetches.as_prior_of(revision.study_instance_uid, revision.number)
            if asked_for is not None:
                reason = f"it was only fetched as prior of {asked_for}: no rule is asked"
                self._ledger.studies.keep_as_prior(revision, reason, self._clock())
                continue
            if self._tries.over(_key(revision), rules.name, self._clock()):
                self._try_to_route(revision, rules)

    def _try_to_route(self, revision: Revision, rules: Rules) -> None:
        """Route one study; an error that nobody foresaw holds up this study, and no other."""
        try:
            received = self._ledger.studies.received(*_key(revision))
            if received is not None:  # None: a header is still being read, the next tick looks again
                self._route(revision, received, rules)
        except Exception as error:  # noqa: BLE001 - tried again later, and at once when rules were edited
            self._tries.longer(_key(revision), rules.name, self._clock())
            self._say_puzzling(revision, "study cannot be routed", error)

    def _route(self, revision: Revision, received: Sequence[Received], rules: Rules) -> None:
        facts = study_facts(revision.study_instance_uid, received, zone_of(self._settings))
        record = rules.recorder.record(facts)
        firing = [decision for decision in record.matching if decision.fires]
        moment = self._moment(revision, received)
        wanted: list[NewJob] = []
        unchanged: dict[str, str] = {}
        for decision in firing:
            job = wanted_job(decision, moment, self._settings)
            new = what_is_new(self._ledger.earlier, revision, facts, job, decision.rule.late_images)
            if new.job is None:
                unchanged[job.rule] = new.why
            else:
                wanted.append(new.job)
        ids = self._ledger.studies.record_verdicts(
            revision,
            record.text(unchanged),
            (rules.digest, rules.version),
            wanted,
            self._clock(),
            routing.facts_to_bytes(facts),
            firing=[decision.rule.name for decision in firing],
        )
        log.info("study routed", **_about(revision), rules=len(rules.parsed.rules), count=len(ids))

    def _moment(self, revision: Revision, received: Sequence[Received]) -> Moment:
        """Return what is known now; a study that a rule wanted early is complete for the others later."""
        now, arrivals = self._clock(), self._arrivals(revision)
        answer = completion.decide(arrivals, self._settings.completion, revision.closed_at or now)
        count_of = self._counts.asked(revision.study_instance_uid, revision.last_arrival_at, now)
        arrived = Arrived(arrivals, len(received), last_arrivals(received))
        return Moment(now, answer.look_again_at, not answer.complete, arrived, count_of)

    # -- routed -> done ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start due jobs, the most urgent first, as many as there are free workers."""
        with self._handing_over:
            now = self._clock()
            due_at = self._ledger.jobs.next_due()
            # the engine is asked only when there is work: its answer takes longer than the ledger's
            free = self._compute.free_slots() if due_at is not None and due_at <= now else 0
            if free:
                opens = partial(opens_again, now=now, settings=self._settings)
                ids = startable(self._ledger, now, free, opens, waits_for_schedule)
                for job in self._ledger.jobs.start(ids, self._owner, now, now + LEASE_SECONDS):
                    self._hand_over(job)

    def _hand_over(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._compute.cancel(job.id)  # cancelled and asked for again before the next collect
        try:
            self._compute.submit(
                job.id, run_order, job.id, order_of(job, self._ledger, self._store, self._settings, self._offers)
            )
            log.info("job started", **_about_job(job), attempt=job.attempts)
        except Failure as failure:
            self._failed(job, failure)
        except Exception as error:  # noqa: BLE001 - the engine may raise anything, and nobody would run the job
            said = f"the job could not be handed to a worker ({safe_text(error)} at {where(error)})"
            self._failed(job, ComputeUnavailable(said))

    def collect(self) -> int:
        """Record the jobs that ended, and stop those that somebody cancelled; return how many ended."""
        with self._handing_over:
            all_ended = (*self._unrecorded, *self._just_ended())
            self._unrecorded = []
            for job, ended in all_ended:
                self._try_to_record(job, ended)
            running = self._compute.running()
            for job_id in running - self._ledger.jobs.still_running(self._owner) if running else ():
                log.info("job stopped", job=job_id, reason="it is no longer this node's to run")
                stopped = self._jobs.pop(job_id, None)
                if stopped is not None:
                    effort = Effort(log=self._compute.said(job_id))
                    self._ledger.jobs.note_stopped(stopped, self._clock(), effort)
                self._compute.cancel(job_id)
            return len(all_ended) - len(self._unrecorded)

    def _just_ended(self) -> Iterator[tuple[Job, Ended]]:
        for ended in self._compute.collect():
            job = self._jobs.pop(ended.job_id, None)
            if job is not None:
                yield job, ended

    def _try_to_record(self, job: Job, ended: Ended) -> None:
        """Record how one job ended; if the ledger cannot, the others are recorded, and this one at the next tick."""
        try:
            self._record(job, ended)
        except Exception:  # kept, because its lease is renewed, and nobody else would ever end it
            log.exception("job's end cannot be recorded", **_about_job(job))
            self._unrecorded.append((job, ended))

    def _record(self, job: Job, ended: Ended) -> None:
        answer: task.Answer | None = ended.value
        failure = ended.failure if answer is None else answer.failure
        if failure is not None:
            self._failed(job, failure, answer or task.Answer(log=ended.said))
        elif answer is not None:
            now = self._clock()
            dry = ("Dry run: stored, and sent to nobody.",) if job.terms.dry_run else ()
            told = answer.seconds, now, self._give_up_at(now), " ".join((*answer.remarks, *dry))
            recipients, effort = _recipients(job, answer), answer.effort()
            self._ledger.jobs.finish(job, answer.made, *told, recipients=recipients, effort=effort)
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
            recipients=_recipients(job, notices),
            give_up_at=self._give_up_at(now),
            effort=notices.effort(),
        )
        log.warning("job failed", **_about_job(job), reason=str(failure), state="queued" if again else "held")


def _recipients(job: Job, answer: task.Answer) -> dict[str, tuple[str, ...]]:
    """Return whom each object is for; of a dry run nobody."""
    return {made.sop_instance_uid: () for made in answer.made} if job.terms.dry_run else answer.recipients


def run_order(job_id: int, order: task.Order) -> task.Answer:
    """Do one job; this is what a worker process is given."""
    return task.perform(order, task.reporting(report_progress, job_id), partial(report_line, job_id))


def _key(revision: Revision) -> tuple[str, int]:
    return revision.study_instance_uid, revision.number


def _about(revision: Revision) -> dict[str, Any]:
    return {"study": revision.study_instance_uid, "revision": revision.number}


def _about_job(job: Job) -> dict[str, Any]:
    return {"study": job.study_instance_uid, "job": job.id, "rule": job.rule, "pipeline": job.pipeline}
