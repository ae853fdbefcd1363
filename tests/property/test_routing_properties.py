"""For any rules and any study: text loses nothing, and arrival order changes nothing."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import MRImageStorage

from dicom_node.entities import InstanceRef
from dicom_node.routing import (
    AnyOf,
    Equals,
    Exists,
    LateImages,
    Matches,
    Not,
    OneOf,
    Outcome,
    Priority,
    Priors,
    Range,
    RankBy,
    ReceivedHeader,
    RoleRule,
    Rule,
    RuleSet,
    Where,
    explain_lines,
    gather,
    header_from_json,
    header_to_json,
    parse_rules,
    print_rules,
    route,
    verdict_to_json,
)
from dicom_node.routing.conditions import Condition, judge

_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
_NAMES = _TEXTS.filter(lambda text: bool(text.strip()))
_NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
_TEXT_KEYWORDS = st.sampled_from(
    ["SeriesDescription", "ImageType", "PatientName", "RequestAttributesSequence.RequestedProcedureID", "SOPClassUID"]
)
_NUMBER_KEYWORDS = st.sampled_from(["EchoTime", "Rows", "PatientAge", "SliceSpacing", "NumberOfInstances"])
_PATTERNS = st.sampled_from(["^t1", "a.*b", r"\d+ mm$", "x|y", "'\"\\\\", "Ä"])


def _nested(leaves: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(leaves, min_size=1, max_size=3).map(tuple)
    return st.one_of(leaves, st.builds(Not, leaves), st.builds(AnyOf, several))


def _conditions(
    values: st.SearchStrategy[object], *others: st.SearchStrategy[Condition]
) -> st.SearchStrategy[Condition]:
    several = st.lists(values, min_size=1, max_size=3).map(tuple)
    leaves = st.one_of(
        st.builds(Equals, values), st.builds(OneOf, several), st.builds(Exists, st.booleans()), *others
    )
    return _nested(_nested(leaves))


_RANGES = st.one_of(
    st.builds(Range, _NUMBERS, st.none()),
    st.builds(Range, st.none(), _NUMBERS),
    st.tuples(_NUMBERS, _NUMBERS).map(sorted).map(lambda ends: Range(*ends)),
)
_ANY_CONDITION = st.one_of(_conditions(_TEXTS, st.builds(Matches, _PATTERNS)), _conditions(_NUMBERS, _RANGES))
_WHERE = st.one_of(
    st.builds(Where, _TEXT_KEYWORDS, _conditions(_TEXTS, st.builds(Matches, _PATTERNS))),
    st.builds(Where, _NUMBER_KEYWORDS, _conditions(_NUMBERS, _RANGES)),
)
_WHERES = st.lists(_WHERE, min_size=1, max_size=3, unique_by=lambda where: where.keyword).map(tuple)
_RANKS = st.lists(st.builds(RankBy, _NUMBER_KEYWORDS, st.booleans()), max_size=2).map(tuple)
_ROLES = st.one_of(st.builds(RoleRule, _WHERES), st.builds(RoleRule, _WHERES, _RANKS))
_PRIORS = st.builds(
    Priors,
    archive=_NAMES,
    at_most=st.integers(1, 100),
    not_older_than_years=st.integers(1, 150),
    same=st.lists(st.sampled_from(["Modality", "BodyPartExamined", "ProtocolName"]), unique=True).map(tuple),
    time_limit_seconds=st.one_of(st.integers(1, 86400), st.floats(1, 86400)),
    inputs=st.dictionaries(_TEXTS, _ROLES, max_size=2),
)
_RULES = st.builds(
    Rule,
    name=_NAMES,
    pipeline=_NAMES,
    destinations=st.lists(_TEXTS, min_size=1, max_size=2).map(tuple),
    inputs=st.dictionaries(_TEXTS, _ROLES, min_size=1, max_size=3),
    when=st.one_of(st.just(()), _WHERES),
    description=st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    enabled=st.booleans(),
    settings=st.dictionaries(_TEXTS, st.one_of(_TEXTS, _NUMBERS, st.booleans()), max_size=3),
    priority=st.sampled_from(Priority),
    late_images=st.sampled_from(LateImages),
    fallback=st.booleans(),
    priors=st.one_of(st.none(), _PRIORS),
)
_RULE_SETS = st.lists(_RULES, max_size=3, unique_by=lambda rule: rule.name).map(lambda rules: RuleSet(tuple(rules)))


@given(_RULE_SETS)
@settings(max_examples=150, deadline=None)
def test_rules_to_text_to_rules_loses_nothing(rules: RuleSet) -> None:
    """What is printed reads back as equal rules, of the same digest and in the same order."""
    text = print_rules(rules)
    back = parse_rules(text, "printed")
    assert back == rules
    assert [list(rule.inputs) for rule in back.rules] == [list(rule.inputs) for rule in rules.rules]
    assert print_rules(back) == text


@st.composite
def _studies(draw: st.DrawFn) -> list[ReceivedHeader]:
    """Draw a few instances of a few series, with values that the rules above ask about."""
    received = []
    for number in range(draw(st.integers(1, 10))):
        series = draw(st.sampled_from(["1.2.1", "1.2.2", "1.2.3"]))
        header: dict[str, tuple[str | int | float, ...]] = {
            "SeriesDescription": (draw(st.sampled_from(["t1 sag", "T1 gd", "flair", "x"])),),
            "EchoTime": (draw(st.sampled_from([2.5, 80.0])),),
            "ImagePositionPatient": (0.0, 0.0, draw(st.floats(-100, 100))),
            "ImageOrientationPatient": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        }
        if draw(st.booleans()):
            header["Rows"] = (256,)
        ref = InstanceRef(f"1.2.{number}.{series}", MRImageStorage, "", series, "1.2", str(number), "", 0)
        calling = draw(st.sampled_from(["MR1", "MR2"]))
        received.append(ReceivedHeader(ref, header, calling, "NODE", "10.0.0.1"))
    return received


_ASKED = parse_rules(
    """
[[rule]]
name = "two roles"
pipeline = "p"
destinations = ["pacs"]
when.CallingAETitle = "MR1"
inputs.t1 = { SeriesDescription = { matches = "t1" }, NumberOfSlices = { at_least = 2 } }
inputs.any = { EchoTime = { at_most = 100 }, rank = ["EchoTime asc", "NumberOfInstances desc"] }

[[rule]]
name = "rest"
fallback = true
pipeline = "p"
destinations = ["pacs"]
inputs.t1 = { Orientation = "axial" }
""",
    "asked",
)


@given(_studies(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_arrival_order_changes_no_verdict(received: list[ReceivedHeader], chance: random.Random) -> None:
    """The same instances in any order give the same facts, verdicts, sentences and JSON."""
    shuffled = list(received)
    chance.shuffle(shuffled)
    first, second = gather("1.2", received), gather("1.2", shuffled)
    assert first == second
    assert route(first, _ASKED) == route(second, _ASKED)
    assert [verdict_to_json(one) for one in route(first, _ASKED)] == [
        verdict_to_json(one) for one in route(second, _ASKED)
    ]


@given(_studies())
@settings(max_examples=200, deadline=None)
def test_a_verdict_fires_exactly_if_its_answers_say_so(received: list[ReceivedHeader]) -> None:
    """The decision can be checked from the answers alone: that is what explaining means."""
    verdicts = route(gather("1.2", received), _ASKED)
    for verdict in verdicts:
        chosen = list(verdict.inputs.values())
        assert len({series.series_instance_uid for series in chosen}) == len(chosen)
        study = all(answer.outcome is Outcome.YES for answer in verdict.study)
        full = len(chosen) == len(verdict.roles)
        overruled = verdict.rule.fallback and any(one.fires for one in verdicts if not one.rule.fallback)
        assert verdict.fires == (study and full and not overruled)
        for role in verdict.roles:
            fitting = [series.series_instance_uid for series in role.series if series.fits]
            assert role.chosen is None or role.chosen.series_instance_uid in fitting
        assert explain_lines(verdict)[0].startswith(f"Rule {verdict.rule.name!r} ")


@given(_ANY_CONDITION, st.lists(st.one_of(_TEXTS, _NUMBERS), max_size=4).map(tuple), st.booleans())
def test_denying_never_agrees_with_what_it_denies(
    condition: Condition, values: tuple[str | int | float, ...], every: bool
) -> None:
    """A condition and its denial are never both fulfilled, and what is missing stays missing."""
    plain, denied = judge(condition, values, every=every), judge(Not(condition), values, every=every)
    assert not plain == denied == Outcome.YES
    if not values:
        assert (plain is Outcome.MISSING) == (denied is Outcome.MISSING)


@given(st.dictionaries(_TEXTS, st.lists(st.one_of(_TEXTS, _NUMBERS), max_size=4).map(tuple), max_size=5))
def test_headers_survive_json(header: dict[str, tuple[str | int | float, ...]]) -> None:
    """Any header, types included."""
    back = header_from_json(header_to_json(header))
    assert back == header
    assert [type(value) for values in back.values() for value in values] == [
        type(value) for values in header.values() for value in values
    ]
