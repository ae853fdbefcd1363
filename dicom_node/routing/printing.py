"""Rules as the text that they are written in: rule -> text -> rule loses nothing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import tomlkit
from tomlkit.items import Array, InlineTable, Table

from dicom_node.routing.conditions import AllOf, AnyOf, Condition, Equals, Exists, Matches, Not, OneOf, Range
from dicom_node.routing.moments import Between
from dicom_node.routing.questions import Group, Question, Where
from dicom_node.routing.rules import (
    DEFAULT_RANK,
    CompletionPolicy,
    LateImages,
    Priority,
    Priors,
    RankBy,
    RoleRule,
    Rule,
    RuleSet,
)


def digest(ruleset: RuleSet) -> str:
    """Return the SHA-256, hex, of the printed rules, so comments and layout do not count."""
    return hashlib.sha256(print_rules(ruleset).encode()).hexdigest()


def print_rules(ruleset: RuleSet) -> str:
    """Return the text of `rules.toml` that `parse_rules` reads back as equal rules; defaults are left out."""
    document = tomlkit.document()
    array = tomlkit.aot()
    for rule in ruleset.rules:
        array.append(rule_table(rule))
    if ruleset.rules:
        document.append("rule", array)
    return tomlkit.dumps(document)


def rule_table(rule: Rule) -> Table:
    """Return the table of one rule, its keys in the order in which people read them."""
    table = tomlkit.table()
    for key, value in _plain_values(rule).items():
        table.append(key, value)
    if rule.settings:
        table.append("settings", table_of_values(rule.settings))
    if rule.when:
        table.append("when", table_of_values(_conditions(rule.when)))
    if rule.inputs or not rule.do_not_run:
        table.append("inputs", _inputs_table(rule.inputs))
    if rule.priors is not None:
        table.append("priors", _priors_table(rule.priors))
    return table


def _inputs_table(roles: Mapping[str, RoleRule]) -> Table:
    inputs = tomlkit.table(is_super_table=bool(roles))
    for role, wanted in roles.items():
        inputs.append(tomlkit.key([role]), _role_table(wanted))
    return inputs


def _priors_table(priors: Priors) -> Table:
    table = tomlkit.table()
    for item in fields(priors):
        value = getattr(priors, item.name)
        if item.name != "inputs" and value != item.default:
            table.append(item.name, list(value) if isinstance(value, tuple) else value)
    if priors.inputs:
        table.append("inputs", _inputs_table(priors.inputs))
    return table


def _plain_values(rule: Rule) -> dict[str, Any]:
    """Return what stands in the rule's own table; the name always, the others where they are not the default."""
    values = {
        "description": rule.description,
        "enabled": rule.enabled,
        "do_not_run": rule.do_not_run,
        "pipeline": rule.pipeline,
        "destinations": _destinations(rule),
        "priority": _priority(rule),
        "late_images": rule.late_images.value,
        "fallback": rule.fallback,
        "stop": rule.stop,
        "dry_run": rule.dry_run,
        "schedule": [str(window) for window in rule.schedule],
        "completion": _completion(rule.completion),
    }
    kept = {key: value for key, value in values.items() if value != _DEFAULTS[key]}
    return {"name": rule.name, **kept}


_DEFAULTS: Final[Mapping[str, Any]] = {
    "description": "",
    "enabled": True,
    "do_not_run": "",
    "pipeline": "",
    "destinations": [],
    "priority": Priority.ROUTINE.value,
    "late_images": LateImages.RERUN.value,
    "fallback": False,
    "stop": False,
    "dry_run": False,
    "schedule": [],
    "completion": None,
}


def _destinations(rule: Rule) -> list[Any]:
    return [
        _inline({"name": name, "profile": rule.profiles[name]}) if name in rule.profiles else name
        for name in rule.destinations
    ]


def _priority(rule: Rule) -> Any:
    if rule.priority_from is None:
        return rule.priority.value
    terms = _inline({term: str(priority) for term, priority in rule.priority_from.terms.items()})
    written = {"from": rule.priority_from.keyword, "otherwise": rule.priority.value, "terms": terms or None}
    return _inline(written)


def _completion(policy: CompletionPolicy | None) -> Any:
    if policy is None:
        return None
    return _inline(
        {
            "quiet_seconds": policy.quiet_seconds,
            "inputs_present": policy.inputs_present or None,
            "count_from": policy.count_from or None,
        }
    )


def _role_table(role: RoleRule) -> Table:
    table = table_of_values(_conditions(role.where))
    if role.rank != DEFAULT_RANK:
        table.append("rank", [_rank_step(step) for step in role.rank])
    return table


def _rank_step(step: RankBy) -> Any:
    return _inline({step.keyword: list(step.preferred)}) if step.preferred else str(step)


def table_of_values(values: Mapping[str, Any]) -> Table:
    """Return a table of keys, each as it is: a dot in one makes no table in it."""
    table = tomlkit.table()
    for key, value in values.items():
        table.append(tomlkit.key([key]), value)
    return table


def _conditions(questions: Sequence[Question]) -> dict[str, Any]:
    """Return questions as the keys and values of one table.

    Raises
    ------
    ValueError
        If one attribute is asked about twice, which a table cannot say: it belongs into an `all_of`.
    """
    written: dict[str, Any] = {}
    for question in questions:
        key = question.keyword if isinstance(question, Where) else str(question.kind)
        if key in written:
            raise ValueError(f"{key} stands twice in one table; put both into an all_of")
        written[key] = condition_value(question.condition) if isinstance(question, Where) else _branches(question)
    return written


def _branches(group: Group) -> Array:
    array = tomlkit.array()
    for branch in group.branches:
        array.append(_inline(_conditions(branch)))
    return array.multiline(len(group.branches) > 1)


def condition_value(condition: Condition) -> Any:
    """Return a condition as the TOML value that it is written as."""
    match condition:
        case Equals(value):
            return value
        case OneOf(values):
            return list(values)
        case _:
            return _inline(_condition_table(condition))


def _condition_table(condition: Matches | Range | Between | Exists | Not | AnyOf | AllOf) -> dict[str, Any]:
    match condition:
        case Matches(pattern):
            return {"matches": pattern}
        case Range(at_least, at_most) | Between(_, at_least, at_most):
            return {"at_least": at_least, "at_most": at_most}
        case Exists(wanted):
            return {"exists": wanted}
        case Not(denied):
            return {"not": condition_value(denied)}
        case AnyOf(conditions):
            return {"any_of": [condition_value(one) for one in conditions]}
        case AllOf(conditions):
            return {"all_of": [condition_value(one) for one in conditions]}


def _inline(values: Mapping[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    for key, value in values.items():
        if value is not None:
            table.append(tomlkit.key([key]), value)
    return table
