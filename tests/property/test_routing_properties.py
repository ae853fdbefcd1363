"""For any rules and any study: text loses nothing, and arrival order changes nothing."""

import json
import random
import re
from dataclasses import replace
from typing import Any

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import MRImageStorage

from dicom_node.entities import InstanceRef
from dicom_node.routing import (
    Between,
    CompletionPolicy,
    Decider,
    Equals,
    Exists,
    FactsReader,
    Group,
    GroupKind,
    LateImages,
    Matches,
    Not,
    OneOf,
    Outcome,
    Priority,
    PriorityFrom,
    Priors,
    Question,
    Range,
    RankBy,
    ReceivedHeader,
    Recorder,
    RoleRule,
    Rule,
    RuleSet,
    Where,
    Window,
    asked_keywords,
    explain_lines,
    facts_to_bytes,
    gather,
    header_from_json,
    header_to_json,
    parse_rules,
    print_rules,
    put_rule,
    read_rules_text,
    route,
    told_verdicts,
    verdict_to_json,
)
from dicom_node.routing.conditions import Condition, judge
from tests.routing_cases import key, nested

_TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
_NAMES = _TEXTS.filter(lambda text: bool(text.strip()))
_NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
_TEXT_KEYWORDS = st.sampled_from(
    [
        *("SeriesDescription", "PatientName", "ImageComments", "RequestAttributesSequence.RequestedProcedureID"),
        "(0029,xx10) A.VENDOR 1.0",
    ]
)
_CODES = st.from_regex(r"[A-Z0-9]{2,5}:[A-Z0-9-]{1,9}", fullmatch=True).filter(lambda code: code[:4] != "SRT:")
_CODE_KEYWORDS = st.sampled_from(["ProcedureCodeSequence", "RequestAttributesSequence.ScheduledProtocolCodeSequence"])
_NUMBER_KEYWORDS = st.sampled_from(["EchoTime", "SliceThickness", "PatientAge", "SliceSpacing", "VoxelVolume"])
_PATTERNS = st.sampled_from(["^t1", "a.*b", r"\d+ mm$", "x|y", "'\"\\\\", "Ä"])


def _conditions(
    values: st.SearchStrategy[object], *others: st.SearchStrategy[Condition]
) -> st.SearchStrategy[Condition]:
    several = st.lists(values, min_size=1, max_size=3).map(tuple)
    leaves = st.one_of(
        st.builds(Equals, values), st.builds(OneOf, several), st.builds(Exists, st.booleans()), *others
    )
    return nested(nested(leaves, 3), 3)


def _between(vr: str, moments: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    ends = st.tuples(moments, moments).map(sorted)
    return st.one_of(
        st.builds(Between, st.just(vr), moments, st.none()), ends.map(lambda two: Between(vr, two[0], two[1]))
    )


_RANGES = st.one_of(
    st.builds(Range, _NUMBERS, st.none()),
    st.builds(Range, st.none(), _NUMBERS),
    st.tuples(_NUMBERS, _NUMBERS).map(sorted).map(lambda ends: Range(*ends)),
)
_ANY_CONDITION = st.one_of(_conditions(_TEXTS, st.builds(Matches, _PATTERNS)), _conditions(_NUMBERS, _RANGES))
_PLAIN = st.one_of(
    st.builds(Where, _TEXT_KEYWORDS, _conditions(_TEXTS, st.builds(Matches, _PATTERNS))),
    st.builds(Where, _NUMBER_KEYWORDS, _conditions(_NUMBERS, _RANGES)),
    st.builds(Where, _CODE_KEYWORDS, _conditions(_CODES)),
    st.builds(Where, st.just("StudyDate"), _between("DA", st.dates())),
    st.builds(Where, st.just("StudyTime"), _between("TM", st.times())),
    st.builds(Where, st.just("AcquisitionDateTime"), _between("DT", st.datetimes())),
)


@st.composite
def _wheres(draw: st.DrawFn) -> Where:
    """Draw one; a function, as Hypothesis would write the strategy out in full wherever it is used."""
    return draw(_PLAIN)


_WHERE = _wheres()


def _tables(questions: st.SearchStrategy[Question]) -> st.SearchStrategy[tuple[Question, ...]]:
    return st.lists(questions, min_size=1, max_size=3, unique_by=key).map(tuple)


def _groups(questions: st.SearchStrategy[Question]) -> st.SearchStrategy[Question]:
    branches = st.lists(_tables(questions), min_size=1, max_size=2).map(tuple)
    return st.builds(Group, st.sampled_from(GroupKind), branches)


@st.composite
def _questions(draw: st.DrawFn) -> tuple[Question, ...]:
    return draw(_tables(st.one_of(_WHERE, _groups(st.one_of(_WHERE, _groups(_WHERE))))))


_QUESTIONS = _questions()
_PREFERENCES = st.lists(_TEXTS, min_size=1, max_size=3).map(tuple)
_RANKS = st.lists(
    st.one_of(
        st.builds(RankBy, _NUMBER_KEYWORDS, st.booleans()),
        st.builds(RankBy, st.just("SeriesDescription"), st.just(value=False), _PREFERENCES),
    ),
    max_size=2,
).map(tuple)
_WINDOWS = st.builds(
    Window,
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 719),
    st.integers(720, 1440),
)
_POLICIES = st.builds(
    CompletionPolicy, st.one_of(st.none(), st.floats(0, 86400)), st.just(value=True), st.sampled_from(["", "pacs"])
)
_PRIORITIES = st.builds(
    PriorityFrom, _TEXT_KEYWORDS, st.dictionaries(_TEXTS.map(str.upper), st.sampled_from(Priority), max_size=2)
)


def _with_profiles(rule: Rule) -> Rule:
    return replace(rule, profiles=dict.fromkeys(rule.destinations[1:], "ohif"))


_ROLES = st.one_of(st.builds(RoleRule, _QUESTIONS), st.builds(RoleRule, _QUESTIONS, _RANKS))
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
    destinations=st.lists(_NAMES, min_size=1, max_size=2, unique=True).map(tuple),
    inputs=st.dictionaries(_TEXTS, _ROLES, min_size=1, max_size=3),
    when=st.one_of(st.just(()), _QUESTIONS),
    description=st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    enabled=st.booleans(),
    settings=st.dictionaries(_TEXTS, st.one_of(_TEXTS, _NUMBERS, st.booleans()), max_size=3),
    priority=st.sampled_from(Priority),
    late_images=st.sampled_from(LateImages),
    fallback=st.booleans(),
    priors=st.one_of(st.none(), _PRIORS),
    priority_from=st.one_of(st.none(), _PRIORITIES),
    schedule=st.lists(_WINDOWS, max_size=2).map(tuple),
    completion=st.one_of(st.none(), _POLICIES),
    dry_run=st.booleans(),
).map(_with_profiles)
_SILENT = st.builds(
    Rule, _NAMES, st.just(""), st.just(()), st.just({}), _QUESTIONS, do_not_run=_NAMES, stop=st.booleans()
)
_RULE_SETS = st.lists(st.one_of(_RULES, _SILENT), max_size=3, unique_by=lambda rule: rule.name).map(
    lambda rules: RuleSet(tuple(rules))
)


@given(_RULE_SETS)
@settings(max_examples=150, deadline=None)
def test_rules_to_text_to_rules_loses_nothing(rules: RuleSet) -> None:
    """What is printed reads back as equal rules, of the same digest and in the same order."""
    text = print_rules(rules)
    reading = read_rules_text(text)
    # by chance a rule contradicts itself; that is a fault, and the rule is read all the same
    assert all("can never match" in fault.what or "never fires" in fault.what for fault in reading.faults)
    back = reading.rules
    assert back == rules
    assert [list(rule.inputs) for rule in back.rules] == [list(rule.inputs) for rule in rules.rules]
    assert print_rules(back) == text


@given(_RULES, _RULES, st.sampled_from(["dotted", "printed"]))
@settings(max_examples=25, deadline=None)
def test_any_rule_can_take_the_place_of_any_other(before: Rule, after: Rule, layout: str) -> None:
    """A form puts what it was given: the text reads back as that rule, whatever stood there."""
    text = "# head\n" + print_rules(RuleSet((before,)))
    if layout == "dotted":
        name, plain = tomlkit.item(before.name).as_string(), '{ Modality = "MR" }'
        text = f'# head\n[[rule]]\nname = {name}\npipeline = "p"\nwhen.Modality = "CT"\ninputs.t1 = {plain} # end\n'
    edited = put_rule(text, after, before.name)
    assert read_rules_text(edited).rules.rules == (after,)
    assert edited.startswith("# head\n")


@given(_RULE_SETS.filter(lambda rules: bool(rules.rules)), st.data())
@settings(max_examples=60, deadline=None)
def test_a_comment_stays_where_it_was_not_touched(rules: RuleSet, data: st.DataObject) -> None:
    """Put back, a rule changes not a character; with another description, every comment is there still, in order."""
    text, count = _commented(print_rules(rules))
    rule = data.draw(st.sampled_from(rules.rules))
    assert put_rule(text, rule) == text
    described = replace(rule, description=data.draw(_TEXTS))
    edited = put_rule(text, described)
    assert re.findall(r"^# comment \d+$", edited, re.MULTILINE) == [f"# comment {number}" for number in range(count)]
    assert read_rules_text(edited).rules.rules == tuple(described if one == rule else one for one in rules.rules)


def _commented(text: str) -> tuple[str, int]:
    """Return a text with a comment above each table, and how many there are."""
    tables = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    commented = "".join(f"{table}# comment {number}\n" for number, table in enumerate(tables[:-1]))
    return f"{commented}{tables[-1]}", len(tables) - 1


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


@given(_studies(), _RULE_SETS)
@settings(max_examples=60, deadline=None)
def test_what_is_decided_quickly_is_what_is_explained(received: list[ReceivedHeader], drawn: RuleSet) -> None:
    """Matching, hindered and chosen series are the same for any rules, also from the stored facts."""
    facts = gather("1.2", received)
    for rules in (_ASKED, drawn):
        verdicts = route(facts, rules)
        read = FactsReader(asked_keywords(rules.rules)).read("1.2", facts_to_bytes(facts))
        for known in (facts, read):
            if known is None:  # more values than are stored
                continue
            (decisions,) = Decider(rules.rules).decide(known)
            assert list(decisions) == [verdict.rule.name for verdict in verdicts if verdict.matched]
            for verdict in verdicts:
                decision = decisions.get(verdict.rule.name)
                assert verdict.fires == (decision is not None and decision.fires)
                if decision is not None:
                    assert decision.priority is verdict.priority
                    chosen = {role: one.series_instance_uid for role, one in decision.inputs.items()}
                    assert chosen == {role: one.series_instance_uid for role, one in verdict.inputs.items()}
                    assert not decision.hindered or decision.hindered in verdict.reason
            assert [one.reason for one in route(known, rules)] == [one.reason for one in verdicts]


@given(_studies(), _RULE_SETS)
@settings(max_examples=60, deadline=None)
def test_a_record_tells_every_answer(received: list[ReceivedHeader], drawn: RuleSet) -> None:
    """What the ledger keeps tells the same answers, sentences and JSON as asking does; and the same rules fire."""
    facts = gather("1.2", received)
    for rules in (_ASKED, drawn):
        verdicts = route(facts, rules)
        record = Recorder(rules).record(facts)
        told = told_verdicts(record.text({}))
        assert list(told) == json.loads(json.dumps([verdict_to_json(verdict) for verdict in verdicts]))
        assert [tuple(each["lines"]) for each in told] == [explain_lines(verdict) for verdict in verdicts]
        (decisions,) = Decider(rules.rules).decide(facts)
        assert record.matching == tuple(decisions.values())
