"""What a rule asks of a study or a series: conditions on attributes, alone or in groups."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from dicom_node.routing.attributes import Attribute, attribute
from dicom_node.routing.conditions import Condition


@dataclass(frozen=True, slots=True)
class Where:
    """One condition on one attribute, by its dotted keyword path.

    Raises
    ------
    UnknownAttribute
        If no such attribute can be compared.
    """

    keyword: str
    condition: Condition
    wanted: str = field(init=False, repr=False, compare=False)
    attribute: Attribute = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every answer needs."""
        object.__setattr__(self, "wanted", str(self.condition))
        object.__setattr__(self, "attribute", attribute(self.keyword))


class GroupKind(StrEnum):
    """How the alternatives of a group belong together."""

    ALL_OF = "all_of"
    ANY_OF = "any_of"
    NONE_OF = "none_of"


@dataclass(frozen=True, slots=True)
class Group:
    """Several alternatives, of which all, one or none must hold; each is a set of questions that hold together."""

    kind: GroupKind
    branches: tuple[tuple["Question", ...], ...]


Question = Where | Group


def wheres_of(questions: Iterable[Question]) -> Iterator[Where]:
    """Yield every condition, those in groups too."""
    for question in questions:
        if isinstance(question, Where):
            yield question
        else:
            for branch in question.branches:
                yield from wheres_of(branch)
