"""The installed node as a process: what goes wrong stays where it is, and everything else goes on.

One node and its PACS serve the tests that leave them as they were; those that kill it have their own.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import psutil
import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage, generate_uid
from sqlalchemy import select
from typer.testing import CliRunner

from bench import kills
from bench.peers import NodeProcess, settings_text
from dicom_node.__main__ import app
from dicom_node.demo import loopback
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import SUCCESS, free_port, peer
from dicom_node.ledger import Delivery, Job, Ledger, Revision
from dicom_node.ledger.schema import instances
from dicom_node.lifecycle import DeliveryState, JobState, StudyState
from tests.study_cases import PATIENT, save, write_study

_PATIENCE_SECONDS: Final = 90.0
_PIPELINES: Final = ("segmentation_fault", "endless_loop", "memory_hog", "unforeseen_error", "finds_nothing")


def _rule(name: str, pipeline: str = "bright_voxels", to: str = '"pacs"', extra: str = "") -> str:
    """Return a rule for series whose description is the rule's name."""
    return f"""
[[rule]]
name = "{name}"
pipeline = "{pipeline}"
destinations = [{to}]
{extra}
[rule.inputs.t1]
SeriesDescription = "{name}"
NumberOfSlices = {{ at_least = 2 }}
"""


_RULES: Final = "".join(
    (
        _rule("bright_voxels"),
        *(_rule(name, name) for name in _PIPELINES),
        _rule("slow", extra="settings = { seconds = 3.0 }"),
        _rule("ignores", extra='late_images = "ignore"'),
        _rule("choosy", to='"choosy"'),
        _rule("both", to='"away", "pacs"'),
    )
)


@dataclass
class Moods:
    """What the PACS answers next to each C-STORE; success once the list is empty."""

    statuses: list[int] = field(default_factory=list)

    def answer(self, _uid: str) -> int:
        """Return the next status."""
        return self.statuses.pop(0) if self.statuses else SUCCESS


@dataclass(frozen=True)
class House:
    """A node, its PACS, one that takes no segmentations, and one that is away."""

    node: NodeProcess
    ledger: Ledger
    pacs: SmallPacs
    choosy: SmallPacs
    away: SmallPacs
    moods: Moods

    def push(self, folder: Path) -> None:
        """Send a folder as the scanner does."""
        push(find_study(folder), self.node.peer, "SCANNER", lambda _: None)

    def job(self, study: str, *states: JobState) -> Job:
        """Wait until the newest job of a study is in one of some states, and return it."""
        wanted = states or (JobState.DONE,)
        return _until(lambda: next((j for j in self.ledger.jobs.latest(1, study=study) if j.state in wanted), None))

    def delivered(self, study: str, count: int = 2) -> list[Delivery]:
        """Wait until so many objects of a study are delivered, and return all its deliveries."""

        def enough() -> list[Delivery] | None:
            found = self.ledger.deliveries.of_study(study)
            done = [each for each in found if each.state is DeliveryState.DELIVERED]
            return found if len(done) >= count else None

        return _until(enough)

    def routed(self, study: str, number: int = 1) -> Revision:
        """Wait until a revision of a study is routed, and return it."""

        def found() -> Revision | None:
            revisions = [r for r in self.ledger.studies.revisions(study) if r.number == number]
            return next((r for r in revisions if r.state is StudyState.ROUTED), None)

        return _until(found)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command with the node's settings; return its exit code and what it printed."""
        result = CliRunner().invoke(app, [*arguments, "--config", str(self.node.config)])
        return result.exit_code, result.output


def _until(found: Callable[[], Any], patience: float = _PATIENCE_SECONDS) -> Any:
    """Return what is found as soon as it is truthy; fail after a while."""
    until = time.monotonic() + patience
    while not (value := found()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)
    return value


def _kinds(pacs: SmallPacs, study: str) -> list[str]:
    names = {SegmentationStorage: "SEG", Comprehensive3DSRStorage: "SR"}
    return sorted(names[one.sop_class_uid] for one in pacs.stored(study))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a running node whose rules are chosen by Series Description."""
    folder = tmp_path_factory.mktemp("house")
    moods = Moods()
    pacs = SmallPacs(folder / "pacs", "PACS1", answer=moods.answer)
    choosy = SmallPacs(folder / "choosy", "CHOOSY", refused=frozenset({SegmentationStorage}))
    away = SmallPacs(folder / "away", "AWAY")
    port = free_port()
    peers = {"pacs": peer(pacs), "choosy": peer(choosy), "away": peer(away)}
    tables = {
        "compute": "workers = 2\nattempts = 2\ntime_limit_seconds = 8\nmemory_limit_mib = 1500",
        "completion": "quiet_seconds = 3\nrelease_grace_seconds = 0.5",
        "delivery": "first_wait_seconds = 3\nlongest_wait_seconds = 600\necho_seconds = 0.5",
        "log": "level = 'debug'",
    }
    node = NodeProcess(folder / "node", _settings(peers, port, **tables), _RULES, port)
    with pacs, choosy, node, node.ledger() as ledger:
        yield House(node, ledger, pacs, choosy, away, moods)


def _settings(peers: Mapping[str, Any], port: int, log: str = "", **tables: str) -> str:
    """Return settings_text with its quick defaults replaced by ours."""
    text = settings_text(peers, port, extra=f"[log]\n{log}" if log else "")
    for name, lines in tables.items():
        head, _, rest = text.partition(f"[{name}]\n")
        text = f"{head}[{name}]\n{lines}\n" + rest[rest.index("[") :]
    return text


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
    assert _kinds(house.pacs, study) == ["SEG", "SR"]
    job = house.job(study)
    for result in house.ledger.jobs.results(job.id):
        sent = dcmread(house.pacs._folder / f"{result.sop_instance_uid}.dcm")
        stored = dcmread(house.node.folder / "data" / "store" / result.path)
        assert sent == stored
        assert sent.PatientName == PATIENT[0]
    _nothing_of_the_patient(house)


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("segmentation_fault", "Segmentation fault (signal 11)"),
        ("endless_loop", "stopped after 8 s, the time limit ([compute] time_limit_seconds)"),
        ("memory_hog", "used more than 1500 MiB, the memory limit ([compute] memory_limit_mib)"),
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
    code, printed = house.run("status", "--json")
    assert code == 1
    (told,) = (job for job in json.loads(printed)["jobs"] if job["id"] == f"J{held.id}")
    assert (told["state"], told["reason"]) == ("held", held.reason)
    _nothing_of_the_patient(house)


def test_nothing_found_is_a_report_and_no_segmentation(house: House, tmp_path: Path) -> None:
    """An empty answer is an SR that says so."""
    study = write_study(tmp_path, "finds_nothing")
    house.push(tmp_path)
    house.delivered(study, 1)
    assert _kinds(house.pacs, study) == ["SR"]
    assert house.job(study).reason == "Nothing bright was found in these images."


def test_a_killed_worker_is_tried_again(house: House, tmp_path: Path) -> None:
    """Kill -9 of the workers in the middle of a job: the job runs again, and the PACS gets one of each."""
    study = write_study(tmp_path, "slow")
    house.push(tmp_path)
    job = house.job(study, JobState.RUNNING)
    _until(lambda: (house.ledger.jobs.get(job.id) or job).progress > 0.2)
    for pid in house.node.workers():
        os.kill(pid, signal.SIGKILL)
    house.delivered(study)
    assert house.job(study).attempts == 2
    assert _kinds(house.pacs, study) == ["SEG", "SR"]
    assert any(
        "killed (signal 9)" in text for _, kind, text in house.ledger.events(job=job.id) if kind == "job failed"
    )


def test_cancel_stops_a_running_job_and_retry_runs_it_again(house: House, tmp_path: Path) -> None:
    """A job that never returns ends when a person says so, long before its limit, and runs again when asked for."""
    study = write_study(tmp_path, "endless_loop")
    house.push(tmp_path)
    job = house.job(study, JobState.RUNNING)
    assert house.run("cancel", f"J{job.id}") == (0, f"J{job.id} is cancelled\n")
    _until(lambda: "job stopped" in house.node.log.read_text())
    code, printed = house.run("cancel", f"j{job.id}")
    assert code == 1
    assert "nothing was changed" in printed
    assert house.run("retry", f"J{job.id}")[0] == 0
    house.job(study, JobState.RUNNING)
    assert house.run("retry", f"J{job.id}")[0] == 1
    assert house.run("cancel", f"J{job.id}")[0] == 0
    good = write_study(tmp_path / "good", "bright_voxels")
    house.push(tmp_path / "good")
    house.delivered(good)
    assert house.job(study, JobState.CANCELLED).reason == "cancelled by a person"


def test_a_held_job_runs_again_when_asked_for(house: House, tmp_path: Path) -> None:
    """`retry` of a held job is a whole new set of attempts."""
    study = write_study(tmp_path, "unforeseen_error")
    house.push(tmp_path)
    job = house.job(study, JobState.HELD)
    assert house.run("retry", f"J{job.id}")[0] == 0
    _until(lambda: [kind for _, kind, _ in house.ledger.events(job=job.id)].count("job held") == 2)


def test_a_refused_sop_class_is_held_and_the_rest_delivered(house: House, tmp_path: Path) -> None:
    """A PACS without segmentations gets the SR; the SEG is HELD in words that its administrator understands."""
    study = write_study(tmp_path, "choosy")
    house.push(tmp_path)
    house.delivered(study, 1)
    assert _kinds(house.choosy, study) == ["SR"]
    held = _until(lambda: [d for d in house.ledger.deliveries.of_study(study) if d.state is DeliveryState.HELD])
    assert [(d.kind, d.reason) for d in held] == [("SEG", "CHOOSY does not accept Segmentation Storage")]
    code, printed = house.run("check", "--json")
    assert code == 1  # AWAY is away, CHOOSY is choosy
    told = {each["name"]: each for each in json.loads(printed)["destinations"]}
    assert told["choosy"]["accepts"] == {"Segmentation Storage": False, "Comprehensive 3D SR Storage": True}
    assert told["pacs"]["accepts"] == {"Segmentation Storage": True, "Comprehensive 3D SR Storage": True}
    assert not told["away"]["answers"]
    assert "does not answer" in told["away"]["reason"]


def test_a_permanent_status_is_held_until_a_person_asks(house: House, tmp_path: Path) -> None:
    """0xC000: HELD with the status in words; `retry D..` sends the same bytes again."""
    house.moods.statuses = [0xC000, SUCCESS]
    study = write_study(tmp_path, "bright_voxels")
    house.push(tmp_path)
    house.delivered(study, 1)
    (held,) = _until(lambda: [d for d in house.ledger.deliveries.of_study(study) if d.state is DeliveryState.HELD])
    assert held.reason == "PACS1 answered 0xC000: receiver cannot understand the data set"
    assert held.status == 0xC000
    assert house.run("retry", f"D{held.id}") == (0, f"D{held.id} is waiting\n")
    house.delivered(study)
    assert _kinds(house.pacs, study) == ["SEG", "SR"]
    assert house.run("retry", f"D{held.id}")[0] == 1


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
    assert _kinds(house.pacs, study) == ["SEG", "SR"]

    def patient() -> list[Delivery]:
        waiting = house.ledger.deliveries.in_state(DeliveryState.WAITING)
        return [each for each in waiting if each.destination == "away" and each.not_before > time.time() + 5]

    _until(lambda: len(patient()) == 2)
    due = min(each.not_before for each in patient())
    with house.away:
        house.delivered(study, 4)
        assert _kinds(house.away, study) == ["SEG", "SR"]
    assert time.time() < due
    assert "destination answers again" in house.node.log.read_text()


def _stored(house: House, sop_instance_uid: str) -> bool:
    with house.ledger.engine.connect() as connection:
        found = connection.execute(select(instances.c.own).where(instances.c.sop_instance_uid == sop_instance_uid))
        return found.scalar() is True


def test_results_that_come_back_are_kept_and_start_nothing(house: House, tmp_path: Path) -> None:
    """The loop guard: a PACS sends our SEG and SR back, one of them renamed; no revision, no job; all is stored."""
    study = write_study(tmp_path / "images", "bright_voxels")
    house.push(tmp_path / "images")
    house.delivered(study)
    seg, sr = (dcmread(house.pacs._folder / f"{r.sop_instance_uid}.dcm") for r in house.pacs.stored(study))
    seg.Manufacturer = "Renamed by a PACS"
    back = tmp_path / "back"
    back.mkdir()
    for number, dataset in enumerate((seg, sr)):
        save(dataset, back / f"{number}.dcm")
    house.push(back)
    house.push(back)
    assert _until(lambda: all(_stored(house, uid) for uid in (seg.SOPInstanceUID, sr.SOPInstanceUID)))
    later = write_study(tmp_path / "later", "bright_voxels")
    house.push(tmp_path / "later")
    house.delivered(later)  # by then a revision of the first study would be complete too
    assert [r.number for r in house.ledger.studies.revisions(study)] == [1]
    assert len(house.ledger.jobs.latest(10, study=study)) == 1


def test_results_of_another_node_start_nothing(house: House, tmp_path: Path) -> None:
    """A SEG and an SR of this software, under UIDs that this ledger never saw, open no revision."""
    study = write_study(tmp_path / "images", "bright_voxels")
    house.push(tmp_path / "images")
    house.delivered(study)
    foreign, uids = generate_uid(), []
    (tmp_path / "foreign").mkdir()
    for stored in house.pacs.stored(study):
        dataset = dcmread(house.pacs._folder / f"{stored.sop_instance_uid}.dcm")
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = foreign, generate_uid()
        uids.append(str(dataset.SOPInstanceUID))
        save(dataset, tmp_path / "foreign" / f"{len(uids)}.dcm")
    house.push(tmp_path / "foreign")
    assert all(_stored(house, uid) for uid in uids)
    assert house.ledger.studies.revisions(foreign) == []


def test_the_same_study_again_is_no_new_work(house: House, tmp_path: Path) -> None:
    """A scanner that repeats a study: 0x0000, no revision, no job, nothing sent."""
    study = write_study(tmp_path / "images", "bright_voxels")
    house.push(tmp_path / "images")
    house.delivered(study)
    house.push(tmp_path / "images")
    later = write_study(tmp_path / "later", "bright_voxels")
    house.push(tmp_path / "later")
    house.delivered(later)
    assert len(house.ledger.studies.revisions(study)) == len(house.ledger.jobs.latest(5, study=study)) == 1
    uids = [one.sop_instance_uid for one in house.pacs.stored(study)]
    assert sorted(uid for uid in house.pacs.arrivals() if uid in uids) == sorted(uids)


@pytest.mark.parametrize(
    ("rule", "late", "jobs", "said"),
    [
        ("bright_voxels", "bright_voxels", 2, ""),
        ("bright_voxels", "localizer", 1, "the late images are not among its inputs: revision 1's job stands"),
        ("ignores", "ignores", 1, "ran on an earlier revision, and late_images = 'ignore'"),
    ],
)
def test_late_images(house: House, tmp_path: Path, rule: str, late: str, jobs: int, said: str) -> None:
    """A late image opens revision 2; the rule says whether it means new results, and `verdicts` says why not."""
    study = write_study(tmp_path / "first", rule)
    house.push(tmp_path / "first")
    house.delivered(study)
    numbers = () if late == "localizer" else (6,)
    write_study(tmp_path / "late", late, slices=1, study=study, numbers=numbers)
    if late != "localizer":
        _same_series(tmp_path / "first", tmp_path / "late")
    house.push(tmp_path / "late")
    revision = house.routed(study, 2)
    assert len(house.ledger.jobs.latest(5, study=study)) == jobs
    told = [each for each in json.loads(revision.verdicts or "[]") if each["rule"] == rule]
    assert told[0].get("late_images_reason", "") == said
    house.delivered(study, 2 * jobs)
    assert _kinds(house.pacs, study) == sorted(["SEG", "SR"] * jobs)


def _same_series(first: Path, late: Path) -> None:
    series = dcmread(next(iter(sorted(first.iterdir())))).SeriesInstanceUID
    for path in late.iterdir():
        image = dcmread(path)
        image.SeriesInstanceUID = series
        image.save_as(path)


def test_a_late_image_supersedes_a_job_that_runs(house: House, tmp_path: Path) -> None:
    """The job on fewer images is stopped and cancelled with that reason; only the new one's results are sent."""
    study = write_study(tmp_path / "first", "endless_loop")
    house.push(tmp_path / "first")
    job = house.job(study, JobState.RUNNING)
    write_study(tmp_path / "late", "bright_voxels", study=study)
    write_study(tmp_path / "more", "endless_loop", study=study, numbers=(6,))
    _same_series(tmp_path / "first", tmp_path / "more")
    house.push(tmp_path / "late")
    house.push(tmp_path / "more")
    house.delivered(study)

    def superseded() -> bool:
        old = house.ledger.jobs.get(job.id)
        return old is not None and old.reason == "superseded by revision 2" and old.state is JobState.CANCELLED

    assert _until(superseded)
    for each in house.ledger.jobs.latest(5, study=study):
        house.run("cancel", f"J{each.id}")


def test_status_and_explain_of_one_study(house: House, tmp_path: Path) -> None:
    """`status UID` is its history; `explain UID` every rule and condition; both as JSON, and as tables."""
    study = write_study(tmp_path, "bright_voxels")
    house.push(tmp_path)
    house.delivered(study)
    told = json.loads(house.run("status", study, "--json")[1])
    assert [each["study"] for each in told["studies"]] == [study]
    assert {each["state"] for each in told["deliveries"]} == {"delivered"}
    kinds = [each["kind"] for each in told["events"]]
    assert kinds == ["complete", "routed", "job started", "job done", "delivered", "delivered"]
    code, printed = house.run("explain", study)
    assert code == 0
    assert "SeriesDescription" in printed
    explained = json.loads(house.run("explain", study, "--json")[1])
    by_rule = {each["rule"]: each["fires"] for each in explained["verdicts"]}
    assert by_rule.pop("bright_voxels") is True
    assert not any(by_rule.values())
    assert json.loads(house.run("explain", str(tmp_path), "--json")[1]) == explained
    assert study in house.run("status", study)[1]


def test_a_study_that_no_rule_wants(house: House, tmp_path: Path) -> None:
    """It is kept and routed to nothing; `explain` exits with 1 and says why."""
    study = write_study(tmp_path, "something else")
    house.push(tmp_path)
    house.routed(study)
    assert house.ledger.jobs.latest(5, study=study) == []
    code, printed = house.run("explain", study)
    assert code == 1
    assert "something else" in printed


def test_an_edit_of_the_rules_is_taken_and_a_bad_one_is_not(house: House, tmp_path: Path) -> None:
    """Faults leave the former rules in force and are logged with file and line; a good edit counts within seconds."""
    rules = house.node.folder / "rules.toml"
    try:
        rules.write_text(_RULES + "\n[[rule]]\nnmae = 'typo'\n")
        _until(lambda: "rules not taken" in house.node.log.read_text(), 10)
        lines = [line for line in house.node.log.read_text().splitlines() if "rules not taken" in line]
        assert "rules.toml:" in lines[-1]
        code, printed = house.run("check", "--offline")
        assert code == 1
        assert "rules.toml:" in printed
        study = write_study(tmp_path / "old", "bright_voxels")
        house.push(tmp_path / "old")
        house.delivered(study)
        started = time.monotonic()
        rules.write_text(_RULES + _rule("brand new"))
        _until(lambda: "rules taken" in house.node.log.read_text(), 10)
        assert time.monotonic() - started < 5  # it looks every second
        study = write_study(tmp_path / "new", "brand new")
        house.push(tmp_path / "new")
        house.delivered(study)
    finally:
        rules.write_text(_RULES)


def test_send_and_its_exit_codes(house: House, tmp_path: Path) -> None:
    """`send FOLDER` delivers files as they are, results too; a refused object is 1."""
    study = write_study(tmp_path / "images", "bright_voxels")
    house.push(tmp_path / "images")
    house.delivered(study)
    results = tmp_path / "results"
    results.mkdir()
    for stored in house.pacs.stored(study):
        (results / f"{stored.sop_instance_uid}.dcm").write_bytes(house.pacs.fetch(stored.sop_instance_uid))
    assert house.run("send", str(results), "--to", "pacs") == (0, "2 of 2 objects stored\n")
    code, printed = house.run("send", str(results), "--to", "choosy", "--json")
    assert code == 1
    told = {each["sop_instance_uid"]: each for each in json.loads(printed)}
    assert sorted(each["verdict"] for each in told.values()) == ["accepted", "permanent"]
    code, printed = house.run("send", str(tmp_path / "images"), "--to", "nowhere")
    assert code == 1
    assert "no destination 'nowhere'" in printed


def test_a_second_node_on_the_same_data_refuses(house: House) -> None:
    """Two nodes with one data folder would undo each other's work: the second says so and ends with 1."""
    text = house.node.config.read_text().replace(f"port = {house.node.port}", f"port = {free_port()}")
    other = house.node.folder / "other.toml"
    other.write_text(text)
    serve = [sys.executable, "-m", "dicom_node", "serve", "--config", str(other)]
    environment = {**os.environ, "PYTHONPATH": str(Path(kills.__file__).parent / "plugin")}
    ended = subprocess.run(serve, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert ended.returncode == 1
    assert "another dicom-node works with" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_kill_9_at_every_stage(tmp_path: Path) -> None:
    """The node killed while it receives, runs and sends: after each start the study goes on, to one SEG and one SR."""
    moods = Moods()
    pacs = SmallPacs(tmp_path / "pacs", "PACS1", answer=moods.answer)
    images = tmp_path / "images"
    study = write_study(images, "slow")
    port = free_port()
    node = NodeProcess(tmp_path / "node", _settings({"pacs": peer(pacs)}, port), _RULES_OF_ONE_PACS, port)
    node.start()
    push(find_study(images)[:3], node.peer, "SCANNER", lambda _: None)
    _kill_all(node)
    node.start()
    push(find_study(images), node.peer, "SCANNER", lambda _: None)
    with node.ledger() as ledger:
        _until(lambda: ledger.jobs.latest(1, state=JobState.RUNNING))
        _kill_all(node)
        node.start()
        (job,) = _until(lambda: ledger.jobs.latest(1, state=JobState.DONE))
        assert job.attempts == 1  # a kill costs no attempt
        _until(lambda: all(d.attempts > 0 for d in ledger.deliveries.of_study(study)))
        _kill_all(node)
        with pacs:
            node.start()
            _until(lambda: all(d.state is DeliveryState.DELIVERED for d in ledger.deliveries.of_study(study)))
            assert _kinds(pacs, study) == ["SEG", "SR"]
            assert [r.number for r in ledger.studies.revisions(study)] == [1]
            assert len(ledger.studies.received(study, 1) or ()) == 6
        node.stop()


_RULES_OF_ONE_PACS: Final = _rule("slow", extra="settings = { seconds = 1.0 }")


def _kill_all(node: NodeProcess) -> None:
    """Kill the node; its workers must not outlive it for long."""
    workers = node.workers()
    node.kill()
    _until(lambda: not any(psutil.pid_exists(pid) for pid in workers), 30)


def test_kills_at_random_moments(
    tmp_path: Path, shared_data: Path, require_tool: Any, missing: Callable[[str], NoReturn]
) -> None:
    """A short run of `bench.kills`: nothing lost, nothing twice, everything settled."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    series = shared_data / "t1-patient-positions"
    counts = kills.run(tmp_path, series, 3, 6, random.Random(7), lambda _: None)
    assert {name: counts[name] for name in ("lost", "duplicated at the PACS", "not settled")} == {
        "lost": 0,
        "duplicated at the PACS": 0,
        "not settled": 0,
    }
