"""A sender's rhythm: when in the week it sends, and how long it is silent at most; pure.

Silence is counted in busy hours: an hour in which the sender sends on most such days counts whole, one in which it
never does (a scanner's night or weekend) not at all. So a night is no silence, and a morning without a study is one.
"""

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

#: A sender that is known for less, or has sent less, has no rhythm yet.
WINDOW_SECONDS: Final = 28 * 86400.0
_FEWEST_STUDIES: Final = 8
_FEWEST_DAYS: Final = 5
#: Silent: for longer than so many times the longest of its gaps, and a while.
_TIMES: Final = 1.5
_MORE_BUSY_HOURS: Final = 0.5
_SHORTEST_SECONDS: Final = 1800.0
#: A gap that is so many times as long as every other one was an outage, or a holiday.
_OUTAGE: Final = 2.0
#: On a day of the weekend it sends less than this share of what it sends on another day: weekends are days apart.
_QUIET_WEEKEND: Final = 0.5
_HOUR: Final = 3600.0
_SATURDAY: Final = 5
#: A UTC time in seconds to the time at the site.
Local = Callable[[float], dt.datetime]
#: A kind of day, and an hour of it.
_Slot = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a sender sends.

    Parameters
    ----------
    busy : mapping
        Kind of day and hour to how busy it is, compared with the busiest (0 to 1).
    apart : bool
        Whether Saturdays and Sundays are days of a kind of their own.
    usual_gap_seconds : float
        The longest time from one study to the next, outages left out.
    limit : float
        Busy hours without a study after which it is silent.
    """

    busy: Mapping[_Slot, float]
    apart: bool
    usual_gap_seconds: float
    limit: float

    def silent_from(self, last: float, local: Local) -> float:
        """Return from when on the sender counts as silent, if nothing comes after its last study (UTC seconds)."""
        left, at = self.limit, last
        while True:
            follows = (math.floor(at / _HOUR) + 1) * _HOUR
            busy = self.busy.get(_slot(local(at), apart=self.apart), 0.0)
            if busy * (follows - at) / _HOUR >= left:
                return max(at + left / busy * _HOUR, last + _SHORTEST_SECONDS)
            left -= busy * (follows - at) / _HOUR
            at = follows


def rhythm_of(latest_first: Sequence[float], local: Local) -> Rhythm | None:
    """Return the rhythm of a sender by when its studies were received, or None if it is not known for long enough."""
    if not latest_first or latest_first[0] - latest_first[-1] < WINDOW_SECONDS:
        return None
    begin = latest_first[0] - WINDOW_SECONDS
    times = sorted(at for at in latest_first if at >= begin)
    places = [local(at) for at in times]
    if len(times) < _FEWEST_STUDIES or len({place.date() for place in places}) < _FEWEST_DAYS:
        return None
    apart = _is_apart(places)
    busy = _busy(places, [local(begin + day * 86400.0) for day in range(29)], apart=apart)
    hours = _BusyHours(busy, times, local, apart=apart)
    gaps = [(hours.between(earlier, later), later - earlier) for earlier, later in pairwise(times)]
    usual = _without_outage(sorted(gaps, reverse=True))
    longest = max(seconds for _, seconds in usual)
    return Rhythm(busy, apart, longest, _TIMES * usual[0][0] + _MORE_BUSY_HOURS)


class _BusyHours:
    """How many busy hours lie between two times: summed up once, hour by hour."""

    def __init__(self, busy: Mapping[_Slot, float], times: Sequence[float], local: Local, *, apart: bool) -> None:
        self._first = math.floor(times[0] / _HOUR)
        hours = range(self._first, math.floor(times[-1] / _HOUR) + 1)
        self._of = [busy.get(_slot(local(hour * _HOUR), apart=apart), 0.0) for hour in hours]
        self._before = [0.0]
        for each in self._of:
            self._before.append(self._before[-1] + each)

    def between(self, earlier: float, later: float) -> float:
        """Return them."""
        return self._until(later) - self._until(earlier)

    def _until(self, at: float) -> float:
        hours, rest = divmod(at / _HOUR - self._first, 1.0)
        return self._before[int(hours)] + rest * self._of[int(hours)]


def _slot(place: dt.datetime, *, apart: bool) -> _Slot:
    return _kind(place.date(), apart=apart), place.hour


def _kind(day: dt.date, *, apart: bool) -> int:
    """Return 0 for a day of the week, 5 and 6 for Saturday and Sunday where they are days apart."""
    return day.weekday() if apart and day.weekday() >= _SATURDAY else 0


def _is_apart(places: Sequence[dt.datetime]) -> bool:
    at_weekends = sum(place.weekday() >= _SATURDAY for place in places)
    return at_weekends / 2 < _QUIET_WEEKEND * (len(places) - at_weekends) / 5


def _busy(places: Sequence[dt.datetime], days: Sequence[dt.datetime], *, apart: bool) -> dict[_Slot, float]:
    """Return on what share of its days the sender sent in each hour, the busiest hour being 1."""
    dates = {day.date() for day in days} | {place.date() for place in places}
    count = Counter(_kind(date, apart=apart) for date in dates)
    sent = Counter(
        (_kind(date, apart=apart), hour) for date, hour in {(place.date(), place.hour) for place in places}
    )
    shares = {slot: times / count[slot[0]] for slot, times in sent.items()}
    most = max(shares.values())
    return {slot: share / most for slot, share in shares.items()}


def _without_outage(longest_first: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return gaps (busy hours, seconds) without the one that is far longer than the others, if there is one."""
    longest, following = longest_first[0], longest_first[1]
    return longest_first[1:] if longest[0] > _OUTAGE * following[0] else longest_first
