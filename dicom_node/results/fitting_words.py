"""What findings say beside their voxels - labels, codes, colours, numbers - in so far as no object could say it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Final

from pydicom.sr.coding import Code

from dicom_node.contract import Classification, Findings, Location, Measurement, Segment

_LONGEST: Final = 64  # characters of a Code Meaning (PS3.3 Table 8.8-1)
_LONGEST_SCHEME: Final = 16
#: Characters of all remarks together, some three pages: each picture of words takes 2.25 MiB.
_MOST_REMARKS: Final = 10_000
#: CID 244
_SIDES: Final = frozenset({"24028007", "7771000", "51440002", "66459002"})
#: CIELab: L*, a*, b* (PS3.3 C.10.7.1.1).
_COLOUR_RANGES: Final = ((0, 100), (-128, 127), (-128, 127))
#: Names of what cannot be less than nothing (SCT): volume, area.
_NEVER_NEGATIVE: Final = frozenset({"118565006", "42798000"})


def unwritable(findings: Findings) -> Iterator[str]:
    """Yield a sentence for everything that no object could say."""
    yield from _labels(findings)
    if (length := sum(map(len, findings.remarks))) > _MOST_REMARKS:
        yield f"the remarks have {length} characters, at most {_MOST_REMARKS} are read"
    for segment in findings.segments:
        if not _is_colour(segment.colour_lab):
            yield f"the colour of {segment.label!r} is none of CIELab (L* 0 to 100, a* and b* -128 to 127)"
    for what, code in _codes(findings):
        yield from _code(what, code)
    outlined: tuple[Segment | Location, ...] = (*findings.segments, *findings.locations)
    for each in outlined:
        if each.laterality is not None and each.laterality.value not in _SIDES:
            yield f"the laterality of {each.label!r} is no code of CID 244, such as (7771000, SCT, Left)"
    yield from _numbers(findings)
    for images in findings.images:
        if not images.description.strip():
            yield f"{images.label!r} has no description of what was done"
        if images.window is not None and not _is_window(images.window):
            yield f"the window of {images.label!r} is not a centre and a width above 0"


def _labels(findings: Findings) -> Iterator[str]:
    labels = [each.label for each in findings.segments] + [each.label for each in findings.locations]
    labels += [each.label for each in findings.maps] + [each.label for each in findings.images]
    for label in labels:
        if not label.strip() or not label.isprintable():
            yield f"{label!r} is no label: it must be one line of letters"
    for name in ("name", "version"):
        if not getattr(findings.algorithm, name).strip():
            yield f"the algorithm has no {name}"


def _is_colour(colour: Sequence[float]) -> bool:
    return len(colour) == len(_COLOUR_RANGES) and all(
        low <= value <= high for value, (low, high) in zip(colour, _COLOUR_RANGES, strict=True)
    )


def _is_window(window: Sequence[float]) -> bool:
    return len(window) == 2 and all(map(is_number, window)) and window[1] > 0  # noqa: PLR2004 - centre and width


def _codes(findings: Findings) -> Iterator[tuple[str, Code]]:
    """Yield every code, and what it is the code of."""
    yield "the family of the algorithm", findings.algorithm.family
    outlined: tuple[Segment | Location, ...] = (*findings.segments, *findings.locations)
    for found in outlined:
        yield from _codes_of(found)
    for item in findings.measurements:
        yield from _codes_of_measurement(item)
    for answer in findings.classifications:
        yield from _codes_of_answer(answer)
    for each in findings.maps:
        yield f"the quantity of {each.label!r}", each.quantity
        yield f"the unit of {each.label!r}", each.unit
    for images in findings.images:
        yield f"the derivation of {images.label!r}", images.derivation


def _codes_of(found: Segment | Location) -> Iterator[tuple[str, Code]]:
    for name in ("category", "type", "region", "laterality"):
        code = getattr(found, name)
        if code is not None:
            yield f"the {name} of {found.label!r}", code


def _codes_of_measurement(item: Measurement) -> Iterator[tuple[str, Code]]:
    for name in ("name", "unit", "derivation", "method"):
        code = getattr(item, name)
        if code is not None:
            yield f"the {name} of a measurement ({item.name.meaning})", code


def _codes_of_answer(answer: Classification) -> Iterator[tuple[str, Code]]:
    yield f"the name of a classification ({answer.name.meaning})", answer.name
    yield f"the value of a classification ({answer.name.meaning})", answer.value


def _code(what: str, code: Code) -> Iterator[str]:
    """PS3.3 Table 8.8-1: a value, a scheme and a meaning; a unit is one of UCUM (PS3.16 CID 82)."""
    if not code.value or not 0 < len(code.scheme_designator or "") <= _LONGEST_SCHEME:
        yield f"{what} has no value or no scheme of at most {_LONGEST_SCHEME} characters"
    if not 0 < len(code.meaning or "") <= _LONGEST:
        yield f"{what} has no meaning of at most {_LONGEST} characters"
    if what.startswith("the unit") and code.scheme_designator != "UCUM":
        yield f"{what} is not one of UCUM"


def _numbers(findings: Findings) -> Iterator[str]:
    for item in findings.measurements:
        what = f"{item.name.meaning} of {item.segment!r}"
        if not is_number(item.value):
            yield f"{what} is no number"
        elif item.value < 0 and item.name.value in _NEVER_NEGATIVE:
            yield f"{what} is negative"
    measured = [(item.name, item.segment) for item in findings.measurements]
    ranged = [(each.measurement, each.segment) for each in findings.ranges]
    for each in findings.ranges:
        meant = each.measurement, each.segment
        what = f"a reference range of {each.measurement.meaning} of {each.segment!r}"
        if meant not in measured:
            yield f"{what}, which was not measured"
        if measured.count(meant) > 1 or ranged.count(meant) > 1:
            yield f"{what} leaves open which number has which range"
        if not each.low < each.high:
            yield f"{what} begins where it ends, or beyond"
        elif math.isinf(each.low) and math.isinf(each.high):
            yield f"{what} has no limit"
    yield from _chances(location.probability for location in findings.locations)
    yield from _chances(answer.probability for answer in findings.classifications)


def is_number(value: object) -> bool:
    """Return True for a finite number of any kind, numpy's included, that a computer's float can hold."""
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        return False


def _chances(chances: Iterable[float | None]) -> Iterator[str]:
    for chance in chances:
        if chance is not None and not (is_number(chance) and 0 <= chance <= 1):
            yield f"a probability is {chance}, not 0 to 1"
