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
#: Tables and lists inside one another, and parts of a dotted key: nobody writes so many, and recursion has an end.
DEEPEST: Final = 64
#: Whole numbers that a computer counts with: 64 bits, signed or not.
_COUNTABLE: Final = range(-(2**63), 2**64)
_LONG_NUMBER: Final = re.compile(r"[+-]?[\d_]{19,}|0[xob][\dA-Fa-f_]{16,}")
#: What nesting is told from in any text, in one pass: strings and comments as a whole, also those that do not end.
_PIECES: Final = re.compile(
    r'"""(?>[^"\\]+|\\.|"{1,2}(?!"))*+(?:"{3,5})?|'
    r"'{3}(?>[^']+|'{1,2}(?!'))*+(?:'{3,5})?|"
    r'"(?>[^"\\\n]+|\\[^\n])*+"?|'
    r"'[^'\n]*+'?|"
    r"#[^\n]*+|"
    r"(?<!\w)(?:0[xob])?[\dA-Fa-f_]{401,}|"
    r"[][{}.=,\n]",
    re.DOTALL,
)
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
    places : mapping of KeyPath to (int, int)
        Line and column, from 1, at which each table, key and array element starts.
    """

    values: dict[str, Any]
    places: Mapping[KeyPath, tuple[int, int]]

    def line(self, path: KeyPath) -> int:
        """Return the line of a key, or of the nearest table that would hold it; 1 where there is none."""
        return self.place(path)[0]

    def place(self, path: KeyPath) -> tuple[int, int]:
        """Return line and column of a key, or of the nearest table that would hold it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return 1, 1


class TomlSyntaxError(ValueError):
    """The text is not TOML.

    Attributes
    ----------
    line, column : int
        Where reading stopped, from 1.
    """

    def __init__(self, line: int, what: str, column: int = 1) -> None:
        super().__init__(what)
        self.line = line
        self.column = column


def read_toml(text: str) -> TomlSource:
    """Return the values of a TOML text and the line of each.

    Raises
    ------
    TomlSyntaxError
        If the text is not TOML 1.0.
    """
    _check_pieces(text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, str(error)) from None
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return TomlSource(values, scanner.places)


def _check_pieces(text: str) -> None:
    """Refuse what would break those that read it: too deep, numbers without end, halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError as error:  # of JSON, which lets them pass
        raise _error_at(text, error.start, "not TOML: half of a character; write it anew") from None
    depth = dots = 0
    for piece in _PIECES.finditer(text):
        mark = piece[0]
        if mark[0] not in "\"'":
            dots = dots + 1 if mark == "." else 0
            depth += (mark in "[{") - (mark in "]}")
        if depth > DEEPEST or dots > DEEPEST:
            raise _error_at(text, piece.start(), _TOO_DEEP)
        if mark[0].isalnum():
            raise _error_at(text, piece.start(), _TOO_LARGE)


def _error_at(text: str, position: int, what: str) -> TomlSyntaxError:
    return TomlSyntaxError(text.count("\n", 0, position) + 1, what, position - text.rfind("\n", 0, position))


_TOO_DEEP: Final = f"not TOML: more than {DEEPEST} tables and lists inside one another; write it flatter"
_TOO_LARGE: Final = "not TOML: a whole number of more than 64 bits; write a smaller one, or a text in quotes"


def _syntax_error(text: str, message: str) -> TomlSyntaxError:
    found = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)", message)
    what = message[: found.start()] if found else message
    if found and found[1]:
        return TomlSyntaxError(int(found[1]), f"not TOML: {what} (column {found[2]})", int(found[2]))
    return TomlSyntaxError(text.count("\n") + 1, f"not TOML: {what} (at the end of the file)")


@dataclass(slots=True)
class _Scanner:
    """One pass over a valid TOML text, noting where each key path starts."""

    text: str
    position: int = 0
    table: KeyPath = ()
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    tables_in: dict[KeyPath, int] = field(default_factory=dict)  # arrays of tables -> tables so far
    counted: int = 0
    line_number: int = 1
    line_start: int = -1  # where the line feed before it stands

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
        place = self._place()
        array = self.text.startswith("[[", self.position)
        self.position += 2 if array else 1
        keys = self._dotted_key()
        self.position += 2 if array else 1
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._inside((*path, key))
        path = (*path, keys[-1])
        self._note(path, place)
        if array:
            self.tables_in[path] = self.tables_in.get(path, 0) + 1
            path = self._inside(path)
            self._note(path, place)
        self.table = path

    def _inside(self, path: KeyPath) -> KeyPath:
        """Return the path of the last table, where the path is that of an array of tables."""
        count = self.tables_in.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: KeyPath) -> None:
        place = self._place()
        path = table
        for key in self._dotted_key():
            path = (*path, key)
            self._note(path, place)
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
            self._scalar()

    def _scalar(self) -> None:
        start = self.position
        self._skip(_SCALAR)
        scalar = self.text[start : self.position].strip()
        if _LONG_NUMBER.fullmatch(scalar) and int(scalar, 0) not in _COUNTABLE:
            raise _error_at(self.text, start, _TOO_LARGE)

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
            self._note((*path, index), self._place())
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

    def _note(self, path: KeyPath, place: tuple[int, int]) -> None:
        if len(path) > DEEPEST:
            raise TomlSyntaxError(place[0], _TOO_DEEP, place[1])
        self.places.setdefault(path, place)

    def _place(self) -> tuple[int, int]:
        self.line_number += self.text.count("\n", self.counted, self.position)
        self.line_start = max(self.line_start, self.text.rfind("\n", self.counted, self.position))
        self.counted = self.position
        return self.line_number, self.position - self.line_start
