"""Edits that a form makes in a text of rules: plain values in, a text with readable TOML out."""

import tomllib
from collections.abc import Mapping
from typing import Any, Final

import tomlkit

from dicom_node.admin.rule_rows import inline
from dicom_node.routing import put_rule
from dicom_node.toml_source import read_toml

#: In which order people read the keys of a rule; tables come last, as TOML wants it.
_ORDER: Final = (
    *("name", "description", "enabled", "do_not_run", "pipeline", "destinations", "priority", "late_images"),
    *("fallback", "stop", "dry_run", "schedule", "completion", "settings", "when", "inputs", "priors"),
)

_KINDS: Final = {"when": dict, "inputs": dict, "completion": dict, "settings": dict, "destinations": list}


def rules_of(text: str) -> list[dict[str, Any]]:
    """Return the tables of the rules as they stand there, with faults, if any; none if the text is not TOML."""
    try:
        found = tomllib.loads(text).get("rule", [])
    except tomllib.TOMLDecodeError:
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def line_of(text: str, place: int) -> int:
    """Return the line (from 1) at which a rule begins, its place counted from 0."""
    return read_toml(text).place(("rule", place))[0]


def is_toml(text: str) -> bool:
    """Return whether a text is TOML, so that a form can show it."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def fits_form(rule: Mapping[str, Any]) -> bool:
    """Return whether what stands in a rule is of the kinds that a form has fields for, whatever faults it has."""
    if any(not isinstance(rule.get(key, kind()), kind) for key, kind in _KINDS.items()):
        return False
    values = [*rule.get("completion", {}).values(), *rule.get("settings", {}).values()]
    return (
        all(map(_is_destination, rule.get("destinations", [])))
        and not any(isinstance(value, dict | list) for value in values)
        and not isinstance(rule.get("priority"), list)
        and isinstance(rule.get("completion", {}).get("quiet_seconds", 0), int | float)
    )


def _is_destination(given: object) -> bool:
    if isinstance(given, dict):
        return isinstance(given.get("name"), str) and isinstance(given.get("profile", ""), str)
    return isinstance(given, str)


def with_rule(text: str, rule: Mapping[str, Any], instead_of: str | int) -> str:
    """Return a text with a rule in the place of the one of that name, or at that place; comments elsewhere stay.

    Raises
    ------
    SettingsInvalid
        If the text is not TOML with `[[rule]]` tables.
    """
    return put_rule(text, _written(rule), instead_of)


def free_name(tables: list[dict[str, Any]], wanted: str) -> str:
    """Return a name that no rule, or other table, has yet: the wanted one, or that with a number."""
    taken = {str(table.get("name", "")) for table in tables}
    names = (wanted, *(f"{wanted} {number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _written(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a rule such that conditions stand in one line each."""
    known = [key for key in _ORDER if key in rule]
    return {key: _value(key, rule[key]) for key in (*(key for key in rule if key not in _ORDER), *known)}


def _value(key: str, value: Any) -> Any:
    if not isinstance(value, dict) or key in ("priority", "completion"):
        return inline(value)
    if key == "inputs":
        return _super(
            {role: _value("when", where) if isinstance(where, dict) else where for role, where in value.items()}
        )
    table = tomlkit.table()
    for name, each in value.items():
        table.append(tomlkit.key([name]), _value(name, each) if name == "inputs" else inline(each))
    return table


def _super(tables: Mapping[str, Any]) -> Any:
    """Return a table of tables, whose own heading is left out."""
    whole = tomlkit.table(is_super_table=bool(tables))
    for name, table in tables.items():
        whole.append(tomlkit.key([name]), table)
    return whole
