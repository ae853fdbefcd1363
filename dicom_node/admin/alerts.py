"""What a person should be told though nobody is looking: noticed, told once, and told again when it is over."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from sqlalchemy import func, select

from dicom_node.admin.office import Office
from dicom_node.admin.queries.overview import DestinationState, Overview, overview_of
from dicom_node.errors import Failure
from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import jobs
from dicom_node.ledger.trail import OpenAlert
from dicom_node.lifecycle import JobState
from dicom_node.settings import AlertSettings

log = structlog.get_logger(__name__)

_MINUTE: Final = 60.0
#: Of the latest jobs only: what failed last year and is still held is no news.
_LATEST_JOBS: Final = 500


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell.

    Parameters
    ----------
    key : str
        The same for a series of the same failure.
    text : str
        For an administrator; names no patient and no study.
    since : float
        UTC seconds.
    """

    key: str
    text: str
    since: float
    over: bool = False


class Teller(Protocol):
    """A way to tell somebody."""

    def __call__(self, alert: Alert) -> None:
        """Tell; raises Failure if nobody could be told."""


class Alerts:
    """Compares what is with what was told."""

    def __init__(self, office: Office, tellers: tuple[Teller, ...], clock: Callable[[], float]) -> None:
        self._office = office
        self._tellers = tellers
        self._clock = clock
        self._reached: dict[str, set[int]] = {}  # alerts that some ways took and others did not
        self._over: dict[str, set[int]] = {}  # the same of their ends

    def tick(self) -> None:
        """Notice, tell, and tell what is over; what could not be told is tried again at the next tick."""
        trail, now = self._office.ledger.trail, self._clock()
        failing = _failing(self._office, self._office.settings.admin.alerts.pipeline_failures)
        known_keys = set(trail.open_alerts())
        noticed = _noticed(overview_of(self._office), self._settings, failing, known_keys)
        found = {alert.key: alert for alert in noticed}
        for alert in found.values():
            if self._over.pop(alert.key, None):  # to whom its end was told it is a new one
                trail.close_alert(alert.key, now)
                known_keys.discard(alert.key)
            if alert.key not in known_keys:
                trail.open_alert(alert.key, alert.text, now)
        for known in trail.open_alerts().values():
            if known.key in found:
                if known.told_at is None and self._is_told(Alert(known.key, known.text, known.since)):
                    trail.alert_told(known.key, now)
            elif self._is_told_over(known):
                trail.close_alert(known.key, now)

    @property
    def _settings(self) -> AlertSettings:
        return self._office.settings.admin.alerts

    def _is_told(self, alert: Alert) -> bool:
        """Tell whom this was not told yet; return whether everybody knows."""
        every = set(range(len(self._tellers)))
        reached = self._reached.setdefault(alert.key, set())
        reached |= self._tell(alert, every - reached)
        if reached == every:
            del self._reached[alert.key]
        return reached == every

    def _is_told_over(self, known: OpenAlert) -> bool:
        """Tell whoever was told of it, and does not know of its end; return whether all of them do."""
        some = self._reached.get(known.key, set())
        ways = some if known.told_at is None else set(range(len(self._tellers)))
        reached = self._over.setdefault(known.key, set())
        reached |= self._tell(Alert(known.key, known.text, known.since, over=True), ways - reached)
        if not ways <= reached:
            return False
        del self._over[known.key]
        self._reached.pop(known.key, None)
        return True

    def _tell(self, alert: Alert, ways: set[int]) -> set[int]:
        """Tell by some ways; return those by which it went."""
        reached = set()
        for way in sorted(ways):
            try:
                self._tellers[way](alert)
            except Failure as failure:
                log.warning("alert cannot be told", reason=str(failure), kind=alert.key)
            else:
                reached.add(way)
        return reached


def _noticed(
    overview: Overview, settings: AlertSettings, failing: dict[str, tuple[int, str]], known: Collection[str]
) -> Iterator[Alert]:
    now = overview.now
    for each in overview.destinations:
        down = _down(each)
        # what was told is not over because a node that has just started has counted no minutes yet
        fewest = 0 if down is not None and down.key in known else settings.destination_down_minutes * _MINUTE
        if down is not None and now - down.since >= fewest:
            yield down
        oldest = each.oldest_at
        if oldest is not None and now - oldest >= settings.queue_age_minutes * _MINUTE:
            waiting = f"{each.waiting + each.sending} object(s) wait for {each.name}, the oldest for"
            yield Alert(f"queue old: {each.name}", f"{waiting} {(now - oldest) / _MINUTE:.0f} minutes", oldest)
    if overview.disk.low:
        text = f"The disk is low: {overview.disk.free_mib} MiB free, reception stops at {overview.disk.floor_mib} MiB"
        yield Alert("disk low", text, now)
    if overview.receivers < overview.receivers_wanted:
        yield Alert("receiver down", "A receiver is down: studies may not be received", now)
    for habit in overview.senders if settings.silent_senders else ():
        if habit.silent:
            text = f"{habit.sender} has sent nothing for {(now - habit.last_at) / 3600:.1f} hours, unlike before"
            yield Alert(f"sender silent: {habit.sender}", text, habit.last_at)
    for pipeline, (count, reason) in failing.items():
        yield Alert(f"pipeline failing: {pipeline}", f"{count} jobs of {pipeline} in a row are held: {reason}", now)


def _down(each: DestinationState) -> Alert | None:
    """Return what to tell of a destination that does not answer: what is sent, or the regular C-ECHO."""
    if each.away is None:
        return None
    since, reason = each.away
    return Alert(f"destination down: {each.name}", f"Destination {each.name} does not answer: {reason}", since)


def _failing(office: Office, fewest: int) -> dict[str, tuple[int, str]]:
    """Return pipeline -> (how many of its latest jobs in a row are held, why the last one is), from `fewest` on."""
    statement = (
        select(jobs.c.pipeline, jobs.c.state, jobs.c.reason)
        # through a function, or SQLite would read and sort all that is done to find the latest ones
        .where(func.coalesce(jobs.c.state, "").in_([str(state) for state in (JobState.DONE, JobState.HELD)]))
        .order_by(jobs.c.id.desc())
        .limit(_LATEST_JOBS)
    )
    with reading(office.ledger.engine).connect() as connection:
        rows: list[Any] = list(connection.execute(statement))
    found: dict[str, tuple[int, str]] = {}
    ended: set[str] = set()
    for row in rows:
        if row.state != str(JobState.HELD):
            ended.add(row.pipeline)
        elif row.pipeline not in ended:
            count, reason = found.get(row.pipeline, (0, row.reason))
            found[row.pipeline] = count + 1, reason
    return {pipeline: told for pipeline, told in found.items() if told[0] >= fewest}
