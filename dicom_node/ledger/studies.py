"""Studies and their revisions: what arrived, when it froze, what the rules said of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, insert, or_, select

from dicom_node.entities import AssociationEnd, FactValue, InstanceRef
from dicom_node.ledger.database import reading
from dicom_node.ledger.fetches import FetchKind, insert_fetch
from dicom_node.ledger.moves import AnyRow, insert_if_new, instance_ref, move, note_event, to_json
from dicom_node.ledger.schema import (
    associations,
    carriers,
    headers,
    instances,
    jobs,
    revisions,
    rule_versions,
    unread,
)
from dicom_node.lifecycle import JobEvent, JobState, StudyEvent, StudyState


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a study as the ledger holds it; times are UTC seconds."""

    study_instance_uid: str
    number: int
    state: StudyState
    instances: int
    opened_at: float
    last_arrival_at: float
    closed_at: float | None
    routed_at: float | None
    reason: str
    verdicts: str | None


@dataclass(frozen=True, slots=True)
class Carrier:
    """An association that carried a revision, and how it ended (None while it is open)."""

    end: AssociationEnd | None
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Received:
    """One received instance with its header (JSON text) and who sent it."""

    ref: InstanceRef
    header: str
    calling: str
    called: str
    address: str


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
    priors : AskedPriors or None
        What an archive is to be asked for before the job runs.
    """

    rule: str
    pipeline: str
    inputs: Mapping[str, Sequence[str]]
    destinations: Sequence[str]
    priority: int
    settings: Mapping[str, FactValue | bool] = field(default_factory=dict)
    priors: AskedPriors | None = None


class Studies:
    """The flow's side of studies."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def unread(self, limit: int, quiet_since: float = float("inf")) -> list[tuple[int, str]]:
        """Return (row id, path) of instances whose header is not yet in the ledger, oldest first.

        Parameters
        ----------
        quiet_since : float
            UTC seconds: of studies that are still being received, only those to which nothing has come since.
        """
        settled = or_(revisions.c.state != str(StudyState.RECEIVING), revisions.c.last_arrival_at <= quiet_since)
        statement = (
            select(instances.c.id, instances.c.path)
            .join(unread, unread.c.instance_id == instances.c.id)
            .join(
                revisions,
                and_(
                    revisions.c.study_instance_uid == instances.c.study_instance_uid,
                    revisions.c.number == instances.c.revision,
                ),
            )
            .where(settled)
            .order_by(instances.c.id)
            .limit(limit)
        )
        with self._reader.connect() as connection:
            return [(row.id, row.path) for row in connection.execute(statement)]

    def put_headers(self, read: Iterable[tuple[int, str]]) -> None:
        """Keep headers (row id, JSON text)."""
        rows = [{"instance_id": row_id, "header": header} for row_id, header in read]
        with self._engine.begin() as connection:
            connection.execute(insert(headers), rows)
            connection.execute(delete(unread).where(unread.c.instance_id.in_([row["instance_id"] for row in rows])))

    def in_state(self, state: StudyState) -> list[Revision]:
        """Return every revision in a state, oldest first."""
        statement = select(revisions).where(revisions.c.state == str(state)).order_by(revisions.c.opened_at)
        with self._reader.connect() as connection:
            return [_revision(row) for row in connection.execute(statement)]

    def carriers(self, revision: Revision) -> tuple[Carrier, ...]:
        """Return how each association that carried a revision stands."""
        statement = (
            select(associations.c.ended, associations.c.ended_at)
            .join(carriers, carriers.c.association_id == associations.c.id)
            .where(
                carriers.c.study_instance_uid == revision.study_instance_uid,
                carriers.c.revision == revision.number,
            )
        )
        with self._reader.connect() as connection:
            rows = connection.execute(statement).all()
        return tuple(Carrier(AssociationEnd(row.ended) if row.ended else None, row.ended_at) for row in rows)

    def close(self, revision: Revision, reason: str, at: float) -> bool:
        """Freeze a revision, unless an instance arrived since it was looked at; return whether it was frozen."""
        unchanged = and_(
            _is(revision),
            revisions.c.instances == revision.instances,
            revisions.c.last_arrival_at == revision.last_arrival_at,
        )
        with self._engine.begin() as connection:
            closed = move(connection, revisions, unchanged, StudyEvent.CLOSED, reason=reason, closed_at=at)
            if closed:
                _note(connection, revision, "complete", f"revision {revision.number}: {reason}", at)
            return bool(closed)

    def keep_as_prior(self, revision: Revision, reason: str, at: float) -> bool:
        """A frozen revision came only as prior of another study: no rule is asked about it."""
        said = f"{revision.reason}; {reason}"
        with self._engine.begin() as connection:
            moved = move(connection, revisions, _is(revision), StudyEvent.KEPT_AS_PRIOR, reason=said)
            if moved:
                _note(connection, revision, "kept as prior", f"revision {revision.number}: {reason}", at)
            return bool(moved)

    def received(self, study_instance_uid: str, number: int) -> list[Received] | None:
        """Return every current instance up to a revision, in order of arrival; None while a header is unread."""
        statement = (
            select(instances, headers.c.header, associations.c.calling, associations.c.called, associations.c.address)
            .join(headers, headers.c.instance_id == instances.c.id, isouter=True)
            .join(associations, associations.c.id == instances.c.association_id)
            .where(
                instances.c.study_instance_uid == study_instance_uid,
                instances.c.revision.between(1, number),
                instances.c.current.is_(True),
                instances.c.own.is_(False),
            )
            .order_by(instances.c.id)
        )
        with self._reader.connect() as connection:
            rows = connection.execute(statement).all()
        if any(row.header is None for row in rows):
            return None
        return [Received(instance_ref(row), row.header, row.calling, row.called, row.address) for row in rows]

    def refs(self, paths: Sequence[str]) -> list[InstanceRef]:
        """Return the instances that lie at store-relative paths, in that order."""
        with self._reader.connect() as connection:
            found = {row.path: instance_ref(row) for row in _by_path(connection, paths)}
        return [found[path] for path in paths]

    def record_verdicts(
        self, revision: Revision, verdicts: str, rules: tuple[str, str], wanted: Sequence[NewJob], at: float
    ) -> list[int]:
        """In one transaction: keep the verdicts, insert the jobs, cancel what they supersede.

        Parameters
        ----------
        rules : (str, str)
            Digest and text of the rules that decided.

        Returns
        -------
        list of int
            The ids of the new jobs; empty too if another process was quicker.
        """
        digest, text = rules
        with self._engine.begin() as connection:
            values = {"verdicts": verdicts, "rules_digest": digest, "routed_at": at}
            if not move(connection, revisions, _is(revision), StudyEvent.VERDICTS_RECORDED, **values):
                return []
            insert_if_new(connection, rule_versions, digest=digest, text=text, loaded_at=at)
            for job in wanted:
                _supersede(connection, revision, job.rule, at)
            ids = [_insert_job(connection, revision, job, digest, at) for job in wanted]
            said = f"{len(ids)} job(s): " + ", ".join(job.rule for job in wanted) if ids else "no rule fired"
            _note(connection, revision, "routed", f"revision {revision.number}: {said}", at)
            return ids

    def earlier_inputs(
        self, study_instance_uid: str, rule: str
    ) -> tuple[int, dict[str, list[str]], dict[str, Any]] | None:
        """Return (revision, inputs, settings) of a rule's latest job for a study that was not cancelled or held."""
        statement = (
            select(jobs.c.revision, jobs.c.inputs, jobs.c.settings)
            .where(
                jobs.c.study_instance_uid == study_instance_uid,
                jobs.c.rule == rule,
                jobs.c.state.in_([str(s) for s in (JobState.QUEUED, JobState.RUNNING, JobState.DONE)]),
            )
            .order_by(jobs.c.revision.desc())
            .limit(1)
        )
        with self._reader.connect() as connection:
            row = connection.execute(statement).first()
        return None if row is None else (row.revision, json.loads(row.inputs), json.loads(row.settings))

    def has_job(self, study_instance_uid: str, rule: str) -> bool:
        """Return whether a rule ever made a job for a study."""
        statement = select(jobs.c.id).where(jobs.c.study_instance_uid == study_instance_uid, jobs.c.rule == rule)
        with self._reader.connect() as connection:
            return connection.execute(statement.limit(1)).first() is not None

    def latest(self, limit: int) -> list[Revision]:
        """Return the revisions that changed last, newest first."""
        statement = select(revisions).order_by(revisions.c.last_arrival_at.desc()).limit(limit)
        with self._reader.connect() as connection:
            return [_revision(row) for row in connection.execute(statement)]

    def revisions(self, study_instance_uid: str) -> list[Revision]:
        """Return a study's revisions, first to last."""
        statement = (
            select(revisions).where(revisions.c.study_instance_uid == study_instance_uid).order_by(revisions.c.number)
        )
        with self._reader.connect() as connection:
            return [_revision(row) for row in connection.execute(statement)]


def _revision(row: AnyRow) -> Revision:
    return Revision(
        study_instance_uid=row.study_instance_uid,
        number=row.number,
        state=StudyState(row.state),
        instances=row.instances,
        opened_at=row.opened_at,
        last_arrival_at=row.last_arrival_at,
        closed_at=row.closed_at,
        routed_at=row.routed_at,
        reason=row.reason,
        verdicts=row.verdicts,
    )


def _is(revision: Revision) -> Any:
    return and_(revisions.c.study_instance_uid == revision.study_instance_uid, revisions.c.number == revision.number)


def _by_path(connection: Connection, paths: Sequence[str]) -> list[AnyRow]:
    # databases limit the number of bound values in one statement
    step = 500
    rows: list[AnyRow] = []
    for start in range(0, len(paths), step):
        statement = select(instances).where(instances.c.path.in_(list(paths[start : start + step])))
        rows += connection.execute(statement).all()
    return rows


def _note(connection: Connection, revision: Revision, kind: str, text: str, at: float) -> None:
    note_event(connection, kind, text, at, study_instance_uid=revision.study_instance_uid)


def _supersede(connection: Connection, revision: Revision, rule: str, at: float) -> None:
    """A job that has not finished on an earlier revision's images would give a result of fewer images."""
    earlier = and_(
        jobs.c.study_instance_uid == revision.study_instance_uid,
        jobs.c.rule == rule,
        jobs.c.revision < revision.number,
    )
    reason = f"superseded by revision {revision.number}"
    move(connection, jobs, earlier, JobEvent.CANCEL_ASKED, reason=reason, ended_at=at, lease_owner=None)


def _insert_job(connection: Connection, revision: Revision, job: NewJob, digest: str, at: float) -> int:
    statement = insert(jobs).values(
        study_instance_uid=revision.study_instance_uid,
        revision=revision.number,
        rule=job.rule,
        pipeline=job.pipeline,
        settings=to_json(dict(job.settings)),
        inputs=to_json({role: list(paths) for role, paths in job.inputs.items()}),
        destinations=to_json(list(job.destinations)),
        priority=job.priority,
        rules_digest=digest,
        state=str(JobState.QUEUED),
        reason=f"waits for priors from {job.priors.archive}" if job.priors else "",
        not_before=at,
        created_at=at,
    )
    key = connection.execute(statement).inserted_primary_key
    job_id = int(key[0]) if key else 0
    if job.priors is not None:
        asked, study = job.priors, revision.study_instance_uid
        insert_fetch(
            connection,
            FetchKind.PRIORS,
            study,
            revision.number,
            job_id,
            asked.archive,
            asked.wanted,
            at,
            asked.give_up_at,
        )
    return job_id
