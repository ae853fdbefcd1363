"""Associations in: admission, C-ECHO, C-STORE, storage commitment. 0x0000: bytes and row are on disk."""

from dicom_node.storage_scp.commitment import CommitmentDesk
from dicom_node.storage_scp.processes import ReceiverProcesses, Setup
from dicom_node.storage_scp.reception import Arrivals
from dicom_node.storage_scp.server import StorageSCP

__all__ = ["Arrivals", "CommitmentDesk", "ReceiverProcesses", "Setup", "StorageSCP"]
