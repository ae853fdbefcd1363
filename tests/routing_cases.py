"""One rule as text, values as facts hold them, and what rules that are made at random have in common."""

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

from dicom_node.routing import AllOf, AnyOf, Not, Question, Where
from dicom_node.routing.conditions import Condition

RULE: Final = """[[rule]]
name = "one"
pipeline = "brain"
destinations = ["pacs"]
{more}
[rule.inputs.t1]
{condition}
"""


def values_of(given: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return values as facts and headers hold them: several for each attribute."""
    return {name: value if isinstance(value, tuple) else (value,) for name, value in given.items()}


def nested(leaves: st.SearchStrategy[Condition], most: int) -> st.SearchStrategy[Condition]:
    """Return conditions, and what is made of at most so many of them."""
    several = st.lists(leaves, min_size=1, max_size=most).map(tuple)
    return st.one_of(leaves, st.builds(Not, leaves), st.builds(AnyOf, several), st.builds(AllOf, several))


def key(question: Question) -> str:
    """Return what a question stands under in a table, which has each once."""
    return question.keyword if isinstance(question, Where) else question.kind
