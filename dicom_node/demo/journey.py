"""One study's way through the node as the ledger tells it, stage by stage; pure, so that a page could use it too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.table import Table

from dicom_node.ledger import Delivery, Job, Ledger, Revision
from dicom_node.lifecycle import ARRIVED, DeliveryState, JobState

_JOB_ENDS: Final = (JobState.DONE, JobState.HELD, JobState.CANCELLED)
_DELIVERY_ENDS: Final = (*ARRIVED, DeliveryState.HELD, DeliveryState.CANCELLED)
_MORE_THAN_ENOUGH: Final = 100
#: Steps of a job, as the ledger names them.
_RUNNING: Final = ("load", "model", "run")
_BUILDING: Final = ("build", "store")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the ledger holds of one study at one moment; `revision` is the latest, `results` a count."""

    revision: Revision | None
    jobs: tuple[Job, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    results: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what happened in words, and how long it took (None while it is not over)."""

    name: str
    detail: str = ""
    seconds: float | None = None


def look(ledger: Ledger, study_instance_uid: str) -> Snapshot:
    """Return where a study's latest revision is now."""
    revisions = ledger.studies.revisions(study_instance_uid)
    if not revisions:
        return Snapshot(None)
    latest = revisions[-1]
    jobs = [
        job
        for job in ledger.jobs.latest(_MORE_THAN_ENOUGH, study=study_instance_uid)
        if job.revision == latest.number
    ]
    ids = {job.id for job in jobs}
    deliveries = [one for one in ledger.deliveries.of_study(study_instance_uid) if one.job_id in ids]
    results = sum(len(ledger.jobs.results(number)) for number in ids)
    return Snapshot(latest, tuple(jobs), tuple(deliveries), results)


def settled(snapshot: Snapshot) -> bool:
    """Return True if nothing more will happen to the study by itself."""
    routed = snapshot.revision is not None and snapshot.revision.routed_at is not None
    jobs_over = all(job.state in _JOB_ENDS for job in snapshot.jobs)
    return routed and jobs_over and all(one.state in _DELIVERY_ENDS for one in snapshot.deliveries)


def succeeded(snapshot: Snapshot) -> bool:
    """Return True if at least one job ran, every job is done, and all that they made was delivered."""
    done = bool(snapshot.jobs) and all(job.state is JobState.DONE for job in snapshot.jobs)
    delivered = all(one.state in ARRIVED for one in snapshot.deliveries)
    return done and bool(snapshot.deliveries) and delivered


def stages(snapshot: Snapshot) -> tuple[Stage, ...]:
    """Return all stages in order; those that were not reached have neither words nor time."""
    revision = snapshot.revision
    if revision is None:
        return tuple(map(Stage, ("received", "complete", "routed", "running", "built", "delivered")))
    return (
        Stage("received", f"{revision.instances} instances", revision.last_arrival_at - revision.opened_at),
        Stage("complete", revision.reason, _between(revision.last_arrival_at, revision.closed_at)),
        Stage("routed", _routed(snapshot), _between(revision.closed_at, revision.routed_at)),
        _running(snapshot.jobs),
        _built(snapshot),
        _delivered(snapshot),
    )


def stage_table(rows: Sequence[Stage], title: str) -> Table:
    """Return the stages as a table for a terminal."""
    table = Table("stage", "what happened", title=title, title_justify="left")
    table.add_column("seconds", justify="right")
    for stage in rows:
        seconds = "" if stage.seconds is None else f"{stage.seconds:.2f}"
        table.add_row(stage.name, stage.detail, seconds, style="" if stage.detail else "dim")
    return table


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _routed(snapshot: Snapshot) -> str:
    if snapshot.jobs:
        return ", ".join(f"rule {job.rule!r}: {job.pipeline}" for job in snapshot.jobs)
    routed = snapshot.revision is not None and snapshot.revision.routed_at is not None
    return "no rule matched: `dicom-node explain` says why" if routed else ""


def _running(jobs: Sequence[Job]) -> Stage:
    worked = _seconds(jobs, _RUNNING)
    if worked is None:
        started = [job.started_at for job in jobs if job.started_at is not None]
        ended = [job.ended_at for job in jobs if job.ended_at is not None]
        over = bool(jobs) and len(ended) == len(jobs)
        worked = max(ended) - min(started) if over and started else None
    return Stage("running", ", ".join(filter(None, map(_in_words, jobs))), worked)


def _seconds(jobs: Sequence[Job], steps: Sequence[str]) -> float | None:
    """Return how long the given steps of all jobs took; None unless every job is done."""
    done = bool(jobs) and all(job.state is JobState.DONE for job in jobs)
    measured = [job.seconds[step] for job in jobs for step in steps if step in job.seconds]
    return sum(measured) if done and measured else None


def _in_words(job: Job) -> str:
    if job.state is JobState.RUNNING:
        return f"{job.progress:.0%} {job.step}".strip()
    if job.state is not JobState.DONE:
        return f"{job.state}: {job.reason}" if job.reason else str(job.state)
    steps = ", ".join(f"{step} {job.seconds[step]:.1f} s" for step in _RUNNING if step in job.seconds)
    return f"{job.state} ({steps})" if steps else str(job.state)


def _built(snapshot: Snapshot) -> Stage:
    detail = f"{snapshot.results} objects, checked and stored" if snapshot.results else ""
    return Stage("built", detail, _seconds(snapshot.jobs, _BUILDING))


def _delivered(snapshot: Snapshot) -> Stage:
    deliveries = snapshot.deliveries
    at = [one.delivered_at for one in deliveries if one.delivered_at is not None]
    detail = ", ".join(f"{one.kind} to {one.destination}: {_outcome(one)}" for one in deliveries)
    made = [one.created_at for one in deliveries]
    return Stage("delivered", detail, max(at) - min(made) if at and len(at) == len(deliveries) else None)


def _outcome(delivery: Delivery) -> str:
    said = delivery.reason and delivery.state not in ARRIVED
    return f"{delivery.state} ({delivery.reason})" if said else str(delivery.state)
