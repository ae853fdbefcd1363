"""Deliveries: one row per object and destination, from waiting to delivered or held, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, or_, select, update

from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, move, note_event
from dicom_node.ledger.schema import deliveries, results
from dicom_node.lifecycle import DeliveryEvent, DeliveryState


@dataclass(frozen=True, slots=True)
class Delivery:
    """One object on its way to one destination; times are UTC seconds."""

    id: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    kind: str
    path: str
    job_id: int
    destination: str
    state: DeliveryState
    reason: str
    status: int | None
    attempts: int
    created_at: float
    not_before: float
    give_up_at: float
    delivered_at: float | None


class Deliveries:
    """The flow's side of deliveries."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def start(self, destination: str, owner: str, now: float, lease_until: float, limit: int) -> list[Delivery]:
        """Take up to `limit` due deliveries to one destination, oldest first."""
        due = (
            select(deliveries.c.id)
            .where(
                deliveries.c.state == str(DeliveryState.WAITING),
                deliveries.c.destination == destination,
                deliveries.c.not_before <= now,
            )
            .order_by(deliveries.c.id)
            .limit(limit)
        )
        with self._reader.connect() as connection:
            ids = list(connection.execute(due).scalars())
        return self._take(ids, owner, now, lease_until) if ids else []

    def _take(self, ids: Sequence[int], owner: str, now: float, lease_until: float) -> list[Delivery]:
        values = {
            "lease_owner": owner,
            "lease_until": lease_until,
            "started_at": now,
            "attempts": deliveries.c.attempts + 1,
        }
        with self._engine.begin() as connection:
            mine = [
                i for i in ids if move(connection, deliveries, deliveries.c.id == i, DeliveryEvent.STARTED, **values)
            ]
            rows = connection.execute(_joined().where(deliveries.c.id.in_(mine)).order_by(deliveries.c.id)).all()
        return [_delivery(row) for row in rows]

    def accept(self, delivery: Delivery, status: int | None, note: str, at: float) -> None:
        """The destination has the object."""
        text = f"{delivery.kind} delivered to {delivery.destination}" + (f" ({note})" if note else "")
        values = {"status": status, "reason": note, "delivered_at": at, "lease_owner": None}
        self._end(delivery, DeliveryEvent.ACCEPTED, "delivered", text, at, values)

    def wait(self, delivery: Delivery, status: int | None, reason: str, at: float, again_at: float) -> None:
        """The destination could not take it now: try again at `again_at`, or hold it once its days are over."""
        if again_at > delivery.give_up_at:
            days = (delivery.give_up_at - delivery.created_at) / 86400
            self.hold(delivery, status, f"gave up after {days:.1f} days: {reason}", at)
            return
        values = {"status": status, "reason": reason, "not_before": again_at, "lease_owner": None}
        self._end(delivery, DeliveryEvent.FAILED_FOR_NOW, "delivery waits", f"{delivery.kind}: {reason}", at, values)

    def hold(self, delivery: Delivery, status: int | None, reason: str, at: float) -> None:
        """The destination will not take it: a person must look."""
        values = {"status": status, "reason": reason, "lease_owner": None}
        self._end(delivery, DeliveryEvent.FAILED_FOR_GOOD, "delivery held", f"{delivery.kind}: {reason}", at, values)

    def _end(
        self, delivery: Delivery, event: DeliveryEvent, kind: str, text: str, at: float, values: dict[str, Any]
    ) -> None:
        with self._engine.begin() as connection:
            if move(connection, deliveries, deliveries.c.id == delivery.id, event, **values):
                about = {"study_instance_uid": delivery.study_instance_uid, "job_id": delivery.job_id}
                note_event(connection, kind, text, at, **about)

    def take_back(self, owner: str, now: float, *, starting: bool) -> int:
        """What a node that went away was sending waits again; sending twice is harmless (same UIDs, same bytes)."""
        gone = deliveries.c.lease_until < now
        where = or_(gone, deliveries.c.lease_owner == owner) if starting else gone
        with self._engine.begin() as connection:
            values = {"not_before": now, "lease_owner": None}
            return move(connection, deliveries, where, DeliveryEvent.INTERRUPTED, **values)

    def bring_back(self, destination: str, now: float, *, every: bool = False) -> int:
        """A destination answers again: what waits because it did not is due now; return how many that are.

        What it answered with a temporary status keeps its own wait, unless `every` delivery is meant.
        """
        waiting = [
            deliveries.c.destination == destination,
            deliveries.c.state == str(DeliveryState.WAITING),
            deliveries.c.not_before > now,
        ]
        waiting += [] if every else [deliveries.c.status.is_(None)]
        with self._engine.begin() as connection:
            return connection.execute(update(deliveries).where(*waiting).values(not_before=now)).rowcount

    def waiting_for(self, destination: str) -> int:
        """Return how many objects wait for a destination's return (tried at least once, and never answered)."""
        statement = select(func.count()).where(
            deliveries.c.destination == destination,
            deliveries.c.state == str(DeliveryState.WAITING),
            deliveries.c.attempts > 0,
            deliveries.c.status.is_(None),
        )
        with self._reader.connect() as connection:
            return int(connection.execute(statement).scalar_one())

    def retry(self, delivery_id: int, at: float, give_up_at: float) -> bool:
        """Send a held, cancelled or waiting delivery now."""
        values = {"not_before": at, "give_up_at": give_up_at, "reason": "asked for by a person"}
        return self._ask(delivery_id, DeliveryEvent.RETRY_ASKED, at, values)

    def cancel(self, delivery_id: int, at: float) -> bool:
        """Give up a delivery that is not under way."""
        return self._ask(delivery_id, DeliveryEvent.CANCEL_ASKED, at, {"reason": "cancelled by a person"})

    def _ask(self, delivery_id: int, event: DeliveryEvent, at: float, values: dict[str, Any]) -> bool:
        with self._engine.begin() as connection:
            moved = move(connection, deliveries, deliveries.c.id == delivery_id, event, **values)
            if moved:
                row = connection.execute(_joined().where(deliveries.c.id == delivery_id)).one()
                about = {"study_instance_uid": row.study_instance_uid, "job_id": row.job_id}
                note_event(connection, str(event), f"delivery D{delivery_id}", at, **about)
            return bool(moved)

    def get(self, delivery_id: int) -> Delivery | None:
        """Return one delivery."""
        rows = self._select(deliveries.c.id == delivery_id)
        return rows[0] if rows else None

    def of_job(self, job_id: int) -> list[Delivery]:
        """Return the deliveries of a job's objects."""
        return self._select(deliveries.c.job_id == job_id)

    def of_study(self, study_instance_uid: str) -> list[Delivery]:
        """Return the deliveries of every result of a study."""
        return self._select(results.c.study_instance_uid == study_instance_uid)

    def in_state(self, *states: DeliveryState) -> list[Delivery]:
        """Return the deliveries in any of some states, oldest first."""
        return self._select(deliveries.c.state.in_([str(state) for state in states]))

    def _select(self, where: ColumnElement[bool]) -> list[Delivery]:
        with self._reader.connect() as connection:
            return [_delivery(row) for row in connection.execute(_joined().where(where).order_by(deliveries.c.id))]


def _joined() -> Any:
    return select(
        deliveries,
        results.c.kind,
        results.c.path,
        results.c.sop_class_uid,
        results.c.transfer_syntax_uid,
        results.c.study_instance_uid,
    ).join(results, results.c.sop_instance_uid == deliveries.c.sop_instance_uid)


def _delivery(row: AnyRow) -> Delivery:
    values = {name: getattr(row, name) for name in Delivery.__dataclass_fields__}
    return Delivery(**(values | {"state": DeliveryState(row.state)}))
