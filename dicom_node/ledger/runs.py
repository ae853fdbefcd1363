"""Runs of jobs: each attempt that ended, with how, what it used and what it logged."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select

from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, to_json
from dicom_node.ledger.schema import job_runs, jobs


@dataclass(frozen=True, slots=True)
class Resources:
    """What one attempt used, as its worker process measured it.

    Parameters
    ----------
    cpu_seconds : float
        Processor time of all its threads and of the processes that it started.
    peak_memory_mib : float
        The most memory that the worker process had at once while the job ran.
    device : str
        "cpu", or the GPU that it computed on.
    gpu_memory_mib : float
        The most memory of the GPU that PyTorch had taken at once.
    weights : str
        SHA-256 of the weights that the pipeline had loaded; empty where there are none.
    """

    cpu_seconds: float
    peak_memory_mib: float
    device: str = "cpu"
    gpu_memory_mib: float = 0.0
    weights: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Effort:
    """What an attempt leaves behind beside its results; no patient data.

    Parameters
    ----------
    seconds : mapping
        Duration of each stage.
    resources : Resources or None
        None if the worker process did not live to say.
    log : tuple of str
        Lines, oldest first.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    resources: Resources | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobRun:
    """One attempt of a job; times are UTC seconds.

    Parameters
    ----------
    number : int
        Counts from 1, also after a person asked for the job again.
    outcome : str
        "done", "failed" (it is tried again), "held" or "stopped".
    """

    job_id: int
    number: int
    attempt: int
    started_at: float | None
    ended_at: float
    outcome: str
    reason: str
    effort: Effort


class Runs:
    """Asks the ledger how attempts went."""

    def __init__(self, engine: Engine) -> None:
        self._reader = reading(engine)

    def of_job(self, job_id: int) -> tuple[JobRun, ...]:
        """Return the attempts of a job, latest first."""
        return self._select(select(job_runs).where(job_runs.c.job_id == job_id))

    def of_study(self, study_instance_uid: str) -> tuple[JobRun, ...]:
        """Return the attempts of all jobs of a study, latest first."""
        own = select(job_runs).join(jobs, jobs.c.id == job_runs.c.job_id)
        return self._select(own.where(jobs.c.study_instance_uid == study_instance_uid))

    def _select(self, statement: Any) -> tuple[JobRun, ...]:
        latest = statement.order_by(job_runs.c.job_id.desc(), job_runs.c.number.desc()).limit(200)
        with self._reader.connect() as connection:
            return tuple(_run(row) for row in connection.execute(latest))


def note_run(
    connection: Connection,
    job: tuple[int, int, float | None],
    outcome: str,
    reason: str,
    at: float,
    effort: Effort,
) -> None:
    """Write down an attempt that ended; `job` is its id, which attempt it was, and when that began."""
    job_id, attempt, started_at = job
    before = select(func.max(job_runs.c.number)).where(job_runs.c.job_id == job_id)
    connection.execute(
        insert(job_runs).values(
            job_id=job_id,
            number=(connection.execute(before).scalar() or 0) + 1,
            attempt=attempt,
            started_at=started_at,
            ended_at=at,
            outcome=outcome,
            reason=reason,
            seconds=to_json(dict(effort.seconds)),
            resources=None if effort.resources is None else to_json(asdict(effort.resources)),
            log=to_json(list(effort.log)),
        )
    )


def _run(row: AnyRow) -> JobRun:
    resources = Resources(**json.loads(row.resources)) if row.resources else None
    effort = Effort(json.loads(row.seconds), resources, tuple(json.loads(row.log)))
    return JobRun(row.job_id, row.number, row.attempt, row.started_at, row.ended_at, row.outcome, row.reason, effort)
