"""Storage commitment: requests that wait for their report, and the truth about instances at this moment.

A report is on its way like any delivery, and so is its row: the same states, the same events, the same leases.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, or_, select, update

from dicom_node.commitment import FailureReason, Reference, Report, Request
from dicom_node.entities import Association
from dicom_node.ledger.database import reading
from dicom_node.ledger.moves import AnyRow, insert_if_new, move, note_event, to_json
from dicom_node.ledger.schema import commitments, instances
from dicom_node.lifecycle import DeliveryEvent, DeliveryState

#: SQLite takes a limited number of values in one statement.
_A_QUESTION: Final = 500
#: Asked with the path and the size of a file, as the ledger has them; raises OSError if that cannot be found out.
Holds = Callable[[str, int], bool]


@dataclass(frozen=True, slots=True)
class Commitment:
    """One request for commitment and what became of its report; times are UTC seconds."""

    id: int
    request: Request
    calling: str
    called: str
    address: str
    state: DeliveryState
    reason: str
    attempts: int
    created_at: float
    not_before: float
    give_up_at: float
    delivered_at: float | None


class Commitments:
    """Requests and their reports; safe to call from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = reading(engine)

    def note(
        self, request: Request, association: Association, at: float, due_at: float, give_up_at: float
    ) -> int | None:
        """Keep a request, durably; its report by a new association is due at `due_at`.

        A request that is repeated is reported again.

        Returns
        -------
        int or None
            Its id; None if its sender has used the Transaction UID for other instances.
        """
        key = {"calling": association.calling, "transaction_uid": request.transaction_uid}
        wanted = to_json(request.references)
        timing = {"not_before": due_at, "give_up_at": give_up_at, "state": str(DeliveryState.WAITING)}
        with self._engine.begin() as connection:
            new = insert_if_new(
                connection,
                commitments,
                **key,
                **timing,
                called=association.called,
                address=association.address,
                wanted=wanted,
                created_at=at,
            )
            where = [commitments.c[name] == value for name, value in key.items()]
            row = connection.execute(select(commitments.c.id, commitments.c.wanted).where(*where)).one()
            if row.wanted != wanted:
                return None
            if not new:
                again = timing | {"address": association.address, "attempts": 0, "lease_owner": None}
                connection.execute(update(commitments).where(*where).values(**again))
            return int(row.id)

    def start(
        self, owner: str, now: float, lease_until: float, limit: int = 1, *, only: int | None = None
    ) -> list[Commitment]:
        """Take requests whose report is due, oldest first; or only one, due or not."""
        due = commitments.c.not_before <= now if only is None else commitments.c.id == only
        waiting = commitments.c.state == str(DeliveryState.WAITING)
        statement = select(commitments.c.id).where(waiting, due).order_by(commitments.c.id).limit(limit)
        with self._reader.connect() as connection:
            ids = list(connection.execute(statement).scalars())
        if not ids:
            return []
        values = {"lease_owner": owner, "lease_until": lease_until, "attempts": commitments.c.attempts + 1}
        with self._engine.begin() as connection:
            mine = [i for i in ids if move(connection, commitments, _is(i), DeliveryEvent.STARTED, **values)]
            rows = connection.execute(
                select(commitments).where(commitments.c.id.in_(mine)).order_by(commitments.c.id)
            )
            return [_commitment(row) for row in rows]

    def accept(self, commitment: Commitment, text: str, at: float) -> None:
        """The requester has the report."""
        self._end(commitment, DeliveryEvent.ACCEPTED, text, at, {"delivered_at": at})

    def wait(self, commitment: Commitment, reason: str, at: float, again_at: float) -> None:
        """The report could not be given now; after its days it is held."""
        if again_at > commitment.give_up_at:
            self.hold(commitment, f"gave up: {reason}", at)
        else:
            self._end(commitment, DeliveryEvent.FAILED_FOR_NOW, reason, at, {"not_before": again_at})

    def hold(self, commitment: Commitment, reason: str, at: float) -> None:
        """Nobody can be told: a person must look."""
        self._end(commitment, DeliveryEvent.FAILED_FOR_GOOD, reason, at, {})

    def _end(
        self, commitment: Commitment, event: DeliveryEvent, text: str, at: float, values: dict[str, Any]
    ) -> None:
        with self._engine.begin() as connection:
            if move(connection, commitments, _is(commitment.id), event, reason=text, lease_owner=None, **values):
                what = f"storage commitment {commitment.request.transaction_uid} of {commitment.calling}: {text}"
                note_event(connection, "commitment report", what, at)

    def take_back(self, owner: str, now: float, *, starting: bool) -> int:
        """Reports that a node that went away was giving wait again; giving one twice does no harm."""
        gone = commitments.c.lease_until < now
        where = or_(gone, commitments.c.lease_owner == owner) if starting else gone
        with self._engine.begin() as connection:
            return move(connection, commitments, where, DeliveryEvent.INTERRUPTED, not_before=now, lease_owner=None)

    def latest(self, limit: int) -> list[Commitment]:
        """Return the latest requests, latest first."""
        with self._reader.connect() as connection:
            rows = connection.execute(select(commitments).order_by(commitments.c.id.desc()).limit(limit))
            return [_commitment(row) for row in rows]

    def report(self, request: Request, holds: Holds) -> Report:
        """Return the truth of this moment: what is in the ledger under its SOP class, with its file in the store."""
        uids = sorted({reference.sop_instance_uid for reference in request.references})
        known: dict[str, list[AnyRow]] = {}
        for row in self._rows(uids):
            known.setdefault(row.sop_instance_uid, []).append(row)
        judged = [(each, _failure(each, known.get(each.sop_instance_uid, []), holds)) for each in request.references]
        return Report(
            request.transaction_uid,
            tuple(reference for reference, reason in judged if reason is None),
            tuple((reference, reason) for reference, reason in judged if reason is not None),
        )

    def _rows(self, uids: Sequence[str]) -> Iterator[AnyRow]:
        columns = instances.c.sop_instance_uid, instances.c.sop_class_uid, instances.c.path, instances.c.size
        with self._reader.connect() as connection:
            for start in range(0, len(uids), _A_QUESTION):
                asked = instances.c.sop_instance_uid.in_(uids[start : start + _A_QUESTION])
                yield from connection.execute(select(*columns).where(asked))


def _failure(reference: Reference, rows: Sequence[AnyRow], holds: Holds) -> FailureReason | None:
    same_class = [row for row in rows if row.sop_class_uid == reference.sop_class_uid]
    if rows and not same_class:
        return FailureReason.CLASS_INSTANCE_CONFLICT
    try:
        kept = any(holds(row.path, row.size) for row in same_class)
    except OSError:
        return FailureReason.PROCESSING_FAILURE
    return None if kept else FailureReason.NO_SUCH_INSTANCE


def _is(commitment_id: int) -> ColumnElement[bool]:
    return commitments.c.id == commitment_id


def _commitment(row: AnyRow) -> Commitment:
    names = set(Commitment.__dataclass_fields__) - {"request", "state"}
    references = tuple(Reference(*pair) for pair in json.loads(row.wanted))
    return Commitment(
        request=Request(row.transaction_uid, references),
        state=DeliveryState(row.state),
        **{name: getattr(row, name) for name in names},
    )
