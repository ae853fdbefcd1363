"""`[[destination]]`: one system that results may be sent to, by one of three protocols. Secrets stand in files."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Discriminator, Strict, Tag, model_validator

from dicom_node.settings.connections import Address, Auth, ClientTlsSettings, WebConnection, require_protected
from dicom_node.settings.profiles import DEFAULT_PROFILE
from dicom_node.settings.values import AeTitleText, Name, Port, Section, Timeout, between


class Destination(Section):
    """What every `[[destination]]` has: its name, the profile of what it is sent, and limits. 0: no limit."""

    name: Name
    profile: Name = DEFAULT_PROFILE
    timeout_seconds: Timeout = 30
    maximum_mib_per_second: Annotated[float, Strict(), between(0, 100_000)] = 0


class Confirmation(StrEnum):
    """How a delivery is proven."""

    AUTO = "auto"  # storage commitment; where that is not offered, a query
    COMMITMENT = "commitment"
    QUERY = "query"
    NONE = "none"


class PatientCheck(StrEnum):
    """Whether a destination is asked, before it is sent a result, whose the study is there."""

    REQUIRED = "required"  # it must have the study, under the same patient
    IF_THERE = "if there"  # a study that it does not have is sent to all the same
    OFF = "off"


class ArchiveDestination(Destination):
    """A destination that can be asked what it has."""

    confirm: Confirmation = Confirmation.AUTO
    check_patient: PatientCheck = PatientCheck.REQUIRED


class QueryPeer(Section):
    """`[destination.query]`: who answers queries about a destination's studies, where that is not the destination."""

    ae_title: AeTitleText | None = None
    host: Name | None = None
    port: Port | None = None


class DicomDestination(ArchiveDestination):
    """A PACS that takes C-STORE, over TLS where there is `[destination.tls]`."""

    protocol: Literal["dicom"] = "dicom"
    ae_title: AeTitleText
    host: Name
    port: Port
    calling_ae_title: AeTitleText | None = None
    tls: ClientTlsSettings | None = None
    query: QueryPeer = QueryPeer()


class DicomWebDestination(ArchiveDestination):
    """A server that takes STOW-RS (PS3.18 10.5) and QIDO-RS (10.6); `url` is what objects are posted to."""

    protocol: Literal["dicomweb"]
    url: Address
    auth: Auth | None = None
    proxy: Address | None = None
    tls: ClientTlsSettings | None = None

    @model_validator(mode="after")
    def _proof_is_a_query(self) -> Self:
        if self.confirm is Confirmation.COMMITMENT:
            raise ValueError('has confirm = "commitment", which DICOMweb does not have: write "query"')
        return self

    @model_validator(mode="after")
    def _secrets_are_protected(self) -> Self:
        require_protected("destination", self.url, self.auth, self.tls)
        return self

    @property
    def web(self) -> WebConnection:
        """How its service is reached."""
        return WebConnection(
            "destination", self.name, self.url, self.timeout_seconds, self.auth, self.proxy, self.tls
        )


class FolderDestination(Destination):
    """A folder that exists, such as a share: STUDY/SERIES/INSTANCE.dcm, named by their UIDs."""

    protocol: Literal["folder"]
    path: Path


def _protocol(value: Any) -> str:
    given = value.get("protocol", "dicom") if isinstance(value, Mapping) else getattr(value, "protocol", "dicom")
    return str(given)


#: What `protocol` can be.
PROTOCOLS: Final[Mapping[str, type[Destination]]] = {
    "dicom": DicomDestination,
    "dicomweb": DicomWebDestination,
    "folder": FolderDestination,
}
AnyDestination = Annotated[
    Annotated[DicomDestination, Tag("dicom")]
    | Annotated[DicomWebDestination, Tag("dicomweb")]
    | Annotated[FolderDestination, Tag("folder")],
    Discriminator(_protocol),
]
