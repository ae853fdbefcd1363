"""The installed node as a process: which studies become work, which do not, and how a person asks why."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select

from bench.peers import PLUGIN
from dicom_node.demo.stored import free_port
from dicom_node.ledger.schema import instances
from dicom_node.lifecycle import JobState
from dicom_node.routing import told_verdicts
from tests.node_house import RULES, House, kinds, rule, running_house, until
from tests.study_cases import save, write_study

# pynetdicom 3.0 leaves the socket of a peer that went away to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a running node; every test leaves it as it was."""
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


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
    assert until(lambda: all(_stored(house, uid) for uid in (seg.SOPInstanceUID, sr.SOPInstanceUID)))
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
    until(lambda: all(_stored(house, uid) for uid in uids))
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
    ("named", "late", "jobs", "said"),
    [
        ("bright_voxels", "bright_voxels", 2, ""),
        ("bright_voxels", "localizer", 1, "the late images are not among its inputs: revision 1's job stands"),
        ("ignores", "ignores", 1, "ran on an earlier revision, and late_images = 'ignore'"),
    ],
)
def test_late_images(house: House, tmp_path: Path, named: str, late: str, jobs: int, said: str) -> None:
    """A late image opens revision 2; the rule says whether it means new results, and `verdicts` says why not."""
    study = write_study(tmp_path / "first", named)
    house.push(tmp_path / "first")
    house.delivered(study)
    numbers = () if late == "localizer" else (6,)
    write_study(tmp_path / "late", late, slices=1, study=study, numbers=numbers)
    if late != "localizer":
        _same_series(tmp_path / "first", tmp_path / "late")
    house.push(tmp_path / "late")
    revision = house.routed(study, 2)
    assert len(house.ledger.jobs.latest(5, study=study)) == jobs
    told = [each for each in told_verdicts(revision.verdicts or "[]") if each["rule"] == named]
    assert told[0].get("late_images_reason", "") == said
    house.delivered(study, 2 * jobs)
    assert kinds(house.pacs, study) == sorted(["SEG", "SR"] * jobs)


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

    assert until(superseded)
    for each in house.ledger.jobs.latest(5, study=study):
        house.run("cancel", f"J{each.id}")


def test_status_and_explain_of_one_study(house: House, tmp_path: Path) -> None:
    """`status UID` is its history; `explain UID` every rule and condition; both as JSON, and as tables."""
    study = write_study(tmp_path, "bright_voxels")
    house.push(tmp_path)
    house.delivered(study)
    told = json.loads(house.run("status", study, "--json").stdout)
    assert [each["study"] for each in told["studies"]] == [study]
    assert {each["state"] for each in told["deliveries"]} == {"delivered"}
    kinds = [each["kind"] for each in told["events"]]
    assert kinds == ["complete", "routed", "job started", "job done", "delivered", "delivered"]
    words = house.run("explain", study)
    assert words.exit_code == 0
    assert "SeriesDescription" in words.stdout
    explained = json.loads(house.run("explain", study, "--json").stdout)
    by_rule = {each["rule"]: each["fires"] for each in explained["verdicts"]}
    assert by_rule.pop("bright_voxels") is True
    assert not any(by_rule.values())
    assert json.loads(house.run("explain", str(tmp_path), "--json").stdout)["study"] == study
    assert "SEG delivered to pacs" in house.run("status", study).stdout


def test_a_study_that_no_rule_wants(house: House, tmp_path: Path) -> None:
    """It is kept and routed to nothing; `explain` exits with 1 and says why."""
    study = write_study(tmp_path, "something else")
    house.push(tmp_path)
    house.routed(study)
    assert house.ledger.jobs.latest(5, study=study) == []
    words = house.run("explain", study)
    assert words.exit_code == 1
    assert "something else" in words.stdout


def test_an_edit_of_the_rules_is_taken_and_a_bad_one_is_not(house: House, tmp_path: Path) -> None:
    """Faults leave the former rules in force and are logged with file and line; a good edit counts within seconds."""
    rules = house.node.folder / "rules.toml"
    try:
        rules.write_text(RULES + "\n[[rule]]\nnmae = 'typo'\n")
        until(lambda: "rules not taken" in house.node.log.read_text(), 10)
        lines = [line for line in house.node.log.read_text().splitlines() if "rules not taken" in line]
        assert "rules.toml:" in lines[-1]
        checked = house.run("check", "--offline")
        assert checked.exit_code == 1
        assert "rules.toml:" in checked.stderr
        study = write_study(tmp_path / "old", "bright_voxels")
        house.push(tmp_path / "old")
        house.delivered(study)
        started = time.monotonic()
        rules.write_text(RULES + rule("brand new"))
        until(lambda: "rules taken" in house.node.log.read_text(), 10)
        assert time.monotonic() - started < 5  # it looks every second
        study = write_study(tmp_path / "new", "brand new")
        house.push(tmp_path / "new")
        house.delivered(study)
    finally:
        rules.write_text(RULES)


def test_saved_rules_are_taken_and_rolled_back(house: House, tmp_path: Path) -> None:
    """A running node takes a saved version, and has it in its file too; rolling back is one command."""
    rules, saved = house.node.folder / "rules.toml", tmp_path / "saved.toml"
    saved.write_text(RULES + rule("saved"))

    def versions() -> list[dict[str, str]]:
        return list(json.loads(house.run("rules", "list", "--json").stdout))

    def in_force() -> str:
        return house.run("rules", "show", versions()[0]["version"]).stdout

    until(lambda: in_force() == RULES)  # an edit of another test may be on its way
    before = versions()[0]["version"]
    imported = house.run("rules", "import", str(saved), "--reason", "one more", "--author", "ada")
    assert imported.exit_code == 0
    until(lambda: rules.read_text() == saved.read_text())
    assert [versions()[0][key] for key in ("author", "reason")] == ["ada", "one more"]
    study = write_study(tmp_path / "new", "saved")
    house.push(tmp_path / "new")
    house.delivered(study)
    assert house.run("rules", "rollback", before).exit_code == 0
    until(lambda: rules.read_text() == RULES)


def test_send_and_its_exit_codes(house: House, tmp_path: Path) -> None:
    """`send FOLDER` delivers files as they are, results too; a refused object is 1."""
    study = write_study(tmp_path / "images", "bright_voxels")
    house.push(tmp_path / "images")
    house.delivered(study)
    results = tmp_path / "results"
    results.mkdir()
    for stored in house.pacs.stored(study):
        (results / f"{stored.sop_instance_uid}.dcm").write_bytes(house.pacs.fetch(stored.sop_instance_uid))
    sent = house.run("send", str(results), "--to", "pacs")
    assert (sent.exit_code, sent.stdout.strip()) == (0, "2 of 2 objects stored")
    sent = house.run("send", str(results), "--to", "choosy", "--json")
    assert sent.exit_code == 1
    told = {each["sop_instance_uid"]: each for each in json.loads(sent.stdout)}
    assert sorted(each["verdict"] for each in told.values()) == ["accepted", "permanent"]
    sent = house.run("send", str(tmp_path / "images"), "--to", "nowhere")
    assert sent.exit_code == 1
    assert "no destination 'nowhere'" in sent.stderr


def test_a_second_node_on_the_same_data_refuses(house: House) -> None:
    """Two nodes with one data folder would undo each other's work: the second says so and ends with 1."""
    text = house.node.config.read_text().replace(f"port = {house.node.port}", f"port = {free_port()}")
    other = house.node.folder / "other.toml"
    other.write_text(text)
    serve = [sys.executable, "-m", "dicom_node", "serve", "--config", str(other)]
    environment = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    ended = subprocess.run(serve, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert ended.returncode == 1
    assert "another dicom-node works with" in ended.stderr
    assert "Traceback" not in ended.stderr
