"""Studies and their revisions: what arrived, when it froze, what the rules said of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select

from dicom_node.entities import AssociationEnd, InstanceRef
from dicom_node.ledger.cards import note_cards
from dicom_node.ledger.database import lock_study, reading
from dicom_node.ledger.facts import keep_facts
from dicom_node.ledger.moves import AnyRow, instance_ref, move, note_event
from dicom_node.ledger.new_jobs import NewJob, insert_job, supersede, withdraw
from dicom_node.ledger.schema import (
    associations,
    carriers,
    headers,
    instances,
    jobs,
    revisions,
    unread,
)
from dicom_node.lifecycle import StudyEvent, StudyState


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
    received_at: float | None = None


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

    def put_headers(self, read: Sequence[tuple[int, str]]) -> None:
        """Keep headers (row id, JSON text), and what the list of studies shows of them."""
        rows = [{"instance_id": row_id, "header": header} for row_id, header in read]
        with self._engine.begin() as connection:
            connection.execute(insert(headers), rows)
            note_cards(connection, read)
            connection.execute(delete(unread).where(unread.c.instance_id.in_([row["instance_id"] for row in rows])))

    def in_state(self, state: StudyState) -> list[Revision]:
        """Return every revision in a state, oldest first."""
        statement = select(revisions).where(revisions.c.state == str(state)).order_by(revisions.c.opened_at)
        with self._reader.connect() as connection:
            return [revision_of(row) for row in connection.execute(statement)]

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
        wanted = (
            instances.c.study_instance_uid == study_instance_uid,
            instances.c.revision.between(1, number),
            instances.c.current.is_(True),
            instances.c.own.is_(False),
        )
        still = select(unread).join(instances, instances.c.id == unread.c.instance_id).where(*wanted).limit(1)
        statement = (
            select(instances, headers.c.header, associations.c.calling, associations.c.called, associations.c.address)
            .join(headers, headers.c.instance_id == instances.c.id, isouter=True)
            .join(associations, associations.c.id == instances.c.association_id)
            .where(*wanted)
            .order_by(instances.c.id)
        )
        with self._reader.connect() as connection:
            # asked many times a second while a study arrives: its headers take megabytes
            if connection.execute(still).first() is not None:
                return None
            rows = connection.execute(statement).all()
        if any(row.header is None for row in rows):  # arrived in between
            return None
        return [
            Received(instance_ref(row), row.header, row.calling, row.called, row.address, row.received_at)
            for row in rows
        ]

    def refs(self, paths: Sequence[str]) -> list[InstanceRef]:
        """Return the instances that lie at store-relative paths, in that order."""
        with self._reader.connect() as connection:
            found = {row.path: instance_ref(row) for row in _by_path(connection, paths)}
        return [found[path] for path in paths]

    def record_verdicts(
        self,
        revision: Revision,
        verdicts: str,
        rules: tuple[str, int],
        wanted: Sequence[NewJob],
        at: float,
        facts: bytes = b"",
        firing: Sequence[str] = (),
    ) -> list[int]:
        """In one transaction: keep the verdicts, insert the jobs, cancel what they supersede.

        Parameters
        ----------
        rules : (str, int)
            Digest and version of the rules that decided.
        facts : bytes
            What rules may ask about this revision, to try other rules on; empty: nothing is kept.
        firing : sequence of str
            The rules that fire on this revision, also without a new job: what the others made of fewer images and
            did not start, because the study was to settle first, is cancelled.

        Returns
        -------
        list of int
            The ids of the new jobs; empty too if another process was quicker.
        """
        digest, version = rules
        with self._engine.begin() as connection:
            values = {"verdicts": verdicts, "rules_digest": digest, "rules_version": version, "routed_at": at}
            if not move(connection, revisions, _is(revision), StudyEvent.VERDICTS_RECORDED, **values):
                return []
            if facts:
                keep_facts(connection, revision.study_instance_uid, revision.number, revision.last_arrival_at, facts)
            for job in wanted:
                supersede(connection, revision.study_instance_uid, revision.number, job, at)
            withdraw(connection, revision.study_instance_uid, revision.number, firing, at)
            ids = [
                insert_job(connection, revision.study_instance_uid, revision.number, job, rules, at) for job in wanted
            ]
            said = f"{len(ids)} job(s): " + ", ".join(job.rule for job in wanted) if ids else "no rule fired"
            _note(connection, revision, "routed", f"revision {revision.number}: {said}", at)
            return ids

    def route_again(self, study_instance_uid: str, by: str, at: float) -> bool:
        """Ask the rules once more about a study that they have been asked about; return False if it is under way.

        A new revision without new images stands for it, so what was decided before stays to be read.
        """
        study = revisions.c.study_instance_uid == study_instance_uid
        newest = select(revisions).where(study).order_by(revisions.c.number.desc()).limit(1)
        with self._engine.begin() as connection:
            lock_study(connection, study_instance_uid)
            row = connection.execute(newest).first()
            if row is None or row.state != str(StudyState.ROUTED):
                return False
            reason = f"to be routed again, asked by {by}"
            again = {"number": row.number + 1, "state": str(StudyState.COMPLETE), "instances": 0, "reason": reason}
            times = {"opened_at": at, "last_arrival_at": row.last_arrival_at, "closed_at": at}
            connection.execute(insert(revisions).values(study_instance_uid=study_instance_uid, **again, **times))
            note_event(connection, "route again", reason, at, study_instance_uid=study_instance_uid)
            return True

    def series_paths(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        """Return the store-relative paths of a received series' current instances, in order of SOP Instance UID."""
        statement = (
            select(instances.c.path)
            .where(
                instances.c.study_instance_uid == study_instance_uid,
                instances.c.series_instance_uid == series_instance_uid,
                instances.c.current.is_(True),
                instances.c.own.is_(False),
            )
            .order_by(instances.c.sop_instance_uid)
        )
        with self._reader.connect() as connection:
            return list(connection.execute(statement).scalars())

    def add_job(self, study_instance_uid: str, job: NewJob, by: str, at: float) -> int:
        """Queue a job that no rule asked for; its name (`rule`) gets a number, so that each is a job of its own."""
        newest = select(func.max(revisions.c.number)).where(revisions.c.study_instance_uid == study_instance_uid)
        mine = and_(jobs.c.study_instance_uid == study_instance_uid, jobs.c.rule.startswith(job.rule))
        with self._engine.begin() as connection:
            lock_study(connection, study_instance_uid)
            revision = connection.execute(newest).scalar()
            if revision is None:
                return 0
            count = connection.execute(select(func.count()).where(mine)).scalar_one()
            named = replace(job, rule=f"{job.rule} {count + 1}")
            number = insert_job(connection, study_instance_uid, revision, named, ("", 0), at)
            said = f"J{number}: {job.pipeline}, asked by {by}"
            note_event(connection, "run asked", said, at, study_instance_uid=study_instance_uid)
            return number

    def growing(self, studies: Collection[str]) -> set[str]:
        """Return those of some studies of which a revision is being received, or not yet routed."""
        if not studies:
            return set()
        states = (str(StudyState.RECEIVING), str(StudyState.COMPLETE))
        statement = select(revisions.c.study_instance_uid).where(
            revisions.c.study_instance_uid.in_(list(studies)), revisions.c.state.in_(states)
        )
        with self._reader.connect() as connection:
            return set(connection.execute(statement).scalars())

    def latest(self, limit: int) -> list[Revision]:
        """Return the revisions that changed last, newest first."""
        statement = select(revisions).order_by(revisions.c.last_arrival_at.desc()).limit(limit)
        with self._reader.connect() as connection:
            return [revision_of(row) for row in connection.execute(statement)]

    def revisions(self, study_instance_uid: str) -> list[Revision]:
        """Return a study's revisions, first to last."""
        statement = (
            select(revisions).where(revisions.c.study_instance_uid == study_instance_uid).order_by(revisions.c.number)
        )
        with self._reader.connect() as connection:
            return [revision_of(row) for row in connection.execute(statement)]


def revision_of(row: AnyRow) -> Revision:
    """Return the value that a row of `revisions` holds."""
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
