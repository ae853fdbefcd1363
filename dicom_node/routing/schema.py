"""The language of rules as a JSON Schema, so that editors complete and check `rules.toml`.

It says what each attribute can be compared with. What needs more than one value to judge, such as contradictions and
rules behind a stop, is told by `dicom-node rules check`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydicom.datadict import keyword_dict

from dicom_node.routing.attributes import Attribute, UnknownAttribute, attribute
from dicom_node.routing.facts import ORIENTATIONS, SERIES_FACTS, STUDY_FACTS
from dicom_node.routing.input_reading import PRIORS_LIMITS
from dicom_node.routing.moments import READERS
from dicom_node.routing.option_reading import MOST_QUIET_SECONDS
from dicom_node.routing.rules import LateImages, Priority
from dicom_node.routing.schedule import EXAMPLE

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_NUMBER: Final[Mapping[str, Any]] = {"type": "number"}
#: TOML's own dates and times; JSON has none, so that editors see them as texts.
_KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "text": _TEXT,
    "number": _NUMBER,
    "age": {"anyOf": [_NUMBER, {"type": "string", "pattern": "^[0-9]{1,3}[DWMYdwmy]$"}]},
    "code": {"type": "string", "pattern": "^[^:]+:.+$"},
    "orientation": {"enum": list(ORIENTATIONS)},
    "any": {"type": ["string", "number"]},
    **{vr: {"type": "string", "examples": [example]} for vr, (_, example) in READERS.items()},
}
_RANGES: Final = frozenset({"number", "age", "any", *READERS})
_PATTERNS: Final = frozenset({"text", "code", "orientation", "any", *READERS})


def rules_schema(
    pipelines: Iterable[str] = (),
    destinations: Iterable[str] = (),
    profiles: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `rules.toml`.

    Parameters
    ----------
    pipelines, destinations, profiles
        The names that a node knows, to be completed; none given: any text.
    """
    names = _Names(_one_of(pipelines), _one_of(destinations), _one_of(profiles))
    return {
        "$schema": _DRAFT,
        "title": "Rules of dicom_node",
        "type": "object",
        "properties": {"rule": {"type": "array", "items": _rule(names)}},
        "additionalProperties": False,
        "$defs": {
            **{f"condition-{kind}": _condition(kind) for kind in _KINDS},
            "series": _questions("series", _attributes(SERIES_FACTS)),
            "study": _questions("study", _attributes({**SERIES_FACTS, **STUDY_FACTS})),
        },
    }


class _Names(NamedTuple):
    """What names in rules may be."""

    pipeline: dict[str, Any]
    destination: dict[str, Any]
    profile: dict[str, Any]


def _one_of(names: Iterable[str]) -> dict[str, Any]:
    known = sorted(names)
    return {"enum": known} if known else dict(_TEXT)


def _rule(names: _Names) -> dict[str, Any]:
    chosen = _object({"name": names.destination, "profile": names.profile}, required=("name", "profile"))
    properties = {
        "name": {"type": "string", "pattern": "\\S"},
        "description": {**_TEXT, "description": "for people"},
        "enabled": {"type": "boolean", "default": True},
        "do_not_run": {**_TEXT, "description": "why a study that matches is recognised, and deliberately not run"},
        "pipeline": names.pipeline,
        "settings": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        "destinations": {"type": "array", "minItems": 1, "items": {"anyOf": [names.destination, chosen]}},
        "priority": {"anyOf": [_enum(Priority), _priority_from()]},
        "late_images": _enum(LateImages),
        "fallback": {"type": "boolean", "description": "fires only if no other rule did"},
        "stop": {"type": "boolean", "description": "if it matches, the rules after it are not asked"},
        "dry_run": {"type": "boolean", "description": "runs and stores, and sends nothing"},
        "schedule": {"type": "array", "minItems": 1, "items": {**_TEXT, "examples": [EXAMPLE]}},
        "completion": _completion(names),
        "when": {"$ref": "#/$defs/study"},
        "inputs": {"type": "object", "additionalProperties": {"$ref": "#/$defs/series"}},
        "priors": _priors(),
    }
    return {
        **_object(properties, required=("name",)),
        "anyOf": [{"required": ["do_not_run"]}, {"required": ["pipeline", "destinations", "inputs"]}],
    }


def _priority_from() -> dict[str, Any]:
    terms = {"type": "object", "additionalProperties": _enum(Priority)}
    return _object({"from": _TEXT, "otherwise": _enum(Priority), "terms": terms}, required=("from",))


def _priors() -> dict[str, Any]:
    properties = {
        "archive": _TEXT,
        "at_most": _limited("at_most"),
        "not_older_than_years": _limited("not_older_than_years"),
        "same": {"type": "array", "items": _TEXT},
        "time_limit_seconds": _limited("time_limit_seconds", "number"),
        "inputs": {"type": "object", "additionalProperties": {"$ref": "#/$defs/series"}},
    }
    return _object(properties, required=("archive",))


def _limited(key: str, kind: str = "integer") -> dict[str, Any]:
    least, most = PRIORS_LIMITS[key]
    return {"type": kind, "minimum": least, "maximum": most}


def _completion(names: _Names) -> dict[str, Any]:
    seconds = {"type": "number", "minimum": 0, "maximum": MOST_QUIET_SECONDS}
    properties = {"quiet_seconds": seconds, "inputs_present": {"type": "boolean"}, "count_from": names.destination}
    return {**_object(properties), "minProperties": 1}


def _questions(scope: str, attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema of a table of conditions and groups."""
    group = {"type": "array", "minItems": 1, "items": {"$ref": f"#/$defs/{scope}", "minProperties": 1}}
    step = {
        "anyOf": [{**_TEXT, "pattern": " (asc|desc)$"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]
    }
    rank = {"rank": {"type": "array", "items": step}} if scope == "series" else {}
    conditions = {name: {"$ref": f"#/$defs/condition-{kind}"} for name, kind in attributes.items()}
    return {
        "type": "object",
        "properties": {**conditions, "all_of": group, "any_of": group, "none_of": group, **rank},
        # inside of sequences, and private ones by their creator
        "patternProperties": {r"\.|^\(": {}, "Sequence$": {}},
        "additionalProperties": False,
    }


def _attributes(facts: Mapping[str, str]) -> dict[str, str]:
    """Return every keyword that a rule may name, and the kind of condition it takes."""
    found = {}
    for keyword in sorted({*keyword_dict, *facts} - {""}):
        try:
            about = attribute(keyword)
        except UnknownAttribute:
            continue
        found[keyword] = _kind(keyword, about)
    return found


def _kind(keyword: str, about: Attribute) -> str:
    if keyword == "Orientation" or about.code:
        return "orientation" if keyword == "Orientation" else "code"
    if about.vr == "AS" or about.vr in READERS:
        return "age" if about.vr == "AS" else about.vr
    return {True: "number", False: "text", None: "any"}[about.number]


def _condition(kind: str) -> dict[str, Any]:
    value, itself = _KINDS[kind], {"$ref": f"#/$defs/condition-{kind}"}
    several = {"type": "array", "minItems": 1, "items": itself}
    forms: list[dict[str, Any]] = [
        _object({name: one}, required=(name,))
        for name, one in (
            ("equals", value),
            ("exists", {"type": "boolean"}),
            ("not", itself),
            *((group, several) for group in ("any_of", "all_of", "none_of")),
        )
    ]
    if kind in _PATTERNS:
        forms.append(_object({"matches": {**_TEXT, "format": "regex"}}, required=("matches",)))
    if kind in _RANGES:
        forms.append({**_object({"at_least": value, "at_most": value}), "minProperties": 1})
    return {"anyOf": [dict(value), {"type": "array", "minItems": 1, "items": value}, *forms]}


def _enum(kind: type[Priority | LateImages]) -> dict[str, Any]:
    return {"enum": [str(one) for one in kind]}


def _object(properties: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    found = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**found, "required": list(required)} if required else found
