"""`node.toml` as one frozen value; unknown keys fail, and every fault is listed at once with file and line.

Times are in seconds unless a name says otherwise. AE titles are VR AE (PS3.5 6.2).
"""

from dicom_node.settings.loading import load_settings, parse_settings
from dicom_node.settings.model import (
    ANY,
    CompletionSettings,
    ComputeSettings,
    DeliverySettings,
    Destination,
    Engine,
    LedgerSettings,
    LogSettings,
    NodeSettings,
    ReceptionSettings,
    ResultSettings,
    Settings,
    SettingValue,
    Source,
    TlsSettings,
)

__all__ = [
    "ANY",
    "CompletionSettings",
    "ComputeSettings",
    "DeliverySettings",
    "Destination",
    "Engine",
    "LedgerSettings",
    "LogSettings",
    "NodeSettings",
    "ReceptionSettings",
    "ResultSettings",
    "SettingValue",
    "Settings",
    "Source",
    "TlsSettings",
    "load_settings",
    "parse_settings",
]
