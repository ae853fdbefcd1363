"""Which pipeline runs on which series of a study, and why: facts, rules, verdicts. Pure.

`header_of` each instance, `gather` a study's facts, `parse_rules`, then `route`: one verdict per rule.
"""

from dicom_node.routing.answers import Answer, Found, GroupAnswer
from dicom_node.routing.conditions import AllOf, AnyOf, Condition, Equals, Exists, Matches, Not, OneOf, Outcome, Range
from dicom_node.routing.deciding import Decider, Decision
from dicom_node.routing.editing import move_rule, put_rule, remove_rule
from dicom_node.routing.explain import explain_lines, verdict_to_json
from dicom_node.routing.facts import ORIENTATION_TOLERANCE_DEGREES, ReceivedHeader, gather
from dicom_node.routing.headers import header_from_json, header_of, header_to_json, read_header
from dicom_node.routing.judging import RoleAnswers, SeriesAnswers
from dicom_node.routing.moments import Between
from dicom_node.routing.parsing import Reading, parse_rules, read_rules_text
from dicom_node.routing.printing import digest, print_rules
from dicom_node.routing.priors import (
    Present,
    agreeing_series,
    earlier_studies,
    filled,
    present_of,
    same_patient,
    series_that_agree,
)
from dicom_node.routing.questions import Group, GroupKind, Question, Where
from dicom_node.routing.recording import Record, Recorder
from dicom_node.routing.rules import (
    DEFAULT_RANK,
    CompletionPolicy,
    LateImages,
    Priority,
    PriorityFrom,
    Priors,
    RankBy,
    RoleRule,
    Rule,
    RuleSet,
)
from dicom_node.routing.schedule import Window, opens_at
from dicom_node.routing.schema import rules_schema
from dicom_node.routing.stored_facts import AskedKeywords, FactsReader, asked_keywords, facts_to_bytes
from dicom_node.routing.telling import told_verdicts
from dicom_node.routing.trying import Change, Difference, Trial, trial_to_json, try_rules
from dicom_node.routing.verdicts import Verdict, route

__all__ = [
    "DEFAULT_RANK",
    "ORIENTATION_TOLERANCE_DEGREES",
    "AllOf",
    "Answer",
    "AnyOf",
    "AskedKeywords",
    "Between",
    "Change",
    "CompletionPolicy",
    "Condition",
    "Decider",
    "Decision",
    "Difference",
    "Equals",
    "Exists",
    "FactsReader",
    "Found",
    "Group",
    "GroupAnswer",
    "GroupKind",
    "LateImages",
    "Matches",
    "Not",
    "OneOf",
    "Outcome",
    "Present",
    "Priority",
    "PriorityFrom",
    "Priors",
    "Question",
    "Range",
    "RankBy",
    "Reading",
    "ReceivedHeader",
    "Record",
    "Recorder",
    "RoleAnswers",
    "RoleRule",
    "Rule",
    "RuleSet",
    "SeriesAnswers",
    "Trial",
    "Verdict",
    "Where",
    "Window",
    "agreeing_series",
    "asked_keywords",
    "digest",
    "earlier_studies",
    "explain_lines",
    "facts_to_bytes",
    "filled",
    "gather",
    "header_from_json",
    "header_of",
    "header_to_json",
    "move_rule",
    "opens_at",
    "parse_rules",
    "present_of",
    "print_rules",
    "put_rule",
    "read_header",
    "read_rules_text",
    "remove_rule",
    "route",
    "rules_schema",
    "same_patient",
    "series_that_agree",
    "told_verdicts",
    "trial_to_json",
    "try_rules",
    "verdict_to_json",
]
