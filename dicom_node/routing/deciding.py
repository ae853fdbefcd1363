"""Rules and facts -> which rules fire on which series, and nothing more: for many studies, quickly.

`route` says why, and takes its time for the words. What is decided here is the same, which a test holds for any rules
and any study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicom_node.entities import SeriesFacts, StudyFacts
from dicom_node.routing.asking import Asked, NumberedSet, Questionnaire
from dicom_node.routing.judging import with_images
from dicom_node.routing.ranking import assigned, ranked
from dicom_node.routing.rules import Priority, Rule
from dicom_node.routing.verdicts import hindrances, priority_of


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule does with a study that it matches.

    Parameters
    ----------
    inputs : mapping
        Role -> the series that fills it.
    hindered : str
        Why the rule does not come to its turn although it matches; blank if it does.
    """

    rule: Rule
    inputs: Mapping[str, SeriesFacts]
    priority: Priority
    hindered: str = ""

    @property
    def fires(self) -> bool:
        """True if a job is to be made."""
        return not self.hindered and not self.rule.do_not_run


class Decider:
    """Decides for many studies what some rules do.

    Parameters
    ----------
    rule_sets : sequences of Rule
        Equal rules of several sets are asked once.
    """

    def __init__(self, *rule_sets: Sequence[Rule]) -> None:
        distinct: list[Rule] = []
        # a rule is not hashable, as its mappings are not: they are few enough to compare
        self._places = [[_place(rule, distinct) for rule in rules] for rules in rule_sets]
        self._studies = Questionnaire([rule.when for rule in distinct], of_study=True)
        roles = [(number, role) for number, rule in enumerate(distinct) for role in rule.inputs]
        self._series = Questionnaire([distinct[number].inputs[role].where for number, role in roles], of_study=False)
        wheres: list[dict[str, NumberedSet]] = [{} for _ in distinct]
        for (number, role), where in zip(roles, self._series.sets, strict=True):
            wheres[number][role] = where
        self._rules = [
            (number, rule, when, roles)
            for number, (rule, when, roles) in enumerate(zip(distinct, self._studies.sets, wheres, strict=True))
            if rule.enabled
        ]

    def decide(self, facts: StudyFacts) -> list[dict[str, Decision]]:
        """Return for each set the rules that match, by name, in their order."""
        decisions: dict[int, Decision] = {}
        study = self._studies.ask(facts.values)
        series: list[tuple[SeriesFacts, Asked]] | None = None
        for number, rule, when, roles in self._rules:
            if study.yes & when.plain != when.plain or not study.holds(when):  # most fail at once
                continue
            if series is None:  # of many studies no rule gets so far
                series = [(one, self._series.ask(one.values)) for one in with_images(facts)]
            inputs = _inputs(rule, roles, series)
            if inputs is not None:
                decisions[number] = Decision(rule, inputs, priority_of(rule, facts))
        if not decisions:
            return [{} for _ in self._places]
        found = [settled([decisions[place] for place in places if place in decisions]) for places in self._places]
        return [{one.rule.name: one for one in matching} for matching in found]


def _inputs(
    rule: Rule, roles: Mapping[str, NumberedSet], series: Sequence[tuple[SeriesFacts, Asked]]
) -> Mapping[str, SeriesFacts] | None:
    candidates: dict[str, list[SeriesFacts]] = {}
    for role, where in roles.items():
        candidates[role] = [one for one, asked in series if asked.holds(where)]
        if not candidates[role]:
            return None
    chosen = assigned({role: ranked(found, rule.inputs[role].rank) for role, found in candidates.items()})
    return chosen if len(chosen) == len(rule.inputs) else None


def settled(matching: Sequence[Decision]) -> tuple[Decision, ...]:
    """Return the rules that match, each with what keeps it from its turn."""
    hindered = hindrances([one.rule for one in matching], [True] * len(matching))
    return tuple(
        Decision(one.rule, one.inputs, one.priority, why) if why else one
        for one, why in zip(matching, hindered, strict=True)
    )


def _place(rule: Rule, distinct: list[Rule]) -> int:
    for place, known in enumerate(distinct):
        # in mappings order is not compared, and roles are filled in theirs
        if known == rule and list(known.inputs) == list(rule.inputs):
            return place
    distinct.append(rule)
    return len(distinct) - 1
