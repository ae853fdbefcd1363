"""Questions to archives: under a lease, tried again, given up in time; and which studies came only as priors."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Engine, and_, exists, func, or_, select, update

from dicom_node.entities import InstanceRef
from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, insert_if_new, instance_ref, move, note_event, to_json
from dicom_node.ledger.schema import (
    associations,
    carriers,
    fetches,
    instances,
    jobs,
    prior_studies,
    results,
    revisions,
)
from dicom_node.lifecycle import FETCHING, LEASE_SECONDS, FetchEvent, FetchState, JobState, StudyState

#: Begins the ids of associations by which the node itself brought priors.
PRIOR_MARK: Final = "prior-"
_IN_ONE_STATEMENT: Final = 500
#: In the place of a job: the fetch is for the revision itself.
_NO_JOB: Final = 0


class FetchKind(StrEnum):
    """What an archive is asked for."""

    PRIORS = "priors"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Fetch:
    """One question to an archive; times are UTC seconds.

    Parameters
    ----------
    wanted : str
        The rule that asks for priors, as text of `rules.toml`; empty for what is missing of the study.
    inputs : mapping
        Role to store-relative paths: what the priors give to the job.
    """

    id: int
    kind: FetchKind
    study_instance_uid: str
    revision: int
    job_id: int
    archive: str
    wanted: str
    inputs: Mapping[str, tuple[str, ...]]
    state: FetchState
    reason: str
    attempts: int
    created_at: float
    not_before: float
    give_up_at: float
    ended_at: float | None

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.state not in FETCHING


class Fetches:
    """The fetching stages' side of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def ask_missing(self, study_instance_uid: str, revision: int, archive: str, at: float, give_up_at: float) -> None:
        """Have an archive asked what the node lacks of a revision; once for each."""
        with self._engine.begin() as connection:
            insert_fetch(
                connection, FetchKind.MISSING, study_instance_uid, revision, _NO_JOB, archive, "", at, give_up_at
            )

    def start(self, archive: str, owner: str, now: float, limit: int) -> list[Fetch]:
        """Take up to `limit` fetches that an archive is due, under a lease that outlasts their time, oldest first."""
        due = (
            select(fetches.c.id)
            .where(fetches.c.archive == archive, fetches.c.state == str(FetchState.WAITING))
            .where(fetches.c.not_before <= now, fetches.c.give_up_at > now)
            .order_by(fetches.c.not_before, fetches.c.id)
            .limit(limit)
        )
        with self._reader.connect() as connection:
            ids = list(connection.execute(due).scalars())
        lease_until = fetches.c.give_up_at + limit * LEASE_SECONDS
        values = {"lease_owner": owner, "lease_until": lease_until, "attempts": fetches.c.attempts + 1}
        taken: list[Fetch] = []
        for fetch_id in ids:
            with self._engine.begin() as connection:
                if move(connection, fetches, fetches.c.id == fetch_id, FetchEvent.STARTED, **values):
                    row = connection.execute(select(fetches).where(fetches.c.id == fetch_id)).one()
                    taken.append(_fetch(row))
        return taken

    def finish(self, fetch: Fetch, reason: str, at: float, inputs: Mapping[str, Sequence[str]] | None = None) -> None:
        """What it brought is here, and its job may run with it."""
        given = to_json({role: list(paths) for role, paths in (inputs or {}).items()})
        self._end(fetch, FetchEvent.FINISHED, "fetched", reason, at, inputs=given, ended_at=at)

    def give_up(
        self, fetch: Fetch, reason: str, at: float, inputs: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Its job or study goes on with what there is."""
        given = to_json({role: list(paths) for role, paths in (inputs or {}).items()})
        self._end(fetch, FetchEvent.FAILED_FOR_GOOD, "fetch given up", reason, at, inputs=given, ended_at=at)

    def wait(self, fetch: Fetch, reason: str, at: float, again_at: float) -> None:
        """Ask again later."""
        self._end(fetch, FetchEvent.FAILED_FOR_NOW, "fetch waits", reason, at, not_before=again_at)

    def time_out(self, now: float) -> int:
        """Give up what waits beyond its time; return how many."""
        late = and_(fetches.c.state == str(FetchState.WAITING), fetches.c.give_up_at <= now)
        with self._reader.connect() as connection:
            found = [_fetch(row) for row in connection.execute(select(fetches).where(late))]
        for each in found:
            self._end(each, FetchEvent.TIMED_OUT, "fetch given up", _too_late(each, each.reason), now, ended_at=now)
        return len(found)

    def _end(self, fetch: Fetch, event: FetchEvent, kind: str, reason: str, at: float, **values: Any) -> None:
        with self._engine.begin() as connection:
            if not move(
                connection, fetches, fetches.c.id == fetch.id, event, reason=reason, lease_owner=None, **values
            ):
                return
            connection.execute(update(prior_studies).where(prior_studies.c.fetch_id == fetch.id).values(ended_at=at))
            about: dict[str, Any] = {"study_instance_uid": fetch.study_instance_uid}
            about |= {"job_id": fetch.job_id} if fetch.job_id else {}
            note_event(connection, kind, f"{fetch.kind} from {fetch.archive}: {reason}", at, **about)
            queued = and_(jobs.c.id == fetch.job_id, jobs.c.state == str(JobState.QUEUED))
            if fetch.job_id:
                said = f"{fetch.kind} from {fetch.archive}: {reason}"
                connection.execute(update(jobs).where(queued).values(reason=said))

    def take_back(self, owner: str, now: float, *, starting: bool) -> int:
        """What a node that went away was fetching is asked for again; what came stays."""
        gone = fetches.c.lease_until < now
        where = or_(gone, fetches.c.lease_owner == owner) if starting else gone
        with self._engine.begin() as connection:
            return move(connection, fetches, where, FetchEvent.INTERRUPTED, not_before=now, lease_owner=None)

    # What is known

    def of_revision(self, study_instance_uid: str, revision: int) -> Fetch | None:
        """Return the fetch of what is missing of a revision, if there is one."""
        found = self._select(
            fetches.c.study_instance_uid == study_instance_uid,
            fetches.c.revision == revision,
            fetches.c.job_id == _NO_JOB,
        )
        return found[0] if found else None

    def of_job(self, job_id: int) -> Fetch | None:
        """Return the fetch of a job's priors, if it asked for any."""
        found = self._select(fetches.c.job_id == job_id) if job_id else []
        return found[0] if found else None

    def of_study(self, study_instance_uid: str) -> list[Fetch]:
        """Return all that was asked for a study, oldest first."""
        return self._select(fetches.c.study_instance_uid == study_instance_uid)

    def open(self) -> list[Fetch]:
        """Return what somebody waits for, oldest first."""
        return self._select(fetches.c.state.in_([str(state) for state in FETCHING]))

    def _select(self, *where: Any) -> list[Fetch]:
        with self._reader.connect() as connection:
            rows = connection.execute(select(fetches).where(*where).order_by(fetches.c.id)).all()
        return [_fetch(row) for row in rows]

    def known(self, sop_instance_uids: Sequence[str]) -> set[str]:
        """Return which instances the node has, or has made."""
        found: set[str] = set()
        with self._reader.connect() as connection:
            for start in range(0, len(sop_instance_uids), _IN_ONE_STATEMENT):
                some = list(sop_instance_uids[start : start + _IN_ONE_STATEMENT])
                for table in (instances, results):
                    statement = select(table.c.sop_instance_uid).where(table.c.sop_instance_uid.in_(some))
                    found |= set(connection.execute(statement).scalars())
        return found

    def held(self, study_instance_uid: str, sop_instance_uids: Sequence[str]) -> list[InstanceRef]:
        """Return those instances of a study that the node has, in order of UID."""
        wanted = set(sop_instance_uids)
        statement = select(instances).where(
            instances.c.study_instance_uid == study_instance_uid, instances.c.current.is_(True)
        )
        with self._reader.connect() as connection:
            rows = connection.execute(statement.order_by(instances.c.sop_instance_uid)).all()
        return [instance_ref(row) for row in rows if row.sop_instance_uid in wanted]

    # Priors

    def name_priors(self, fetch: Fetch, studies: Sequence[str], calling: str, at: float) -> None:
        """Note, before they come, which studies are fetched as priors, and by which AE title they would come."""
        with self._engine.begin() as connection:
            for study in studies:
                key = {"study_instance_uid": study, "fetch_id": fetch.id}
                if not insert_if_new(connection, prior_studies, **key, calling=calling, asked_at=at):
                    mine = and_(prior_studies.c.fetch_id == fetch.id, prior_studies.c.study_instance_uid == study)
                    connection.execute(update(prior_studies).where(mine).values(ended_at=None))

    def only_prior(self, study_instance_uid: str) -> bool:
        """Return whether a study is known only because it is another's prior."""
        latest = (
            select(revisions.c.state)
            .where(revisions.c.study_instance_uid == study_instance_uid)
            .order_by(revisions.c.number.desc())
            .limit(1)
        )
        with self._reader.connect() as connection:
            return connection.execute(latest).scalar() == str(StudyState.PRIOR)

    def as_prior_of(self, study_instance_uid: str, revision: int) -> str | None:
        """Return the study for which a revision was fetched, if all of it came only as prior."""
        mine = and_(carriers.c.study_instance_uid == study_instance_uid, carriers.c.revision == revision)
        carried = select(associations).join(carriers, carriers.c.association_id == associations.c.id).where(mine)
        of_fetch = prior_studies.c.fetch_id == fetches.c.id
        asked = (
            select(prior_studies, fetches.c.study_instance_uid.label("asked_for"))
            .join(fetches, of_fetch)
            .where(prior_studies.c.study_instance_uid == study_instance_uid)
            .order_by(prior_studies.c.fetch_id.desc())
        )
        with self._reader.connect() as connection:
            windows = connection.execute(asked).all()
            if not windows:
                return None
            came = connection.execute(carried).all()
        if not came or not all(_came_as_prior(each, windows) for each in came):
            return None
        return str(windows[0].asked_for)


def insert_fetch(
    connection: Connection,
    kind: FetchKind,
    study_instance_uid: str,
    revision: int,
    job_id: int,
    archive: str,
    wanted: str,
    at: float,
    give_up_at: float,
) -> None:
    """Insert a fetch, in somebody's transaction, unless there is one."""
    insert_if_new(
        connection,
        fetches,
        kind=str(kind),
        study_instance_uid=study_instance_uid,
        revision=revision,
        job_id=job_id,
        archive=archive,
        wanted=wanted,
        state=str(FetchState.WAITING),
        created_at=at,
        not_before=at,
        give_up_at=give_up_at,
    )


def nothing_is_awaited() -> Any:
    """Return the condition that a job waits for no priors."""
    waiting = fetches.c.state.in_([str(state) for state in FETCHING])
    return ~exists().where(fetches.c.job_id == jobs.c.id, waiting)


def count_of_priors(connection: Connection, study: str, calling: str, opened_at: float) -> int:
    """Return how many fetches explain that a study comes on an association with this caller, opened then."""
    statement = select(func.count()).where(
        prior_studies.c.study_instance_uid == study,
        prior_studies.c.calling == calling,
        prior_studies.c.asked_at <= opened_at,
        or_(prior_studies.c.ended_at.is_(None), prior_studies.c.ended_at >= opened_at),
    )
    return int(connection.execute(statement).scalar_one())


def _came_as_prior(association: AnyRow, windows: Sequence[AnyRow]) -> bool:
    return association.id.startswith(PRIOR_MARK) or any(
        window.calling == association.calling
        and window.asked_at <= association.opened_at
        and (window.ended_at is None or association.opened_at <= window.ended_at)
        for window in windows
    )


def _too_late(fetch: Fetch, reason: str) -> str:
    seconds = fetch.give_up_at - fetch.created_at
    return f"given up after {seconds:.0f} s" + (f": {reason}" if reason else ", before it was asked")


def _fetch(row: AnyRow) -> Fetch:
    values = {name: getattr(row, name) for name in Fetch.__dataclass_fields__}
    inputs = {role: tuple(paths) for role, paths in json.loads(row.inputs).items()}
    return Fetch(**(values | {"kind": FetchKind(row.kind), "state": FetchState(row.state), "inputs": inputs}))
