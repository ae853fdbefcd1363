"""Editing a text of rules as a form does: one rule is put, moved or taken out, and every comment elsewhere stays.

Texts in, texts out; nothing is checked but that they are TOML: `read_rules_text` says what is wrong with the outcome.
"""

import tomllib
from collections.abc import Mapping, MutableMapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from dicom_node.errors import SettingsInvalid
from dicom_node.routing.printing import rule_table, table_of_values
from dicom_node.routing.rules import Rule


def put_rule(text: str, rule: Rule | Mapping[str, Any], instead_of: str | int = "") -> str:
    """Return a text with a rule in the place of the one of that name, or at the end if there is none.

    In a rule that is replaced, what did not change keeps its comments and its layout, wherever that can be done.

    Parameters
    ----------
    rule : Rule or mapping
        The rule, or the keys and values of its table as `tomllib` gives them; these may have faults, as in a form
        that is being filled in.
    instead_of : str or int
        The rule that was edited: its name (blank: that of the rule itself), or its place, counted from 0, which is
        certain even where rules have the same name, or none.

    Raises
    ------
    SettingsInvalid
        If the text is not TOML with `[[rule]]` tables.
    """
    table = rule_table(rule) if isinstance(rule, Rule) else table_of_values(rule)
    which = str(table.get("name", "")) if instead_of == "" else instead_of
    in_place = _edited_in_place(text, table, which)
    if _says(in_place, table):
        return in_place
    # a layout that cannot be edited piece by piece, such as tables by dotted keys: the rule is written anew
    document, rules = _read(text)
    places = _places(rules, which)
    return _with(document, [table if place in places else each for place, each in enumerate(rules.body)])


def _says(text: str, table: Table) -> bool:
    """Return whether one rule of a text has exactly the keys and values of a table, its questions in their order."""
    wanted = table.unwrap()
    try:
        found = [rule for rule in tomllib.loads(text).get("rule", []) if rule == wanted]
    except tomllib.TOMLDecodeError:
        return False
    return any(_order(rule) == _order(wanted) for rule in found)


def _order(rule: Mapping[str, Any]) -> list[Any]:
    """Return the order in which a rule asks, and fills its roles; a ranking may stand anywhere among them."""
    return [_keys(part) for part in (rule.get("when"), rule.get("inputs"), rule.get("priors", {}).get("inputs"))]


def _keys(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [_keys(each) for each in value]
    return [(key, _keys(each)) for key, each in value.items() if key != "rank"] if isinstance(value, Mapping) else []


def _edited_in_place(text: str, table: Table, which: str | int) -> str:
    document, rules = _read(text)
    places = _places(rules, which)
    if places:
        _update(rules.body[places[0]], table)
    elif len(rules):
        text = tomlkit.dumps(document)
        gap = "" if text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        alone = tomlkit.document()
        alone["rule"] = tomlkit.aot()
        alone["rule"].append(table)
        return f"{text}{gap}{tomlkit.dumps(alone)}"
    else:
        rules = tomlkit.aot()
        rules.append(table)
        document["rule"] = rules
    return tomlkit.dumps(document)


def remove_rule(text: str, which: str | int) -> str:
    """Return a text without the rule of a name, or at a place; raises SettingsInvalid as `put_rule`."""
    document, rules = _read(text)
    gone = _places(rules, which)
    return _with(document, [table for at, table in enumerate(rules.body) if at not in gone])


def move_rule(text: str, which: str | int, place: int) -> str:
    """Return a text in which the rule of a name, or at a place, stands at another place, from 0.

    Raises
    ------
    SettingsInvalid
        As `put_rule`.
    """
    document, rules = _read(text)
    moving = _places(rules, which)
    moved = [rules.body[at] for at in moving]
    tables = [table for at, table in enumerate(rules.body) if at not in moving]
    tables[place:place] = moved
    return _with(document, tables)


def _with(document: tomlkit.TOMLDocument, tables: list[Table]) -> str:
    if tables:
        rules = tomlkit.aot()
        for table in tables:
            rules.append(table)
        document["rule"] = rules
    elif "rule" in document:
        document.remove("rule")
    return tomlkit.dumps(document)


def _read(text: str) -> tuple[tomlkit.TOMLDocument, AoT]:
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise SettingsInvalid(f"the rules are not TOML: {error}") from None
    rules = document.get("rule", tomlkit.aot())
    if not isinstance(rules, AoT):
        raise SettingsInvalid("write [[rule]], with two brackets: there may be several")
    return document, rules


def _places(rules: AoT, which: str | int) -> list[int]:
    """Return where the rules of a name stand, or the place that is given, if there is one."""
    if isinstance(which, int):
        return [which] if which < len(rules) else []
    return [place for place, table in enumerate(rules.body) if table.get("name") == which]


def _update(old: MutableMapping[str, Any], new: MutableMapping[str, Any]) -> None:
    """Make a table say what another one says, touching only what differs."""
    for key in [key for key in old if key not in new]:
        del old[key]
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Table) and isinstance(value, Table):
            _update(before, value)
        elif before is None or tomlkit.item(before).unwrap() != tomlkit.item(value).unwrap():
            old[key] = value
