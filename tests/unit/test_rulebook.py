"""Versions of the rules: saved, edited on disk, refused, rolled back; on a real ledger and a real file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dicom_node.errors import SettingsInvalid
from dicom_node.ledger import Ledger, RuleVersion
from dicom_node.rulebook import RuleBook, Rules, RulesOvertaken, RuleVersionUnknown, read_text
from dicom_node.settings import Settings, load_settings
from tests.ledger_cases import NOW

_RULE = """# kept
[[rule]]
name = "{name}"
do_not_run = "nothing to do"
when.Modality = "MR"
"""
_NODE = """
[node]
name = "{name}"
rules = "rules.toml"
"""


@dataclass
class Place:
    """A node's folder, and the book of its rules."""

    folder: Path
    ledger: Ledger

    @property
    def file(self) -> Path:
        return self.folder / "rules.toml"

    def settings(self, name: str = "node1") -> Settings:
        config = self.folder / "node.toml"
        config.write_text(_NODE.format(name=name))
        return load_settings(config)

    def book(self) -> RuleBook:
        return RuleBook(self.settings(), self.ledger, lambda: NOW)

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def texts(self) -> list[str]:
        return [version.text for version in self.ledger.rules.all()]


@pytest.fixture
def place(tmp_path: Path, ledger: Ledger) -> Place:
    """Give a folder whose file has one rule."""
    made = Place(tmp_path, ledger)
    made.write(_RULE.format(name="first"))
    return made


def _named(name: str) -> str:
    return _RULE.format(name=name)


def _looked(book: RuleBook, rules: Rules) -> Rules:
    """Look twice, as the node does before it takes an edited file; return the rules in force then."""
    return book.refreshed(book.refreshed(rules))


def test_the_first_start_makes_the_file_the_first_version(place: Place) -> None:
    """With who owns the file; a second start finds nothing new."""
    for _ in range(2):
        rules = place.book().start()
        assert (rules.version, rules.text) == (1, _named("first"))
    (version,) = place.ledger.rules.all()
    assert (version.author, version.reason, version.at) == (place.file.owner(), "first read from rules.toml", NOW)


def test_a_saved_version_is_taken_and_written_into_the_file(place: Place) -> None:
    """Who edits the file next starts from the truth; comments are kept."""
    book = place.book()
    rules = book.start()
    made = book.save(_named("second"), "ada", "because", after=rules.version)
    assert (made.number, made.author, made.reason) == (2, "ada", "because")
    rules = book.refreshed(rules)
    assert (rules.version, rules.parsed.rules[0].name) == (2, "second")
    assert place.file.read_text() == _named("second")
    assert book.refreshed(rules) is rules
    assert place.book().start().version == 2
    assert ("rules changed", "version 2 by ada: because") in [event[1:] for event in place.ledger.events()]


def test_a_file_that_somebody_changed_becomes_a_version(place: Place) -> None:
    """While the node runs, and while it does not."""
    book = place.book()
    rules = book.start()
    place.write(_named("by hand"))
    rules = _looked(book, rules)
    assert (rules.version, rules.parsed.rules[0].name) == (2, "by hand")
    place.write(_named("at night"))
    assert place.book().start().version == 3
    assert place.ledger.rules.all()[0].reason == "rules.toml was changed on disk"


def test_going_back_by_hand_is_an_edit_too(place: Place) -> None:
    """A text that was in force before is no sign that nobody changed it."""
    book = place.book()
    rules = book.start()
    for name in ("second", "first"):
        place.write(_named(name))
        rules = _looked(book, rules)
    assert (rules.version, place.texts()) == (3, [_named("first"), _named("second"), _named("first")])


def test_a_faulty_file_is_never_taken(place: Place) -> None:
    """What was in force stays in force, also over a restart, and the event names the line."""
    book = place.book()
    rules = book.start()
    place.write("[[rule]]\n")
    assert _looked(book, rules) is rules
    assert _looked(book, rules) is rules
    (event,) = [event for event in place.ledger.events() if event[1] == "rules not taken"]
    assert "rules.toml:1: " in event[2]
    assert place.book().start().version == 1


def test_an_edit_that_has_a_fault_is_never_lost(place: Place) -> None:
    """A start leaves it alone; a version that is saved elsewhere takes its place, and it is set aside."""
    place.book().start()
    place.write("[[rule]]\nmuch work\n")
    book = place.book()
    rules = book.start()
    assert place.file.read_text() == "[[rule]]\nmuch work\n"
    book.save(_named("second"), "ada", "")
    book.refreshed(rules)
    assert place.file.read_text() == _named("second")
    assert (place.folder / "rules.toml.refused").read_text() == "[[rule]]\nmuch work\n"
    book.save(_named("third"), "ada", "")
    book.refreshed(rules)
    assert (place.folder / "rules.toml.refused").read_text() == "[[rule]]\nmuch work\n"


def test_an_edit_is_taken_though_the_ledger_was_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked ledger, or another node that saved in the same instant: the next look takes it."""
    book = place.book()
    rules = book.start()
    place.write(_named("by hand"))
    add, answers = book._versions.add, [RuntimeError("locked"), None]

    def disturbed(*arguments: Any) -> RuleVersion | None:
        answer = answers.pop(0) if answers else add(*arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(book._versions, "add", disturbed)
    assert book.refreshed(rules) is rules
    with pytest.raises(RuntimeError):
        book.refreshed(rules)
    assert book.refreshed(rules).parsed.rules[0].name == "by hand"


def test_without_any_good_rules_there_is_no_start(place: Place) -> None:
    """A node that never had rules says what is wrong with the file."""
    place.write("[[rule]]\n")
    with pytest.raises(SettingsInvalid, match=r"rules.toml:1: "):
        place.book().start()
    place.file.unlink()
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        place.book().start()


def test_a_file_that_is_gone_is_written_again(place: Place) -> None:
    """The ledger has the rules."""
    place.book().start()
    place.file.unlink()
    assert place.book().start().version == 1
    assert place.file.read_text() == _named("first")


def test_a_faulty_text_is_not_saved(place: Place) -> None:
    """The editor gets every fault with line and column, and nothing changes."""
    book = place.book()
    book.start()
    with pytest.raises(SettingsInvalid) as caught:
        book.save("[[rule]]\n  nme = 1\n", "ada", "")
    assert (caught.value.faults[-1].line, caught.value.faults[-1].column) == (2, 3)
    assert book.newest == 1


def test_of_two_who_edit_the_second_is_told(place: Place) -> None:
    """Nobody overwrites what he has not seen."""
    book = place.book()
    book.start()
    book.save(_named("a"), "ada", "", after=1)
    with pytest.raises(RulesOvertaken, match="version 2 by ada was saved meanwhile"):
        book.save(_named("b"), "bob", "", after=1)
    assert book.newest == 2


def test_rolling_back_is_one_step_and_a_version(place: Place) -> None:
    """History is never rewritten."""
    book = place.book()
    book.start()
    book.save(_named("a"), "ada", "")
    made = book.roll_back(1, "bob")
    assert (made.number, made.text, made.reason) == (3, _named("first"), "back to version 1")
    with pytest.raises(RuleVersionUnknown, match=r"no version 9 of the rules \(the newest is 3\)"):
        book.roll_back(9, "bob")


def test_versions_are_compared_as_a_diff(place: Place) -> None:
    """Line by line, as people know it."""
    book = place.book()
    book.start()
    book.save(_named("a"), "ada", "")
    assert book.difference(1, 2).splitlines()[3:] == [
        " # kept",
        " [[rule]]",
        '-name = "first"',
        '+name = "a"',
        ' do_not_run = "nothing to do"',
        ' when.Modality = "MR"',
    ]


def test_a_version_that_this_node_cannot_use_is_not_taken(place: Place) -> None:
    """Saved by another node, with a destination that this one does not have."""
    book = place.book()
    rules = book.start()
    text = '[[rule]]\nname = "x"\npipeline = "nowhere"\ndestinations = ["pacs"]\ninputs.t1.Modality = "MR"\n'
    place.ledger.rules.add(text, "digest", "ada", "", NOW)
    assert book.refreshed(rules) is rules
    assert book.refreshed(rules) is rules
    assert place.file.read_text() == _named("first")
    book.roll_back(1, "ada")
    assert book.refreshed(rules).version == 3


def test_a_folder_that_may_not_be_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new version is in force all the same, and is not undone by the old file."""

    def full(*_: object) -> None:
        raise PermissionError(13, "read-only")

    book = place.book()
    rules = book.start()
    book.save(_named("a"), "ada", "")
    replace: Callable[..., Path] = Path.replace
    monkeypatch.setattr(Path, "replace", full)
    rules = book.refreshed(rules)
    assert rules.version == 2
    assert book.refreshed(rules).version == 2
    assert place.book().start().version == 2
    monkeypatch.setattr(Path, "replace", replace)
    assert place.file.read_text() == _named("first")
    assert place.book().start().version == 2
    assert place.file.read_text() == _named("a")


def test_a_file_that_is_being_saved_is_not_taken(place: Place) -> None:
    """Written in pieces: each look sees another part, and what counts is what two looks in a row saw."""
    book = place.book()
    rules = book.start()
    whole = _named("first") + _named("second")
    for part in ("", whole[:40], _named("first").replace("first", "half"), whole):
        place.write(part)
        assert book.refreshed(rules) is rules
    rules = book.refreshed(rules)
    assert (rules.version, rules.text) == (2, whole)
    assert place.ledger.events()[-1][2] == f"version 2 by {place.file.owner()}: rules.toml was changed on disk"


def test_a_file_that_changes_while_it_is_read_is_not_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The looks saw the same, and then somebody went on writing."""
    book = place.book()
    rules = book.start()
    place.write(_named("half"))
    book.refreshed(rules)
    read = Path.read_bytes

    def overtaken(path: Path) -> bytes:
        content = read(path)
        monkeypatch.undo()
        place.write(_named("whole"))
        return content

    monkeypatch.setattr(Path, "read_bytes", overtaken)
    assert book.refreshed(rules) is rules
    assert _looked(book, rules).parsed.rules[0].name == "whole"
    assert book.newest == 2


@pytest.mark.parametrize("text", ["", "# only\n# comments\n"])
def test_an_emptied_file_is_never_taken(place: Place, text: str) -> None:
    """A full disk, a slip of the hand: said once, with how to really remove all rules; also at a start."""
    book = place.book()
    rules = book.start()
    place.write(text)
    for _ in range(2):
        assert _looked(book, rules) is rules
    (event,) = [event for event in place.ledger.events() if event[1] == "rules not taken"]
    assert "to really remove all rules" in event[2]
    assert place.book().start().version == 1
    assert place.file.read_text() == text
    book.save(text, "ada", "no rules any more")
    assert book.refreshed(rules).parsed.rules == ()
    assert place.book().start().version == 2


def test_the_file_keeps_its_rights_and_its_link(place: Place) -> None:
    """Who else may write it goes on writing; a link to the file stays one."""
    real = place.folder / "real.toml"
    place.file.rename(real)
    real.chmod(0o664)
    place.file.symlink_to(real)
    book = place.book()
    rules = book.start()
    book.save(_named("second"), "ada", "")
    book.refreshed(rules)
    assert place.file.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o7777) == (_named("second"), 0o664)
    assert not list(place.folder.glob(".*.part"))


@pytest.mark.parametrize("by", ["file", "page"])
def test_lines_that_end_as_on_windows_are_no_other_text(place: Place, by: str) -> None:
    """CR LF: no version is made of it at the next start, and the file is left as its editor likes it."""
    text = _named("windows").replace("\n", "\r\n")
    book = place.book()
    rules = book.start()
    if by == "page":
        book.save(text, "ada", "")
    else:
        place.file.write_bytes(text.encode())
    assert _looked(book, rules).version == 2
    assert place.file.read_bytes() == text.encode()
    assert place.book().start().version == 2
    assert place.file.read_bytes() == text.encode()


def test_an_edit_right_after_the_node_has_written_is_seen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the ledger has noted what was written."""
    book = place.book()
    rules = book.start()
    book.save(_named("second"), "ada", "")
    note = book._versions.note_file

    def edited(node: str, sha256: str) -> None:
        place.write(_named("by hand"))
        note(node, sha256)

    monkeypatch.setattr(book._versions, "note_file", edited)
    rules = book.refreshed(rules)
    monkeypatch.undo()
    assert rules.version == 2
    assert _looked(book, rules).parsed.rules[0].name == "by hand"


def test_a_version_that_is_saved_while_the_file_is_does_not_undo_the_edit(place: Place) -> None:
    """The version holds at once; the file is looked at first, and becomes the next."""
    book = place.book()
    rules = book.start()
    place.write(_named("by hand"))
    book.save(_named("second"), "ada", "")
    rules = book.refreshed(rules)
    assert (rules.version, place.file.read_text()) == (2, _named("by hand"))
    assert book.refreshed(rules).parsed.rules[0].name == "by hand"
    assert place.texts() == [_named("by hand"), _named("second"), _named("first")]


def test_a_file_that_cannot_be_read_is_said_as_it_is(tmp_path: Path) -> None:
    """Any file may be given: which one it is and why it cannot be read, never that node.toml names it."""
    garbled = tmp_path / "new.toml"
    garbled.write_bytes(b"\xff\xfe")
    for path, why in ((garbled, "it is not text in UTF-8"), (tmp_path / "gone.toml", "No such file or directory")):
        with pytest.raises(SettingsInvalid) as caught:
            read_text(path)
        assert str(caught.value).startswith(f"{path}: cannot be read ({why}); name a text file")
        assert "names the file" not in str(caught.value)
