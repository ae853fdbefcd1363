"""What proves to a server who the node is: HTTP Basic (RFC 7617), or a token (RFC 6750) of OAuth 2.0 or of a file."""

import base64
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote_plus, urlencode

from dicom_node.dicom_web.web import Answer, Web, named
from dicom_node.errors import PeerRefused, PeerUnreachable
from dicom_node.settings import BasicAuth, BearerToken, OAuth2, WebConnection

_OK: Final = 200
_CLIENT_ERROR: Final = range(400, 500)
#: A token is not used in the last seconds of its life: it has to reach the server alive.
_MARGIN_SECONDS: Final = 30.0
#: Of a server that does not say how long its tokens live.
_UNTOLD_SECONDS: Final = 300.0
_LONGEST_SECRET: Final = 2**16
#: RFC 6749 5.2; nothing else that a server says is repeated.
_ERRORS: Final = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant"),
        *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
    }
)


class Authorisation(Protocol):
    """Gives the Authorization header of each request."""

    def header(self) -> dict[str, str]:
        """Return the header; raises Failure if there can be none now."""
        ...

    def refused(self) -> bool:
        """Note that the server did not take the last one; return whether another can be had."""
        ...


def authorisation(connection: WebConnection, web: Web, clock: Callable[[], float]) -> Authorisation:
    """Return what the settings of a destination or archive ask for; the clock gives UTC seconds."""
    table = f"[{connection.table}.auth]"
    match connection.auth:
        case BasicAuth() as auth:
            return _Basic(auth, table)
        case BearerToken() as auth:
            return _Bearer(auth, table)
        case OAuth2() as auth:
            return _Token(auth, table, web, clock)
    return _Nobody()


class _Nobody:
    def header(self) -> dict[str, str]:
        return {}

    def refused(self) -> bool:
        return False


class _Basic:
    def __init__(self, auth: BasicAuth, table: str) -> None:
        self._auth = auth
        self._table = table

    def header(self) -> dict[str, str]:
        return _basic(self._auth.user, _secret(self._auth.password_file, "password_file", self._table))

    def refused(self) -> bool:
        return False


class _Bearer:
    """A token that somebody else renews in its file."""

    def __init__(self, auth: BearerToken, table: str) -> None:
        self._path = auth.token_file
        self._table = table

    def header(self) -> dict[str, str]:
        token = _secret(self._path, "token_file", self._table)
        if not _is_token(token):
            raise PeerRefused(f"{self._path} holds no token in one line: correct token_file of {self._table}")
        return _bearer(token)

    def refused(self) -> bool:
        return False


class _Token:
    """A token that is kept until shortly before it ends."""

    def __init__(self, auth: OAuth2, table: str, web: Web, clock: Callable[[], float]) -> None:
        self._auth = auth
        self._table = table
        self._web = web
        self._clock = clock
        self._token = ""
        self._until = 0.0
        self._lock = threading.Lock()

    def header(self) -> dict[str, str]:
        with self._lock:
            if self._clock() >= self._until:
                self._fetch()
            return _bearer(self._token)

    def refused(self) -> bool:
        with self._lock:
            self._until = 0.0
        return True

    def _fetch(self) -> None:
        secret = _secret(self._auth.client_secret_file, "client_secret_file", self._table)
        # RFC 6749 2.3.1: every server knows Basic; ID and secret are form-encoded first
        headers = {
            **_basic(quote_plus(self._auth.client_id), quote_plus(secret)),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        form = {"grant_type": "client_credentials"} | ({"scope": self._auth.scope} if self._auth.scope else {})
        asked_at = self._clock()
        answer = self._web.ask("POST", self._auth.token_url, headers, urlencode(form).encode())
        self._token, seconds = _token(answer, named(self._auth.token_url), self._table)
        self._until = asked_at + max(seconds - min(_MARGIN_SECONDS, seconds / 10), 0.0)


def _token(answer: Answer, name: str, table: str) -> tuple[str, float]:
    """Return an access token and the seconds it lives (RFC 6749 5.1).

    Raises
    ------
    PeerRefused
        If the server refuses one.
    PeerUnreachable
        If it cannot give one now.
    """
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        told = None
    told = told if isinstance(told, dict) else {}
    token, seconds = told.get("access_token"), told.get("expires_in", _UNTOLD_SECONDS)
    if answer.status == _OK and isinstance(token, str) and _is_token(token):
        return token, _lifetime(seconds)
    if answer.status not in _CLIENT_ERROR:
        raise PeerUnreachable(f"{name} gives no token (HTTP {answer.status}): check token_url of {table}")
    code = told.get("error")
    error = f", {code}" if isinstance(code, str) and code in _ERRORS else ""
    reason = f"check client_id, client_secret_file and scope of {table}"
    raise PeerRefused(f"{name} refuses a token (HTTP {answer.status}{error}): {reason}")


def _lifetime(told: object) -> float:
    """Return the seconds that a server gives a token to live; what is no number, as if it had not said."""
    try:
        seconds = float(told)  # type: ignore[arg-type]  # whatever JSON holds
    except (TypeError, ValueError, OverflowError):
        return _UNTOLD_SECONDS
    return max(seconds, 0.0) if math.isfinite(seconds) else _UNTOLD_SECONDS


def _is_token(text: str) -> bool:
    # what a header cannot hold would be an error that quotes it
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _secret(path: Path, key: str, table: str) -> str:
    """Return what a file holds, without the end of its line; never shown, never kept."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST_SECRET).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PeerRefused(f"{path} cannot be read ({reason}): correct {key} of {table}") from None
    if not text:
        raise PeerRefused(f"{path} is empty: {key} of {table} names the file that holds the secret")
    return text


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
