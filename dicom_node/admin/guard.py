"""The door of the web server: who is it, may they come in, is it a page of ours that asks. One ASGI middleware.

Everything needs a log-in but `OPEN`: health, metrics, the log-in itself, and its style.
"""

from collections.abc import Callable, Mapping
from functools import partial
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.admin.people import People, Person

COOKIE: Final = "dicom_node_session"
CSRF_HEADER: Final = "x-csrf-token"
OPEN: Final = ("/health", "/metrics", "/login", "/static")
#: Scripts and styles, which a browser may keep.
_KEPT: Final = ("/static/", "/_nicegui/")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Pages may be framed by nobody, load nothing from elsewhere, and tell nobody where somebody was.
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; "
        "form-action 'self'; base-uri 'self'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}


class Guard:
    """Lets in whom it knows, as `scope["dicom_node.person"]`, and writes the safe headers."""

    def __init__(self, app: ASGIApp, people: People, root_path: str = "") -> None:
        self._app = app
        self._people = people
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path, headers = self._place(scope), _headers(scope)
        is_open = any(path == each or path.startswith(f"{each}/") for each in OPEN)
        who = partial(self._who, (scope.get("client") or ("?",))[0], headers, path)
        person = None if is_open else await run_in_threadpool(who)
        scope["dicom_node.person"] = person
        refusal = _refusal(scope, path, headers, person, is_open=is_open)
        if refusal is None and scope["type"] == "websocket":
            await self._app(scope, _while_it_holds(partial(who, uses=False), receive, send), send)
        elif refusal is None:
            await self._app(scope, receive, _with_headers(send, kept=path.startswith(_KEPT)))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_headers(send, kept=False))

    def _place(self, scope: Scope) -> str:
        """Return a request's path below the one that a reverse proxy serves the pages at, handed on by it or not."""
        path = str(scope["path"])
        if not self._root_path:
            return path
        scope["root_path"] = self._root_path
        if path != self._root_path and not path.startswith(f"{self._root_path}/"):
            scope["path"] = self._root_path + path
        return str(scope["path"]).removeprefix(self._root_path) or "/"

    def _who(self, address: str, headers: Mapping[str, str], path: str, *, uses: bool = True) -> Person | None:
        """Return who asks. A token counts for the API only: a page asks for a session again at every action."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._people.of_token(token.strip(), address) if _is_api(path) else None
        secret = secret_of(headers)
        return self._people.of_session(secret, address, uses=uses) if secret else None


def _while_it_holds(who: Callable[[], Person | None], receive: Receive, send: Send) -> Receive:
    """Return what reads a web socket while its session holds: a page left open ends with it.

    Even one that nobody touches sends its answer to a ping every few seconds.
    """

    async def read() -> Message:
        message = await receive()
        if message["type"] != "websocket.receive" or await run_in_threadpool(who) is not None:
            return message
        await send({"type": "websocket.close", "code": 1008})
        return {"type": "websocket.disconnect", "code": 1008}

    return read


def secret_of(headers: Mapping[str, str]) -> str:
    """Return the session's secret that a request brings; empty if it has none."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _refusal(
    scope: Scope, path: str, headers: Mapping[str, str], person: Person | None, *, is_open: bool
) -> Response | None:
    changes = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
    if changes and _is_foreign(headers):
        return JSONResponse({"detail": "this request comes from another site"}, 403)
    if is_open:
        return None
    if person is None:
        if _is_api(path) or changes:
            return JSONResponse({"detail": "log in, or send a token"}, 401, {"WWW-Authenticate": "Bearer"})
        return RedirectResponse(f"{scope.get('root_path', '')}/login", 303)
    if _is_api(path) and changes and person.csrf and headers.get(CSRF_HEADER) != person.csrf:
        return JSONResponse({"detail": f"this session must send its {CSRF_HEADER} header"}, 403)
    return None


def _is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Return whether a browser says that another site's page asks; programs say nothing."""
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != headers.get("host")
    except ValueError:  # no address at all
        return True


def _with_headers(send: Send, *, kept: bool) -> Send:
    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            known: list[Any] = [pair for pair in message.get("headers", []) if pair[0].lower() not in _NAMES]
            added = dict(_HEADERS) if kept else _HEADERS | {"cache-control": "no-store"}
            message["headers"] = [*known, *((name.encode(), value.encode()) for name, value in added.items())]
        await send(message)

    return send_with


_NAMES: Final = frozenset(name.encode() for name in _HEADERS)
