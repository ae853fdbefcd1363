"""Where in a TOML text each key stands, so that a fault can be told as file and line.

`tomllib` gives the values but no lines. The scanner here runs only over a text that `tomllib` has accepted, so it
follows the grammar (TOML 1.0: tables, arrays of tables, dotted keys, multi-line strings and arrays, inline tables)
without judging it.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: ("destination", 1, "port"): table names, positions in arrays (from 0), keys.
KeyPath = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]*")
_STRINGS: Final = (  # longest delimiter first
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\])*"'),
    re.compile(r"'[^']*'"),
)


@dataclass(frozen=True, slots=True)
class TomlSource:
    """A parsed TOML text that still knows its lines.

    Parameters
    ----------
    values : mapping
        As `tomllib` gives it.
    lines : mapping of KeyPath to int
        Line, from 1, on which each table, key and array element starts.
    """

    values: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Return the line of a key, or of the nearest table that would hold it; 1 where there is none."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1


class TomlSyntaxError(ValueError):
    """The text is not TOML.

    Attributes
    ----------
    line : int
        Line, from 1, on which reading stopped.
    """

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def read_toml(text: str) -> TomlSource:
    """Return the values of a TOML text and the line of each.

    Raises
    ------
    TomlSyntaxError
        If the text is not TOML 1.0.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, str(error)) from None
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return TomlSource(values, scanner.lines)


def _syntax_error(text: str, message: str) -> TomlSyntaxError:
    found = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)", message)
    what = message[: found.start()] if found else message
    if found and found[1]:
        return TomlSyntaxError(int(found[1]), f"not TOML: {what} (column {found[2]})")
    return TomlSyntaxError(text.count("\n") + 1, f"not TOML: {what} (at the end of the file)")


@dataclass(slots=True)
class _Scanner:
    """One pass over a valid TOML text, noting where each key path starts."""

    text: str
    position: int = 0
    table: KeyPath = ()
    lines: dict[KeyPath, int] = field(default_factory=dict)
    tables_in: dict[KeyPath, int] = field(default_factory=dict)  # arrays of tables -> tables so far
    counted: int = 0
    line_number: int = 1

    def document(self) -> None:
        """Scan the whole text."""
        self._skip(_BLANK)
        while self.position < len(self.text):
            if self.text[self.position] == "[":
                self._header()
            else:
                self._pair(self.table)
            self._skip(_BLANK)

    def _header(self) -> None:
        line = self._line()
        array = self.text.startswith("[[", self.position)
        self.position += 2 if array else 1
        keys = self._dotted_key()
        self.position += 2 if array else 1
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._inside((*path, key))
        path = (*path, keys[-1])
        self._note(path, line)
        if array:
            self.tables_in[path] = self.tables_in.get(path, 0) + 1
            path = self._inside(path)
            self._note(path, line)
        self.table = path

    def _inside(self, path: KeyPath) -> KeyPath:
        """Return the path of the last table, where the path is that of an array of tables."""
        count = self.tables_in.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._dotted_key():
            path = (*path, key)
            self._note(path, line)
        self.position += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _dotted_key(self) -> list[str]:
        keys = [self._key()]
        while self.text[self.position] == ".":
            self.position += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        self._skip(_SPACE)
        start = self.position
        if self.text[start] in "\"'":
            self._string()
        else:
            self._skip(_BARE_KEY)
        text = self.text[start : self.position]
        self._skip(_SPACE)
        if text[0] in "\"'":  # let tomllib undo the escapes
            return str(tomllib.loads(f"key = {text}")["key"])
        return text

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.position]
        if opening in "\"'":
            self._string()
        elif opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _string(self) -> None:
        for pattern in _STRINGS:
            if found := pattern.match(self.text, self.position):
                self.position = found.end()
                return

    def _array(self, path: KeyPath) -> None:
        self.position += 1
        self._skip(_BLANK)
        index = 0
        while self.text[self.position] != "]":
            self._note((*path, index), self._line())
            self._value((*path, index))
            self._separator()
            index += 1
        self.position += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.position += 1
        self._skip(_BLANK)
        while self.text[self.position] != "}":
            self._pair(path)
            self._separator()
        self.position += 1

    def _separator(self) -> None:
        self._skip(_BLANK)
        if self.text[self.position] == ",":
            self.position += 1
            self._skip(_BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.position)
        if found:
            self.position = found.end()

    def _note(self, path: KeyPath, line: int) -> None:
        self.lines.setdefault(path, line)

    def _line(self) -> int:
        self.line_number += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.line_number
