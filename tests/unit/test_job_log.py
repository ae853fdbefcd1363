"""What is kept of an attempt of a job: its log, bounded and without patient data, what it used, and how it ended."""

import logging
import re
from pathlib import Path

import pytest
import structlog
from pydicom import Dataset

from dicom_node import task
from dicom_node.errors import WorkerDied
from dicom_node.job_log import JobLog
from dicom_node.job_meter import Meter
from dicom_node.ledger import Effort, Ledger, Resources
from tests.flow_cases import new_journey, started
from tests.ledger_cases import NOW, STUDY, finished, queued, running
from tests.study_cases import PATIENT
from tests.task_cases import order_for


def _header() -> Dataset:
    header = Dataset()
    header.PatientName, header.PatientID, header.PatientBirthDate = "Doe^Jane", "P-77", "19700131"
    header.AccessionNumber = "A1"
    return header


@pytest.mark.parametrize(
    "text",
    ["name DOE, jane", "id P-77", "born 1970-01-31", "born 19700131", "born 31.01.1970", "order A1", "Jane^Doe"],
)
def test_what_identifies_a_patient_is_withheld(text: str) -> None:
    """Name, number, birth date and order of the job's own images, however they are written."""
    log = JobLog()
    log.keep_out([_header()])
    log.say("info", text)
    (line,) = log.lines()
    assert "(withheld)" in line
    assert not re.search(r"doe|jane|p-77|1970|A1", line, re.IGNORECASE)


def test_each_of_several_values_is_withheld() -> None:
    """Attributes such as Other Patient IDs, whose multiplicity is 1-n (PS3.6)."""
    header = Dataset()
    header.OtherPatientIDs, header.OperatorsName = ["X12345", "X67890"], ["Smith^Jo", "Doe^Al"]
    log = JobLog()
    log.keep_out([header])
    log.say("info", "X12345, X67890, Smith, Jo, Doe, Al")
    assert log.lines()[0].endswith("info     " + ", ".join(["(withheld)"] * 6))


def test_the_rest_is_kept() -> None:
    """UIDs, words that only contain a part of a name, and numbers stay readable."""
    log = JobLog()
    log.keep_out([_header()])
    log.say("info", "series 1.2.3.77, 192 slices, doeskin")
    assert "series 1.2.3.77, 192 slices, doeskin" in log.lines()[0]


def test_both_ways_of_logging_are_heard_and_libraries_that_quote_are_not() -> None:
    """`logging` and `structlog`; afterwards everything goes where it went before."""
    log, before = JobLog(), (logging.getLogger().handlers, logging.getLogger().level, structlog.get_config())
    with log.listening():
        logging.getLogger("model").info("threshold %.2f", 0.5)
        logging.getLogger("model").debug("too much")
        logging.getLogger("pydicom.values").warning("quotes what it meets")
        structlog.get_logger().warning("few voxels", voxels=3, patient="Doe", study="1.2.3")
        try:
            raise ValueError("Doe^Jane")  # noqa: TRY301 - an error whose text may not be kept
        except ValueError:
            logging.getLogger("model").exception("no mask")
    assert (logging.getLogger().handlers, logging.getLogger().level, structlog.get_config()) == before
    first, second, third, fourth = log.lines()
    assert first.endswith("info     model: threshold 0.50")
    assert "few voxels voxels=3 patient=(withheld) study=1.2.3" in second
    assert third.endswith("error    model: no mask")
    assert "ValueError at test_job_log.py" in fourth
    assert "Doe" not in "".join(log.lines())


def test_a_log_is_bounded() -> None:
    """The first lines and the last, with how many are missing between; what is told at once is bounded too."""
    told: list[str] = []
    log = JobLog(told.append)
    for number in range(10_000):
        log.say("info", f"line {number} {'x' * 1000}\n\x07")
    lines = log.lines()
    assert len(lines) == 201
    assert "line 0 " in lines[0]
    assert lines[50] == "(9800 lines left out)"
    assert "line 9999 " in lines[-1]
    assert sum(map(len, lines)) <= 64 * 1024
    assert 200 <= len(told) < 1000
    assert all(line.isprintable() for line in lines)


def test_memory_and_processor_time_are_measured() -> None:
    """A hundred megabytes that were taken and given back are the peak; the processor's time is what was worked."""
    meter = Meter()
    before = Meter().read().peak_memory_mib
    taken = b"\1" * 100_000_000
    size = sum(taken[::4096])
    del taken
    used = meter.read("w" * 64)
    assert size > 0
    assert used.peak_memory_mib - before > 80
    assert used.cpu_seconds > 0
    assert (used.device, used.gpu_memory_mib, used.weights) == ("cpu", 0.0, "w" * 64)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(("pipeline", "last"), [("bright_voxels", "done"), ("unforeseen_error", "ValueError at")])
def test_a_job_answers_with_its_log(tmp_path: Path, pipeline: str, last: str) -> None:
    """Each step is a line; an error is one with its place, and without its text, which quotes the patient."""
    order = order_for(tmp_path, pipeline)
    told: list[str] = []
    answer = task.perform(order, lambda _share, _step: None, told.append)
    assert answer.log == tuple(told)
    assert "loading images" in answer.log[0]
    assert last in answer.log[-1]
    assert not any(part in "".join(answer.log) for part in PATIENT)
    assert answer.resources is not None
    assert answer.resources.peak_memory_mib > 10


@pytest.mark.usefixtures("plugin")
def test_a_pipeline_that_logs_its_patient_is_not_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the images' headers say about who somebody is, is withheld from the lines of the job."""
    order = order_for(tmp_path, "bright_voxels")
    pipeline, _ = task._warm("bright_voxels", "cpu")
    run = type(pipeline).run

    def talks(self: object, *arguments: object) -> object:
        logging.getLogger("model").warning("looks at %s (%s), born %s", *PATIENT)
        return run(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(pipeline), "run", talks)
    text = "\n".join(task.perform(order, lambda _share, _step: None).log)
    assert "looks at (withheld) ((withheld)), born (withheld)" in text


def test_each_attempt_is_kept(ledger: Ledger) -> None:
    """A failure, then success: two lines, the latest first, each with what it used and logged."""
    queued(ledger)
    first = Effort({"load": 1.0}, None, ("one",))
    assert ledger.jobs.fail(running(ledger), "no", NOW + 5, NOW + 5, effort=first)
    used = Resources(2.5, 300.0, "cpu", 0.0, "w", "host")
    second = Effort({"run": 2.0}, used, ("two", "three"))
    assert ledger.jobs.finish(running(ledger, at=NOW + 6), (), {"run": 2.0}, NOW + 9, NOW, effort=second)
    done, failed = ledger.runs.of_study(STUDY)
    assert (done.number, done.attempt, done.outcome, done.effort) == (2, 2, "done", second)
    assert (failed.outcome, failed.reason, failed.effort) == ("failed", "no", first)
    assert (done.started_at, done.ended_at) == (NOW + 6, NOW + 9)
    assert ledger.runs.of_job(done.job_id) == (done, failed)
    ledger.jobs.retry(done.job_id, NOW)
    assert ledger.runs.of_study("9.9") == ()


def test_the_log_of_a_dead_worker_is_what_was_heard(ledger: Ledger, tmp_path: Path) -> None:
    """A process that crashed gives no answer; what it said before is kept."""
    journey = new_journey(tmp_path, ledger)
    job = started(journey, tmp_path / "in")
    journey.hands.end(job, failure=WorkerDied("it crashed"), said=("0.1 s  step  loading",))
    journey.tick()
    (run,) = ledger.runs.of_job(job.id)
    assert (run.reason, run.effort.log, run.effort.resources) == ("it crashed", ("0.1 s  step  loading",), None)


def test_a_cancelled_attempt_is_kept(ledger: Ledger, tmp_path: Path) -> None:
    """Whoever cancels a job may want to know how far it was."""
    journey = new_journey(tmp_path, ledger)
    job = started(journey, tmp_path / "in")
    ledger.jobs.cancel(job.id, NOW)
    journey.tick()
    (run,) = ledger.runs.of_job(job.id)
    assert (run.outcome, run.effort.log) == ("stopped", (f"line of J{job.id}",))


def test_each_attempt_to_deliver_is_a_line(ledger: Ledger) -> None:
    """Waited, broke off, was held, was asked for again, arrived: when, how and why, latest first."""
    finished(ledger)
    deliveries = ledger.deliveries

    def start(at: float) -> list[int]:
        return [each.id for each in deliveries.start("pacs", "node1", at, at + 60, 1)]

    (number,) = start(NOW)
    delivery = deliveries.get(number)
    assert delivery is not None
    deliveries.wait(delivery, 0xA700, "0xA700: out of resources", NOW + 1, NOW + 1)
    start(NOW + 2)
    assert deliveries.take_back("node1", NOW + 3, starting=True) == 1
    start(NOW + 4)
    deliveries.hold(delivery, 0xC000, "0xC000: cannot understand", NOW + 5)
    deliveries.retry(number, NOW + 6, NOW + 600)
    start(NOW + 7)
    deliveries.accept(delivery, 0, "", NOW + 8)
    told = deliveries.attempts(STUDY)
    assert [(each.at - NOW, each.outcome) for each in told[number]] == [
        (8, "delivered"),
        (6, "retry asked"),
        (5, "delivery held"),
        (3, "delivery broke off"),
        (1, "delivery waits"),
    ]
    assert "0xC000: cannot understand" in told[number][2].reason
    assert deliveries.attempts("9.9") == {}
