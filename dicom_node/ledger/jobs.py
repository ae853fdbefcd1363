"""Jobs: claimed under a lease, finished together with their deliveries, never lost, never run twice at once."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, and_, or_, select, update

from dicom_node.entities import FactValue
from dicom_node.ledger.database import reading
from dicom_node.ledger.fetches import nothing_is_awaited
from dicom_node.ledger.job_terms import JobTerms
from dicom_node.ledger.moves import AnyRow, insert_if_new, move, note_event, to_json
from dicom_node.ledger.runs import Effort, note_run
from dicom_node.ledger.schema import deliveries, jobs, results
from dicom_node.lifecycle import DeliveryState, JobEvent, JobState

#: A job whose node went away this often while it ran is suspected of taking the node down.
INTERRUPTIONS_ALLOWED: Final = 50


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the ledger holds it; times are UTC seconds, `seconds` the duration of each step."""

    id: int
    study_instance_uid: str
    revision: int
    rule: str
    pipeline: str
    settings: Mapping[str, FactValue | bool]
    inputs: Mapping[str, tuple[str, ...]]
    destinations: tuple[str, ...]
    priority: int
    rules_version: int | None
    terms: JobTerms
    state: JobState
    reason: str
    attempts: int
    not_before: float
    created_at: float
    started_at: float | None
    ended_at: float | None
    progress: float
    step: str
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DueJob:
    """Of a due job what says whether it may start: after a night's wait there may be thousands, with long inputs."""

    id: int
    study_instance_uid: str
    terms: JobTerms


@dataclass(frozen=True, slots=True)
class Result:
    """One object that a job made and stored."""

    sop_instance_uid: str
    kind: str
    sop_class_uid: str
    transfer_syntax_uid: str
    series_instance_uid: str
    study_instance_uid: str
    path: str
    sha256: str


class Jobs:
    """The flow's side of jobs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def claim(self, owner: str, now: float, lease_until: float, limit: int) -> list[Job]:
        """Take up to `limit` due jobs under a lease, most urgent first, oldest first within a priority."""
        return self.start([job.id for job in self.due(now, limit)], owner, now, lease_until)

    def start(self, job_ids: Sequence[int], owner: str, now: float, lease_until: float) -> list[Job]:
        """Take jobs under a lease, of those given that are queued still."""
        return [job for job_id in job_ids if (job := self._start(job_id, owner, now, lease_until)) is not None]

    def _start(self, job_id: int, owner: str, now: float, lease_until: float) -> Job | None:
        values = {
            "lease_owner": owner,
            "lease_until": lease_until,
            "started_at": now,
            "attempts": jobs.c.attempts + 1,
            "reason": "",
            "progress": 0.0,
            "step": "",
        }
        with self._engine.begin() as connection:
            if not move(connection, jobs, jobs.c.id == job_id, JobEvent.STARTED, **values):
                return None
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
            note_event(connection, "job started", f"attempt {row.attempts}", now, **_about(row))
            return _job(row)

    def renew(self, owner: str, lease_until: float) -> None:
        """Extend every lease of a living node."""
        with self._engine.begin() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.state == str(JobState.RUNNING), jobs.c.lease_owner == owner)
                .values(lease_until=lease_until)
            )

    def take_back(self, owner: str, now: float, *, starting: bool) -> list[int]:
        """Queue again the jobs of nodes that went away: run-out leases, and at a start this node's own."""
        gone = jobs.c.lease_until < now
        where = or_(gone, jobs.c.lease_owner == owner) if starting else gone
        with self._engine.begin() as connection:
            rows = connection.execute(select(jobs).where(where, jobs.c.state == str(JobState.RUNNING))).all()
            for row in rows:
                _interrupt(connection, row, now)
            return [row.id for row in rows]

    def note_progress(self, job_id: int, share: float, step: str) -> None:
        """Keep how far a running job is (0 to 1) and what it is doing."""
        with self._engine.begin() as connection:
            running = and_(jobs.c.id == job_id, jobs.c.state == str(JobState.RUNNING))
            connection.execute(update(jobs).where(running).values(progress=share, step=step[:200]))

    def finish(
        self,
        job: Job,
        made: Sequence[Result],
        seconds: Mapping[str, float],
        at: float,
        give_up_at: float,
        reason: str = "",
        *,
        recipients: Mapping[str, Sequence[str]] | None = None,
        effort: Effort | None = None,
    ) -> bool:
        """In one transaction: the job is done, its objects are known, their deliveries wait.

        Every object goes to every destination of the job, or to those that `recipients` has for its SOP Instance UID.

        An object whose UID is known already is the same object (UIDs are derived from all that decides its content):
        its first bytes stay, and a delivery that exists is not made again.
        """
        with self._engine.begin() as connection:
            values = {"seconds": to_json(dict(seconds)), "ended_at": at, "lease_owner": None, "progress": 1.0}
            if not move(connection, jobs, jobs.c.id == job.id, JobEvent.FINISHED, reason=reason, **values):
                return False
            _keep(connection, job, made, recipients or {}, at, give_up_at)
            note_run(connection, _attempt(job), "done", reason, at, effort or Effort(seconds))
            note_event(connection, "job done", f"{_kinds(made)} made", at, **_about_job(job))
            return True

    def fail(
        self,
        job: Job,
        reason: str,
        at: float,
        again_at: float | None,
        notices: Sequence[Result] = (),
        *,
        recipients: Mapping[str, Sequence[str]] | None = None,
        give_up_at: float = 0.0,
        effort: Effort | None = None,
    ) -> bool:
        """Record a failure: queued again for `again_at`, or held for a person if that is None.

        In the same transaction the notices of a held job are known, and wait for delivery until `give_up_at`, as the
        objects of a finished one; a job that is queued again tells nobody yet.
        """
        event = JobEvent.FAILED_FOR_GOOD if again_at is None else JobEvent.FAILED_FOR_NOW
        values: dict[str, Any] = {"reason": reason, "ended_at": at, "lease_owner": None}
        values |= {} if again_at is None else {"not_before": again_at}
        with self._engine.begin() as connection:
            moved = move(connection, jobs, jobs.c.id == job.id, event, **values)
            if moved:
                outcome = "held" if again_at is None else "failed"
                note_run(connection, _attempt(job), outcome, reason, at, effort or Effort())
                note_event(connection, f"job {outcome}", reason, at, **_about_job(job))
            if moved and again_at is None and notices:
                _keep(connection, job, notices, recipients or {}, at, give_up_at)
                note_event(connection, "notice made", f"{_kinds(notices)} made, which says so", at, **_about_job(job))
            return bool(moved)

    def note_stopped(self, job: Job, at: float, effort: Effort) -> None:
        """Keep what an attempt logged that was stopped, because somebody cancelled its job."""
        with self._engine.begin() as connection:
            note_run(connection, _attempt(job), "stopped", "it was cancelled, or is another node's", at, effort)

    def retry(self, job_id: int, at: float) -> bool:
        """Queue a held or cancelled job again, its attempts counted from the beginning."""
        values = {"not_before": at, "attempts": 0, "interruptions": 0, "reason": "asked for by a person"}
        return self._ask(job_id, JobEvent.RETRY_ASKED, at, values)

    def cancel(self, job_id: int, at: float) -> bool:
        """Cancel a job that is not done; a running one is stopped by the node that runs it."""
        values = {"ended_at": at, "reason": "cancelled by a person", "lease_owner": None}
        return self._ask(job_id, JobEvent.CANCEL_ASKED, at, values)

    def _ask(self, job_id: int, event: JobEvent, at: float, values: Mapping[str, Any]) -> bool:
        with self._engine.begin() as connection:
            moved = move(connection, jobs, jobs.c.id == job_id, event, **values)
            if moved:
                row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
                note_event(connection, str(event), f"job J{job_id}", at, **_about(row))
            return bool(moved)

    def get(self, job_id: int) -> Job | None:
        """Return one job."""
        with self._reader.connect() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        return None if row is None else _job(row)

    def still_running(self, owner: str) -> set[int]:
        """Return the ids that this node may still work on."""
        mine = and_(jobs.c.state == str(JobState.RUNNING), jobs.c.lease_owner == owner)
        with self._reader.connect() as connection:
            return set(connection.execute(select(jobs.c.id).where(mine)).scalars())

    def next_due(self) -> float | None:
        """Return when the earliest queued job may start that waits for no priors."""
        statement = select(jobs.c.not_before).where(jobs.c.state == str(JobState.QUEUED), nothing_is_awaited())
        with self._reader.connect() as connection:
            return connection.execute(statement.order_by(jobs.c.not_before).limit(1)).scalar()

    def due(self, now: float, limit: int) -> list[DueJob]:
        """Return the next jobs that are due, most urgent first, oldest first within a priority."""
        statement = _next(select(jobs.c.id, jobs.c.study_instance_uid, jobs.c.terms), now, limit)
        with self._reader.connect() as connection:
            rows = connection.execute(statement).all()
        return [DueJob(row.id, row.study_instance_uid, JobTerms.read(row.terms)) for row in rows]

    def put_off(self, job_ids: Sequence[int], until: float, reason: str) -> None:
        """Let queued jobs wait until a time, and say why."""
        queued = and_(jobs.c.id.in_(list(job_ids)), jobs.c.state == str(JobState.QUEUED))
        with self._engine.begin() as connection:
            connection.execute(update(jobs).where(queued).values(not_before=until, reason=reason))

    def latest(self, limit: int, *, state: JobState | None = None, study: str | None = None) -> list[Job]:
        """Return the newest jobs, newest first."""
        statement = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        statement = statement if state is None else statement.where(jobs.c.state == str(state))
        statement = statement if study is None else statement.where(jobs.c.study_instance_uid == study)
        with self._reader.connect() as connection:
            return [_job(row) for row in connection.execute(statement)]

    def superseded(self, job: Job, kind: str, destinations: Sequence[str]) -> Result | None:
        """Return the newest object of a kind that a job's rule made of earlier images of its study.

        Only what one of some destinations was sent, or is to be sent, counts: the others never had it. Without
        destinations everything does.
        """
        statement = (
            select(results)
            .join(jobs, results.c.job_id == jobs.c.id)
            .where(jobs.c.study_instance_uid == job.study_instance_uid, jobs.c.rule == job.rule)
            .where(jobs.c.revision < job.revision, results.c.kind == kind)
            .order_by(jobs.c.revision.desc(), results.c.created_at.desc(), results.c.sop_instance_uid)
        )
        if destinations:
            sent = select(deliveries.c.sop_instance_uid).where(
                deliveries.c.destination.in_(list(destinations)), deliveries.c.state != str(DeliveryState.CANCELLED)
            )
            statement = statement.where(results.c.sop_instance_uid.in_(sent))
        with self._reader.connect() as connection:
            row = connection.execute(statement.limit(1)).first()
        return None if row is None else _result(row)

    def results(self, job_id: int) -> list[Result]:
        """Return the objects that a job made."""
        return self.results_of((job_id,))[job_id]

    def results_of(self, job_ids: Collection[int]) -> dict[int, list[Result]]:
        """Return the objects that each of some jobs made."""
        found: dict[int, list[Result]] = {job_id: [] for job_id in job_ids}
        with self._reader.connect() as connection:
            for row in connection.execute(select(results).where(results.c.job_id.in_(list(found)))):
                found[row.job_id].append(_result(row))
        return found


def _next(columns: Any, now: float, limit: int) -> Any:
    due = jobs.c.state == str(JobState.QUEUED), jobs.c.not_before <= now, nothing_is_awaited()
    return columns.where(*due).order_by(jobs.c.priority, jobs.c.created_at, jobs.c.id).limit(limit)


def _interrupt(connection: Connection, row: AnyRow, now: float) -> None:
    # an interruption is not the job's fault, so it costs no attempt - until it happens suspiciously often
    values = {"interruptions": row.interruptions + 1, "attempts": row.attempts - 1, "lease_owner": None}
    if row.interruptions >= INTERRUPTIONS_ALLOWED:
        reason = f"the node went away {row.interruptions + 1} times while this job ran"
        move(connection, jobs, jobs.c.id == row.id, JobEvent.FAILED_FOR_GOOD, reason=reason, lease_owner=None)
        note_event(connection, "job held", reason, now, **_about(row))
    elif move(connection, jobs, jobs.c.id == row.id, JobEvent.INTERRUPTED, not_before=now, **values):
        note_event(connection, "job taken back", "its node went away", now, **_about(row))


def _keep(
    connection: Connection,
    job: Job,
    made: Sequence[Result],
    recipients: Mapping[str, Sequence[str]],
    at: float,
    give_up_at: float,
) -> None:
    for result in made:
        insert_if_new(connection, results, **_result_row(result, job.id, at))
        for destination in recipients.get(result.sop_instance_uid, job.destinations):
            _await_delivery(connection, result, job.id, destination, at, give_up_at)


def _kinds(made: Sequence[Result]) -> str:
    """Return what was made, in words: "SEG, SR, 192 IMG"."""
    counts = Counter(result.kind for result in made)
    return ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in counts.items()) or "no object"


def _await_delivery(
    connection: Connection, result: Result, job_id: int, destination: str, at: float, give_up_at: float
) -> None:
    insert_if_new(
        connection,
        deliveries,
        sop_instance_uid=result.sop_instance_uid,
        job_id=job_id,
        destination=destination,
        state=str(DeliveryState.WAITING),
        created_at=at,
        waiting_since=at,
        not_before=at,
        give_up_at=give_up_at,
    )


def _result(row: AnyRow) -> Result:
    return Result(**{name: getattr(row, name) for name in Result.__dataclass_fields__})


def _result_row(result: Result, job_id: int, at: float) -> dict[str, Any]:
    names = Result.__dataclass_fields__
    return {name: getattr(result, name) for name in names} | {"job_id": job_id, "created_at": at}


def _about(row: AnyRow) -> dict[str, Any]:
    return {"study_instance_uid": row.study_instance_uid, "job_id": row.id}


def _attempt(job: Job) -> tuple[int, int, float | None]:
    return job.id, job.attempts, job.started_at


def _about_job(job: Job) -> dict[str, Any]:
    return {"study_instance_uid": job.study_instance_uid, "job_id": job.id}


def _job(row: AnyRow) -> Job:
    return Job(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        revision=row.revision,
        rule=row.rule,
        pipeline=row.pipeline,
        settings=json.loads(row.settings),
        inputs={role: tuple(paths) for role, paths in json.loads(row.inputs).items()},
        destinations=tuple(json.loads(row.destinations)),
        priority=row.priority,
        rules_version=row.rules_version,
        terms=JobTerms.read(row.terms),
        state=JobState(row.state),
        reason=row.reason,
        attempts=row.attempts,
        not_before=row.not_before,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        progress=row.progress,
        step=row.step,
        seconds=json.loads(row.seconds) if row.seconds else {},
    )
