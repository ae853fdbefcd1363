"""The node: is it well, its destinations, senders and pipelines, and the rules in force."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path

from dicom_node.admin.api.asking import BUSY, PROBLEMS, Operator, TheOffice, Viewer
from dicom_node.admin.queries.overview import DestinationState, Overview, destination_states, overview_of
from dicom_node.admin.queries.pipelines import PipelineState, pipeline_states
from dicom_node.admin.queries.times import Times
from dicom_node.admin.testing import Tested
from dicom_node.ledger.arrivals import RefusedSender

router = APIRouter(prefix="/api", tags=["node"], responses=PROBLEMS)
_Name = Annotated[str, Path(max_length=100)]


@router.get("/overview")
def overview(office: TheOffice, _person: Viewer) -> Overview:
    """Return whether the node is well, and how busy."""
    return overview_of(office)


@router.get("/times/{span}")
def times(office: TheOffice, _person: Viewer, span: Literal["hour", "day", "week"]) -> Times:
    """Return how much came and how long each stage took."""
    return office.times.over(span, office.clock())


@router.get("/destinations")
def destinations(office: TheOffice, _person: Viewer) -> tuple[DestinationState, ...]:
    """Return the state of every destination."""
    return destination_states(office)


@router.post("/destinations/{name}/test", responses=BUSY)
async def test(office: TheOffice, person: Operator, name: _Name) -> Tested:
    """Ask a destination whether it answers, and what of its profile it accepts."""
    return await office.crews.tests.do(office.actions.test, person, name)


@router.post("/destinations/{name}/pause", status_code=204)
def pause(office: TheOffice, person: Operator, name: _Name) -> None:
    """Let deliveries to a destination wait."""
    office.actions.pause(person, name)


@router.post("/destinations/{name}/resume", status_code=204)
def resume(office: TheOffice, person: Operator, name: _Name) -> None:
    """Let deliveries to a destination go."""
    office.actions.resume(person, name)


@router.get("/refused-senders")
def refused(office: TheOffice, _person: Viewer) -> list[RefusedSender]:
    """Return who was turned away, latest first."""
    return office.ledger.arrivals.refused()


@router.get("/pipelines")
def pipelines(office: TheOffice, _person: Viewer) -> tuple[PipelineState, ...]:
    """Return the installed pipelines and how their jobs went."""
    return pipeline_states(office)
