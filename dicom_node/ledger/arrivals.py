"""What reception writes: associations, instances, refusals, quarantine. Each method is durable when it returns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from dicom_node.entities import Arrival, Association, AssociationEnd, InstanceRef, SameUidPolicy
from dicom_node.errors import OutOfResources
from dicom_node.ledger.arrival_rows import Rows
from dicom_node.ledger.database import lock_study, reading
from dicom_node.ledger.moves import insert_if_new, note_event
from dicom_node.ledger.schema import associations, refused_senders

#: One instance whose bytes are on disk, the association that carried it, and when it came (UTC seconds).
KeptInstance = tuple[InstanceRef, Association, float]


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
        """Record that an instance's bytes are on disk: `note_arrivals` of a batch of one."""
        (arrival,) = self.note_arrivals([(instance, association, at)], policy)
        return arrival

    def note_arrivals(self, batch: Sequence[KeptInstance], policy: SameUidPolicy) -> list[Arrival]:
        """Record that the bytes of several instances are on disk; after this, 0x0000 may be answered for each.

        One transaction: a commit waits for the disk, and it takes no longer for many rows than for one.

        Raises
        ------
        OutOfResources
            If the ledger cannot be written: locked, full, or gone. No row of the batch is there then.
        """
        with self._writing() as connection:
            for study in sorted({instance.study_instance_uid for instance, _, _ in batch}):
                lock_study(connection, study)
            rows = Rows(connection)
            return [rows.note(*kept, policy) for kept in batch]

    def end_association(self, association: Association, end: AssociationEnd, at: float) -> None:
        """Record how an association that carried instances ended; the first end counts."""
        self.end_associations([(association, end, at)])

    def end_associations(self, batch: Sequence[tuple[Association, AssociationEnd, float]]) -> None:
        """Record how several associations ended; the first end of each counts."""
        with self._writing() as connection:
            for association, end, at in batch:
                connection.execute(
                    update(associations)
                    .where(associations.c.id == association.id, associations.c.ended_at.is_(None))
                    .values(ended_at=at, ended=str(end))
                )

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise OutOfResources("the ledger cannot be written now; look at its disk or database") from error

    def lose_open_associations(self, at: float) -> int:
        """At a start: associations that were open when the node went away are lost; return how many."""
        with self._engine.begin() as connection:
            return connection.execute(
                update(associations)
                .where(associations.c.ended_at.is_(None))
                .values(ended_at=at, ended=str(AssociationEnd.LOST))
            ).rowcount

    def lose_associations(self, mark: str, at: float) -> int:
        """Record as lost every open association whose id begins with a mark; return how many.

        For those of a receiver process that was killed: it notes no ends any more.
        """
        with self._writing() as connection:
            return connection.execute(
                update(associations)
                .where(associations.c.id.startswith(mark, autoescape=True), associations.c.ended_at.is_(None))
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
