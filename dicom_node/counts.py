"""How many instances a study has, by what destinations say: questions that the flow has, and answers as they come.

It holds nothing that matters: after a start it is asked again.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

#: A count that was not reached is asked for again after so many seconds: the study may be growing there, too.
_AGAIN_SECONDS: Final = 10.0
#: Studies that nobody asked about for so long are routed by now, and no destination is asked about them.
_WANTED_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Question:
    """One question; `answered_at` is when what was answered had been asked."""

    asked_at: float = 0.0
    since: float = 0.0
    answered_at: float = 0.0
    count: int | None = None

    def is_open(self, now: float) -> bool:
        return now - self.answered_at >= _AGAIN_SECONDS or self.answered_at < self.since


class Counts:
    """Questions and answers; safe to use from many threads."""

    def __init__(self) -> None:
        self._questions: dict[tuple[str, str], _Question] = {}
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
            asked = replace(self._questions.get(key, _Question()), asked_at=now, since=since)
            self._questions[key] = asked
            return asked.count if asked.answered_at >= since else None

    def asked(self, study_instance_uid: str, since: float, now: float) -> Callable[[str], int | None]:
        """Return `of` for one study, to be asked with the destination."""
        return partial(self.of, study_instance_uid, now=now, since=since)

    def open(self, now: float) -> list[tuple[str, str]]:
        """Return the studies and destinations that are to be asked now."""
        with self._lock:
            wanted = {key: each for key, each in self._questions.items() if now - each.asked_at <= _WANTED_SECONDS}
            self._questions = wanted
            return [key for key, each in wanted.items() if each.is_open(now)]

    def answer(self, study_instance_uid: str, destination: str, count: int | None, asked_at: float) -> None:
        """Keep the answer to what was asked at a time; None: there was none, and it is asked again later."""
        key = (study_instance_uid, destination)
        with self._lock:
            if key in self._questions:  # or nobody wants to know any more
                self._questions[key] = replace(self._questions[key], answered_at=asked_at, count=count)
