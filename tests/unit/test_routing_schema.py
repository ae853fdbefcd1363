"""The JSON Schema of rules: what an editor checks is what the node reads."""

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from dicom_node.routing import parse_rules, rules_schema
from tests.routing_cases import RULE

_CONFIG = Path(__file__).resolve().parents[2] / "config"


@cache
def _validator() -> Any:
    return jsonschema_rs.validator_for(rules_schema())


def _fits(text: str) -> bool:
    # as an editor does: TOML's dates become texts
    return bool(_validator().is_valid(json.loads(json.dumps(tomllib.loads(text), default=str))))


def test_it_is_a_schema() -> None:
    """Valid by the rules for schemas (draft 2020-12)."""
    jsonschema_rs.meta.validate(rules_schema(["p"], ["pacs"], ["default"]))


def test_the_shipped_rules_fit() -> None:
    """With all of their examples."""
    text = (_CONFIG / "rules.toml").read_text()
    start = text.index("# [[rule]]")
    examples = "\n".join(line.removeprefix("# ").removeprefix("#") for line in text[start:].splitlines())
    assert _fits(text[:start] + examples)


@pytest.mark.parametrize(
    ("condition", "more"),
    [
        ("StudyDate = { at_least = 2026-01-01 }", ""),
        ("ProcedureCodeSequence = ['SCT:69536005']", "do_not_run = 'x'"),
        ("'(0019,xx0C) SIEMENS MR HEADER' = { at_least = 1 }", "schedule = ['Mon 09:00-10:00']"),
        ("any_of = [{ Modality = 'MR' }, { none_of = [{ EchoTime = 3 }] }]", "completion = { quiet_seconds = 3 }"),
        ("RequestAttributesSequence.RequestedProcedureID = 'x'", "priority = { from = 'StudyID' }"),
        ("PatientAge = { at_most = '18Y' }\nrank = [{ ImageType = ['ORIGINAL'] }, 'EchoTime asc']", "stop = true"),
    ],
)
def test_what_the_node_reads_fits(condition: str, more: str) -> None:
    """The schema keeps no good rule out."""
    text = RULE.format(condition=condition, more=more)
    if "do_not_run" in more:
        text = text.replace('pipeline = "brain"\ndestinations = ["pacs"]\n', "")
    parse_rules(text, "r")
    assert _fits(text)


@pytest.mark.parametrize(
    ("condition", "more"),
    [
        ("Modalty = 'MR'", ""),
        ("EchoTime = '3'", ""),
        ("Modality = { at_least = 3 }", ""),
        ("EchoTime = { matches = '3' }", ""),
        ("CallingAETitle = 'MR1'", ""),
        ("Modality = 'MR'", "priorty = 'stat'"),
        ("Modality = 'MR'", "late_images = 'never'"),
        ("any_of = []", ""),
        ("Orientation = 'transversal'", ""),
    ],
)
def test_what_the_node_refuses_does_not_fit(condition: str, more: str) -> None:
    """The editor marks it before the node does."""
    assert not _fits(RULE.format(condition=condition, more=more))
