"""The documents tell the truth: what they show exists, parses and runs."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import typer
from pydicom import dcmread
from pydicom.uid import UID

import dicom_node
from dicom_node.__main__ import app
from dicom_node.delivering import Delivering
from dicom_node.fetching import Fetching
from dicom_node.flow import Flow
from dicom_node.lifecycle import DeliveryState, FetchState, JobState, StudyState
from dicom_node.routing import parse_rules
from dicom_node.settings import Settings, load_settings, parse_settings
from dicom_node.settings.destinations import PROTOCOLS
from tests.results_cases import source_series
from tests.test_architecture import FLOORS

_ROOT: Final = Path(__file__).resolve().parents[2]
_DOCUMENTS: Final = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
_COMMANDS: Final[Any] = typer.main.get_command(app)
_ROLES: Final = {"brain_extraction": ("t1",)}
#: Names with the look of a repository path that belong to a running node, a demo, another package or another place.
_ELSEWHERE: Final = frozenset(
    {
        *("var/node", "store/instances", "store/results", "store/quarantine", "store/incoming", "store/journal"),
        *("quarantine/", "incoming/", "demo-out/", "viewers-out/", ".cache/"),
        *(".venv/bin", ".venv/bin/pip", ".venv/bin/dicom-node"),
        *("data/", "models/"),
    }
)


def _text(name: str) -> str:
    return (_ROOT / name).read_text(encoding="utf-8")


def _fenced(name: str, language: str) -> list[str]:
    """Return the code blocks of a language, their indentation taken off."""
    found = re.finditer(rf"^( *)```{language}\n(.*?)^ *```$", _text(name), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{block[1]}", "", block[2], flags=re.MULTILINE) for block in found]


def _quoted(name: str) -> list[str]:
    """Return what stands in backticks in running text."""
    prose = re.sub(r"^ *```.*?^ *```$", "", _text(name), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose)]


def _shown(name: str, program: str) -> list[str]:
    lines = [line for block in _fenced(name, "sh") for line in block.splitlines()]
    return [text for text in (*_quoted(name), *lines) if text.split()[:1] == [program]]


def _command_lines() -> Iterator[tuple[str, str]]:
    for name in _DOCUMENTS:
        for line in dict.fromkeys(_shown(name, "dicom-node")):
            yield name, line


@pytest.mark.parametrize(("document", "line"), [pair for pair in _command_lines() if len(pair[1].split()) > 1])
def test_a_shown_command_exists_with_its_options(document: str, line: str) -> None:
    """Whoever copies a command from a document is understood: name, options and number of arguments."""
    _, name, *words = shlex.split(re.sub(r"[\[\]]", "", line))
    assert name in _COMMANDS.commands, document
    command = _COMMANDS.commands[name]
    if words and hasattr(command, "commands"):  # a group, such as `rules`
        assert words[0] in command.commands, f"{document}: {line}"
        command = command.commands[words.pop(0)]
    params = command.params
    options = {opt: param for param in params for opt in param.opts if opt.startswith("-")}
    arguments = []
    waiting = iter(words)
    for word in waiting:
        if not word.startswith("-"):
            arguments.append(word)
            continue
        assert word in options, f"{document}: {line}"
        if not options[word].is_flag:
            assert next(waiting, None) is not None, f"{document}: {word} needs a value"
    assert len(arguments) <= sum(param.param_type_name == "argument" for param in params), f"{document}: {line}"


def test_every_command_is_documented() -> None:
    """README's table and the changelog name every command that there is."""
    commands = set(_COMMANDS.commands)
    table = set(re.findall(r"^\| `dicom-node (\w+)", _text("README.md"), re.MULTILINE))
    assert table == commands
    listed = re.search(r"\*\*Commands\*\*: (.*?)\.$", _text("CHANGELOG.md"), re.MULTILINE)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == commands


def test_every_shown_option_table_is_complete() -> None:
    """README's table shows each command's own options; --config and --help are explained once for all."""
    groups = {name: getattr(command, "commands", {}) for name, command in _COMMANDS.commands.items()}
    single = {name: command for name, command in _COMMANDS.commands.items() if not groups[name]}
    inner = {f"{group} {name}": command for group, found in groups.items() for name, command in found.items()}
    for name, command in (single | inner).items():
        rows = [row for row in _text("README.md").splitlines() if row.startswith("| `dicom-node")]
        shown = [text for row in rows for text in re.findall(r"`[^`]*`", row) if f"dicom-node {name}" in text]
        assert shown, name
        own = {opt for param in command.params for opt in param.opts if opt.startswith("--")} - {"--config", "--help"}
        assert own <= set(re.findall(r"--\w+", " ".join(shown))), name


def test_settings_shown_in_the_readme_are_right() -> None:
    """Each excerpt of node.toml loads as it is, and all of them together."""
    blocks = [block for block in _fenced("README.md", "toml") if "[[rule]]" not in block]
    assert len(blocks) >= 3
    for block in blocks:
        parse_settings(block, "README.md")
    settings = parse_settings("\n".join(blocks), "README.md")
    assert settings.reception.address == "0.0.0.0"  # noqa: S104 - nothing is bound here
    assert [source.name for source in settings.sources] == ["MR 1"]
    assert [destination.name for destination in settings.destinations] == ["pacs"]


def test_rules_shown_in_the_readme_are_right() -> None:
    """Each shown rule loads with the destinations and roles that are shipped."""
    blocks = [block for block in _fenced("README.md", "toml") if "[[rule]]" in block]
    destinations = [each.name for each in load_settings(_ROOT / "config" / "node.toml").destinations]
    assert blocks
    for block in blocks:
        assert parse_rules(block, "README.md", _ROLES, destinations).rules


def test_settings_named_in_the_readme_exist() -> None:
    """A name with an underscore in backticks is a setting, or a name that the node prints itself."""
    sections = [field.annotation for field in Settings.model_fields.values()]
    models = [*(getattr(section, "__args__", (section,))[0] for section in sections), *PROTOCOLS.values()]
    known = {key for model in models for key in getattr(model, "model_fields", {})} | set(_ROLES)
    named = {text.split(" = ")[0] for text in _quoted("README.md")}
    words = {text for text in named if re.fullmatch(r"[a-z]+(_[a-z]+)+", text)}
    assert len(words) >= 3
    assert words <= known
    tables = {text.strip("[]") for text in _quoted("README.md") if re.fullmatch(r"\[+[a-z]+\]+", text)}
    assert tables <= {*Settings.model_fields, "source", "destination", "archive"}


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_every_file_that_is_named_exists(document: str) -> None:
    """Links and paths in backticks lead somewhere."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", _text(document)) if "://" not in link]
    named = [
        text
        for text in _quoted(document)
        if re.fullmatch(r"[\w./-]+/[\w./-]*|[\w.-]+\.(md|py)", text) and text not in _ELSEWHERE
    ]
    places = (_ROOT, _ROOT / "dicom_node")
    missing = [name for name in (*links, *named) if not any((place / name).exists() for place in places)]
    assert missing == []


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_every_make_target_that_is_named_exists(document: str) -> None:
    """`make X` is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), re.MULTILINE))
    wanted = {line.split()[1] for line in _shown(document, "make") if len(line.split()) > 1}
    assert wanted <= targets


def test_every_module_has_its_line_in_the_floors_table() -> None:
    """ARCHITECTURE.md shows the house as it stands: each room once, on the floor that the imports are tested for."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", _text("ARCHITECTURE.md"), re.MULTILINE)
    package = Path(dicom_node.__file__).parent
    rooms = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    assert len(rows) == len(rooms)
    assert {room: int(floor) for floor, room in rows} == {room: FLOORS[room] for room in rooms}


def test_the_journey_names_stages_and_states_that_exist() -> None:
    """A stage that is called otherwise, or a state that no row can have, is a line to correct."""
    text = _text("ARCHITECTURE.md")
    journey = text[text.index("## The journey") : text.index("## Invariants")]
    for owner, fewest in ((Flow, 5), (Delivering, 2), (Fetching, 1)):
        stages = set(re.findall(rf"`{owner.__name__}\.(\w+)`", journey))
        assert len(stages) >= fewest
        assert [stage for stage in stages if not callable(getattr(owner, stage, None))] == []
    states = {str(state) for machine in (StudyState, JobState, DeliveryState, FetchState) for state in machine}
    assert set(re.findall(r"\*(\w[\w ]*)\*", journey)) <= states


def test_downloads_are_stated_as_they_are_pinned() -> None:
    """Versions are those of constraints.txt, checksums those that the pipeline demands."""
    readme, pins = _text("README.md"), _text("constraints.txt")
    assert re.findall(r"^(torch|deepbet)==(.+)$", pins, re.MULTILINE) == [
        ("torch", _found(r"torch==([\d.]+)`", readme)),
        ("deepbet", _found(r"deepbet ([\d.]+),", readme)),
    ]
    digests = dict(re.findall(r'"(\w+\.pt)": "([0-9a-f]{64})"', _text("pipelines/deepbet_files.py")))
    assert len(digests) == 2
    assert dict(re.findall(r"^(\w+\.pt) +([0-9a-f]{64})$", readme, re.MULTILINE)) == digests


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, pattern
    return match[1]


def test_defaults_are_stated_as_they_are() -> None:
    """Waiting times, days and the notice that README tells are the defaults."""
    settings, readme = Settings(), " ".join(_text("README.md").split())
    assert settings.results.notice in readme
    completion = settings.completion
    waits = f"whole {completion.release_grace_seconds:g} s after the scanner released its last association"
    assert f"{waits}, or {completion.quiet_seconds:g} s after the last image" in readme
    assert f"tried for {settings.delivery.give_up_days:g} days" in readme
    assert settings.reception.free_space_floor_mib == 2048
    assert "(2 GB as shipped)" in readme
    assert f"AE title `{settings.node.ae_title}`" in readme
    assert f"port {settings.reception.port}" in readme


def test_the_changelog_has_the_version() -> None:
    """The latest entry is that of this version."""
    assert _found(r"^## \[([\d.]+)\]", "\n".join(re.findall(r"^## .*$", _text("CHANGELOG.md"), re.MULTILINE))) == (
        dicom_node.__version__
    )


def test_the_example_pipeline_runs(tmp_path: Path) -> None:
    """The pipeline of ARCHITECTURE.md, installed as told there, gives SEG and SR with the command told there."""
    (code,), (project,) = _fenced("ARCHITECTURE.md", "python"), _fenced("ARCHITECTURE.md", "toml")
    packages, series, out = tmp_path / "packages", tmp_path / "series", tmp_path / "out"
    points = tomllib.loads(project)["project"]["entry-points"]["dicom_node.pipelines"]
    information = packages / "bright_tissue-1.0.dist-info"
    information.mkdir(parents=True)
    (packages / "bright_tissue.py").write_text(code, encoding="utf-8")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bright-tissue\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (information / "entry_points.txt").write_text("\n".join(["[dicom_node.pipelines]", *lines, ""]))
    _write_series(series)
    (shown,) = {line for line in _shown("ARCHITECTURE.md", "dicom-node") if "bright_tissue" in line}
    words = [{"FOLDER": str(series), "DIR": str(out)}.get(word, word) for word in shown.split()[1:]]
    environment = os.environ | {"PYTHONPATH": str(packages)}
    done = subprocess.run(
        [sys.executable, "-m", "dicom_node", *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["preview.png", "seg.dcm", "sr.dcm"]
    assert dcmread(out / "seg.dcm").SegmentSequence[0].SegmentLabel == "Bright tissue"


def _write_series(folder: Path) -> None:
    folder.mkdir()
    values = np.random.default_rng(3).integers(0, 1000, (6, 20, 24), np.uint16)
    values[2:4, 5:15, 6:18] = 3000
    for index, dataset in enumerate(source_series().datasets):
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.add_new("PixelData", "OW", values[index].tobytes())
        dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
        dataset.save_as(folder / f"{index}.dcm", enforce_file_format=True)
