"""The questions that a rule asks of one attribute, and the answers: yes, no, or missing.

How several values are judged (the facts come from all instances of a series):

- A condition on a series wants *every* value to satisfy it: a series that mixes echo times is not "EchoTime 30".
  Where one image by itself holds several texts (Image Type, or the items of a sequence), *any* of them may.
- A condition on the study wants *any* value to satisfy it: a study usually has several series.
- `not` is yes only if *no* value satisfies what it denies.
- No value at all is `missing`, which never fulfils a condition, denied or not; only `exists = false` is then yes.

Texts are compared without regard to case and to spaces at the ends.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isclose
from typing import Final

from dicom_node.entities import FactValue
from dicom_node.routing.moments import Between
from dicom_node.routing.patterns import SEARCHED_CHARACTERS


class Outcome(StrEnum):
    """What a condition finds."""

    YES = "yes"
    NO = "no"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Equals:
    """The value is this text (any case) or this number (to one part in a million)."""

    value: FactValue
    folded: FactValue = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare for comparison."""
        object.__setattr__(self, "folded", folded_value(self.value))

    def holds(self, value: FactValue) -> bool:
        """Return whether one value satisfies this."""
        return _same(folded_value(value), self.folded)

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        return _shown(self.value)


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value is one of these."""

    values: tuple[FactValue, ...]
    folded: tuple[FactValue, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare for comparison."""
        object.__setattr__(self, "folded", tuple(map(folded_value, self.values)))

    def holds(self, value: FactValue) -> bool:
        """Return whether one value satisfies this."""
        value = folded_value(value)
        return value in self.folded if isinstance(value, str) else any(_same(value, one) for one in self.folded)

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        return "one of " + ", ".join(map(_shown, self.values))


@dataclass(frozen=True, slots=True)
class Matches:
    """A regular expression is found somewhere in the text, in any case."""

    pattern: str
    regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the pattern; raises re.error if it is none."""
        object.__setattr__(self, "regex", re.compile(self.pattern, re.IGNORECASE))

    def holds(self, value: FactValue) -> bool:
        """Return whether one value satisfies this."""
        return self.regex.search(str(value)[:SEARCHED_CHARACTERS]) is not None

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        return f"a text that matches '{self.pattern}'"


@dataclass(frozen=True, slots=True)
class Range:
    """The number lies in a range, ends included; at least one end is given."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: FactValue) -> bool:
        """Return whether one value satisfies this; a text where a number belongs does not."""
        if isinstance(value, str):
            return False
        low_enough = self.at_most is None or value <= self.at_most
        return low_enough and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        ends = [("at least", self.at_least), ("at most", self.at_most)]
        return " and ".join(f"{words} {end:.10g}" for words, end in ends if end is not None)


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value, or there is none; an empty attribute counts as none."""

    wanted: bool

    def holds(self, _value: FactValue) -> bool:
        """Return whether having a value satisfies this."""
        return self.wanted

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        return "any value" if self.wanted else "no value"


@dataclass(frozen=True, slots=True)
class Not:
    """No value satisfies what is denied."""

    denied: "Condition"

    def holds(self, value: FactValue) -> bool:
        """Return whether one value satisfies this."""
        return not self.denied.holds(value)

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        return f"not {self.denied}"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of several conditions is satisfied."""

    conditions: tuple["Condition", ...]

    def holds(self, value: FactValue) -> bool:
        """Return whether one value satisfies this."""
        return any(condition.holds(value) for condition in self.conditions)

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        return " or ".join(map(str, self.conditions))


@dataclass(frozen=True, slots=True)
class AllOf:
    """Several conditions are satisfied by the same value."""

    conditions: tuple["Condition", ...]

    def holds(self, value: FactValue) -> bool:
        """Return whether one value satisfies this."""
        return all(condition.holds(value) for condition in self.conditions)

    def __str__(self) -> str:
        """Return what is wanted, in words."""
        return " and ".join(map(str, self.conditions))


Condition = Equals | OneOf | Matches | Range | Between | Exists | Not | AnyOf | AllOf


def judge(condition: Condition, values: Sequence[FactValue], *, every: bool) -> Outcome:
    """Return the outcome for all the values seen; `every` asks each to satisfy it, else one is enough."""
    if not values:
        return _without_value(condition)
    if isinstance(condition, Not):
        every = True  # denied by every value
    found = (all if every else any)(map(condition.holds, values))
    return Outcome.YES if found else Outcome.NO


def _without_value(condition: Condition) -> Outcome:
    match condition:
        case Exists(wanted):
            return Outcome.NO if wanted else Outcome.YES
        case Not(denied):
            return OPPOSITE[_without_value(denied)]
        case AnyOf(conditions):
            outcomes = [_without_value(one) for one in conditions]
            return any_outcome(outcomes)
        case AllOf(conditions):
            return all_outcome([_without_value(one) for one in conditions])
        case _:
            return Outcome.MISSING


def any_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Return yes if one is yes; else missing if one is missing, as that one might have been yes."""
    return next((one for one in (Outcome.YES, Outcome.MISSING) if one in outcomes), Outcome.NO)


def all_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Return no if one is no; else missing if one is missing; else yes."""
    return next((one for one in (Outcome.NO, Outcome.MISSING) if one in outcomes), Outcome.YES)


OPPOSITE: Final = {Outcome.YES: Outcome.NO, Outcome.NO: Outcome.YES, Outcome.MISSING: Outcome.MISSING}


def folded_value(value: FactValue) -> FactValue:
    """Return a value as it is compared: texts without regard to case and to spaces around them."""
    return value.strip().casefold() if isinstance(value, str) else value


def _same(seen: FactValue, wanted: FactValue) -> bool:
    """Return whether two folded values are equal."""
    if isinstance(wanted, str) or isinstance(seen, str):
        return seen == wanted
    try:
        return isclose(seen, wanted, rel_tol=1e-6, abs_tol=1e-9)
    except OverflowError:  # a whole number that no float holds
        return seen == wanted


def _shown(value: FactValue) -> str:
    return f"'{value}'" if isinstance(value, str) else f"{value:.10g}"
