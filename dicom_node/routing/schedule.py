"""When a rule's jobs may run: windows by weekday and hour, in the time zone of the site."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLE: Final = "Mon-Fri 18:00-07:00"
_MINUTES_A_DAY: Final = 24 * 60
#: Of one day of the week, this week's and the next: this week's may fall into an hour that the clocks leave out.
_DAYS_AHEAD: Final = 2 * len(DAYS) + 1
_WINDOW: Final = re.compile(r"(\w{3}(?:[-,] ?\w{3})*) (\d\d?):(\d\d)-(\d\d?):(\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """One window, on each of some weekdays (0 is Monday); an end before its start is on the next day.

    Parameters
    ----------
    start, end : int
        Minutes from midnight; 1440 is the end of the day.
    """

    days: tuple[int, ...]
    start: int
    end: int

    @classmethod
    def read(cls, text: str) -> "Window | None":
        """Return the window that a text such as "Sat,Sun 00:00-24:00" is; None if it is none."""
        found = _WINDOW.fullmatch(text.strip())
        days = _days(found[1]) if found else None
        if found is None or days is None:
            return None
        start, end = (int(found[n]) * 60 + int(found[n + 1]) for n in (2, 4))
        whole = int(found[3]) < 60 and int(found[5]) < 60  # noqa: PLR2004 - minutes in an hour
        return cls(days, start, end) if whole and start < _MINUTES_A_DAY >= end and start != end else None

    def __str__(self) -> str:
        """Return the window as it is written."""
        days = ",".join(DAYS[day] for day in self.days)
        return f"{days} {self.start // 60:02}:{self.start % 60:02}-{self.end // 60:02}:{self.end % 60:02}"

    def spans(self, midnight: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield start and end of the window on the local day that begins at `midnight`, if it is one of its days."""
        if midnight.weekday() in self.days:
            end = self.end if self.end > self.start else self.end + _MINUTES_A_DAY
            yield _at(midnight, self.start), _at(midnight, end)


def _at(midnight: datetime, minutes: int) -> datetime:
    # wall time: 18:00 stays 18:00 on the day on which the clocks change
    day = midnight + timedelta(days=minutes // _MINUTES_A_DAY)
    return day.replace(hour=minutes % _MINUTES_A_DAY // 60, minute=minutes % 60)


def _days(text: str) -> tuple[int, ...] | None:
    days: list[int] = []
    for part in re.split(r", ?", text):
        ends = [name.capitalize() for name in part.split("-")]
        if len(ends) > 2 or not set(ends) <= set(DAYS):  # noqa: PLR2004 - from and to
            return None
        first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
        days += [(first + step) % len(DAYS) for step in range((last - first) % len(DAYS) + 1)]
    return tuple(sorted(set(days)))


def opens_at(windows: Sequence[Window], now: float, zone: tzinfo | None) -> float:
    """Return when jobs may run from a time on (UTC seconds): now if a window is open, else when the next one opens.

    Parameters
    ----------
    zone : tzinfo or None
        The site's; None: that of this computer.
    """
    if not windows:
        return now
    local = datetime.fromtimestamp(now, UTC).astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=zone)
    spans = [
        (start.timestamp(), end.timestamp())
        for day in range(-1, _DAYS_AHEAD)
        for window in windows
        for start, end in window.spans(midnight + timedelta(days=day))
    ]
    # a window in the hour that the clocks leave out has no length on that day
    spans = [(start, end) for start, end in spans if start < end]
    if any(start <= now < end for start, end in spans):
        return now
    return min(start for start, _ in spans if start > now)
