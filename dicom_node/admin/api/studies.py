"""Studies: the list, one study's story, and what can be done with them.

Searches are posted: what somebody looks for is often a patient's name, and addresses end up in logs.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from dicom_node.admin.actions import NotFound
from dicom_node.admin.api.asking import BUSY, PROBLEMS, UID_PATTERN, Operator, RowNumber, TheOffice, Uid, Viewer
from dicom_node.admin.bulk import BulkAction, BulkDone, do_all
from dicom_node.admin.headers import HeaderLine, full_header
from dicom_node.admin.measured import Measured, measured_of
from dicom_node.admin.office import Office
from dicom_node.admin.queries.phases import Phase
from dicom_node.admin.queries.story import Story, header_of, story_of
from dicom_node.admin.queries.studies import LARGEST_PAGE, Page, StudyRow, Wanted
from dicom_node.ledger import JobRun, Revision
from dicom_node.routing import told_verdicts

router = APIRouter(prefix="/api", tags=["studies"], responses=PROBLEMS)
_Text = Annotated[str, Field(max_length=200)]
_Time = Annotated[float, Field(ge=0, le=2**53)]


class Search(BaseModel):
    """Which studies; what is left out does not matter."""

    model_config = ConfigDict(extra="forbid")

    search: _Text = ""
    phase: Phase | None = None
    rule: _Text = ""
    sender: _Text = ""
    modality: Annotated[str, Field(max_length=16)] = ""
    received_from: _Time | None = None
    received_to: _Time | None = None

    def wanted(self) -> Wanted:
        """Return it as the list of studies takes it."""
        return Wanted(**{name: getattr(self, name) for name in Wanted.__dataclass_fields__})


class PagedSearch(Search):
    """Which studies, and which of them."""

    offset: Annotated[int, Field(ge=0, le=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 50


@router.post("/studies/search")
def search(office: TheOffice, person: Viewer, what: PagedSearch) -> Page:
    """Find studies, newest first. What text was looked for is recorded."""
    office.actions.searched(person, what.model_dump(mode="json", exclude={"offset", "limit"}))
    return office.studies.page(what.wanted(), what.offset, what.limit)


@router.post("/studies/export", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def export(office: TheOffice, person: Viewer, what: Search) -> StreamingResponse:
    """Return the list of studies as CSV."""
    office.actions.exported(person, office.studies.page(what.wanted(), 0, 1).total, what.model_dump(mode="json"))
    return StreamingResponse(
        csv_lines(office, office.studies.every(what.wanted())), media_type="text/csv; charset=utf-8"
    )


def csv_lines(office: Office, rows: Iterator[StudyRow]) -> Iterator[str]:
    """Yield studies as lines of CSV (RFC 4180), the first with the columns' names; times are the site's."""
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(StudyRow.__dataclass_fields__)
    for row in rows:
        values = asdict(row) | {"modalities": "/".join(row.modalities), "rules": "; ".join(row.rules)}
        for name in ("received_at", "last_arrival_at"):
            values[name] = office.local(getattr(row, name)).isoformat(sep=" ", timespec="seconds")
        writer.writerow(_harmless(value) for value in values.values())
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _harmless(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula that a sender wrote."""
    is_one = isinstance(value, str) and unicodedata.normalize("NFKC", value.lstrip())[:1] in set("=+-@")
    return f"'{value}" if is_one or (isinstance(value, str) and value[:1] in set("\t\r\n")) else value


class Bulk(BaseModel):
    """What to do with which studies."""

    model_config = ConfigDict(extra="forbid")

    action: BulkAction
    studies: Annotated[list[Annotated[str, Field(pattern=UID_PATTERN)]], Field(min_length=1, max_length=LARGEST_PAGE)]


@router.post("/studies/bulk", responses=BUSY)
async def bulk(office: TheOffice, person: Operator, what: Bulk) -> BulkDone:
    """Do one thing with many studies; what is not possible for one does not stop the others."""
    studies, tools = list(dict.fromkeys(what.studies)), (office.actions, office.ledger)
    return await office.crews.bulk.do(do_all, tools, person, what.action, studies)


@router.get("/studies/{study}")
def story(office: TheOffice, person: Viewer, study: Uid) -> Story:
    """Return one study's story. That it was looked at is recorded."""
    found = story_of(office.ledger, study)
    if found is None:
        raise NotFound("there is no such study")
    office.actions.viewed(person, study)
    return replace(found, revisions=tuple(map(_told, found.revisions)))


def _told(revision: Revision) -> Revision:
    """Return a revision with its verdicts as JSON, where the ledger keeps a record of the answers."""
    return replace(revision, verdicts=revision.verdicts and json.dumps(told_verdicts(revision.verdicts)))


@router.get("/studies/{study}/measurements")
def measurements(office: TheOffice, person: Viewer, study: Uid) -> tuple[Measured, ...]:
    """Return what the reports of a study's jobs measured."""
    office.actions.viewed(person, study, "view measurements")
    return measured_of(office.ledger.engine, office.store, study)


@router.get("/studies/{study}/instances/{instance}/header")
def header(office: TheOffice, person: Viewer, study: Uid, instance: Uid) -> dict[str, list[str | int | float]]:
    """Return what rules may ask of one received instance: keyword to values."""
    found = header_of(office.ledger.engine, study, instance)
    if found is None:
        raise NotFound("there is no such instance")
    office.actions.viewed(person, study, "view header")
    return found


@router.get("/studies/{study}/instances/{instance}/full-header")
def whole_header(office: TheOffice, person: Viewer, study: Uid, instance: Uid) -> tuple[HeaderLine, ...]:
    """Return every attribute of a received instance or of a result, sequences too, as it lies in the store."""
    found = full_header(office.ledger.engine, office.store, study, instance)
    if found is None:
        raise NotFound("there is no such object in the store")
    office.actions.viewed(person, study, "view header")
    return found


@router.post("/studies/{study}/route", status_code=204)
def route_again(office: TheOffice, person: Operator, study: Uid) -> None:
    """Ask the rules in force about a study once more."""
    office.actions.route_again(person, study)


class Run(BaseModel):
    """A pipeline to run on series of a study: role to Series Instance UID."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Annotated[str, Field(min_length=1, max_length=200)]
    inputs: Annotated[dict[str, Annotated[str, Field(max_length=64)]], Field(max_length=20)]


class NewRun(BaseModel):
    """The job that was queued."""

    job: int


@router.post("/studies/{study}/runs", status_code=201)
def run(office: TheOffice, person: Operator, study: Uid, what: Run) -> NewRun:
    """Run a pipeline on a study; its results are stored, and sent nowhere."""
    return NewRun(job=office.actions.run(person, study, what.pipeline, what.inputs))


@router.get("/jobs/{number}/runs")
def runs(office: TheOffice, person: Viewer, number: RowNumber) -> tuple[JobRun, ...]:
    """Return each attempt of a job, latest first: how it ended, what it used and what it logged."""
    job = office.ledger.jobs.get(number)
    if job is None:
        raise NotFound(f"there is no job J{number}")
    office.actions.viewed(person, job.study_instance_uid, "view job log")
    return office.ledger.runs.of_job(number)


@router.post("/jobs/{number}/retry", status_code=204)
def retry_job(office: TheOffice, person: Operator, number: RowNumber) -> None:
    """Queue a held or cancelled job again."""
    office.actions.retry_job(person, number)


@router.post("/jobs/{number}/cancel", status_code=204)
def cancel_job(office: TheOffice, person: Operator, number: RowNumber) -> None:
    """Cancel a job that is not done."""
    office.actions.cancel_job(person, number)


@router.post("/deliveries/{number}/retry", status_code=204)
def retry_delivery(office: TheOffice, person: Operator, number: RowNumber) -> None:
    """Send an object now; one that has arrived is sent once more."""
    office.actions.retry_delivery(person, number)


@router.post("/deliveries/{number}/cancel", status_code=204)
def cancel_delivery(office: TheOffice, person: Operator, number: RowNumber) -> None:
    """Give up a delivery that is not under way."""
    office.actions.cancel_delivery(person, number)
