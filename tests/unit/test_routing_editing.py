"""Rules edited as a form does it: what was not touched keeps its comments."""

import tomllib
from dataclasses import replace

import pytest

from dicom_node.errors import SettingsInvalid
from dicom_node.routing import (
    Equals,
    Group,
    GroupKind,
    Priority,
    RoleRule,
    Rule,
    Where,
    move_rule,
    parse_rules,
    print_rules,
    put_rule,
    read_rules_text,
    remove_rule,
)

_TEXT = """# the head of the file

[[rule]]
name = "one"   # the first
pipeline = "brain"
destinations = ["pacs"]   # both

# why this scanner
[rule.when]
CallingAETitle = "MR1"   # the old one

[rule.inputs.t1]
# as the protocol says
Modality = "MR"
EchoTime = { at_most = 6 }

# about the second
[[rule]]
name = "two"
do_not_run = "nothing"
when.Modality = "CT"
"""


def _rule(name: str, text: str = _TEXT) -> Rule:
    rule = parse_rules(text, "r").named(name)
    assert rule is not None
    return rule


def test_an_equal_rule_changes_nothing() -> None:
    """Read, put back: not a space is other."""
    assert put_rule(_TEXT, _rule("one")) == _TEXT
    assert put_rule(_TEXT, _rule("two")) == _TEXT


def test_what_is_not_touched_keeps_its_comments() -> None:
    """One value is changed, one is added, one is gone; and the rule reads back as it was put."""
    edited = replace(
        _rule("one"),
        name="first",
        priority=Priority.STAT,
        when=(Where("CallingAETitle", Equals("MR2")),),
        inputs={"t1": RoleRule((Where("Modality", Equals("MR")),))},
    )
    text = put_rule(_TEXT, edited, "one")
    assert _rule("first", text) == edited
    assert _rule("two", text) == _rule("two")
    for comment in ("# the head of the file", "# both", "# why this scanner", "# as the protocol says"):
        assert comment in text
    assert "EchoTime" not in text


def test_a_new_rule_comes_last() -> None:
    """Also in an empty file; groups and all are read back."""
    group = Group(GroupKind.ANY_OF, ((Where("Modality", Equals("MR")),), (Where("Modality", Equals("CT")),)))
    new = Rule("new", "", (), {}, when=(group,), do_not_run="nothing")
    text = put_rule(_TEXT, new)
    assert text.startswith(_TEXT)
    assert [rule.name for rule in parse_rules(text, "r").rules] == ["one", "two", "new"]
    assert _rule("new", text) == new
    assert parse_rules(put_rule("# mine\n", new), "r").rules == (new,)


def test_what_a_form_holds_may_have_faults() -> None:
    """Keys and values as a form gives them, put where they belong; the faults are told with their lines there."""
    values = tomllib.loads(_TEXT)["rule"][0] | {"priority": "now"}
    values["when"] = {"any_of": [{"Modalty": "MR"}, {"EchoTime": 3}]}
    text = put_rule(_TEXT, values)
    assert "# as the protocol says" in text
    faults = read_rules_text(text).faults
    assert [fault.what.partition("; ")[0] for fault in faults] == [
        "rule 'one': priority is 'now'",
        "rule 'one': unknown DICOM keyword 'Modalty'",
    ]
    lines = text.splitlines()
    assert ["priority" in lines[faults[0].line - 1], "Modalty" in lines[faults[1].line - 1]] == [True, True]


def test_rules_are_moved_and_removed() -> None:
    """With what stands inside of them."""
    moved = move_rule(_TEXT, "two", 0)
    assert [rule.name for rule in parse_rules(moved, "r").rules] == ["two", "one"]
    assert "# as the protocol says" in moved
    left = remove_rule(_TEXT, "one")
    assert [rule.name for rule in parse_rules(left, "r").rules] == ["two"]
    assert parse_rules(remove_rule(left, "two"), "r").rules == ()


def test_printed_rules_can_be_edited() -> None:
    """What was printed is a text like any other."""
    text = print_rules(parse_rules(_TEXT, "r"))
    assert parse_rules(put_rule(text, replace(_rule("one"), dry_run=True)), "r").rules[0].dry_run


@pytest.mark.parametrize("text", ["[[rule]", "[rule]\nname = 'x'"])
def test_what_is_no_text_of_rules(text: str) -> None:
    """It is not mended by guessing."""
    with pytest.raises(SettingsInvalid):
        put_rule(text, _rule("one"))
