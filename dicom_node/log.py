"""Structured log lines keyed by association, study and job; the one place that keeps patient data out of logs.

Only keys of `SAFE_KEYS` are written: a value under any other key is withheld, so that a careless line cannot leak a
name. Texts of exceptions that are not our own are withheld too, because libraries quote the values they choke on.
Lines of libraries are written from WARNING up, and those of the DICOM and HTTP libraries, which quote data, never.
"""

import contextlib
import logging
import sys
import traceback
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from dicom_node.errors import DicomNodeError

#: UIDs, AE titles, addresses, states, counts and times: what an administrator needs and no patient is known by.
SAFE_KEYS: Final = frozenset(
    {
        *("event", "level", "timestamp", "logger", "error", "where", "exception"),
        *("association", "study", "series", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid"),
        *("calling", "called", "address", "port", "peer", "destination", "status", "outcome", "reason"),
        *("job", "delivery", "rule", "rules", "pipeline", "role", "state", "revision", "priority", "attempt"),
        *("count", "instances", "objects", "size", "seconds", "not_before", "path", "version", "node", "worker"),
        *("progress", "step", "kind", "free_mib", "floor_mib", "name", "file", "line", "signal"),
    }
)
#: Their lines quote the data they meet.
QUOTING_LIBRARIES: Final = ("pydicom", "pynetdicom", "highdicom", "urllib3")
#: Stands where a value is not written.
WITHHELD: Final = "(withheld)"


class _Forgiving:
    """A stream whose lines may get lost: a full disk or a closed pipe under the log stops nothing but the log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or not."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or not."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def configure(level: str = "info", *, form: str = "text", stream: TextIO | None = None) -> None:
    """Write log lines of at least `level` to a stream, as "text" or as "json" (one object a line)."""
    number = logging.getLevelNamesMapping()[level.upper()]
    lines: Any = _Forgiving(stream or sys.stderr)
    renderer: Any = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_error,
        withhold,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(lines),
        cache_logger_on_first_use=False,
    )
    _route_library_lines(lines, renderer, shared)


def _route_library_lines(stream: Any, renderer: Any, shared: list[Any]) -> None:
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)  # a library's logger may let more through, for other handlers
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[_drop_meta, renderer], foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in QUOTING_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # a tick that is skipped because the one before still runs is how ticks are meant to work
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # Python warnings quote the offending value ("Invalid value for VR PN: ..."): out of the log, into nothing
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").setLevel(logging.CRITICAL + 1)


def _drop_meta(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(_logger, _name, event)


def describe_error(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Replace an exception by its type, where it happened and - if it is our own - its text."""
    error = event.pop("exc_info", None)
    error = sys.exc_info()[1] if error is True else error
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = safe_text(error)
        event["where"] = where(error)
    return event


def withhold(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Withhold the value of every key that is not known to be safe."""
    return {key: value if key in SAFE_KEYS or key.startswith("_") else WITHHELD for key, value in event.items()}


def safe_text(error: BaseException) -> str:
    """Return what may be shown of an error: all of our own, of others (`OSError` apart) only the type."""
    if isinstance(error, DicomNodeError):
        return str(error)
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror or 'no reason given'}"
    return type(error).__name__


def where(error: BaseException) -> str:
    """Return the innermost frames of an error, file and line only, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " > ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames)
