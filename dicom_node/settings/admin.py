"""`[admin]`: the pages and the JSON API, who may reach them and for how long a log-in holds."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Strict, model_validator

from dicom_node.settings.openid import OpenIdSettings
from dicom_node.settings.values import AddressText, Flag, Port, Section, between, listening_address


def _root_path(value: str) -> str:
    if value and (not value.startswith("/") or value.endswith("/")):
        raise ValueError(f"{value!r} must begin with / and not end with it (such as /dicom-node), or be empty")
    return value


class AdminTlsSettings(Section):
    """`[admin.tls]`: the pages over HTTPS, with a certificate of the hospital's own."""

    certificate: Path
    private_key: Path


class AlertSettings(Section):
    """`[admin.alerts]`: who is told of what; without an address nobody is."""

    email_to: tuple[str, ...] = ()
    email_from: str = "dicom-node@localhost"
    smtp_host: str = "127.0.0.1"
    smtp_port: Port = 25
    smtp_starttls: Flag = False
    smtp_user: str = ""
    smtp_password_file: Path | None = None
    webhook: str = ""
    destination_down_minutes: Annotated[float, Strict(), between(0, 10080)] = 10
    queue_age_minutes: Annotated[float, Strict(), between(0, 10080)] = 60
    pipeline_failures: Annotated[int, Strict(), between(1, 1000)] = 3
    silent_senders: Flag = True


class AuditSettings(Section):
    """`[admin.audit]`: who gets the audit trail as DICOM audit messages; without a host nobody does."""

    host: str = ""
    port: Port = 6514
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    check_host_name: Flag = True


class AdminSettings(Section):
    """`[admin]`: pages, JSON API, health and metrics."""

    enabled: Flag = True
    address: Annotated[str, AfterValidator(listening_address)] = "127.0.0.1"
    port: Port = 8480
    root_path: Annotated[str, AfterValidator(_root_path)] = ""
    trusted_proxies: tuple[AddressText, ...] = ()
    idle_minutes: Annotated[float, Strict(), between(1, 1440)] = 30
    session_hours: Annotated[float, Strict(), between(0.1, 720)] = 12
    lock_after: Annotated[int, Strict(), between(1, 100)] = 5
    lock_minutes: Annotated[float, Strict(), between(0.1, 1440)] = 15
    tls: AdminTlsSettings | None = None
    alerts: AlertSettings = AlertSettings()
    audit: AuditSettings = AuditSettings()
    openid: OpenIdSettings | None = None

    @model_validator(mode="after")
    def _browsers_come_back_to_the_pages(self) -> Self:
        if self.openid is not None and urlsplit(self.openid.pages_url).path != self.root_path:
            path = self.root_path or "no path"
            raise ValueError(f"has an openid.redirect_url with another path than root_path ({path})")
        return self
