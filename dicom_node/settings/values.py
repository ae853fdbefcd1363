"""What a key of `node.toml` can hold: checked types, and the section that knows its keys."""

import ipaddress
import re
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Strict

from dicom_node.entities import AETitle

#: A pipeline's setting; the same types as `contract.SettingValue`.
SettingValue = str | int | float | bool
ANY: Final = "*"


def between(low: float, high: float) -> AfterValidator:
    """Return the check of a number; both limits are allowed."""

    def check(value: float) -> float:
        if not low <= value <= high:  # also catches nan
            raise ValueError(f"{value!r} is not {low}..{high}")
        return value

    return AfterValidator(check)


def _ae_title(value: str) -> str:
    return AETitle(value).value


def _address(value: str) -> str:
    if value == ANY:
        return value
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f'{value!r} is not an IP address, a network such as 10.1.0.0/16, or "*"') from None
    if "/" in value and str(network.network_address) != str(ipaddress.ip_interface(value).ip):
        raise ValueError(f"{value!r} is one address with the size of a network; did you mean {str(network)!r}?")
    return value


def listening_address(value: str) -> str:
    """Return an IP address; raises ValueError."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address (127.0.0.1: this computer only; 0.0.0.0: any)") from None
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return a list that holds something; raises ValueError."""
    if not value:
        raise ValueError("is empty; give at least one")
    return value


def plain_value(value: object) -> object:
    """Return text, a number, true or false; raises ValueError."""
    if not isinstance(value, str | int | float | bool):
        raise ValueError("must be text, a number, true or false")  # noqa: TRY004 - pydantic collects ValueError
    return value


def _certificate_name(value: str) -> str:
    if value.startswith("CN=") and value != "CN=":
        return value
    digits = re.sub(r"[:\s]", "", value).lower().removeprefix("sha256")
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise ValueError(f'{value!r} is neither "sha256:" and 64 hexadecimal digits nor "CN=" and a common name')
    return f"sha256:{digits}"


def _zone(value: str) -> str:
    try:
        return value and ZoneInfo(value).key
    except (ValueError, OSError, KeyError):  # an unknown zone is a KeyError
        raise ValueError(f"{value!r} is not a time zone such as 'Europe/Berlin'") from None


ZoneName = Annotated[str, AfterValidator(_zone)]
Name = Annotated[str, AfterValidator(_not_blank)]
CertificateName = Annotated[str, AfterValidator(_certificate_name)]
AeTitleText = Annotated[str, AfterValidator(_ae_title)]
AnyOrAeTitle = Annotated[str, AfterValidator(lambda value: value if value == ANY else _ae_title(value))]
AddressText = Annotated[str, AfterValidator(_address)]
Flag = Annotated[bool, Strict()]
Port = Annotated[int, Strict(), between(1, 65535)]
Seconds = Annotated[float, Strict(), between(0, 86400)]
Timeout = Annotated[float, Strict(), between(0.1, 86400)]
Count = Annotated[int, Strict(), between(1, 4096)]


class Section(BaseModel):
    """One table of the file: frozen, and every key is known."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True)
