"""A rule that is refused as dead never fires: for any study that its conditions can tell apart."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dicom_node.entities import FactValue, SeriesFacts, StudyFacts
from dicom_node.routing import (
    AllOf,
    AnyOf,
    Equals,
    Exists,
    Group,
    GroupKind,
    Matches,
    Not,
    OneOf,
    Range,
    RoleRule,
    Rule,
    RuleSet,
    Where,
    print_rules,
    read_rules_text,
    route,
)
from dicom_node.routing.conditions import Condition
from tests.routing_cases import key, nested

_TEXTS = st.sampled_from(["HEAD", "NECK"])
_NUMBERS = st.sampled_from([1, 2, 3])


_OF_TEXTS = nested(
    st.one_of(
        st.builds(Equals, _TEXTS),
        st.builds(OneOf, st.lists(_TEXTS, min_size=1, max_size=2).map(tuple)),
        st.builds(Exists, st.booleans()),
        st.builds(Matches, st.sampled_from(["HEAD", "E"])),
    ),
    2,
)
_OF_NUMBERS = nested(
    st.one_of(
        st.builds(Equals, _NUMBERS),
        st.builds(Exists, st.booleans()),
        st.builds(Range, _NUMBERS, st.none()),
        st.builds(Range, st.none(), _NUMBERS),
    ),
    2,
)
_WHERES = st.one_of(
    st.builds(Where, st.just("StudyDescription"), nested(_OF_TEXTS, 2)),
    st.builds(Where, st.just("ImageType"), _OF_TEXTS),
    st.builds(Where, st.just("EchoTime"), nested(_OF_NUMBERS, 2)),
)


_TABLES = st.lists(_WHERES, min_size=1, max_size=2, unique_by=key).map(tuple)
_GROUPS = st.builds(Group, st.sampled_from(GroupKind), st.lists(_TABLES, min_size=1, max_size=2).map(tuple))
_QUESTIONS = st.lists(st.one_of(_WHERES, _GROUPS), min_size=1, max_size=2, unique_by=key).map(tuple)


@st.composite
def _rules(draw: st.DrawFn, name: str, *, stop: bool) -> Rule:
    """Draw one; a function, as Hypothesis would write the strategy out in full wherever it is used."""
    inputs = {draw(st.sampled_from(["t1", "flair"])): RoleRule(draw(_QUESTIONS))}
    return Rule(name, "p", ("pacs",), inputs, draw(st.one_of(st.just(()), _QUESTIONS)), stop=stop)


_VALUES = st.fixed_dictionaries(
    {
        "StudyDescription": st.lists(st.sampled_from(["HEAD", "NECK", "x"]), max_size=2).map(tuple),
        "ImageType": st.lists(st.sampled_from(["HEAD", "NECK", "x"]), max_size=2).map(tuple),
        "EchoTime": st.lists(st.sampled_from([0, 1, 1.5, 2, 3, 4]), max_size=2).map(tuple),
    }
)
_STUDIES = st.lists(st.lists(_VALUES, min_size=1, max_size=2), max_size=8)
_ANY = RoleRule((Where("Rows", Exists(wanted=True)),))


def _study(series: list[dict[str, tuple[FactValue, ...]]]) -> StudyFacts:
    known = [{**{key: values for key, values in one.items() if values}, "Rows": (1,)} for one in series]
    keys = {key for one in known for key in one}
    union = {key: tuple(dict.fromkeys(value for one in known for value in one.get(key, ()))) for key in keys}
    return StudyFacts("1.2", union, tuple(SeriesFacts(f"1.2.{n}", one) for n, one in enumerate(known)))


def _simple(name: str, condition: Condition, *, stop: bool) -> Rule:
    return Rule(name, "p", ("pacs",), {"t1": _ANY}, (Where("StudyDescription", condition),), stop=stop)


@given(_rules("a", stop=True), _rules("b", stop=False), _STUDIES)
@example(
    _simple("a", Exists(wanted=True), stop=True),
    _simple("b", AnyOf((Exists(wanted=False), Matches("head"))), stop=False),
    [[{"StudyDescription": ()}]],
)
@example(
    _simple("a", Not(Equals("HEAD")), stop=True),
    _simple("b", AllOf((Not(Equals("HEAD")), Exists(wanted=True))), stop=False),
    [[{"StudyDescription": ("HEAD", "NECK")}]],
)
@settings(max_examples=500, deadline=None)
def test_a_rule_that_is_refused_as_dead_never_fires(
    first: Rule, second: Rule, studies: list[list[dict[str, tuple[FactValue, ...]]]]
) -> None:
    """Neither one that "can never match", nor one that "never fires" behind another."""
    rules = RuleSet((first, second))
    faults = read_rules_text(print_rules(rules)).faults
    silent = {rule.name for rule in rules.rules for fault in faults if fault.what.startswith(f"rule {rule.name!r}")}
    impossible = {name for name in silent for fault in faults if f"{name!r}: can never match" in fault.what}
    whole = {rule.name for rule in rules.rules if not _in_groups(rule)}
    for series in studies:
        for verdict in route(_study(series), rules):
            name = verdict.rule.name
            if name in impossible:
                assert not verdict.matched or name not in whole
            elif name in silent:
                assert not verdict.fires


def _in_groups(rule: Rule) -> bool:
    """Return whether a rule has alternatives, of which only one may be impossible."""
    asked = [*rule.when, *(question for role in rule.inputs.values() for question in role.where)]
    return any(isinstance(question, Group) for question in asked)
