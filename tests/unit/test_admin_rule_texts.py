"""Edits of a form keep the text readable, its comments, and everything that was not edited."""

import tomllib

import pytest

from dicom_node.admin.rule_texts import free_name, is_toml, rules_of, with_rule
from dicom_node.errors import SettingsInvalid

_TEXT = """# what we agreed on
[[rule]]
name = "brain"   # do not rename
pipeline = "brain_extraction"
destinations = ["pacs"]
completion = { quiet_seconds = 5 }

[rule.inputs.t1]
Modality = "MR"
# thin slices only
SliceSpacing = { at_most = 2 }

[[rule]]
name = "other"
do_not_run = "phantoms"
[rule.when]
PatientName = { matches = "phantom" }
"""


def test_an_edit_touches_what_it_is_about() -> None:
    """One condition changes; comments, order and the other rule stay to the letter."""
    (rule, _) = rules_of(_TEXT)
    rule["inputs"]["t1"]["SliceSpacing"] = {"at_most": 3}
    assert with_rule(_TEXT, rule, "brain") == _TEXT.replace("{ at_most = 2 }", "{at_most = 3}")


def test_what_a_form_adds_stands_in_one_line_each() -> None:
    """Conditions and inline tables are no headings of their own, and plain keys stand before tables."""
    (rule, _) = rules_of(_TEXT)
    rule["when"] = {"StudyDescription": {"matches": "head"}}
    rule["dry_run"] = True
    rule["priority"] = {"from": "RequestedProcedurePriority", "otherwise": "urgent"}
    text = with_rule(_TEXT, rule, "brain")
    assert tomllib.loads(text)["rule"][0] == rule
    assert 'StudyDescription = {matches = "head"}' in text
    assert "[rule.when.StudyDescription]" not in text
    assert "# do not rename" in text
    assert "# thin slices only" in text


def test_a_new_rule_comes_last() -> None:
    """It reads as people write rules."""
    rule = {"inputs": {"t1": {"Modality": "MR"}}, "name": "new", "destinations": ["pacs"], "pipeline": "p"}
    text = with_rule(_TEXT, rule, "")
    assert text.startswith(_TEXT)
    added = text.removeprefix(_TEXT).strip()
    wanted = '[[rule]]\nname = "new"\npipeline = "p"\ndestinations = ["pacs"]\n[rule.inputs.t1]\nModality = "MR"'
    assert "\n".join(line for line in added.splitlines() if line) == wanted
    assert with_rule("", rule, "").strip() == text.removeprefix(_TEXT).strip()


def test_a_text_that_is_no_toml_has_no_rules() -> None:
    """The form then says so, and edits nothing."""
    assert rules_of("[[rule]\n") == []
    assert not is_toml("[[rule]\n")
    assert is_toml("rule = 3")
    assert rules_of("rule = 3") == []
    with pytest.raises(SettingsInvalid, match="TOML"):
        with_rule("[[rule]\n", {"name": "x"}, "")


def test_names_are_free() -> None:
    """A copy gets a name of its own."""
    assert free_name(rules_of(_TEXT), "new") == "new"
    assert free_name([{"name": "new"}, {"name": "new 2"}], "new") == "new 3"
