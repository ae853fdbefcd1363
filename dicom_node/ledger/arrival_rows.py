"""The rows of one received instance. Written for every instance, so each statement is compiled once and kept.

SQLAlchemy spends ten times longer on a small statement than the database does; here only its compiler is used, and
the driver's cursor runs what it made.
"""

from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, Dialect, and_, bindparam, insert, literal, select, update
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from dicom_node.entities import Arrival, Association, InstanceRef, SameUidPolicy
from dicom_node.ledger.fetches import PRIOR_MARK, count_of_priors
from dicom_node.ledger.moves import new_only, note_event
from dicom_node.ledger.schema import associations, carriers, instances, results, revisions, unread
from dicom_node.lifecycle import StudyEvent, StudyState, after

_BY_POLICY: Final = {
    SameUidPolicy.KEEP_FIRST: Arrival.DIFFERENT_KEPT_FIRST,
    SameUidPolicy.KEEP_LAST: Arrival.DIFFERENT_KEPT_LAST,
    SameUidPolicy.REFUSE: Arrival.DIFFERENT_REFUSED,
}
_SOP_INSTANCE: Final[BindParameter[Any]] = bindparam("uid")
_STUDY: Final[BindParameter[Any]] = bindparam("study")
_NUMBER: Final[BindParameter[Any]] = bindparam("rev")
_AT: Final[BindParameter[Any]] = bindparam("at")
_THIS_REVISION: Final = and_(revisions.c.study_instance_uid == _STUDY, revisions.c.number == _NUMBER)

_KNOWN: Final = select(instances.c.sha256).where(instances.c.sop_instance_uid == _SOP_INSTANCE)
_MADE: Final = select(results.c.job_id).where(results.c.sop_instance_uid == _SOP_INSTANCE)
_LATEST: Final = (
    select(revisions.c.number, revisions.c.state)
    .where(revisions.c.study_instance_uid == _STUDY)
    .order_by(revisions.c.number.desc())
    .limit(literal(1))
)
_ONE_MORE: Final = (
    update(revisions).where(_THIS_REVISION).values(last_arrival_at=_AT, instances=revisions.c.instances + 1)
)
_SENT_TOO: Final = (
    update(revisions)
    .where(_THIS_REVISION, revisions.c.state == str(StudyState.PRIOR))
    .values(state=str(after(StudyState.PRIOR, StudyEvent.SENT_TOO)), last_arrival_at=_AT)
)
_TOUCH: Final = update(revisions).where(_THIS_REVISION).values(last_arrival_at=_AT)
_OPEN: Final = insert(revisions).values(
    study_instance_uid=_STUDY,
    number=_NUMBER,
    state=str(StudyState.RECEIVING),
    instances=1,
    opened_at=_AT,
    last_arrival_at=_AT,
)
_NO_LONGER_CURRENT: Final = (
    update(instances)
    .where(instances.c.sop_instance_uid == _SOP_INSTANCE, instances.c.current.is_(True))
    .values(current=False)
)
_INSTANCE: Final = insert(instances).values(
    **{column.name: bindparam(column.name) for column in instances.c if column.name != "id"}
)
_UNREAD: Final = insert(unread).from_select(
    ["instance_id"],
    select(instances.c.id).where(
        instances.c.sop_instance_uid == _SOP_INSTANCE, instances.c.sha256 == bindparam("digest")
    ),
)


class Rows:
    """The rows of arrivals in one open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = connection.connection.cursor()
        self._dialect = connection.dialect

    def note(self, instance: InstanceRef, association: Association, at: float, policy: SameUidPolicy) -> Arrival:
        """Write the rows of one instance; say what it is to what came before."""
        self._insert_new(associations, _association_values(association))
        arrival = self._arrival(instance, policy)
        if arrival is Arrival.REPEATED:
            self._repeated(instance, association, at)
        elif arrival is Arrival.NEW or arrival is Arrival.DIFFERENT_KEPT_LAST:
            self._take_in(instance, association, at, arrival)
        else:
            self._insert(instance, association, at, own=instance.own, current=False, revision=0)
            self._sent_too(instance, association, at)
        if arrival not in {Arrival.NEW, Arrival.REPEATED}:
            self._note_difference(instance, association, arrival, at)
        return arrival

    def _run(self, statement: ClauseElement, **values: Any) -> Any:
        sql, names, fixed = _compiled(statement, self._dialect)
        parameters = {**fixed, **values}
        self._cursor.execute(sql, [parameters[name] for name in names] if names is not None else parameters)
        return self._cursor

    def _insert_new(self, table: Any, values: dict[str, Any]) -> None:
        self._run(new_only(self._dialect.name, table), **values)

    def _arrival(self, instance: InstanceRef, policy: SameUidPolicy) -> Arrival:
        digests = {row[0] for row in self._run(_KNOWN, uid=instance.sop_instance_uid).fetchall()}
        if not digests:
            return Arrival.NEW
        return Arrival.REPEATED if instance.sha256 in digests else _BY_POLICY[policy]

    def _take_in(self, instance: InstanceRef, association: Association, at: float, arrival: Arrival) -> None:
        """Make an instance the current one of its UID, in the revision that is being received."""
        own = self._is_own(instance)
        # a result that the PACS sends back is stored, but is no news about the study
        revision = 0 if own else self._open_revision(instance.study_instance_uid, at)
        if arrival is not Arrival.NEW:
            self._run(_NO_LONGER_CURRENT, uid=instance.sop_instance_uid)
        self._insert(instance, association, at, own=own, current=True, revision=revision)
        if not own:
            self._carry(instance, association, revision)
            self._run(_UNREAD, uid=instance.sop_instance_uid, digest=instance.sha256)

    def _insert(
        self, instance: InstanceRef, association: Association, at: float, *, own: bool, current: bool, revision: int
    ) -> None:
        self._run(
            _INSTANCE,
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            series_instance_uid=instance.series_instance_uid,
            study_instance_uid=instance.study_instance_uid,
            path=instance.path,
            sha256=instance.sha256,
            size=instance.size,
            own=own,
            current=current,
            revision=revision,
            association_id=association.id,
            received_at=at,
        )

    def _is_own(self, instance: InstanceRef) -> bool:
        """Return whether this software made an instance, even if a PACS has changed its Manufacturer since."""
        return instance.own or self._run(_MADE, uid=instance.sop_instance_uid).fetchone() is not None

    def _latest(self, study_instance_uid: str) -> tuple[int, str] | None:
        row = self._run(_LATEST, study=study_instance_uid).fetchone()
        return None if row is None else (int(row[0]), row[1])

    def _open_revision(self, study_instance_uid: str, at: float) -> int:
        """Return the number of the revision being received, opening the next one if the latest is frozen."""
        number, state = self._latest(study_instance_uid) or (0, "")
        if state == StudyState.PRIOR:
            self._run(_SENT_TOO, study=study_instance_uid, rev=number, at=at)
        if state in {StudyState.RECEIVING, StudyState.PRIOR}:
            self._run(_ONE_MORE, study=study_instance_uid, rev=number, at=at)
            return number
        self._run(_OPEN, study=study_instance_uid, rev=number + 1, at=at)
        if number:
            text = f"an instance arrived after revision {number} was complete: revision {number + 1} is open"
            note_event(self._connection, "late instance", text, at, study_instance_uid=study_instance_uid)
        return number + 1

    def _repeated(self, instance: InstanceRef, association: Association, at: float) -> None:
        """A repeated instance is no new work, but shows that its sender is still at it."""
        self._sent_too(instance, association, at)
        latest = self._latest(instance.study_instance_uid)
        if latest is None or latest[1] != StudyState.RECEIVING or self._is_own(instance):
            return
        self._run(_TOUCH, study=instance.study_instance_uid, rev=latest[0], at=at)
        self._carry(instance, association, latest[0])

    def _sent_too(self, instance: InstanceRef, association: Association, at: float) -> None:
        """What was known only as prior until now, and is sent all the same, is a study to be routed."""
        number, state = self._latest(instance.study_instance_uid) or (0, "")
        if state != StudyState.PRIOR or self._is_own(instance) or self._is_fetched_prior(instance, association):
            return
        self._run(_SENT_TOO, study=instance.study_instance_uid, rev=number, at=at)
        self._carry(instance, association, number)

    def _is_fetched_prior(self, instance: InstanceRef, association: Association) -> bool:
        study, calling = instance.study_instance_uid, association.calling
        return association.id.startswith(PRIOR_MARK) or bool(
            count_of_priors(self._connection, study, calling, association.opened_at)
        )

    def _carry(self, instance: InstanceRef, association: Association, revision: int) -> None:
        self._insert_new(
            carriers,
            {
                "study_instance_uid": instance.study_instance_uid,
                "revision": revision,
                "association_id": association.id,
            },
        )

    def _note_difference(self, instance: InstanceRef, association: Association, arrival: Arrival, at: float) -> None:
        text = f"{instance.sop_instance_uid} arrived again with {arrival}; the bytes are at {instance.path}"
        note_event(
            self._connection,
            "same UID, other bytes",
            text,
            at,
            study_instance_uid=instance.study_instance_uid,
            association_id=association.id,
        )


@lru_cache(maxsize=64)
def _compiled(statement: ClauseElement, dialect: Dialect) -> tuple[str, list[str] | None, dict[str, Any]]:
    """Return SQL text, the names of its parameters in order (None: they are named), and the fixed ones."""
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - every statement of this module is one
    return str(compiled), compiled.positiontup, dict(compiled.params)


def _association_values(association: Association) -> dict[str, Any]:
    return {
        "id": association.id,
        "calling": association.calling,
        "called": association.called,
        "address": association.address,
        "opened_at": association.opened_at,
    }
