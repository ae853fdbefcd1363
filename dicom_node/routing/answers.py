"""What the questions of a rule found: value seen, value wanted, and yes, no or missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dicom_node.entities import FactValue
from dicom_node.routing.attributes import Attribute
from dicom_node.routing.conditions import OPPOSITE, Outcome, all_outcome, any_outcome
from dicom_node.routing.questions import GroupKind

#: Values shown in an answer; a series may hold thousands.
_MOST_SHOWN: Final = 6
_LONGEST_SHOWN: Final = 80


class Answer(NamedTuple):
    """What one condition found; a tuple, as a study may get thousands of them.

    Attributes
    ----------
    keyword : str
        The dotted path that was asked about.
    wanted, seen : str
        In words; `seen` is blank if there is no value, and never shows what identifies a person.
    """

    keyword: str
    wanted: str
    seen: str
    outcome: Outcome

    @property
    def sentence(self) -> str:
        """Return "yes: Modality is 'MR', wanted 'MR'"."""
        seen = f"{self.keyword} is {self.seen}" if self.seen else f"{self.keyword} is missing"
        return f"{self.outcome}: {seen}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """What a group of alternatives found, with the answers of each."""

    kind: GroupKind
    branches: tuple[tuple["Found", ...], ...]
    outcome: Outcome

    @property
    def keyword(self) -> str:
        """Return what was asked about, such as "any_of (Modality, StudyDescription)"."""
        keywords = dict.fromkeys(answer.keyword for branch in self.branches for answer in branch)
        return f"{self.kind} ({', '.join(keywords)})"

    @property
    def sentence(self) -> str:
        """Return "yes: any_of, 1 of 2 alternatives holds"."""
        held = sum(together(branch) is Outcome.YES for branch in self.branches)
        holds = "holds" if held == 1 else "hold"
        return f"{self.outcome}: {self.kind}, {held} of {len(self.branches)} alternatives {holds}"


Found = Answer | GroupAnswer


def together(answers: Sequence[Found]) -> Outcome:
    """Return the outcome of answers that must all be yes."""
    return all_outcome([answer.outcome for answer in answers])


def grouped(kind: GroupKind, branches: tuple[tuple[Found, ...], ...]) -> GroupAnswer:
    """Return what a group found; what is missing may have been yes, so it fulfils no none_of."""
    outcomes = [together(branch) for branch in branches]
    outcome = all_outcome(outcomes) if kind is GroupKind.ALL_OF else any_outcome(outcomes)
    return GroupAnswer(kind, branches, OPPOSITE[outcome] if kind is GroupKind.NONE_OF else outcome)


def unfulfilled(answers: Sequence[Found]) -> Iterator[Found]:
    """Yield the answers that are not yes."""
    return (answer for answer in answers if answer.outcome is not Outcome.YES)


def shown_seen(about: Attribute, values: Sequence[FactValue]) -> str:
    """Return the values of an attribute as answers show them; blank if there is none."""
    if values and about.private:
        return "present (not shown)"
    return shown_values(values) if values else ""


def shown_values(values: Sequence[FactValue]) -> str:
    """Return the first few values, in an order that arrival does not change."""
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    shown = ", ".join(map(shown_value, ordered[:_MOST_SHOWN]))
    more = len(values) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def shown_value(value: FactValue) -> str:
    """Return one value as answers show it."""
    if not isinstance(value, str):
        try:
            return f"{value:.10g}"
        except OverflowError:  # a whole number that no float holds
            return "a number beyond all measure"
    return f"'{value}'" if len(value) <= _LONGEST_SHOWN else f"'{value[:_LONGEST_SHOWN]}...'"
