"""Destinations and senders: looked at, added, changed and removed; refused callers allowed."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from dicom_node.admin.api.asking import PROBLEMS, Administrator, Problem, TheOffice
from dicom_node.admin.connections import Entry, Kind
from dicom_node.admin.office import Office
from dicom_node.admin.people import Person

_FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "The table has faults: each with what would be right"}
}
router = APIRouter(prefix="/api", tags=["node"], responses=PROBLEMS | _FAULTS)

_Name = Annotated[str, Path(min_length=1, max_length=100)]
_Scalar = str | bool | int | float
_Value = _Scalar | list[_Scalar] | dict[str, _Scalar | list[_Scalar]]
_After = Annotated[str | None, Query(max_length=64, description="Digest of the file that the change started from")]


class Table(BaseModel):
    """A `[[destination]]` or `[[source]]` as it is to be; what is not given has its default."""

    model_config = ConfigDict(extra="forbid")

    values: dict[str, _Value]
    after: Annotated[str | None, Field(max_length=64)] = None


class Caller(BaseModel):
    """A caller that was turned away."""

    model_config = ConfigDict(extra="forbid")

    calling: Annotated[str, Field(max_length=64)]
    address: Annotated[str, Field(max_length=64)]


class Allowed(BaseModel):
    """Which sender a caller is now."""

    sender: str


@router.get("/destinations/{name}")
def destination(office: TheOffice, person: Administrator, name: _Name) -> Entry:
    """Return a destination as it stands in node.toml."""
    return office.connections.get(person, Kind.DESTINATION, name)


@router.put("/destinations/{name}", status_code=204, responses={201: {"description": "It was added"}})
def put_destination(office: TheOffice, person: Administrator, name: _Name, table: Table) -> Response:
    """Add or change a destination; the running node sends there at once."""
    return _put(office, person, Kind.DESTINATION, name, table)


@router.delete("/destinations/{name}", status_code=204)
def remove_destination(
    office: TheOffice, person: Administrator, name: _Name, after: _After = None, *, cancel_deliveries: bool = False
) -> None:
    """Remove a destination that no rule names; what has not been delivered there prevents it, or is cancelled."""
    office.connections.remove_destination(person, name, after, cancel=cancel_deliveries)


@router.get("/senders/{name}")
def sender(office: TheOffice, person: Administrator, name: _Name) -> Entry:
    """Return a sender as it stands in node.toml."""
    return office.connections.get(person, Kind.SENDER, name)


@router.put("/senders/{name}", status_code=204, responses={201: {"description": "It was added"}})
def put_sender(office: TheOffice, person: Administrator, name: _Name, table: Table) -> Response:
    """Add or change a sender; its next association is judged by that."""
    return _put(office, person, Kind.SENDER, name, table)


@router.delete("/senders/{name}", status_code=204)
def remove_sender(office: TheOffice, person: Administrator, name: _Name, after: _After = None) -> None:
    """Remove a sender; its open associations go on, new ones are refused."""
    office.connections.remove_sender(person, name, after)


@router.post("/refused-senders/allow")
def allow(office: TheOffice, person: Administrator, caller: Caller) -> Allowed:
    """Let in a caller that was turned away, by its AE title and address."""
    return Allowed(sender=office.connections.allow(person, caller.calling, caller.address))


def _put(office: Office, person: Person, kind: Kind, name: str, table: Table) -> Response:
    added = office.connections.put(person, kind, name, table.values, table.after)
    return Response(status_code=201 if added else 204)
