"""`/health` for a load balancer or Kubernetes, `/metrics` for Prometheus; no log-in, and no patient data."""

from typing import Any, Final

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from sqlalchemy import literal, select
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.admin.api.asking import TheOffice
from dicom_node.admin.metrics import NodeCollector
from dicom_node.admin.office import Office
from dicom_node.admin.vitals import disk_of
from dicom_node.errors import Failure
from dicom_node.ledger.database import reading

router = APIRouter(tags=["health"])


class Live(BaseModel):
    """The process answers."""

    live: bool = True


class Health(BaseModel):
    """Whether the node can receive: each check in words, empty if all is well."""

    live: bool = True
    ready: bool
    faults: list[str]


_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": Health, "description": "The node cannot receive now"}
}


@router.get("/health/live")
def live() -> Live:
    """Answer, if the process can; ended by the supervisor if not."""
    return Live()


@router.get("/health/ready", responses=_NOT_READY)
def ready(office: TheOffice, response: Response) -> Health:
    """Return 200 if the node can receive, else 503 and why."""
    faults = _faults(office)
    response.status_code = 503 if faults else 200
    return Health(ready=not faults, faults=faults)


@router.get("/health", responses=_NOT_READY)
def health(office: TheOffice, response: Response) -> Health:
    """As /health/ready."""
    return ready(office, response)


def _faults(office: Office) -> list[str]:
    faults, vitals = [], office.vitals()
    if vitals.receivers < vitals.receivers_wanted:
        faults.append("a receiver is down")
    try:
        if disk_of(office.settings.node.data, office.settings.reception.free_space_floor_mib).full:
            faults.append("the disk is full")
    except OSError:
        faults.append("the data folder cannot be reached")
    try:
        with reading(office.ledger.engine).connect() as connection:
            connection.execute(select(literal(1)))
    except (SQLAlchemyError, Failure):
        faults.append("the ledger does not answer")
    return faults


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(office: TheOffice) -> Response:
    """Return the node's figures in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(office))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
