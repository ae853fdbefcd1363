"""`rules.toml` -> rules, with every fault at once, as file and line."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from math import isfinite
from typing import Any, Final, TypeVar

from dicom_node.contract import Role
from dicom_node.entities import FactValue
from dicom_node.errors import SettingsInvalid
from dicom_node.routing.attributes import UnknownAttribute, attribute, closest
from dicom_node.routing.conditions import AnyOf, Condition, Equals, Exists, Matches, Not, OneOf, Range
from dicom_node.routing.facts import ORIENTATIONS, SERIES_FACTS
from dicom_node.routing.patterns import pattern_fault
from dicom_node.routing.rules import (
    DEFAULT_RANK,
    LateImages,
    Priority,
    Priors,
    RankBy,
    RoleRule,
    Rule,
    RuleSet,
    Where,
)
from dicom_node.toml_source import KeyPath, TomlSource, TomlSyntaxError, read_toml

_RULE_KEYS: Final = (
    "name",
    "description",
    "enabled",
    "pipeline",
    "settings",
    "destinations",
    "priority",
    "late_images",
    "fallback",
    "when",
    "inputs",
    "priors",
)
_PRIORS_KEYS: Final = ("archive", "at_most", "not_older_than_years", "same", "time_limit_seconds", "inputs")
#: Whole numbers and seconds of `[rule.priors]`: least and most.
_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "at_most": (1, 100),
    "not_older_than_years": (1, 150),
    "time_limit_seconds": (1, 86400),
}
_RANK: Final = "rank"
_FORMS: Final = ("equals", "any_of", "matches", "at_least", "at_most", "exists", "not")
_Choice = TypeVar("_Choice", bound=StrEnum)
_Plain = TypeVar("_Plain", bound=str | bool)


class _Fault(ValueError):
    """One thing that is wrong with one value."""


def parse_rules(
    text: str,
    name: str,
    known_pipelines: Mapping[str, Collection[str]] | None = None,
    known_destinations: Collection[str] | None = None,
    known_archives: Collection[str] | None = None,
) -> RuleSet:
    """Return the rules that a text holds.

    Parameters
    ----------
    name : str
        The file to name in faults.
    known_pipelines : mapping or None
        Pipeline name -> its roles, by name or as mapping to `contract.Role`; None leaves names and roles unchecked.
    known_destinations, known_archives : collection or None
        Names of the destinations and archives in `node.toml`; None leaves them unchecked.

    Raises
    ------
    SettingsInvalid
        With every fault as "file:line: what is wrong; what would be right".
    """
    try:
        source = read_toml(text)
    except TomlSyntaxError as error:
        raise SettingsInvalid(f"{name}:{error.line}: {error}") from None
    reader = _RuleReader(source, known_pipelines, known_destinations, known_archives)
    rules = tuple(reader.rules())
    if reader.faults:
        raise SettingsInvalid("\n".join(f"{name}:{line}: {what}" for line, what in sorted(set(reader.faults))))
    return RuleSet(rules)


class _RuleReader:
    """Reads rules, collecting faults instead of stopping at the first."""

    def __init__(
        self,
        source: TomlSource,
        pipelines: Mapping[str, Collection[str]] | None,
        destinations: Collection[str] | None,
        archives: Collection[str] | None,
    ) -> None:
        self.faults: list[tuple[int, str]] = []
        self._source = source
        self._pipelines = pipelines
        self._destinations = destinations
        self._archives = archives
        self._title = ""

    def rules(self) -> Iterator[Rule]:
        """Yield every rule, faulty ones with their defaults."""
        self._unknown_keys(self._source.values, ("rule",), ())
        tables = self._source.values.get("rule", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._fault(("rule",), "write [[rule]], with two brackets: there may be several")
            return
        first: dict[str, int] = {}
        for index, table in enumerate(tables):
            path: KeyPath = ("rule", index)
            rule = self._rule(table, path)
            if rule.name in first:
                line = self._source.line(("rule", first[rule.name], "name"))
                self._fault((*path, "name"), f"the name is used before, in line {line}; give each rule its own")
            first.setdefault(rule.name, index)
            yield rule

    def _rule(self, table: Mapping[str, Any], path: KeyPath) -> Rule:
        self._title = f"rule {table['name']!r}: " if isinstance(table.get("name"), str) else "rule without a name: "
        self._unknown_keys(table, _RULE_KEYS, path)
        pipeline = self._text(table, "pipeline", path)
        self._check_pipeline(pipeline, path)
        return Rule(
            name=self._text(table, "name", path),
            pipeline=pipeline,
            destinations=self._destination_names(table, path),
            inputs=self._inputs(table, path, pipeline),
            when=self._wheres(self._table(table, "when", path), (*path, "when"), of_study=True),
            description=self._optional(table, "description", path, ""),
            enabled=self._optional(table, "enabled", path, default=True),
            settings=self._settings(table, path),
            priority=self._choice(table, "priority", path, Priority.ROUTINE),
            late_images=self._choice(table, "late_images", path, LateImages.RERUN),
            fallback=self._optional(table, "fallback", path, default=False),
            priors=self._priors(table, path, pipeline),
        )

    def _text(self, table: Mapping[str, Any], key: str, path: KeyPath) -> str:
        """Return a text that must be there."""
        if key not in table:
            self._fault(path, f"{key} is missing; it must be text in quotes")
            return ""
        text = self._optional(table, key, path, "")
        if isinstance(table[key], str) and not text.strip():
            self._fault((*path, key), f"{key} must not be blank")
        return text

    def _optional(self, table: Mapping[str, Any], key: str, path: KeyPath, default: _Plain) -> _Plain:
        value = table.get(key, default)
        if isinstance(value, type(default)):
            return value
        words = "text in quotes" if isinstance(default, str) else "true or false"
        self._fault((*path, key), f"{key} is {value!r}; it must be {words}")
        return default

    def _choice(self, table: Mapping[str, Any], key: str, path: KeyPath, default: _Choice) -> _Choice:
        kind = type(default)
        value = table.get(key, default)
        if value in list(kind):
            return kind(value)
        self._fault((*path, key), f"{key} is {value!r}; it must be one of {', '.join(map(repr, map(str, kind)))}")
        return default

    def _table(self, table: Mapping[str, Any], key: str, path: KeyPath) -> Mapping[str, Any]:
        value = table.get(key, {})
        if isinstance(value, dict):
            return value
        self._fault((*path, key), f"{key} must be a table, such as [rule.{key}]")
        return {}

    def _settings(self, table: Mapping[str, Any], path: KeyPath) -> Mapping[str, Any]:
        settings = self._table(table, "settings", path)
        for key, value in settings.items():
            if not isinstance(value, str | int | float | bool):
                self._fault((*path, "settings", key), f"setting {key} must be text, a number, true or false")
        return settings

    def _destination_names(self, table: Mapping[str, Any], path: KeyPath) -> tuple[str, ...]:
        names = table.get("destinations")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            where = (*path, "destinations") if "destinations" in table else path
            self._fault(where, 'destinations must be a list of names from node.toml, such as ["pacs"]')
            return ()
        for index, name in enumerate(names):
            if self._destinations is not None and name not in self._destinations:
                known = closest(name, self._destinations) or _known(self._destinations)
                self._fault((*path, "destinations", index), f"no [[destination]] is named {name!r}{known}")
        return tuple(names)

    def _check_pipeline(self, pipeline: str, path: KeyPath) -> None:
        if pipeline and self._pipelines is not None and pipeline not in self._pipelines:
            known = closest(pipeline, self._pipelines) or _known(self._pipelines)
            self._fault((*path, "pipeline"), f"no pipeline {pipeline!r} is installed{known}")

    def _roles(self, pipeline: str, *, prior: bool) -> dict[str, bool] | None:
        """Return the roles of a pipeline that priors fill, or the others; and whether each must be there."""
        roles = (self._pipelines or {}).get(pipeline)
        if roles is None:
            return None
        wanted = roles if isinstance(roles, Mapping) else dict.fromkeys(roles, Role(""))
        return {name: not role.may_lack for name, role in wanted.items() if role.prior is prior}

    def _inputs(
        self, owner: Mapping[str, Any], path: KeyPath, pipeline: str, *, priors: bool = False
    ) -> dict[str, RoleRule]:
        here: KeyPath = (*path, "inputs")
        inputs, roles = self._table(owner, "inputs", path), self._roles(pipeline, prior=priors)
        table, what = ("rule.priors.inputs", "prior") if priors else ("rule.inputs", "input")
        for role in (role for role in inputs if roles is not None and role not in roles):
            known = closest(role, roles or ()) or _known(roles or ())
            self._fault((*here, role), f"pipeline {pipeline!r} has no {what} {role!r}{known}")
        for role, needed in (roles or {}).items():
            if needed and role not in inputs:
                self._fault(path, f"pipeline {pipeline!r} needs an input {role!r}; add [{table}.{role}]")
        if roles is None and not inputs and not priors:
            self._fault(path, "inputs are missing; add [rule.inputs.ROLE] for each input of the pipeline")
        return {role: self._role(inputs, role, here) for role in inputs}

    def _priors(self, rule: Mapping[str, Any], path: KeyPath, pipeline: str) -> Priors | None:
        here: KeyPath = (*path, "priors")
        if "priors" not in rule:
            for role, needed in (self._roles(pipeline, prior=True) or {}).items():
                if needed:
                    self._fault(path, f"pipeline {pipeline!r} needs a prior as {role!r}; add [rule.priors]")
            return None
        table = self._table(rule, "priors", path)
        self._unknown_keys(table, _PRIORS_KEYS, here)
        archive = self._text(table, "archive", here)
        if archive and self._archives is not None and archive not in self._archives:
            known = closest(archive, self._archives) or _known(self._archives)
            self._fault((*here, "archive"), f"no [[archive]] is named {archive!r}{known}")
        numbers = {key: self._number(table, key, here) for key in _LIMITS if key in table}
        same = self._same(table, here) if "same" in table else Priors(archive).same
        inputs = self._inputs(table, here, pipeline, priors=True)
        return Priors(archive, same=same, inputs=inputs, **numbers)

    def _number(self, table: Mapping[str, Any], key: str, path: KeyPath) -> Any:
        value, (least, most) = table[key], _LIMITS[key]
        kinds = int | float if key == "time_limit_seconds" else int
        if isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most:
            return value
        self._fault((*path, key), f"{key} is {value!r}; it must be a number from {least:g} to {most:g}")
        return least

    def _same(self, table: Mapping[str, Any], path: KeyPath) -> tuple[str, ...]:
        keywords = table["same"]
        here: KeyPath = (*path, "same")
        if not isinstance(keywords, list) or not all(isinstance(keyword, str) for keyword in keywords):
            self._fault(here, 'same must be a list of keywords, such as ["BodyPartExamined", "Modality"]')
            return ()
        for index, keyword in enumerate(keywords):
            with self._faults_at((*here, index)):
                known = attribute(keyword)
                if known.number or known.study_only or "." in keyword or keyword in SERIES_FACTS:
                    raise _Fault(f"same: {keyword} is no text that an archive can be asked for of a series")
        return tuple(keywords)

    def _role(self, inputs: Mapping[str, Any], role: str, path: KeyPath) -> RoleRule:
        table = self._table(inputs, role, path)
        here: KeyPath = (*path, role)
        conditions = {key: value for key, value in table.items() if key != _RANK}
        if not conditions:
            self._fault(here, f"input {role!r} needs at least one condition, or any series could fill it")
        return RoleRule(self._wheres(conditions, here, of_study=False), self._rank(table, here))

    def _rank(self, table: Mapping[str, Any], path: KeyPath) -> tuple[RankBy, ...]:
        steps = table.get(_RANK)
        if steps is None:
            return DEFAULT_RANK
        here: KeyPath = (*path, _RANK)
        if not isinstance(steps, list):
            self._fault(here, 'rank must be a list such as ["NumberOfSlices desc", "SliceSpacing asc"]')
            return DEFAULT_RANK
        read: list[RankBy] = []
        for index, step in enumerate(steps):
            with self._faults_at((*here, index)):
                read.append(_rank_step(step))
        return tuple(read)

    def _wheres(self, table: Mapping[str, Any], path: KeyPath, *, of_study: bool) -> tuple[Where, ...]:
        wheres: list[Where] = []
        for key, value in _flat(table):
            keyword = ".".join(key)
            with self._faults_at((*path, *key)):
                wheres.append(_where(keyword, value, of_study=of_study))
        return tuple(wheres)

    @contextmanager
    def _faults_at(self, path: KeyPath) -> Iterator[None]:
        try:
            yield
        except (_Fault, UnknownAttribute) as fault:
            self._fault(path, str(fault))

    def _fault(self, path: KeyPath, what: str) -> None:
        self.faults.append((self._source.line(path), f"{self._title}{what}"))

    def _unknown_keys(self, table: Mapping[str, Any], known: Sequence[str], path: KeyPath) -> None:
        for key in table:
            if key not in known:
                hint = closest(key, known) or _known(known)
                self._fault((*path, key), f"unknown key {key!r}{hint}")


def _known(names: Collection[str]) -> str:
    return f"; known: {', '.join(sorted(names)) or 'none'}"


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield key path and value of each condition: `A.B = "x"` without quotes is a table in a table."""
    for key, value in table.items():
        inner = value if isinstance(value, dict) else {}
        if inner and not any(form in _FORMS for form in inner) and all(form[:1].isupper() for form in inner):
            yield from (((key, *rest), condition) for rest, condition in _flat(inner))
        else:
            yield (key,), value


def _where(keyword: str, value: Any, *, of_study: bool) -> Where:
    known = attribute(keyword)
    if known.study_only and not of_study:
        raise _Fault(f"{keyword} belongs to the study; put it under [rule.when]")
    return Where(keyword, _condition(keyword, value, number=known.number))


def _condition(keyword: str, value: Any, *, number: bool) -> Condition:
    if isinstance(value, list):
        if not value:
            raise _Fault(f"{keyword}: the list is empty, so nothing could match it")
        return OneOf(tuple(_value(keyword, one, number=number) for one in value))
    if isinstance(value, dict):
        return _form(keyword, value, number=number)
    return Equals(_value(keyword, value, number=number))


def _form(keyword: str, table: Mapping[str, Any], *, number: bool) -> Condition:
    for key in table:
        if key not in _FORMS:
            raise _Fault(f"{keyword}: unknown condition {key!r}{closest(key, _FORMS) or _known(_FORMS)}")
    if not table:
        raise _Fault(f"{keyword}: the condition is empty{_known(_FORMS)}")
    if table.keys() <= {"at_least", "at_most"}:
        return _range(keyword, table, number=number)
    if len(table) > 1:
        raise _Fault(f"{keyword}: {' and '.join(table)} cannot stand together; only at_least and at_most can")
    ((key, value),) = table.items()
    return _READERS[key](keyword, value, number)


def _value(keyword: str, value: Any, *, number: bool) -> FactValue:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Fault(f"{keyword}: {value!r} is neither text nor a number")
    if isinstance(value, float) and not isfinite(value):
        raise _Fault(f"{keyword}: {value!r} is not a number that values can be compared with")
    if isinstance(value, str) is number:
        wanted = "numbers: write it without quotes" if number else "text: write it in quotes"
        raise _Fault(f"{keyword}: {value!r} can never match, as {keyword} holds {wanted}")
    if keyword == "Orientation" and str(value).lower() not in ORIENTATIONS:
        raise _Fault(f"{keyword}: {value!r} is not one of {', '.join(ORIENTATIONS)}")
    return value


def _range(keyword: str, table: Mapping[str, Any], *, number: bool) -> Range:
    if not number:
        raise _Fault(f"{keyword} holds text, which has no at_least or at_most; use equals, any_of or matches")
    for key, value in table.items():
        _value(f"{keyword}: {key}", value, number=True)
    limits = Range(table.get("at_least"), table.get("at_most"))
    if limits.at_least is not None and limits.at_most is not None and not limits.at_least <= limits.at_most:
        raise _Fault(f"{keyword}: no number is {limits}")
    return limits


def _matches(keyword: str, value: Any, number: bool) -> Matches:
    if number:
        raise _Fault(f"{keyword} holds numbers, which cannot match a pattern; use at_least and at_most")
    if not isinstance(value, str):
        raise _Fault(f"{keyword}: matches is {value!r}; it must be a pattern in quotes")
    if fault := pattern_fault(value):
        raise _Fault(f"{keyword}: the pattern {value!r} {fault}")
    return Matches(value)


def _exists(keyword: str, value: Any, _number: bool) -> Exists:
    if not isinstance(value, bool):
        raise _Fault(f"{keyword}: exists is {value!r}; it must be true or false")
    return Exists(value)


def _any_of(keyword: str, value: Any, number: bool) -> AnyOf:
    if not isinstance(value, list) or not value:
        raise _Fault(f"{keyword}: any_of must be a list of values or conditions")
    return AnyOf(tuple(_condition(keyword, one, number=number) for one in value))


_READERS: Final[Mapping[str, Callable[[str, Any, bool], Condition]]] = {
    "equals": lambda keyword, value, number: Equals(_value(keyword, value, number=number)),
    "any_of": _any_of,
    "matches": _matches,
    "exists": _exists,
    "not": lambda keyword, value, number: Not(_condition(keyword, value, number=number)),
}


_RANK_STEP: Final = re.compile(r"(\S+) (asc|desc)")


def _rank_step(step: Any) -> RankBy:
    found = _RANK_STEP.fullmatch(step) if isinstance(step, str) else None
    if found is None:
        raise _Fault(f'rank: {step!r} must be a keyword and asc or desc, such as "NumberOfSlices desc"')
    if attribute(found[1]).study_only:
        raise _Fault(f"rank: {found[1]} belongs to the study and is the same for every series")
    return RankBy(found[1], descending=found[2] == "desc")
