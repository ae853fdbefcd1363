"""Which earlier studies are priors: patient, dates, attributes, how many; pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.contract import Role
from dicom_node.entities import SeriesFacts, StudyFacts
from dicom_node.errors import SettingsInvalid
from dicom_node.routing import (
    Equals,
    Priors,
    RoleRule,
    Rule,
    RuleSet,
    Where,
    agreeing_series,
    earlier_studies,
    explain_lines,
    filled,
    parse_rules,
    present_of,
    print_rules,
    route,
    same_patient,
    series_that_agree,
)
from dicom_node.routing.priors import Present

_PRIORS = Priors("pacs", at_most=2, not_older_than_years=5)
_SAME = {"BodyPartExamined": frozenset({"HEAD"}), "Modality": frozenset({"MR"})}
_NOW = Present("1.1", "P1", "ISSUER", "20260601", "120000", _SAME)


def _match(uid: str, date: str, time: str = "", patient: str = "P1", issuer: str = "") -> dict[str, str]:
    return {
        "StudyInstanceUID": uid,
        "StudyDate": date,
        "StudyTime": time,
        "PatientID": patient,
        "IssuerOfPatientID": issuer,
    }


def _series(uid: str, **values: str) -> SeriesFacts:
    held = {"Modality": ("MR",), "Rows": (16,)} | {key: (value,) for key, value in values.items()}
    return SeriesFacts(uid, held, (f"{uid}.dcm",))


def test_the_newest_come_first() -> None:
    """By date, then by time; what is equal in both by Study Instance UID."""
    matches = [
        _match("1.4", "20240101"),
        _match("1.2", "20260601", "080000"),
        _match("1.9", "20250101", "090000"),
        _match("1.8", "20250101", "090000"),
        _match("1.3", "20250101", "100000"),
    ]
    assert earlier_studies(_NOW, _PRIORS, matches).studies == ("1.2", "1.3", "1.8", "1.9", "1.4")


@given(st.permutations([_match(f"1.{n}", f"202{n % 5}0101", f"{n:02}0000") for n in range(2, 12)]))
def test_the_order_of_answers_decides_nothing(matches: list[dict[str, str]]) -> None:
    """An archive may answer in any order."""
    assert earlier_studies(_NOW, _PRIORS, matches) == earlier_studies(_NOW, _PRIORS, matches[::-1])


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        (_match("1.2", "20250101", patient="P2"), "of another patient"),
        (_match("1.2", "20250101", patient=""), "of another patient"),
        (_match("1.2", "20250101", issuer="OTHER"), "of another patient"),
        (_match("1.2", "20210531"), "older than 5 years"),
        (_match("1.2", "20270101"), "not earlier"),
        (_match("1.2", "20260601"), "not earlier"),
        (_match("1.2", "20260601", "120000"), "not earlier"),
        (_match("1.2", ""), "without a date"),
        (_match("1.2", "20261399"), "without a date"),
    ],
)
def test_what_is_left_out_has_its_reason(match: dict[str, str], reason: str) -> None:
    """Each reason is counted, and holds nothing of the patient."""
    choice = earlier_studies(_NOW, _PRIORS, [match])
    assert (choice.studies, choice.left_out) == ((), {reason: 1})


def test_the_limits_are_included() -> None:
    """Five years to the day are not older than five years; of a 29 February, the 28th."""
    assert earlier_studies(_NOW, _PRIORS, [_match("1.2", "20210601", issuer="ISSUER")]).studies == ("1.2",)
    leap = Present("1.1", "P1", "", "20240229", "", {})
    matches = [_match("1.2", "20230228"), _match("1.3", "20230227")]
    found = earlier_studies(leap, Priors("pacs", not_older_than_years=1), matches)
    assert found.studies == ("1.2",)


def test_the_study_is_not_its_own_prior() -> None:
    """Nor does a study that is answered twice count twice."""
    matches = [_match("1.1", "20250101"), _match("1.2", "20250101"), _match("1.2", "20250101")]
    assert earlier_studies(_NOW, _PRIORS, matches).studies == ("1.2",)


def test_series_agree_or_are_not_known_not_to() -> None:
    """In any case of letters; of several values one is enough; an empty answer is looked at later."""
    matches = [
        {"SeriesInstanceUID": "1", "BodyPartExamined": "head", "Modality": "MR"},
        {"SeriesInstanceUID": "2", "BodyPartExamined": "", "Modality": "MR"},
        {"SeriesInstanceUID": "3", "BodyPartExamined": "CHEST", "Modality": "MR"},
        {"SeriesInstanceUID": "4", "BodyPartExamined": "HEAD", "Modality": "CT"},
        {"SeriesInstanceUID": "5", "BodyPartExamined": "NECK\\HEAD", "Modality": "MR"},
    ]
    assert agreeing_series(_NOW, matches) == ("1", "2", "5")
    came = _series("1", BodyPartExamined="HEAD"), _series("2", BodyPartExamined="CHEST"), _series("3")
    facts = StudyFacts("1.2", {}, came)
    assert [one.series_instance_uid for one in series_that_agree(_NOW, facts).series] == ["1", "3"]


def test_what_the_study_lacks_is_not_asked_about() -> None:
    """Without a Body Part Examined of its own any series agrees."""
    now = Present("1.1", "P1", "", "20260601", "", {"BodyPartExamined": frozenset()})
    assert agreeing_series(now, [{"SeriesInstanceUID": "1", "BodyPartExamined": "CHEST"}]) == ("1",)


def test_present_is_the_study_and_its_input_series() -> None:
    """Body part and modality are those of the inputs, not of a report beside them."""
    values = {"PatientID": ("P1",), "StudyDate": ("20260601",), "StudyTime": ("1200",)}
    facts = StudyFacts("1.1", values, (_series("1", BodyPartExamined="Head"), _series("2", BodyPartExamined="CHEST")))
    found = present_of(facts, ["1.dcm"], _PRIORS)
    assert isinstance(found, Present)
    assert (found.patient_id, found.issuer, found.date, found.time) == ("P1", "", "20260601", "1200")
    assert found.same == {"BodyPartExamined": {"HEAD"}, "Modality": {"MR"}}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"StudyDate": ("20260601",)}, "no Patient ID"),
        ({"PatientID": ("P1", "P2"), "StudyDate": ("20260601",)}, "no Patient ID, or several"),
        ({"PatientID": ("P1",)}, "no Study Date"),
    ],
)
def test_a_study_without_patient_or_date_has_no_priors(values: dict[str, tuple[str, ...]], reason: str) -> None:
    """It says why, without the values."""
    found = present_of(StudyFacts("1.1", values, ()), [], _PRIORS)
    assert isinstance(found, str)
    assert reason in found
    assert "P1" not in found


def test_the_issuer_counts_where_both_have_one() -> None:
    """The same number from another hospital is another patient."""
    assert same_patient(_NOW, "P1", "ISSUER")
    assert same_patient(_NOW, "P1", "")
    assert not same_patient(_NOW, "P1", "OTHER")
    assert not same_patient(_NOW, "P11", "ISSUER")


def test_roles_are_filled_from_the_newest_study_and_no_series_twice() -> None:
    """Two time points with a series each: the first role has the newer one. What does not fit stays empty."""
    wanted = RoleRule((Where("Modality", Equals("MR")),))
    other = RoleRule((Where("Modality", Equals("CT")),))
    newer, older = StudyFacts("1.3", {}, (_series("a"),)), StudyFacts("1.2", {}, (_series("b"),))
    priors = Priors("pacs", inputs={"first": wanted, "second": wanted, "third": wanted, "ct": other})
    found = {role: series.series_instance_uid for role, series in filled(priors, [newer, older]).items()}
    assert found == {"first": "a", "second": "b"}


_RULE = '[[rule]]\nname = "r"\npipeline = "p"\ndestinations = ["d"]\n[rule.inputs.t1]\nModality = "MR"\n'
_ASKED = '[rule.priors]\narchive = "pacs"\n'
_ROLES = {"p": {"t1": Role("now"), "before": Role("before", prior=True)}}


def test_a_rule_with_priors_is_printed_and_read_back() -> None:
    """The ledger keeps the rule as text until the archive is asked."""
    more = 'at_most = 1\nnot_older_than_years = 2\nsame = ["Modality"]\ntime_limit_seconds = 9.5\n'
    text = _RULE + _ASKED + more + '[rule.priors.inputs.before]\nModality = "MR"\n'
    rules = parse_rules(text, "r", _ROLES, ["d"], ["pacs"])
    assert rules.rules[0].priors == Priors(
        "pacs", 1, 2, ("Modality",), 9.5, {"before": RoleRule((Where("Modality", Equals("MR")),))}
    )
    assert parse_rules(print_rules(rules), "r") == rules
    plain = parse_rules(_RULE + _ASKED, "r", _ROLES, ["d"], ["pacs"])
    assert plain.rules[0].priors == Priors("pacs")
    assert parse_rules(print_rules(plain), "r") == plain


def test_explain_says_what_priors_a_rule_asks_for() -> None:
    """In the same words everywhere."""
    (verdict,) = route(StudyFacts("1", {}, ()), RuleSet((Rule("r", "p", ("d",), {}, priors=Priors("pacs")),)))
    same = "with the same BodyPartExamined and Modality"
    said = f"  Priors: at most 2 earlier studies from 'pacs' {same}, not older than 5 years; the job waits"
    assert any(line.startswith(said) for line in explain_lines(verdict))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[rule.priors]\narchive = "pcas"\n', "r:8: rule 'r': no [[archive]] is named 'pcas'; did you mean 'pacs'?"),
        ("[rule.priors]\nat_most = 1\n", "archive is missing"),
        (_ASKED + "at_most = 0\n", "r:9: rule 'r': at_most is 0; it must be a number from 1 to 100"),
        (_ASKED + "not_older_than_years = 1.5\n", "not_older_than_years is 1.5; it must be"),
        (_ASKED + "oldest = 1\n", "unknown key 'oldest'"),
        (_ASKED + 'same = "Modality"\n', "same must be a list of keywords"),
        (_ASKED + 'same = ["EchoTime"]\n', "same: EchoTime is no text that an archive can be asked for"),
        (_ASKED + 'same = ["Modalty"]\n', "unknown DICOM keyword 'Modalty'; did you mean 'Modality'?"),
        (_ASKED + '[rule.priors.inputs.t1]\nModality = "MR"\n', "pipeline 'p' has no prior 't1'; known: before"),
        ('[rule.inputs.before]\nModality = "MR"\n', "pipeline 'p' has no input 'before'; known: t1"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, fault: str) -> None:
    """What is wrong with priors, where, and what would be right."""
    with pytest.raises(SettingsInvalid) as told:
        parse_rules(_RULE + text, "r", _ROLES, ["d"], ["pacs"])
    assert fault in str(told.value)


def test_a_prior_that_must_be_there_must_be_asked_for() -> None:
    """A pipeline that cannot run without one needs it in the rule."""
    roles = {"p": {"t1": Role("now"), "before": Role("before", prior=True, required=True)}}
    with pytest.raises(SettingsInvalid, match=r"needs a prior as 'before'; add \[rule.priors\]"):
        parse_rules(_RULE, "r", roles)
    with pytest.raises(SettingsInvalid, match=r"needs an input 'before'; add \[rule.priors.inputs.before\]"):
        parse_rules(_RULE + _ASKED, "r", roles)
