"""The only durable truth: arrivals, studies and their revisions, jobs, deliveries, events.

Stages of the journey never call one another; they meet only here. So a crash anywhere is an ordinary start.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from dicom_node.ledger.arrivals import Arrivals
from dicom_node.ledger.commitments import Commitment, Commitments
from dicom_node.ledger.database import LedgerMissing, open_database, open_existing, reading
from dicom_node.ledger.deliveries import Deliveries, Delivery
from dicom_node.ledger.fetches import PRIOR_MARK, Fetch, Fetches, FetchKind
from dicom_node.ledger.jobs import Job, Jobs, Result
from dicom_node.ledger.moves import note_event
from dicom_node.ledger.proofs import Conflict, Proofs
from dicom_node.ledger.records import Records
from dicom_node.ledger.schema import events
from dicom_node.ledger.studies import AskedPriors, Carrier, NewJob, Received, Revision, Studies

__all__ = [
    "PRIOR_MARK",
    "Arrivals",
    "AskedPriors",
    "Carrier",
    "Commitment",
    "Commitments",
    "Conflict",
    "Deliveries",
    "Delivery",
    "Fetch",
    "FetchKind",
    "Fetches",
    "Job",
    "Jobs",
    "Ledger",
    "LedgerMissing",
    "NewJob",
    "Proofs",
    "Received",
    "Records",
    "Result",
    "Revision",
    "Studies",
    "open_ledger",
]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger's sides on one database."""

    engine: Engine
    arrivals: Arrivals
    studies: Studies
    jobs: Jobs
    deliveries: Deliveries
    commitments: Commitments
    records: Records
    proofs: Proofs
    fetches: Fetches

    def events(
        self, *, study: str | None = None, job: int | None = None, limit: int = 200
    ) -> list[tuple[float, str, str]]:
        """Return (UTC seconds, kind, text) of what happened, oldest first."""
        statement = select(events).order_by(events.c.id.desc()).limit(limit)
        statement = statement if study is None else statement.where(events.c.study_instance_uid == study)
        statement = statement if job is None else statement.where(events.c.job_id == job)
        with reading(self.engine).connect() as connection:
            rows: list[Any] = list(connection.execute(statement))
        return [(row.at, row.kind, row.text) for row in reversed(rows)]

    def note(self, kind: str, text: str, at: float) -> None:
        """Write one line of history that is about the node itself."""
        with self.engine.begin() as connection:
            note_event(connection, kind, text, at)

    def close(self) -> None:
        """Close the database's connections."""
        self.engine.dispose()


def open_ledger(url: str, *, create: bool = True) -> Ledger:
    """Open the ledger at a database URL, creating or migrating it unless told only to look.

    Raises
    ------
    LedgerMissing
        If there is none and none may be created.
    """
    engine = open_database(url) if create else open_existing(url)
    return Ledger(
        engine,
        Arrivals(engine),
        Studies(engine),
        Jobs(engine),
        Deliveries(engine),
        Commitments(engine),
        Records(engine),
        Proofs(engine),
        Fetches(engine),
    )
