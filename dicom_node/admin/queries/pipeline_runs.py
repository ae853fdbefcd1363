"""How the jobs of one pipeline went: how many, how long each stage took, what failed, and with which weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, func, select

from dicom_node.admin.queries.times import quantile
from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import job_runs, jobs, results
from dicom_node.lifecycle import JobState

_LATEST: Final = 200
_FAILURES: Final = 5
_SLOW: Final = 0.95


@dataclass(frozen=True, slots=True)
class Failed:
    """One attempt that failed; UTC seconds."""

    at: float
    job: int
    study_instance_uid: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class History:
    """The jobs of a pipeline; times are UTC seconds.

    Parameters
    ----------
    jobs : mapping
        Job state to how many.
    made : mapping
        Kind of object to how many.
    median_seconds, slow_seconds : float or None
        Of its latest jobs that are done: the middle one, and what 95 of 100 stay below.
    stages : mapping
        Stage to the median of its seconds.
    failed_attempts : int
        How many attempts failed, also where a later one did not.
    weights : str
        SHA-256 of what its last attempt had loaded; empty if there is none.
    """

    jobs: Mapping[str, int]
    made: Mapping[str, int]
    median_seconds: float | None
    slow_seconds: float | None
    stages: Mapping[str, float]
    last_at: float | None
    failed_attempts: int
    failures: tuple[Failed, ...]
    weights: str
    device: str


def history_of(engine: Engine, pipeline: str) -> History:
    """Return how the jobs of a pipeline went."""
    with reading(engine).connect() as connection:
        took, stages, last_at = _times(connection, pipeline)
        count, failures = _failures(connection, pipeline)
        used = _used(connection, pipeline)
        return History(
            jobs=_counts(connection, select(jobs.c.state, func.count()), jobs.c.state, pipeline),
            made=_counts(
                connection,
                select(results.c.kind, func.count()).join(jobs, jobs.c.id == results.c.job_id),
                results.c.kind,
                pipeline,
            ),
            median_seconds=median(took) if took else None,
            slow_seconds=quantile(took, _SLOW) if took else None,
            stages=stages,
            last_at=last_at,
            failed_attempts=count,
            failures=failures,
            weights=str(used.get("weights", "")),
            device=str(used.get("device", "")),
        )


def _counts(connection: Connection, statement: Any, by: Any, pipeline: str) -> dict[str, int]:
    rows = connection.execute(statement.where(jobs.c.pipeline == pipeline).group_by(by))
    return {str(word): int(count) for word, count in rows}


def _times(connection: Connection, pipeline: str) -> tuple[list[float], dict[str, float], float | None]:
    """Return how long the latest jobs took, sorted; the median of each stage; and when the last one ended."""
    latest = (
        select(jobs.c.started_at, jobs.c.ended_at, jobs.c.seconds)
        .where(jobs.c.pipeline == pipeline, jobs.c.state == str(JobState.DONE))
        .order_by(jobs.c.id.desc())
        .limit(_LATEST)
    )
    rows: list[Row[Any]] = list(connection.execute(latest))
    took = sorted(row.ended_at - row.started_at for row in rows if row.ended_at and row.started_at)
    samples: dict[str, list[float]] = {}
    for row in rows:
        for stage, seconds in (json.loads(row.seconds) if row.seconds else {}).items():
            samples.setdefault(stage, []).append(seconds)
    ended = [row.ended_at for row in rows if row.ended_at]
    return took, {stage: median(each) for stage, each in samples.items()}, max(ended, default=None)


def _failures(connection: Connection, pipeline: str) -> tuple[int, tuple[Failed, ...]]:
    about = jobs.c.pipeline == pipeline, job_runs.c.outcome.in_(("failed", "held"))
    joined = job_runs.join(jobs, jobs.c.id == job_runs.c.job_id)
    columns = job_runs.c.ended_at, job_runs.c.job_id, jobs.c.study_instance_uid, job_runs.c.outcome, job_runs.c.reason
    latest = select(*columns).select_from(joined).where(*about).order_by(job_runs.c.ended_at.desc()).limit(_FAILURES)
    count = connection.execute(select(func.count()).select_from(joined).where(*about)).scalar_one()
    return int(count), tuple(Failed(*row) for row in connection.execute(latest))


def _used(connection: Connection, pipeline: str) -> dict[str, Any]:
    """Return the resources of the last attempt that lived to tell them."""
    last = (
        select(job_runs.c.resources)
        .join(jobs, jobs.c.id == job_runs.c.job_id)
        .where(jobs.c.pipeline == pipeline, job_runs.c.resources.is_not(None))
        .order_by(job_runs.c.job_id.desc(), job_runs.c.number.desc())
        .limit(1)
    )
    found = connection.execute(last).scalar()
    return json.loads(found) if found else {}
