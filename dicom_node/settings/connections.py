"""What destinations and archives share: addresses, TLS, and how the node says who it is. Secrets stand in files."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Tag, model_validator

from dicom_node.settings.values import Flag, Name, Section


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        well_formed = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed or value != value.strip():
        raise ValueError(f"{_shown(value)!r} is not an address such as https://pacs.example.org/...")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or password: give them in the auth table, the password in a file")
    if parts.fragment:
        raise ValueError(f"{_shown(value)!r} has a part after '#', which no server is sent")
    return value


def _shown(value: str) -> str:
    """Return an address without what may be a secret: before an '@', or after a '?'."""
    return value.rpartition("@")[2].partition("?")[0].partition("#")[0]


def _protected(value: str) -> str:
    if not is_protected(_address(value)):
        raise ValueError(f"{_shown(value)!r} is not https://: what is sent there must stay secret (RFC 6749 3.2)")
    return value


def is_protected(url: str) -> bool:
    """Return whether nobody on a network can read what is sent to an address."""
    parts = urlsplit(url)
    return parts.scheme == "https" or _is_here(parts.hostname or "")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _no_colon(value: str) -> str:
    if ":" in value:
        user = value.partition(":")[0]
        raise ValueError(f"{user!r} is followed by a ':', which HTTP Basic takes for the end of the user")
    return value


Address = Annotated[str, AfterValidator(_address)]
ProtectedAddress = Annotated[str, AfterValidator(_protected)]


class ClientTlsSettings(Section):
    """`[destination.tls]`, `[archive.tls]`: whom the node trusts, and how it proves itself.

    Without `ca`: the CAs of this computer.
    """

    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    check_host_name: Flag = True

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together: give both, or neither")
        return self


class BasicAuth(Section):
    """`[destination.auth]`, `[archive.auth]`: HTTP Basic (RFC 7617)."""

    user: Annotated[Name, AfterValidator(_no_colon)]
    password_file: Path


class OAuth2(Section):
    """`[destination.auth]`, `[archive.auth]`: OAuth 2.0 client credentials (RFC 6749 4.4)."""

    token_url: ProtectedAddress
    client_id: Name
    client_secret_file: Path
    scope: str = ""


class BearerToken(Section):
    """`[destination.auth]`, `[archive.auth]`: a token that somebody else puts into a file (RFC 6750)."""

    token_file: Path


#: The kinds of authentication, told apart by their keys.
AUTHENTICATIONS: Final[Mapping[str, type[Section]]] = {"basic": BasicAuth, "oauth2": OAuth2, "bearer": BearerToken}


def _authentication(value: Any) -> str:
    """Return whose keys a table has; of keys of several kinds OAuth 2.0 and tokens count first."""
    given = set(value) if isinstance(value, Mapping) else set(type(value).model_fields)
    kinds = [kind for kind in ("oauth2", "bearer") if given & set(AUTHENTICATIONS[kind].model_fields)]
    return kinds[0] if kinds else "basic"


AnyAuth = BasicAuth | OAuth2 | BearerToken
Auth = Annotated[
    Annotated[BasicAuth, Tag("basic")] | Annotated[OAuth2, Tag("oauth2")] | Annotated[BearerToken, Tag("bearer")],
    Discriminator(_authentication),
]


@dataclass(frozen=True, slots=True)
class WebConnection:
    """How a DICOMweb service is reached.

    Parameters
    ----------
    table : str
        Which table of `node.toml` says so: "destination" or "archive".
    name : str
        Which one of them.
    """

    table: str
    name: str
    url: str
    timeout_seconds: float
    auth: AnyAuth | None = None
    proxy: str | None = None
    tls: ClientTlsSettings | None = None


def require_protected(table: str, url: str, auth: AnyAuth | None, tls: ClientTlsSettings | None) -> None:
    """Raise ValueError if a token would cross a network in the clear, or TLS is set up for a url without it."""
    if isinstance(auth, OAuth2 | BearerToken) and not is_protected(url):
        raise ValueError("sends a token, but its url is not https:// (RFC 6750 5.3)")
    if tls is not None and urlsplit(url).scheme != "https":
        raise ValueError(f"has [{table}.tls], but its url is not https://")
