"""One table of a TOML file is put or removed, and every other line of the file stays as it is."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dicom_node.toml_tables import TableNotEditable, put_table, remove_table, table_of

_SHIPPED = (Path(__file__).resolve().parents[2] / "config" / "node.toml").read_text()
_NEW: dict[str, Any] = {
    "name": "archive",
    "ae_title": "ARCHIVE",
    "host": "10.0.0.7",
    "port": 104,
    "tls": {"ca": "tls/ca.pem"},
}


def _lines(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return which lines went and which came."""
    found = [line for line in difflib.ndiff(old.split("\n"), new.split("\n")) if line[0] in "-+"]
    return [line[2:] for line in found if line[0] == "-"], [line[2:] for line in found if line[0] == "+"]


def test_a_new_table_stands_after_the_last_of_its_kind() -> None:
    """Nothing goes; the next section keeps the comments above it; removing it gives the old text again."""
    text = put_table(_SHIPPED, "destination", _NEW)
    gone, came = _lines(_SHIPPED, text)
    assert gone == []
    assert [line for line in came if line] == [
        "[[destination]]",
        'name = "archive"',
        'ae_title = "ARCHIVE"',
        'host = "10.0.0.7"',
        "port = 104",
        "[destination.tls]",
        'ca = "tls/ca.pem"',
    ]
    assert table_of(text, "destination", "archive") == _NEW
    assert text.index('name = "pacs"') < text.index('name = "archive"') < text.index("# Where studies may be fetched")
    assert remove_table(text, "destination", "archive") == _SHIPPED


def test_a_change_touches_its_own_key_alone() -> None:
    """One line goes and one comes; comments stay where they are."""
    pacs = table_of(_SHIPPED, "destination", "pacs")
    assert pacs is not None
    text = put_table(_SHIPPED, "destination", pacs | {"port": 11113})
    assert _lines(_SHIPPED, text) == (["port = 4242"], ["port = 11113"])
    text = put_table(_SHIPPED, "destination", pacs | {"calling_ae_title": "ME"})
    assert _lines(_SHIPPED, text) == ([], ['calling_ae_title = "ME"'])
    assert put_table(_SHIPPED, "destination", pacs) == _SHIPPED


def test_a_comment_behind_a_value_stays() -> None:
    """Also where the value itself changes."""
    text = '[[source]]\nname = "mr"  # room 3\nport = 1  # for now\n'
    assert put_table(text, "source", {"name": "mr", "port": 2}) == text.replace("= 1", "= 2")


def test_tables_in_a_table_are_added_changed_and_removed() -> None:
    """`[destination.tls]` belongs to the destination above it."""
    pacs = table_of(_SHIPPED, "destination", "pacs")
    assert pacs is not None
    text = put_table(_SHIPPED, "destination", pacs | {"tls": {"ca": "a.pem"}})
    assert _lines(_SHIPPED, text)[0] == []
    changed = put_table(text, "destination", pacs | {"tls": {"ca": "b.pem"}})
    assert _lines(text, changed) == (['ca = "a.pem"'], ['ca = "b.pem"'])
    gone, came = _lines(changed, put_table(changed, "destination", pacs))
    assert (came, [line for line in gone if line]) == ([], ["[destination.tls]", 'ca = "b.pem"'])


def test_the_first_table_of_a_kind_stands_at_the_end() -> None:
    """A file without any gets one."""
    assert put_table("[node]\nname = 'x'\n\n", "source", {"name": "a"}).endswith(
        "name = 'x'\n\n[[source]]\nname = \"a\"\n"
    )
    assert put_table("", "source", {"name": "a"}) == '[[source]]\nname = "a"\n'


@pytest.mark.parametrize(
    "text",
    [
        'source = [{ name = "a", port = 1 }, { name = "b" }]\n',
        '[[source]]\nname = "a"\nport = 1\n[node]\nname = "x"\n[source.inner]\nkey = 1\n',
    ],
    ids=["inline", "torn"],
)
def test_a_layout_for_persons_alone_is_refused(text: str) -> None:
    """What cannot be edited without touching other lines is left to a person."""
    with pytest.raises(TableNotEditable):
        put_table(text, "source", {"name": "a", "port": 2})


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("value", ['say "hi"', "# no comment", "[[source]]", "a\nb", "ä\\", "'''", "\t"])
def test_any_text_is_a_value(value: str, ending: str) -> None:
    """What somebody types is a value, and never becomes part of the file's structure."""
    old = _SHIPPED.replace("\n", ending)
    text = put_table(old, "source", {"name": value, "addresses": [value], "inner": {value: value}})
    assert tomllib.loads(text)["source"][-1] == {"name": value, "addresses": [value], "inner": {value: value}}
    assert remove_table(text, "source", value) == old


def test_a_multi_line_value_is_one_value() -> None:
    """Its last line ends the table, whatever the lines in it look like."""
    old = '[[source]]\nname = "a"\naddresses = [\n  "1",  # first\n  # [[source]]\n  "2",\n]\n# after\n\n[node]\n'
    assert remove_table(old, "source", "a") == "# after\n\n[node]\n"
    assert put_table(old, "source", {"name": "a", "addresses": ["1", "2"], "port": 1}) == old.replace(
        "]\n# after", "]\nport = 1\n# after"
    )
