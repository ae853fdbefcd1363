"""An edit tried on the studies that were received: what would newly run, no longer run, or run otherwise, and why."""

from dataclasses import replace
from datetime import UTC

import pytest

from dicom_node.entities import FactValue, SeriesFacts, StudyFacts
from dicom_node.ledger import Ledger
from dicom_node.routing import Change, Difference, RuleSet, facts_to_bytes, parse_rules, trial_to_json, try_rules
from dicom_node.rule_trial import try_on_history
from tests.ledger_cases import NOW, SCANNER, arrive, complete, image, read_headers

_OLD = """
[[rule]]
name = "heads"
pipeline = "brain"
destinations = ["pacs"]
when.Modality = "MR"
inputs.t1 = { SeriesDescription = { matches = "t1" }, NumberOfSlices = { at_least = 100 } }
"""
_SCOUTS = """
[[rule]]
name = "scouts"
do_not_run = "nothing to do"
stop = true
when.StudyDescription = "scout"
"""


def _rules(text: str) -> RuleSet:
    return parse_rules(text, "r")


def _study(uid: str = "1.2", **values: FactValue) -> StudyFacts:
    facts = {"Rows": (1,), "Modality": ("MR",), "SeriesDescription": ("t1 sag",), "NumberOfSlices": (60,)}
    facts |= {key: (value,) for key, value in values.items()}
    return StudyFacts(uid, facts, (SeriesFacts(f"{uid}.1", facts),))


def test_a_rule_that_would_newly_run_names_the_condition_that_kept_it() -> None:
    """By the same sentence that explains a verdict."""
    trial = try_rules(_rules(_OLD), _rules(_OLD.replace("100", "50")), [_study(), _study("1.3", NumberOfSlices=120)])
    assert (trial.studies, trial.differing) == (2, 1)
    assert trial.counts == {("heads", Change.NEWLY_RUN): 1}
    (found,) = trial.differences
    assert (found.study_instance_uid, found.rule) == ("1.2", "heads")
    assert found.decided == ("input t1, series 1.2.1: no: NumberOfSlices is 60, wanted at least 100",)


def test_a_new_rule_names_the_conditions_that_are_met() -> None:
    """There was nothing that kept it, so what lets it run is told."""
    (found,) = try_rules(_rules(""), _rules(_OLD), [_study(NumberOfSlices=120)]).differences
    assert found.decided[:2] == ("the rule is new", "yes: Modality is 'MR', wanted 'MR'")
    assert found.decided[-1] == "input t1, series 1.2.1: yes: NumberOfSlices is 120, wanted at least 100"


def test_a_rule_that_would_no_longer_run() -> None:
    """By a condition, because it is gone, or because another one stops it."""
    study = _study(NumberOfSlices=120, StudyDescription="scout")
    old = _rules(_OLD)
    for text, decided in (
        (_OLD.replace('"MR"', '"CT"'), "no: Modality is 'MR', wanted 'CT'"),
        ("", "the rule is gone"),
        (
            _OLD.replace("when.", "enabled = false\nwhen."),
            "does not fire: the rule is switched off (enabled = false)",
        ),
        (_SCOUTS + _OLD, "does not fire: rule 'scouts' before it matches too, and has stop = true"),
    ):
        (found,) = try_rules(old, _rules(text), [study]).differences
        assert (found.rule, found.change, found.decided) == ("heads", Change.NO_LONGER_RUN, (decided,))


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ('"brain"', '"other"', "pipeline: brain, now other"),
        ('["pacs"]', '["pacs", "archive"]', "destinations: pacs, now pacs, archive"),
        ("when.", 'priority = "stat"\nwhen.', "priority: routine, now stat"),
        ("when.", "dry_run = true\nwhen.", "dry run: no, now yes"),
        ("when.", 'late_images = "add"\nwhen.', "late images: rerun, now add"),
        (
            "when.",
            'schedule = ["Mon-Fri 18:00-07:00"]\nwhen.',
            "schedule: any time, now Mon,Tue,Wed,Thu,Fri 18:00-07:00",
        ),
        (
            "when.",
            "completion = { quiet_seconds = 30, inputs_present = true }\nwhen.",
            "completion: as node.toml says, now 30 s of silence or every input present",
        ),
    ],
)
def test_a_rule_that_would_run_otherwise(before: str, after: str, what: str) -> None:
    """The old and the new."""
    (found,) = try_rules(_rules(_OLD), _rules(_OLD.replace(before, after)), [_study(NumberOfSlices=120)]).differences
    assert (found.change, found.what) == (Change.CHANGED, (what,))


def test_roles_in_another_order_are_another_rule() -> None:
    """They are filled in the order in which they are written."""
    first, second = "inputs.a.Modality = 'MR'", "inputs.b.Modality = 'MR'"
    head = '[[rule]]\nname = "two"\npipeline = "brain"\ndestinations = ["pacs"]\n'
    old, new = (_rules(f"{head}{one}\n{other}\n") for one, other in ((first, second), (second, first)))
    values: dict[str, tuple[FactValue, ...]] = {"Rows": (1,), "Modality": ("MR",)}
    study = StudyFacts("1.2", values, (SeriesFacts("1.2.1", values), SeriesFacts("1.2.2", values)))
    (found,) = try_rules(old, new, [study]).differences
    assert found.what == ("inputs: a = series 1.2.1, b = series 1.2.2, now a = series 1.2.2, b = series 1.2.1",)


def _two(rules: str) -> Difference:
    """Return the difference that an edit of the rule makes to a study with two series."""
    series = [
        {"Rows": (1,), "Modality": ("MR",), "NumberOfSlices": (slices,), "EchoTime": (echo,)}
        for slices, echo in ((100, 3), (60, 2))
    ]
    study = StudyFacts("1.2", series[0], tuple(SeriesFacts(f"1.2.{n}", one) for n, one in enumerate(series)))
    old = _OLD.replace('SeriesDescription = { matches = "t1" }, ', "").replace("100", "50")
    (found,) = try_rules(
        _rules(old), _rules(old.replace("{ NumberOfSlices = { at_least = 50 } }", rules)), [study]
    ).differences
    assert found.what == ("inputs: t1 = series 1.2.0, now t1 = series 1.2.1",)
    return found


@pytest.mark.parametrize(
    ("inputs", "decided"),
    [
        (
            "{ NumberOfSlices = { at_most = 80 } }",
            ("input t1, series 1.2.0: no: NumberOfSlices is 100, wanted at most 80",),
        ),
        (
            '{ Modality = "MR", rank = ["EchoTime asc"] }',
            ("input t1: series 1.2.1, of 2 that fit: smaller EchoTime, 2 against 3",),
        ),
    ],
)
def test_another_series_is_told_with_what_decided(inputs: str, decided: tuple[str, ...]) -> None:
    """The condition that the former one does not fulfil, or the step of the ranking."""
    assert _two(inputs).decided == decided


def test_a_series_that_fits_only_now_is_told_with_what_kept_it() -> None:
    """The former one fits still, but does not come first any more."""
    first, second = ({"Rows": (1,), "Modality": ("MR",), "NumberOfSlices": (slices,)} for slices in (60, 120))
    study = StudyFacts("1.2", first, (SeriesFacts("1.2.0", first), SeriesFacts("1.2.1", second)))
    old = _OLD.replace('{ matches = "t1" }', "{ exists = false }").replace("at_least = 100", "at_most = 100")
    (found,) = try_rules(_rules(old), _rules(old.replace("100", "150")), [study]).differences
    assert found.decided == (
        "before, input t1, series 1.2.1: no: NumberOfSlices is 120, wanted at most 100",
        "input t1: series 1.2.1, of 2 that fit: larger NumberOfSlices, 120 against 60",
    )


@pytest.mark.parametrize(
    ("priority", "decided"),
    [
        ('"stat"', "priority stat: the rule itself says so"),
        ('{ from = "RequestedProcedurePriority" }', "priority urgent: RequestedProcedurePriority is 'HIGH'"),
        (
            '{ from = "StudyID", otherwise = "stat" }',
            "priority stat: StudyID is missing, so what the rule says otherwise",
        ),
    ],
)
def test_another_priority_is_told_with_what_decided(priority: str, decided: str) -> None:
    """The rule itself, or the attribute that it is taken from."""
    new = _OLD.replace("when.", f"priority = {priority}\nwhen.")
    study = _study(NumberOfSlices=120, RequestedProcedurePriority="HIGH")
    (found,) = try_rules(_rules(_OLD), _rules(new), [study]).differences
    assert found.decided == (decided,)


def test_a_report_is_not_what_came_nearest() -> None:
    """It fails in one condition only, that it has no images: what the images lack is what decided."""
    values: dict[str, tuple[FactValue, ...]] = {"Modality": ("MR",)}
    images: dict[str, tuple[FactValue, ...]] = {"Rows": (1,), "SeriesDescription": ("t2",), "NumberOfSlices": (3,)}
    study = StudyFacts("1.2", values, (SeriesFacts("1.2.0", {"Modality": ("SR",)}), SeriesFacts("1.2.1", images)))
    any_series = _rules(_OLD.replace('{ matches = "t1" }', '"t2"').replace("100", "2"))
    (found,) = try_rules(any_series, _rules(_OLD), [study]).differences
    assert found.decided == (
        "input t1, series 1.2.1: no: SeriesDescription is 't2', wanted a text that matches 't1'",
        "input t1, series 1.2.1: no: NumberOfSlices is 3, wanted at least 100",
    )


def test_equal_rules_make_no_difference() -> None:
    """Comments and layout are none."""
    trial = try_rules(_rules(_OLD), _rules("# new\n" + _OLD), [_study(NumberOfSlices=120)])
    assert (trial.studies, trial.counts, trial.differences) == (1, {}, ())


def test_only_the_first_differences_are_explained() -> None:
    """The others are counted; and progress is told."""
    told: list[int] = []
    studies = [_study(f"1.{n}", NumberOfSlices=120) for n in range(5)]
    trial = try_rules(_rules(_OLD), _rules(""), studies, 2, told.append)
    assert (len(trial.differences), trial.counts, told) == (2, {("heads", Change.NO_LONGER_RUN): 5}, [5])
    assert trial_to_json(trial)["counts"] == [{"rule": "heads", "change": "no longer run", "studies": 5}]


def test_history_is_the_last_revision_of_what_was_received_since(ledger: Ledger) -> None:
    """From the stored facts, or from the headers where a ledger has none."""
    for number, facts in ((1, _study("1.1")), (2, None), (3, _study("1.3", NumberOfSlices=120))):
        study, at = f"1.{number}", NOW + number
        arrive(ledger, image(1, study=study), at=at, association=replace(SCANNER, id=study))
        header = '{"Rows":[1],"Modality":["MR"],"SeriesDescription":["t1"]}'
        read_headers(ledger, header)
        written = facts_to_bytes(facts) if facts else b""
        ledger.studies.record_verdicts(complete(ledger, study, at), "[]", ("digest", 1), (), at, written)
    new = _rules(_OLD.replace("NumberOfSlices = { at_least = 100 }", "NumberOfSlices = { exists = false }"))
    trial = try_on_history(ledger, _rules(_OLD), new, NOW, zone=UTC)
    assert (trial.studies, trial.differing) == (3, 2)
    assert {each.study_instance_uid: each.change for each in trial.differences} == {
        "1.2": Change.NEWLY_RUN,
        "1.3": Change.NO_LONGER_RUN,
    }
    assert try_on_history(ledger, _rules(_OLD), new, NOW + 3, zone=UTC).studies == 1


def test_a_study_that_was_routed_without_facts_and_later_with_them_counts_once(ledger: Ledger) -> None:
    """Such as after an upgrade: the first revision is of the former version, which kept none."""
    for number, facts in ((1, b""), (2, facts_to_bytes(_study("1.1")))):
        arrive(ledger, image(number, study="1.1"), at=NOW + number, association=replace(SCANNER, id=str(number)))
        read_headers(ledger)
        ledger.studies.record_verdicts(complete(ledger, "1.1", NOW), "[]", ("digest", 1), (), NOW, facts)
    assert ledger.facts.missing_since(NOW) == []
    assert try_on_history(ledger, _rules(_OLD), _rules(_OLD), NOW, zone=UTC).studies == 1
