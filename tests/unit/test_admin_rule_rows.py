"""Conditions as rows of a form: nothing that a rule says is lost, and what a person types becomes what it means."""

import tomllib
from typing import Any

import pytest

from dicom_node.admin.rule_rows import How, Row, RowInvalid, read_toml_value, row_of, rows_of, table_of, toml_text

_CONDITIONS = [
    ("Modality", "MR", How.IS, "MR"),
    ("EchoTime", 3.5, How.IS, "3.5"),
    ("SeriesDescription", ["T1", "a, b"], How.ONE_OF, 'T1, "a, b"'),
    ("ImageType", {"not": ["LOCALIZER", "MPR"]}, How.NONE_OF, "LOCALIZER, MPR"),
    ("ImageType", {"not": "MPR"}, How.IS_NOT, "MPR"),
    ("SeriesDescription", {"matches": "t1|mp2?rage"}, How.MATCHES, "t1|mp2?rage"),
    ("SeriesDescription", {"not": {"matches": "^loc"}}, How.NO_MATCH, "^loc"),
    ("NumberOfSlices", {"at_least": 32}, How.AT_LEAST, "32"),
    ("SliceSpacing", {"at_most": 6.0}, How.AT_MOST, "6.0"),
    ("EchoTime", {"at_least": 1, "at_most": 5.5}, How.BETWEEN, "1 to 5.5"),
    ("PatientAge", {"at_least": "6M", "at_most": 90}, How.BETWEEN, "6M to 90"),
    ("ContrastBolusAgent", {"exists": True}, How.HAS, ""),
    ("ContrastBolusAgent", {"exists": False}, How.HAS_NOT, ""),
]


@pytest.mark.parametrize(("keyword", "raw", "how", "value"), _CONDITIONS)
def test_a_condition_has_words_and_they_mean_it(keyword: str, raw: Any, how: How, value: str) -> None:
    """What is shown of a condition is read back as the same condition."""
    row = row_of(keyword, raw)
    assert (row.how, row.value) == (how, value)
    assert Row(keyword, how, value, None).edited().raw == raw


@pytest.mark.parametrize(
    "text",
    [
        "{ any_of = [{ exists = false }, { not = 'PHANTOM' }] }",
        "[{ Modality = 'MR', EchoTime = 3 }, { StudyDescription = { matches = 'head' } }]",
        "{ at_least = 1, not = 3 }",
        "{ not = { at_least = 3 } }",
        "[[1, 2], ['a']]",
        "{}",
    ],
)
def test_what_a_form_cannot_say_stays_as_text(text: str) -> None:
    """Groups and nested conditions are shown as they stand, and read back whole."""
    raw = tomllib.loads(f"x = {text}")["x"]
    row = row_of("any_of", raw)
    assert row.how is How.TEXT
    assert row.edited(value=row.value).raw == raw
    assert read_toml_value(toml_text(raw)) == raw


def test_numbers_are_numbers_where_the_attribute_holds_them() -> None:
    """A text that looks like a number stays a text where the attribute holds texts."""
    assert row_of("EchoTime", 3).edited(value="4.5").raw == 4.5
    assert row_of("NumberOfSlices", 3).edited(value="32").raw == 32
    assert row_of("PatientAge", 3).edited(value="18Y").raw == "18Y"
    assert row_of("SeriesDescription", "x").edited(value="12").raw == "12"
    assert row_of("Nonsense", "x").edited(value="12").raw == "12"


def test_a_row_that_nobody_edits_keeps_what_it_says() -> None:
    """A date of TOML stays one, though a form would write a text."""
    table = tomllib.loads("StudyDate = 2026-03-21\nrank = ['SeriesNumber asc']")
    assert table_of(rows_of(table)) == {"StudyDate": table["StudyDate"]}


@pytest.mark.parametrize(
    ("how", "value"), [(How.TEXT, "{ a = "), (How.TEXT, "1\nother = 2"), (How.BETWEEN, "1-5"), (How.TEXT, "")]
)
def test_a_value_that_cannot_be_read_is_refused_in_words(how: How, value: str) -> None:
    """Nothing half-read gets into a rule."""
    with pytest.raises(RowInvalid, match=r"write|no value"):
        row_of("EchoTime", 3).edited(how=how, value=value)


def test_an_attribute_twice_is_refused() -> None:
    """A table of TOML cannot say it; the second would silently replace the first."""
    with pytest.raises(RowInvalid, match="Modality stands there twice"):
        table_of([row_of("Modality", "MR"), row_of("Modality", "CT")])
