"""The way in by an OpenID provider: off to it, and back. Nobody is led anywhere but there and to the pages."""

from typing import Final

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from dicom_node.admin.api.asking import TheOffice
from dicom_node.admin.entrance import address_of, give_session, log_in_page, onward, root_of
from dicom_node.admin.id_token import OpenIdRefused
from dicom_node.admin.office import Office
from dicom_node.admin.openid import LONGEST_SECONDS
from dicom_node.admin.people import LogInRefused
from dicom_node.errors import Failure

log = structlog.get_logger(__name__)

router = APIRouter(include_in_schema=False)
_COOKIE: Final = "dicom_node_openid"
_AWAY: Final = "The OpenID provider does not answer, so nobody can log in by it now."


@router.get("/login/openid")
def begin(request: Request, office: TheOffice) -> Response:
    """Send a browser to the provider."""
    if office.openid is None:
        return RedirectResponse(f"{root_of(request)}/login", 303)
    try:
        remembered, target = office.openid.begin()
    except Failure as failure:
        return _failed(request, office, failure)
    answer = RedirectResponse(target, 303)
    # not strict, as the session is: it has to come along from the provider's page
    answer.set_cookie(
        _COOKIE,
        remembered,
        max_age=LONGEST_SECONDS,
        path=f"{root_of(request)}/login/openid",
        httponly=True,
        samesite="lax",
        secure=_is_https(office),
    )
    return answer


@router.get("/login/openid/back")
def come_back(request: Request, office: TheOffice) -> Response:
    """Open a session for whom the provider vouches for."""
    if office.openid is None:
        return RedirectResponse(f"{root_of(request)}/login", 303)
    address = address_of(request)
    try:
        known = office.openid.come_back(request.cookies.get(_COOKIE, ""), request.query_params)
        secret = office.people.vouched(known, address)
    except OpenIdRefused as refused:
        office.people.refused(refused.name, address, refused.reason)
        return _without_memory(request, log_in_page(request, office, str(refused), 403))
    except LogInRefused as refused:
        return _without_memory(request, log_in_page(request, office, str(refused), 403))
    except Failure as failure:
        return _without_memory(request, _failed(request, office, failure))
    answer = onward(f"{root_of(request)}/")
    give_session(request, office, answer, secret)
    return _without_memory(request, answer)


def _failed(request: Request, office: Office, failure: Failure) -> Response:
    """Say in words that it cannot be done; why is for the administrator, in the log."""
    log.warning("no log-in by OpenID Connect", reason=str(failure))
    if isinstance(failure, OpenIdRefused):
        return log_in_page(request, office, str(failure), 503)
    hint = " Accounts with a password work." if office.takes_passwords else " The log of the node says why."
    return log_in_page(request, office, f"{_AWAY}{hint}", 503)


def _without_memory(request: Request, answer: Response) -> Response:
    """Return an answer after which a state is good for nothing more."""
    answer.delete_cookie(_COOKIE, path=f"{root_of(request)}/login/openid", httponly=True, samesite="lax")
    return answer


def _is_https(office: Office) -> bool:
    return office.openid is not None and office.openid.settings.redirect_url.startswith("https://")
