"""Which rules fire, on which series, and the words for it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_node.entities import FactValue, InstanceRef, SeriesFacts, StudyFacts
from dicom_node.routing import (
    AnyOf,
    Equals,
    Exists,
    Matches,
    Not,
    OneOf,
    Outcome,
    Range,
    RankBy,
    ReceivedHeader,
    RoleRule,
    Rule,
    RuleSet,
    Verdict,
    Where,
    explain_lines,
    gather,
    parse_rules,
    read_header,
    route,
    verdict_to_json,
)
from dicom_node.routing.conditions import Condition, judge
from tests.routing_cases import values_of

_CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.mark.parametrize(
    ("condition", "values", "outcome"),
    [
        (Equals("mr "), ("MR",), "yes"),
        (Equals("MR"), ("MR", "SR"), "no"),
        (Equals(0.1), (0.1000000001,), "yes"),
        (Equals(3), ("3",), "no"),
        (OneOf(("T1", "t2")), ("T2", "t1"), "yes"),
        (Matches("^t1.*sag$"), ("T1_mprage_SAG",), "yes"),
        (Matches("^sag"), ("T1_mprage_sag",), "no"),
        (Range(1, 2), (1, 2.0), "yes"),
        (Range(1, 2), (1, 2.1), "no"),
        (Range(at_least=1), ("broken",), "no"),
        (Exists(wanted=True), ("x",), "yes"),
        (Exists(wanted=False), ("x",), "no"),
        (Not(Equals("x")), ("x", "y"), "no"),
        (Not(Equals("x")), ("y", "z"), "yes"),
        (Not(OneOf(("x", "y"))), ("z", "y"), "no"),
        (AnyOf((Equals("a"), Matches("^b"))), ("A", "bc"), "yes"),
        (Equals("x"), (), "missing"),
        (Range(at_least=1), (), "missing"),
        (Not(Equals("x")), (), "missing"),
        (Exists(wanted=True), (), "no"),
        (Exists(wanted=False), (), "yes"),
        (Not(Exists(wanted=True)), (), "yes"),
        (AnyOf((Exists(wanted=False), Equals("x"))), (), "yes"),
        (AnyOf((Equals("y"), Equals("x"))), (), "missing"),
    ],
)
def test_every_value_of_a_series_must_satisfy(
    condition: Condition, values: tuple[FactValue, ...], outcome: str
) -> None:
    """A mixed series is not what a condition asks for, and missing is its own answer."""
    assert judge(condition, values, every=True) == outcome


@pytest.mark.parametrize(
    ("condition", "values", "outcome"),
    [
        (Equals("MR"), ("MR", "SR"), "yes"),
        (Not(Equals("CT")), ("MR", "CT"), "no"),
        (Not(Equals("CT")), ("MR", "SR"), "yes"),
    ],
)
def test_any_series_of_a_study_may_satisfy(condition: Condition, values: tuple[FactValue, ...], outcome: str) -> None:
    """Except that `not` means that nothing in the study is so."""
    assert judge(condition, values, every=False) == outcome


def _series(uid: str, **values: FactValue | tuple[FactValue, ...]) -> SeriesFacts:
    return SeriesFacts(uid, values_of({"Rows": 256, **values}))


def _study(*series: SeriesFacts, **values: FactValue | tuple[FactValue, ...]) -> StudyFacts:
    return StudyFacts("1.2", values_of(values), series)


def _rule(name: str = "one", *, fallback: bool = False, when: tuple[Where, ...] = (), **inputs: RoleRule) -> Rule:
    roles = inputs or {"t1": _T1}
    return Rule(name, "brain", ("pacs",), roles, when=when, fallback=fallback)


_T1 = RoleRule((Where("SeriesDescription", Matches("t1")),))
_HEAD = _series("1.2.1", SeriesDescription="T1 sag", NumberOfSlices=192, SliceSpacing=1.0)


def _route(facts: StudyFacts, *rules: Rule) -> tuple[Verdict, ...]:
    return route(facts, RuleSet(rules))


def test_a_rule_whose_conditions_all_hold_fires_and_names_its_series() -> None:
    """Conditions on the study and on a series for each input."""
    (verdict,) = _route(_study(_HEAD, CallingAETitle="MR1"), _rule(when=(Where("CallingAETitle", Equals("MR1")),)))
    assert verdict.fires
    assert verdict.inputs == {"t1": _HEAD}
    assert verdict.reason == "fires: t1: series 1.2.1, the only one that fits"


def test_every_rule_that_matches_fires() -> None:
    """Rules do not compete."""
    assert [verdict.fires for verdict in _route(_study(_HEAD), _rule("one"), _rule("two"))] == [True, True]


def test_a_fallback_fires_only_if_no_other_rule_did() -> None:
    """Wherever it stands in the file; two fallbacks do not hinder each other."""
    other = _series("1.2.1", SeriesDescription="T2")
    any_series = RoleRule((Where("Rows", Exists(wanted=True)),))
    rules = (_rule("late", fallback=True, t1=any_series), _rule("one"), _rule("last", fallback=True, t1=any_series))
    assert [verdict.fires for verdict in _route(_study(_HEAD), *rules)] == [False, True, False]
    assert [verdict.fires for verdict in _route(_study(other), *rules)] == [True, False, True]
    assert _route(_study(_HEAD), *rules)[0].reason == "does not fire: it is a fallback, and 'one' fired"


def test_a_rule_that_is_switched_off_says_so() -> None:
    """And keeps no fallback from firing."""
    off = Rule("off", "brain", ("pacs",), {"t1": _T1}, enabled=False)
    first, second = _route(_study(_HEAD), off, _rule("rest", fallback=True))
    assert first.reason == "does not fire: the rule is switched off (enabled = false)"
    assert second.fires


def test_a_condition_on_the_study_that_fails_is_named() -> None:
    """The reason says which, and whether it was missing; the answer shows the values."""
    when = (Where("CallingAETitle", Equals("MR1")), Where("StationName", Equals("x")))
    (verdict,) = _route(_study(_HEAD, CallingAETitle="MR2"), _rule(when=when))
    assert not verdict.fires
    assert verdict.reason == (
        "does not fire: CallingAETitle of the study (not what is wanted); StationName of the study (missing)"
    )
    assert [answer.sentence for answer in verdict.study] == [
        "no: CallingAETitle is 'MR2', wanted 'MR1'",
        "missing: StationName is missing, wanted 'x'",
    ]


def test_the_nearest_series_is_named_where_none_fits() -> None:
    """An administrator reads what to change."""
    role = RoleRule((Where("Modality", Equals("MR")), Where("EchoTime", Range(at_most=10))))
    far = _series("1.2.1", Modality="CT")
    near = _series("1.2.2", Modality="MR", EchoTime=80.0)
    (verdict,) = _route(_study(far, near), _rule(t1=role))
    assert verdict.reason == (
        "does not fire: input t1: no series fits; "
        "nearest is series 1.2.2, which fails in EchoTime (not what is wanted)"
    )


def test_a_series_without_images_fills_no_role() -> None:
    """A vendor's report may be named like the series it reports on (PS3.3 C.7.6.3: images have Rows)."""
    report = SeriesFacts("1.2.9", {"SeriesDescription": ("T1 report",), "Modality": ("SR",)})
    (verdict,) = _route(_study(report), _rule())
    assert not verdict.fires
    assert [answer.sentence for answer in verdict.roles[0].series[0].answers] == [
        "missing: Rows is missing, wanted images"
    ]


def test_of_several_series_the_ranking_chooses_and_says_why() -> None:
    """Most slices first, then the finest, unless the rule says otherwise; last comes the UID."""
    thick = _series("1.2.2", SeriesDescription="t1", NumberOfSlices=192, SliceSpacing=2.0)
    few = _series("1.2.0", SeriesDescription="t1", NumberOfSlices=30, SliceSpacing=0.5)
    (verdict,) = _route(_study(thick, few, _HEAD), _rule())
    assert verdict.inputs["t1"] is _HEAD
    assert verdict.roles[0].reason == "series 1.2.1, of 3 that fit: smaller SliceSpacing, 1 against 2"
    finest = RoleRule(_T1.where, (RankBy("SliceSpacing", descending=False),))
    assert _route(_study(thick, few, _HEAD), _rule(t1=finest))[0].inputs["t1"] is few


def test_equals_go_by_series_uid_and_missing_comes_last() -> None:
    """So the choice is the same whatever arrived first."""
    equal = _series("1.2.0", SeriesDescription="t1", NumberOfSlices=192, SliceSpacing=1.0)
    unknown = _series("1.1", SeriesDescription="t1")
    (verdict,) = _route(_study(unknown, _HEAD, equal), _rule())
    assert verdict.inputs["t1"] is equal
    assert verdict.roles[0].reason.endswith("so the first by Series Instance UID")


def test_no_series_fills_two_roles_and_a_role_gives_way_where_it_can() -> None:
    """A series that only one role can take goes to that role, though another role would rank it best."""
    any_t1 = _T1
    only_contrast = RoleRule((Where("SeriesDescription", Matches("t1.*gd")),))
    best = _series("1.2.1", SeriesDescription="t1 gd", NumberOfSlices=200, SliceSpacing=1.0)
    other = _series("1.2.2", SeriesDescription="t1", NumberOfSlices=20, SliceSpacing=5.0)
    (verdict,) = _route(_study(best, other), _rule(t1=any_t1, t1c=only_contrast))
    assert verdict.inputs == {"t1": other, "t1c": best}
    assert verdict.roles[0].reason == "series 1.2.2, of 2 that fit: the best one that no other input takes"
    (verdict,) = _route(_study(best), _rule(t1=any_t1, t1c=only_contrast))
    assert not verdict.fires
    assert verdict.inputs == {}
    assert "every series that fits fills another input" in verdict.reason


def test_one_of_several_texts_of_one_image_is_enough() -> None:
    """Image Type (PS3.3 C.7.6.1.1.2) has several values in every image; an echo time has one."""
    series = _series("1.2.1", ImageType=("ORIGINAL", "PRIMARY", "M"), EchoTime=(10.0, 80.0))
    image_type = RoleRule((Where("ImageType", Equals("PRIMARY")),))
    echo_time = RoleRule((Where("EchoTime", Equals(10)),))
    assert _route(_study(series), _rule(t1=image_type))[0].fires
    (verdict,) = _route(_study(series), _rule(t1=echo_time))
    assert verdict.roles[0].series[0].answers[0].sentence == "no: EchoTime is 10, 80, wanted 10"


def test_what_identifies_a_person_is_never_shown() -> None:
    """Names and identifiers may be asked about; answers, sentences and JSON do not repeat them."""
    when = (Where("PatientName", Matches("doe")), Where("PatientID", Equals("other")), Where("PatientAge", Range(18)))
    study = _study(_HEAD, PatientName="Doe^Jane", PatientID="4711", PatientAge=31.0)
    (verdict,) = _route(study, _rule(when=when))
    assert verdict.study[0].sentence == "yes: PatientName is present (not shown), wanted a text that matches 'doe'"
    told = json.dumps(verdict_to_json(verdict))
    assert "Jane" not in told
    assert "4711" not in told


def test_many_values_are_shown_in_part() -> None:
    """A series may hold thousands of positions."""
    role = RoleRule((Where("SliceLocation", Range(at_least=0)),))
    (verdict,) = _route(_study(_series("1.2.1", SliceLocation=tuple(map(float, range(100))))), _rule(t1=role))
    assert verdict.roles[0].series[0].answers[0].seen == "0, 1, 2, 3, 4, 5 and 94 more"


def test_the_explanation_reads_as_sentences() -> None:
    """Page, log and command line show these lines; the JSON holds them too."""
    when = (Where("CallingAETitle", Equals("MR1")),)
    (verdict,) = _route(_study(_HEAD, CallingAETitle="MR1"), _rule(when=when))
    lines = explain_lines(verdict)
    assert lines == (
        "Rule 'one' fires: t1: series 1.2.1, the only one that fits",
        "  The study:",
        "    yes: CallingAETitle is 'MR1', wanted 'MR1'",
        "  Input 't1': series 1.2.1, the only one that fits",
        "    Series 1.2.1 fits:",
        "      yes: SeriesDescription is 'T1 sag', wanted a text that matches 't1'",
    )
    told = json.loads(json.dumps(verdict_to_json(verdict)))
    assert told["lines"] == list(lines)
    assert told["inputs"] == {"t1": "1.2.1"}
    assert told["roles"][0]["series"][0]["answers"][0]["outcome"] == Outcome.YES


def _facts(folder: Path) -> StudyFacts:
    received = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix == ".dcm" or not path.suffix):
        if path.is_dir():
            continue
        header = read_header(path)
        uids = [str(header[f"{level}InstanceUID"][0]) for level in ("SOP", "Series", "Study")]
        ref = InstanceRef(uids[0], str(header["SOPClassUID"][0]), "", uids[1], uids[2], path.name, "", 0)
        received.append(ReceivedHeader(ref, header, "MR1", "NODE", "127.0.0.1"))
    return gather("1.2", received)


@pytest.mark.parametrize(
    ("name", "slices"),
    [
        ("t1-siemens-prisma", 192),
        ("t1-philips-elition", 170),
        ("t1-nifti2dicom-defaced", 384),
        ("t1-patient-positions/HFS", 35),
    ],
)
def test_the_shipped_rule_takes_whole_head_t1(unpacked: Callable[[str], Path], name: str, slices: int) -> None:
    """Three vendors' and one converter's headers, as they are."""
    data_set, _, member = name.partition("/")
    rules = parse_rules((_CONFIG / "rules.toml").read_text(), "rules.toml")
    (verdict,) = route(_facts(unpacked(data_set) / member), rules)
    assert verdict.fires, verdict.reason
    assert verdict.inputs["t1"].values["NumberOfSlices"] == (slices,)


def test_the_shipped_rule_takes_one_of_two_reconstructions_and_no_report(shared_data: Path) -> None:
    """Enhanced MR: series 5 of 5 and 6; the vendor's Enhanced SR is ignored."""
    rules = parse_rules((_CONFIG / "rules.toml").read_text(), "rules.toml")
    facts = _facts(shared_data / "t1-enhanced-multiframe-xa30")
    (verdict,) = route(facts, rules)
    assert len(facts.series) == 3
    assert verdict.fires, verdict.reason
    assert verdict.inputs["t1"].values["SeriesNumber"] == (5,)
    assert "smaller SeriesNumber, 5 against 6" in verdict.reason


def test_the_shipped_rule_leaves_objects_of_others_alone(shared_data: Path) -> None:
    """Segmentations, a report and real world value maps made by dcmqi fill no role and do no harm."""
    rules = parse_rules((_CONFIG / "rules.toml").read_text(), "rules.toml")
    (verdict,) = route(_facts(shared_data / "seg-sr-examples-dcmqi"), rules)
    assert not verdict.fires
