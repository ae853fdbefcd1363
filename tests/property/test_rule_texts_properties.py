"""For any text: rules, or faults with their lines, and never another error."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.routing import digest, parse_rules, print_rules, read_rules_text

_VALUES = (
    '"A"',
    "'x'",
    '""',
    "3",
    "-0.0",
    "nan",
    "inf",
    "1e999",
    "0x" + "F" * 16,
    "0x" + "F" * 5000,
    "9" * 30,
    "9" * 400,
    "9" * 5000,
    "true",
    "[]",
    "{}",
    "[[['x']]]",
    '"18:30"',
    "2026-03-21",
    "18:30:00",
    "2026-03-21T18:30:00.5Z",
    "{ exists = false }",
    "{ matches = '(' }",
    "{ not = { any_of = [1, { exists = true }] } }",
    "{ at_least = 5, at_most = '6M' }",
    "[{ Modality = 'MR' }, { EchoTime = 3 }]",
    "[{ Modality = 'MR', any_of = [{ EchoTime = { exists = false } }] }]",
    "{ from = 'PatientID', terms = { A = 'stat' } }",
    "{ quiet_seconds = 1e9, inputs_present = 3 }",
    "['NumberOfSlices desc', { ImageType = ['ORIGINAL'] }]",
    "['Mon-Fri 18:00-07:00', 3]",
    "[" * 3000,
    "[" * 60 + "]" * 60,
    "{a=" * 3000,
)
_KEYS = (
    *("name", "pipeline", "destinations", "priority", "completion", "schedule", "stop", "settings", "do_not_run"),
    *("when.Modality", "when.StudyTime", "when.EchoTime", "when.all_of", "when.none_of", "when.PatientAge", "when"),
    *("inputs.t1.SeriesDescription", "inputs.t1.EchoTime", "inputs.t1.rank", "inputs.t1", "inputs", "priors.archive"),
    *('when."RequestAttributesSequence.ScheduledProcedureStepID"', "when.(", "when.NoSuchKeyword", "when.PixelData"),
    *("when.RequestAttributesSequence.ScheduledProcedureStepID", "when." + "A." * 3000 + "B", "settings.\ud800"),
    *('when."(0019,xx0C) SIEMENS MR HEADER"', 'when."(0019,xx0c) SIEMENS MR HEADER"', "when.'a.(\t'", "when.''"),
)
_LINES = st.one_of(
    st.sampled_from(["[[rule]]", "[rule.when]", "[rule.inputs.t1]", "[rule]", "# note", '"""', "'''", "]", "\\"]),
    st.tuples(st.sampled_from(_KEYS), st.sampled_from(_VALUES)).map(" = ".join),
)
_RULE = '[[rule]]\nname = "a"\npipeline = "p"\ndestinations = ["pacs"]\n'


def _check(text: str) -> None:
    reading = read_rules_text(text)
    for fault in reading.faults:
        assert 1 <= fault.line <= text.count("\n") + 1
        assert fault.what
    if not reading.faults:
        printed = print_rules(reading.rules)
        assert parse_rules(printed, "printed") == reading.rules
        assert digest(reading.rules)


@given(st.one_of(st.text(max_size=80), st.lists(_LINES, max_size=8).map("\n".join)))
@settings(max_examples=400, deadline=None)
def test_any_text_gives_rules_or_faults(text: str) -> None:
    """Of characters and of lines that rules are made of, in any order."""
    _check(text)


@given(st.lists(_LINES, max_size=5).map("\n".join), st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_line_in_a_rule_gives_rules_or_faults(lines: str, inputs: bool) -> None:
    """One rule is right; what is added to it may be anything."""
    _check(_RULE + ("inputs.t1.Modality = 'MR'\n" if inputs else "") + lines)


@given(st.randoms(use_true_random=False), st.sampled_from('"[]{}=.\n0#\\'))
@settings(max_examples=200, deadline=None)
def test_a_damaged_text_gives_rules_or_faults(chance: random.Random, sign: str) -> None:
    """A character is put in, or takes the place of another."""
    text = f"""{_RULE}when.any_of = [{{ Modality = "MR" }}, {{ StudyTime = {{ at_least = 18:30:00 }} }}]
[rule.inputs.t1]  # the finest
SeriesDescription = {{ matches = 't1' }}
EchoTime = [1, 2.5]
"""
    place = chance.randrange(len(text))
    _check(text[:place] + sign + text[place + chance.randrange(2) :])
