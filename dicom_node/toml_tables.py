"""Editing one table of an array such as `[[destination]]` in a TOML text; every other line stays as it is.

Texts in, texts out. The lines of one table are cut out, edited (tomlkit, so that its own comments stay), and put
back: what stands before and after is never parsed and written again. The outcome is read and compared with what was
wanted, so a layout that cannot be edited like this is refused, and never damaged.
"""

import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Table

from dicom_node.errors import Failure
from dicom_node.toml_source import TomlSource, read_toml


class TableNotEditable(Failure):
    """The file is laid out in a way that cannot be edited here; a person has to."""


def table_of(text: str, kind: str, name: str) -> dict[str, Any] | None:
    """Return the keys and values of the table `[[kind]]` with a name; None if there is none.

    Raises
    ------
    TomlSyntaxError
        If the text is not TOML.
    """
    return _named(read_toml(text), kind, name)


def keys_text(values: Mapping[str, Any]) -> str:
    """Return keys and values as TOML, for a person to edit."""
    return tomlkit.dumps(_as_table(values)).strip()


def put_table(text: str, kind: str, values: Mapping[str, Any]) -> str:
    """Return a text in which a table `[[kind]]` says `values`: the one of that name, or a new one after the others.

    Raises
    ------
    TomlSyntaxError
        If the text is not TOML.
    TableNotEditable
        If the layout does not let it be edited without touching anything else.
    """
    source, name = read_toml(text), values["name"]
    index = _index(source, kind, name)
    lines = text.split("\n")
    if index is None:
        edited = _inserted(lines, source, kind, _written(kind, values))
    else:
        start, end = _span(lines, source, kind, index)
        end = _with_comments(lines, end)
        block = _updated("\n".join(lines[start:end]), kind, values)
        edited = [*lines[:start], *block.split("\n"), *lines[end:]]
    tables = list(source.values.get(kind, ()))
    wanted = [*tables, values] if index is None else [*tables[:index], values, *tables[index + 1 :]]
    return _checked(edited, source, kind, wanted, text)


def remove_table(text: str, kind: str, name: str) -> str:
    """Return a text without the table `[[kind]]` of a name; comments around it stay. Raises as `put_table`."""
    source = read_toml(text)
    index = _index(source, kind, name)
    if index is None:
        return text
    lines = text.split("\n")
    start, end = _span(lines, source, kind, index)
    while start > 0 and end < len(lines) and not lines[start - 1].strip() and not lines[end].strip():
        end += 1  # one empty place instead of two
    wanted = [table for at, table in enumerate(source.values[kind]) if at != index]
    return _checked([*lines[:start], *lines[end:]], source, kind, wanted, text)


def _named(source: TomlSource, kind: str, name: str) -> dict[str, Any] | None:
    index = _index(source, kind, name)
    return None if index is None else dict(source.values[kind][index])


def _index(source: TomlSource, kind: str, name: str) -> int | None:
    tables = source.values.get(kind, [])
    if not isinstance(tables, list):
        raise TableNotEditable(f"write [[{kind}]], with two brackets: there may be several")
    return next((at for at, each in enumerate(tables) if isinstance(each, dict) and each.get("name") == name), None)


def _span(lines: list[str], source: TomlSource, kind: str, index: int) -> tuple[int, int]:
    """Return the first line of a table, and the one after its last key; lines count from 0."""
    start = source.line((kind, index)) - 1
    others = [line - 1 for path, (line, _) in source.places.items() if path[:2] != (kind, index)]
    following = min((line for line in others if line > start), default=len(lines))
    end = following
    # the last line of any value is neither blank nor a comment
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return start, end


def _with_comments(lines: list[str], end: int) -> int:
    """Return where the comments end that stand right below a line."""
    while end < len(lines) and lines[end].lstrip().startswith("#"):
        end += 1
    return end


def _inserted(lines: list[str], source: TomlSource, kind: str, block: str) -> list[str]:
    """Return the lines with a new table after the last of its kind, and after the comments right below that."""
    count = len(source.values.get(kind, ()))
    end = _span(lines, source, kind, count - 1)[1] if count else len(lines)
    end = _with_comments(lines, end)
    head, tail = lines[:end], lines[end:]
    while not tail and head and not head[-1].strip():
        head.pop()
    return [*head, *([""] if head else []), *block.rstrip("\n").split("\n"), *(tail or [""])]


def _written(kind: str, values: Mapping[str, Any]) -> str:
    tables = tomlkit.aot()
    tables.append(_as_table(values))
    document = tomlkit.document()
    document[kind] = tables
    return tomlkit.dumps(document)


def _as_table(values: Mapping[str, Any]) -> Table:
    """Return a table whose own keys come before the tables in it."""
    table = tomlkit.table()
    for key, value in sorted(values.items(), key=lambda pair: isinstance(pair[1], Mapping)):
        table.append(tomlkit.key([key]), _as_table(value) if isinstance(value, Mapping) else value)
    return table


def _updated(block: str, kind: str, values: Mapping[str, Any]) -> str:
    try:
        edited = _in_place(block, kind, values)
        if tomllib.loads(edited) == {kind: [values]}:
            return edited
    except (KeyError, TypeError, ValueError):
        pass  # such as tables by dotted keys: written anew
    return _written(kind, values).rstrip("\n")


def _in_place(block: str, kind: str, values: Mapping[str, Any]) -> str:
    """Edit the keys of a table, and then the tables in it: new keys stand with the others, above those."""
    lines = block.split("\n")
    cut = _own_lines(lines, read_toml(block), kind)
    head = tomlkit.parse("\n".join(lines[:cut]))
    table: Table = head[kind][0]
    deep = {key: value for key, value in values.items() if isinstance(value, Mapping) and key not in table}
    _update(table, {key: value for key, value in values.items() if key not in deep})
    parts = [tomlkit.dumps(head).rstrip("\n")]
    rest = tomlkit.parse("\n".join(lines[cut:]))
    if kind in rest:
        inner: Table = rest[kind]
        known = {key: value for key, value in deep.items() if key in inner}
        _update(inner, known)
        parts.append(tomlkit.dumps(rest).rstrip("\n"))
        deep = {key: value for key, value in deep.items() if key not in known}
    elif cut < len(lines):
        parts.append("\n".join(lines[cut:]))
    for key, value in deep.items():
        parts.append(f"\n[{kind}.{tomlkit.key([key]).as_string()}]\n{tomlkit.dumps(value).rstrip()}".rstrip())
    return "\n".join(parts)


def _own_lines(lines: list[str], source: TomlSource, kind: str) -> int:
    """Return how many lines there are up to the last key of a table itself, before the tables in it."""
    headers = [at for at, line in enumerate(lines) if line.lstrip().startswith(f"[{kind}.")]
    inside = {line - 1 for path, (line, _) in source.places.items() if path[:2] == (kind, 0)}
    cut = min((at for at in headers if at in inside), default=len(lines))
    while cut > 1 and (not lines[cut - 1].strip() or lines[cut - 1].lstrip().startswith("#")):
        cut -= 1
    return cut


def _update(old: Table | InlineTable, new: Mapping[str, Any]) -> None:
    """Make a table say what a mapping says, touching only what differs."""
    for key in [key for key in old if key not in new]:
        old.remove(key)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Table | InlineTable) and isinstance(value, Mapping):
            _update(before, value)
        elif before is None or tomlkit.item(before).unwrap() != value:
            old[key] = value


def _checked(lines: list[str], source: TomlSource, kind: str, wanted: list[Any], old: str) -> str:
    """Return lines as a text, if it says what was wanted and nothing else has changed."""
    text = "\n".join(lines)
    if "\r\n" in old:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    expected = {key: value for key, value in source.values.items() if key != kind}
    if wanted:
        expected[kind] = wanted
    try:
        right = tomllib.loads(text) == expected
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise TableNotEditable(f"the [[{kind}]] tables of the file are laid out so that only a person can edit them")
    return text
