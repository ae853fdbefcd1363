"""What `node.toml` can say: frozen values, their defaults, and what is allowed. Times are in seconds."""

import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Strict,
    model_validator,
)

from dicom_node.entities import AETitle, SameUidPolicy

#: A pipeline's setting; the same types as `contract.SettingValue`.
SettingValue = str | int | float | bool
ANY: Final = "*"


def _between(low: float, high: float) -> AfterValidator:
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


def _listening_address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address (127.0.0.1: this computer only; 0.0.0.0: any)") from None
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("is empty; give at least one")
    return value


def _plain_value(value: object) -> object:
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


Name = Annotated[str, AfterValidator(_not_blank)]
CertificateName = Annotated[str, AfterValidator(_certificate_name)]
AeTitleText = Annotated[str, AfterValidator(_ae_title)]
AnyOrAeTitle = Annotated[str, AfterValidator(lambda value: value if value == ANY else _ae_title(value))]
AddressText = Annotated[str, AfterValidator(_address)]
Flag = Annotated[bool, Strict()]
Port = Annotated[int, Strict(), _between(1, 65535)]
Seconds = Annotated[float, Strict(), _between(0, 86400)]
Timeout = Annotated[float, Strict(), _between(0.1, 86400)]
Count = Annotated[int, Strict(), _between(1, 4096)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True)


class NodeSettings(_Section):
    """`[node]`: who this node is, and where it keeps what it receives."""

    name: Name = "node1"
    ae_title: AeTitleText = "DICOM_NODE"
    data: Path = Path("../var/node")
    rules: Path = Path("rules.toml")
    tick_seconds: Annotated[float, Strict(), _between(0.01, 60)] = 0.1


class Engine(StrEnum):
    """What carries associations in."""

    FAST = "fast"  # our own upper layer; pynetdicom where more than storage and verification is proposed
    PYNETDICOM = "pynetdicom"  # always pynetdicom


class TlsSettings(_Section):
    """`[reception.tls]`: DICOM over TLS (PS3.15 B.12) on a port of its own, beside the plain one or alone."""

    certificate: Path
    private_key: Path
    port: Port = 2762
    client_ca: Path | None = None
    require_client_certificate: Flag = False
    only: Flag = False

    @model_validator(mode="after")
    def _required_means_verified(self) -> Self:
        if self.require_client_certificate and self.client_ca is None:
            raise ValueError("require_client_certificate needs client_ca: whose certificates are good?")
        return self


class ReceptionSettings(_Section):
    """`[reception]`: associations in. `maximum_pdu` is in bytes, 0 for no limit (PS3.8 D.1)."""

    address: Annotated[str, AfterValidator(_listening_address)] = "127.0.0.1"
    port: Port = 11112
    called_ae_titles: tuple[AeTitleText, ...] = ()
    maximum_associations: Count = 64
    maximum_associations_per_caller: Count = 32
    maximum_pdu: Annotated[int, Strict(), _between(0, 2**32 - 1)] = 131072
    acse_timeout_seconds: Timeout = 30
    dimse_timeout_seconds: Timeout = 60
    network_timeout_seconds: Timeout = 120
    slowest_bytes_per_second: Annotated[int, Strict(), _between(0, 2**30)] = 1000
    maximum_mib_in_flight: Annotated[int, Strict(), _between(1, 2**24)] = 16384
    maximum_mib_in_flight_per_caller: Annotated[int, Strict(), _between(1, 2**24)] = 8192
    processes: Annotated[int, Strict(), _between(0, 64)] = 2
    engine: Engine = Engine.FAST
    journal_mib: Annotated[int, Strict(), _between(0, 2**16)] = 64
    free_space_floor_mib: Annotated[int, Strict(), _between(0, 2**40)] = 2048
    same_uid_other_bytes: SameUidPolicy = SameUidPolicy.KEEP_FIRST
    tls: TlsSettings | None = None


class CompletionSettings(_Section):
    """`[completion]`: when a study counts as whole."""

    quiet_seconds: Seconds = 30
    release_grace_seconds: Seconds = 5


class Source(_Section):
    """`[[source]]`: one system that may send here; `"*"` stands for any AE title or address.

    Its storage commitment reports go to `commitment_host`, where it does not wait for them on its association.
    """

    name: Name
    ae_titles: Annotated[tuple[AnyOrAeTitle, ...], AfterValidator(_not_empty)]
    addresses: Annotated[tuple[AddressText, ...], AfterValidator(_not_empty)]
    certificates: tuple[CertificateName, ...] = ()
    commitment_host: Name | None = None
    commitment_port: Port = 104

    def is_proved_by(self, certificates: frozenset[str]) -> bool:
        """Return whether a connection is this source's: any, unless it has certificates of its own."""
        return not self.certificates or bool(certificates & set(self.certificates))

    def is_called(self, ae_title: str) -> bool:
        """Return whether an AE title is one of this source's."""
        return any(title in (ANY, ae_title) for title in self.ae_titles)

    def is_at(self, address: str) -> bool:
        """Return whether an IP address is one of this source's."""
        caller = ipaddress.ip_address(address)
        # an IPv4 caller of an IPv6 socket appears as ::ffff:10.0.0.1
        caller = getattr(caller, "ipv4_mapped", None) or caller
        return any(each == ANY or caller in ipaddress.ip_network(each, strict=False) for each in self.addresses)


class Destination(_Section):
    """`[[destination]]`: one system that results may be sent to; `empty_frames` sends empty SEG frames too."""

    name: Name
    ae_title: AeTitleText
    host: Name
    port: Port
    calling_ae_title: AeTitleText | None = None
    empty_frames: Flag = False
    timeout_seconds: Timeout = 30


class DeliverySettings(_Section):
    """`[delivery]`: how long a destination that does not answer is waited for."""

    first_wait_seconds: Timeout = 30
    longest_wait_seconds: Timeout = 3600
    give_up_days: Annotated[float, Strict(), _between(0, 3650)] = 7
    echo_seconds: Timeout = 30

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.longest_wait_seconds < self.first_wait_seconds:
            raise ValueError("longest_wait_seconds must not be shorter than first_wait_seconds")
        return self


class ComputeSettings(_Section):
    """`[compute]`: worker processes; `threads_per_job` 0 shares the cores, `scheduler` names a Dask cluster."""

    workers: Count = 1
    threads_per_job: Annotated[int, Strict(), _between(0, 4096)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    time_limit_seconds: Annotated[float, Strict(), _between(1, 7 * 86400)] = 900
    memory_limit_mib: Annotated[int, Strict(), _between(256, 2**30)] = 8192
    attempts: Annotated[int, Strict(), _between(1, 100)] = 3
    retry_wait_seconds: Seconds = 10
    scheduler: str = ""


class ResultSettings(_Section):
    """`[results]`: what every result carries."""

    series_number_base: Annotated[int, Strict(), _between(1, 2**31 - 1001)] = 9000
    notice: str = "Not a medical device. For research and evaluation only."


class LogSettings(_Section):
    """`[log]`: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class LedgerSettings(_Section):
    """`[ledger]`: an SQLAlchemy URL; empty for SQLite in the node's data folder."""

    url: str = ""


class Settings(_Section):
    """All of `node.toml`; `sources` and `destinations` are its `[[source]]` and `[[destination]]` tables."""

    node: NodeSettings = NodeSettings()
    reception: ReceptionSettings = ReceptionSettings()
    completion: CompletionSettings = CompletionSettings()
    sources: tuple[Source, ...] = ()
    destinations: tuple[Destination, ...] = ()
    delivery: DeliverySettings = DeliverySettings()
    compute: ComputeSettings = ComputeSettings()
    results: ResultSettings = ResultSettings()
    log: LogSettings = LogSettings()
    ledger: LedgerSettings = LedgerSettings()
    pipelines: Mapping[str, Mapping[str, Annotated[SettingValue, BeforeValidator(_plain_value)]]] = {}
