"""The inputs of a rule: which series of the study, and of its priors, fill the roles of the pipeline."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from dicom_node.contract import Role
from dicom_node.routing.attributes import attribute, closest
from dicom_node.routing.condition_reading import Wrong, known
from dicom_node.routing.facts import SERIES_FACTS
from dicom_node.routing.option_reading import OptionReader
from dicom_node.routing.question_reading import read_questions
from dicom_node.routing.rank_reading import RANK, read_rank
from dicom_node.routing.rules import Priors, RoleRule
from dicom_node.toml_source import KeyPath, TomlSource

_PRIORS_KEYS: Final = ("archive", "at_most", "not_older_than_years", "same", "time_limit_seconds", "inputs")
#: Whole numbers and seconds of `[rule.priors]`: least and most.
PRIORS_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "at_most": (1, 100),
    "not_older_than_years": (1, 150),
    "time_limit_seconds": (1, 86400),
}


class InputReader(OptionReader):
    """Reads inputs and priors of a rule, checked against the roles of its pipeline."""

    def __init__(
        self,
        source: TomlSource,
        pipelines: Mapping[str, Collection[str]] | None,
        destinations: Collection[str] | None,
        archives: Collection[str] | None,
        profiles: Collection[str] | None,
    ) -> None:
        super().__init__(source, destinations, profiles)
        self._pipelines = pipelines
        self._archives = archives

    def _roles(self, pipeline: str, *, prior: bool) -> dict[str, bool] | None:
        """Return the roles of a pipeline that priors fill, or the others; and whether each must be there."""
        roles = (self._pipelines or {}).get(pipeline)
        if roles is None:
            return None
        wanted = roles if isinstance(roles, Mapping) else dict.fromkeys(roles, Role(""))
        return {name: not role.may_lack for name, role in wanted.items() if role.prior is prior}

    def inputs(
        self, owner: Mapping[str, Any], path: KeyPath, pipeline: str, *, priors: bool = False
    ) -> dict[str, RoleRule]:
        """Return the inputs of a rule, or of its priors."""
        here: KeyPath = (*path, "inputs")
        inputs, roles = self.table(owner, "inputs", path), self._roles(pipeline, prior=priors)
        table, what = ("rule.priors.inputs", "prior") if priors else ("rule.inputs", "input")
        for role in (role for role in inputs if roles is not None and role not in roles):
            hint = closest(role, roles or ()) or known(roles or ())
            self.fault((*here, role), f"pipeline {pipeline!r} has no {what} {role!r}{hint}")
        for role, needed in (roles or {}).items():
            if needed and role not in inputs:
                self.fault(path, f"pipeline {pipeline!r} needs an input {role!r}; add [{table}.{role}]")
        if roles is None and not inputs and not priors:
            self.fault(path, "inputs are missing; add [rule.inputs.ROLE] for each input of the pipeline")
        return {role: self._role(inputs, role, here) for role in inputs}

    def priors(self, rule: Mapping[str, Any], path: KeyPath, pipeline: str) -> Priors | None:
        """Return which earlier studies a rule wants; None, if it wants none."""
        here: KeyPath = (*path, "priors")
        if "priors" not in rule:
            for role, needed in (self._roles(pipeline, prior=True) or {}).items():
                if needed:
                    self.fault(path, f"pipeline {pipeline!r} needs a prior as {role!r}; add [rule.priors]")
            return None
        table = self.table(rule, "priors", path)
        self.unknown_keys(table, _PRIORS_KEYS, here)
        archive = self.text(table, "archive", here)
        if archive and self._archives is not None and archive not in self._archives:
            hint = closest(archive, self._archives) or known(self._archives)
            self.fault((*here, "archive"), f"no [[archive]] is named {archive!r}{hint}")
        numbers = {key: self._number(table, key, here) for key in PRIORS_LIMITS if key in table}
        same = self._same(table, here) if "same" in table else Priors(archive).same
        inputs = self.inputs(table, here, pipeline, priors=True)
        return Priors(archive, same=same, inputs=inputs, **numbers)

    def _number(self, table: Mapping[str, Any], key: str, path: KeyPath) -> Any:
        value, (least, most) = table[key], PRIORS_LIMITS[key]
        kinds = int | float if key == "time_limit_seconds" else int
        if isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.fault((*path, key), f"{key} is {value!r}; it must be a number from {least:g} to {most:g}")
        return least

    def _same(self, table: Mapping[str, Any], path: KeyPath) -> tuple[str, ...]:
        keywords = table["same"]
        here: KeyPath = (*path, "same")
        if not isinstance(keywords, list) or not all(isinstance(keyword, str) for keyword in keywords):
            self.fault(here, 'same must be a list of keywords, such as ["BodyPartExamined", "Modality"]')
            return ()
        for index, keyword in enumerate(keywords):
            with self.faults_at((*here, index)):
                about = attribute(keyword)
                if about.number or about.study_only or "." in keyword or keyword in SERIES_FACTS:
                    raise Wrong(f"same: {keyword} is no text that an archive can be asked for of a series")
        return tuple(keywords)

    def _role(self, inputs: Mapping[str, Any], role: str, path: KeyPath) -> RoleRule:
        table = self.table(inputs, role, path)
        here: KeyPath = (*path, role)
        conditions = {key: value for key, value in table.items() if key != RANK}
        if not conditions:
            self.fault(here, f"input {role!r} needs at least one condition, or any series could fill it")
        return RoleRule(read_questions(self, conditions, here, of_study=False), read_rank(self, table, here))
