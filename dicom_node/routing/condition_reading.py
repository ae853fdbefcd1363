"""A TOML value -> the condition that it is, or what is wrong with it."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time
from math import isfinite
from typing import Any, Final

from dicom_node.entities import FactValue
from dicom_node.routing.attributes import Attribute, closest
from dicom_node.routing.codes import written_code
from dicom_node.routing.conditions import AllOf, AnyOf, Condition, Equals, Exists, Matches, Not, OneOf, Range
from dicom_node.routing.facts import ORIENTATIONS
from dicom_node.routing.headers import years
from dicom_node.routing.moments import READERS, Between, Moment, digits, moment_of
from dicom_node.routing.patterns import pattern_fault
from dicom_node.routing.vr_limits import vr_fault

FORMS: Final = ("equals", "any_of", "all_of", "none_of", "matches", "at_least", "at_most", "exists", "not")
_ENDS: Final = frozenset({"at_least", "at_most"})
#: Times down to the second, with or without the date (PS3.5 6.2, VR TM and DT).
_IN_DIGITS: Final = re.compile(r"(?:\d{6}|\d{14})(?:\.\d{1,6})?(?:[+-]\d{4})?")


class Wrong(ValueError):
    """One thing that is wrong with one value."""


def known(names: Collection[str]) -> str:
    """Return "; known: a, b"."""
    return f"; known: {', '.join(sorted(names)) or 'none'}"


def read_condition(keyword: str, value: Any, about: Attribute) -> Condition:
    """Return the condition on an attribute that a TOML value is.

    Raises
    ------
    Wrong
        If it is none, or one that no value of the attribute could ever satisfy.
    """
    if isinstance(value, list):
        if not value:
            raise Wrong(f"{keyword}: the list is empty, so nothing could match it")
        return OneOf(tuple(read_value(keyword, one, about) for one in value))
    if isinstance(value, dict):
        return _form(keyword, value, about)
    return Equals(read_value(keyword, value, about))


def _form(keyword: str, table: Mapping[str, Any], about: Attribute) -> Condition:
    for key in table:
        if key not in FORMS:
            raise Wrong(f"{keyword}: unknown condition {key!r}{closest(key, FORMS) or known(FORMS)}")
    if not table:
        raise Wrong(f"{keyword}: the condition is empty{known(FORMS)}")
    if table.keys() <= _ENDS:
        return _range(keyword, table, about)
    if len(table) > 1:
        raise Wrong(f"{keyword}: {' and '.join(table)} cannot stand together; only at_least and at_most can")
    ((key, value),) = table.items()
    return _READERS[key](keyword, value, about)


def read_value(keyword: str, value: Any, about: Attribute) -> FactValue:
    """Return a value that an attribute may have, as facts have it.

    Raises
    ------
    Wrong
        If the attribute cannot have it.
    """
    if isinstance(value, date | time) and about.vr in READERS:
        return _digits(keyword, value, about)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Wrong(f"{keyword}: {value!r} is neither text nor a number")
    if isinstance(value, float) and not isfinite(value):
        raise Wrong(f"{keyword}: {value!r} is not a number that values can be compared with")
    if about.number is not None and isinstance(value, str) is about.number:
        return _of_other_kind(keyword, value, about)
    if keyword == "Orientation" and str(value).lower() not in ORIENTATIONS:
        raise Wrong(f"{keyword}: {value!r} is not one of {', '.join(ORIENTATIONS)}")
    if about.code:
        return _code(keyword, str(value))
    if fault := vr_fault(about.vr, value):
        raise Wrong(f"{keyword}: {value!r} {fault}")
    return _digits(keyword, value, about) if about.vr in READERS else value


def _of_other_kind(keyword: str, value: FactValue, about: Attribute) -> FactValue:
    """Return a text that is an age; no other text is a number."""
    age = years(value) if isinstance(value, str) and about.vr == "AS" else value
    if about.vr == "AS" and not isinstance(age, str):
        return age
    ages = " (or an age such as '6M', '18Y')" if about.vr == "AS" else ""
    wanted = f"numbers: write it without quotes{ages}" if about.number else "text: write it in quotes"
    raise Wrong(f"{keyword}: {value!r} can never match, as {keyword} holds {wanted}")


def _digits(keyword: str, value: object, about: Attribute) -> str:
    """Return a date or time as devices write it; what is written so already may have a fraction and an offset."""
    moment = _moment(keyword, value, about)
    written = value.strip() if isinstance(value, str) else ""
    return written if about.vr != "DA" and _IN_DIGITS.fullmatch(written) else digits(moment)


def _moment(keyword: str, value: object, about: Attribute) -> Moment:
    moment = moment_of(about.vr, value)
    if moment is None:
        raise Wrong(f"{keyword}: {_shown(value)} can never match: VR {about.vr} holds such as {_example(about)}")
    return moment


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, date | time) else repr(value)


def _example(about: Attribute) -> str:
    return f"{READERS[about.vr][1]!r}, in local time" if about.vr != "DA" else repr(READERS["DA"][1])


def _code(keyword: str, value: str) -> str:
    code = written_code(value)
    if not code:
        raise Wrong(f"{keyword}: {value!r} can never match; write a code as SCHEME:VALUE, such as 'SCT:69536005'")
    return code


def _range(keyword: str, table: Mapping[str, Any], about: Attribute) -> Range | Between:
    if about.vr in READERS:
        return _between(keyword, table, about)
    if about.number is False:
        raise Wrong(f"{keyword} holds text, which has no at_least or at_most; use equals, any_of or matches")
    numbers = Attribute(number=True, vr=about.vr if about.vr == "AS" else "")
    ends = {key: read_value(f"{keyword}: {key}", value, numbers) for key, value in table.items()}
    limits = Range(**ends)  # type: ignore[arg-type]  # of a number they are numbers
    if limits.at_least is not None and limits.at_most is not None and not limits.at_least <= limits.at_most:
        raise Wrong(f"{keyword}: no number is {limits}")
    return limits


def _between(keyword: str, table: Mapping[str, Any], about: Attribute) -> Between:
    ends = {key: _moment(f"{keyword}: {key}", value, about) for key, value in table.items()}
    if about.vr == "DT" and _is_day(table.get("at_most")):
        ends["at_most"] = datetime.combine(ends["at_most"], time.max)  # type: ignore[arg-type]  # of DT: a datetime
    limits = Between(about.vr, **ends)
    late = limits.at_least is not None and limits.at_most is not None and str(limits.at_least) > str(limits.at_most)
    if late and about.vr != "TM":
        raise Wrong(f"{keyword}: nothing is {limits}")
    return limits


def _is_day(value: object) -> bool:
    return (isinstance(value, date) and not isinstance(value, datetime)) or (
        isinstance(value, str) and len(value.strip()) <= len("2026-03-21")
    )


def _matches(keyword: str, value: Any, about: Attribute) -> Matches:
    if about.number:
        raise Wrong(f"{keyword} holds numbers, which cannot match a pattern; use at_least and at_most")
    if not isinstance(value, str):
        raise Wrong(f"{keyword}: matches is {value!r}; it must be a pattern in quotes")
    if fault := pattern_fault(value):
        raise Wrong(f"{keyword}: the pattern {value!r} {fault}")
    return Matches(value)


def _exists(keyword: str, value: Any, _about: Attribute) -> Exists:
    if not isinstance(value, bool):
        raise Wrong(f"{keyword}: exists is {value!r}; it must be true or false")
    return Exists(value)


def _several(keyword: str, form: str, value: Any, about: Attribute) -> tuple[Condition, ...]:
    if not isinstance(value, list) or not value:
        raise Wrong(f"{keyword}: {form} must be a list of values or conditions")
    return tuple(read_condition(keyword, one, about) for one in value)


_READERS: Final[Mapping[str, Callable[[str, Any, Attribute], Condition]]] = {
    "equals": lambda keyword, value, about: Equals(read_value(keyword, value, about)),
    "any_of": lambda keyword, value, about: AnyOf(_several(keyword, "any_of", value, about)),
    "all_of": lambda keyword, value, about: AllOf(_several(keyword, "all_of", value, about)),
    "none_of": lambda keyword, value, about: Not(AnyOf(_several(keyword, "none_of", value, about))),
    "matches": _matches,
    "exists": _exists,
    "not": lambda keyword, value, about: Not(read_condition(keyword, value, about)),
}
