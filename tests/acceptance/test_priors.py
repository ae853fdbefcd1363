"""A node process and Orthanc: a rule asks for a prior, the pipeline runs with it, and its result comes back."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import Result
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage
from typer.testing import CliRunner

from bench.peers import PLUGIN, NodeProcess, settings_text
from dicom_node.__main__ import app
from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import free_port, peer
from dicom_node.entities import Peer
from dicom_node.ledger import Ledger
from dicom_node.lifecycle import JobState, StudyState
from tests.fetching_cases import orthanc_with_web
from tests.node_house import until
from tests.peculiar_archive import PeculiarArchive
from tests.study_cases import PATIENT, write_study

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_RULES = """
[[rule]]
name = "compare"
pipeline = "compares_prior"
destinations = ["pacs"]
[rule.inputs.t1]
SeriesDescription = "T1"
[rule.priors]
archive = "archive"
at_most = 1
time_limit_seconds = 60
[rule.priors.inputs.prior]
Modality = "MR"
NumberOfSlices = { at_least = 2 }
"""
_ARCHIVES = {
    "C-GET": 'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {port}\nretrieve = "C-GET"',
    "C-MOVE": 'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {port}\nretrieve = "C-MOVE"',
    "WADO-RS": 'url = "http://127.0.0.1:{web}/dicom-web"',
}


@dataclass(frozen=True)
class _Hospital:
    """A node, and the PACS that is archive and destination."""

    node: NodeProcess
    orthanc: OrthancPacs
    ledger: Ledger

    def run(self, *arguments: str) -> Result:
        """Run a command with the node's settings."""
        return CliRunner().invoke(app, [*arguments, "--config", str(self.node.config)])


@pytest.fixture
def hospital(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    require_tool: Any,
    missing: Callable[[str], NoReturn],
) -> Iterator[_Hospital]:
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    monkeypatch.syspath_prepend(str(PLUGIN))  # commands that run in this process know the pipelines too
    port = free_port()
    with orthanc_with_web(tmp_path / "orthanc", Peer.parse("NODE", "127.0.0.1", port)) as orthanc:
        archive = _ARCHIVES[request.param].format(port=orthanc.port, web=orthanc.http_port)
        extra = f'[[archive]]\nname = "archive"\ntimeout_seconds = 10\n{archive}\n'
        extra += '[[source]]\nname = "archive"\nae_titles = ["ORTHANC"]\naddresses = ["127.0.0.1"]\n'
        completion = 'archive = "archive"\narchive_seconds = 30'
        settings = settings_text({"pacs": peer(orthanc)}, port, extra, completion=completion)
        node = NodeProcess(tmp_path / "node", settings, _RULES, port)
        with node, node.ledger() as ledger:
            yield _Hospital(node, orthanc, ledger)


@pytest.mark.parametrize("hospital", list(_ARCHIVES), indirect=True)
def test_a_job_runs_with_a_prior_of_the_pacs(hospital: _Hospital, tmp_path: Path) -> None:
    """Prior and missing images come from the PACS, the report says what was compared, no patient is in the log."""
    prior = write_study(tmp_path / "prior", slices=7, StudyDate="20250301", BodyPartExamined="HEAD")
    write_study(tmp_path / "other", slices=9, StudyDate="20250901", BodyPartExamined="HEAD", PatientID="PID-1")
    study = write_study(tmp_path / "now", slices=4, BodyPartExamined="HEAD")
    for name in ("prior", "other", "now"):
        push(find_study(tmp_path / name), peer(hospital.orthanc), "SCANNER", lambda _: None)
    push(find_study(tmp_path / "now")[:3], hospital.node.peer, "SCANNER", lambda _: None)
    (job,) = until(lambda: [each for each in hospital.ledger.jobs.latest(9) if each.state is JobState.DONE])
    assert (job.study_instance_uid, job.reason) == (study, "Compared with a prior of 7 slices.")
    assert len(job.inputs["t1"]) == 4  # the one that the scanner did not send came from the PACS
    (revision,) = hospital.ledger.studies.revisions(study)
    assert "asked archive what is missing: 1 of 1 instances came" in revision.reason
    stored = hospital.orthanc.stored
    (sr,) = until(lambda: [each for each in stored(study) if each.sop_class_uid == Comprehensive3DSRStorage])
    report = hospital.orthanc.fetch(sr.sop_instance_uid)
    assert b"Compared with a prior of 7 slices." in report
    assert prior.encode() not in report
    (kept,) = until(lambda: [r for r in hospital.ledger.studies.revisions(prior) if r.state is StudyState.PRIOR])
    assert f"only fetched as prior of {study}" in kept.reason
    assert len(stored(prior)) == 7
    shown = hospital.node.log.read_text() + "".join(text for *_, text in hospital.ledger.events(limit=1000))
    assert not any(secret in shown for secret in (*PATIENT, "PID-1"))


@pytest.mark.parametrize("hospital", ["C-GET"], indirect=True)
def test_status_and_explain_tell_of_priors(hospital: _Hospital, tmp_path: Path) -> None:
    """Nothing to compare with: the job runs, and both commands say what was asked and what came of it."""
    study = write_study(tmp_path / "now", slices=4, BodyPartExamined="HEAD")
    push(find_study(tmp_path / "now"), hospital.node.peer, "SCANNER", lambda _: None)
    (job,) = until(lambda: [each for each in hospital.ledger.jobs.latest(9) if each.state is JobState.DONE])
    assert job.reason == "There was no prior."
    told = json.loads(hospital.run("status", study, "--json").stdout)["fetches"]
    assert {(each["what"], each["for"], each["state"]) for each in told} == {
        ("missing", "revision 1", "done"),
        ("priors", f"J{job.id}", "done"),
    }
    assert any("no earlier study of this patient" in each["reason"] for each in told)
    explained = hospital.run("explain", study).stdout
    assert "Priors: at most 1 earlier study from 'archive' with the same BodyPartExamined and Modality" in explained


def test_a_node_that_is_killed_while_it_fetches_goes_on(tmp_path: Path) -> None:
    """Kill -9 in the middle of a C-GET: what came is safe, the rest is asked for at the next start, the job runs."""
    prior = write_study(tmp_path / "prior", slices=5, StudyDate="20250301", BodyPartExamined="HEAD")
    images = [dcmread(path) for path in sorted((tmp_path / "prior").iterdir())]
    archive = PeculiarArchive(images, 2, silent=True)
    archive.silence_seconds = 30
    known = archive.start()
    port = free_port()
    extra = f'[[archive]]\nname = "archive"\nae_title = "PECULIAR"\nhost = "127.0.0.1"\nport = {known.port}\n'
    with SmallPacs(tmp_path / "pacs", "PACS1") as pacs:
        settings = settings_text({"pacs": peer(pacs)}, port, extra)
        node = NodeProcess(tmp_path / "node", settings, _RULES, port)
        uids = [image.SOPInstanceUID for image in images]
        study = write_study(tmp_path / "now", slices=4, BodyPartExamined="HEAD")
        try:
            node.start()
            push(find_study(tmp_path / "now"), node.peer, "SCANNER", lambda _: None)
            with node.ledger() as ledger:
                until(lambda: len(ledger.fetches.known(uids)) == 2)
                node.kill()
                archive.after = 99
                node.start()
                (job,) = until(lambda: [each for each in ledger.jobs.latest(9) if each.state is JobState.DONE])
                fetch = ledger.fetches.of_job(job.id)
            assert (job.study_instance_uid, job.reason) == (study, "Compared with a prior of 5 slices.")
            assert fetch is not None
            assert (fetch.attempts, "3 of 3 instances came" in fetch.reason, prior in fetch.reason) == (2, True, True)
        finally:
            node.stop()
            archive.stop()
