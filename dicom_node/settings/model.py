"""What `node.toml` can say: frozen values, their defaults, and what is allowed. Times are in seconds."""

import ipaddress
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Strict, model_validator

from dicom_node.entities import SameUidPolicy
from dicom_node.settings.admin import AdminSettings
from dicom_node.settings.archives import Archive
from dicom_node.settings.destinations import AnyDestination
from dicom_node.settings.profiles import (
    DEFAULT_PROFILE,
    READY,
    Language,
    ResultProfile,
    SeriesNumberBase,
    WarningText,
    known_profiles,
)
from dicom_node.settings.values import (
    ANY,
    AddressText,
    AeTitleText,
    AnyOrAeTitle,
    CertificateName,
    Count,
    Flag,
    Name,
    Port,
    Seconds,
    Section,
    SettingValue,
    Timeout,
    ZoneName,
    between,
    listening_address,
    not_empty,
    plain_value,
)


class NodeSettings(Section):
    """`[node]`: who this node is, and where it keeps what it receives."""

    name: Name = "node1"
    ae_title: AeTitleText = "DICOM_NODE"
    data: Path = Path("../var/node")
    rules: Path = Path("rules.toml")
    tick_seconds: Annotated[float, Strict(), between(0.01, 60)] = 0.1
    time_zone: ZoneName = ""


class Engine(StrEnum):
    """What carries associations in."""

    FAST = "fast"  # our own upper layer; pynetdicom where more than storage and verification is proposed
    PYNETDICOM = "pynetdicom"  # always pynetdicom


class TlsSettings(Section):
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


class ReceptionSettings(Section):
    """`[reception]`: associations in. `maximum_pdu` is in bytes, 0 for no limit (PS3.8 D.1)."""

    address: Annotated[str, AfterValidator(listening_address)] = "127.0.0.1"
    port: Port = 11112
    called_ae_titles: tuple[AeTitleText, ...] = ()
    maximum_associations: Count = 64
    maximum_associations_per_caller: Count = 32
    maximum_pdu: Annotated[int, Strict(), between(0, 2**32 - 1)] = 131072
    acse_timeout_seconds: Timeout = 30
    dimse_timeout_seconds: Timeout = 60
    network_timeout_seconds: Timeout = 120
    slowest_bytes_per_second: Annotated[int, Strict(), between(0, 2**30)] = 1000
    maximum_mib_in_flight: Annotated[int, Strict(), between(1, 2**24)] = 16384
    maximum_mib_in_flight_per_caller: Annotated[int, Strict(), between(1, 2**24)] = 8192
    processes: Annotated[int, Strict(), between(0, 64)] = 2
    engine: Engine = Engine.FAST
    journal_mib: Annotated[int, Strict(), between(0, 2**16)] = 64
    free_space_floor_mib: Annotated[int, Strict(), between(0, 2**40)] = 2048
    same_uid_other_bytes: SameUidPolicy = SameUidPolicy.KEEP_FIRST
    tls: TlsSettings | None = None


class CompletionSettings(Section):
    """`[completion]`: when a study counts as whole; an archive is asked for what is missing, if one is named."""

    quiet_seconds: Seconds = 30
    release_grace_seconds: Seconds = 5
    archive: str = ""
    archive_seconds: Timeout = 120


class Source(Section):
    """`[[source]]`: one system that may send here; `"*"` stands for any AE title or address.

    Its storage commitment reports go to `commitment_host`, where it does not wait for them on its association.
    """

    name: Name
    ae_titles: Annotated[tuple[AnyOrAeTitle, ...], AfterValidator(not_empty)]
    addresses: Annotated[tuple[AddressText, ...], AfterValidator(not_empty)]
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


class DeliverySettings(Section):
    """`[delivery]`: how long a destination that does not answer is waited for."""

    first_wait_seconds: Timeout = 30
    longest_wait_seconds: Timeout = 3600
    give_up_days: Annotated[float, Strict(), between(0, 3650)] = 14
    echo_seconds: Timeout = 30
    confirm_after_seconds: Seconds = 2
    report_seconds: Timeout = 600

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.longest_wait_seconds < self.first_wait_seconds:
            raise ValueError("longest_wait_seconds must not be shorter than first_wait_seconds")
        return self


class ComputeSettings(Section):
    """`[compute]`: worker processes; `threads_per_job` 0 shares the cores, `scheduler` names a Dask cluster."""

    workers: Count = 1
    threads_per_job: Annotated[int, Strict(), between(0, 4096)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    time_limit_seconds: Annotated[float, Strict(), between(1, 7 * 86400)] = 900
    memory_limit_mib: Annotated[int, Strict(), between(256, 2**30)] = 8192
    attempts: Annotated[int, Strict(), between(1, 100)] = 3
    retry_wait_seconds: Seconds = 10
    scheduler: str = ""


class ResultSettings(Section):
    """`[results]`: what every result carries, unless the profile of its destination says otherwise."""

    series_number_base: SeriesNumberBase = 9000
    notice: str = "Not a medical device. For research and evaluation only."
    warning: WarningText = ""
    language: Language = "en"


class LogSettings(Section):
    """`[log]`: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class LedgerSettings(Section):
    """`[ledger]`: an SQLAlchemy URL; empty for SQLite in the node's data folder."""

    url: str = ""


class Settings(Section):
    """All of `node.toml`; its `[[source]]`, `[[destination]]` and other such tables are `sources` and so on."""

    node: NodeSettings = NodeSettings()
    reception: ReceptionSettings = ReceptionSettings()
    completion: CompletionSettings = CompletionSettings()
    sources: tuple[Source, ...] = ()
    destinations: tuple[AnyDestination, ...] = ()
    archives: tuple[Archive, ...] = ()
    profiles: tuple[ResultProfile, ...] = ()
    delivery: DeliverySettings = DeliverySettings()
    compute: ComputeSettings = ComputeSettings()
    results: ResultSettings = ResultSettings()
    admin: AdminSettings = AdminSettings()
    log: LogSettings = LogSettings()
    ledger: LedgerSettings = LedgerSettings()
    pipelines: Mapping[str, Mapping[str, Annotated[SettingValue, BeforeValidator(plain_value)]]] = {}

    @property
    def profile_names(self) -> tuple[str, ...]:
        """Every profile that a destination or a rule may name, those that come with the node first."""
        return (*READY, *(profile.name for profile in self.profiles))

    def profile(self, name: str = DEFAULT_PROFILE) -> ResultProfile:
        """Return a result profile with every value filled in.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        profile = known_profiles(self.profiles)[name]
        missing = [field for field in ResultSettings.model_fields if getattr(profile, field) is None]
        return profile.model_copy(update={field: getattr(self.results, field) for field in missing})
