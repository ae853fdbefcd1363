"""One study's story: from the first image to the last delivery, on one time line."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, select

from dicom_node.admin.queries.phases import Phase, phase
from dicom_node.ledger import Attempt, Delivery, Job, JobRun, Ledger, Result, Revision
from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import associations, headers, instances
from dicom_node.ledger.schema import revisions as revisions_table
from dicom_node.routing import told_verdicts

_MOST_EVENTS: Final = 1000
#: Open pages look every few seconds, and what a record tells never changes.
_told_of = lru_cache(maxsize=8)(told_verdicts)


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One received series; times are UTC seconds."""

    series_instance_uid: str
    number: str
    modality: str
    description: str
    instances: int
    first_at: float
    last_at: float
    sender: str
    address: str
    sop_instance_uid: str  # of its first image


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the time line."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of a study; patient data, for those who may see it.

    Parameters
    ----------
    patient : mapping
        DICOM keyword to value, of the first image.
    verdicts : tuple of mappings
        As `routing.told_verdicts` gives them: every rule of the newest revision, with every answer.
    runs, attempts : mapping
        Job to its attempts, and delivery to its own, the latest first.
    """

    study_instance_uid: str
    phase: Phase
    patient: Mapping[str, str]
    revisions: tuple[Revision, ...]
    series: tuple[SeriesRow, ...]
    verdicts: tuple[Mapping[str, Any], ...]
    jobs: tuple[Job, ...]
    results: Mapping[int, tuple[Result, ...]]
    deliveries: tuple[Delivery, ...]
    runs: Mapping[int, tuple[JobRun, ...]]
    attempts: Mapping[int, tuple[Attempt, ...]]
    happenings: tuple[Happening, ...]


_SHOWN: Final = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDate", "StudyTime"),
    *("StudyDescription", "InstitutionName", "Manufacturer", "ManufacturerModelName"),
)


def story_of(ledger: Ledger, study_instance_uid: str) -> Story | None:
    """Return a study's story; None if the ledger does not know the study."""
    revisions = ledger.studies.revisions(study_instance_uid)
    if not revisions:
        return None
    jobs = ledger.jobs.latest(200, study=study_instance_uid)
    with reading(ledger.engine).connect() as connection:
        series = _series(connection, study_instance_uid)
        patient = _first_header(connection, study_instance_uid)
        newest = revisions_table.c.study_instance_uid == study_instance_uid
        words = select(phase()).where(newest).order_by(revisions_table.c.number.desc()).limit(1)
        word = Phase(connection.execute(words).scalar_one())
    told = [revision.verdicts for revision in revisions if revision.verdicts]
    return Story(
        study_instance_uid=study_instance_uid,
        phase=word,
        patient={keyword: _one(patient, keyword) for keyword in _SHOWN},
        revisions=tuple(revisions),
        series=tuple(series),
        verdicts=_told_of(told[-1]) if told else (),
        jobs=tuple(jobs),
        results={number: tuple(made) for number, made in ledger.jobs.results_of([job.id for job in jobs]).items()},
        deliveries=tuple(ledger.deliveries.of_study(study_instance_uid)),
        runs=_by_job(ledger.runs.of_study(study_instance_uid)),
        attempts=ledger.deliveries.attempts(study_instance_uid),
        happenings=_happenings(ledger, study_instance_uid, revisions, series),
    )


def _by_job(runs: Sequence[JobRun]) -> dict[int, tuple[JobRun, ...]]:
    numbers = dict.fromkeys(run.job_id for run in runs)
    return {number: tuple(run for run in runs if run.job_id == number) for number in numbers}


def _series(connection: Connection, study: str) -> list[SeriesRow]:
    grouped = (
        select(
            instances.c.series_instance_uid,
            func.count().label("count"),
            func.min(instances.c.received_at).label("first_at"),
            func.max(instances.c.received_at).label("last_at"),
            func.min(instances.c.id).label("first_id"),
        )
        .where(instances.c.study_instance_uid == study, instances.c.current.is_(True), instances.c.own.is_(False))
        .group_by(instances.c.series_instance_uid)
        .subquery()
    )
    statement = (
        select(
            grouped,
            headers.c.header,
            associations.c.calling,
            associations.c.address,
            instances.c.sop_instance_uid,
        )
        .join(instances, instances.c.id == grouped.c.first_id)
        .join(associations, associations.c.id == instances.c.association_id)
        .join(headers, headers.c.instance_id == instances.c.id, isouter=True)
        .order_by(grouped.c.first_at)
    )
    return [_series_row(row) for row in connection.execute(statement)]


def _series_row(row: Any) -> SeriesRow:
    header = json.loads(row.header) if row.header else {}
    return SeriesRow(
        series_instance_uid=row.series_instance_uid,
        number=_one(header, "SeriesNumber"),
        modality=_one(header, "Modality"),
        description=_one(header, "SeriesDescription"),
        instances=row.count,
        first_at=row.first_at,
        last_at=row.last_at,
        sender=row.calling,
        address=row.address,
        sop_instance_uid=row.sop_instance_uid,
    )


def _first_header(connection: Connection, study: str) -> Mapping[str, Sequence[Any]]:
    statement = (
        select(headers.c.header)
        .join(instances, instances.c.id == headers.c.instance_id)
        .where(instances.c.study_instance_uid == study, instances.c.own.is_(False))
        .order_by(instances.c.id)
        .limit(1)
    )
    text = connection.execute(statement).scalar()
    return json.loads(text) if text else {}


def header_of(engine: Engine, study: str, sop_instance_uid: str) -> dict[str, list[Any]] | None:
    """Return what the ledger keeps of one received instance's header; None if it has none."""
    statement = (
        select(headers.c.header)
        .join(instances, instances.c.id == headers.c.instance_id)
        .where(
            instances.c.study_instance_uid == study,
            instances.c.sop_instance_uid == sop_instance_uid,
            instances.c.current.is_(True),
        )
    )
    with reading(engine).connect() as connection:
        text = connection.execute(statement).scalar()
    return None if text is None else json.loads(text)


def _one(header: Mapping[str, Sequence[Any]], keyword: str) -> str:
    values = header.get(keyword, ())
    return str(values[0]) if values else ""


def _happenings(
    ledger: Ledger, study: str, revisions: Sequence[Revision], series: Sequence[SeriesRow]
) -> tuple[Happening, ...]:
    """Return what the ledger noted, and what its rows tell beside that, oldest first."""
    told = [Happening(at, kind, text) for at, kind, text in ledger.events(study=study, limit=_MOST_EVENTS)]
    senders = Counter((each.sender, each.address) for each in series)
    for (sender, address), count in senders.items():
        first = min(each.first_at for each in series if (each.sender, each.address) == (sender, address))
        told.append(Happening(first, "received", f"first image from {sender} at {address} ({count} series in all)"))
    told += [
        Happening(each.last_at, "series", f"series {each.number or '?'}: {each.instances} images of {each.modality}")
        for each in series
    ]
    told += [
        Happening(
            each.opened_at,
            "late images",
            f"revision {each.number} opened: images came after the study was complete",
        )
        for each in revisions
        if each.number > 1 and each.instances  # one without images stands for a study that is routed again
    ]
    return tuple(sorted(told, key=lambda each: each.at))
