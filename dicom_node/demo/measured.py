"""Read the numbers out of a TID 1500 report, knowing nothing of the software that wrote it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset

#: (Code Value, Coding Scheme Designator) of PS3.16.
_GROUP: Final = ("125007", "DCM")
_TRACKING_IDENTIFIER: Final = ("112039", "DCM")
_FINDING: Final = ("121071", "DCM")
#: Volume in SNOMED CT, and in the SNOMED RT codes that older software writes.
_VOLUMES: Final = (("118565006", "SCT"), ("G-D705", "SRT"))


@dataclass(frozen=True, slots=True)
class Measured:
    """One NUM item of a Measurement Group.

    Parameters
    ----------
    of : str
        The group's finding, else its tracking identifier: what was measured.
    unit : str
        UCUM code, for instance "ml".
    """

    of: str
    name: str
    code: tuple[str, str]
    value: float
    unit: str


def measurements(report: Dataset) -> tuple[Measured, ...]:
    """Return every number of every Measurement Group (PS3.16 TID 1410, 1411, 1501), in document order."""
    return tuple(
        measured for group in _containers(report) if _concept(group) == _GROUP for measured in _numbers(group)
    )


def volumes(report: Dataset) -> tuple[Measured, ...]:
    """Return the volumes of a report, each once: two groups may describe one finding."""
    found = (measured for measured in measurements(report) if measured.code in _VOLUMES)
    return tuple(dict.fromkeys(found))


def _containers(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or []:
        yield child
        yield from _containers(child)


def _numbers(group: Dataset) -> Iterator[Measured]:
    for item in group.get("ContentSequence") or []:
        if item.get("ValueType") != "NUM" or not item.get("MeasuredValueSequence"):
            continue
        name, measured = item.ConceptNameCodeSequence[0], item.MeasuredValueSequence[0]
        unit = str(measured.MeasurementUnitsCodeSequence[0].CodeValue)
        yield Measured(_subject(group), str(name.CodeMeaning), _concept(item), float(measured.NumericValue), unit)


def _subject(group: Dataset) -> str:
    items = {_concept(item): item for item in reversed(group.get("ContentSequence") or [])}
    finding, tracking = items.get(_FINDING), items.get(_TRACKING_IDENTIFIER)
    if finding is not None and finding.get("ConceptCodeSequence"):
        return str(finding.ConceptCodeSequence[0].CodeMeaning)
    return str(tracking.get("TextValue", "")) if tracking is not None else ""


def _concept(item: Dataset) -> tuple[str, str]:
    for code in item.get("ConceptNameCodeSequence") or []:
        return str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", ""))
    return "", ""
