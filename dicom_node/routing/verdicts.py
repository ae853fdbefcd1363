"""Rules and facts -> one verdict per rule, which keeps every answer: value seen, value wanted, yes, no or missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dicom_node.entities import SeriesFacts, StudyFacts
from dicom_node.routing.answers import Found, together, unfulfilled
from dicom_node.routing.conditions import Outcome
from dicom_node.routing.judging import Judge, RoleAnswers
from dicom_node.routing.rules import Priority, Rule, RuleSet

SWITCHED_OFF: Final = "does not fire: the rule is switched off (enabled = false)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule makes of one study.

    Parameters
    ----------
    fires : bool
        True if a job is to be made.
    reason : str
        One sentence; of attributes it shows only numbers and texts that a ranking compared, so any log may hold it.
    matched : bool
        True if every condition holds and every input has its series; a rule that matches fires, unless one before it
        stops, it is a fallback that is not needed, or it says that nothing is to run.
    priority : Priority
        That of the rule, or what an attribute of the study says.
    """

    rule: Rule
    fires: bool
    reason: str
    study: tuple[Found, ...] = ()
    roles: tuple[RoleAnswers, ...] = ()
    matched: bool = False
    priority: Priority = Priority.ROUTINE

    @property
    def inputs(self) -> Mapping[str, SeriesFacts]:
        """The series that fills each role; empty unless every role is filled."""
        chosen = {role.role: role.chosen for role in self.roles if role.chosen is not None}
        return chosen if len(chosen) == len(self.roles) else {}


def route(facts: StudyFacts, rules: RuleSet) -> tuple[Verdict, ...]:
    """Return one verdict per rule, in the order of the rules; every rule that matches fires, unless one stops it.

    Which came first - of instances or series - changes no verdict; the roles of a rule are filled in the order in
    which they are written.
    """
    judge = Judge(facts)
    verdicts = [_verdict(judge, facts, rule) for rule in rules.rules]
    hindered = hindrances(rules.rules, [verdict.matched for verdict in verdicts])
    return tuple(
        replace(verdict, fires=False, reason=reason_hindered(why)) if why else verdict
        for verdict, why in zip(verdicts, hindered, strict=True)
    )


def hindrances(rules: Sequence[Rule], matched: Sequence[bool]) -> list[str]:
    """Return for each rule why it does not come to its turn although it matches; blank if it does.

    Rules that are no fallback come first, in their order; then, if none of them matched, the fallbacks.
    """
    found = [""] * len(rules)
    for fallbacks in (False, True):
        turn = [number for number, rule in enumerate(rules) if rule.fallback is fallbacks and matched[number]]
        others = [rules[n].name for n in range(len(rules)) if matched[n] and not rules[n].fallback and not found[n]]
        stopped_by = ""
        for number in turn:
            if fallbacks and others:
                found[number] = f"it is a fallback, and {', '.join(map(repr, others))} fired"
            elif stopped_by:
                found[number] = f"rule {stopped_by!r} before it matches too, and has stop = true"
            elif rules[number].stop:
                stopped_by = rules[number].name
    return found


def _verdict(judge: Judge, facts: StudyFacts, rule: Rule) -> Verdict:
    if not rule.enabled:
        return Verdict(rule, fires=False, reason=SWITCHED_OFF)
    study, roles = judge.study(rule.when), judge.roles(rule.inputs)
    matched = together(study) is Outcome.YES and all(role.chosen is not None for role in roles)
    fires = matched and not rule.do_not_run
    reason = reason_of(rule.do_not_run, study, roles, matched=matched)
    return Verdict(rule, fires, reason, study, roles, matched, priority_of(rule, facts))


def reason_hindered(why: str) -> str:
    """Return why a rule that matches does not come to its turn."""
    return f"does not fire: {why}"


def priority_of(rule: Rule, facts: StudyFacts) -> Priority:
    """Return how urgent a rule's job for a study is."""
    wanted = rule.priority_from
    return (wanted and wanted.of(facts.values.get(wanted.keyword, ()))) or rule.priority


def reason_of(do_not_run: str, study: Sequence[Found], roles: Sequence[RoleAnswers], *, matched: bool) -> str:
    """Return in one sentence why a rule that is switched on fires, or not."""
    if matched and do_not_run:
        return f"recognised, deliberately not run: {do_not_run}"
    if matched:
        chosen = "; ".join(f"{role.role}: {role.reason}" for role in roles)
        return f"fires: {chosen}" if chosen else "fires"
    failed = [f"{answer.keyword} of the study ({_failure(answer)})" for answer in unfulfilled(study)]
    failed += [f"input {role.role}: {role.reason}{_nearest(role)}" for role in roles if role.chosen is None]
    return f"does not fire: {'; '.join(failed)}"


def _failure(answer: Found) -> str:
    return "missing" if answer.outcome is Outcome.MISSING else "not what is wanted"


def _nearest(role: RoleAnswers) -> str:
    """Return what keeps the nearest series from filling a role."""
    nearest = role.nearest
    if nearest is None:
        return ""
    lacks = [f"{one.keyword} ({_failure(one)})" for one in unfulfilled(nearest.answers)]
    return f"; nearest is series {nearest.series_instance_uid}, which fails in {', '.join(lacks)}"
