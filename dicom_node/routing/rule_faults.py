"""Rules that read well and never fire: contradictions, and what a rule before them stops."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Final

from dicom_node.errors import Fault
from dicom_node.routing.implication import all_imply, contradiction
from dicom_node.routing.questions import Group, GroupKind, Question
from dicom_node.routing.rules import Rule, RuleSet
from dicom_node.toml_source import KeyPath, TomlSource

#: Of more inputs it is not tried which of two rules' belong together.
_MOST_INPUTS: Final = 5
#: Of more rules that stop it is not tried whether they match whenever another does.
_MOST_STOPS: Final = 100


def logical_faults(rules: RuleSet, source: TomlSource) -> list[Fault]:
    """Return a fault for every rule that can never match, or never be reached."""
    faults: list[Fault] = []
    stops: list[Rule] = []
    for number, rule in enumerate(rules.rules):
        path: KeyPath = ("rule", number)
        for where, what in (*_contradictions(rule, path), *_stopped(stops, rule, path)):
            faults.append(Fault(*source.place(where), f"rule {rule.name!r}: {what}"))
        if rule.stop and rule.enabled and len(stops) < _MOST_STOPS:
            stops.append(rule)
    return faults


def _contradictions(rule: Rule, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    yield from _in(rule.when, (*path, "when"), every=False)
    for role, wanted in rule.inputs.items():
        yield from _in(wanted.where, (*path, "inputs", role), every=True)


def _in(questions: Sequence[Question], path: KeyPath, *, every: bool) -> Iterator[tuple[KeyPath, str]]:
    found = contradiction(questions, every=every)
    if found:
        one, other = found
        yield path, f"can never match: {one.keyword} cannot be {one.wanted} and {other.wanted}; take one of them out"
        return
    for question in questions:
        if isinstance(question, Group) and question.kind is not GroupKind.NONE_OF:
            for index, branch in enumerate(question.branches):
                yield from _in(branch, (*path, str(question.kind), index), every=every)


def _stopped(stops: Sequence[Rule], rule: Rule, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if not rule.enabled:
        return
    for other in stops:
        if (rule.fallback or not other.fallback) and _matches_whenever(other, rule):
            what = f"never fires: rule {other.name!r} before it matches whenever it does, and has stop = true"
            yield path, f"{what}; put this rule before that one, or narrow that one down"
            return


def _matches_whenever(other: Rule, rule: Rule) -> bool:
    """Return whether a rule certainly matches each study that another one matches."""
    if not all_imply(rule.when, other.when):
        return False
    wanted, given = list(other.inputs.values()), list(rule.inputs.values())
    if len(wanted) > len(given) or len(given) > _MOST_INPUTS:
        return False
    return any(
        all(all_imply(mine.where, theirs.where) for mine, theirs in zip(chosen, wanted, strict=True))
        for chosen in permutations(given, len(wanted))
    )
