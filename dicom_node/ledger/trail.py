"""The audit trail: who did what when, before and after; and which destinations somebody has told to wait."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, delete, func, insert, select, update

from dicom_node.ledger.admin_schema import alerts, audit, audit_sent, pauses
from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, insert_if_new, note_event, to_json
from dicom_node.ledger.schema import deliveries
from dicom_node.lifecycle import DeliveryState

_SUBJECT_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Act:
    """One line of the audit trail.

    Parameters
    ----------
    action : str
        "log in", "view study", "retry job", ...
    before, after : mapping or None
        What was changed, and what was searched for; never a password. A patient's data is there only where somebody
        searched by it.
    """

    at: float
    who: str
    address: str
    action: str
    subject: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    study_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """A destination that somebody has told to wait."""

    destination: str
    who: str
    at: float


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """Something that a person should know, from when it was noticed; `told_at` is None until somebody was told."""

    key: str
    text: str
    since: float
    told_at: float | None


class Trail:
    """The audit trail and the pauses; safe to call from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def note(self, act: Act) -> None:
        """Write one line; nothing ever changes it."""
        values = {name: getattr(act, name) for name in Act.__dataclass_fields__}
        values["subject"] = act.subject[:_SUBJECT_LENGTH]
        for name in ("before", "after"):
            values[name] = None if values[name] is None else to_json(dict(values[name]))
        with self._engine.begin() as connection:
            connection.execute(insert(audit).values(**values))

    def page(
        self, offset: int = 0, limit: int = 50, *, who: str = "", action: str = "", study: str = ""
    ) -> tuple[int, list[Act]]:
        """Return how many lines there are, and some of them, latest first."""
        where = [
            column == value
            for column, value in ((audit.c.who, who), (audit.c.action, action), (audit.c.study_instance_uid, study))
            if value
        ]
        page = select(audit).where(*where).order_by(audit.c.id.desc()).offset(offset).limit(limit)
        with self._reader.connect() as connection:
            count = connection.execute(select(func.count()).select_from(audit).where(*where)).scalar_one()
            return int(count), [_act(row) for row in connection.execute(page)]

    def unsent(self, collector: str, limit: int) -> list[tuple[int, Act]]:
        """Return the next lines, with their ids, that a collector of audit messages has not been sent."""
        last = select(audit_sent.c.audit_id).where(audit_sent.c.collector == collector)
        with self._reader.connect() as connection:
            after = connection.execute(last).scalar() or 0
            rows = connection.execute(select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit))
            return [(row.id, _act(row)) for row in rows]

    def note_sent(self, collector: str, audit_id: int) -> None:
        """A collector has been sent the trail up to a line."""
        with self._engine.begin() as connection:
            if not insert_if_new(connection, audit_sent, collector=collector, audit_id=audit_id):
                where = audit_sent.c.collector == collector
                connection.execute(update(audit_sent).where(where).values(audit_id=audit_id))

    def pause(self, destination: str, who: str, at: float) -> bool:
        """Tell a destination's deliveries to wait; return False if they do already."""
        with self._engine.begin() as connection:
            paused = insert_if_new(connection, pauses, destination=destination, who=who, at=at)
            if paused:
                note_event(connection, "destination paused", f"{destination}, by {who}", at)
            return paused

    def resume(self, destination: str, who: str, at: float) -> bool:
        """Let a destination's deliveries go, which wait from now on; return False if they were not told to wait."""
        with self._engine.begin() as connection:
            statement = delete(pauses).where(pauses.c.destination == destination)
            resumed = bool(connection.execute(statement).rowcount)
            if resumed:
                waiting = deliveries.c.destination == destination, deliveries.c.state == str(DeliveryState.WAITING)
                connection.execute(update(deliveries).where(*waiting).values(waiting_since=at))
                note_event(connection, "destination resumed", f"{destination}, by {who}", at)
            return resumed

    def open_alerts(self) -> dict[str, OpenAlert]:
        """Return what is not over yet, by key."""
        with self._reader.connect() as connection:
            rows = connection.execute(select(alerts)).all()
        return {row.key: OpenAlert(row.key, row.text, row.since, row.told_at) for row in rows}

    def open_alert(self, key: str, text: str, at: float) -> bool:
        """Note what is to be told; return False if it is open already, here or at another node."""
        with self._engine.begin() as connection:
            is_new = insert_if_new(connection, alerts, key=key, text=text, since=at)
            if is_new:
                note_event(connection, "alert", text, at)
            return is_new

    def alert_told(self, key: str, at: float) -> None:
        """Note that somebody was told."""
        with self._engine.begin() as connection:
            connection.execute(update(alerts).where(alerts.c.key == key).values(told_at=at))

    def close_alert(self, key: str, at: float) -> bool:
        """Note that something is over; return False if another node was quicker."""
        with self._engine.begin() as connection:
            row = connection.execute(select(alerts).where(alerts.c.key == key)).first()
            closed = bool(connection.execute(delete(alerts).where(alerts.c.key == key)).rowcount)
            if closed and row is not None:
                note_event(connection, "alert over", row.text, at)
            return closed

    def pauses(self) -> dict[str, Pause]:
        """Return the destinations that wait."""
        with self._reader.connect() as connection:
            return {
                row.destination: Pause(row.destination, row.who, row.at) for row in connection.execute(select(pauses))
            }


def _act(row: AnyRow) -> Act:
    values = {name: getattr(row, name) for name in Act.__dataclass_fields__}
    for name in ("before", "after"):
        values[name] = None if values[name] is None else json.loads(values[name])
    return Act(**values)
