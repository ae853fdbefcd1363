"""`dicom-node fetch`: studies pulled now, from Orthanc, into the ledger of a node."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node.__main__ import app
from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.stored import peer
from dicom_node.ledger import open_ledger
from tests.fetching_cases import NODE, fill
from tests.study_cases import write_study

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def orthanc(tmp_path: Path, require_tool: Any, missing: Callable[[str], NoReturn]) -> Iterator[OrthancPacs]:
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    with OrthancPacs(tmp_path / "orthanc") as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, orthanc: OrthancPacs) -> Path:
    (tmp_path / "rules.toml").write_text("")
    path = tmp_path / "node.toml"
    path.write_text(
        f'[node]\nae_title = "{NODE}"\ndata = "data"\nrules = "rules.toml"\n[[archive]]\nname = "pacs"\n'
        f'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.port}\ntimeout_seconds = 5\n'
    )
    (tmp_path / "data").mkdir()
    open_ledger(f"sqlite:///{tmp_path / 'data' / 'ledger.sqlite'}").close()
    return path


def _run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["fetch", *arguments, "--config", str(config)])


def test_a_study_is_fetched_by_accession_number_and_patient(
    config: Path, orthanc: OrthancPacs, tmp_path: Path
) -> None:
    """Exit code 0, everything that came is told; the study is being received like any other. Again: nothing to do."""
    study = write_study(tmp_path / "a", slices=3, AccessionNumber="ACC1")
    fill(peer(orthanc), tmp_path / "a")
    done = _run(config, "--from", "pacs", "--accession", "ACC1", "--json")
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)
    assert (told["study"], told["wanted"], told["came"], told["well"]) == (study, 3, 3, True)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'data' / 'ledger.sqlite'}", create=False)
    (revision,) = ledger.studies.revisions(study)
    assert (str(revision.state), revision.instances) == ("receiving", 3)
    ledger.close()
    again = _run(config, "--from", "pacs", "--study", study)
    assert (again.exit_code, again.stdout.strip()) == (0, f"{study}: the node had everything")


def test_what_is_not_there_is_a_no(config: Path, orthanc: OrthancPacs) -> None:
    """No such study, no such archive: exit code 1 and one sentence; a wildcard or no question: wrong usage."""
    nothing = _run(config, "--from", "pacs", "--patient", "nobody")
    assert (nothing.exit_code, nothing.stderr.strip()) == (1, "pacs has no such study")
    stranger = _run(config, "--from", "away", "--patient", "nobody")
    assert (stranger.exit_code, "known: pacs" in stranger.stderr) == (1, True)
    orthanc.stop()
    down = _run(config, "--from", "pacs", "--patient", "somebody")
    assert (down.exit_code, "check that it runs" in down.stderr, "somebody" in down.stderr) == (1, True, False)
    for wrong in (["--patient", "*"], [], ["--patient", "a", "--study", "1.2"], ["--accession", ""]):
        assert _run(config, "--from", "pacs", *wrong).exit_code == 2
