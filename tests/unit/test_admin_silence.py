"""Who has fallen silent: simulated weeks of scanners, and what the ledger says of a sender among busier ones."""

import datetime as dt
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from dicom_node.admin.alerts import Alert, Alerts
from dicom_node.admin.connections import Kind
from dicom_node.admin.queries.rhythm import WINDOW_SECONDS, rhythm_of
from dicom_node.admin.queries.silence import Habits, habit_of
from dicom_node.ledger import Ledger
from dicom_node.ledger.admin_schema import study_cards
from tests.admin_cases import ADMINISTRATOR, Bench, bench

_DAY: Final = 86400.0
_SITE: Final = ZoneInfo("Europe/Berlin")
#: A Monday; the clock is changed on the last Sunday of March.
_MONDAY: Final = dt.datetime(2026, 2, 16, tzinfo=_SITE)
_WEEKDAYS: Final = frozenset(range(5))
_EVERY_DAY: Final = frozenset(range(7))
_JUDGED: Final = 36


def _local(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, _SITE)


def _at(day: int, hour: float) -> float:
    return (_MONDAY + dt.timedelta(days=day, hours=hour)).timestamp()


def _studies(a_day: int, hours: tuple[int, int], days: frozenset[int], seed: int, weeks: int = 7) -> list[float]:
    """Return when studies come, at any time within the hours of the days on which somebody works."""
    chance = random.Random(seed)  # noqa: S311 - a scanner, not a secret
    working = [day for day in range(7 * weeks) if day % 7 in days]
    return sorted(_at(day, chance.uniform(*hours)) for day in working for _ in range(a_day))


def _known(times: list[float], until: float) -> list[float]:
    """Return what a node knows at some time, the latest first."""
    return [at for at in times if until - 40 * _DAY < at <= until][::-1]


def _alarms(times: list[float]) -> list[dt.datetime]:
    """Return after which studies the sender would have been called silent before the next one came."""
    found = []
    for day in range(_JUDGED, 48):
        rhythm = rhythm_of(_known(times, _at(day, 0)), _local)
        assert rhythm is not None
        pairs = [(at, following) for at, following in pairwise(times) if _at(day, 0) <= following < _at(day + 1, 0)]
        found += [_local(at) for at, following in pairs if rhythm.silent_from(at, _local) < following]
    return found


@pytest.mark.parametrize("a_day", [1, 5, 15, 30, 60])
def test_an_ordinary_scanner_is_never_called_silent(a_day: int) -> None:
    """It works on weekdays from 8 to 18: no alarm in the evening, in the night, at the weekend or on Monday."""
    times = _studies(a_day, (8, 18), _WEEKDAYS, seed=a_day)
    assert _alarms(times) == []


@pytest.mark.parametrize("a_day", [20, 60])
def test_an_emergency_scanner_is_never_called_silent(a_day: int) -> None:
    """It works day and night, on every day."""
    times = _studies(a_day, (0, 24), _EVERY_DAY, seed=a_day)
    assert _alarms(times) == []


@pytest.mark.parametrize(("a_day", "working_hours"), [(5, 20), (15, 10), (30, 5), (60, 4)])
def test_a_scanner_that_falls_silent_is_missed_within_its_working_day(a_day: int, working_hours: float) -> None:
    """It sends nothing from Wednesday at 8 on; one of five studies a day cannot be missed as soon as one of sixty."""
    wednesday = 37
    known = _known(_studies(a_day, (8, 18), _WEEKDAYS, seed=a_day), _at(wednesday, 8))
    days, hours = divmod(working_hours, 10)
    noticed_by = _at(wednesday + int(days), 8 + hours)
    for now, silent in ((_at(wednesday, 8), False), (noticed_by, True)):
        habit = habit_of("CT1", known, now, _local)
        assert habit is not None
        assert habit.silent is silent


def test_an_emergency_scanner_is_missed_within_half_a_day() -> None:
    """Sixty studies a day and then none."""
    known = _known(_studies(60, (0, 24), _EVERY_DAY, seed=1), _at(37, 8))
    habit = habit_of("CT1", known, _at(37, 14), _local)
    assert habit is not None
    assert habit.silent


def test_a_sender_of_one_study_a_day_is_missed_in_the_week() -> None:
    """It is not after a day without a study, and not at the weekend."""
    known = _known([_at(day, 10.5) for day in range(35) if day % 7 in _WEEKDAYS], _at(35, 0))
    silent = {}
    for day in (35, 36, 37, 38):
        habit = habit_of("QA", known, _at(day, 9), _local)
        assert habit is not None
        silent[day % 7] = habit.silent
    assert silent == {0: False, 1: False, 2: True, 3: True}


def test_silence_does_not_pass_by_itself() -> None:
    """Who was silent on Friday is so on Saturday, and after more than four weeks, until a study comes."""
    known = _known(_studies(30, (8, 18), _WEEKDAYS, seed=3), _at(37, 8))
    assert {habit.silent for day in range(38, 120) if (habit := habit_of("CT1", known, _at(day, 9), _local))} == {
        True
    }


def test_one_outage_makes_nobody_deaf() -> None:
    """After a holiday of two days a scanner is missed as soon as before."""
    times = [at for at in _studies(30, (8, 18), _WEEKDAYS, seed=4) if not _at(29, 0) < at < _at(31, 0)]
    habit = habit_of("CT1", _known(times, _at(37, 8)), _at(37, 13), _local)
    assert habit is not None
    assert habit.silent


def test_a_sender_that_is_known_for_less_than_four_weeks_has_no_habit() -> None:
    """However much it sends."""
    known = _known(_studies(60, (8, 18), _WEEKDAYS, seed=5), _at(25, 20))
    assert rhythm_of(known, _local) is None
    assert rhythm_of([*known, known[0] - WINDOW_SECONDS], _local) is not None


def _cards(ledger: Ledger, sender: str, times: list[float]) -> None:
    shown = ("patient_name", "patient_id", "accession_number", "study_date", "study_description", "modalities")
    with ledger.engine.begin() as connection:
        rows = [
            {"study_instance_uid": f"1.2.{sender[2:]}.{at:.0f}.{number}", "sender": sender, "received_at": at}
            | dict.fromkeys((*shown, "search"), "")
            for number, at in enumerate(times)
        ]
        connection.execute(insert(study_cards), rows)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        for number in (1, 2):
            values = {"ae_titles": [f"CT{number}"], "addresses": ["127.0.0.1"]}
            made.office.connections.put(ADMINISTRATOR, Kind.SENDER, f"scanner {number}", values)
        yield made


def test_a_silent_sender_among_busy_ones_is_over_when_it_sends_again(desk: Bench) -> None:
    """However much the others send meanwhile: its habit is its own; and it is over when nobody awaits it any more."""
    told: list[tuple[str, bool]] = []
    alerts = Alerts(desk.office, (lambda alert: told.append((alert.key, alert.over)),), desk.clock)
    _cards(desk.ledger, "CT1", _studies(20, (8, 18), _WEEKDAYS, seed=1, weeks=5))
    _cards(desk.ledger, "CT2", _studies(150, (0, 24), _EVERY_DAY, seed=2, weeks=7))
    for day in (36, 40, 48):
        desk.clock.now = _at(day, 17.9)
        alerts.tick()
    assert told == [("sender silent: CT1", False)]
    _cards(desk.ledger, "CT1", [_at(48, 18)])
    desk.clock.now = _at(48, 18)
    alerts.tick()
    assert told[1:] == [("sender silent: CT1", True)]
    desk.clock.now = _at(70, 12)
    alerts.tick()
    desk.office.connections.remove_sender(ADMINISTRATOR, "scanner 1")
    alerts.tick()
    assert [over for key, over in told if key.endswith("CT1")] == [False, True, False, True]


def test_a_habit_is_read_anew_only_where_it_matters(ledger: Ledger) -> None:
    """A study moves the time from which on its sender is awaited; what is called silent is judged anew."""
    times = _studies(30, (8, 18), _WEEKDAYS, seed=6, weeks=5)
    habits = Habits(ledger.engine)
    _cards(ledger, "CT1", times)
    for later in (0.0, 600.0, 1200.0):
        last = times[-1] + later
        if later:
            _cards(ledger, "CT1", [last])
        (habit,) = habits.every(last + 60, _local)
        assert (habit.last_at, habit.silent) == (last, False)
    assert habits.every(_at(36, 14), _local) == Habits(ledger.engine).every(_at(36, 14), _local)
    assert habits.every(_at(36, 14), _local)[0].silent


def test_alerts_name_no_study(desk: Bench) -> None:
    """Of a silent sender its AE title is told, and for how long."""
    told: list[Alert] = []
    _cards(desk.ledger, "CT1", _studies(20, (8, 18), _WEEKDAYS, seed=1, weeks=5))
    desk.clock.now = _at(37, 12)
    Alerts(desk.office, (told.append,), desk.clock).tick()
    assert ["CT1 has sent nothing for" in alert.text for alert in told] == [True]
