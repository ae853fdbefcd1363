"""The port for DICOM over TLS: in the node's own process, a thread per connection, carried by pynetdicom."""

import contextlib
import socket
import ssl
import threading
import time
from typing import Any, Final

import structlog

from dicom_node.storage_scp.commits import Commits
from dicom_node.storage_scp.listening import listen
from dicom_node.storage_scp.plain import Session
from dicom_node.storage_scp.reception import Reception
from dicom_node.storage_scp.tls import server_context, wrapped

log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.02
_ACCEPT_SECONDS: Final = 0.1
#: How long it stops accepting when the process has no descriptors left.
_EXHAUSTED_SECONDS: Final = 1.0


def secured(reception: Reception) -> "TlsReceiver | None":
    """Return the receiver for TLS, if the settings have it.

    Raises
    ------
    TlsUnusable
        If its files cannot be used.
    """
    tls = reception.settings.tls
    return None if tls is None else TlsReceiver(reception, tls.port, server_context(tls))


class TlsReceiver:
    """Accepts connections on the port for TLS and lets pynetdicom carry them."""

    def __init__(self, reception: Reception, port: int, context: ssl.SSLContext) -> None:
        self._reception = reception
        self._wanted_port = port
        self._context = context
        self._listener: socket.socket | None = None
        self._commits = Commits(reception)
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-scp-tls")

    @property
    def port(self) -> int | None:
        """The port that is listened on, if started."""
        return None if self._listener is None else int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen; when this returns the port is bound.

        Raises
        ------
        OSError
            If the address cannot be bound.
        """
        settings = self._reception.settings
        self._listener = listen(settings, self._wanted_port)
        self._listener.settimeout(_ACCEPT_SECONDS)
        self._reception.places.enter()
        self._commits.start()
        self._thread.start()
        log.info("listening", address=settings.address, port=self.port, kind="DICOM over TLS")

    def stop(self, grace_seconds: float) -> None:
        """Stop accepting, let running C-STOREs finish for as long as the grace, then abort what is still open."""
        if self._listener is None:
            return
        self._stopping.set()
        self._thread.join()
        self._listener.close()
        self._listener = None
        deadline = time.monotonic() + grace_seconds
        while any(session.busy for session in self._open()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        for session in self._open():
            session.abort()
        for session in self._open():
            session.join(max(deadline - time.monotonic(), 0) + grace_seconds)
        self._commits.stop()

    def _open(self) -> list[Session]:
        with self._lock:
            self._sessions = {session for session in self._sessions if not session.over}
            return list(self._sessions)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                line, address = self._accepted()
            except TimeoutError:
                continue
            except OSError as error:
                log.warning("connection not accepted", reason=error.strerror)
                self._stopping.wait(_EXHAUSTED_SECONDS)
                continue
            threading.Thread(target=self._begin, args=(line, address), name="storage-scp-tls", daemon=True).start()

    def _accepted(self) -> tuple[socket.socket, Any]:
        if self._listener is None:
            raise TimeoutError
        return self._listener.accept()

    def _begin(self, line: socket.socket, address: Any) -> None:
        """Make the handshake, on the connection's own thread, and hand over to pynetdicom's."""
        try:
            secure = self._secured(line, address[0])
            if secure is None:
                line.close()
                return
            session = Session(secure, address, b"", self._reception, self._commits)
        except Exception:  # boundary: one connection's trouble is not the others'
            log.exception("connection failed")
            line.close()
            return
        with self._lock:
            if self._stopping.is_set():
                secure.close()
                return
            self._sessions.add(session)
            session.start()

    def _secured(self, line: socket.socket, address: str) -> ssl.SSLSocket | None:
        seconds = self._reception.settings.acse_timeout_seconds
        line.settimeout(seconds)
        # each answer would wait up to 40 ms for the peer's delayed ACK
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            # health checks open and close without a byte
            if line.recv(1, socket.MSG_PEEK):
                return wrapped(line, self._context, seconds, address)
        return None
