"""How much of what there is: studies of a day by phase, jobs and deliveries by state, what waits for whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from dicom_node.admin.queries.distinct import each_value
from dicom_node.admin.queries.phases import first, phase, studies
from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import deliveries, jobs
from dicom_node.lifecycle import ARRIVED, DeliveryState, JobState


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for one destination; times are UTC seconds.

    Parameters
    ----------
    oldest_at : float or None
        Since when the oldest object waits: since it was made, or since somebody last asked for it.
    """

    waiting: int = 0
    sending: int = 0
    held: int = 0
    oldest_at: float | None = None
    delivered_at: float | None = None


class Counts:
    """Asks the ledger for numbers."""

    def __init__(self, engine: Engine) -> None:
        self._reader = reading(engine)

    def studies(self, since: float) -> dict[str, int]:
        """Return phase -> how many studies were received since then."""
        statement = select(phase().label("phase"), func.count()).select_from(studies())
        return self._pairs(statement.where(first.c.number == 1, first.c.opened_at >= since).group_by("phase"))

    def jobs(self) -> dict[str, int]:
        """Return state -> how many jobs, of those that are not over, and those that are held."""
        open_states = [str(state) for state in (JobState.QUEUED, JobState.RUNNING, JobState.HELD)]
        statement = select(jobs.c.state, func.count()).where(jobs.c.state.in_(open_states)).group_by(jobs.c.state)
        return dict.fromkeys(open_states, 0) | self._pairs(statement)

    def queues(self) -> Mapping[str, Queue]:
        """Return destination -> what waits for it, and when it last took something."""
        open_states = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.HELD)
        waiting = (
            select(deliveries.c.destination, deliveries.c.state, func.count(), func.min(deliveries.c.waiting_since))
            .where(deliveries.c.state.in_([str(state) for state in open_states]))
            .group_by(deliveries.c.destination, deliveries.c.state)
        )
        told: dict[str, dict[str, Any]] = {}
        with self._reader.connect() as connection:
            for name, state, count, oldest in connection.execute(waiting):
                queue = told.setdefault(name, {})
                queue[state] = count
                if state != str(DeliveryState.HELD):
                    queue["oldest_at"] = min(oldest, queue.get("oldest_at", oldest))
            for name in each_value(connection, deliveries.c.destination):
                told.setdefault(name, {})["delivered_at"] = _last_delivery(connection, name)
        return {name: Queue(**queue) for name, queue in told.items()}

    def _pairs(self, statement: Any) -> dict[str, int]:
        with self._reader.connect() as connection:
            return {str(key): int(count) for key, count in connection.execute(statement)}


def _last_delivery(connection: Connection, destination: str) -> float | None:
    """Return when a destination last took something: one look at the end of each state in the index."""
    latest = select(func.max(deliveries.c.delivered_at)).where(deliveries.c.destination == destination)
    found = [connection.execute(latest.where(deliveries.c.state == str(state))).scalar() for state in ARRIVED]
    return max((at for at in found if at is not None), default=None)
