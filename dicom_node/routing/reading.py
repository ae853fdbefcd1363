"""Reading a table of `rules.toml` key by key, collecting faults instead of stopping at the first."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final, TypeVar

from dicom_node.errors import Fault
from dicom_node.routing.attributes import UnknownAttribute, closest, closest_keyword
from dicom_node.routing.condition_reading import Wrong, known
from dicom_node.routing.questions import Where
from dicom_node.toml_source import KeyPath, TomlSource

_Choice = TypeVar("_Choice", bound=StrEnum)
_Plain = TypeVar("_Plain", bound=str | bool)


#: Faults that one reading tells; a text with more is no text of rules.
MOST_FAULTS: Final = 200
#: Unknown keywords for which it is looked up what may have been meant: that takes time.
_MOST_HINTS: Final = 20


class TooManyFaults(Exception):
    """There are as many faults as one reading tells."""


class TableReader:
    """Plain values of tables; what is faulty becomes its default, and a fault with its place."""

    def __init__(self, source: TomlSource) -> None:
        self.faults: list[Fault] = []
        self.source = source
        self.title = ""  # said before each fault
        self._hinted: set[str] = set()
        self.conditions: dict[Where, Where] = {}  # equal ones become one: they are asked once

    def fault(self, path: KeyPath, what: str) -> None:
        """Note what is wrong with the value at a path; raises TooManyFaults if that is more than anybody reads."""
        if len(self.faults) == MOST_FAULTS:
            self.faults.append(Fault(*self.source.place(path), "there are more faults than these; mend these first"))
            raise TooManyFaults
        self.faults.append(Fault(*self.source.place(path), f"{self.title}{what}"))

    @contextmanager
    def faults_at(self, path: KeyPath) -> Iterator[None]:
        """Note what is found wrong in this block."""
        try:
            yield
        except Wrong as wrong:
            self.fault(path, str(wrong))
        except UnknownAttribute as unknown:
            self.fault(path, f"{unknown}{self._hint(unknown.keyword)}")

    def _hint(self, keyword: str) -> str:
        if not keyword or (len(self._hinted) == _MOST_HINTS and keyword not in self._hinted):
            return ""
        self._hinted.add(keyword)
        return closest_keyword(keyword)

    def unknown_keys(self, table: Mapping[str, Any], names: Sequence[str], path: KeyPath) -> None:
        """Note every key that a table may not have."""
        for key in table:
            if key not in names:
                self.fault((*path, key), f"unknown key {key!r}{closest(key, names) or known(names)}")

    def text(self, table: Mapping[str, Any], key: str, path: KeyPath) -> str:
        """Return a text that must be there."""
        if key not in table:
            self.fault(path, f"{key} is missing; it must be text in quotes")
            return ""
        text = self.optional(table, key, path, "")
        if isinstance(table[key], str) and not text.strip():
            self.fault((*path, key), f"{key} must not be blank")
        return text

    def optional(self, table: Mapping[str, Any], key: str, path: KeyPath, default: _Plain) -> _Plain:
        """Return a text, or true or false, that may be left out."""
        value = table.get(key, default)
        if isinstance(value, type(default)):
            return value
        words = "text in quotes" if isinstance(default, str) else "true or false"
        self.fault((*path, key), f"{key} is {value!r}; it must be {words}")
        return default

    def choice(self, table: Mapping[str, Any], key: str, path: KeyPath, default: _Choice) -> _Choice:
        """Return one of several words."""
        kind = type(default)
        value = table.get(key, default)
        if value in list(kind):
            return kind(value)
        self.fault((*path, key), f"{key} is {value!r}; it must be one of {', '.join(map(repr, map(str, kind)))}")
        return default

    def table(self, table: Mapping[str, Any], key: str, path: KeyPath) -> Mapping[str, Any]:
        """Return a table in a table; an empty one if there is none."""
        value = table.get(key, {})
        if isinstance(value, dict):
            return value
        self.fault((*path, key), f"{key} must be a table, such as [rule.{key}]")
        return {}
