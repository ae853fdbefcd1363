"""Rules as frozen values, and the text that they are written as: rule -> text -> rule loses nothing."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

import tomlkit
from tomlkit.items import InlineTable, Table

from dicom_node.contract import SettingValue
from dicom_node.routing.attributes import Attribute, attribute
from dicom_node.routing.conditions import AnyOf, Condition, Equals, Exists, Matches, Not, OneOf, Range


class Priority(StrEnum):
    """In which order jobs run; the terms are those of Requested Procedure Priority (0040,1003), more or less."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"
    BACKGROUND = "background"


class LateImages(StrEnum):
    """What a rule does when images of a study that was already complete arrive."""

    RERUN = "rerun"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Where:
    """One condition on one attribute, by its dotted keyword path.

    Raises
    ------
    UnknownAttribute
        If no such attribute can be compared.
    """

    keyword: str
    condition: Condition
    wanted: str = field(init=False, repr=False, compare=False)
    attribute: Attribute = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every answer needs."""
        object.__setattr__(self, "wanted", str(self.condition))
        object.__setattr__(self, "attribute", attribute(self.keyword))


@dataclass(frozen=True, slots=True)
class RankBy:
    """One step of a ranking: the more (`descending`) or the less of an attribute, the better."""

    keyword: str
    descending: bool

    def __str__(self) -> str:
        """Return the step as it is written in `rules.toml`."""
        return f"{self.keyword} {'desc' if self.descending else 'asc'}"


#: Which of several fitting series fills a role, unless the rule says otherwise: the finest cover of the anatomy.
DEFAULT_RANK: Final = (RankBy("NumberOfSlices", descending=True), RankBy("SliceSpacing", descending=False))


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Which series may fill a role: one for which every condition holds, the best by `rank`."""

    where: tuple[Where, ...]
    rank: tuple[RankBy, ...] = DEFAULT_RANK


@dataclass(frozen=True, slots=True)
class Priors:
    """`[rule.priors]`: earlier studies of the patient that an archive is asked for before the job runs.

    Parameters
    ----------
    same : tuple of str
        Attributes of a series in which a prior must agree with the inputs of the job.
    time_limit_seconds : float
        So long the job waits; then it runs with what came.
    inputs : mapping of str to RoleRule
        One for each role that a prior fills.
    """

    archive: str
    at_most: int = 2
    not_older_than_years: int = 5
    same: tuple[str, ...] = ("BodyPartExamined", "Modality")
    time_limit_seconds: float = 300.0
    inputs: Mapping[str, RoleRule] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return what is asked for, in words."""
        studies = "1 earlier study" if self.at_most == 1 else f"{self.at_most} earlier studies"
        same = f" with the same {' and '.join(self.same)}" if self.same else ""
        years = "1 year" if self.not_older_than_years == 1 else f"{self.not_older_than_years} years"
        return f"at most {studies} from '{self.archive}'{same}, not older than {years}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of `rules.toml`.

    Parameters
    ----------
    settings : mapping
        What the pipeline is to do differently for this rule.
    destinations : tuple of str
        Names from `node.toml`.
    fallback : bool
        True: it fires only if no other rule did.
    when : tuple of Where
        Conditions on the study.
    inputs : mapping of str to RoleRule
        One for each role of the pipeline that the study itself fills.
    """

    name: str
    pipeline: str
    destinations: tuple[str, ...]
    inputs: Mapping[str, RoleRule]
    when: tuple[Where, ...] = ()
    description: str = ""
    enabled: bool = True
    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    priority: Priority = Priority.ROUTINE
    late_images: LateImages = LateImages.RERUN
    fallback: bool = False
    priors: Priors | None = None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules, in the order of the file."""

    rules: tuple[Rule, ...]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the digest: SHA-256, hex, of the printed rules, so comments and layout do not count."""
        object.__setattr__(self, "digest", hashlib.sha256(print_rules(self).encode()).hexdigest())

    def named(self, name: str) -> Rule | None:
        """Return the rule of that name, if there is one."""
        return next((rule for rule in self.rules if rule.name == name), None)


def print_rules(ruleset: RuleSet) -> str:
    """Return the text of `rules.toml` that `parse_rules` reads back as equal rules; defaults are left out."""
    document = tomlkit.document()
    array = tomlkit.aot()
    for rule in ruleset.rules:
        array.append(_rule_table(rule))
    if ruleset.rules:
        document.append("rule", array)
    return tomlkit.dumps(document)


def _rule_table(rule: Rule) -> Table:
    table = tomlkit.table()
    table.append("name", rule.name)
    if rule.description:
        table.append("description", rule.description)
    if not rule.enabled:
        table.append("enabled", tomlkit.boolean("false"))
    table.append("pipeline", rule.pipeline)
    table.append("destinations", list(rule.destinations))
    if rule.priority is not Priority.ROUTINE:
        table.append("priority", rule.priority.value)
    if rule.late_images is not LateImages.RERUN:
        table.append("late_images", rule.late_images.value)
    if rule.fallback:
        table.append("fallback", tomlkit.boolean("true"))
    if rule.settings:
        table.append("settings", _table(rule.settings))
    if rule.when:
        table.append("when", _table(_conditions(rule.when)))
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


def _role_table(role: RoleRule) -> Table:
    table = _table(_conditions(role.where))
    if role.rank != DEFAULT_RANK:
        table.append("rank", [str(step) for step in role.rank])
    return table


def _table(values: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for key, value in values.items():
        table.append(tomlkit.key([key]), value)
    return table


def _conditions(wheres: tuple[Where, ...]) -> dict[str, Any]:
    return {where.keyword: condition_value(where.condition) for where in wheres}


def condition_value(condition: Condition) -> Any:
    """Return a condition as the TOML value that it is written as."""
    match condition:
        case Equals(value):
            return value
        case OneOf(values):
            return list(values)
        case _:
            return _inline(_condition_table(condition))


def _condition_table(condition: Matches | Range | Exists | Not | AnyOf) -> dict[str, Any]:
    match condition:
        case Matches(pattern):
            return {"matches": pattern}
        case Range(at_least, at_most):
            return {"at_least": at_least, "at_most": at_most}
        case Exists(wanted):
            return {"exists": wanted}
        case Not(denied):
            return {"not": condition_value(denied)}
        case AnyOf(conditions):
            return {"any_of": [condition_value(one) for one in conditions]}


def _inline(values: Mapping[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    table.update({key: value for key, value in values.items() if value is not None})
    return table
