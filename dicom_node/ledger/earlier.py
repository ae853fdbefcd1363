"""What a rule made of a study before: routing asks, so that nothing is made twice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, and_, not_, select

from dicom_node.entities import FactValue
from dicom_node.ledger.database import reading
from dicom_node.ledger.job_terms import DRY_RUN, SETTLING, JobTerms
from dicom_node.ledger.moves import AnyRow
from dicom_node.ledger.schema import jobs
from dicom_node.lifecycle import JobState


@dataclass(frozen=True, slots=True)
class EarlierJob:
    """A job of an earlier revision; `inputs` are store-relative paths for each role."""

    revision: int
    state: JobState
    pipeline: str
    inputs: Mapping[str, Sequence[str]]
    settings: Mapping[str, FactValue | bool]
    destinations: tuple[str, ...]
    terms: JobTerms


class EarlierJobs:
    """Questions about one rule and one study. With `live`, no dry run counts: nobody was sent anything."""

    def __init__(self, engine: Engine) -> None:
        self._reader = reading(engine)

    def standing(self, study_instance_uid: str, rule: str, *, live: bool) -> list[EarlierJob]:
        """Return a rule's jobs that were not cancelled or held, the newest first."""
        states = (JobState.QUEUED, JobState.RUNNING, JobState.DONE)
        return self._select(study_instance_uid, rule, jobs.c.state.in_([str(state) for state in states]), live=live)

    def latest(self, study_instance_uid: str, rule: str, *, live: bool) -> EarlierJob | None:
        """Return a rule's newest job, however it ended, other than one that only waited for the study to settle."""
        unstarted = and_(
            jobs.c.state.in_([str(JobState.QUEUED), str(JobState.CANCELLED)]),
            jobs.c.started_at.is_(None),
            jobs.c.terms.like(SETTLING),
        )
        found = self._select(study_instance_uid, rule, not_(unstarted), live=live, limit=1)
        return found[0] if found else None

    def _select(
        self, study_instance_uid: str, rule: str, where: Any, *, live: bool, limit: int | None = None
    ) -> list[EarlierJob]:
        columns = [jobs.c[name] for name in EarlierJob.__dataclass_fields__]
        own = jobs.c.study_instance_uid == study_instance_uid, jobs.c.rule == rule, where
        statement = select(*columns).where(*own).order_by(jobs.c.revision.desc()).limit(limit)
        statement = statement.where(not_(jobs.c.terms.like(DRY_RUN))) if live else statement
        with self._reader.connect() as connection:
            return [_earlier(row) for row in connection.execute(statement)]


def _earlier(row: AnyRow) -> EarlierJob:
    return EarlierJob(
        row.revision,
        JobState(row.state),
        row.pipeline,
        json.loads(row.inputs),
        json.loads(row.settings),
        tuple(json.loads(row.destinations)),
        JobTerms.read(row.terms),
    )
