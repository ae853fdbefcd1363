"""Which pipeline runs on which series of a study, and why: facts, rules, verdicts. Pure.

`header_of` each instance, `gather` a study's facts, `parse_rules`, then `route`: one verdict per rule.
"""

from dicom_node.routing.conditions import AnyOf, Condition, Equals, Exists, Matches, Not, OneOf, Outcome, Range
from dicom_node.routing.explain import explain_lines, verdict_to_json
from dicom_node.routing.facts import ORIENTATION_TOLERANCE_DEGREES, ReceivedHeader, gather
from dicom_node.routing.headers import header_from_json, header_of, header_to_json, read_header
from dicom_node.routing.parsing import parse_rules
from dicom_node.routing.priors import (
    Present,
    agreeing_series,
    earlier_studies,
    filled,
    present_of,
    same_patient,
    series_that_agree,
)
from dicom_node.routing.rules import (
    DEFAULT_RANK,
    LateImages,
    Priority,
    Priors,
    RankBy,
    RoleRule,
    Rule,
    RuleSet,
    Where,
    print_rules,
)
from dicom_node.routing.verdicts import Answer, RoleAnswers, SeriesAnswers, Verdict, route

__all__ = [
    "DEFAULT_RANK",
    "ORIENTATION_TOLERANCE_DEGREES",
    "Answer",
    "AnyOf",
    "Condition",
    "Equals",
    "Exists",
    "LateImages",
    "Matches",
    "Not",
    "OneOf",
    "Outcome",
    "Present",
    "Priority",
    "Priors",
    "Range",
    "RankBy",
    "ReceivedHeader",
    "RoleAnswers",
    "RoleRule",
    "Rule",
    "RuleSet",
    "SeriesAnswers",
    "Verdict",
    "Where",
    "agreeing_series",
    "earlier_studies",
    "explain_lines",
    "filled",
    "gather",
    "header_from_json",
    "header_of",
    "header_to_json",
    "parse_rules",
    "present_of",
    "print_rules",
    "read_header",
    "route",
    "same_patient",
    "series_that_agree",
    "verdict_to_json",
]
