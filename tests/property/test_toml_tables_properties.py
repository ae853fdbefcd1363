"""Tables put into and removed from a TOML file: it says what was wanted, and nothing else has moved."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.toml_tables import put_table, remove_table, table_of

_KEYS = st.text("abcdefgh_-", min_size=1, max_size=6).filter(lambda key: key != "name")
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_PLAIN = st.one_of(_TEXTS, st.integers(-(2**53), 2**53), st.booleans(), st.lists(_TEXTS, max_size=3))
_TABLES = st.dictionaries(_KEYS, st.one_of(_PLAIN, st.dictionaries(_KEYS, _PLAIN, max_size=3)), max_size=5)
_LINES = st.lists(st.sampled_from(["# a remark", "# [[source]]", "", "#"]), max_size=4)


@st.composite
def _files(draw: st.DrawFn) -> str:
    """Return a file with remarks anywhere, a section before the tables, and one after."""
    lines = [*draw(_LINES), "[node]  # who", 'name = "n"']
    for number in range(draw(st.integers(0, 3))):
        lines += [*draw(_LINES), "[[source]]", f'name = "s{number}"  # its name', *draw(_LINES), "port = 1 # old"]
        lines += [*draw(_LINES), "[source.inner]", "key = [", "  1, # one", "]"] if draw(st.booleans()) else []
    return "\n".join([*lines, *draw(_LINES), "[log]", "level = 'info'", ""])


@given(_files(), st.sampled_from(["s0", "s1", "new", "a ] b"]), _TABLES)
def test_it_says_what_was_put_and_every_remark_stays(text: str, name: str, values: dict[str, Any]) -> None:
    """Of the table that is changed only its own inner remarks may go; of all others not a line."""
    table = {"name": name, **values}
    edited = put_table(text, "source", table)
    assert table_of(edited, "source", name) == table
    others = [each for each in tomllib.loads(text).get("source", []) if each["name"] != name]
    assert [each for each in tomllib.loads(edited)["source"] if each["name"] != name] == others
    assert put_table(edited, "source", table) == edited
    if name not in text:
        kept = iter(edited.split("\n"))
        assert all(line in kept for line in text.rstrip("\n").split("\n"))


@given(_files(), _TABLES)
def test_what_was_added_can_be_removed_without_a_trace(text: str, values: dict[str, Any]) -> None:
    """Apart from empty lines the file is as it was."""
    edited = remove_table(put_table(text, "source", {"name": "new", **values}), "source", "new")
    assert [line for line in edited.split("\n") if line] == [line for line in text.split("\n") if line]
