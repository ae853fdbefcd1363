"""Conditions as a form shows them: attribute, comparison, value; what a form cannot say stays as text.

Only rows that somebody edits are written anew, so whatever else a rule says survives its form.
"""

import csv
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import tomlkit

from dicom_node.routing.attributes import UnknownAttribute, attribute

#: Between the ends of a range.
TO: Final = " to "


class How(StrEnum):
    """Comparisons that a form knows, in words."""

    IS = "is"
    ONE_OF = "is one of"
    IS_NOT = "is not"
    NONE_OF = "is none of"
    MATCHES = "matches"
    NO_MATCH = "does not match"
    AT_LEAST = "is at least"
    AT_MOST = "is at most"
    BETWEEN = "is between"
    HAS = "has a value"
    HAS_NOT = "has no value"
    TEXT = "as text"


WITHOUT_VALUE: Final = frozenset({How.HAS, How.HAS_NOT})
_DENIED: Final = {How.IS: How.IS_NOT, How.ONE_OF: How.NONE_OF, How.MATCHES: How.NO_MATCH}
_DENIALS: Final = {denial: how for how, denial in _DENIED.items()}
_ENDS: Final = {How.AT_LEAST: "at_least", How.AT_MOST: "at_most"}
#: What the value of each comparison looks like, for people.
HINTS: Final[Mapping[How, str]] = {
    How.ONE_OF: 'T1, T2, "one, with a comma"',
    How.NONE_OF: 'T1, T2, "one, with a comma"',
    How.MATCHES: "a regular expression, such as t1|mprage",
    How.NO_MATCH: "a regular expression, such as t1|mprage",
    How.BETWEEN: "1 to 5",
    How.TEXT: "as in rules.toml, such as { any_of = [{ exists = false }, 3] }",
}


class RowInvalid(ValueError):
    """What stands in a row is no value; the sentence says what would be one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One condition.

    Parameters
    ----------
    keyword : str
        DICOM keyword, fact, or `any_of`, `all_of`, `none_of`.
    value : str
        As it stands in the field.
    raw : object
        What `rules.toml` says, as `tomllib` reads it; after an edit it follows from the fields.
    """

    keyword: str
    how: How
    value: str
    raw: Any

    def edited(self, *, keyword: str | None = None, how: How | None = None, value: str | None = None) -> "Row":
        """Return the row after an edit; raises RowInvalid if its value cannot be read."""
        changed = replace(
            self,
            keyword=self.keyword if keyword is None else keyword.strip(),
            how=self.how if how is None else how,
            value=self.value if value is None else value,
        )
        return replace(changed, raw=_raw(changed))


def rows_of(table: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a table of conditions, such as `[rule.when]`."""
    return [row_of(keyword, raw) for keyword, raw in table.items() if keyword != "rank"]


def table_of(rows: Iterable[Row]) -> dict[str, Any]:
    """Return the table that rows stand for; one without attribute or value is not finished, and left out.

    Raises
    ------
    RowInvalid
        If an attribute stands there twice.
    """
    table: dict[str, Any] = {}
    for row in rows:
        if row.keyword in table:
            raise RowInvalid(f"{row.keyword} stands there twice: join both into one, or use all_of in the text")
        if row.keyword and row.raw != "":
            table[row.keyword] = row.raw
    return table


def row_of(keyword: str, raw: Any) -> Row:
    """Return the row of one condition."""
    how, value = _said(raw)
    return Row(keyword, how, value, raw)


def _said(raw: Any) -> tuple[How, str]:
    if _is_plain(raw):
        return How.IS, _shown(raw)
    if isinstance(raw, list) and all(_is_plain(each) for each in raw):
        return How.ONE_OF, _listed(raw)
    said = _said_by_table(raw) if isinstance(raw, dict) else None
    return said or (How.TEXT, toml_text(raw))


def _said_by_table(raw: Mapping[str, Any]) -> tuple[How, str] | None:
    """Return the words for a condition that is a table; None if there are none."""
    keys, values = set(raw), list(raw.values())
    if keys == {"not"}:
        how, value = _said(values[0])
        return (_DENIED[how], value) if how in _DENIED else None
    if keys == {"exists"} and isinstance(values[0], bool):
        return (How.HAS if values[0] else How.HAS_NOT), ""
    if keys == {"matches"} and isinstance(values[0], str):
        return How.MATCHES, values[0]
    if keys == {"at_least", "at_most"} and all(_is_plain(each) for each in values):
        return How.BETWEEN, f"{_shown(raw['at_least'])}{TO}{_shown(raw['at_most'])}"
    for how, key in _ENDS.items():
        if keys == {key} and _is_plain(values[0]):
            return how, _shown(values[0])
    return None


def _raw(row: Row) -> Any:
    keyword, value = row.keyword, row.value
    if row.how in _DENIALS:
        return {"not": _raw(replace(row, how=_DENIALS[row.how]))}
    if row.how in WITHOUT_VALUE:
        return {"exists": row.how is How.HAS}
    if row.how in _ENDS:
        return {_ENDS[row.how]: _plain(keyword, value)}
    if row.how is How.BETWEEN:
        low, found, high = value.partition(TO)
        if not found:
            raise RowInvalid(f"write two values with {TO.strip()!r} between them, such as 1{TO}5")
        return {"at_least": _plain(keyword, low), "at_most": _plain(keyword, high)}
    others = {How.IS: _plain, How.ONE_OF: _plains, How.MATCHES: lambda _, text: {"matches": text}}
    return others[row.how](keyword, value) if row.how in others else read_toml_value(value)


def _is_plain(raw: Any) -> bool:
    return not isinstance(raw, dict | list)


def _shown(raw: Any) -> str:
    return str(raw).lower() if isinstance(raw, bool) else str(raw)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(f'"{_shown(each)}"' if "," in _shown(each) else _shown(each) for each in values)


def _plains(keyword: str, text: str) -> list[Any]:
    (values,) = csv.reader([text.replace("\n", " ")], skipinitialspace=True) if text.strip() else ([],)
    return [_plain(keyword, value) for value in values]


def _plain(keyword: str, text: str) -> Any:
    """Return a number where the attribute holds numbers and the text is one; else the text."""
    text = text.strip()
    try:
        holds_numbers = attribute(keyword).number
    except UnknownAttribute:
        holds_numbers = False
    if holds_numbers is False:
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def toml_text(raw: Any) -> str:
    """Return a value as it stands in a line of TOML."""
    return inline(raw).as_string()


def read_toml_value(text: str) -> Any:
    """Return the value of a line of TOML; raises RowInvalid."""
    try:
        found = tomllib.loads(f"value = {text.strip()}")
    except tomllib.TOMLDecodeError:
        raise RowInvalid("this is no value as in rules.toml: texts in quotes, lists in [], tables in {}") from None
    if set(found) != {"value"}:
        raise RowInvalid("write one value")
    return found["value"]


def inline(raw: Any) -> Any:
    """Return a value as a TOML item that stands in one line."""
    if isinstance(raw, dict):
        table = tomlkit.inline_table()
        for key, value in raw.items():
            table.append(tomlkit.key([key]), inline(value))
        return table
    if isinstance(raw, list):
        array = tomlkit.array()
        for value in raw:
            array.append(inline(value))
        return array
    return tomlkit.item(raw)
