"""What rules may ask about each routed study, kept so that other rules can be tried on it."""

from collections.abc import Iterator

from sqlalchemy import Connection, Engine, and_, func, select

from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import insert_if_new
from dicom_node.ledger.schema import revisions, study_facts
from dicom_node.lifecycle import StudyState

_A_FETCH = 500


def keep_facts(
    connection: Connection, study_instance_uid: str, revision: int, received_at: float, facts: bytes
) -> None:
    """Keep the facts of a revision, within the transaction that routes it."""
    insert_if_new(
        connection,
        study_facts,
        study_instance_uid=study_instance_uid,
        revision=revision,
        received_at=received_at,
        facts=facts,
    )


class Facts:
    """The stored facts; bytes as routing writes them."""

    def __init__(self, engine: Engine) -> None:
        self._reader = reading(engine)

    def since(self, received_at: float) -> Iterator[tuple[str, int, bytes]]:
        """Yield study, revision and facts of the last revision of every study received since (UTC seconds)."""
        table = study_facts.c
        newest = (
            select(table.study_instance_uid, func.max(table.revision).label("revision"))
            .where(table.received_at >= received_at)
            .group_by(table.study_instance_uid)
            .subquery()
        )
        same = and_(newest.c.study_instance_uid == table.study_instance_uid, newest.c.revision == table.revision)
        statement = select(table.study_instance_uid, table.revision, table.facts).join_from(newest, study_facts, same)
        with self._reader.connect() as connection:
            result = connection.execution_options(yield_per=_A_FETCH).execute(statement)
            for batch in result.partitions():
                yield from ((uid, revision, facts) for uid, revision, facts in batch)

    def missing_since(self, received_at: float) -> list[tuple[str, int]]:
        """Return study and revision of what was routed last since, and of which no facts were kept."""
        newest = (
            select(revisions.c.study_instance_uid, func.max(revisions.c.number).label("number"))
            .where(revisions.c.state == str(StudyState.ROUTED), revisions.c.last_arrival_at >= received_at)
            .group_by(revisions.c.study_instance_uid)
            .subquery()
        )
        same = and_(
            study_facts.c.study_instance_uid == newest.c.study_instance_uid,
            study_facts.c.revision == newest.c.number,
        )
        statement = (
            select(newest.c.study_instance_uid, newest.c.number)
            .join(study_facts, same, isouter=True)
            .where(study_facts.c.revision.is_(None))
        )
        with self._reader.connect() as connection:
            return [(uid, number) for uid, number in connection.execute(statement)]
