"""A circuit breaker for each destination: one that does not answer is left alone for a while."""

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Outage:
    """A destination that does not answer; times are UTC seconds."""

    since: float
    reason: str
    failures: int
    until: float


class Breakers:
    """Which destinations are down; safe to call from many threads. Pure: the clock is an argument.

    A failure opens the breaker until a growing pause is over; then one attempt is let through, which closes it or
    opens it for longer.

    Parameters
    ----------
    first_pause, longest_pause : float
        Seconds.
    """

    def __init__(self, first_pause: float, longest_pause: float) -> None:
        self._first = first_pause
        self._longest = longest_pause
        self._outages: dict[str, Outage] = {}
        self._lock = threading.Lock()

    def allows(self, name: str, now: float) -> bool:
        """Return whether a destination may be tried."""
        outage = self._outages.get(name)
        return outage is None or now >= outage.until

    def failed(self, name: str, reason: str, now: float) -> bool:
        """A destination did not answer; return whether that is news."""
        with self._lock:
            before = self._outages.get(name)
            if before is not None and now < before.until:
                return False  # the same failure, told of by another object
            failures = 1 if before is None else before.failures + 1
            pause = min(self._longest, self._first * 2.0 ** min(failures - 1, 30))
            since = now if before is None else before.since
            self._outages[name] = Outage(since, reason, failures, now + pause)
            return before is None

    def answered(self, name: str) -> Outage | None:
        """A destination answered; return the outage that is over."""
        with self._lock:
            return self._outages.pop(name, None)

    def let_through(self, name: str, now: float) -> None:
        """Let one attempt through before its time; whether the destination is back, that attempt shows."""
        with self._lock:
            outage = self._outages.get(name)
            if outage is not None:
                self._outages[name] = replace(outage, until=min(outage.until, now))

    def outage(self, name: str) -> Outage | None:
        """Return since when a destination is down, or None."""
        return self._outages.get(name)
