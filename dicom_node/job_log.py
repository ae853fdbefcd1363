"""What a pipeline logs while it runs a job: kept with the job, bounded, and without what identifies its patient.

A pipeline logs as any Python program does, with `logging` or `structlog`; each step that it reports as progress is a
line too. Lines of libraries that quote the data they meet are left out. Whatever the headers of the job's images say
about who somebody is, is withheld wherever it stands in a line; UIDs are kept.
"""

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from pydicom import Dataset
from pydicom.multival import MultiValue
from structlog.typing import EventDict, WrappedLogger

from dicom_node.contract import Progress
from dicom_node.log import QUOTING_LIBRARIES, SAFE_KEYS, WITHHELD, safe_text, where

_FIRST_LINES: Final = 50
_LAST_LINES: Final = 150
#: With both, not more than 64 kB of letters.
_LONGEST: Final = 320
#: So many lines are told at once; after them only some, so that a pipeline that talks much slows nothing down.
_TOLD_LINES: Final = 200
_TOLD_SECONDS: Final = 0.25
#: Those whose lines are not the pipeline's: they quote data, or are the engine's own.
_OTHERS: Final = (*QUOTING_LIBRARIES, "distributed", "dask", "tornado", "bokeh", "asyncio", "PIL", "matplotlib")
#: Attributes that say who somebody is (PS3.15 Annex E, those with a person, a number or an address in them).
_IDENTIFYING: Final = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientBirthName", "PatientMotherBirthName"),
    *("OtherPatientNames", "OtherPatientIDs", "PatientAddress", "PatientTelephoneNumbers", "PatientComments"),
    *("ResponsiblePerson", "AccessionNumber", "ReferringPhysicianName", "PerformingPhysicianName"),
    *("RequestingPhysician", "OperatorsName", "NameOfPhysiciansReadingStudy", "MilitaryRank", "Occupation"),
)
_PARTS: Final = re.compile(r"[\^=\\\s,;/]+")
#: A single letter or digit names nobody, and would make every line unreadable.
_SHORTEST: Final = 2
_DATE: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")


class JobLog:
    """The lines of one job; safe to call from many threads.

    Parameters
    ----------
    tell : callable
        Is given lines as they are logged, so that something is known of a process that dies.
    """

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        self._tell = tell
        self._began = time.monotonic()
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._count = 0
        self._told_at = 0.0
        self._secret: re.Pattern[str] | None = None

    def keep_out(self, headers: Iterable[Dataset]) -> None:
        """Withhold from now on what these headers say about who somebody is."""
        words = {word for header in headers for keyword in _IDENTIFYING for word in _words(header.get(keyword))}
        if words:
            either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
            self._secret = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)

    def lines(self) -> tuple[str, ...]:
        """Return the lines, oldest first: the first ones and the last ones, if there are too many."""
        left_out = self._count - len(self._first) - len(self._last)
        gap = [f"({left_out} lines left out)"] if left_out else []
        return (*self._first, *gap, *self._last)

    def say(self, level: str, text: str) -> None:
        """Keep one line."""
        text = _CONTROL.sub(" | ", text.strip())
        text = self._secret.sub(WITHHELD, text) if self._secret else text
        text = text if len(text) <= _LONGEST - 30 else f"{text[: _LONGEST - 31]}…"
        line = f"{time.monotonic() - self._began:8.2f} s  {level:<7}  {text}"
        self._count += 1
        (self._first if len(self._first) < _FIRST_LINES else self._last).append(line)
        now = time.monotonic()
        if self._count <= _TOLD_LINES or now - self._told_at > _TOLD_SECONDS:
            self._told_at = now
            self._tell(line)

    def fault(self, error: BaseException) -> None:
        """Keep what may be said of an error, and where it happened."""
        name, text, place = type(error).__name__, safe_text(error), where(error)
        told = text if text.startswith(name) else f"{name}: {text}"
        self.say("error", f"{told} at {place}" if place else told)

    def steps(self, progress: Progress) -> Progress:
        """Return a progress callback that keeps a line for each new step."""
        last = [""]

        def told(share: float, step: str) -> None:
            if step != last[0]:
                last[0] = step
                self.say("step", step)
            progress(share, step)

        return told

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take all that is logged in this process, until the end; it goes nowhere else."""
        root, handler, before = logging.getLogger(), _Handler(self), structlog.get_config()
        handlers, level = root.handlers, root.level
        root.handlers = [handler]
        root.setLevel(logging.INFO)
        structlog.configure(
            processors=[structlog.stdlib.add_log_level, self._take],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            root.handlers = handlers
            root.setLevel(level)
            structlog.configure(**before)

    def _take(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        level, text = str(event.pop("level", "info")), str(event.pop("event", ""))
        error = event.pop("exc_info", None)
        pairs = [f"{key}={_shown(key, value)}" for key, value in event.items() if not key.startswith("_")]
        self.say(level, " ".join([text, *pairs]))
        if isinstance(error, BaseException):
            self.fault(error)
        raise structlog.DropEvent


class _Handler(logging.Handler):
    """Takes the lines of `logging`."""

    def __init__(self, log: JobLog) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        if record.name.split(".", 1)[0] in _OTHERS:
            return
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit its text
            text = str(record.msg)
        self._log.say(record.levelname.lower(), f"{record.name}: {text}")
        if record.exc_info and record.exc_info[1] is not None:
            self._log.fault(record.exc_info[1])


def _shown(key: str, value: Any) -> str:
    """Return a value: numbers, and texts under the keys that are known to be safe."""
    return str(value) if key in SAFE_KEYS or isinstance(value, int | float) else WITHHELD


def _words(value: object) -> set[str]:
    """Return what a value may be recognised by: itself, its parts, and a date as people write it."""
    if isinstance(value, MultiValue):
        return {word for each in value for word in _words(each)}
    text = "" if value is None else str(value).strip()
    found = {text, *_PARTS.split(text)}
    for date in _DATE.findall(text):
        found |= {separator.join(parts) for separator in "-./" for parts in (date, date[::-1])}
    return {word for word in found if len(word) >= _SHORTEST}
