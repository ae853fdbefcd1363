"""What was found, as short sentences for a picture or a document; nothing that a pipeline said is left out."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.sr.coding import Code

from dicom_node.contract import Classification, Findings, Measurement, ReferenceRange
from dicom_node.geometry import SourceSeries
from dicom_node.results.drawing import MARK, Colour, colour_of
from dicom_node.results.segmentation import found
from dicom_node.results.sentences import reference_range
from dicom_node.results.source_images import is_multiframe, source_of
from dicom_node.results.words import Words

_INTEGER_FROM: Final = 10
_POWERS: Final = {"2": "\N{SUPERSCRIPT TWO}", "3": "\N{SUPERSCRIPT THREE}"}


@dataclass(frozen=True, slots=True)
class Line:
    """One statement.

    Parameters
    ----------
    swatch : Colour or None
        The colour in which its subject is drawn.
    indented : bool
        It is about the subject of the line above.
    """

    text: str
    swatch: Colour | None = None
    indented: bool = False


def statements(findings: Findings, title: str, words: Words) -> tuple[Line, ...]:
    """Return every statement of a run.

    Parameters
    ----------
    title : str
        Of the pipeline, for the sentence that says that nothing was found.
    """
    lines = [*_of_segments(findings, words), *_of_locations(findings, words), *_of_images(findings, words)]
    lines += [Line(remark) for remark in findings.remarks]
    return tuple(lines) or (Line(words.nothing.format(title=title)),)


def _of_segments(findings: Findings, words: Words) -> Iterator[Line]:
    there = found(findings)
    labels = [segment.label for segment in there]
    for segment in there:
        yield Line(segment.label, swatch=colour_of(segment))
        yield from _about(findings, segment.label, words)
    for segment in findings.segments:
        if segment.label not in labels:
            yield Line(f"{segment.label}: {words.not_found}")
            yield from _about(findings, segment.label, words)


def _of_locations(findings: Findings, words: Words) -> Iterator[Line]:
    for location in findings.locations:
        probability = "" if location.probability is None else f" ({percent(location.probability, words)})"
        kind = "" if location.type.meaning == location.label else f": {location.type.meaning}"
        yield Line(f"{location.label}{kind}{probability}", swatch=MARK)
        yield from _about(findings, location.label, words)


def _of_images(findings: Findings, words: Words) -> Iterator[Line]:
    """Yield what is about all images, and numbers of structures that the pipeline did not even look for by label."""
    known = {segment.label for segment in findings.segments} | {place.label for place in findings.locations}
    for item in findings.measurements:
        if item.segment not in known:
            of = f"{item.segment}: " if item.segment else ""
            missing = f" ({words.not_found})" if item.segment else ""
            yield Line(f"{of}{_measured(findings, item, words)}{missing}")
    yield from (Line(_answered(each, words)) for each in findings.classifications if not each.of)


def _about(findings: Findings, label: str, words: Words) -> Iterator[Line]:
    for item in findings.measurements:
        if item.segment == label:
            yield Line(_measured(findings, item, words), indented=True)
    for each in findings.classifications:
        if each.of == label:
            yield Line(_answered(each, words), indented=True)


def _measured(findings: Findings, item: Measurement, words: Words) -> str:
    limits = reference_range(item, findings)
    known = "" if limits is None else f" ({words.reference} {interval(limits, words)})"
    return f"{item.name.meaning} {quantity(item.value, item.unit, words)}{known}"


def _answered(answer: Classification, words: Words) -> str:
    probability = "" if answer.probability is None else f" ({percent(answer.probability, words)})"
    return f"{answer.name.meaning}: {answer.value.meaning}{probability}"


def quantity(value: float, unit: Code, words: Words) -> str:
    """Return a number with its unit as it is read: UCUM's "mm2" with a raised 2, its "1" and annotations left out."""
    code = re.sub(r"\{[^}]*\}", "", unit.value)
    code = re.sub(r"(?<=[a-z])([23])\b", lambda power: _POWERS[power.group()], code)
    return number(value, words) if code in ("", "1") else f"{number(value, words)} {code}"


def number(value: float, words: Words) -> str:
    """Return a number as a reader wants it: three digits at least, one decimal at most from 10 on."""
    if value == round(value):
        text = f"{value:.0f}"
    else:
        text = f"{value:.1f}" if abs(value) >= _INTEGER_FROM else f"{value:.3g}"
    return text.replace(".", words.decimal)


def interval(limits: ReferenceRange, words: Words) -> str:
    """Return a reference range without its unit."""
    low, high = limit_texts(limits, words)
    if low and high:
        return between(low, high)
    return f"\N{GREATER-THAN OR EQUAL TO} {low}" if low else f"\N{LESS-THAN OR EQUAL TO} {high}"


def limit_texts(limits: ReferenceRange, words: Words) -> tuple[str, str]:
    """Return both ends of a reference range; empty where it is open."""
    low, high = (number(limit, words) if math.isfinite(limit) else "" for limit in (limits.low, limits.high))
    return low, high


def between(low: str, high: str) -> str:
    """Return two numbers as an interval; free of spaces, unless a minus would run into the dash."""
    return f"{low} \N{EN DASH} {high}" if "-" in low + high else f"{low}\N{EN DASH}{high}"


def place_of(source: SourceSeries, index: int, words: Words) -> str:
    """Return how a slice is found in a viewer: by its instance or frame number, or by its place in the volume."""
    image, frame = source_of(source, index)
    known = frame if is_multiframe(image) else image.get("InstanceNumber")
    if known is None:
        return words.slice_of.format(number=index + 1, count=len(source.frames))
    return words.image.format(number=known)


def percent(probability: float, words: Words) -> str:
    """Return a probability as per cent."""
    return f"{number(round(probability * 100, 1), words)} %"


def swatches(findings: Findings) -> tuple[tuple[str, Colour], ...]:
    """Return label and colour of everything that is drawn."""
    drawn = [(segment.label, colour_of(segment)) for segment in found(findings)]
    return (*drawn, *((location.label, MARK) for location in findings.locations))
