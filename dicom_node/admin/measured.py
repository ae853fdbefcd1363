"""What a job's structured reports measured: the numbers of their content trees, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from sqlalchemy import Engine, select

from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import results
from dicom_node.settings import ResultKind

_TRACKING: Final = "112039"  # Tracking Identifier (PS3.16 TID 1410)


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of a report."""

    job: int
    what: str
    name: str
    value: str
    unit: str


def measured_of(engine: Engine, store: Path, study: str) -> tuple[Measured, ...]:
    """Return what the reports of a study's jobs measured (PS3.3 C.17.3, content items of value type NUM)."""
    statement = select(results.c.job_id, results.c.path).where(
        results.c.study_instance_uid == study, results.c.kind == str(ResultKind.REPORT)
    )
    with reading(engine).connect() as connection:
        rows = connection.execute(statement.order_by(results.c.job_id)).all()
    found = (each for row in rows for each in _of_report(store / row.path, row.job_id))
    return tuple(dict.fromkeys(found))  # once, however many profiles its reports were made for


def _of_report(path: Path, job: int) -> Iterator[Measured]:
    try:
        report = dcmread(path)
    except OSError:  # its file is gone; the story is told without it
        return
    yield from _numbers(report.get("ContentSequence", ()), "", job)


def _numbers(items: Any, what: str, job: int) -> Iterator[Measured]:
    named = [item for item in items if _code(item) == _TRACKING]
    what = str(named[0].get("TextValue", what)) if named else what
    for item in items:
        if item.get("ValueType") == "NUM" and item.get("MeasuredValueSequence"):
            value = item.MeasuredValueSequence[0]
            unit = value.MeasurementUnitsCodeSequence[0].CodeValue
            name = item.ConceptNameCodeSequence[0].CodeMeaning
            yield Measured(job, what, str(name), str(value.NumericValue), str(unit))
        yield from _numbers(item.get("ContentSequence", ()), what, job)


def _code(item: Any) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeValue", "")) if names else ""
