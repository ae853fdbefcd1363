"""Senders that have fallen silent, compared with their own habit."""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, func, select

from dicom_node.admin.queries.distinct import each_value
from dicom_node.admin.queries.rhythm import WINDOW_SECONDS, Local, Rhythm, rhythm_of
from dicom_node.ledger.admin_schema import study_cards
from dicom_node.ledger.database import reading

#: Of one sender, in its four weeks: more say nothing more about its habit.
_MOST_STUDIES: Final = 100_000
_RENEWED_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Habit:
    """How often a sender sends; times are UTC seconds."""

    sender: str
    last_at: float
    usual_gap_seconds: float
    silent: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """A sender's rhythm, and the last study that it was made with."""

    rhythm: Rhythm | None
    last_at: float


def _utc(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, dt.UTC)


class Habits:
    """Asks the ledger for senders' habits.

    A rhythm takes a walk along four weeks of studies, so it is kept for an hour; but nobody is called silent by an
    old one. It ends with the sender's last study: who is silent stays so until another one comes.
    """

    def __init__(self, engine: Engine) -> None:
        self._reader = reading(engine)
        self._known: dict[str, _Known] = {}

    def every(self, now: float, local: Local = _utc) -> list[Habit]:
        """Return the senders that have a habit, the silent ones first, by name; `local`: to the site's time."""
        with self._reader.connect() as connection:
            senders = each_value(connection, study_cards.c.sender)
            habits = [self._habit(connection, sender, now, local) for sender in senders]
        return sorted(filter(None, habits), key=lambda habit: (not habit.silent, habit.sender))

    def _habit(self, connection: Connection, sender: str, now: float, local: Local) -> Habit | None:
        newest = select(func.max(study_cards.c.received_at)).where(study_cards.c.sender == sender)
        last = connection.execute(newest).scalar_one()
        known = self._known.get(sender)
        if known is None or last - known.last_at > _RENEWED_SECONDS or last < known.last_at:
            known = self._renewed(connection, sender, last, local)
        habit = _judged(sender, known.rhythm, last, now, local)
        if habit is not None and habit.silent and known.last_at != last:
            habit = _judged(sender, self._renewed(connection, sender, last, local).rhythm, last, now, local)
        return habit

    def _renewed(self, connection: Connection, sender: str, last: float, local: Local) -> _Known:
        at = study_cards.c.received_at
        mine = select(at).where(study_cards.c.sender == sender)
        # from one before the four weeks on, which shows that the sender is known for as long
        earlier = connection.execute(mine.where(at <= last - WINDOW_SECONDS).order_by(at.desc()).limit(1)).scalar()
        within = mine.where(at > last - WINDOW_SECONDS).order_by(at.desc()).limit(_MOST_STUDIES)
        times = list(connection.execute(within).scalars())
        known = _Known(rhythm_of([*times, *([] if earlier is None else [earlier])], local), last)
        self._known[sender] = known
        return known


def habit_of(sender: str, latest_first: list[float], now: float, local: Local = _utc) -> Habit | None:
    """Return a sender's habit, or None if it is not known for long enough to have one; pure."""
    return _judged(sender, rhythm_of(latest_first, local), latest_first[0], now, local)


def _judged(sender: str, rhythm: Rhythm | None, last: float, now: float, local: Local) -> Habit | None:
    if rhythm is None:
        return None
    return Habit(sender, last, rhythm.usual_gap_seconds, now > rhythm.silent_from(last, local))
