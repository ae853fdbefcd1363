"""The list of studies: one row a study, searched, filtered and paged by the database."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Row, Select, and_, func, or_, select

from dicom_node.admin.queries.distinct import each_value
from dicom_node.admin.queries.phases import Phase, first, phase, studies
from dicom_node.ledger.admin_schema import study_cards
from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import jobs, revisions

LARGEST_PAGE: Final = 200
_AT_ONCE: Final = 1000
_OF_CARD: Final = (
    "patient_name",
    "patient_id",
    "accession_number",
    "study_date",
    "study_description",
    "modalities",
    "sender",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which studies; empty means any. Times are UTC seconds, and of the study's first image."""

    search: str = ""
    phase: Phase | None = None
    rule: str = ""
    sender: str = ""
    modality: str = ""
    received_from: float | None = None
    received_to: float | None = None


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One line of the list; patient data, for those who may see it.

    Parameters
    ----------
    rules : tuple of str
        The rules that made a job of it, in whatever revision.
    received_at : float
        When its first image came; UTC seconds.
    """

    study_instance_uid: str
    patient_name: str
    patient_id: str
    accession_number: str
    study_date: str
    study_description: str
    modalities: tuple[str, ...]
    sender: str
    instances: int
    revision: int
    received_at: float
    last_arrival_at: float
    phase: Phase
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some studies, and how many there are in all."""

    total: int
    rows: tuple[StudyRow, ...]


class StudyList:
    """Asks the ledger for studies, newest first."""

    def __init__(self, engine: Engine) -> None:
        self._reader = reading(engine)

    def page(self, wanted: Wanted, offset: int = 0, limit: int = 50) -> Page:
        """Return one page."""
        with self._reader.connect() as connection:
            total = connection.execute(_count(wanted)).scalar_one()
            rows = self._some(connection, _rows(wanted).offset(offset).limit(min(limit, LARGEST_PAGE)))
        return Page(int(total), rows)

    def count(self, wanted: Wanted) -> int:
        """Return how many studies there are in all."""
        with self._reader.connect() as connection:
            return int(connection.execute(_count(wanted)).scalar_one())

    def every(self, wanted: Wanted) -> Iterator[StudyRow]:
        """Yield every study that is wanted, each once, newest first; those that arrive meanwhile are left out."""
        statement = _rows(wanted).limit(_AT_ONCE)
        rows: tuple[StudyRow, ...] = ()
        while not rows or len(rows) == _AT_ONCE:
            with self._reader.connect() as connection:
                rows = self._some(connection, statement.where(_after(rows[-1])) if rows else statement)
            yield from rows
            if not rows:
                return

    @staticmethod
    def _some(connection: Connection, statement: Select[Any]) -> tuple[StudyRow, ...]:
        rows = connection.execute(statement).all()
        by_rule = select(jobs.c.study_instance_uid, jobs.c.rule).distinct().order_by(jobs.c.rule)
        listed = [row.study_instance_uid for row in rows]
        found: dict[str, list[str]] = {}
        for study, rule in connection.execute(by_rule.where(jobs.c.study_instance_uid.in_(listed))):
            found.setdefault(study, []).append(rule)
        return tuple(_row(row, tuple(found.get(row.study_instance_uid, ()))) for row in rows)

    def choices(self) -> dict[str, list[str]]:
        """Return the values to filter by: the rules that made jobs, and the senders, that the ledger knows."""
        with self._reader.connect() as connection:
            rules, senders = each_value(connection, jobs.c.rule), each_value(connection, study_cards.c.sender)
            return {"rule": rules, "sender": senders}


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    cards, given = study_cards.c, []
    if wanted.search:
        # what somebody types is text, not a pattern
        given += [cards.search.contains(word, autoescape=True) for word in wanted.search.casefold().split()]
    if wanted.sender:
        given.append(cards.sender == wanted.sender)
    if wanted.modality:
        given.append(cards.modalities.contains(f"|{wanted.modality}|", autoescape=True))
    if wanted.rule:
        by_rule = select(jobs.c.study_instance_uid).where(jobs.c.rule == wanted.rule)
        given.append(first.c.study_instance_uid.in_(by_rule))
    if wanted.received_from is not None:
        given.append(first.c.opened_at >= wanted.received_from)
    if wanted.received_to is not None:
        given.append(first.c.opened_at < wanted.received_to)
    if wanted.phase is not None:
        given.append(phase() == str(wanted.phase))
    return given


def _after(row: StudyRow) -> ColumnElement[bool]:
    """Return whether a study comes after another one in the list; those that came meanwhile do not."""
    at, study = first.c.opened_at, first.c.study_instance_uid
    same_time = and_(at == row.received_at, study < row.study_instance_uid)
    return and_(at <= row.received_at, or_(at < row.received_at, same_time))


def _joined(statement: Select[Any], of: FromClause, wanted: Wanted) -> Select[Any]:
    same = study_cards.c.study_instance_uid == first.c.study_instance_uid
    with_cards = of.outerjoin(study_cards, same)
    return statement.select_from(with_cards).where(first.c.number == 1, *_conditions(wanted))


def _count(wanted: Wanted) -> Select[Any]:
    if wanted == Wanted():  # the first page of all
        return select(func.count()).select_from(first).where(first.c.number == 1)
    # where a study stands is asked only if that matters
    return _joined(select(func.count()), first if wanted.phase is None else studies(), wanted)


def _rows(wanted: Wanted) -> Select[Any]:
    each = revisions.alias("each")
    images = select(func.sum(each.c.instances)).where(each.c.study_instance_uid == first.c.study_instance_uid)
    shown = first.c.study_instance_uid, first.c.opened_at, revisions.c.number, revisions.c.last_arrival_at
    cards = (study_cards.c[name] for name in _OF_CARD)
    statement = select(*shown, *cards, phase().label("phase"), images.scalar_subquery().label("images"))
    ordered = first.c.opened_at.desc(), first.c.study_instance_uid.desc()
    return _joined(statement, studies(), wanted).order_by(*ordered)


def _row(row: Row[Any], rules: tuple[str, ...]) -> StudyRow:
    return StudyRow(
        study_instance_uid=row.study_instance_uid,
        # a study whose headers are not read yet is listed all the same
        patient_name=row.patient_name or "",
        patient_id=row.patient_id or "",
        accession_number=row.accession_number or "",
        study_date=row.study_date or "",
        study_description=row.study_description or "",
        modalities=tuple(filter(None, (row.modalities or "").split("|"))),
        sender=row.sender or "",
        instances=row.images,
        revision=row.number,
        received_at=row.opened_at,
        last_arrival_at=row.last_arrival_at,
        phase=Phase(row.phase),
        rules=rules,
    )
