"""Groups, dates and times, codes, private attributes, schedules: what a rule can say besides single values."""

from datetime import UTC, date, datetime, time, tzinfo
from zoneinfo import ZoneInfo

import pytest
from pydicom import Dataset

from dicom_node.entities import FactValue, SeriesFacts, StudyFacts
from dicom_node.routing import (
    Between,
    Equals,
    Group,
    GroupKind,
    OneOf,
    Outcome,
    Priority,
    RankBy,
    ReceivedHeader,
    RuleSet,
    Verdict,
    Where,
    Window,
    explain_lines,
    gather,
    header_of,
    opens_at,
    parse_rules,
    print_rules,
    read_rules_text,
    route,
    verdict_to_json,
)
from tests.ledger_cases import image
from tests.routing_cases import RULE, values_of


def _rules(condition: str = 'Modality = "MR"', more: str = "") -> RuleSet:
    return parse_rules(RULE.format(condition=condition, more=more), "r")


def _verdict(rules: RuleSet, **values: FactValue | tuple[FactValue, ...]) -> Verdict:
    facts = values_of({"Rows": 1, **values})
    return route(StudyFacts("1.2", facts, (SeriesFacts("1.2.1", facts),)), rules)[0]


def _faults(condition: str = 'Modality = "MR"', more: str = "") -> list[str]:
    return [fault.what for fault in read_rules_text(RULE.format(condition=condition, more=more)).faults]


@pytest.mark.parametrize(
    ("group", "values", "outcome"),
    [
        ("any_of = [{ Modality = 'MR' }, { Modality = 'CT' }]", {"Modality": "CT"}, Outcome.YES),
        ("any_of = [{ Modality = 'MR' }, { EchoTime = 3 }]", {"Modality": "CT"}, Outcome.MISSING),
        ("any_of = [{ Modality = 'MR' }, { Modality = 'US' }]", {"Modality": "CT"}, Outcome.NO),
        ("any_of = [{ Modality = 'MR', EchoTime = 3 }]", {"Modality": "MR", "EchoTime": 4}, Outcome.NO),
        (
            "all_of = [{ ImageType = 'ORIGINAL' }, { ImageType = 'M' }]",
            {"ImageType": ("ORIGINAL", "M")},
            Outcome.YES,
        ),
        ("none_of = [{ Modality = 'MR' }, { Modality = 'CT' }]", {"Modality": "CT"}, Outcome.NO),
        ("none_of = [{ Modality = 'MR' }, { Modality = 'US' }]", {"Modality": "CT"}, Outcome.YES),
        ("none_of = [{ EchoTime = 3 }]", {"Modality": "CT"}, Outcome.MISSING),
        ("any_of = [{ none_of = [{ Modality = 'MR' }] }]", {"Modality": "CT"}, Outcome.YES),
    ],
)
def test_groups_of_conditions(group: str, values: dict[str, FactValue], outcome: Outcome) -> None:
    """One, all or none of several sets of conditions; what is missing fulfils none of them, denied or not."""
    answer = _verdict(_rules(group), **values).roles[0].series[0].answers[0]
    assert answer.outcome is outcome


def test_groups_explain_every_alternative() -> None:
    """The sentence of a group is followed by those of its conditions, and the JSON holds them too."""
    verdict = _verdict(
        _rules(more="[[rule.when.any_of]]\nModality = 'CT'\n[[rule.when.any_of]]\nEchoTime = 3"), EchoTime=3
    )
    lines = explain_lines(verdict)
    assert lines[2:7] == (
        "    yes: any_of, 1 of 2 alternatives holds",
        "      Alternative 1:",
        "        missing: Modality is missing, wanted 'CT'",
        "      Alternative 2:",
        "        yes: EchoTime is 3, wanted 3",
    )
    (told,) = verdict_to_json(verdict)["study"]
    assert (told["group"], told["outcome"]) == ("any_of", "yes")
    assert told["alternatives"][1][0]["sentence"] == "yes: EchoTime is 3, wanted 3"


def test_a_failed_group_is_named_in_the_reason() -> None:
    """The reason says what a group asked about, and no value."""
    verdict = _verdict(
        _rules(more="when.none_of = [{ StudyDescription = 'x' }]"), StudyDescription="x", Modality="MR"
    )
    assert verdict.reason == "does not fire: none_of (StudyDescription) of the study (not what is wanted)"


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ("StudyDate = { at_least = 2026-01-01 }", "20260101", True),
        ("StudyDate = { at_least = '2026-01-01', at_most = '20261231' }", "20270101", False),
        ("StudyDate = '2026-03-21'", "20260321", True),
        ("StudyDate = [2026-03-21, 2026-03-22]", "20260322", True),
        ("StudyDate = { at_least = 2026-01-01 }", "no date", False),
        ("StudyTime = { at_least = 08:00:00, at_most = '18:00' }", "1800", True),
        ("StudyTime = { at_least = '08:00', at_most = '18:00' }", "180001.5", False),
        ("StudyTime = { at_least = '22:00', at_most = '06:00' }", "233000", True),
        ("StudyTime = { at_least = '22:00', at_most = '06:00' }", "120000", False),
        ("AcquisitionDateTime = { at_most = 2026-03-21 }", "20260321235959.5+0100", True),
        ("AcquisitionDateTime = { at_most = '2026-03-21 12:00' }", "20260321130000", False),
        ("PatientAge = { at_least = '6M', at_most = '18Y' }", 0.5, True),
        ("PatientAge = { at_least = '6M' }", 0.4, False),
    ],
)
def test_ranges_of_dates_times_and_ages(condition: str, value: FactValue, holds: bool) -> None:
    """As TOML writes them, as ISO 8601 or as DICOM does; times may go over midnight (PS3.5 6.2: DA, TM, DT, AS)."""
    verdict = _verdict(_rules(condition), **{condition.split(maxsplit=1)[0]: value})
    assert verdict.fires is holds


def test_a_range_of_dates_reads_as_a_sentence() -> None:
    """The administrator reads ISO dates."""
    (where,) = _rules("StudyDate = { at_least = 2026-01-01, at_most = 2026-12-31 }").rules[0].inputs["t1"].where
    assert where == Where("StudyDate", Between("DA", date(2026, 1, 1), date(2026, 12, 31)))
    assert isinstance(where, Where)
    assert where.wanted == "at least 2026-01-01 and at most 2026-12-31"
    assert str(Between("TM", time(22), time(6))) == "at least 22:00:00 and at most 06:00:00"


def _code_item(value: str, scheme: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "Head"
    return item


def test_codes_are_compared_as_pairs() -> None:
    """Code value and scheme belong to one item (PS3.3 8.8); SNOMED RT codes are the same concepts as SNOMED CT's."""
    dataset = Dataset()
    dataset.ProcedureCodeSequence = [_code_item("BRAIN", "99LOCAL"), _code_item("T-D1100", "SRT")]
    header = header_of(dataset)
    assert header["ProcedureCodeSequence"] == ("99LOCAL:BRAIN", "SCT:69536005")
    for wanted, fires in (("SCT:69536005", True), ("SRT:T-D1100", True), ("99LOCAL:T-D1100", False)):
        rules = _rules(f"ProcedureCodeSequence = '{wanted}'")
        assert _verdict(rules, **header).fires is fires
    assert "write a code as SCHEME:VALUE" in _faults("ProcedureCodeSequence = 'BRAIN'")[0]


def test_private_attributes_go_by_their_creator() -> None:
    """The block differs from file to file, the creator does not (PS3.5 7.8)."""
    dataset = Dataset()
    dataset.private_block(0x0019, "ANOTHER 1.0", create=True).add_new(0x0C, "IS", "1")
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "1000")
    header = header_of(dataset)
    name = "(0019,xx0C) SIEMENS MR HEADER"
    assert header[name] == (1000,)
    assert _verdict(_rules('"(0019,xx0c) SIEMENS MR HEADER" = { at_least = 900 }'), **header).fires
    assert not _verdict(_rules('"(0019,xx0C) ANOTHER 1.0" = { at_least = 900 }'), **header).fires
    assert "holds numbers: write it without quotes" in _faults('"(0019,xx0C) SIEMENS MR HEADER" = "1"')[0]
    assert "is no private attribute; write it as in" in _faults('"(0018,xx0C) EVEN" = "1"')[0]


def test_a_series_is_ranked_by_what_comes_first() -> None:
    """Values in an order of preference; others come after them, and the reason says so."""
    rules = _rules('Modality = "MR"\nrank = [{ Orientation = ["sagittal", "axial"] }, "AcquiredAt desc"]')
    assert rules.rules[0].inputs["t1"].rank == (
        RankBy("Orientation", preferred=("sagittal", "axial")),
        RankBy("AcquiredAt", descending=True),
    )
    series = tuple(
        SeriesFacts(uid, {"Rows": (1,), "Modality": ("MR",), "Orientation": (way,), "AcquiredAt": (at,)})
        for uid, way, at in (
            ("1.1", "coronal", "20260103"),
            ("1.2", "axial", "20260101"),
            ("1.3", "axial", "20260102"),
        )
    )
    (verdict,) = route(StudyFacts("1.2", {}, series), rules)
    assert verdict.inputs["t1"].series_instance_uid == "1.3"
    (verdict,) = route(StudyFacts("1.2", {}, series[:2]), rules)
    assert verdict.reason.endswith("its Orientation comes first of Orientation sagittal, then axial")


def test_facts_that_follow_from_several_attributes() -> None:
    """When a series was acquired, its voxels, the age by date of birth, a study's age."""
    header: dict[str, tuple[FactValue, ...]] = {
        "SeriesDate": ("20260321",),
        "SeriesTime": ("101530.5",),
        "StudyDate": ("20260320",),
        "PatientBirthDate": ("20160320",),
        "PixelSpacing": (0.5,),
        "SliceThickness": (2.0,),
    }
    arrived = datetime(2026, 3, 25, 12, tzinfo=UTC).timestamp()
    facts = gather("1.2", [ReceivedHeader(image(1), header, "MR1", "NODE", "10.0.0.1", arrived)])
    assert facts.values["StudyAgeDays"] == (5,)
    series = facts.series[0].values
    assert (series["AcquiredAt"], series["VoxelVolume"]) == (("20260321101530",), (0.5,))
    assert series["PatientAge"] == (pytest.approx(10.0, abs=0.01),)


@pytest.mark.parametrize(("zone", "days"), [(UTC, 0), (ZoneInfo("Europe/Berlin"), 1)])
def test_the_age_of_a_study_is_counted_in_days_of_the_site(zone: tzinfo, days: int) -> None:
    """Half past midnight in Berlin is still the day before in UTC."""
    arrived = datetime(2026, 3, 25, 23, 30, tzinfo=UTC).timestamp()
    received = ReceivedHeader(image(1), {"StudyDate": ("20260325",)}, "MR1", "NODE", "10.0.0.1", arrived)
    assert gather("1.2", [received], zone).values["StudyAgeDays"] == (days,)


@pytest.mark.parametrize(
    ("born", "studied", "years"),
    [
        ("20050301", "20230301", 18.0),
        ("20050301", "20230228", 17.997),
        ("20040229", "20220228", 17.997),
        ("20040229", "20220301", 18.0),
        ("20040229", "20240229", 20.0),
        ("20260101", "20260401", 0.246),
        ("00010101", "99991231", 9998.997),
    ],
)
def test_an_age_changes_on_the_birthday(born: str, studied: str, years: float) -> None:
    """Whole years by the calendar: who is 18 today is at least 18, who will be tomorrow is not."""
    header = {"PatientBirthDate": (born,), "StudyDate": (studied,)}
    facts = gather("1.2", [ReceivedHeader(image(1), header, "MR1", "NODE", "10.0.0.1")])
    assert facts.values["PatientAge"] == (pytest.approx(years, abs=0.002),)
    whole, seen = round(years), facts.values["PatientAge"][0]
    assert (seen == whole) == (years == whole)


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ('StudyTime = "18:30"', "183000"),
        ('StudyTime = "1830"', "183000"),
        ("StudyTime = 18:30:00", "183000"),
        ('StudyTime = "18:30:15.25"', "183015.250000"),
        ('StudyTime = "183015.25"', "183015.25"),
        ('AcquisitionDateTime = "2026-03-21 18:30"', "20260321183000"),
        ('AcquisitionDateTime = ["2026-03-21T18:30:05"]', "20260321183005"),
        ('AcquisitionDateTime = "20260321183000.5+0100"', "20260321183000.5+0100"),
        ('StudyDate = "2026-03-21"', "20260321"),
    ],
)
def test_times_are_wanted_as_devices_write_them(condition: str, value: str) -> None:
    """Whatever an editor writes (PS3.5 6.2, VR TM and DT: digits)."""
    rules = _rules(condition)
    assert _verdict(rules, **{condition.split(" ", maxsplit=1)[0]: value}).fires
    assert parse_rules(print_rules(rules), "r") == rules


@pytest.mark.parametrize(
    ("text", "now", "opens"),
    [
        ("Mon-Fri 18:00-07:00", "2026-03-23 20:00", "2026-03-23 20:00"),  # a Monday
        ("Mon-Fri 18:00-07:00", "2026-03-23 12:00", "2026-03-23 18:00"),
        ("Mon-Fri 18:00-07:00", "2026-03-28 06:00", "2026-03-28 06:00"),  # Saturday, since Friday evening
        ("Mon-Fri 18:00-07:00", "2026-03-28 07:00", "2026-03-30 18:00"),
        ("Sat,Sun 00:00-24:00", "2026-03-23 00:00", "2026-03-28 00:00"),
        ("fri-mon 09:00-10:00", "2026-03-22 09:59", "2026-03-22 09:59"),
    ],
)
def test_a_schedule_says_when_jobs_may_start(text: str, now: str, opens: str) -> None:
    """Weekdays and wall time; an end before its start is on the next day."""
    window = Window.read(text)
    assert window is not None
    at = opens_at((window,), datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp(), UTC)
    assert datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") == opens
    assert Window.read(str(window)) == window


def test_a_window_in_the_hour_that_the_clocks_leave_out_is_the_next_one() -> None:
    """In Berlin 02:00 to 03:00 is missing on 29 March 2026: what is said is when a job may really start."""
    window = Window.read("Sun 02:00-03:00")
    assert window is not None
    zone = ZoneInfo("Europe/Berlin")
    at = opens_at((window,), datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp(), zone)
    assert datetime.fromtimestamp(at, zone).isoformat() == "2026-04-05T02:00:00+02:00"
    assert opens_at((window,), at, zone) == at


@pytest.mark.parametrize(
    "text", ["Mon 9-10", "Mon-Foo 09:00-10:00", "Mon 09:00-09:00", "Mon 24:00-09:00", "Mon 09:00-25:00"]
)
def test_what_is_no_window(text: str) -> None:
    """A window that nobody can read, or that is empty, is a fault."""
    assert Window.read(text) is None
    assert "is no window" in _faults(more=f'schedule = ["{text}"]')[0]


def test_the_priority_comes_from_an_attribute() -> None:
    """Terms of the standard, terms of the site, the most urgent of several; else the rule's own."""
    more = "priority = { from = 'RequestedProcedurePriority', otherwise = 'background', terms = { A1 = 'urgent' } }"
    rules = _rules(more=more)
    for seen, priority in (
        (("STAT",), Priority.STAT),
        (("LOW", "a1"), Priority.URGENT),
        (("?",), Priority.BACKGROUND),
        ((), Priority.BACKGROUND),
    ):
        assert _verdict(rules, Modality="MR", RequestedProcedurePriority=seen).priority is priority
    assert parse_rules(print_rules(rules), "printed") == rules


_TWO = """
[[rule]]
name = "first"
pipeline = "p"
destinations = ["pacs"]
{first}
inputs.t1.Modality = "MR"
[[rule]]
name = "second"
pipeline = "p"
destinations = ["pacs"]
{second}
inputs.t1 = {{ Modality = ["MR", "CT"], EchoTime = 3 }}
"""


def _two(first: str = "", second: str = "") -> tuple[Verdict, ...]:
    values: dict[str, tuple[FactValue, ...]] = {"Rows": (1,), "Modality": ("MR",), "EchoTime": (3,)}
    rules = parse_rules(_TWO.format(first=first, second=second), "r")
    return route(StudyFacts("1.2", values, (SeriesFacts("1.2.1", values),)), rules)


def test_a_rule_that_stops_keeps_later_rules_from_firing() -> None:
    """In the order of the file, and the later rule says which one it was; its answers stay."""
    first, second = _two(first="stop = true")
    assert (first.fires, second.fires, second.matched) == (True, False, True)
    assert second.reason == "does not fire: rule 'first' before it matches too, and has stop = true"
    assert second.roles[0].series[0].fits
    assert [verdict.fires for verdict in _two(second="stop = true")] == [True, True]


def test_recognised_and_deliberately_not_run() -> None:
    """Not the same as no match: it is said why, no job is made, and a fallback is not needed."""
    text = """
[[rule]]
name = "scouts"
do_not_run = "Localizers need no analysis."
when.Modality = "MR"
stop = true
[[rule]]
name = "rest"
fallback = true
pipeline = "p"
destinations = ["pacs"]
inputs.t1.Modality = "MR"
"""
    scouts, rest = route(
        StudyFacts("1.2", {"Modality": ("MR",)}, (SeriesFacts("1.2.1", {"Rows": (1,), "Modality": ("MR",)}),)),
        parse_rules(text, "r"),
    )
    assert (scouts.fires, scouts.matched) == (False, True)
    assert scouts.reason == "recognised, deliberately not run: Localizers need no analysis."
    assert rest.reason == "does not fire: it is a fallback, and 'scouts' fired"
    assert verdict_to_json(scouts)["recognised"] == "Localizers need no analysis."


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ("Modality = 'magnetic resonance'", "VR CS holds at most 16 characters"),
        ("Modality = 'MR!'", "VR CS holds letters from A to Z"),
        ("SOPClassUID = 'MR Image Storage'", "a UID is such as"),
        ("StudyDate = '21.3.2026'", "VR DA holds such as '2026-03-21'"),
        ("StudyTime = { at_least = 'noon' }", "VR TM holds such as '18:30'"),
        ("StudyDate = { at_least = 2026-12-31, at_most = 2026-01-01 }", "nothing is at least"),
        ("SeriesNumber = 1.5", "VR IS holds whole numbers"),
        ("Rows = -1", "VR US holds whole numbers from 0 to 65535"),
        ("PatientAge = 'old'", "or an age such as '6M'"),
        ("any_of = []", "any_of must be a list of tables with conditions"),
        ("any_of = ['MR']", "any_of must be a list of tables with conditions"),
        ("any_of = [{ Modalty = 'MR' }]", "unknown DICOM keyword 'Modalty'; did you mean 'Modality'?"),
        ("EchoTime = 3\nall_of = [{ EchoTime = 4 }]", "can never match: EchoTime cannot be 3 and 4"),
        ("Modality = 'MR'\nall_of = [{ Modality = { not = ['MR', 'CT'] } }]", "can never match: Modality cannot be"),
        ("EchoTime = { exists = false }\nall_of = [{ EchoTime = 4 }]", "can never match"),
        ("any_of = [{ EchoTime = { at_most = 2 }, all_of = [{ EchoTime = { at_least = 3 } }] }]", "can never match"),
        ("Modality = 'MR'\nrank = [{ NumberOfSlices = ['x'] }]", "NumberOfSlices holds numbers"),
    ],
)
def test_what_can_never_match_is_a_fault(condition: str, fault: str) -> None:
    """Told when the rules are read, not found out by waiting."""
    (told,) = _faults(condition)
    assert fault in told


@pytest.mark.parametrize(
    "condition",
    [
        "ImageType = 'ORIGINAL'\nall_of = [{ ImageType = 'PRIMARY' }]",
        "EchoTime = { at_least = 1 }\nall_of = [{ EchoTime = { at_most = 1 } }]",
        "any_of = [{ EchoTime = 3 }, { EchoTime = 4 }]",
        "none_of = [{ EchoTime = 3 }, { EchoTime = { not = 3 } }]",
        "EchoTime = { any_of = [3, { exists = false }] }\nall_of = [{ EchoTime = { at_least = 3 } }]",
    ],
)
def test_what_may_match_is_no_fault(condition: str) -> None:
    """A check that cries wolf would keep a good rule out."""
    assert _faults(condition) == []


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("priority = { from = 'RequestedProcedurePrio' }", "did you mean 'RequestedProcedurePriority'?"),
        ("priority = { otherwise = 'stat' }", "from is missing"),
        ("completion = {}", "completion is empty"),
        ("completion = { quiet_seconds = -1 }", "quiet_seconds is -1; it must be 0..86400"),
        ("completion = { inputs = true }", "unknown key 'inputs'"),
        ("do_not_run = ' '", "do_not_run must say in words"),
        ("dry_run = 'yes'", "dry_run is 'yes'; it must be true or false"),
        ("schedule = 'nights'", "schedule must be a list of windows"),
    ],
)
def test_options_are_checked(more: str, fault: str) -> None:
    """Every fault says what would be right."""
    assert any(fault in told for told in _faults(more=more))


def test_destinations_and_profiles_are_checked() -> None:
    """A rule may want another profile for a destination; both must exist."""
    text = RULE.format(condition="Modality = 'MR'", more="").replace(
        '["pacs"]', '[{ name = "pacs", profile = "ohif" }]'
    )
    rules = parse_rules(text, "r", None, ["pacs"], known_profiles=["ohif"])
    assert (rules.rules[0].destinations, rules.rules[0].profiles) == (("pacs",), {"pacs": "ohif"})
    (fault,) = read_rules_text(text, None, ["pacs"], known_profiles=["default"]).faults
    assert fault.what == "rule 'one': there is no result profile 'ohif'; known: default"
    assert (fault.line, fault.column) == (4, 17)


def test_a_rule_that_another_one_stops_for_ever_is_a_fault() -> None:
    """Whatever the second matches, the first matches: it would be dead, and nobody would know."""
    text = _TWO.replace('["MR", "CT"]', '"MR"')
    (fault,) = read_rules_text(text.format(first="stop = true", second="")).faults
    assert fault.what.startswith("rule 'second': never fires: rule 'first' before it matches whenever it does")
    assert fault.line == 8
    assert not read_rules_text(text.format(first="stop = true", second="enabled = false")).faults
    assert not read_rules_text(text.format(first="", second="")).faults
    assert not read_rules_text(_TWO.format(first="stop = true", second="")).faults


def test_a_group_may_stand_beside_conditions() -> None:
    """All of a table must hold: conditions and groups."""
    (rule,) = _rules("Modality = 'MR'\nany_of = [{ EchoTime = [2, 3] }]").rules
    assert rule.inputs["t1"].where == (
        Where("Modality", Equals("MR")),
        Group(GroupKind.ANY_OF, ((Where("EchoTime", OneOf((2, 3))),),)),
    )
