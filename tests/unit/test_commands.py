"""The command line without a running node: what each command prints, and the number it ends with."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import structlog
from click.testing import Result
from pydicom import dcmread
from typer.testing import CliRunner

from bench.peers import PLUGIN
from dicom_node import __version__
from dicom_node.__main__ import app
from dicom_node.entities import SeriesFacts, StudyFacts
from dicom_node.ledger import Effort, Ledger, Resources, open_ledger
from dicom_node.lifecycle import DeliveryState, JobState
from dicom_node.routing import facts_to_bytes
from tests.ledger_cases import NOW, STUDY, arrive, complete, finished, image, made, queued, running
from tests.study_cases import PATIENT, write_study

_SETTINGS = """
[node]
data = "data"
[[source]]
name = "scanner"
ae_titles = ["SCANNER"]
addresses = ["127.0.0.1"]
[[destination]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = 1
timeout_seconds = 2
"""
_SHARE = """
[[destination]]
name = "pacs"
protocol = "folder"
path = "share"
"""
_WEB = """
[[destination]]
name = "pacs"
protocol = "dicomweb"
url = "http://127.0.0.1:1/studies"
timeout_seconds = 2
[destination.auth]
user = "node"
password_file = "password"
"""
_RULES = """
[[rule]]
name = "heads"
pipeline = "bright_voxels"
destinations = ["pacs"]
[rule.inputs.t1]
Modality = "MR"
SeriesDescription = { matches = "^t1" }
"""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the pipelines of `bench/plugin`; put logging back afterwards."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, root.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give the settings of a node that never ran, with one rule and one destination that is away."""
    (tmp_path / "rules.toml").write_text(_RULES)
    path = tmp_path / "node.toml"
    path.write_text(_SETTINGS)
    return path


@pytest.fixture
def ledger(config: Path) -> Iterator[Ledger]:
    """Give the ledger of that node."""
    (config.parent / "data").mkdir()
    opened = open_ledger(f"sqlite:///{config.parent / 'data' / 'ledger.sqlite'}")
    yield opened
    opened.close()


def _run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    # an exception that reaches the top is a traceback on the administrator's screen
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_version_and_help() -> None:
    """`--version` is the version; no command at all is the list of commands."""
    assert _run("--version").stdout == f"{__version__}\n"
    listed = _run("--help").stdout
    commands = "serve demo check explain process send status retry cancel rules schema"
    for command in commands.split():
        assert command in listed


@pytest.mark.parametrize("command", ["serve", "check", "status", "explain 1.2", "retry J1", "send /tmp --to pacs"])
def test_a_missing_settings_file_is_said(tmp_path: Path, command: str) -> None:
    """Every command names the file that it cannot read, and ends with 1."""
    result = _run(*command.split(), "--config", tmp_path / "nowhere.toml")
    assert result.exit_code == 1
    assert "nowhere.toml: cannot be read" in result.stderr


def test_check_lists_every_fault_with_its_line(config: Path) -> None:
    """All faults of a file at once, each as file:line."""
    config.write_text(_SETTINGS.replace("port = 1", "port = 'x'").replace('data = "data"', "dta = 1"))
    result = _run("check", "--config", config)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0].rsplit("/", 1)[-1] for line in lines] == ["node.toml:3", "node.toml:12"]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (_RULES.replace("bright_voxels", "unheard_of"), "rules.toml:4: "),
        (_RULES.replace('["pacs"]', '["nowhere"]'), "rules.toml:5: "),
        (_RULES.replace('"MR"', "{ matches = '(' }"), "rules.toml:7: "),
        (_RULES + "[rule.settings]\nfactor = -1", "rules.toml:10: "),
        ("[[rule]", "rules.toml:1: "),
    ],
    ids=["pipeline", "destination", "pattern", "setting", "syntax"],
)
def test_check_of_faulty_rules(config: Path, rules: str, words: str) -> None:
    """Unknown pipelines, destinations and settings, bad patterns, bad TOML: file and line."""
    (config.parent / "rules.toml").write_text(rules)
    result = _run("check", "--config", config)
    assert result.exit_code == 1
    assert words in result.stderr


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not text"])
@pytest.mark.parametrize("command", ["check", "explain 1.2", "serve"])
def test_rules_that_cannot_be_read(config: Path, content: bytes | None, command: str) -> None:
    """A missing or garbled rules.toml is said, not thrown."""
    rules = config.parent / "rules.toml"
    rules.unlink()
    if content is not None:
        rules.write_bytes(content)
    result = _run(*command.split(), "--config", config)
    assert result.exit_code == 1
    assert "rules.toml: cannot be read" in result.stderr


def test_check_without_faults_says_who_is_away(config: Path) -> None:
    """The files are good (offline: 0), the destination does not answer (1), as words and as JSON."""
    offline = _run("check", "--config", config, "--offline", "--json")
    assert (offline.exit_code, json.loads(offline.stdout)) == (0, {"rules": 1, "destinations": []})
    result = _run("check", "--config", config, "--json")
    assert result.exit_code == 1
    (told,) = json.loads(result.stdout)["destinations"]
    assert (told["name"], told["peer"], told["answers"], told["accepts"]) == ("pacs", "PACS@127.0.0.1:1", False, {})
    words = _run("check", "--config", config)
    assert words.exit_code == 1
    assert "no faults, 1 rule(s)" in words.stdout


def test_explain_a_folder(config: Path, tmp_path: Path) -> None:
    """Every condition with the value seen, the value wanted and the answer; 0 if a rule fires, 1 if none does."""
    write_study(tmp_path / "head", "T1 head", slices=2)
    write_study(tmp_path / "knee", "PD knee", slices=2)
    fires = _run("explain", tmp_path / "head", "--config", config)
    assert fires.exit_code == 0
    assert "T1 head" in fires.stdout
    not_ours = _run("explain", tmp_path / "knee", "--config", config, "--json")
    assert not_ours.exit_code == 1
    (verdict,) = json.loads(not_ours.stdout)["verdicts"]
    assert verdict["fires"] is False
    assert "PD knee" in json.dumps(verdict)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert _run("explain", empty, "--config", config).exit_code == 1


def test_explain_a_study_that_never_came(config: Path, ledger: Ledger) -> None:
    """It says so, and ends with 1; so it does where no node ever ran."""
    result = _run("explain", "1.2.3", "--config", config)
    assert (result.exit_code, "nor a study that this node has received" in result.stderr) == (1, True)


def test_commands_that_look_make_no_ledger(config: Path) -> None:
    """Where no node ran there is nothing to see, and nothing is made."""
    for command in ("status", "retry J1", "cancel D1", "explain 1.2.3"):
        result = _run(*command.split(), "--config", config)
        assert result.exit_code == 1
        assert "has `dicom-node serve` run" in result.stderr
    assert not (config.parent / "data").exists()


def test_status_shows_what_is_held(config: Path, ledger: Ledger) -> None:
    """0 while all is well; 1 as soon as anything is held, with the reason."""
    finished(ledger)
    well = _run("status", "--config", config, "--json")
    assert well.exit_code == 0
    told = json.loads(well.stdout)
    assert [each["state"] for each in told["studies"]] == ["routed"]
    assert [each["state"] for each in told["jobs"]] == ["done"]
    assert [each["state"] for each in told["deliveries"]] == ["waiting", "waiting"]
    seg, _ = ledger.deliveries.start("pacs", "node1", NOW, NOW + 60, 9)
    ledger.deliveries.hold(seg, 0xC000, "PACS answered 0xC000", NOW)
    ledger.arrivals.note_refused_sender("STRANGER", "NODE", "10.0.0.9", "no [[source]] has it", NOW)
    held = _run("status", "--config", config)
    assert held.exit_code == 1
    assert "STRANGER" in held.stdout
    assert "0xC000" in held.stdout


def test_status_says_how_far_a_study_is(config: Path, ledger: Ledger) -> None:
    """Waiting, then delivered when every result is stored, confirmed when every one is proven, held if one is."""

    def results() -> list[str]:
        told = json.loads(_run("status", "--config", config, "--json").stdout)
        return [each["results"] for each in told["studies"] if each["study"] == STUDY]

    queued(ledger, study="4.5.6")
    (other,) = ledger.jobs.claim("node1", NOW, NOW + 60, 1)
    ledger.jobs.fail(other, "no", NOW, None)
    queued(ledger)
    assert results() == ["being made"]
    ledger.jobs.finish(ledger.jobs.claim("node1", NOW, NOW + 60, 1)[0], made(), {}, NOW, NOW + 600)
    assert results() == ["waiting"]
    seg, sr = ledger.deliveries.start("pacs", "node1", NOW, NOW + 60, 9)
    ledger.deliveries.accept(seg, 0, "", NOW, NOW)
    assert results() == ["waiting"]
    ledger.deliveries.accept(sr, 0, "", NOW, NOW)
    assert results() == ["delivered"]
    ledger.proofs.confirm([seg], "C-FIND", NOW)
    assert results() == ["delivered"]
    ledger.proofs.confirm([sr], "C-FIND", NOW)
    assert results() == ["confirmed"]
    table = _run("status", "--config", config).stdout
    assert "confirmed" in table
    assert "held" in table


def test_status_of_a_study_has_each_attempt(config: Path, ledger: Ledger) -> None:
    """Of its jobs with their log and what they used, and of its deliveries."""
    queued(ledger)
    effort = Effort({"run": 1.0}, Resources(2.5, 300.0), ("0.10 s  step  loading images",))
    ledger.jobs.finish(running(ledger), made(), {"run": 1.0}, NOW + 3, NOW + 600, effort=effort)
    (one, _) = ledger.deliveries.start("pacs", "node1", NOW + 4, NOW + 60, 2)
    ledger.deliveries.wait(one, 0xA700, "0xA700: out of resources", NOW + 5, NOW + 9)
    told = json.loads(_run("status", STUDY, "--config", config, "--json").stdout)
    (run,) = told["runs"]
    assert (run["job"], run["outcome"], run["cpu seconds"], run["peak MiB"]) == ("J1", "done", 2.5, 300.0)
    assert run["log"] == ["0.10 s  step  loading images"]
    assert [(each["id"], each["outcome"]) for each in told["delivery_attempts"]] == [(f"D{one.id}", "delivery waits")]
    assert "2.5" in _run("status", STUDY, "--config", config).stdout


def test_status_lists_who_was_refused(config: Path, ledger: Ledger) -> None:
    """Each with its reason, how often, and when last; the latest first."""
    for second in range(3):
        ledger.arrivals.note_refused_sender("STRANGER", "NODE", "10.0.0.9", "in no [[source]]", NOW + second)
    ledger.arrivals.note_refused_sender("CT1", "OTHER", "10.0.0.7", "not one of this node's", NOW + 60)
    told = json.loads(_run("status", "--config", config, "--json").stdout)["refused_senders"]
    assert [(each["calling"], each["called"], each["address"], each["count"]) for each in told] == [
        ("CT1", "OTHER", "10.0.0.7", 1),
        ("STRANGER", "NODE", "10.0.0.9", 3),
    ]
    assert told[1]["reason"] == "in no [[source]]"
    assert datetime.fromisoformat(told[1]["last"]).timestamp() == NOW + 2


def test_status_of_one_study_has_its_history(config: Path, ledger: Ledger) -> None:
    """Only that study, with all that happened, oldest first."""
    finished(ledger)
    queued(ledger, study="1.2.4")
    told = json.loads(_run("status", STUDY, "--config", config, "--json").stdout)
    assert {each["study"] for each in told["studies"] + told["jobs"]} == {STUDY}
    assert [each["kind"] for each in told["events"]] == ["complete", "routed", "job started", "job done"]


def test_status_of_an_unknown_study(config: Path, ledger: Ledger) -> None:
    """A slip of the pen in a UID is not an empty success."""
    result = _run("status", "9.9.9", "--config", config)
    assert result.exit_code == 1
    assert "9.9.9" in result.stderr


def test_retry_and_cancel_write_into_the_ledger(config: Path, ledger: Ledger) -> None:
    """What cannot happen is said, with 1; a word that is no id is 2."""
    queued(ledger)
    job = running(ledger)
    ledger.jobs.fail(job, "no", NOW, None)
    retried = _run("retry", f"J{job.id}", "--config", config)
    assert (retried.exit_code, retried.stdout) == (0, f"J{job.id} is queued\n")
    again = _run("retry", f"J{job.id}", "--config", config)
    assert (again.exit_code, again.stderr) == (1, f"J{job.id} is queued: nothing was changed\n")
    cancelled = _run("cancel", f"j{job.id}", "--config", config)
    assert (cancelled.exit_code, cancelled.stdout) == (0, f"j{job.id} is cancelled\n")
    assert ledger.jobs.latest(1)[0].state is JobState.CANCELLED
    unknown = _run("cancel", "D99", "--config", config)
    assert (unknown.exit_code, unknown.stderr) == (1, "D99 is unknown: nothing was changed\n")
    for word in ("17", "X1", "J", "J1.5"):
        assert _run("retry", word, "--config", config).exit_code == 2


def test_retry_and_cancel_of_deliveries(config: Path, ledger: Ledger) -> None:
    """The same for a delivery, with its days before it."""
    finished(ledger)
    (seg, _) = ledger.deliveries.in_state(DeliveryState.WAITING)
    assert _run("cancel", f"D{seg.id}", "--config", config).exit_code == 0
    assert _run("retry", f"D{seg.id}", "--config", config).exit_code == 0
    again = ledger.deliveries.get(seg.id)
    assert again is not None
    assert again.state is DeliveryState.WAITING
    assert again.give_up_at - again.not_before == pytest.approx(14 * 86400)


def test_process_makes_files(tmp_path: Path) -> None:
    """No network: SEG, SR and a picture; measurements as JSON."""
    write_study(tmp_path / "in")
    out = tmp_path / "out"
    result = _run(
        "process", tmp_path / "in", "--pipeline", "bright_voxels", "--out", out, "--setting", "factor=2", "--json"
    )
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert {path.name for path in out.iterdir()} == {"seg.dcm", "sr.dcm", "preview.png"}
    assert told["files"] == [str(out / name) for name in ("seg.dcm", "sr.dcm", "preview.png")]
    assert told["measurements"][0]["unit"] == "ml"
    assert told["measurements"][0]["value"] > 0
    assert dcmread(out / "seg.dcm").PatientName == PATIENT[0]
    assert "Volume" in _run("process", tmp_path / "in", "--pipeline", "bright_voxels", "--out", out).stdout


def test_process_that_finds_nothing(tmp_path: Path) -> None:
    """An SR and no SEG; every file that is listed exists."""
    write_study(tmp_path / "in")
    out = tmp_path / "out"
    result = _run("process", tmp_path / "in", "--pipeline", "finds_nothing", "--out", out, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["remarks"] == ["Nothing bright was found in these images."]
    assert all(Path(path).is_file() for path in told["files"])
    assert not (out / "seg.dcm").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--pipeline", "unheard_of"), 1, "no pipeline 'unheard_of' is installed"),
        (("--pipeline", "bright_voxels", "--setting", "factor=much"), 1, "setting 'factor' must be a number"),
        (("--pipeline", "bright_voxels", "--setting", "factor=-1"), 1, "'factor' must be from 0.0"),
        (("--pipeline", "bright_voxels", "--setting", "colour=red"), 1, "unknown setting 'colour'"),
        (("--pipeline", "bright_voxels", "--setting", "factor"), 2, "is not name=value"),
        (("--pipeline", "bright_voxels", "--study", "1.2"), 1, "no study 1.2 in"),
        (("--pipeline", "bright_voxels", "--series", "t1=1.2"), 1, "bright_voxels cannot run on this folder"),
        (("--pipeline", "unforeseen_error"), 1, "unforeseen_error failed: ValueError"),
    ],
)
def test_process_that_cannot(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """Each fault in words, no file made, and nothing of the patient on the screen."""
    write_study(tmp_path / "in")
    result = _run("process", tmp_path / "in", "--out", tmp_path / "out", *arguments)
    assert result.exit_code == code
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()
    assert "Doe" not in result.output
    assert PATIENT[0] not in result.output


def test_send_to_nobody(config: Path, tmp_path: Path) -> None:
    """A destination that is away: every object with its reason, 1; an unknown one, an empty folder: 1."""
    write_study(tmp_path / "in", slices=2)
    result = _run("send", tmp_path / "in", "--to", "pacs", "--config", config, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert [each["verdict"] for each in told] == ["temporary", "temporary"]
    assert _run("send", tmp_path / "in", "--to", "archive", "--config", config).exit_code == 1
    (tmp_path / "empty").mkdir()
    assert _run("send", tmp_path / "empty", "--to", "pacs", "--config", config).exit_code == 1


def test_send_one_file(config: Path, tmp_path: Path) -> None:
    """A file may be given instead of a folder."""
    write_study(tmp_path / "in", slices=2)
    result = _run("send", tmp_path / "in" / "0000.dcm", "--to", "pacs", "--config", config, "--json")
    assert len(json.loads(result.stdout)) == 1


def test_check_and_send_with_a_folder(config: Path, tmp_path: Path) -> None:
    """A folder as destination: it answers while it is there, takes every result, and gets whole files."""
    share = tmp_path / "share"
    config.write_text(_SETTINGS.split("[[destination]]", maxsplit=1)[0] + _SHARE)
    away = json.loads(_run("check", "--config", config, "--json").stdout)["destinations"][0]
    assert (away["answers"], "is the share mounted" in away["reason"]) == (False, True)
    share.mkdir()
    result = _run("check", "--config", config, "--json")
    (told,) = json.loads(result.stdout)["destinations"]
    assert (result.exit_code, told["peer"], told["answers"], set(told["accepts"].values())) == (
        0,
        str(share),
        True,
        {True},
    )
    study = write_study(tmp_path / "in", slices=2)
    assert _run("send", tmp_path / "in", "--to", "pacs", "--config", config).exit_code == 0
    sent = sorted(path.read_bytes() for path in (share / study).rglob("*.dcm"))
    assert sent == sorted(path.read_bytes() for path in (tmp_path / "in").rglob("*.dcm"))


def test_check_does_not_know_what_a_web_server_takes(config: Path) -> None:
    """A DICOMweb server that is away is told as any other; its secret is on no screen."""
    (config.parent / "password").write_text("geheim")
    config.write_text(_SETTINGS.split("[[destination]]", maxsplit=1)[0] + _WEB)
    result = _run("check", "--config", config)
    assert result.exit_code == 1
    assert "http://127.0.0.1:1/studies" in result.stdout
    assert "firewall" in result.stdout
    assert "geheim" not in result.output


def test_a_data_folder_of_any_name(tmp_path: Path) -> None:
    """Spaces, #, % and ? in a path are no part of the database's URL."""
    folder = tmp_path / "a b#c%20d?e=f"
    folder.mkdir()
    (folder / "node.toml").write_text(_SETTINGS)
    (folder / "rules.toml").write_text(_RULES)
    result = _run("status", "--config", folder / "node.toml")
    assert result.exit_code == 1
    assert f"no ledger at {folder / 'data' / 'ledger.sqlite'}:" in result.stderr


def test_rules_have_a_history(config: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Imported, listed, compared, exported and rolled back; a faulty file changes nothing."""
    where = ("--config", config)
    other = tmp_path / "other.toml"
    other.write_text(_RULES.replace("heads", "skulls"))
    assert _run("rules", "import", config.parent / "rules.toml", "--author", "ada", *where).exit_code == 0
    assert _run("rules", "import", other, "--author", "bob", "--reason", "skulls now", *where).exit_code == 0
    listed = json.loads(_run("rules", "list", "--json", *where).stdout)
    assert [(each["version"], each["author"], each["reason"]) for each in listed] == [
        ("2", "bob", "skulls now"),
        ("1", "ada", "imported from rules.toml"),
    ]
    assert '+name = "skulls"' in _run("rules", "diff", "1", *where).stdout
    assert _run("rules", "rollback", "1", *where).stdout == "version 3 is in force: back to version 1\n"
    assert _run("rules", "show", "3", *where).stdout == _RULES
    exported = tmp_path / "exported.toml"
    assert _run("rules", "export", exported, "--version", "2", *where).exit_code == 0
    assert exported.read_text() == other.read_text()
    other.write_text("[[rule]]\n")
    refused = _run("rules", "import", other, *where)
    assert (refused.exit_code, "rules:1: " in refused.stderr) == (1, True)
    assert _run("rules", "show", "9", *where).exit_code == 1
    assert len(ledger.rules.all()) == 3


def test_rules_check_names_line_and_column(config: Path) -> None:
    """For an editor as for a person."""
    assert _run("rules", "check", "--config", config).exit_code == 0
    (config.parent / "rules.toml").write_text(_RULES.replace('["pacs"]', '["nowhere"]'))
    result = _run("rules", "check", "--config", config)
    assert (result.exit_code, "rules.toml:5:17: " in result.stderr) == (1, True)
    (fault,) = json.loads(_run("rules", "check", "--config", config, "--json").stdout)
    assert (fault["line"], fault["column"]) == (5, 17)


def test_explain_shows_the_rules_in_force(config: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Not what somebody is writing into the file just now."""
    assert _run("rules", "import", config.parent / "rules.toml", "--config", config).exit_code == 0
    (config.parent / "rules.toml").write_text("half a ru")
    write_study(tmp_path / "head", "T1 head", slices=2)
    result = _run("explain", tmp_path / "head", "--config", config)
    assert (result.exit_code, "(version 1)" in result.stdout) == (0, True)


def test_rules_are_tried_on_what_was_received(config: Path, ledger: Ledger, tmp_path: Path) -> None:
    """The difference with the condition that decided, for people and for scripts; nothing changes."""
    facts = {"Rows": (1,), "Modality": ("MR",), "SeriesDescription": ("t1 sag",)}
    written = facts_to_bytes(StudyFacts(STUDY, facts, (SeriesFacts(f"{STUDY}.1", facts),)))
    arrive(ledger, image(1), at=time.time())
    ledger.studies.record_verdicts(complete(ledger), "[]", ("digest", 1), (), NOW, written)
    where = ("--config", config)
    assert _run("rules", "import", config.parent / "rules.toml", *where).exit_code == 0
    edited = tmp_path / "edited.toml"
    edited.write_text(_RULES.replace("^t1", "^t2"))
    tried = json.loads(_run("rules", "try", edited, "--last", "2d", "--json", *where).stdout)
    assert (tried["studies"], tried["differing"]) == (1, 1)
    (difference,) = tried["differences"]
    assert (difference["study"], difference["change"]) == (STUDY, "no longer run")
    shown = _run("rules", "try", edited, *where).stdout
    assert "1 studies of the last 30d: 1 would be treated otherwise" in shown
    assert "no: SeriesDescription is 't1 sag', wanted a text that matches '^t2'" in shown
    assert _run("rules", "try", edited, "--last", "soon", *where).exit_code == 2
    assert len(ledger.rules.all()) == 1


def test_the_schema_knows_this_node(config: Path) -> None:
    """Names of pipelines and destinations are completed."""
    printed = json.loads(_run("schema", "rules", "--config", config).stdout)
    properties = printed["properties"]["rule"]["items"]["properties"]
    assert "bright_voxels" in properties["pipeline"]["enum"]
    assert properties["destinations"]["items"]["anyOf"][0] == {"enum": ["pacs"]}
