"""What every request to the API has: an office, a person with a role, and answers for what goes wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Request, Security
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from dicom_node.admin.actions import NotFound, NotPossible
from dicom_node.admin.crews import CrewBusy
from dicom_node.admin.office import Office
from dicom_node.admin.people import AccountRefused, NotAllowed, Person
from dicom_node.admin.trials import TrialBusy, TrialFailed
from dicom_node.errors import DicomNodeError, SettingsInvalid
from dicom_node.ledger import AccountRole
from dicom_node.rulebook import RulesOvertaken, RuleVersionUnknown

_STATUSES: Final[Mapping[type[DicomNodeError], int]] = {
    NotAllowed: 403,
    NotFound: 404,
    NotPossible: 409,
    AccountRefused: 409,
    SettingsInvalid: 400,
    RulesOvertaken: 409,
    RuleVersionUnknown: 404,
    TrialBusy: 409,
    TrialFailed: 503,
    CrewBusy: 503,
}


class Problem(BaseModel):
    """Why a request was not answered as asked."""

    detail: str


#: For the description of every operation.
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": Problem, "description": "No token, or one that is over"},
    403: {"model": Problem, "description": "The role does not cover this"},
    404: {"model": Problem, "description": "There is no such thing"},
    409: {"model": Problem, "description": "Not possible with the thing as it is"},
}
#: For what takes long, and is done in a few threads only.
BUSY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": Problem, "description": "Too much of this kind is under way: try again"}
}
#: Where the description of an operation says which role it needs (OpenAPI specification extension).
ROLE_KEY: Final = "x-role"
_BEARER: Final = HTTPBearer(auto_error=False, description="A token: `dicom-node token NAME`, or the Users page")


def the_office(request: Request) -> Office:
    """Return the office that the application works with."""
    office: Office = request.app.state.office
    return office


def _the_person(request: Request, _token: Annotated[Any, Security(_BEARER)]) -> Person:
    person: Person | None = request.scope.get("dicom_node.person")
    if person is None:
        raise HTTPException(401, "log in, or send a token", {"WWW-Authenticate": "Bearer"})
    return person


@dataclass(frozen=True, slots=True)
class Needs:
    """Lets in who has a role, before anything else of a request is looked at."""

    role: AccountRole

    def __call__(self, person: Annotated[Person, Depends(_the_person)]) -> Person:
        """Return who asks; raises NotAllowed."""
        person.need(self.role)
        return person


TheOffice = Annotated[Office, Depends(the_office)]
Viewer = Annotated[Person, Depends(Needs(AccountRole.VIEWER))]
Operator = Annotated[Person, Depends(Needs(AccountRole.OPERATOR))]
Administrator = Annotated[Person, Depends(Needs(AccountRole.ADMINISTRATOR))]
#: A UID of the standard (PS3.5 9.1): nothing else is looked for, in the ledger or on disk.
UID_PATTERN: Final = r"^[0-9][0-9.]{0,63}$"
Uid = Annotated[str, Path(pattern=UID_PATTERN, examples=["1.2.840.113619.2.1"])]
RowNumber = Annotated[int, Path(ge=1, le=2**53)]


def declare_roles(router: APIRouter) -> None:
    """Write into the description of every operation which role it needs: the one that it asks for."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            needed = [each.call.role for each in route.dependant.dependencies if isinstance(each.call, Needs)]
            for role in needed:
                route.openapi_extra = (route.openapi_extra or {}) | {ROLE_KEY: str(role)}


def answer_failures(app: FastAPI) -> None:
    """Let errors of our own be answered with their status and text."""

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500)
        return JSONResponse({"detail": str(error)}, status)

    for kind in _STATUSES:
        app.add_exception_handler(kind, answer)
