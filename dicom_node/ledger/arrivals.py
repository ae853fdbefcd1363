"""What reception writes: associations, instances, refusals, quarantine. Each method is durable when it returns."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, and_, insert, select, update

from dicom_node.entities import Arrival, Association, AssociationEnd, InstanceRef, SameUidPolicy
from dicom_node.ledger.database import lock_study, reading
from dicom_node.ledger.moves import AnyRow, insert_if_new, note_event
from dicom_node.ledger.schema import (
    associations,
    carriers,
    instances,
    refused_senders,
    results,
    revisions,
    unread,
)
from dicom_node.lifecycle import StudyState

_BY_POLICY: Final = {
    SameUidPolicy.KEEP_FIRST: Arrival.DIFFERENT_KEPT_FIRST,
    SameUidPolicy.KEEP_LAST: Arrival.DIFFERENT_KEPT_LAST,
    SameUidPolicy.REFUSE: Arrival.DIFFERENT_REFUSED,
}


@dataclass(frozen=True, slots=True)
class RefusedSender:
    """Callers that were turned away for one reason: how often, and when last (UTC seconds)."""

    calling: str
    called: str
    address: str
    reason: str
    count: int
    last_at: float


class Arrivals:
    """Reception's side of the ledger; safe to call from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def note_arrival(
        self, instance: InstanceRef, association: Association, at: float, policy: SameUidPolicy
    ) -> Arrival:
        """Record that an instance's bytes are on disk; after this, 0x0000 may be answered."""
        with self._engine.begin() as connection:
            lock_study(connection, instance.study_instance_uid)
            insert_if_new(connection, associations, **_association_row(association))
            arrival = _arrival(connection, instance, policy)
            if arrival is Arrival.REPEATED:
                if not _is_own(connection, instance):
                    _touch(connection, instance, association, at)
            elif arrival is Arrival.NEW or arrival is Arrival.DIFFERENT_KEPT_LAST:
                _take_in(connection, instance, association, at)
            else:
                _set_aside(connection, instance, association, at)
            if arrival not in {Arrival.NEW, Arrival.REPEATED}:
                _note_difference(connection, instance, association, arrival, at)
            return arrival

    def end_association(self, association: Association, end: AssociationEnd, at: float) -> None:
        """Record how an association that carried instances ended; the first end counts."""
        with self._engine.begin() as connection:
            connection.execute(
                update(associations)
                .where(associations.c.id == association.id, associations.c.ended_at.is_(None))
                .values(ended_at=at, ended=str(end))
            )

    def lose_open_associations(self, at: float) -> int:
        """At a start: associations that were open when the node went away are lost; return how many."""
        with self._engine.begin() as connection:
            return connection.execute(
                update(associations)
                .where(associations.c.ended_at.is_(None))
                .values(ended_at=at, ended=str(AssociationEnd.LOST))
            ).rowcount

    def note_refused_sender(self, calling: str, called: str, address: str, reason: str, at: float) -> None:
        """Count one caller that was turned away; a list with counts, so that a flood stays one row."""
        key = {"calling": calling[:64], "called": called[:64], "address": address[:64], "reason": reason[:200]}
        with self._engine.begin() as connection:
            if not insert_if_new(connection, refused_senders, **key, count=1, first_at=at, last_at=at):
                connection.execute(
                    update(refused_senders)
                    .where(*(refused_senders.c[name] == value for name, value in key.items()))
                    .values(count=refused_senders.c.count + 1, last_at=at)
                )

    def note_quarantined(
        self, association: Association, sop_instance_uid: str, status: int, reason: str, path: str, at: float
    ) -> None:
        """Record bytes that were refused and where they lie."""
        text = f"{sop_instance_uid or 'an instance without UID'}: answered 0x{status:04X}, {reason}; kept at {path}"
        with self._engine.begin() as connection:
            note_event(connection, "quarantined", text, at, association_id=association.id)

    def refused(self) -> list[RefusedSender]:
        """Return who was turned away, latest first."""
        with self._reader.connect() as connection:
            rows = connection.execute(select(refused_senders).order_by(refused_senders.c.last_at.desc())).mappings()
            return [RefusedSender(**{name: row[name] for name in RefusedSender.__dataclass_fields__}) for row in rows]


def _association_row(association: Association) -> dict[str, Any]:
    return {
        "id": association.id,
        "calling": association.calling,
        "called": association.called,
        "address": association.address,
        "opened_at": association.opened_at,
    }


def _arrival(connection: Connection, instance: InstanceRef, policy: SameUidPolicy) -> Arrival:
    known = connection.execute(
        select(instances.c.sha256).where(instances.c.sop_instance_uid == instance.sop_instance_uid)
    ).scalars()
    digests = set(known)
    if not digests:
        return Arrival.NEW
    return Arrival.REPEATED if instance.sha256 in digests else _BY_POLICY[policy]


def _take_in(connection: Connection, instance: InstanceRef, association: Association, at: float) -> None:
    """Make an instance the current one of its UID, in the revision that is being received."""
    own = _is_own(connection, instance)
    # a result that the PACS sends back is stored, but is no news about the study
    revision = 0 if own else _open_revision(connection, instance.study_instance_uid, at)
    connection.execute(
        update(instances)
        .where(instances.c.sop_instance_uid == instance.sop_instance_uid, instances.c.current.is_(True))
        .values(current=False)
    )
    row_id = _insert(connection, instance, association, at, own=own, current=True, revision=revision)
    if not own:
        _carry(connection, instance, association, revision)
        connection.execute(insert(unread).values(instance_id=row_id))


def _set_aside(connection: Connection, instance: InstanceRef, association: Association, at: float) -> None:
    _insert(connection, instance, association, at, own=instance.own, current=False, revision=0)


def _insert(
    connection: Connection,
    instance: InstanceRef,
    association: Association,
    at: float,
    *,
    own: bool,
    current: bool,
    revision: int,
) -> int:
    statement = insert(instances).values(
        sop_instance_uid=instance.sop_instance_uid,
        sop_class_uid=instance.sop_class_uid,
        transfer_syntax_uid=instance.transfer_syntax_uid,
        series_instance_uid=instance.series_instance_uid,
        study_instance_uid=instance.study_instance_uid,
        path=instance.path,
        sha256=instance.sha256,
        size=instance.size,
        own=own,
        current=current,
        revision=revision,
        association_id=association.id,
        received_at=at,
    )
    key = connection.execute(statement).inserted_primary_key
    return int(key[0]) if key else 0


def _is_own(connection: Connection, instance: InstanceRef) -> bool:
    """Return whether this software made an instance, even if a PACS has changed its Manufacturer since."""
    made = select(results.c.job_id).where(results.c.sop_instance_uid == instance.sop_instance_uid)
    return instance.own or connection.execute(made).first() is not None


def _latest(connection: Connection, study_instance_uid: str) -> AnyRow | None:
    return connection.execute(
        select(revisions.c.number, revisions.c.state)
        .where(revisions.c.study_instance_uid == study_instance_uid)
        .order_by(revisions.c.number.desc())
        .limit(1)
    ).first()


def _open_revision(connection: Connection, study_instance_uid: str, at: float) -> int:
    """Return the number of the revision being received, opening the next one if the latest is frozen."""
    latest = _latest(connection, study_instance_uid)
    if latest is not None and latest.state == StudyState.RECEIVING:
        connection.execute(
            update(revisions)
            .where(_is(study_instance_uid, latest.number))
            .values(last_arrival_at=at, instances=revisions.c.instances + 1)
        )
        return int(latest.number)
    number = 1 if latest is None else int(latest.number) + 1
    connection.execute(
        insert(revisions).values(
            study_instance_uid=study_instance_uid,
            number=number,
            state=str(StudyState.RECEIVING),
            instances=1,
            opened_at=at,
            last_arrival_at=at,
        )
    )
    if number > 1:
        text = f"an instance arrived after revision {number - 1} was complete: revision {number} is open"
        note_event(connection, "late instance", text, at, study_instance_uid=study_instance_uid)
    return number


def _touch(connection: Connection, instance: InstanceRef, association: Association, at: float) -> None:
    """A repeated instance is no new work, but shows that its sender is still at it."""
    latest = _latest(connection, instance.study_instance_uid)
    if latest is not None and latest.state == StudyState.RECEIVING:
        where = _is(instance.study_instance_uid, latest.number)
        connection.execute(update(revisions).where(where).values(last_arrival_at=at))
        _carry(connection, instance, association, int(latest.number))


def _carry(connection: Connection, instance: InstanceRef, association: Association, revision: int) -> None:
    insert_if_new(
        connection,
        carriers,
        study_instance_uid=instance.study_instance_uid,
        revision=revision,
        association_id=association.id,
    )


def _is(study_instance_uid: str, number: int) -> Any:
    return and_(revisions.c.study_instance_uid == study_instance_uid, revisions.c.number == number)


def _note_difference(
    connection: Connection, instance: InstanceRef, association: Association, arrival: Arrival, at: float
) -> None:
    text = f"{instance.sop_instance_uid} arrived again with {arrival}; the bytes are at {instance.path}"
    note_event(
        connection,
        "same UID, other bytes",
        text,
        at,
        study_instance_uid=instance.study_instance_uid,
        association_id=association.id,
    )
