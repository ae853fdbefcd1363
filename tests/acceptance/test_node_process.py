"""The installed node as a process: what a pipeline or a PACS does wrong stays where it is, and the rest goes on."""

import json
import os
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.demo.stored import SUCCESS
from dicom_node.ledger import Delivery
from dicom_node.lifecycle import DeliveryState, JobState
from tests.node_house import House, kinds, running_house, until
from tests.study_cases import PATIENT, write_study

# pynetdicom 3.0 leaves the socket of a peer that went away to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a running node; every test leaves it as it was."""
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


def _nothing_of_the_patient(house: House) -> None:
    """No log line, reason or event holds anything of the patient, or what the careless pipeline quotes."""
    shown = house.node.log.read_text(errors="replace")
    shown += "".join(job.reason for job in house.ledger.jobs.latest(100))
    shown += "".join(text for *_, text in house.ledger.events(limit=1000))
    for secret in (*PATIENT, *PATIENT[0].split("^"), "Doe", "1970-01-01"):
        assert secret not in shown


def test_a_study_comes_back_as_seg_and_sr(house: House, tmp_path: Path) -> None:
    """Pushed once: exactly one SEG and one SR at the PACS, the bytes that the node has stored; the log is silent."""
    study = write_study(tmp_path, "bright_voxels")
    house.push(tmp_path)
    house.delivered(study)
    assert kinds(house.pacs, study) == ["SEG", "SR"]
    job = house.job(study)
    for result in house.ledger.jobs.results(job.id):
        sent = dcmread(house.pacs._folder / f"{result.sop_instance_uid}.dcm")
        stored = dcmread(house.node.folder / "data" / "store" / result.path)
        assert sent == stored
        assert sent.PatientName == PATIENT[0]
    _nothing_of_the_patient(house)


def test_wrong_values_of_the_patient_are_not_quoted(house: House, tmp_path: Path) -> None:
    """Libraries warn about values that break their VR, and quote them: in the node, and in its worker processes."""
    wrong = {"PatientBirthDate": PATIENT[0], "PatientAge": PATIENT[1], "PatientName": PATIENT[0] * 20}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = write_study(tmp_path, "bright_voxels", **wrong)
    house.push(tmp_path)
    house.delivered(study)
    _nothing_of_the_patient(house)
    assert "Warning" not in house.node.log.read_text()


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("segmentation_fault", "Segmentation fault (signal 11)"),
        ("endless_loop", "stopped after 10 s, the time limit ([compute] time_limit_seconds)"),
        ("memory_hog", "used more than 1000 MiB, the memory limit ([compute] memory_limit_mib)"),
        ("unforeseen_error", "unforeseen_error failed: ValueError at task.py"),
    ],
)
def test_a_pipeline_that_fails_holds_its_job_and_nothing_else(
    house: House, tmp_path: Path, pipeline: str, reason: str
) -> None:
    """The job is HELD with what happened; a study pushed after it comes back; `status` shows it and exits with 1."""
    bad, good = write_study(tmp_path / "bad", pipeline), write_study(tmp_path / "good", "bright_voxels")
    house.push(tmp_path / "bad")
    house.job(bad, JobState.RUNNING, JobState.HELD)
    house.push(tmp_path / "good")
    house.delivered(good)
    held = house.job(bad, JobState.HELD)
    assert reason in held.reason
    assert house.ledger.deliveries.of_study(bad) == []
    shown = house.run("status", "--json")
    assert shown.exit_code == 1
    (told,) = (job for job in json.loads(shown.stdout)["jobs"] if job["id"] == f"J{held.id}")
    assert (told["state"], told["reason"]) == ("held", held.reason)
    _nothing_of_the_patient(house)


def test_nothing_found_is_a_report_and_no_segmentation(house: House, tmp_path: Path) -> None:
    """An empty answer is an SR that says so."""
    study = write_study(tmp_path, "finds_nothing")
    house.push(tmp_path)
    house.delivered(study, 1)
    assert kinds(house.pacs, study) == ["SR"]
    assert house.job(study).reason == "Nothing bright was found in these images."


def test_a_killed_worker_is_tried_again(house: House, tmp_path: Path) -> None:
    """Kill -9 of the workers in the middle of a job: the job runs again, and the PACS gets one of each."""
    study = write_study(tmp_path, "slow")
    house.push(tmp_path)
    job = house.job(study, JobState.RUNNING)
    until(lambda: (house.ledger.jobs.get(job.id) or job).progress > 0.2)
    for pid in house.node.workers():
        os.kill(pid, signal.SIGKILL)
    house.delivered(study)
    assert house.job(study).attempts == 2
    assert kinds(house.pacs, study) == ["SEG", "SR"]
    assert any(
        "killed (signal 9)" in text for _, kind, text in house.ledger.events(job=job.id) if kind == "job failed"
    )


def test_cancel_stops_a_running_job_and_retry_runs_it_again(house: House, tmp_path: Path) -> None:
    """A job that never returns ends when a person says so, long before its limit, and runs again when asked for."""
    study = write_study(tmp_path, "endless_loop")
    house.push(tmp_path)
    job = house.job(study, JobState.RUNNING)
    cancelled = house.run("cancel", f"J{job.id}")
    assert (cancelled.exit_code, cancelled.stdout) == (0, f"J{job.id} is cancelled\n")
    until(lambda: "job stopped" in house.node.log.read_text())
    again = house.run("cancel", f"j{job.id}")
    assert again.exit_code == 1
    assert "nothing was changed" in again.stderr
    assert house.run("retry", f"J{job.id}").exit_code == 0
    house.job(study, JobState.RUNNING)
    assert house.run("retry", f"J{job.id}").exit_code == 1
    assert house.run("cancel", f"J{job.id}").exit_code == 0
    good = write_study(tmp_path / "good", "bright_voxels")
    house.push(tmp_path / "good")
    house.delivered(good)
    assert house.job(study, JobState.CANCELLED).reason == "cancelled by a person"


def test_a_held_job_runs_again_when_asked_for(house: House, tmp_path: Path) -> None:
    """`retry` of a held job is a whole new set of attempts."""
    study = write_study(tmp_path, "unforeseen_error")
    house.push(tmp_path)
    job = house.job(study, JobState.HELD)
    assert house.run("retry", f"J{job.id}").exit_code == 0
    until(lambda: [kind for _, kind, _ in house.ledger.events(job=job.id)].count("job held") == 2)


def test_a_refused_sop_class_is_held_and_the_rest_delivered(house: House, tmp_path: Path) -> None:
    """A PACS without segmentations and pictures gets the SR; the SEG is HELD in words for its administrator."""
    study = write_study(tmp_path, "choosy")
    house.push(tmp_path)
    house.delivered(study, 1)
    assert kinds(house.choosy, study) == ["SR"]
    held = until(lambda: [d for d in house.ledger.deliveries.of_study(study) if d.state is DeliveryState.HELD])
    assert [d.kind for d in held] == ["SEG"]
    assert held[0].reason.startswith("CHOOSY does not accept Segmentation Storage")
    checked = house.run("check", "--json")
    assert checked.exit_code == 1  # AWAY is away, CHOOSY is choosy
    told = {each["name"]: each for each in json.loads(checked.stdout)["destinations"]}
    assert told["choosy"]["accepts"]["Segmentation Storage"] is False
    assert told["choosy"]["accepts"]["Comprehensive 3D SR Storage"] is True
    assert told["choosy"]["loses"][0].startswith("SEG: Segmentation Storage is not accepted, so such results")
    assert (told["pacs"]["loses"], told["pacs"]["takes_all"]) == ([], True)
    assert not told["away"]["answers"]
    assert "does not answer" in told["away"]["reason"]


def test_a_permanent_status_is_held_until_a_person_asks(house: House, tmp_path: Path) -> None:
    """0xC000: HELD with the status in words; `retry D..` sends the same bytes again."""
    house.moods.statuses = [0xC000, SUCCESS]
    study = write_study(tmp_path, "bright_voxels")
    house.push(tmp_path)
    house.delivered(study, 1)
    (held,) = until(lambda: [d for d in house.ledger.deliveries.of_study(study) if d.state is DeliveryState.HELD])
    assert held.reason == "PACS1 answered 0xC000: receiver cannot understand the data set"
    assert held.status == 0xC000
    assert house.run("retry", f"D{held.id}").stdout == f"D{held.id} is waiting\n"
    house.delivered(study)
    assert kinds(house.pacs, study) == ["SEG", "SR"]
    assert house.run("retry", f"D{held.id}").exit_code == 1


def test_a_temporary_status_is_retried_after_its_wait(house: House, tmp_path: Path) -> None:
    """0xA700 waits its time (an answered C-ECHO says nothing about room), then it is delivered."""
    house.moods.statuses = [0xA700, 0xA700]
    study = write_study(tmp_path, "bright_voxels")
    house.push(tmp_path)
    found = house.delivered(study)
    assert [each.attempts for each in found] == [2, 2]
    events = house.ledger.events(study=study)
    waited = next(at for at, kind, _ in events if kind == "delivered") - next(
        at for at, kind, _ in events if kind == "delivery waits"
    )
    assert waited > 2  # three seconds, less the jitter


def test_a_destination_that_is_away_holds_nobody_up_and_is_found_again(house: House, tmp_path: Path) -> None:
    """One destination down: the other has everything; once it answers a C-ECHO it gets its own before its wait."""
    study = write_study(tmp_path, "both")
    house.push(tmp_path)
    house.delivered(study)
    assert kinds(house.pacs, study) == ["SEG", "SR"]

    def patient() -> list[Delivery]:
        waiting = house.ledger.deliveries.in_state(DeliveryState.WAITING)
        return [each for each in waiting if each.destination == "away" and each.not_before > time.time() + 5]

    until(lambda: len(patient()) == 2)
    due = min(each.not_before for each in patient())
    with house.away:
        house.delivered(study, 4)
        assert kinds(house.away, study) == ["SEG", "SR"]
    assert time.time() < due
    assert "destination answers again" in house.node.log.read_text()
