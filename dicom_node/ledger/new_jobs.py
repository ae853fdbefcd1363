"""Jobs that routing asks for, as rows: what they take the place of, and what priors they wait for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, insert

from dicom_node.entities import FactValue
from dicom_node.ledger.fetches import FetchKind, insert_fetch
from dicom_node.ledger.job_terms import SETTLING, JobTerms
from dicom_node.ledger.moves import move, to_json
from dicom_node.ledger.schema import jobs
from dicom_node.lifecycle import JobEvent, JobState


@dataclass(frozen=True, slots=True)
class AskedPriors:
    """Priors that a job waits for: from which archive, which (text of a rule), and until when (UTC seconds)."""

    archive: str
    wanted: str
    give_up_at: float


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that routing asks for.

    Parameters
    ----------
    inputs : mapping
        Role to store-relative paths of the chosen series' instances.
    priority : int
        0 stat, 1 urgent, 2 routine, 3 background; lower runs first.
    not_before : float or None
        When it may start (UTC seconds), and the `reason` why not sooner; None: at once.
    priors : AskedPriors or None
        What an archive is to be asked for before the job runs.
    """

    rule: str
    pipeline: str
    inputs: Mapping[str, Sequence[str]]
    destinations: Sequence[str]
    priority: int
    settings: Mapping[str, FactValue | bool] = field(default_factory=dict)
    terms: JobTerms = field(default_factory=JobTerms)
    not_before: float | None = None
    reason: str = ""
    priors: AskedPriors | None = None


def supersede(connection: Connection, study: str, revision: int, job: NewJob, at: float) -> None:
    """Cancel what has not finished on an earlier revision: it would give a result of fewer images.

    Of a job whose results stand beside those on fewer images, only what waited for the study to settle.
    """
    earlier = and_(
        jobs.c.study_instance_uid == study,
        jobs.c.rule == job.rule,
        jobs.c.revision < revision,
    )
    if job.terms.beside:
        waits = and_(jobs.c.state == str(JobState.QUEUED), jobs.c.started_at.is_(None), jobs.c.terms.like(SETTLING))
        earlier = and_(earlier, waits)
    reason = f"superseded by revision {revision}"
    move(connection, jobs, earlier, JobEvent.CANCEL_ASKED, reason=reason, ended_at=at, lease_owner=None)


def withdraw(connection: Connection, study: str, revision: int, firing: Sequence[str], at: float) -> None:
    """Cancel what waited for the study to settle, of all rules but those that fire now that it is another one."""
    if revision == 1:
        return
    unstarted = and_(
        jobs.c.study_instance_uid == study,
        jobs.c.rule.not_in(list(firing)),
        jobs.c.revision < revision,
        jobs.c.state == str(JobState.QUEUED),
        jobs.c.terms.like(SETTLING),
    )
    reason = f"withdrawn: with the images of revision {revision} the rule does not fire"
    move(connection, jobs, unstarted, JobEvent.CANCEL_ASKED, reason=reason, ended_at=at, lease_owner=None)


def insert_job(
    connection: Connection, study: str, revision: int, job: NewJob, rules: tuple[str, int], at: float
) -> int:
    """Queue a job of a revision, and ask for its priors; return its id. `rules`: digest and version that made it."""
    statement = insert(jobs).values(
        study_instance_uid=study,
        revision=revision,
        rule=job.rule,
        pipeline=job.pipeline,
        settings=to_json(dict(job.settings)),
        inputs=to_json({role: list(paths) for role, paths in job.inputs.items()}),
        destinations=to_json(list(job.destinations)),
        priority=job.priority,
        rules_digest=rules[0],
        rules_version=rules[1],
        state=str(JobState.QUEUED),
        terms=job.terms.written(),
        reason=job.reason or (f"waits for priors from {job.priors.archive}" if job.priors else ""),
        not_before=at if job.not_before is None else job.not_before,
        created_at=at,
    )
    key = connection.execute(statement).inserted_primary_key
    job_id = int(key[0]) if key else 0
    if job.priors is not None:
        asked = job.priors
        insert_fetch(
            connection,
            FetchKind.PRIORS,
            study,
            revision,
            job_id,
            asked.archive,
            asked.wanted,
            at,
            asked.give_up_at,
        )
    return job_id
