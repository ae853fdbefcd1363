"""How many instances a study has, by what destinations say: questions that the flow has, and answers as they come.

It holds nothing that matters: after a start it is asked again.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

#: A count that was not reached is asked for again after so many seconds: the study may be growing there, too.
_AGAIN_SECONDS: Final = 10.0
#: Studies that nobody asked about for so long are routed by now, and no destination is asked about them.
_WANTED_SECONDS: Final = 30.0


class Counts:
    """Questions and answers; safe to use from many threads."""

    def __init__(self) -> None:
        self._asked_at: dict[tuple[str, str], float] = {}
        self._since: dict[tuple[str, str], float] = {}
        # when what was answered had been asked
        self._answered_at: dict[tuple[str, str], float] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def of(self, study_instance_uid: str, destination: str, now: float, since: float = 0.0) -> int | None:
        """Return how many instances a destination counts; None while nobody knows, and it will be asked.

        Parameters
        ----------
        since : float
            UTC seconds: an answer to what was asked before is none, as more images came.
        """
        key = (study_instance_uid, destination)
        with self._lock:
            self._asked_at[key], self._since[key] = now, since
            return self._counts.get(key) if self._answered_at.get(key, 0.0) >= since else None

    def asked(self, study_instance_uid: str, since: float, now: float) -> Callable[[str], int | None]:
        """Return `of` for one study, to be asked with the destination."""
        return partial(self.of, study_instance_uid, now=now, since=since)

    def open(self, now: float) -> list[tuple[str, str]]:
        """Return the studies and destinations that are to be asked now."""
        with self._lock:
            for key in [key for key, at in self._asked_at.items() if now - at > _WANTED_SECONDS]:
                self._asked_at.pop(key)
                self._counts.pop(key, None)
                self._answered_at.pop(key, None)
                self._since.pop(key, None)
            return [key for key in self._asked_at if self._is_open(key, now)]

    def _is_open(self, key: tuple[str, str], now: float) -> bool:
        answered_at = self._answered_at.get(key, 0.0)
        return now - answered_at >= _AGAIN_SECONDS or answered_at < self._since[key]

    def answer(self, study_instance_uid: str, destination: str, count: int | None, asked_at: float) -> None:
        """Keep the answer to what was asked at a time; None: there was none, and it is asked again later."""
        key = (study_instance_uid, destination)
        with self._lock:
            self._answered_at[key] = asked_at
            if count is None:
                self._counts.pop(key, None)
            else:
                self._counts[key] = count
