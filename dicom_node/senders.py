"""The way to each destination: C-STORE, STOW-RS or a folder, behind one protocol (`outgoing.Sender`).

Where a destination can be asked what it has (`proving.Archive`), the same TLS, tokens and pauses hold for that.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dicom_node.archive_scu import ArchiveSCU
from dicom_node.commitment import Report, Request
from dicom_node.dicom_web import QidoRs, Service, StowRsSender
from dicom_node.entities import Peer
from dicom_node.errors import TlsUnusable
from dicom_node.folder_sender import FolderSender
from dicom_node.outgoing import Outcome, OutgoingObject, Sender
from dicom_node.pace import Pace
from dicom_node.requestor import Requestor
from dicom_node.settings import Destination, DicomDestination, DicomWebDestination, FolderDestination
from dicom_node.storage_scu import StorageSCU
from dicom_node.tls import client_context


def peer_of(destination: DicomDestination) -> Peer:
    """Return the application entity that a destination of `node.toml` names."""
    return Peer.parse(destination.ae_title, destination.host, destination.port)


def querying_peer(destination: DicomDestination) -> Peer:
    """Return the application entity that answers queries about a destination's studies."""
    query = destination.query
    return Peer.parse(
        query.ae_title or destination.ae_title, query.host or destination.host, query.port or destination.port
    )


def requestor_of(destination: DicomDestination, calling_ae_title: str, pace: Pace | None = None) -> Requestor:
    """Return what opens associations to a destination, over TLS where its settings say so.

    Its certificates are read anew each time: one that is renewed needs no restart.

    Raises
    ------
    TlsUnusable
        If a file of `[destination.tls]` cannot be used.
    """
    tls = destination.tls
    context = None if tls is None else client_context(tls, f"[destination.tls] of {destination.name!r}")
    calling = destination.calling_ae_title or calling_ae_title
    return Requestor(calling, destination.timeout_seconds, context, pace or Pace(0))


def scu_of(destination: DicomDestination, calling_ae_title: str, pace: Pace | None = None) -> StorageSCU:
    """Return what stores at a destination; raises as `requestor_of`."""
    requestor = requestor_of(destination, calling_ae_title, pace)
    return StorageSCU(requestor.calling, requestor.timeout, requestor.tls, requestor.pace)


class StorageSender:
    """C-STORE to one destination (PS3.4 Annex B)."""

    def __init__(self, destination: DicomDestination, calling_ae_title: str, pace: Pace) -> None:
        self._destination = destination
        self._calling = calling_ae_title
        self._pace = pace
        self._peer: Final = peer_of(destination)

    def __str__(self) -> str:
        """Return the peer as AE@host:port."""
        return str(self._peer)

    def echo(self) -> None:
        """Return if a C-ECHO succeeds; raises Failure."""
        self._scu().echo(self._peer)

    def accepted(self, sop_class_uids: Sequence[str], transfer_syntax_uid: str) -> Mapping[str, bool | None]:
        """Return which SOP classes the peer accepts in an association; raises Failure."""
        return self._scu().accepted(self._peer, sop_class_uids, transfer_syntax_uid)

    def store(self, objects: Sequence[OutgoingObject]) -> Iterator[Outcome]:
        """Send objects; yield one outcome for each, in order."""
        try:
            scu = self._scu()
        except TlsUnusable as failure:  # mended by a person; the objects then go without anybody asking for it
            yield from (item.postponed(str(failure)) for item in objects)
            return
        yield from scu.store(self._peer, objects)

    def _scu(self) -> StorageSCU:
        return scu_of(self._destination, self._calling, self._pace)


class PeerArchive:
    """Storage commitment and C-FIND at one destination, in the clear or over TLS as its C-STORE."""

    def __init__(self, destination: DicomDestination, calling_ae_title: str) -> None:
        self._destination = destination
        self._calling = calling_ae_title
        self._storing: Final = peer_of(destination)
        self._querying: Final = querying_peer(destination)

    def __str__(self) -> str:
        """Return the peer that answers queries as AE@host:port."""
        return str(self._querying)

    @property
    def service_name(self) -> str:
        """What the queries are."""
        return "C-FIND"

    def request_commitment(
        self, request: Request, wait_seconds: float, told: Callable[[Report], None]
    ) -> Report | None:
        """As `ArchiveSCU.request_commitment`; raises TlsUnusable, too."""
        return self._scu().request_commitment(self._storing, request, wait_seconds, told)

    def find_studies(
        self, study_instance_uids: Iterable[str], keywords: Iterable[str]
    ) -> dict[str, list[dict[str, str]]]:
        """As `ArchiveSCU.find_studies`; raises TlsUnusable, too."""
        return self._scu().find_studies(self._querying, study_instance_uids, keywords)

    def find_instances(self, study_instance_uid: str, wanted: Mapping[str, Sequence[str]]) -> frozenset[str]:
        """As `ArchiveSCU.find_instances`; raises TlsUnusable, too."""
        return self._scu().find_instances(self._querying, study_instance_uid, wanted)

    def _scu(self) -> ArchiveSCU:
        return ArchiveSCU(requestor_of(self._destination, self._calling))


@dataclass(frozen=True, slots=True)
class _Way:
    """To a destination: what sends, and what asks; nobody asks a folder."""

    destination: Destination
    sender: Sender
    archive: PeerArchive | QidoRs | None = None


class Senders:
    """The senders of a node, one for each destination: what they know of tokens and pauses outlives a delivery.

    Parameters
    ----------
    calling_ae_title : str
        Who the node says it is, where a destination names no other.
    clock : callable
        UTC seconds.
    """

    def __init__(self, calling_ae_title: str, clock: Callable[[], float]) -> None:
        self._calling = calling_ae_title
        self._clock = clock
        self._known: dict[str, _Way] = {}
        self._lock = threading.Lock()

    def of(self, destination: Destination) -> Sender:
        """Return what sends to a destination, the same each time."""
        return self._way(destination).sender

    def archive(self, destination: Destination) -> PeerArchive | QidoRs | None:
        """Return what asks a destination, the same each time; None if it can be asked nothing."""
        return self._way(destination).archive

    def _way(self, destination: Destination) -> _Way:
        with self._lock:
            known = self._known.get(destination.name)
            if known is None or known.destination != destination:  # it may be changed while the node runs
                known = self._known[destination.name] = self._made(destination)
            return known

    def _made(self, destination: Destination) -> _Way:
        pace = Pace(destination.maximum_mib_per_second)
        match destination:
            case DicomDestination():
                sender = StorageSender(destination, self._calling, pace)
                return _Way(destination, sender, PeerArchive(destination, self._calling))
            case DicomWebDestination():
                service = Service(destination.web, self._clock)
                return _Way(destination, StowRsSender(service, destination.timeout_seconds, pace), QidoRs(service))
            case FolderDestination():
                return _Way(destination, FolderSender(destination.path, pace))
        raise TypeError(type(destination).__name__)
