"""The only durable truth: arrivals, studies and their revisions, jobs, deliveries, events.

Stages of the journey never call one another; they meet only here. So a crash anywhere is an ordinary start.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from dicom_node.ledger.accounts import Account, AccountRole, Accounts, Session, Token
from dicom_node.ledger.arrivals import Arrivals
from dicom_node.ledger.commitments import Commitment, Commitments
from dicom_node.ledger.database import LedgerMissing, open_database, open_existing, reading
from dicom_node.ledger.deliveries import Attempt, Deliveries, Delivery
from dicom_node.ledger.earlier import EarlierJob, EarlierJobs
from dicom_node.ledger.facts import Facts
from dicom_node.ledger.fetches import PRIOR_MARK, Fetch, Fetches, FetchKind
from dicom_node.ledger.job_terms import JobTerms
from dicom_node.ledger.jobs import DueJob, Job, Jobs, Result
from dicom_node.ledger.moves import note_event
from dicom_node.ledger.new_jobs import AskedPriors, NewJob
from dicom_node.ledger.proofs import Conflict, Proofs
from dicom_node.ledger.records import Records
from dicom_node.ledger.rule_versions import RuleVersion, RuleVersions
from dicom_node.ledger.runs import Effort, JobRun, Resources, Runs
from dicom_node.ledger.schema import events
from dicom_node.ledger.studies import Carrier, Received, Revision, Studies
from dicom_node.ledger.trail import Act, Pause, Trail

__all__ = [
    "PRIOR_MARK",
    "Account",
    "AccountRole",
    "Accounts",
    "Act",
    "Arrivals",
    "AskedPriors",
    "Attempt",
    "Carrier",
    "Commitment",
    "Commitments",
    "Conflict",
    "Deliveries",
    "Delivery",
    "DueJob",
    "EarlierJob",
    "EarlierJobs",
    "Effort",
    "Facts",
    "Fetch",
    "FetchKind",
    "Fetches",
    "Job",
    "JobRun",
    "JobTerms",
    "Jobs",
    "Ledger",
    "LedgerMissing",
    "NewJob",
    "Pause",
    "Proofs",
    "Received",
    "Records",
    "Resources",
    "Result",
    "Revision",
    "RuleVersion",
    "RuleVersions",
    "Runs",
    "Session",
    "Studies",
    "Token",
    "Trail",
    "open_ledger",
]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger's sides on one database."""

    engine: Engine
    arrivals: Arrivals
    studies: Studies
    jobs: Jobs
    earlier: EarlierJobs
    runs: Runs
    deliveries: Deliveries
    commitments: Commitments
    records: Records
    proofs: Proofs
    rules: RuleVersions
    facts: Facts
    fetches: Fetches
    accounts: Accounts
    trail: Trail

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

    def note(self, kind: str, text: str, at: float, study: str | None = None) -> None:
        """Write one line of history: of a study, by its UID, or of the node itself."""
        with self.engine.begin() as connection:
            note_event(connection, kind, text, at, study_instance_uid=study)

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
        EarlierJobs(engine),
        Runs(engine),
        Deliveries(engine),
        Commitments(engine),
        Records(engine),
        Proofs(engine),
        RuleVersions(engine),
        Facts(engine),
        Fetches(engine),
        Accounts(engine),
        Trail(engine),
    )
