"""`rules.toml` -> rules, with every fault at once, as file and line."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from dicom_node.errors import Fault, SettingsInvalid
from dicom_node.routing.attributes import closest
from dicom_node.routing.condition_reading import known
from dicom_node.routing.input_reading import InputReader
from dicom_node.routing.question_reading import read_questions
from dicom_node.routing.reading import TooManyFaults
from dicom_node.routing.rule_faults import logical_faults
from dicom_node.routing.rules import LateImages, RoleRule, Rule, RuleSet
from dicom_node.toml_source import KeyPath, TomlSyntaxError, read_toml

RULE_KEYS: Final = (
    "name",
    "description",
    "enabled",
    "do_not_run",
    "pipeline",
    "settings",
    "destinations",
    "priority",
    "late_images",
    "fallback",
    "stop",
    "dry_run",
    "schedule",
    "completion",
    "when",
    "inputs",
    "priors",
)
#: What a rule that runs nothing cannot have.
_OF_JOBS: Final = (
    "pipeline",
    "settings",
    "destinations",
    "priority",
    "late_images",
    "dry_run",
    "schedule",
    "completion",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text of rules is: the rules, faulty ones with their defaults, and every fault in order of lines."""

    rules: RuleSet
    faults: tuple[Fault, ...]


def parse_rules(
    text: str,
    name: str,
    known_pipelines: Mapping[str, Collection[str]] | None = None,
    known_destinations: Collection[str] | None = None,
    known_archives: Collection[str] | None = None,
    known_profiles: Collection[str] | None = None,
) -> RuleSet:
    """Return the rules that a text holds.

    Parameters
    ----------
    name : str
        The file to name in faults.
    known_pipelines : mapping or None
        Pipeline name -> its roles, by name or as mapping to `contract.Role`; None leaves names and roles unchecked.
    known_destinations, known_archives, known_profiles : collection or None
        Names of the destinations, archives and result profiles in `node.toml`; None leaves them unchecked.

    Raises
    ------
    SettingsInvalid
        With every fault as "file:line: what is wrong; what would be right".
    """
    reading = read_rules_text(text, known_pipelines, known_destinations, known_archives, known_profiles)
    if reading.faults:
        raise SettingsInvalid.of(name, reading.faults)
    return reading.rules


def read_rules_text(
    text: str,
    known_pipelines: Mapping[str, Collection[str]] | None = None,
    known_destinations: Collection[str] | None = None,
    known_archives: Collection[str] | None = None,
    known_profiles: Collection[str] | None = None,
) -> Reading:
    """Return rules and faults of a text as values, for an editor; parameters as `parse_rules`."""
    try:
        source = read_toml(text)
    except TomlSyntaxError as error:
        return Reading(RuleSet(()), (Fault(error.line, error.column, str(error)),))
    reader = _RuleReader(source, known_pipelines, known_destinations, known_archives, known_profiles)
    read: list[Rule] = []
    with suppress(TooManyFaults):
        for rule in reader.rules():
            read.append(rule)  # noqa: PERF402 - those read before the last fault are kept
    rules = RuleSet(tuple(read))
    if not reader.faults:
        reader.faults += logical_faults(rules, source)
    return Reading(rules, tuple(sorted(set(reader.faults))))


class _RuleReader(InputReader):
    """Reads rules, collecting faults instead of stopping at the first."""

    def rules(self) -> Iterator[Rule]:
        """Yield every rule, faulty ones with their defaults."""
        self.unknown_keys(self.source.values, ("rule",), ())
        tables = self.source.values.get("rule", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self.fault(("rule",), "write [[rule]], with two brackets: there may be several")
            return
        first: dict[str, int] = {}
        for index, table in enumerate(tables):
            path: KeyPath = ("rule", index)
            rule = self._rule(table, path)
            if rule.name in first:
                line = self.source.line(("rule", first[rule.name], "name"))
                self.fault((*path, "name"), f"the name is used before, in line {line}; give each rule its own")
            first.setdefault(rule.name, index)
            yield rule

    def _rule(self, table: Mapping[str, Any], path: KeyPath) -> Rule:
        self.title = f"rule {table['name']!r}: " if isinstance(table.get("name"), str) else "rule without a name: "
        self.unknown_keys(table, RULE_KEYS, path)
        reason = self.optional(table, "do_not_run", path, "")
        pipeline = "" if reason else self.text(table, "pipeline", path)
        destinations = () if reason else self.destination_names(table, path)
        self._check_reason(table, path, reason)
        self._check_pipeline(pipeline, path)
        priority, priority_from = self.priority(table, path)
        return Rule(
            name=self.text(table, "name", path),
            pipeline=pipeline,
            destinations=destinations,
            inputs=self._study_inputs(table, path, pipeline, reason),
            when=read_questions(self, self.table(table, "when", path), (*path, "when"), of_study=True),
            description=self.optional(table, "description", path, ""),
            enabled=self.optional(table, "enabled", path, default=True),
            settings=self._settings(table, path),
            priority=priority,
            late_images=self.choice(table, "late_images", path, LateImages.RERUN),
            fallback=self.optional(table, "fallback", path, default=False),
            priority_from=priority_from,
            profiles=self.profiles(table),
            schedule=self.schedule(table, path),
            completion=self.completion(table, path),
            dry_run=self.optional(table, "dry_run", path, default=False),
            stop=self.optional(table, "stop", path, default=False),
            do_not_run=reason,
            priors=None if reason else self.priors(table, path, pipeline),
        )

    def _check_reason(self, table: Mapping[str, Any], path: KeyPath, reason: str) -> None:
        if "do_not_run" in table and not reason.strip():
            self.fault((*path, "do_not_run"), "do_not_run must say in words why nothing is to run")
        for key in _OF_JOBS if reason else ():
            if key in table:
                self.fault((*path, key), f"{key} means nothing beside do_not_run; take one of them out")

    def _study_inputs(
        self, table: Mapping[str, Any], path: KeyPath, pipeline: str, reason: str
    ) -> Mapping[str, RoleRule]:
        """Return the inputs; what runs nothing needs none, if it asks about the study."""
        if reason and "inputs" not in table and table.get("when"):
            return {}
        return self.inputs(table, path, pipeline)

    def _settings(self, table: Mapping[str, Any], path: KeyPath) -> Mapping[str, Any]:
        settings = self.table(table, "settings", path)
        for key, value in settings.items():
            if not isinstance(value, str | int | float | bool):
                self.fault((*path, "settings", key), f"setting {key} must be text, a number, true or false")
        return settings

    def _check_pipeline(self, pipeline: str, path: KeyPath) -> None:
        if pipeline and self._pipelines is not None and pipeline not in self._pipelines:
            hint = closest(pipeline, self._pipelines) or known(self._pipelines)
            self.fault((*path, "pipeline"), f"no pipeline {pipeline!r} is installed{hint}")
