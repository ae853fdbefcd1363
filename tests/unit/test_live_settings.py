"""Settings that change while the node runs: taken from the file, whoever wrote it."""

from pathlib import Path

import pytest

from dicom_node.ledger import Ledger
from dicom_node.live_settings import FileOvertaken, LiveSettings, digest
from dicom_node.settings import Settings, load_settings
from tests.admin_cases import NODE_TOML
from tests.ledger_cases import NOW

_MORE = (
    NODE_TOML
    + """
[[destination]]
name = "archive"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = 2
"""
)


def _live(folder: Path, ledger: Ledger) -> tuple[LiveSettings, Path]:
    config = folder / "node.toml"
    config.write_text(NODE_TOML)
    return LiveSettings(load_settings(config), config, ledger, lambda: NOW), config


def _look(live: LiveSettings) -> None:
    """Look twice, as the node does before it takes an edited file."""
    live.refresh()
    live.refresh()


def _names(settings: Settings) -> list[str]:
    return [each.name for each in settings.destinations]


def test_an_edit_is_taken_though_the_ledger_was_away(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules in force could not be read to compare: the next look reads the file again."""
    live, config = _live(tmp_path, ledger)
    _look(live)
    config.write_text(_MORE.replace('"pacs"', '"other"'))

    def locked() -> None:
        raise RuntimeError("locked")

    monkeypatch.setattr(live, "_rules", locked)
    live.refresh()
    with pytest.raises(RuntimeError):
        live.refresh()
    assert _names(live.now) == ["pacs"]
    monkeypatch.undo()
    live.refresh()
    assert _names(live.now) == ["other", "archive"]


def test_what_is_saved_is_not_read_again_and_an_edit_after_it_is(tmp_path: Path, ledger: Ledger) -> None:
    """The file is known by its time, size and number; those who watch are told once of each change."""
    live, config = _live(tmp_path, ledger)
    _look(live)
    told: list[list[str]] = []
    live.watch(lambda settings: told.append(_names(settings)))
    live.save(_MORE, digest(NODE_TOML))
    _look(live)
    assert told == [["pacs", "archive"]]
    config.write_text(NODE_TOML)
    _look(live)
    assert told == [["pacs", "archive"], ["pacs"]]


def test_a_faulty_file_is_said_once_and_not_taken(tmp_path: Path, ledger: Ledger) -> None:
    """What was in force stays in force."""
    live, config = _live(tmp_path, ledger)
    config.write_text(NODE_TOML.replace("port = 1", "port = 0"))
    for _ in range(2):
        _look(live)
    assert _names(live.now) == ["pacs"]
    assert [kind for _, kind, _ in ledger.events()] == ["settings not taken"]


def test_a_file_that_is_being_saved_is_not_taken(tmp_path: Path, ledger: Ledger) -> None:
    """Emptied, then written in pieces: what counts is what two looks in a row saw."""
    live, config = _live(tmp_path, ledger)
    _look(live)
    told: list[list[str]] = []
    live.watch(lambda settings: told.append(_names(settings)))
    for part in ("", NODE_TOML.replace('"pacs"', '"half"'), _MORE):
        config.write_text(part)
        live.refresh()
        assert told == []
    live.refresh()
    assert told == [["pacs", "archive"]]


def test_a_file_that_changes_while_it_is_read_is_not_taken(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The looks saw the same, and then somebody went on writing."""
    live, config = _live(tmp_path, ledger)
    _look(live)
    config.write_text(NODE_TOML.replace('"pacs"', '"half"'))
    live.refresh()
    text = live.text()
    monkeypatch.setattr(live, "text", lambda: config.write_text(_MORE) and text)
    live.refresh()
    monkeypatch.undo()
    assert _names(live.now) == ["pacs"]
    _look(live)
    assert _names(live.now) == ["pacs", "archive"]


@pytest.mark.parametrize("text", ["", "\n# [node]\n"])
def test_an_emptied_file_is_never_taken(tmp_path: Path, ledger: Ledger, text: str) -> None:
    """What was in force stays in force, and it is said once, with how to really remove all."""
    live, config = _live(tmp_path, ledger)
    config.write_text(text)
    for _ in range(2):
        _look(live)
    assert _names(live.now) == ["pacs"]
    (event,) = ledger.events()
    assert event[1] == "settings not taken"
    assert "to really remove them all" in event[2]
    with pytest.raises(FileOvertaken, match="was emptied"):
        live.save(_MORE, digest(text))
    assert config.read_text() == text
