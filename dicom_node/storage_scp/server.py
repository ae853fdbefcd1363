"""The listening port: a thread per association, and none for a port that is only knocked at."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from pynetdicom import AE
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.entities import AssociationRecord
from dicom_node.instance_store import InstanceStore
from dicom_node.presentation import verification
from dicom_node.settings import ReceptionSettings, Source
from dicom_node.storage_scp.admission import Admission
from dicom_node.storage_scp.commitment import CommitmentDesk
from dicom_node.storage_scp.guarding import Bounds
from dicom_node.storage_scp.reception import Admitted, Arrivals, Reception, Session
from dicom_node.storage_scp.tls import names_of, server_context, wrapped

log = structlog.get_logger(__name__)

_A_ASSOCIATE_RQ: Final = b"\x01"
#: A-ABORT (PS3.8 9.3.8): source 2, service provider; reason 1, unrecognised PDU.
_A_ABORT: Final = struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 2, 1)
#: pynetdicom counts too, later and less exactly; ours is the count that holds.
_NO_OWN_LIMIT: Final = 2**31
_POLL_SECONDS: Final = 0.02


class _Connection(RequestHandler):
    """One accepted connection, on a thread of its own."""

    server: "_Server"
    request: Any

    def handle(self) -> None:
        """Run the association to its end; the thread stays until then, to note that end."""
        if self._begins_association() and self._secured():
            self._serve()
        # pynetdicom leaves a socket unclosed that its peer closed first
        self.server.shutdown_request(self.request)

    def _serve(self) -> None:
        # pynetdicom never sets it; without it each answer waits up to 40 ms for the peer's delayed ACK
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # a peer that stops in the middle of a PDU must not hold a thread for ever
        self.request.settimeout(self.ae.network_timeout)
        association = self._create_association()
        certificates = names_of(self.request)
        session = Session(
            association, self.client_address[0], self.server.reception, self.server.admitted, certificates
        )
        association.start()
        association.join()
        # pynetdicom ends it with the association, unless an error came between
        association.dul.kill_dul()
        if association.dul.is_alive():
            association.dul.join()
        session.ended()

    def _begins_association(self) -> bool:
        """Wait for the first byte; health checks open and close without any, others speak no DICOM."""
        self.request.settimeout(self.ae.acse_timeout)
        try:
            first = self.request.recv(1, socket.MSG_PEEK)
            if self.server.tls is None and first not in (b"", _A_ASSOCIATE_RQ):
                self.request.sendall(_A_ABORT)
        except OSError:
            return False
        # under TLS the first byte is that of the handshake, which judges it
        return bool(first) if self.server.tls is not None else first == _A_ASSOCIATE_RQ

    def _secured(self) -> bool:
        """Make the TLS handshake where the port is for TLS; return False if it fails."""
        if self.server.tls is None:
            return True
        line = wrapped(self.request, self.server.tls, self.ae.acse_timeout, self.client_address[0])
        self.request = line or self.request
        return line is not None


class _Server(ThreadedAssociationServer):
    """pynetdicom's server with our connections."""

    daemon_threads = True
    #: senders open several associations at once; socketserver's default of 5 makes some of them wait a second
    request_queue_size = 128
    reception: Reception
    admitted: Admitted
    tls: ssl.SSLContext | None = None


class StorageSCP:
    """The node's Storage and Verification SCP.

    Parameters
    ----------
    settings : ReceptionSettings
        Port 0 takes any free port.
    node_ae_title : str
        Answered to if `settings.called_ae_titles` is empty.
    sources : sequence of Source
        Who may call; nobody if empty.
    clock : callable
        UTC seconds.
    desk : CommitmentDesk, optional
        Without it storage commitment is not offered.
    note_record : callable, optional
        Given the record of every association that was admitted, after its end.
    """

    def __init__(
        self,
        settings: ReceptionSettings,
        node_ae_title: str,
        sources: Sequence[Source],
        store: InstanceStore,
        arrivals: Arrivals,
        clock: Callable[[], float],
        desk: CommitmentDesk | None = None,
        note_record: Callable[[AssociationRecord], None] | None = None,
    ) -> None:
        called = frozenset(settings.called_ae_titles or (node_ae_title,))
        admission = Admission(
            called, tuple(sources), settings.maximum_associations, settings.maximum_associations_per_caller
        )
        self._settings = settings
        self._ae_title = node_ae_title
        self._reception = Reception(
            admission, _bounds(settings), settings.same_uid_other_bytes, store, arrivals, clock, desk, note_record
        )
        self._admitted = Admitted()
        self._tls = server_context(settings.tls) if settings.tls is not None else None
        self._servers: dict[bool, _Server] = {}
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port that is listened on; that of TLS if there is no other.

        Raises
        ------
        RuntimeError
            If not started.
        """
        if not self._servers:
            raise RuntimeError("the Storage SCP is not started")
        return int(next(iter(self._servers.values())).server_address[1])

    @property
    def tls_port(self) -> int | None:
        """The port that is listened on for TLS, if there is one."""
        return int(self._servers[True].server_address[1]) if True in self._servers else None

    def start(self) -> None:
        """Listen; when this returns the port is bound.

        Raises
        ------
        OSError
            If the address cannot be bound, for instance because another program has the port.
        """
        tls = self._settings.tls
        try:
            if tls is None or not tls.only:
                self._listen(self._settings.port, None)
            if tls is not None:
                self._listen(tls.port, self._tls)
        except OSError:
            self.stop(0)
            raise

    def _listen(self, port: int, tls: ssl.SSLContext | None) -> None:
        entity = _entity(self._ae_title, self._settings)
        address = (self._settings.address, port)
        server = entity.make_server(
            address, contexts=verification(), server_class=_Server, request_handler=_Connection
        )
        server.reception, server.admitted, server.tls = self._reception, self._admitted, tls
        entity._servers.append(server)  # noqa: SLF001 - its shutdown() takes itself off this list
        self._servers[tls is not None] = server
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="storage-scp")
        self._threads.append(thread)
        thread.start()
        kind = "DICOM" if tls is None else "DICOM over TLS"
        port = int(server.server_address[1])
        log.info("listening", address=self._settings.address, port=port, called=self._ae_title, kind=kind)

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Stop accepting, let running C-STOREs finish for as long as the grace, then abort what is still open."""
        for server in self._servers.values():
            server.shutdown()
        for thread in self._threads:
            thread.join()
        deadline = time.monotonic() + grace_seconds
        while any(session.busy for session in self._admitted.now()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        for session in self._admitted.now():
            session.peer.abort()
        while self._admitted.now() and time.monotonic() < deadline + grace_seconds:
            time.sleep(_POLL_SECONDS)
        self._servers, self._threads = {}, []


def _bounds(settings: ReceptionSettings) -> Bounds:
    return Bounds(
        maximum_pdu=settings.maximum_pdu,
        request_seconds=settings.acse_timeout_seconds,
        pdu_seconds=settings.network_timeout_seconds,
        message_seconds=settings.dimse_timeout_seconds,
        slowest_bytes_per_second=settings.slowest_bytes_per_second,
    )


def _entity(ae_title: str, settings: ReceptionSettings) -> Any:
    entity = AE(ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_associations = _NO_OWN_LIMIT
    entity.maximum_pdu_size = settings.maximum_pdu
    entity.acse_timeout = settings.acse_timeout_seconds
    entity.dimse_timeout = settings.dimse_timeout_seconds
    entity.network_timeout = settings.network_timeout_seconds
    return entity
