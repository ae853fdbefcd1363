"""A record of every association that was admitted: who, what was negotiated, what came, how it ended."""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Engine, delete, insert, select

from dicom_node.entities import Association, AssociationEnd, AssociationRecord
from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, to_json
from dicom_node.ledger.schema import association_records

#: C-ECHOs every few seconds must not fill the ledger: a few days' worth is kept.
_KEPT: Final = 20_000


class Records:
    """The latest associations; safe to call from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def note(self, record: AssociationRecord) -> None:
        """Keep the record of an association that is over, and let go of the oldest."""
        self.note_all([record])

    def note_all(self, batch: Sequence[AssociationRecord]) -> None:
        """Keep records in one transaction, and let go of the oldest."""
        key = None
        with self._engine.begin() as connection:
            for record in batch:
                who = record.association
                key = connection.execute(
                    insert(association_records).values(
                        association_id=who.id,
                        calling=who.calling,
                        called=who.called,
                        address=who.address,
                        opened_at=who.opened_at,
                        ended_at=record.ended_at,
                        ended=str(record.end),
                        accepted=to_json(record.accepted),
                        refused=to_json(record.refused),
                        kept=record.kept,
                        duplicates=record.duplicates,
                        statuses=to_json({f"{status:04X}": count for status, count in record.statuses.items()}),
                        bytes=record.size,
                    )
                ).inserted_primary_key
            oldest = int(key[0]) - _KEPT if key else 0
            connection.execute(delete(association_records).where(association_records.c.id <= oldest))

    def latest(self, limit: int) -> list[AssociationRecord]:
        """Return the latest associations, latest first."""
        statement = select(association_records).order_by(association_records.c.id.desc()).limit(limit)
        with self._reader.connect() as connection:
            return [_record(row) for row in connection.execute(statement)]


def _record(row: AnyRow) -> AssociationRecord:
    return AssociationRecord(
        Association(row.association_id, row.calling, row.called, row.address, row.opened_at),
        AssociationEnd(row.ended),
        row.ended_at,
        tuple(json.loads(row.accepted)),
        tuple(json.loads(row.refused)),
        row.kept,
        row.duplicates,
        {int(status, 16): count for status, count in json.loads(row.statuses).items()},
        row.bytes,
    )
