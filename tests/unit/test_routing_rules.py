"""`rules.toml`: what is read, and every fault with its line."""

import re

import pytest

from dicom_node.errors import SettingsInvalid
from dicom_node.routing import (
    DEFAULT_RANK,
    AnyOf,
    Equals,
    Exists,
    LateImages,
    Matches,
    Not,
    OneOf,
    Priority,
    Range,
    RankBy,
    RuleSet,
    Where,
    digest,
    parse_rules,
    print_rules,
)
from tests.routing_cases import RULE


def _parse(condition: str = 'Modality = "MR"', more: str = "") -> RuleSet:
    text = RULE.format(condition=condition, more=more)
    return parse_rules(text, "rules.toml", {"brain": ("t1",), "two": ("t1", "flair")}, ["pacs", "archive"])


def _fault(condition: str = 'Modality = "MR"', more: str = "") -> str:
    with pytest.raises(SettingsInvalid) as caught:
        _parse(condition, more)
    (fault,) = str(caught.value).splitlines()
    return fault


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ('Modality = "MR"', Equals("MR")),
        ('Modality = { equals = "MR" }', Equals("MR")),
        ("EchoTime = 3", Equals(3)),
        ('Modality = ["MR", "CT"]', OneOf(("MR", "CT"))),
        ('SeriesDescription = { matches = "^t1" }', Matches("^t1")),
        ("EchoTime = { at_least = 1, at_most = 2.5 }", Range(1, 2.5)),
        ("EchoTime = { at_most = 2.5 }", Range(None, 2.5)),
        ("EchoTime = { exists = false }", Exists(wanted=False)),
        ("EchoTime = { not = { at_least = 2 } }", Not(Range(2))),
        ('Modality = { any_of = ["MR", { exists = false }] }', AnyOf((Equals("MR"), Exists(wanted=False)))),
        ("PatientAge = { at_least = 18 }", Range(18)),
    ],
)
def test_every_form_of_condition_is_read(text: str, condition: object) -> None:
    """What the comments of the shipped rules.toml promise."""
    (where,) = _parse(text).rules[0].inputs["t1"].where
    assert where.condition == condition


@pytest.mark.parametrize(
    "key", ['"RequestAttributesSequence.RequestedProcedureID"', "RequestAttributesSequence.RequestedProcedureID"]
)
def test_dotted_paths_need_no_quotes(key: str) -> None:
    """TOML reads a dotted key as tables in tables; an administrator means a path."""
    (where,) = _parse(f'{key} = {{ matches = "x" }}').rules[0].inputs["t1"].where
    assert where == Where("RequestAttributesSequence.RequestedProcedureID", Matches("x"))


def test_defaults_are_filled_in() -> None:
    """A short rule is a whole rule."""
    rule = _parse().rules[0]
    assert rule.enabled
    assert not rule.fallback
    assert rule.priority is Priority.ROUTINE
    assert rule.late_images is LateImages.RERUN
    assert rule.inputs["t1"].rank == DEFAULT_RANK


def test_everything_else_of_a_rule_is_read() -> None:
    """Priority, late images, fallback, settings, conditions on the study, ranking."""
    more = """description = "d"
enabled = false
priority = "stat"
late_images = "ignore"
fallback = true
[rule.settings]
threshold = 0.5
[rule.when]
CallingAETitle = "MR1"
"""
    rule = _parse('Modality = "MR"\nrank = ["EchoTime asc"]', more).rules[0]
    assert (rule.description, rule.enabled, rule.fallback) == ("d", False, True)
    assert (rule.priority, rule.late_images) == (Priority.STAT, LateImages.IGNORE)
    assert rule.settings == {"threshold": 0.5}
    assert rule.when == (Where("CallingAETitle", Equals("MR1")),)
    assert rule.inputs["t1"].rank == (RankBy("EchoTime", descending=False),)


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ('EchoTime = "300"', "EchoTime: '300' can never match, as EchoTime holds numbers: write it without quotes"),
        ("SeriesDescription = 3", "can never match, as SeriesDescription holds text: write it in quotes"),
        ('SeriesDescripton = "x"', "unknown DICOM keyword 'SeriesDescripton'; did you mean 'SeriesDescription'?"),
        ('seriesdescription = "x"', "did you mean 'SeriesDescription'?"),
        ('SeriesDescription = { matches = "(" }', "the pattern '(' is not a regular expression: "),
        ('SeriesDescription = { matches = "(a+)+$" }', "repeats a group that can itself match in several ways"),
        ('SeriesDescription = { matches = "(a|b)*c" }', "repeats a group that can itself match in several ways"),
        ('SeriesDescription = { matches = ".*a.*b.*c.*d.*" }', "has too many repeats and choices"),
        (
            'SeriesDescription = { matches = "a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?aaa" }',
            "has too many repeats",
        ),
        ('SeriesDescription = { matches = "(a{1,9}){2}" }', "repeats a group that can itself match in several ways"),
        ('EchoTime = { matches = "3" }', "EchoTime holds numbers, which cannot match a pattern"),
        ("Modality = { at_least = 3 }", "Modality holds text, which has no at_least or at_most"),
        ('EchoTime = { at_least = "3" }', "can never match"),
        ("EchoTime = { at_least = 3, at_most = 2 }", "EchoTime: no number is at least 3 and at most 2"),
        ("EchoTime = { atleast = 3 }", "EchoTime: unknown condition 'atleast'; did you mean 'at_least'?"),
        ("EchoTime = { at_least = 3, exists = true }", "at_least and exists cannot stand together"),
        ("EchoTime = { exists = 1 }", "exists is 1; it must be true or false"),
        ("EchoTime = {}", "the condition is empty"),
        ("EchoTime = []", "the list is empty, so nothing could match it"),
        ("EchoTime = true", "True is neither text nor a number"),
        ("EchoTime = { not = { at_least = nan } }", "nan is not a number that values can be compared with"),
        ('Orientation = "transversal"', "'transversal' is not one of axial, coronal, sagittal, oblique"),
        ('CallingAETitle = "MR1"', "CallingAETitle belongs to the study; put it under [rule.when]"),
        ('PixelData = "x"', "PixelData holds binary data (VR OB or OW), which rules cannot compare"),
        ('RequestAttributesSequence = "x"', "RequestAttributesSequence is a sequence; name an attribute inside it"),
        ('"Modality.EchoTime" = 1', "Modality is not a sequence"),
    ],
)
def test_a_faulty_condition_is_told_in_words(condition: str, fault: str) -> None:
    """A condition that could never be right is a fault when the rules are read, not a rule that never fires."""
    told = _fault(condition)
    assert told.startswith("rules.toml:7: rule 'one': ")
    assert fault in told


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('priorty = "stat"', "rules.toml:5: rule 'one': unknown key 'priorty'; did you mean 'priority'?"),
        ('priority = "now"', "priority is 'now'; it must be one of 'stat', 'urgent', 'routine', 'background'"),
        ('late_images = "wait"', "late_images is 'wait'; it must be one of 'rerun', 'add', 'ignore'"),
        ("enabled = 1", "enabled is 1; it must be true or false"),
        ("settings = 1", "settings must be a table, such as [rule.settings]"),
        ("settings.a = [1]", "setting a must be text, a number, true or false"),
        ('inputs.flair.Modality = "MR"', "pipeline 'brain' has no input 'flair'; known: t1"),
    ],
)
def test_a_faulty_rule_is_told_in_words(more: str, fault: str) -> None:
    """Keys and values of the rule itself."""
    condition = 'Modality = "MR"'
    if more.startswith("inputs"):  # TOML does not allow [rule.inputs.t1] after a dotted key
        text = f'[[rule]]\nname = "one"\npipeline = "brain"\ndestinations = ["pacs"]\n{more}\ninputs.t1.{condition}\n'
        with pytest.raises(SettingsInvalid, match=re.escape(fault)):
            parse_rules(text, "rules.toml", {"brain": ("t1",)}, ["pacs"])
    else:
        assert fault in _fault(condition, more)


def _told(text: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        parse_rules(text, "r", {"brain": ("t1",), "two": ("t1", "flair")}, ["pacs"])
    return str(caught.value).splitlines()


def test_every_fault_is_listed_at_once() -> None:
    """Pipelines, destinations, inputs and names are checked together."""
    text = """[[rule]]
name = "a"
pipeline = "brian"
destinations = ["pac"]
inputs.t1.Modality = "MR"

[[rule]]
name = "a"
pipeline = "two"
destinations = []
inputs.t1 = {}

[[rules]]
"""
    assert _told(text) == [
        "r:3: rule 'a': no pipeline 'brian' is installed; did you mean 'brain'?",
        "r:4: rule 'a': no [[destination]] is named 'pac'; did you mean 'pacs'?",
        "r:7: rule 'a': pipeline 'two' needs an input 'flair'; add [rule.inputs.flair]",
        "r:8: rule 'a': the name is used before, in line 2; give each rule its own",
        "r:10: rule 'a': destinations must be a list of names from node.toml, such as [\"pacs\"]",
        "r:11: rule 'a': input 't1' needs at least one condition, or any series could fill it",
        "r:13: unknown key 'rules'; did you mean 'rule'?",
    ]


def test_missing_keys_are_told_at_the_rule() -> None:
    """What every rule needs."""
    assert _told("\n[[rule]]\n") == [
        'r:2: rule without a name: destinations must be a list of names from node.toml, such as ["pacs"]',
        "r:2: rule without a name: inputs are missing; add [rule.inputs.ROLE] for each input of the pipeline",
        "r:2: rule without a name: name is missing; it must be text in quotes",
        "r:2: rule without a name: pipeline is missing; it must be text in quotes",
    ]


def test_what_is_not_toml_is_told_with_its_line() -> None:
    """A slip of syntax."""
    assert _told("[[rule]]\nname = ")[0].startswith("r:2: not TOML: ")
    assert _told("[rule]\nname = 'x'") == ["r:1: write [[rule]], with two brackets: there may be several"]


@pytest.mark.parametrize(
    ("rank", "fault"),
    [
        ('"NumberOfSlices desc"', "rank must be a list such as"),
        ('["NumberOfSlices"]', "'NumberOfSlices' must be a keyword and asc or desc"),
        ('["NumberOfSlics desc"]', "did you mean 'NumberOfSlices'?"),
        ('["CallingAETitle asc"]', "CallingAETitle belongs to the study"),
    ],
)
def test_a_faulty_ranking_is_told_in_words(rank: str, fault: str) -> None:
    """Rankings are checked like conditions."""
    assert fault in _fault(f'Modality = "MR"\nrank = {rank}')


def test_the_digest_counts_meaning_and_not_layout() -> None:
    """The ledger keeps rule versions by digest; a comment makes no new version, a changed number does."""
    plain = _parse("EchoTime = 3")
    assert digest(_parse("# why\n\nEchoTime   =  3")) == digest(plain)
    assert digest(_parse("EchoTime = 4")) != digest(plain)
    assert digest(parse_rules(print_rules(plain), "printed")) == digest(plain)


@pytest.mark.parametrize(
    "pattern", [".*.*.*x", r"\\w+\\w+\\w+!", "a?a?a?a?a?a?a?a*a*$", "(a|aa)(a|aa)(a|aa)(a|aa)a*a*!"]
)
@pytest.mark.timeout(30)
def test_the_worst_pattern_that_is_allowed_ends_soon(pattern: str) -> None:
    """A sender's text cannot hold up the node; the slowest of these takes well under a second."""
    (where,) = _parse(f'SeriesDescription = {{ matches = "{pattern}" }}').rules[0].inputs["t1"].where
    assert not where.condition.holds("a" * 1000 + "?") or pattern.endswith("$")


@pytest.mark.parametrize(
    "pattern", ["t1|mp2?rage|bravo|spgr|tfe", "^(?:t1|t2).*(sag|tra).*iso", "(?:abc){2}", r"[(*+]+ \\(x\\)"]
)
def test_common_patterns_are_allowed(pattern: str) -> None:
    """What an administrator writes for series descriptions."""
    assert _parse(f'SeriesDescription = {{ matches = "{pattern}" }}').rules


def test_no_rules_are_rules() -> None:
    """An empty file is a node that only stores."""
    assert parse_rules("", "r").rules == ()
    assert parse_rules(print_rules(RuleSet(())), "r") == RuleSet(())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{ exists = true }", '{ any_of = [{ exists = false }, { matches = "head" }] }'),
        ("{ exists = true }", "{ not = { exists = true } }"),
        ('{ not = "x" }', '{ all_of = [{ not = "x" }, { exists = true }] }'),
    ],
)
def test_a_rule_that_may_fire_is_not_refused(first: str, second: str) -> None:
    """What may hold without a value, or for one value of several, does not imply what is asked of all."""
    text = "".join(
        f'[[rule]]\nname = "{name}"\npipeline = "p"\ndestinations = ["pacs"]\nstop = true\n'
        f'when.StudyDescription = {condition}\ninputs.t1.Modality = "MR"\n'
        for name, condition in (("a", first), ("b", second))
    )
    assert len(parse_rules(text, "r").rules) == 2


def test_conditions_that_hold_without_a_value_do_not_contradict() -> None:
    """`exists = false` and an alternative that allows it."""
    either = "{ any_of = [{ exists = false }, 'saline'] }"
    more = f"when.StudyDescription = {{ exists = false }}\nwhen.all_of = [{{ StudyDescription = {either} }}]"
    assert _parse(more=more).rules
    assert "can never match" in _fault(more=more.replace(either, "'saline'"))
