"""Sets of questions, asked of one study or series after the other: quickly, as equal conditions are asked once.

Every condition and every group has a number, and what was found is two integers: in the one the bit of a number is
set if the answer is yes, in the other if it is no; in neither, if it is missing. Whether a set of questions holds is
then one comparison. Studies of one scanner have mostly the same values, so what the same values gave is remembered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from dicom_node.entities import FactValue, Header
from dicom_node.routing.conditions import Outcome, judge
from dicom_node.routing.questions import Group, GroupKind, Question, Where, wheres_of

#: Values of one keyword whose answers are remembered at most; then all are forgotten.
_MOST_REMEMBERED: Final = 20_000
#: Of more values than that, such as one for each image, hardly two series have the same, and they take much room.
_FEW_VALUES: Final = 16


class _Keyword:
    """The conditions on one keyword, which are asked together; the first has the number `first`.

    Attributes
    ----------
    remembered : dict
        Values to the conditions that they answer with yes, and those with no.
    """

    def __init__(self, wheres: Sequence[Where], first: int, *, of_study: bool) -> None:
        self.keyword = wheres[0].keyword
        about = wheres[0].attribute
        self._conditions = [where.condition for where in wheres]
        self._first = first
        self._every = not (of_study or about.several)
        self._typed = about.number is not None
        self.remembered: dict[tuple[FactValue, ...], tuple[int, int]] = {}

    def found(self, values: tuple[FactValue, ...]) -> tuple[int, int]:
        """Return the conditions that values answer with yes, and those with no."""
        found = self._judged(values)
        if len(self.remembered) > _MOST_REMEMBERED:
            self.remembered.clear()
        # untyped, 1 and 1.0 would be one key, and a pattern may tell them apart
        if self._typed and len(values) <= _FEW_VALUES:
            self.remembered[values] = found
        return found

    def _judged(self, values: tuple[FactValue, ...]) -> tuple[int, int]:
        yes = no = 0
        for number, condition in enumerate(self._conditions, self._first):
            outcome = judge(condition, values, every=self._every)
            if outcome is Outcome.YES:
                yes |= 1 << number
            elif outcome is Outcome.NO:
                no |= 1 << number
        return yes, no


class NumberedGroup(NamedTuple):
    """A group whose questions are numbers; `inside` are the groups among them, `bit` is that of its number."""

    number: int
    bit: int
    kind: GroupKind
    branches: tuple[tuple[int, ...], ...]
    masks: tuple[int, ...]
    inside: tuple["NumberedGroup", ...]


@dataclass(frozen=True, slots=True)
class NumberedSet:
    """Questions that hold together, as numbers in their order; `plain` are the bits of those that are no groups."""

    numbers: tuple[int, ...]
    plain: int
    groups: tuple[NumberedGroup, ...]


class Questionnaire:
    """Sets of questions about studies, or about series.

    Attributes
    ----------
    wheres : list of Where
        The distinct conditions; their numbers are their places.
    groups : list of NumberedGroup
        The distinct groups, numbered on from there; what stands inside another comes before it.
    attributes : dict
        What is known of each keyword that is asked about.
    """

    def __init__(self, sets: Sequence[Sequence[Question]], *, of_study: bool) -> None:
        # by its words too: equal numbers, such as 0.0 and -0.0, are not always written alike
        distinct = dict.fromkeys((one, one.wanted) for questions in sets for one in wheres_of(questions))
        self.wheres = sorted((one for one, _ in distinct), key=lambda one: one.keyword)
        self._numbers = {(one, one.wanted): number for number, one in enumerate(self.wheres)}
        self.groups: list[NumberedGroup] = []
        self._known_groups: dict[tuple[GroupKind, tuple[tuple[int, ...], ...]], NumberedGroup] = {}
        self.attributes = {one.keyword: one.attribute for one in self.wheres}
        self._keywords = [(each.keyword, each.remembered, each) for each in self._by_keyword(of_study=of_study)]
        self.sets = [self._numbered(questions) for questions in sets]

    def ask(self, values: Header) -> "Asked":
        """Return what one study or series answers."""
        yes = no = 0
        for keyword, remembered, conditions in self._keywords:
            seen = values.get(keyword, ())
            found = remembered.get(seen) or conditions.found(seen)
            yes |= found[0]
            no |= found[1]
        return Asked(yes, no)

    def ask_all(self, values: Header) -> "Asked":
        """Return what one study or series answers, every group settled."""
        asked = self.ask(values)
        for group in self.groups:
            asked.settle(group)
        return asked

    def _by_keyword(self, *, of_study: bool) -> Iterator[_Keyword]:
        first = 0
        for _, wheres in groupby(self.wheres, key=lambda one: one.keyword):
            each = list(wheres)
            yield _Keyword(each, first, of_study=of_study)
            first += len(each)

    def _numbered(self, questions: Sequence[Question]) -> NumberedSet:
        found = [self._numbers[one, one.wanted] if isinstance(one, Where) else self._group(one) for one in questions]
        groups = tuple(one for one in found if isinstance(one, NumberedGroup))
        plain = _mask([one for one in found if isinstance(one, int)])
        return NumberedSet(tuple(one if isinstance(one, int) else one.number for one in found), plain, groups)

    def _group(self, group: Group) -> NumberedGroup:
        branches = [self._numbered(branch) for branch in group.branches]
        key = (group.kind, tuple(branch.numbers for branch in branches))
        if key not in self._known_groups:
            number = len(self.wheres) + len(self.groups)
            masks = tuple(_mask(branch.numbers) for branch in branches)
            inside = tuple(one for branch in branches for one in branch.groups)
            self._known_groups[key] = NumberedGroup(number, 1 << number, *key, masks, inside)
            self.groups.append(self._known_groups[key])
        return self._known_groups[key]


class Asked:
    """What one study or series answered; groups are settled when they are looked at."""

    __slots__ = ("_settled", "no", "yes")

    def __init__(self, yes: int, no: int) -> None:
        self.yes = yes
        self.no = no
        self._settled = 0

    def holds(self, questions: NumberedSet) -> bool:
        """Return whether every question of a set is answered yes."""
        if self.yes & questions.plain != questions.plain:
            return False
        for group in questions.groups:
            if not self._settled & group.bit:
                self.settle(group)
            if not self.yes & group.bit:
                return False
        return True

    def settle(self, group: NumberedGroup) -> None:
        """Find what a group answers; what is missing may have been yes, so it fulfils no none_of."""
        if self._settled & group.bit:
            return
        for one in group.inside:
            self.settle(one)
        held = missing = failed = False
        yes, no = self.yes, self.no
        for mask in group.masks:
            if yes & mask == mask:
                held = True
            elif no & mask:
                failed = True
            else:
                missing = True
        is_yes, is_no = held, not (held or missing)
        if group.kind is GroupKind.ALL_OF:
            is_yes, is_no = not (failed or missing), failed
        elif group.kind is GroupKind.NONE_OF:
            is_yes, is_no = is_no, is_yes
        self._settled |= group.bit
        if is_yes:
            self.yes |= group.bit
        elif is_no:
            self.no |= group.bit


def _mask(numbers: Sequence[int]) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask
