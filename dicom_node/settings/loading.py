"""`node.toml` -> settings, with every fault at once, as file and line."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dicom_node.errors import SettingsInvalid
from dicom_node.settings.admin import AdminSettings, AdminTlsSettings, AlertSettings, AuditSettings
from dicom_node.settings.archives import Archive, Retrieve
from dicom_node.settings.connections import AUTHENTICATIONS, ClientTlsSettings
from dicom_node.settings.destinations import PROTOCOLS, DicomDestination, QueryPeer
from dicom_node.settings.model import (
    CompletionSettings,
    ComputeSettings,
    DeliverySettings,
    LedgerSettings,
    LogSettings,
    NodeSettings,
    ReceptionSettings,
    ResultSettings,
    Settings,
    Source,
    TlsSettings,
)
from dicom_node.settings.openid import OpenIdSettings
from dicom_node.settings.profiles import ResultProfile, why_unusable
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
    return settings_from(text, path)


def settings_from(text: str, path: Path) -> Settings:
    """Return the settings that a text would give as the file at a path; raises SettingsInvalid."""
    return _placed(parse_settings(text, str(path)), path.absolute().parent)


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
        faults += _profile_faults(settings, source)
        faults += _archive_faults(settings, source)
        if not faults:
            return settings
    raise SettingsInvalid("\n".join(f"{name}:{line}: {what}" for line, what in sorted(faults)))


_Section = TypeVar("_Section", bound=BaseModel)


def _placed(section: _Section, folder: Path) -> _Section:
    """Return a section with every path in it, however deep, starting at a folder."""
    given = {name: getattr(section, name) for name in type(section).model_fields}
    placed = {name: _placed_value(value, folder) for name, value in given.items()}
    return section.model_copy(update={name: value for name, value in placed.items() if value != given[name]})


def _placed_value(value: Any, folder: Path) -> Any:
    match value:
        case Path():
            return _absolute(folder, value)
        case BaseModel():
            return _placed(value, folder)
        case tuple():
            return tuple(_placed_value(each, folder) for each in value)
    return value


def _absolute(folder: Path, path: Path) -> Path:
    return (folder / path.expanduser()).resolve()


_FIELD_OF_TABLE: Final = {
    "source": "sources",
    "destination": "destinations",
    "archive": "archives",
    "profile": "profiles",
}
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


def _profile_faults(settings: Settings, source: TomlSource) -> Iterator[tuple[int, str]]:
    """Yield what is wrong between profiles, and between destinations and profiles."""
    for index, profile in enumerate(settings.profiles):
        if what := why_unusable(settings.profiles).get(profile.name):
            yield source.line(("profile", index, "name")), f"[[profile]] {profile.name!r}: {what}"
    known = settings.profile_names
    for index, destination in enumerate(settings.destinations):
        if destination.profile not in known:
            close = difflib.get_close_matches(destination.profile, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            what = f"profile {destination.profile!r} is unknown; {hint}"
            yield source.line(("destination", index, "profile")), f"[[destination]] {destination.name!r}: {what}"


def _archive_faults(settings: Settings, source: TomlSource) -> Iterator[tuple[int, str]]:
    """Yield what is wrong between archives and sources, and between `[completion]` and archives."""
    for index, archive in enumerate(settings.archives):
        title = archive.sends_as or archive.ae_title
        known_source = title is None or any(source.is_called(title) for source in settings.sources)
        if archive.retrieve is Retrieve.MOVE and not known_source:
            what = f"no [[source]] has the AE title {title!r}, so what it sends by C-MOVE would be rejected; add one"
            yield source.line(("archive", index, "name")), f"[[archive]] {archive.name!r}: {what}"
    name, known = settings.completion.archive, [archive.name for archive in settings.archives]
    if name and name not in known:
        hint = f"known: {', '.join(known) or 'none'}"
        yield source.line(("completion", "archive")), f"[completion]: no [[archive]] is named {name!r}; {hint}"


def _fault(details: ErrorDetails, source: TomlSource) -> tuple[int, str]:
    path = _toml_path(details)
    where, key = _place(path, source)
    return source.line(path), where + _wording(details, key, path, source)


def _toml_path(details: ErrorDetails) -> KeyPath:
    first, *rest = details["loc"]
    path: KeyPath = (_TABLE_OF_FIELD.get(str(first), str(first).rstrip("\0")), *rest)
    if path[0] not in {"destination", "archive"}:
        return path
    if details["type"] == "union_tag_invalid":
        return (*path, "protocol")
    # pydantic names the kind of destination, and of authentication, where the file has nothing
    kept = path[:2] + path[3:] if path[0] == "destination" else path
    return kept[:3] + kept[4:] if kept[2:3] == ("auth",) else kept


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


def _wording(details: ErrorDetails, key: str, path: KeyPath, source: TomlSource) -> str:
    """Return what is wrong and what would be right; pydantic's own words where we have no better ones."""
    given = _given(source.values, path)
    if path[-1] in _FIELD_OF_TABLE and details["type"] == "tuple_type":
        return f"write [[{path[-1]}]], with two brackets: there may be several"
    if details["type"] == "extra_forbidden":
        return _unknown(key, path, source.values)
    wording = _WORDINGS.get(details["type"])
    if wording is not None:
        return wording(key, given)
    if details["type"] == "value_error":
        return f"{key} {details['ctx']['error']}".strip()
    context = details.get("ctx", {})
    expected = context.get("expected") or context.get("expected_tags")
    return f"{key} is {given!r}; it must be {expected}" if expected else f"{key} {details['msg']}"


def _unknown(key: str, path: KeyPath, values: Mapping[str, Any]) -> str:
    if owners := _owners(path):
        return f"{key} belongs to {owners}"
    known = _known_keys(path[:-1], values)
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"unknown key {key!r}; " + (f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}")


def _owners(path: KeyPath) -> str:
    """Return what kind of destination, or of authentication, has a key that this one has not; empty if none has."""
    what: str
    models: Mapping[str, type[BaseModel]]
    match _names(path[:-1]):
        case ("destination",):
            what, models = "protocol", PROTOCOLS
        case ("destination" | "archive", "auth"):
            what, models = "authentication", AUTHENTICATIONS
        case _:
            return ""
    owners = [name for name, model in models.items() if path[-1] in model.model_fields]
    return f"{what} {' and '.join(owners)}" if owners else ""


def _names(path: KeyPath) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))


def _known_keys(table: KeyPath, values: Mapping[str, Any]) -> list[str]:
    if not table:
        return [_TABLE_OF_FIELD.get(name, name) for name in Settings.model_fields]
    names = _names(table)
    if names == ("destination",):
        protocol = _given(values, (*table, "protocol"))
        return list(PROTOCOLS.get(str(protocol), DicomDestination).model_fields)
    if names in {("destination", "auth"), ("archive", "auth")}:
        return [key for model in AUTHENTICATIONS.values() for key in model.model_fields]
    return list(_MODELS.get(".".join(names), _MODELS[names[0]]).model_fields)


_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "node": NodeSettings,
    "reception": ReceptionSettings,
    "reception.tls": TlsSettings,
    "completion": CompletionSettings,
    "source": Source,
    "destination": DicomDestination,
    "destination.tls": ClientTlsSettings,
    "destination.query": QueryPeer,
    "archive": Archive,
    "archive.tls": ClientTlsSettings,
    "delivery": DeliverySettings,
    "compute": ComputeSettings,
    "results": ResultSettings,
    "profile": ResultProfile,
    "admin": AdminSettings,
    "admin.alerts": AlertSettings,
    "admin.audit": AuditSettings,
    "admin.openid": OpenIdSettings,
    "admin.openid.tls": ClientTlsSettings,
    "admin.tls": AdminTlsSettings,
    "log": LogSettings,
    "ledger": LedgerSettings,
}
_Wording = Callable[[str, object], str]
_WORDINGS: Final[Mapping[str, _Wording]] = {
    "missing": lambda key, _given: f"{key} is missing",
    "int_type": lambda key, given: f"{key} is {given!r}; it must be a whole number",
    "int_from_float": lambda key, given: f"{key} is {given!r}; it must be a whole number",
    "float_type": lambda key, given: f"{key} is {given!r}; it must be a number",
    "string_type": lambda key, given: f"{key} is {given!r}; it must be text in quotes",
    "path_type": lambda key, given: f"{key} is {given!r}; it must be a path in quotes",
    "bool_type": lambda key, given: f"{key} is {given!r}; it must be true or false",
    "tuple_type": lambda key, given: f'{key} is {given!r}; it must be a list such as ["..."]',
    "model_type": lambda key, _given: f"{key} must be a table".strip(),
    "dict_type": lambda key, _given: f"{key} must be a table".strip(),
    "mapping_type": lambda key, _given: f"{key} must be a table".strip(),
}
