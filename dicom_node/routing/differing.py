"""Why two sets of rules do something else with one study: the conditions and the steps of a ranking that decided."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dicom_node.entities import StudyFacts
from dicom_node.routing.answers import Found, shown_seen, unfulfilled
from dicom_node.routing.attributes import attribute
from dicom_node.routing.deciding import Decision
from dicom_node.routing.judging import RoleAnswers
from dicom_node.routing.rules import Rule, RuleSet
from dicom_node.routing.verdicts import Verdict, route


@dataclass(frozen=True, slots=True)
class Side:
    """One of two sets of rules, and what those of its rules do that match the study, by name."""

    rules: RuleSet
    decisions: Mapping[str, Decision]


def why(facts: StudyFacts, name: str, side: Side) -> tuple[str, ...]:
    """Return the answers that make a rule fire: those on the study, and those on the series that it chooses."""
    rule = side.rules.named(name)
    if rule is None:
        return ()
    verdict = _verdict(facts, rule)
    found = [answer.sentence for answer in verdict.study]
    for role in verdict.roles:
        if role.chosen is not None:
            found += _told(role, role.chosen.series_instance_uid)
    return tuple(found)


def why_not(facts: StudyFacts, name: str, side: Side) -> tuple[str, ...]:
    """Return the answers that keep a rule from firing; its reason, if none does; nothing if there is no such rule."""
    rule = side.rules.named(name)
    if rule is None:
        return ()
    if name in side.decisions and side.decisions[name].hindered:
        return (f"does not fire: {side.decisions[name].hindered}",)
    verdict = _verdict(facts, rule)
    found = [answer.sentence for answer in unfulfilled(verdict.study)]
    for role in verdict.roles:
        if role.chosen is None and role.series:
            nearest = role.nearest
            found += (
                [f"input {role.role}: {role.reason}"]
                if nearest is None
                else _lacks(role, nearest.series_instance_uid)
            )
    return tuple(found) or (verdict.reason,)


def why_otherwise(facts: StudyFacts, name: str, before: Side, after: Side) -> tuple[str, ...]:
    """Return what makes a rule that fires by both sets take other series, or another priority."""
    old, new = before.decisions[name], after.decisions[name]
    told: list[str] = []
    taken, takes = (
        {role: one.series_instance_uid for role, one in decision.inputs.items()} for decision in (old, new)
    )
    if taken != takes:
        roles = {role.role: role for role in _verdict(facts, old.rule).roles}
        for role in _verdict(facts, new.rule).roles:
            if role.role not in roles:
                told.append(f"input {role.role} is new: {role.reason}")
            elif taken[role.role] != takes[role.role]:
                told += _why_another(roles[role.role], role, taken[role.role], takes[role.role])
        told += [f"input {role} is gone" for role in taken if role not in takes]
    if old.priority is not new.priority:
        told.append(_why_priority(facts, new))
    return tuple(told)


def _why_another(before: RoleAnswers, after: RoleAnswers, former: str, now: str) -> Iterator[str]:
    """Yield why another series fills an input: the former does not fit, or does not come first."""
    lacks = _lacks(after, former)
    yield from lacks
    if not lacks:
        yield from (f"before, {sentence}" for sentence in _lacks(before, now))
        yield f"input {after.role}: {after.reason}"


def _why_priority(facts: StudyFacts, decision: Decision) -> str:
    wanted = decision.rule.priority_from
    if wanted is None:
        return f"priority {decision.priority}: the rule itself says so"
    values = facts.values.get(wanted.keyword, ())
    seen = shown_seen(attribute(wanted.keyword), values)
    told = f"{wanted.keyword} is {seen}" if seen else f"{wanted.keyword} is missing"
    return f"priority {decision.priority}: {told}{'' if wanted.of(values) else ', so what the rule says otherwise'}"


def _verdict(facts: StudyFacts, rule: Rule) -> Verdict:
    (verdict,) = route(facts, RuleSet((rule,)))
    return verdict


def _told(role: RoleAnswers, uid: str) -> list[str]:
    return _sentences(role, uid, role.answers_of(uid))


def _lacks(role: RoleAnswers, uid: str) -> list[str]:
    return _sentences(role, uid, unfulfilled(role.answers_of(uid)))


def _sentences(role: RoleAnswers, uid: str, answers: Iterable[Found]) -> list[str]:
    return [f"input {role.role}, series {uid}: {answer.sentence}" for answer in answers]
