"""An OpenID provider asked who somebody is: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636).

What begins in a browser is remembered by that browser alone, as a secret in a cookie: state, nonce and code verifier
are derived from it, so nothing is kept here for log-ins that never come back.
"""

import hashlib
import hmac
import secrets
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from dicom_node.admin.id_token import OpenIdRefused, Wanted, checked_claims
from dicom_node.admin.openid_provider import Provider
from dicom_node.ledger import AccountRole
from dicom_node.settings import OpenIdSettings

#: How long somebody may take to log in at the provider.
LONGEST_SECONDS: Final = 600
_SECRET_BYTES: Final = 32
_NEVER_BEGUN: Final = "The log-in took too long, or began in another window. Try again."
#: RFC 6749 4.1.2.1, OpenID Connect Core 3.1.2.6; nothing else that comes by an address is repeated.
_ERRORS: Final = {
    "access_denied": "it was refused there",
    "login_required": "nobody logged in there",
    "interaction_required": "nobody logged in there",
    "consent_required": "consent was not given there",
    "server_error": "it has an error of its own",
    "temporarily_unavailable": "it is busy",
    "invalid_scope": "it does not know a scope: correct scopes of [admin.openid]",
    "unauthorized_client": "it does not let this node ask: look at the client there",
}


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody whom the provider knows and a group of whom has a role here.

    Parameters
    ----------
    digest : str
        SHA-256 over issuer and subject, in hexadecimal digits: the same person at every log-in, whatever the name.
    """

    digest: str
    name: str
    role: AccountRole


class OpenId:
    """Log-ins by an OpenID provider.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: OpenIdSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._clock = clock
        self._provider = Provider(settings, clock)
        self._key = secrets.token_bytes(_SECRET_BYTES)
        self._places = threading.BoundedSemaphore(4)  # waiting for a provider must not take all threads of the pages

    def begin(self) -> tuple[str, str]:
        """Return what the browser is to remember, and where it is to go; raises Failure."""
        remembered = f"{int(self._clock())}.{secrets.token_urlsafe(_SECRET_BYTES)}"
        with self._place():
            target = self._provider.endpoint("authorization_endpoint")
        challenge = hashlib.sha256(self._derived("verifier", remembered).encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect_url,
            "scope": " ".join(self.settings.scopes),
            "state": self._derived("state", remembered),
            "nonce": self._derived("nonce", remembered),
            "code_challenge": _unpadded(challenge),
            "code_challenge_method": "S256",
        }
        return remembered, _asking(target, asked)

    def come_back(self, remembered: str, told: Mapping[str, str]) -> Known:
        """Return who came back from the provider, by what their browser remembered and brings along.

        Raises
        ------
        OpenIdRefused
            If they are not let in; the text says why.
        PeerUnreachable, TlsUnusable
            If the provider cannot be asked.
        """
        self._require_begun(remembered, told.get("state", ""))
        # RFC 9207: the answer of another provider is none
        if told.get("iss", self.settings.issuer) != self.settings.issuer:
            raise OpenIdRefused("The answer comes from another provider.")
        if "error" in told:
            reason = _ERRORS.get(told["error"], "it says that the question was wrong: look at the client there")
            raise OpenIdRefused(f"The provider did not log you in: {reason}.")
        with self._place():
            id_token, access_token = self._provider.tokens(
                told.get("code", ""), self._derived("verifier", remembered)
            )
            wanted = Wanted(
                self.settings.issuer, self.settings.client_id, self._derived("nonce", remembered), self._clock()
            )
            claims = checked_claims(id_token, self._provider.keys(), wanted)
            if _found(claims, self.settings.groups_claim) is None:
                claims = self._provider.told_by_userinfo(access_token, claims["sub"]) | claims
        return self._known(claims)

    def log_out_url(self) -> str | None:
        """Return where somebody who logged out here logs out at the provider; None for nowhere; raises Failure."""
        if not self.settings.log_out_there:
            return None
        with self._place():
            target = self._provider.endpoint("end_session_endpoint")
        asked = {
            "client_id": self.settings.client_id,
            "post_logout_redirect_uri": f"{self.settings.pages_url}/login",
        }
        return _asking(target, asked)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Take one of a few places to wait for the provider; who finds none is told so at once."""
        if not self._places.acquire(blocking=False):
            raise OpenIdRefused("Many log in just now. Try again in a moment.")
        try:
            yield
        finally:
            self._places.release()

    def _derived(self, use: str, remembered: str) -> str:
        """Return 256 bits that only who remembers, and this node, can know."""
        return _unpadded(hmac.new(self._key, f"{use}.{remembered}".encode(), hashlib.sha256).digest())

    def _require_begun(self, remembered: str, state: str) -> None:
        begun = remembered.partition(".")[0]
        is_ours = hmac.compare_digest(self._derived("state", remembered).encode(), state.encode())
        if not is_ours or not begun.isdecimal() or self._clock() - int(begun) > LONGEST_SECONDS:
            raise OpenIdRefused(_NEVER_BEGUN)

    def _known(self, claims: Mapping[str, Any]) -> Known:
        settings = self.settings
        name, groups = _found(claims, settings.name_claim), _found(claims, settings.groups_claim)
        if not isinstance(name, str) or not name:
            raise OpenIdRefused(f"The provider does not say your name: it gives no claim {settings.name_claim}.")
        known = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        roles = {AccountRole(settings.roles[each]) for each in known if each in settings.roles}
        if not roles:
            raise OpenIdRefused(
                f"{name}: none of your groups has a role here. Ask the administrator of the node, who maps groups"
                " to roles in [admin.openid.roles] of node.toml.",
                name,
            )
        digest = hashlib.sha256(f"{settings.issuer}\0{claims['sub']}".encode()).hexdigest()
        return Known(digest, name, max(roles, key=list(AccountRole).index))


def _asking(target: str, asked: Mapping[str, str]) -> str:
    return f"{target}{'&' if '?' in target else '?'}{urlencode(asked)}"


def _unpadded(value: bytes) -> str:
    """Return bytes as base64url without its padding (RFC 7636 3)."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _found(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its whole name, or by the way through objects that dots give; None if there is none."""
    if name in claims:
        return claims[name]
    first, dot, rest = name.partition(".")
    inner = claims.get(first)
    return _found(inner, rest) if dot and isinstance(inner, dict) else None
