"""ID tokens checked (OpenID Connect Core 3.1.3.7): signature, issuer, audience, time, nonce; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwk, jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError

from dicom_node.errors import Failure

#: Signatures by a key that only the provider has: "none", and those by a secret that both know, are none.
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
    *("Ed25519", "EdDSA"),
)
_KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})
#: What clocks may differ.
_LEEWAY_SECONDS: Final = 60
_MOST_KEYS: Final = 50
#: What joserfc raises for keys and tokens that are none, or of a kind that it does not know.
_UNUSABLE: Final = (JoseError, ValueError, TypeError, LookupError)


class OpenIdRefused(Failure):
    """Somebody is not let in by the OpenID provider's word; the text says why, and may be shown to them.

    Parameters
    ----------
    name : str
        Whom the provider named, where it could be believed.
    """

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name = name

    @property
    def reason(self) -> str:
        """The text's first sentence, for the audit trail."""
        return str(self).partition(". ")[0].rstrip(".")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token must say; `now` in UTC seconds."""

    issuer: str
    client_id: str
    nonce: str
    now: float


def checked_claims(token: str, keys: Sequence[Mapping[str, Any]], wanted: Wanted) -> dict[str, Any]:
    """Return the claims of an ID token; raises OpenIdRefused, never quoting the token.

    Parameters
    ----------
    keys : sequence of mapping
        The provider's keys (RFC 7517).
    """
    claims = _signed_claims(token, keys)
    rules = jwt.JWTClaimsRegistry(
        now=int(wanted.now),
        leeway=_LEEWAY_SECONDS,
        iss={"essential": True, "value": wanted.issuer},
        aud={"essential": True, "value": wanted.client_id},
        nonce={"essential": True, "value": wanted.nonce},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        rules.validate(claims)
    except ExpiredTokenError as error:
        raise OpenIdRefused("The provider's token is over. Try again; compare the clocks if it stays so.") from error
    except ClaimError as error:
        raise OpenIdRefused(f"The provider's token is not for this log-in: {error.claim} is wrong.") from error
    for_others = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if for_others else wanted.client_id) != wanted.client_id:
        raise OpenIdRefused("The provider's token is not for this log-in: azp is wrong.")
    return claims


def _signed_claims(token: str, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    for key in _usable(keys[:_MOST_KEYS]):
        try:
            return dict(jwt.decode(token, key, algorithms=ALGORITHMS).claims)
        except _UNUSABLE:
            continue  # another of its keys may have signed it: keys are changed while they are in use
    raise OpenIdRefused("The provider's token is not signed with a key of the provider.")


def _usable(keys: Sequence[Mapping[str, Any]]) -> Iterator[jwk.Key]:
    for each in keys:
        if each.get("kty") in _KEY_TYPES and each.get("use", "sig") == "sig":
            try:
                yield jwk.import_key(dict(each))
            except _UNUSABLE:
                continue  # a curve that we do not know is somebody else's
