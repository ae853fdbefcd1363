"""The provider's own addresses: discovery, tokens, keys, userinfo (OpenID Connect Discovery 1.0, Core 3.1.3, 5.3)."""

import base64
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from dicom_node.admin.id_token import OpenIdRefused
from dicom_node.dicom_web.web import Answer, Web, named
from dicom_node.errors import Failure, PeerUnreachable
from dicom_node.settings import OpenIdSettings, WebConnection, is_protected

_OK: Final = 200
_KEPT_SECONDS: Final = 300.0
#: So long a provider that could not be asked is not asked again: those who wait would wait in vain.
_PAUSE_SECONDS: Final = 5.0
_LONGEST_SECRET: Final = 2**16
_JSON: Final = {"Accept": "application/json"}


class Provider:
    """What the node asks the provider itself, past the browser.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: OpenIdSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        limits = (settings.timeout_seconds, None, settings.proxy, settings.tls)
        self._web = Web(WebConnection("admin.openid", settings.label, settings.issuer, *limits))
        self._lock = threading.Lock()
        self._known: Mapping[str, Any] = {}
        self._fault: Failure | None = None
        self._until = 0.0

    def endpoint(self, name: str) -> str:
        """Return one of the provider's addresses.

        Raises
        ------
        PeerUnreachable, TlsUnusable
            If it cannot be asked for them.
        OpenIdRefused
            If it has no such address, or one that is not protected.
        """
        value = self._discovered().get(name)
        if not isinstance(value, str) or not is_protected(value):
            raise OpenIdRefused(f"The provider names no {name} with https://: look at issuer of [admin.openid].")
        return value

    def tokens(self, code: str, verifier: str) -> tuple[str, str]:
        """Return the ID token and the access token (or "") that a code is good for; raises Failure."""
        settings, url = self._settings, self.endpoint("token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect_url,
            "code_verifier": verifier,
            "client_id": settings.client_id,
        }
        headers = {**_JSON, "Content-Type": "application/x-www-form-urlencoded"}
        if settings.client_secret_file is not None:
            secret = _secret(settings)
            methods = self._discovered().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
            if "client_secret_basic" in methods:
                headers["Authorization"] = _basic(settings.client_id, secret)
            else:
                form["client_secret"] = secret
        answer = self._web.ask("POST", url, headers, urlencode(form).encode())
        told = _object(answer, url)
        id_token, access_token = told.get("id_token"), told.get("access_token", "")
        if not isinstance(id_token, str):
            raise OpenIdRefused("The provider gives no ID token: look at the client there.")
        return id_token, access_token if isinstance(access_token, str) else ""

    def keys(self) -> list[dict[str, Any]]:
        """Return the provider's keys as they are now, so that one taken back is good for nothing; raises Failure."""
        url = self.endpoint("jwks_uri")
        keys = _object(self._web.ask("GET", url, _JSON), url).get("keys")
        return [each for each in keys if isinstance(each, dict)] if isinstance(keys, list) else []

    def told_by_userinfo(self, access_token: str, subject: str) -> dict[str, Any]:
        """Return what the provider says of somebody beside the ID token; empty if it says nothing; raises Failure."""
        url = self._discovered().get("userinfo_endpoint")
        if not isinstance(url, str) or not is_protected(url) or not access_token.isascii() or not access_token:
            return {}
        told = _object(self._web.ask("GET", url, {**_JSON, "Authorization": f"Bearer {access_token}"}), url)
        if told.get("sub") != subject:  # Core 5.3.4
            raise OpenIdRefused("The provider's userinfo is about somebody else.")
        return told

    def _discovered(self) -> Mapping[str, Any]:
        with self._lock:
            if self._clock() >= self._until:
                self._discover()
            if self._fault is not None:
                raise type(self._fault)(str(self._fault))
            return self._known

    def _discover(self) -> None:
        issuer = self._settings.issuer
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            known = _object(self._web.ask("GET", url, _JSON), url)
            if known.get("issuer") != issuer:  # Discovery 4.3
                raise OpenIdRefused("The provider calls itself otherwise: correct issuer of [admin.openid].")
        except Failure as error:
            self._fault, self._until = error, self._clock() + _PAUSE_SECONDS
        else:
            self._known, self._fault, self._until = known, None, self._clock() + _KEPT_SECONDS


def _object(answer: Answer, url: str) -> dict[str, Any]:
    """Return the JSON object that a provider answered; what it says in an error is not repeated."""
    if answer.status != _OK:
        if answer.status in range(400, 500):
            raise OpenIdRefused(f"{named(url)} answers {answer.status}: look at [admin.openid] and the client there.")
        raise PeerUnreachable(f"{named(url)} answers {answer.status}")
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise PeerUnreachable(f"{named(url)} does not answer as an OpenID provider: check issuer of [admin.openid]")
    return told


def _basic(client_id: str, secret: str) -> str:
    """RFC 6749 2.3.1: ID and secret are form-encoded first."""
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def _secret(settings: OpenIdSettings) -> str:
    path = settings.client_secret_file
    try:
        text = "" if path is None else path.read_text(encoding="utf-8")[:_LONGEST_SECRET].strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text:
        raise OpenIdRefused("The node has no client secret: correct client_secret_file of [admin.openid].")
    return text
