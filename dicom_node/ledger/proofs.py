"""Proof that a destination still has what it accepted: what is to be asked, what was answered.

A delivery is *delivered* when the destination said so, and *confirmed* when storage commitment or a query shows it.
What is found missing waits again and is sent again; after some times a person must look.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, and_, delete, or_, select, update

from dicom_node.commitment import Report
from dicom_node.ledger.database import reading
from dicom_node.ledger.deliveries import Delivery, delivery_of, joined
from dicom_node.ledger.moves import insert_if_new, move, note_event, to_json
from dicom_node.ledger.schema import conflicts, deliveries
from dicom_node.lifecycle import DeliveryEvent, DeliveryState

#: An object that was found missing so often is not sent again by itself.
RESENDS_ALLOWED: Final = 3
#: PostgreSQL refuses what is longer than its column; an address may be long.
_LONGEST_PROOF: Final = 200


@dataclass(frozen=True, slots=True)
class Conflict:
    """A study that a destination has under another patient; attribute keyword to value, of ours and theirs."""

    study_instance_uid: str
    destination: str
    ours: Mapping[str, str]
    theirs: Mapping[str, str]
    noticed_at: float


class Proofs:
    """The flow's and the receivers' side of proof; safe to call from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def start(self, destination: str, owner: str, now: float, lease_until: float, limit: int) -> list[Delivery]:
        """Take up to `limit` delivered objects about which a destination is to be asked now, oldest first."""
        free = or_(deliveries.c.lease_owner.is_(None), deliveries.c.lease_until < now)
        due = and_(
            deliveries.c.destination == destination,
            deliveries.c.state == str(DeliveryState.DELIVERED),
            deliveries.c.prove_at <= now,
            free,
        )
        with self._reader.connect() as connection:
            ids = list(
                connection.execute(
                    select(deliveries.c.id).where(due).order_by(deliveries.c.id).limit(limit)
                ).scalars()
            )
        if not ids:
            return []
        values = {"lease_owner": owner, "lease_until": lease_until, "proof_attempts": deliveries.c.proof_attempts + 1}
        with self._engine.begin() as connection:
            mine = [
                i
                for i in ids
                if connection.execute(update(deliveries).where(due, deliveries.c.id == i).values(values)).rowcount
            ]
            rows = connection.execute(joined().where(deliveries.c.id.in_(mine)).order_by(deliveries.c.id)).all()
        return [delivery_of(row) for row in rows]

    def asked(self, asked: Sequence[Delivery], transaction_uid: str, again_at: float) -> None:
        """Commitment was requested; without a report until `again_at` it is asked again."""
        self._change(asked, transaction_uid=transaction_uid, prove_at=again_at, lease_owner=None)

    def put_off(self, asked: Sequence[Delivery], why: str, again_at: float | None) -> None:
        """There was no answer: ask again at `again_at`, or never if that is None."""
        self._change(asked, prove_at=again_at, proof=why[:_LONGEST_PROOF], lease_owner=None)

    def _change(self, asked: Sequence[Delivery], **values: Any) -> None:
        ids = [delivery.id for delivery in asked]
        still = deliveries.c.id.in_(ids), deliveries.c.state == str(DeliveryState.DELIVERED)
        with self._engine.begin() as connection:
            connection.execute(update(deliveries).where(*still).values(**values))

    def confirm(self, proven: Sequence[Delivery], how: str, at: float) -> None:
        """The destination has them: `how` says who showed it."""
        self._settle(proven, {delivery.id: "" for delivery in proven}, how, at, at)

    def missing(self, gone: Mapping[Delivery, str], at: float, again_at: float) -> None:
        """The destination does not have them any more, with its reasons: sent again, or held.

        The first time at `again_at`, later after four times as long each: some archives take minutes to store.
        """
        self._settle(list(gone), {delivery.id: why for delivery, why in gone.items()}, "", at, again_at)

    def reported(self, report: Report, at: float, again_at: float) -> int:
        """Take in a storage commitment report, as `missing` does; return how many of our objects it is about.

        None, if it is about a request that was never made, or asked again since.
        """
        asked = deliveries.c.transaction_uid == report.transaction_uid
        with self._reader.connect() as connection:
            rows = [delivery_of(row) for row in connection.execute(joined().where(asked))]
        committed = {reference.sop_instance_uid for reference in report.committed}
        failed = {reference.sop_instance_uid: reason for reference, reason in report.failed}
        judged = {each.id: "" for each in rows if each.sop_instance_uid in committed}
        for each in rows:
            if (reason := failed.get(each.sop_instance_uid)) is not None:
                judged[each.id] = f"storage commitment failed with reason 0x{int(reason):04X}"
        known = [each for each in rows if each.id in judged]
        self._settle(known, judged, "storage commitment", at, again_at)
        return len(known)

    def _settle(
        self, about: Sequence[Delivery], judged: Mapping[int, str], how: str, at: float, again_at: float
    ) -> None:
        """Confirm what has no reason against it, send again (or hold) what has one; one transaction."""
        with self._engine.begin() as connection:
            for delivery in about:
                why = judged[delivery.id]
                event, what, values = _ending(delivery, why, how, at, again_at)
                if move(connection, deliveries, _is(delivery.id), event, lease_owner=None, prove_at=None, **values):
                    text = f"{delivery.kind} at {delivery.destination}: {why or how}"
                    known = {"study_instance_uid": delivery.study_instance_uid, "job_id": delivery.job_id}
                    note_event(connection, what, text, at, **known)

    # -- the right patient ---------------------------------------------------------------------------------------

    def note_conflict(self, conflict: Conflict) -> None:
        """Keep both identities for a person to compare; the latest replaces those before."""
        key = {"study_instance_uid": conflict.study_instance_uid, "destination": conflict.destination}
        values = {"ours": to_json(dict(conflict.ours)), "theirs": to_json(dict(conflict.theirs))}
        values_at: dict[str, Any] = values | {"noticed_at": conflict.noticed_at}
        with self._engine.begin() as connection:
            if not insert_if_new(connection, conflicts, **key, **values_at):
                where = [conflicts.c[name] == value for name, value in key.items()]
                connection.execute(update(conflicts).where(*where).values(**values_at))

    def clear_conflict(self, study_instance_uid: str, destination: str) -> None:
        """The identities agree now."""
        where = conflicts.c.study_instance_uid == study_instance_uid, conflicts.c.destination == destination
        with self._engine.begin() as connection:
            connection.execute(delete(conflicts).where(*where))

    def conflicts(self, study_instance_uid: str | None = None) -> list[Conflict]:
        """Return the conflicts of a study, or all, oldest first."""
        statement = select(conflicts).order_by(conflicts.c.noticed_at)
        if study_instance_uid is not None:
            statement = statement.where(conflicts.c.study_instance_uid == study_instance_uid)
        with self._reader.connect() as connection:
            rows = connection.execute(statement).all()
        return [
            Conflict(
                row.study_instance_uid, row.destination, json.loads(row.ours), json.loads(row.theirs), row.noticed_at
            )
            for row in rows
        ]


def _ending(
    delivery: Delivery, why: str, how: str, at: float, again_at: float
) -> tuple[DeliveryEvent, str, dict[str, Any]]:
    if not why:
        return DeliveryEvent.PROVEN, "confirmed", {"proof": how[:_LONGEST_PROOF], "proven_at": at}
    values: dict[str, Any] = {"reason": why, "resends": deliveries.c.resends + 1, "transaction_uid": None}
    if delivery.resends >= RESENDS_ALLOWED:
        return (
            DeliveryEvent.GIVEN_UP,
            "delivery held",
            values | {"reason": f"sent {delivery.resends + 1} times: {why}"},
        )
    later = at + (again_at - at) * 4.0**delivery.resends
    return DeliveryEvent.FOUND_MISSING, "found missing", values | {"not_before": later, "waiting_since": at}


def _is(delivery_id: int) -> ColumnElement[bool]:
    return deliveries.c.id == delivery_id
