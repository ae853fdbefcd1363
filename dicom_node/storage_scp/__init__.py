"""Associations in: admission, C-ECHO, C-STORE. 0x0000 means that bytes and ledger row are both on disk."""

from dicom_node.storage_scp.processes import ReceiverProcesses, Setup
from dicom_node.storage_scp.reception import Arrivals
from dicom_node.storage_scp.server import StorageSCP

__all__ = ["Arrivals", "ReceiverProcesses", "Setup", "StorageSCP"]
