"""Deliveries: one row per object and destination, from waiting to delivered or held, each with its reason."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, and_, exists, func, or_, outerjoin, select, true, update

from dicom_node.ledger.admin_schema import pauses
from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, move, note_event
from dicom_node.ledger.schema import deliveries, events, jobs, results
from dicom_node.lifecycle import DeliveryEvent, DeliveryState, JobState, ResultsState, results_state

#: Of one study: the latest ones, where a destination was away for days.
_MOST_ATTEMPTS: Final = 2000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One object on its way to one destination; times are UTC seconds."""

    id: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
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
    proof: str
    proof_attempts: int
    proven_at: float | None
    transaction_uid: str | None
    resends: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver, or what a person asked of a delivery: when it ended (UTC seconds), how, and why."""

    at: float
    outcome: str
    reason: str


class Deliveries:
    """The flow's side of deliveries."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def start(
        self,
        destination: str,
        owner: str,
        now: float,
        lease_until: float,
        limit: int,
        *,
        although_paused: bool = False,
    ) -> list[Delivery]:
        """Take up to `limit` due deliveries to one destination, most urgent first, oldest first within a priority.

        None while somebody has told the destination's deliveries to wait, unless `although_paused`.
        """
        paused = select(pauses.c.destination).where(pauses.c.destination == destination)
        due = (
            select(deliveries.c.id)
            .join(jobs, jobs.c.id == deliveries.c.job_id)
            .where(
                deliveries.c.state == str(DeliveryState.WAITING),
                deliveries.c.destination == destination,
                deliveries.c.not_before <= now,
                true() if although_paused else ~exists(paused),
            )
            .order_by(jobs.c.priority, deliveries.c.id)
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
            rows = connection.execute(joined().where(deliveries.c.id.in_(mine))).all()
        taken = {row.id: delivery_of(row) for row in rows}
        return [taken[i] for i in mine]

    def accept(
        self, delivery: Delivery, status: int | None, note: str, at: float, prove_at: float | None = None
    ) -> None:
        """The destination says that it has the object; `prove_at`: when to ask whether it still has."""
        text = f"{delivery.kind} delivered to {delivery.destination}" + (f" ({note})" if note else "")
        values = {"status": status, "reason": note, "delivered_at": at, "lease_owner": None}
        values |= {"prove_at": prove_at, "proof_attempts": 0, "transaction_uid": None}
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
                note_event(connection, kind, text, at, **_about(delivery))

    def renew(self, owner: str, lease_until: float) -> None:
        """Extend the lease of all that a living node is sending, however long its lines take."""
        mine = deliveries.c.state == str(DeliveryState.SENDING), deliveries.c.lease_owner == owner
        with self._engine.begin() as connection:
            connection.execute(update(deliveries).where(*mine).values(lease_until=lease_until))

    def take_back(self, owner: str, now: float, *, starting: bool) -> int:
        """What a node that went away was sending waits again; sending twice is harmless (same UIDs, same bytes)."""
        gone = deliveries.c.lease_until < now
        return self._interrupt(or_(gone, deliveries.c.lease_owner == owner) if starting else gone, now, now)

    def take_back_from(self, destination: str, owner: str, now: float, again_at: float) -> int:
        """What a node has begun to send to a destination, and knows that it sends no more, waits until `again_at`."""
        begun = and_(deliveries.c.destination == destination, deliveries.c.lease_owner == owner)
        return self._interrupt(begun, now, again_at)

    def _interrupt(self, where: ColumnElement[bool], now: float, again_at: float) -> int:
        with self._engine.begin() as connection:
            begun = joined().where(where, deliveries.c.state == str(DeliveryState.SENDING))
            rows = [delivery_of(row) for row in connection.execute(begun)]
            values = {"not_before": again_at, "lease_owner": None}
            count = move(connection, deliveries, where, DeliveryEvent.INTERRUPTED, **values)
            for row in rows:
                text = f"{row.kind} to {row.destination}: broke off, and it is not known whether it arrived"
                note_event(connection, "delivery broke off", text, now, **_about(row))
            return count

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

    def waiting(self) -> dict[str, int]:
        """Return how many objects wait for each destination that any wait for."""
        waiting = deliveries.c.state == str(DeliveryState.WAITING)
        statement = select(deliveries.c.destination, func.count()).where(waiting).group_by(deliveries.c.destination)
        with self._reader.connect() as connection:
            return {str(name): int(count) for name, count in connection.execute(statement)}

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
        values = {"not_before": at, "waiting_since": at, "give_up_at": give_up_at, "reason": "asked for by a person"}
        return self._ask(delivery_id, DeliveryEvent.RETRY_ASKED, at, values)

    def resend(self, delivery_id: int, at: float, give_up_at: float) -> bool:
        """Send once more what the destination said that it has: the same object, with the same UID."""
        values = {"not_before": at, "waiting_since": at, "give_up_at": give_up_at, "reason": "asked for by a person"}
        values |= {"prove_at": None}
        return self._ask(delivery_id, DeliveryEvent.RESEND_ASKED, at, values)

    def cancel(self, delivery_id: int, at: float) -> bool:
        """Give up a delivery that is not under way."""
        return self._ask(delivery_id, DeliveryEvent.CANCEL_ASKED, at, {"reason": "cancelled by a person"})

    def _ask(self, delivery_id: int, event: DeliveryEvent, at: float, values: dict[str, Any]) -> bool:
        with self._engine.begin() as connection:
            moved = move(connection, deliveries, deliveries.c.id == delivery_id, event, **values)
            if moved:
                row = connection.execute(joined().where(deliveries.c.id == delivery_id)).one()
                note_event(connection, str(event), f"delivery D{delivery_id}", at, **_about(delivery_of(row)))
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

    def of_revisions(self, studies: Collection[str]) -> dict[tuple[str, int], ResultsState]:
        """Return how far the results of each revision of some studies are; absent: no job was made."""
        made = outerjoin(jobs, results, results.c.job_id == jobs.c.id)
        sent = made.outerjoin(deliveries, deliveries.c.sop_instance_uid == results.c.sop_instance_uid)
        columns = jobs.c.study_instance_uid, jobs.c.revision, jobs.c.state, deliveries.c.state.label("sent")
        wanted = jobs.c.study_instance_uid.in_(list(studies))
        with self._reader.connect() as connection:
            rows = connection.execute(select(*columns).select_from(sent).where(wanted).distinct()).all()
        found: dict[tuple[str, int], tuple[set[JobState], set[DeliveryState]]] = {}
        for row in rows:
            of_jobs, of_objects = found.setdefault((row.study_instance_uid, row.revision), (set(), set()))
            of_jobs.add(JobState(row.state))
            of_objects.update({DeliveryState(row.sent)} if row.sent else ())
        return {key: results_state(*states) for key, states in found.items()}

    def attempts(self, study_instance_uid: str) -> dict[int, tuple[Attempt, ...]]:
        """Return each delivery of a study with what happened to it, latest first."""
        columns = events.c.delivery_id, events.c.at, events.c.kind, events.c.text
        of_study = select(*columns).where(events.c.study_instance_uid == study_instance_uid)
        wanted = of_study.where(events.c.delivery_id.is_not(None)).order_by(events.c.id.desc()).limit(_MOST_ATTEMPTS)
        found: dict[int, list[Attempt]] = {}
        with self._reader.connect() as connection:
            for row in connection.execute(wanted):
                found.setdefault(row.delivery_id, []).append(Attempt(row.at, row.kind, row.text))
        return {number: tuple(told) for number, told in found.items()}

    def in_state(self, *states: DeliveryState) -> list[Delivery]:
        """Return the deliveries in any of some states, oldest first."""
        return self._select(deliveries.c.state.in_([str(state) for state in states]))

    def _select(self, where: ColumnElement[bool]) -> list[Delivery]:
        with self._reader.connect() as connection:
            return [delivery_of(row) for row in connection.execute(joined().where(where).order_by(deliveries.c.id))]


def _about(delivery: Delivery) -> dict[str, Any]:
    return {
        "study_instance_uid": delivery.study_instance_uid,
        "job_id": delivery.job_id,
        "delivery_id": delivery.id,
    }


def joined() -> Any:
    """Return the statement that reads deliveries with what their results' rows know."""
    return select(
        deliveries,
        results.c.kind,
        results.c.path,
        results.c.sop_class_uid,
        results.c.transfer_syntax_uid,
        results.c.study_instance_uid,
        results.c.series_instance_uid,
    ).join(results, results.c.sop_instance_uid == deliveries.c.sop_instance_uid)


def delivery_of(row: AnyRow) -> Delivery:
    """Return one row of `joined` as a value."""
    values = {name: getattr(row, name) for name in Delivery.__dataclass_fields__}
    return Delivery(**(values | {"state": DeliveryState(row.state)}))
