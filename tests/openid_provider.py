"""A small OpenID provider on loopback, with real keys and real HTTP, that lies as it is told."""

import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import urllib3
from joserfc import jwk, jwt

from tests.web_server import Reply, Request, Server

CLIENT_ID: Final = "dicom node"
SECRET: Final = "s3cret: with / signs"  # noqa: S105 - of a provider in tests
_JSON: Final = {"Content-Type": "application/json"}


@dataclass
class Lies:
    """What the provider does wrong.

    Parameters
    ----------
    claims : mapping
        Put into the ID token over what is right; None takes a claim out.
    key : Key or None
        Signs instead of the provider's own.
    unsigned : bool
        Algorithm "none" (RFC 7518 3.6).
    public_as_secret : bool
        Algorithm "HS256", with the public key in PEM as the secret.
    """

    claims: dict[str, Any] = field(default_factory=dict)
    key: jwk.Key | None = None
    unsigned: bool = False
    public_as_secret: bool = False
    issuer: str = ""
    userinfo: dict[str, Any] | None = None
    token_status: int = 200


class OpenIdProvider:
    """Serves discovery, authorization, tokens, keys and userinfo; everybody is logged in already."""

    def __init__(
        self, clock: Callable[[], float], key: jwk.Key, algorithm: str, context: ssl.SSLContext | None
    ) -> None:
        self._server = Server(context)
        self._server.answering = self._answer
        self._clock = clock
        self._key = key
        self._algorithm = algorithm
        self.person: dict[str, Any] = {"sub": "1", "preferred_username": "ada", "groups": ["radiologists"]}
        self.lies = Lies()
        self.codes: dict[str, dict[str, str]] = {}

    @property
    def issuer(self) -> str:
        return f"{self._server.url}/realms/clinic"

    @property
    def requests(self) -> list[Request]:
        return self._server.requests

    def stop(self) -> None:
        self._server.stop()

    def _answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        match parts.path.removeprefix("/realms/clinic"):
            case "/.well-known/openid-configuration":
                return _told(self._discovery())
            case "/authorize":
                return self._authorize(dict(parse_qsl(parts.query)))
            case "/token":
                return self._token(request)
            case "/keys":
                own = self._key.as_dict(private=False)
                strange = {"kty": "EC", "crv": "nobody's", "x": "AA", "y": "AA", "kid": "odd"}
                return _told({"keys": [strange, own | {"kid": "now", "use": "sig"}]})
            case "/userinfo":
                return _told(self.lies.userinfo or {"sub": self.person["sub"]})
        return Reply(404)

    def _discovery(self) -> dict[str, Any]:
        ways = {
            name: f"{self.issuer}/{path}"
            for name, path in (
                ("authorization_endpoint", "authorize"),
                ("token_endpoint", "token"),
                ("jwks_uri", "keys"),
                ("userinfo_endpoint", "userinfo"),
                ("end_session_endpoint", "logout"),
            )
        }
        return {"issuer": self.lies.issuer or self.issuer, **ways}

    def _authorize(self, asked: dict[str, str]) -> Reply:
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        told = {"code": code, "state": asked["state"], "iss": self.issuer}
        return Reply(302, {"Location": f"{asked['redirect_uri']}?{urlencode(told)}"}, b"")

    def _token(self, request: Request) -> Reply:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        asked = self.codes.pop(form["code"], None)  # a code is good once
        if asked is None or self.lies.token_status != 200:
            return _told({"error": "invalid_grant"}, self.lies.token_status if asked else 400)
        user, _, password = (
            base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
        )
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        assert (unquote_plus(user), unquote_plus(password)) == (CLIENT_ID, SECRET)
        assert (asked["code_challenge"], asked["code_challenge_method"]) == (challenge.decode(), "S256")
        assert form["redirect_uri"] == asked["redirect_uri"]
        token = self._signed(asked["nonce"])
        return _told({"id_token": token, "access_token": "opaque", "token_type": "Bearer"})

    def _signed(self, nonce: str) -> str:
        now = int(self._clock())
        right = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce, **self.person}
        claims = {name: value for name, value in (right | self.lies.claims).items() if value is not None}
        if self.lies.unsigned:
            return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}."
        if self.lies.public_as_secret:
            text = f"{_part({'alg': 'HS256', 'kid': 'now'})}.{_part(claims)}"
            return f"{text}.{_text(hmac.digest(self._key.as_pem(private=False), text.encode(), 'sha256'))}"
        key = self.lies.key or self._key
        return jwt.encode({"alg": self._algorithm, "kid": "now"}, claims, key, algorithms=[self._algorithm])


def _part(value: dict[str, Any]) -> str:
    return _text(json.dumps(value).encode())


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _told(value: dict[str, Any], status: int = 200) -> Reply:
    return Reply(status, _JSON, json.dumps(value).encode())


@contextmanager
def openid_provider(
    clock: Callable[[], float], *, key: jwk.Key, algorithm: str = "RS256", context: ssl.SSLContext | None = None
) -> Iterator[OpenIdProvider]:
    """Give a provider that runs."""
    provider = OpenIdProvider(clock, key, algorithm, context)
    try:
        yield provider
    finally:
        provider.stop()


def at_the_provider(target: str, **how: Any) -> str:
    """Return where the provider sends a browser that the node sent to it."""
    with urllib3.PoolManager(**how) as pool:
        return str(pool.request("GET", target, redirect=False).headers["location"])
