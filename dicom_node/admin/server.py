"""The web server: uvicorn, its event loop in a thread of its own, so that no page holds up the journey."""

import contextlib
import socket
import ssl
import threading
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from dicom_node.admin.patience import PatientHttp
from dicom_node.errors import PagesUnavailable
from dicom_node.settings import AdminSettings
from dicom_node.tls import restrict

log = structlog.get_logger(__name__)

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 2


class WebServer:
    """Serves an application on an address of its own."""

    def __init__(self, app: FastAPI, settings: AdminSettings) -> None:
        self._settings = settings
        tls = settings.tls
        self._config = uvicorn.Config(
            app,
            http=PatientHttp,
            log_config=None,
            access_log=False,  # addresses hold Study Instance UIDs; who looked at what is in the audit trail
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies) or None,
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.private_key,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
            ws_max_size=2**20,
        )
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where the pages are."""
        scheme = "http" if self._settings.tls is None else "https"
        return f"{scheme}://{self._settings.address}:{self._settings.port}{self._settings.root_path}/"

    def start(self) -> None:
        """Serve; returns once the pages are there.

        Raises
        ------
        PagesUnavailable
            If the port is taken, or a file of [admin.tls] cannot be used.
        """
        try:
            self._socket = _bound(self._settings.address, self._settings.port)
            self._config.load()
            if self._config.ssl is not None:
                restrict(self._config.ssl)
        except ssl.SSLError as error:
            raise PagesUnavailable(
                "[admin.tls]: certificate and private_key do not fit, or are no PEM files"
            ) from error
        except OSError as error:
            at = f"{self._settings.address}:{self._settings.port}"
            raise PagesUnavailable(f"[admin] {at} or a file of [admin.tls]: {error.strerror}") from error
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread(target=self._run, name="pages", daemon=True)
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_SECONDS * 20)):
            if self._server.started:
                return
            if not self._thread.is_alive():
                break
            waited.wait(0.05)
        raise PagesUnavailable("the pages did not start")

    def _run(self) -> None:
        if self._server is not None and self._socket is not None:
            with contextlib.suppress(SystemExit):  # how uvicorn says that it could not start
                self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End; open requests get a moment."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_SECONDS)
        if self._socket is not None:
            self._socket.close()


def _bound(address: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((address, port))
    except OSError:
        found.close()
        raise
    return found
