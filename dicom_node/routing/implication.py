"""Which conditions follow from which, and which can never hold together: what makes a rule dead."""

from collections.abc import Sequence
from itertools import combinations
from typing import Final

from dicom_node.routing.conditions import AllOf, Condition, Equals, Exists, Not, OneOf, Outcome, Range, judge
from dicom_node.routing.questions import Group, GroupKind, Question, Where

#: Of more conditions that must hold together it is not tried which exclude one another.
_MOST_COMPARED: Final = 500


def implies(given: Condition, wanted: Condition) -> bool:
    """Return whether every value that satisfies one condition satisfies another; False where that is not certain."""
    if given == wanted:
        return True
    if isinstance(wanted, Exists):
        return wanted.wanted and not _holds_without_value(given)
    match given:
        case Equals() | OneOf():
            values = (given.value,) if isinstance(given, Equals) else given.values
            return not isinstance(wanted, Not) and all(wanted.holds(value) for value in values)
        case Range():
            return isinstance(wanted, Range) and _lies_in(given, wanted)
        case AllOf(conditions):
            # a denial is asked of every value, also of those that do not satisfy what is given
            return not isinstance(wanted, Not) and any(implies(one, wanted) for one in conditions)
    return False


def _holds_without_value(condition: Condition) -> bool:
    return judge(condition, (), every=False) is Outcome.YES


def _lies_in(given: Range, wanted: Range) -> bool:
    low, high = given.at_least, given.at_most
    above = wanted.at_least is None or (low is not None and low >= wanted.at_least)
    return above and (wanted.at_most is None or (high is not None and high <= wanted.at_most))


def question_implies(given: Question, wanted: Question) -> bool:
    """Return whether one question can only be answered yes if another is, too."""
    if isinstance(given, Where) and isinstance(wanted, Where):
        return given.keyword == wanted.keyword and implies(given.condition, wanted.condition)
    if given == wanted:
        return True
    if isinstance(wanted, Group) and wanted.kind is GroupKind.ANY_OF:
        return any(all_imply((given,), branch) for branch in wanted.branches)
    return False


def all_imply(given: Sequence[Question], wanted: Sequence[Question]) -> bool:
    """Return whether, if all of some questions are answered yes, all of others are, too."""
    return all(any(question_implies(one, other) for one in given) for other in wanted)


def contradiction(questions: Sequence[Question], *, every: bool) -> tuple[Where, Where] | None:
    """Return two conditions on one attribute that can never both hold, if there are any.

    Parameters
    ----------
    every : bool
        True where all values must satisfy a condition (a series); a study may have one value for each.
    """
    plain = _held_together(questions)[:_MOST_COMPARED]
    for first, second in combinations(plain, 2):
        if first.keyword == second.keyword and _contradict(first, second, every=every):
            return first, second
    return None


def _held_together(questions: Sequence[Question]) -> list[Where]:
    """Return the conditions that must all hold: those of an all_of too."""
    found: list[Where] = []
    for question in questions:
        if isinstance(question, Where):
            found.append(question)
        elif question.kind is GroupKind.ALL_OF:
            for branch in question.branches:
                found += _held_together(branch)
    return found


def _contradict(first: Where, second: Where, *, every: bool) -> bool:
    one, other = first.condition, second.condition
    if any(isinstance(each, Exists) and not each.wanted for each in (one, other)):
        return not (_holds_without_value(one) and _holds_without_value(other))
    for denial, given in ((one, other), (other, one)):
        if isinstance(denial, Not) and not isinstance(given, Not) and implies(given, denial.denied):
            return True
    return every and not first.attribute.several and _disjoint(one, other)


def _disjoint(one: Condition, other: Condition) -> bool:
    match one, other:
        case Range(low, high), Range(least, most):
            below = high is not None and least is not None and high < least
            return below or (most is not None and low is not None and most < low)
        case (Equals() | OneOf() as listed, another) | (another, Equals() | OneOf() as listed):
            if isinstance(another, Not | Exists):
                return False
            values = (listed.value,) if isinstance(listed, Equals) else listed.values
            return not any(another.holds(value) for value in values)
    return False
