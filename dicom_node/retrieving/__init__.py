"""Studies from archives: what they have (C-FIND, QIDO-RS), and the objects themselves (C-GET, C-MOVE, WADO-RS).

What an archive answers in words is never repeated: it may quote patient data.
"""

from collections.abc import Callable

from dicom_node.dicom_web import Services
from dicom_node.retrieving.archive import Archive, Contents, Match, Progress, Wanted, only_one_value
from dicom_node.retrieving.dicom import DicomArchive
from dicom_node.retrieving.dicom_web import DicomWebArchive
from dicom_node.retrieving.keeping import Keeper
from dicom_node.settings import Archive as ArchiveSettings

__all__ = [
    "Archive",
    "Contents",
    "DicomArchive",
    "DicomWebArchive",
    "Keeper",
    "Match",
    "Progress",
    "Wanted",
    "archive_of",
    "only_one_value",
]


def archive_of(
    settings: ArchiveSettings, node_ae_title: str, services: Services, clock: Callable[[], float]
) -> Archive:
    """Return what speaks with an `[[archive]]` of `node.toml`; nothing is opened yet. The clock gives UTC seconds.

    Raises
    ------
    TlsUnusable
        If a file of `[archive.tls]` cannot be used.
    """
    if settings.web is not None:
        return DicomWebArchive(services.of(settings.web, clock), settings.timeout_seconds)
    return DicomArchive(settings, node_ae_title)
