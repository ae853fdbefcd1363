"""`node.toml` -> settings, with every fault at once, as file and line."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dicom_node.errors import SettingsInvalid
from dicom_node.settings.model import (
    CompletionSettings,
    ComputeSettings,
    DeliverySettings,
    Destination,
    LedgerSettings,
    LogSettings,
    NodeSettings,
    ReceptionSettings,
    ResultSettings,
    Settings,
    Source,
    TlsSettings,
)
from dicom_node.toml_source import KeyPath, TomlSource, TomlSyntaxError, read_toml


def load_settings(path: Path) -> Settings:
    """Return the settings of a `node.toml`; relative paths in it start at the folder it lies in.

    Raises
    ------
    SettingsInvalid
        If it cannot be read, or with every fault as "file:line: what is wrong; what would be right".
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsInvalid(f"{path}: cannot be read: {reason}; give the path of node.toml") from error
    settings = parse_settings(text, str(path))
    folder = path.absolute().parent
    node = settings.node
    paths = {"data": _absolute(folder, node.data), "rules": _absolute(folder, node.rules)}
    reception = settings.reception
    if reception.tls is not None:
        reception = reception.model_copy(update={"tls": _tls_from(folder, reception.tls)})
    return settings.model_copy(update={"node": node.model_copy(update=paths), "reception": reception})


def parse_settings(text: str, name: str) -> Settings:
    """Return the settings that a text holds, paths as written; `name` is the file to name in faults.

    Raises
    ------
    SettingsInvalid
        With every fault, one a line.
    """
    try:
        source = read_toml(text)
    except TomlSyntaxError as error:
        raise SettingsInvalid(f"{name}:{error.line}: {error}") from None
    faults = list(_repeated_names(source))
    try:
        settings = Settings.model_validate(_by_field(source.values))
    except ValidationError as error:
        faults += [_fault(details, source) for details in error.errors()]
    else:
        if not faults:
            return settings
    raise SettingsInvalid("\n".join(f"{name}:{line}: {what}" for line, what in sorted(faults)))


def _tls_from(folder: Path, tls: TlsSettings) -> TlsSettings:
    given = {name: getattr(tls, name) for name in ("certificate", "private_key", "client_ca")}
    return tls.model_copy(update={name: path and _absolute(folder, path) for name, path in given.items()})


def _absolute(folder: Path, path: Path) -> Path:
    return (folder / path.expanduser()).resolve()


_FIELD_OF_TABLE: Final = {"source": "sources", "destination": "destinations"}
_TABLE_OF_FIELD: Final = {field: table for table, field in _FIELD_OF_TABLE.items()}


def _by_field(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return TOML's tables under our field names; a literal `sources` stays unknown, as no field has its name."""
    unknown = {f"{key}\0" if key in _TABLE_OF_FIELD else key: value for key, value in values.items()}
    return {_FIELD_OF_TABLE.get(key, key): value for key, value in unknown.items()}


def _repeated_names(source: TomlSource) -> Iterator[tuple[int, str]]:
    for table in _FIELD_OF_TABLE:
        entries = source.values.get(table)
        named = [
            (entry["name"], index)
            for index, entry in enumerate(entries if isinstance(entries, list) else [])
            if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        ]
        counts = Counter(name for name, _ in named)
        for name, index in named:
            if counts[name] > 1:
                line = source.line((table, index, "name"))
                yield line, f"[[{table}]]: the name {name!r} is used {counts[name]} times; give each its own"


def _fault(details: ErrorDetails, source: TomlSource) -> tuple[int, str]:
    path = _toml_path(details["loc"])
    where, key = _place(path, source)
    given = _given(source.values, path)
    return source.line(path), where + _wording(details, key, given, path)


def _toml_path(loc: tuple[str | int, ...]) -> KeyPath:
    first = str(loc[0])
    return (_TABLE_OF_FIELD.get(first, first.rstrip("\0")), *loc[1:])


def _place(path: KeyPath, source: TomlSource) -> tuple[str, str]:
    """Return "[[destination]] 'pacs': " and "port", as an administrator finds them in the file."""
    table, rest = str(path[0]), path[1:]
    if table in _FIELD_OF_TABLE and rest:
        name = _given(source.values, (table, rest[0], "name"))
        title = f" {name!r}" if isinstance(name, str) else f" number {int(rest[0]) + 1}"
        return f"[[{table}]]{title}: ", _dotted(rest[1:])
    if not rest and table not in (*_MODELS, "pipelines"):
        return "", table
    return f"[{table}]: ", _dotted(rest)


def _dotted(path: KeyPath) -> str:
    """Return ("addresses", 0) as "addresses, entry 1"."""
    keys = ".".join(str(part) for part in path if isinstance(part, str))
    entries = [f"entry {part + 1}" for part in path if isinstance(part, int)]
    return ", ".join([keys, *entries])


def _given(values: Any, path: KeyPath) -> Any:
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _wording(details: ErrorDetails, key: str, given: object, path: KeyPath) -> str:
    """Return what is wrong and what would be right; pydantic's own words where we have no better ones."""
    if path[-1] in _FIELD_OF_TABLE and details["type"] == "tuple_type":
        return f"write [[{path[-1]}]], with two brackets: there may be several"
    wording = _WORDINGS.get(details["type"])
    if wording is not None:
        return wording(key, given, path)
    if details["type"] == "value_error":
        return f"{key} {details['ctx']['error']}".strip()
    expected = details.get("ctx", {}).get("expected")
    return f"{key} is {given!r}; it must be {expected}" if expected else f"{key} {details['msg']}"


def _unknown(key: str, _given: object, path: KeyPath) -> str:
    close = difflib.get_close_matches(str(path[-1]), _known_keys(path[:-1]), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_known_keys(path[:-1]))}"
    return f"unknown key {key!r}; {hint}"


def _known_keys(table: KeyPath) -> list[str]:
    if not table:
        return [_TABLE_OF_FIELD.get(name, name) for name in Settings.model_fields]
    return list(_MODELS.get(_dotted(table), _MODELS[str(table[0])]).model_fields)


_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "node": NodeSettings,
    "reception": ReceptionSettings,
    "reception.tls": TlsSettings,
    "completion": CompletionSettings,
    "source": Source,
    "destination": Destination,
    "delivery": DeliverySettings,
    "compute": ComputeSettings,
    "results": ResultSettings,
    "log": LogSettings,
    "ledger": LedgerSettings,
}
_Wording = Callable[[str, object, KeyPath], str]
_WORDINGS: Final[Mapping[str, _Wording]] = {
    "extra_forbidden": _unknown,
    "missing": lambda key, _given, _path: f"{key} is missing",
    "int_type": lambda key, given, _path: f"{key} is {given!r}; it must be a whole number",
    "int_from_float": lambda key, given, _path: f"{key} is {given!r}; it must be a whole number",
    "float_type": lambda key, given, _path: f"{key} is {given!r}; it must be a number",
    "string_type": lambda key, given, _path: f"{key} is {given!r}; it must be text in quotes",
    "path_type": lambda key, given, _path: f"{key} is {given!r}; it must be a path in quotes",
    "bool_type": lambda key, given, _path: f"{key} is {given!r}; it must be true or false",
    "tuple_type": lambda key, given, _path: f'{key} is {given!r}; it must be a list such as ["..."]',
    "model_type": lambda key, _given, _path: f"{key} must be a table".strip(),
    "dict_type": lambda key, _given, _path: f"{key} must be a table".strip(),
    "mapping_type": lambda key, _given, _path: f"{key} must be a table".strip(),
}
