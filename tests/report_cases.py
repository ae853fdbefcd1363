"""Findings of every sort that a report holds, and ways through its content tree, for the tests of reports."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Final

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from dicom_node.contract import Classification, Findings, Location, Measurement, ReferenceRange, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results import Predecessor, RunContext, build, check, encode
from dicom_node.settings import ResultKind
from tests.results_cases import (
    BRAIN,
    ML,
    ROLE,
    VOLUME,
    blob,
    findings,
    profile,
    run_context,
    segment,
    source_series,
)

LEFT: Final = Code("7771000", "SCT", "Left")
MASS: Final = Code("4147007", "SCT", "Mass")
ALTERED: Final = Code("49755003", "SCT", "Morphologically Altered Structure")
SEVERITY: Final = Code("246112005", "SCT", "Severity")
SEVERE: Final = Code("24484000", "SCT", "Severe")
INTERPRETATION: Final = Code("363713009", "SCT", "Has interpretation")
NORMAL: Final = Code("17621005", "SCT", "Normal")
ATTENUATION: Final = Code("112031", "DCM", "Attenuation Coefficient")
HU: Final = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
MEAN: Final = Code("373098007", "SCT", "Mean")
METHOD: Final = Code("126410", "DCM", "SUV body weight calculation method")
SR: Final = "1.2.840.10008.5.1.4.1.1.88.34"
PREDECESSOR: Final = Predecessor("2.25.11", "2.25.12", SR, "2.25.13")

#: Its SEG is not sent.
NO_SEG: Final = profile(kinds=(ResultKind.REPORT,))
IN_WORDS: Final = profile(report="text")


def lateral_segment(label: str = "Hippocampus") -> Segment:
    """Return a segment with region and side."""
    return replace(segment(label, np.roll(blob(), 2, axis=2)), region=BRAIN, laterality=LEFT)


def location(label: str = "Mass 1", point: tuple[float, float, float] = (3.2, 8.0, 15.5)) -> Location:
    """Return a place with everything that can be said of one."""
    return Location(label, point, ALTERED, MASS, region=BRAIN, laterality=LEFT, probability=0.87)


def all_sorts() -> Findings:
    """Return findings with numbers, answers and places, of segments, of locations, and of the images as a whole."""
    plain = findings(segment(), lateral_segment())
    return replace(
        plain,
        measurements=(
            *plain.measurements,
            Measurement(ATTENUATION, 31.5, HU, "Brain", derivation=MEAN, method=METHOD),
            Measurement(ATTENUATION, 12.25, HU, ""),
            Measurement(VOLUME, 0.0, ML, "Lesion"),
        ),
        classifications=(
            Classification(SEVERITY, SEVERE, 0.75, of="Brain"),
            Classification(SEVERITY, SEVERE, of="Mass 1"),
            Classification(INTERPRETATION, NORMAL, 0.5),
        ),
        locations=(location(),),
        ranges=(ReferenceRange(VOLUME, "Brain", 0.2, 0.4, "women of 60 to 70 years"),),
    )


def only_places() -> Findings:
    """Return findings without segments."""
    return replace(
        findings(), locations=(location(),), classifications=(Classification(SEVERITY, SEVERE, of="Mass 1"),)
    )


def only_answers() -> Findings:
    """Return findings about the images as a whole only."""
    return replace(findings(), classifications=(Classification(INTERPRETATION, NORMAL, 0.5),))


def report_of(
    found: Findings, source: SourceSeries | None = None, run: RunContext | None = None
) -> tuple[Dataset, Dataset | None]:
    """Build, pass the gate, encode and read again: the SR, and the SEG if there is one."""
    source = source or source_series()
    objects = build(found, {ROLE: source}, run or run_context())
    check(objects, {ROLE: source})
    read = {built.kind: dcmread(BytesIO(encode(built))) for built in objects}
    return read[ResultKind.REPORT], read.get(ResultKind.SEGMENTATION)


def walk(item: Dataset) -> Iterator[Dataset]:
    """Yield every content item below one."""
    for child in item.get("ContentSequence", ()):
        yield child
        yield from walk(child)


def code(item: Dataset) -> str:
    """Return the code value of a content item's name."""
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def named(item: Dataset, value: str) -> Dataset:
    """Return the first content item of a name."""
    return next(child for child in walk(item) if code(child) == value)


def every(item: Dataset, value: str) -> list[Dataset]:
    """Return every content item of a name."""
    return [child for child in walk(item) if code(child) == value]


def first(dataset: Dataset, value_type: str) -> Dataset:
    """Return the first content item of a value type."""
    return next(item for item in walk(dataset) if item.ValueType == value_type)


def groups(dataset: Dataset, template: str = "") -> list[Dataset]:
    """Return the measurement groups by a template, or all."""
    return [
        item
        for item in every(dataset, "125007")
        if template in ("", item.ContentTemplateSequence[0].TemplateIdentifier)
    ]


def group_of(dataset: Dataset, label: str, template: str = "") -> Dataset:
    """Return the first measurement group with a Tracking Identifier."""
    return next(each for each in groups(dataset, template) if named(each, "112039").TextValue == label)


def drop(item: Dataset, *codes: str) -> None:
    """Take the children with these concept names out of a content item."""
    item.ContentSequence = [child for child in item.ContentSequence if code(child) not in codes]


def sentences(report: Dataset, value: str) -> list[str]:
    """Return every text under one concept name."""
    return [item.TextValue for item in every(report, value)]


def comments(report: Dataset) -> list[str]:
    """Return every comment."""
    return sentences(report, "121106")


def conclusions(report: Dataset) -> list[str]:
    """Return every conclusion of a report in words."""
    return sentences(report, "121077")
