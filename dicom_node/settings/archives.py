"""`[[archive]]`: one system that studies may be fetched from, by DICOM or by DICOMweb. Secrets stand in files."""

from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from dicom_node.settings.connections import Address, Auth, ClientTlsSettings, WebConnection, require_protected
from dicom_node.settings.values import AeTitleText, Name, Port, Section, Timeout


class Retrieve(StrEnum):
    """By which service objects come (PS3.4 C.4.2, C.4.3)."""

    AUTO = "auto"  # C-GET; C-MOVE where the archive offers no C-GET
    GET = "C-GET"
    MOVE = "C-MOVE"


def _service(value: str) -> str:
    if urlsplit(value).query:
        raise ValueError("has a part after '?', which no service has")
    return value.rstrip("/")


class Archive(Section):
    """`[[archive]]`: by ae_title, host and port (DICOM), or by the url of a DICOMweb service (PS3.18)."""

    name: Name
    ae_title: AeTitleText | None = None
    host: Name | None = None
    port: Port | None = None
    calling_ae_title: AeTitleText | None = None
    retrieve: Retrieve = Retrieve.AUTO
    sends_as: AeTitleText | None = None
    url: Annotated[Address, AfterValidator(_service)] | None = None
    auth: Auth | None = None
    proxy: Address | None = None
    tls: ClientTlsSettings | None = None
    timeout_seconds: Timeout = 60

    @model_validator(mode="after")
    def _one_protocol(self) -> Self:
        given = [self.ae_title, self.host, self.port]
        if self.url is None:
            if None in given:
                raise ValueError("needs ae_title, host and port (DICOM), or url (DICOMweb)")
            if self.auth is not None or self.proxy is not None:
                what = "[archive.auth]" if self.auth is not None else "proxy"
                raise ValueError(f"has {what}, which only a DICOMweb service takes: give its url")
        elif given != [None] * len(given) or self.calling_ae_title is not None or self.sends_as is not None:
            raise ValueError("has a url and DICOM keys (ae_title, host, port ...): give one or the other")
        return self

    @model_validator(mode="after")
    def _secrets_are_protected(self) -> Self:
        if self.url is not None:
            require_protected("archive", self.url, self.auth, self.tls)
        return self

    @property
    def web(self) -> WebConnection | None:
        """How its DICOMweb service is reached; None if it speaks DICOM."""
        if self.url is None:
            return None
        return WebConnection("archive", self.name, self.url, self.timeout_seconds, self.auth, self.proxy, self.tls)
