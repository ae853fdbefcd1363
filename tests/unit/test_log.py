"""What may stand in a log line, and what never does."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from dicom_node import log
from dicom_node.errors import GeometryUnusable

_QUOTED = "Doe^Jane 1970-01-01"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give a stream that log lines go to as JSON, and put logging back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    written = io.StringIO()
    log.configure("info", form="json", stream=written)
    yield written
    root.handlers, root.level = before, level
    logging.captureWarnings(capture=False)
    for name in ("pydicom", "pynetdicom", "highdicom", "urllib3", "py.warnings", "apscheduler"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_its_keys_and_a_time(stream: io.StringIO) -> None:
    """Known keys are written as they are, with level and UTC time."""
    structlog.get_logger("x").info("study complete", study="1.2.3", count=4)
    (line,) = _lines(stream)
    assert (line["event"], line["study"], line["count"], line["level"]) == ("study complete", "1.2.3", 4, "info")
    assert line["timestamp"].endswith("Z")


def test_a_value_under_an_unknown_key_is_withheld(stream: io.StringIO) -> None:
    """A careless line cannot leak a name."""
    structlog.get_logger("x").info("seen", patient=_QUOTED, study="1.2.3")
    (line,) = _lines(stream)
    assert line["patient"] == "(withheld)"
    assert "Doe" not in stream.getvalue()


def test_a_foreign_exception_is_its_type_and_place(stream: io.StringIO) -> None:
    """Libraries quote the values they choke on: their texts are not written, nor is a traceback with its lines."""
    try:
        int(_QUOTED)
    except ValueError:
        structlog.get_logger("x").exception("stage failed", step="route")
    (line,) = _lines(stream)
    assert line["error"] == "ValueError"
    assert line["where"].startswith("test_log.py:")
    assert "Doe" not in stream.getvalue()


def test_our_own_exceptions_are_written_whole(stream: io.StringIO) -> None:
    """Their texts are written for administrators."""
    structlog.get_logger("x").warning("job failed", exc_info=GeometryUnusable("slice 7 is missing"))
    assert _lines(stream)[0]["error"] == "slice 7 is missing"


@pytest.mark.parametrize("name", ["pydicom", "pynetdicom.events", "highdicom.sr", "urllib3.connection"])
def test_libraries_that_quote_data_are_silent(stream: io.StringIO, name: str) -> None:
    """No line of the DICOM libraries gets through, however grave."""
    logging.getLogger(name).critical("value %s is not valid", _QUOTED)
    assert stream.getvalue() == ""


def test_python_warnings_are_silent(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """A warning that quotes a value goes nowhere: neither into the log nor to standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"Invalid value for VR PN: {_QUOTED}", stacklevel=1)
    assert stream.getvalue() == ""
    assert capsys.readouterr().err == ""


def test_other_libraries_speak_from_warning_up(stream: io.StringIO) -> None:
    """In the same form as our own lines; an exception of theirs is its type and place."""
    logging.getLogger("distributed.nanny").info("too much")
    try:
        {}[_QUOTED]
    except KeyError:
        logging.getLogger("distributed.nanny").warning("Restarting worker", exc_info=True)
    (line,) = _lines(stream)
    assert (line["event"], line["level"], line["error"]) == ("Restarting worker", "warning", "KeyError")
    assert "Doe" not in stream.getvalue()


def test_lines_below_the_level_are_not_written() -> None:
    """`level = "error"` keeps the rest away."""
    written = io.StringIO()
    log.configure("error", stream=written)
    try:
        structlog.get_logger("x").warning("little")
        structlog.get_logger("x").error("grave", study="1.2.3")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers = []
        logging.captureWarnings(capture=False)
    assert "little" not in written.getvalue()
    assert "grave" in written.getvalue()
    assert "study=1.2.3" in written.getvalue()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (GeometryUnusable("slice 7 is missing"), "slice 7 is missing"),
        (ValueError(_QUOTED), "ValueError"),
        (OSError(28, "No space left on device", _QUOTED), "OSError: No space left on device"),
        (OSError(_QUOTED), "OSError: no reason given"),
        (FileNotFoundError(2, "No such file", _QUOTED), "FileNotFoundError: No such file"),
    ],
)
def test_what_may_be_shown_of_an_error(error: Exception, text: str) -> None:
    """All of our own; the type of others; of the system's the reason, never the file name."""
    assert log.safe_text(error) == text


@pytest.mark.parametrize("broken", ["full", "closed"])
def test_a_log_that_cannot_be_written_stops_nothing(broken: str) -> None:
    """A full disk under the log, or a closed stream, costs the lines and nothing else."""
    stream = Path("/dev/full").open("wb", buffering=0) if broken == "full" else io.BytesIO()  # noqa: SIM115
    lines = io.TextIOWrapper(stream, encoding="utf-8", write_through=True)
    if broken == "closed":
        stream.close()
    log.configure("info", stream=lines)
    try:
        structlog.get_logger("x").info("study complete", study="1.2.3")
        logging.getLogger("library").warning("careful")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers = []
        logging.captureWarnings(capture=False)
        stream.close()
