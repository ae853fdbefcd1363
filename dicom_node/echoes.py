"""When each destination was last asked whether it is there (C-ECHO, PS3.4 Annex A), and what came of it."""

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Echo:
    """One question, and its answer.

    Parameters
    ----------
    at : float
        UTC seconds.
    seconds : float
        How long the answer took, or was waited for.
    reason : str
        Why there was none; or, that it answers, though without this service.
    silent_since : float or None
        UTC seconds of the first of the questions in a row that had no answer; None: there was one.
    """

    at: float
    answered: bool
    seconds: float
    reason: str = ""
    silent_since: float | None = None


class Echoes:
    """The last echo of each destination, by its name; for threads."""

    def __init__(self) -> None:
        self._last: dict[str, Echo] = {}
        self._lock = threading.Lock()

    def note(self, name: str, echo: Echo) -> None:
        """Keep what came of a question, and since when there was no answer."""
        with self._lock:
            before = self._last.get(name)
            since = None if before is None else before.silent_since
            self._last[name] = replace(echo, silent_since=None if echo.answered else since or echo.at)

    def forget(self, name: str) -> None:
        """Forget a destination: it is gone, or another one by now."""
        with self._lock:
            self._last.pop(name, None)

    def of(self, name: str) -> Echo | None:
        """Return the last one; None before a destination was asked."""
        with self._lock:
            return self._last.get(name)
