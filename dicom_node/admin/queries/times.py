"""How much came and how long each stage took, over the last hour, day or week: for plots and metrics."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Select, case, func, select

from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import deliveries, fetches, jobs, revisions
from dicom_node.lifecycle import ARRIVED, JobState

#: Name -> (seconds looked back, buckets).
SPANS: Final = {"hour": (3600.0, 30), "day": (86400.0, 24), "week": (7 * 86400.0, 28)}
#: Stage -> what it is, in order.
STAGES: Final = {
    "complete": "from the last image until the study counts as whole",
    "route": "from whole until the rules were asked",
    "wait": "a job's wait for a worker, from when it may run",
    "run": "a job's run",
    "deliver": "from made, or asked for again, until the destination has it",
}
#: More rows than that in a span say nothing more about a median.
_MOST_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Series:
    """One curve.

    Parameters
    ----------
    starts : tuple of float
        UTC seconds at which each bucket begins.
    values : tuple of float or None
        One for each bucket; None where there is nothing to say.
    """

    starts: tuple[float, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """Studies received in each bucket, and the median seconds of each stage."""

    studies: Series
    stages: dict[str, Series]


class StageTimes:
    """Asks the ledger how long things took."""

    def __init__(self, engine: Engine) -> None:
        self._reader = reading(engine)

    def over(self, span: str, now: float) -> Times:
        """Return the curves of the last "hour", "day" or "week"."""
        seconds, count = SPANS[span]
        width = seconds / count
        first = now - seconds
        starts = tuple(first + width * number for number in range(count))

        def bucket(at: float) -> int:
            return min(count - 1, max(0, int((at - first) / width)))

        received = [0] * count
        samples: dict[str, list[list[float]]] = {stage: [[] for _ in range(count)] for stage in STAGES}
        for (at,) in self._latest(_RECEIVED, first):
            received[bucket(at)] += 1
        for stage, at, took in self._measured(first):
            samples[stage][bucket(at)].append(took)
        stages = {
            stage: Series(starts, tuple(median(each) if each else None for each in buckets))
            for stage, buckets in samples.items()
        }
        return Times(Series(starts, tuple(float(number) for number in received)), stages)

    def samples(self, since: float) -> dict[str, list[float]]:
        """Return stage -> the seconds that it took, each time since then."""
        found: dict[str, list[float]] = {stage: [] for stage in STAGES}
        for stage, _, took in self._measured(since):
            found[stage].append(took)
        return found

    def _measured(self, since: float) -> Iterator[tuple[str, float, float]]:
        """Yield (stage, when it ended, seconds it took): what ended since then."""
        for stage, statement in _STATEMENTS.items():
            for ended, began in self._latest(statement, since):
                if ended >= began:
                    yield stage, ended, ended - began

    def _latest(self, statement: Select[Any], since: float) -> list[Any]:
        """Return the rows whose first column is since then, the latest if there are too many."""
        at: ColumnElement[float] = statement.selected_columns[0]
        newest_first = statement.where(at >= since).order_by(at.desc()).limit(_MOST_ROWS)
        with self._reader.connect() as connection:
            return list(connection.execute(newest_first))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share (0 to 1) of some sorted ones lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _may_run_at() -> ColumnElement[float]:
    """Return when a job may run: its window is open, its pause is over, and its priors are there."""
    fetched = func.coalesce(fetches.c.ended_at, jobs.c.created_at)
    latest = func.coalesce(jobs.c.not_before, jobs.c.created_at)
    return case((fetched > latest, fetched), else_=latest)


_RECEIVED: Final = select(revisions.c.opened_at).where(revisions.c.number == 1)
_WITH_PRIORS: Final = jobs.outerjoin(fetches, fetches.c.job_id == jobs.c.id)
#: Stage -> when it ended, and when it began.
_STATEMENTS: Final[Mapping[str, Select[Any]]] = {
    # a revision without images stands for a study that is routed again
    "complete": select(revisions.c.closed_at, revisions.c.last_arrival_at).where(revisions.c.instances > 0),
    "route": select(revisions.c.routed_at, revisions.c.closed_at),
    # a job that waits to be tried again may not have run yet: it started before that
    "wait": select(jobs.c.started_at, _may_run_at()).select_from(_WITH_PRIORS),
    "run": select(jobs.c.ended_at, jobs.c.started_at).where(
        jobs.c.started_at.is_not(None), jobs.c.state != str(JobState.CANCELLED)
    ),
    "deliver": select(deliveries.c.delivered_at, deliveries.c.waiting_since).where(
        deliveries.c.state.in_([str(state) for state in ARRIVED])
    ),
}
