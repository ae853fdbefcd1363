"""`[admin.openid]`: logging in to the pages with the hospital's own accounts, by OpenID Connect."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from dicom_node.settings.connections import Address, ClientTlsSettings, ProtectedAddress
from dicom_node.settings.values import Flag, Name, Section, Timeout, not_empty

#: Where the provider sends a browser back to, below the pages' own address.
RETURN_PATH: Final = "/login/openid/back"
#: What a group can be given; the same words as `ledger.AccountRole`.
RoleName = Literal["viewer", "operator", "administrator"]


def _issuer(value: str) -> str:
    if "?" in value:
        raise ValueError("has a part after '?', which an issuer has not (OpenID Connect Discovery 3)")
    return value


def _returning(value: str) -> str:
    if not value.endswith(RETURN_PATH) or "?" in value:
        raise ValueError(f"must be the address of the pages, followed by {RETURN_PATH}")
    return value


def _scopes(value: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in value or any(not scope or " " in scope for scope in value):
        raise ValueError('must be a list of single words, among them "openid"')
    return value


def _some_roles(value: Mapping[str, RoleName]) -> Mapping[str, RoleName]:
    not_empty(tuple(value))
    return value


class OpenIdSettings(Section):
    """`[admin.openid]`: an OpenID provider, and which role its groups have here.

    Parameters
    ----------
    redirect_url : str
        Where the provider sends browsers back to; the provider must know it, letter by letter.
    groups_claim : str
        The claim that holds somebody's groups; dots lead into objects ("realm_access.roles").
    roles : mapping of str to str
        Group to role; who is in several has the one that may do most, who is in none is not let in.
    password_log_in : bool
        Whether accounts of the node's own may log in as well.
    log_out_there : bool
        Whether who logs out here is taken to the provider to log out there too.
    """

    issuer: Annotated[ProtectedAddress, AfterValidator(_issuer)]
    client_id: Name
    client_secret_file: Path | None = None
    redirect_url: Annotated[ProtectedAddress, AfterValidator(_returning)]
    scopes: Annotated[tuple[str, ...], AfterValidator(_scopes)] = ("openid", "profile")
    groups_claim: Name = "groups"
    name_claim: Name = "preferred_username"
    roles: Annotated[Mapping[str, RoleName], AfterValidator(_some_roles)]
    label: Name = "OpenID Connect"
    password_log_in: Flag = True
    log_out_there: Flag = False
    timeout_seconds: Timeout = 10
    proxy: Address | None = None
    tls: ClientTlsSettings | None = None

    @property
    def pages_url(self) -> str:
        """The address of the pages, as browsers have it."""
        return self.redirect_url.removesuffix(RETURN_PATH)
