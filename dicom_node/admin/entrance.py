"""Logging in and out: plain pages without a script, so that they work before anything else does."""

import hmac
import html
import secrets
from pathlib import Path
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dicom_node.admin.api.asking import TheOffice
from dicom_node.admin.guard import COOKIE, secret_of
from dicom_node.admin.office import Office
from dicom_node.admin.people import LogInRefused
from dicom_node.errors import Failure

log = structlog.get_logger(__name__)

# a stranger may send a name and a password, and no more
router = APIRouter(include_in_schema=False, max_body_size=2**14)
_FORM_COOKIE: Final = "dicom_node_form"
_STATIC: Final = Path(__file__).parent / "static"
_PAGE: Final = (_STATIC / "login.html").read_text(encoding="utf-8")
_ONWARD: Final = (_STATIC / "onward.html").read_text(encoding="utf-8")
_OPENID: Final = """<a class="button" href="{root}/login/openid">Log in with {label}</a>
<p class="small" {passwords}>Or with an account of this node:</p>"""


@router.get("/login")
def form(request: Request, office: TheOffice) -> Response:
    """Show the log-in form."""
    first = office.takes_passwords and not office.ledger.accounts.every()
    said = "There is no account yet. Make the first one on the node's computer: dicom-node account NAME"
    return log_in_page(request, office, said if first else "")


@router.post("/login")
def log_in(
    request: Request,
    office: TheOffice,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    form_token: Annotated[str, Form()] = "",
) -> Response:
    """Open a session, or show the form again."""
    known = request.cookies.get(_FORM_COOKIE, "").encode()
    if not known or not hmac.compare_digest(known, form_token.encode()):  # another site could log somebody in
        return log_in_page(request, office, "The form was too old. Try again.", 403)
    try:
        secret = office.people.log_in(name, password, address_of(request))
    except LogInRefused:
        said = "Name or password is wrong, or the account is locked for a while."
        return log_in_page(request, office, said, 401)
    answer = RedirectResponse(f"{root_of(request)}/", 303)
    give_session(request, office, answer, secret)
    return answer


@router.post("/logout")
def log_out(request: Request, office: TheOffice, csrf: Annotated[str, Form()] = "") -> Response:
    """End the session, here and, where that is wanted, at the OpenID provider."""
    person = request.scope.get("dicom_node.person")
    there = None
    if person is not None and hmac.compare_digest(person.csrf.encode(), csrf.encode()):
        office.people.log_out(secret_of(request.headers), person)
        there = _log_out_there(office, person.name)
    answer = onward(there) if there else RedirectResponse(f"{root_of(request)}/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _log_out_there(office: Office, name: str) -> str | None:
    account = office.ledger.accounts.get(name)
    if office.openid is None or account is None or account.openid is None:
        return None
    try:
        return office.openid.log_out_url()
    except Failure as failure:  # here, the session is over in any case
        log.warning("no log-out at the OpenID provider", reason=str(failure))
        return None


def log_in_page(request: Request, office: Office, said: str = "", status: int = 200) -> Response:
    """Return the ways to log in, and what is to be said."""
    token = secrets.token_urlsafe(16)
    root = html.escape(root_of(request))
    openid = "" if office.openid is None else _OPENID.replace("{label}", html.escape(office.openid.settings.label))
    parts = {
        "{openid}": openid.replace("{root}", root),
        "{root}": root,
        "{token}": token,
        "{quiet}": "" if said else "hidden",
        "{passwords}": "" if office.takes_passwords else "hidden",
        "{said}": html.escape(said),
    }
    page = _PAGE
    for name, value in parts.items():  # the last is the only one that others have a say in
        page = page.replace(name, value)
    answer = HTMLResponse(page, status)
    _give(request, answer, _FORM_COOKIE, token)
    return answer


def onward(target: str) -> HTMLResponse:
    """Return a page that leads on by itself.

    A redirect would not do: what follows from another site's page is sent no strict cookie, and where a form leads to
    another site, the page's own policy stops it.
    """
    return HTMLResponse(_ONWARD.replace("{target}", html.escape(target)))


def give_session(request: Request, office: Office, answer: Response, secret: str) -> None:
    """Let the browser have its new session; one that it brought is over, so that nobody planted it."""
    before = secret_of(request.headers)
    if before:
        office.people.forget(before)
    _give(request, answer, COOKIE, secret)


def root_of(request: Request) -> str:
    """Return the path that a reverse proxy serves the pages below."""
    return str(request.scope.get("root_path", ""))


def address_of(request: Request) -> str:
    """Return whose computer asks."""
    return request.client.host if request.client else "?"


def _give(request: Request, answer: Response, name: str, value: str) -> None:
    answer.set_cookie(name, value, path="/", httponly=True, samesite="strict", secure=request.url.scheme == "https")
