"""`node.toml` as one frozen value; unknown keys fail, and every fault is listed at once with file and line.

Times are in seconds unless a name says otherwise. AE titles are VR AE (PS3.5 6.2).
"""

from dicom_node.settings.admin import AdminSettings, AdminTlsSettings, AlertSettings, AuditSettings
from dicom_node.settings.archives import Archive, Retrieve
from dicom_node.settings.connections import (
    AnyAuth,
    BasicAuth,
    BearerToken,
    ClientTlsSettings,
    OAuth2,
    WebConnection,
    is_protected,
)
from dicom_node.settings.destinations import (
    ArchiveDestination,
    Confirmation,
    Destination,
    DicomDestination,
    DicomWebDestination,
    FolderDestination,
    PatientCheck,
    QueryPeer,
)
from dicom_node.settings.loading import load_settings, parse_settings, settings_from
from dicom_node.settings.model import (
    CompletionSettings,
    ComputeSettings,
    DeliverySettings,
    Engine,
    LedgerSettings,
    LogSettings,
    NodeSettings,
    ReceptionSettings,
    ResultSettings,
    Settings,
    Source,
    TlsSettings,
)
from dicom_node.settings.openid import RETURN_PATH, OpenIdSettings
from dicom_node.settings.profiles import DEFAULT_PROFILE, READY, Language, NoticeKind, ResultKind, ResultProfile
from dicom_node.settings.values import ANY, SettingValue

__all__ = [
    "ANY",
    "DEFAULT_PROFILE",
    "READY",
    "RETURN_PATH",
    "AdminSettings",
    "AdminTlsSettings",
    "AlertSettings",
    "AnyAuth",
    "Archive",
    "ArchiveDestination",
    "AuditSettings",
    "BasicAuth",
    "BearerToken",
    "ClientTlsSettings",
    "CompletionSettings",
    "ComputeSettings",
    "Confirmation",
    "DeliverySettings",
    "Destination",
    "DicomDestination",
    "DicomWebDestination",
    "Engine",
    "FolderDestination",
    "Language",
    "LedgerSettings",
    "LogSettings",
    "NodeSettings",
    "NoticeKind",
    "OAuth2",
    "OpenIdSettings",
    "PatientCheck",
    "QueryPeer",
    "ReceptionSettings",
    "ResultKind",
    "ResultProfile",
    "ResultSettings",
    "Retrieve",
    "SettingValue",
    "Settings",
    "Source",
    "TlsSettings",
    "WebConnection",
    "is_protected",
    "load_settings",
    "parse_settings",
    "settings_from",
]
