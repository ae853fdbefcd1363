"""HTTP requests with bounded waits: what a server says comes back as a value, what keeps it from saying as words."""

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from dicom_node import IMPLEMENTATION_VERSION_NAME
from dicom_node.errors import PeerUnreachable
from dicom_node.settings import ClientTlsSettings, WebConnection
from dicom_node.tls import client_context, trouble

_READ: Final = 2**18
#: An answer about ten thousand instances is a third of it.
_LONGEST_ANSWER: Final = 2**26
#: Redirects that keep method and body (RFC 9110 15.4.8, 15.4.9).
_SAME_REQUEST: Final = frozenset({307, 308})


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins; header names are in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer(Head):
    """What a server answered."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Arriving(Head):
    """An answer whose body is on its way; reading it raises PeerUnreachable if it does not come, or too slowly."""

    pieces: Iterator[bytes]


class Web:
    """Requests to the server of a destination or archive, through its proxy and with its certificates.

    The certificates are read anew for each request: one that is renewed needs no restart.
    """

    def __init__(self, connection: WebConnection) -> None:
        self._connection = connection
        self._timeout = connection.timeout_seconds
        self._tls_table: Final = f"[{connection.table}.tls] of {connection.name!r}"

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
        longer: float = 0.0,
    ) -> Answer:
        """Return the answer to a request; a redirect comes back as the answer that it is.

        Parameters
        ----------
        longer : float
            Seconds that the server may take beyond the timeout, because there is much in the body.

        Raises
        ------
        PeerUnreachable
            If there is none, or not in time; the text says what to check.
        TlsUnusable
            If a file of the table `tls` cannot be used.
        """
        wait = self._timeout + longer
        with self._response(method, url, headers, body, wait) as response:
            content = bytearray()
            for piece in self._pieces(response, named(url), wait, time.monotonic() + wait):
                content += piece
                if len(content) > _LONGEST_ANSWER:
                    raise PeerUnreachable(f"{named(url)} answers more than {_LONGEST_ANSWER} bytes")
            return Answer(response.status, _headers(response), bytes(content))

    @contextmanager
    def getting(self, url: str, headers: Mapping[str, str], until: float) -> Iterator[Arriving]:
        """Give the answer to a GET while it arrives; raises as `ask`.

        Parameters
        ----------
        until : float
            Seconds of the monotonic clock: an answer that is not there in full by then is given up.
        """
        with self._response("GET", url, headers, None, self._timeout) as response:
            pieces = self._pieces(response, named(url), self._timeout, until)
            yield Arriving(response.status, _headers(response), pieces)

    @contextmanager
    def _response(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        wait: float,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        with self._pool(url) as pool:
            with self._in_words(named(url), wait):
                response = pool.request(
                    method,
                    url,
                    body=body,
                    headers={"User-Agent": IMPLEMENTATION_VERSION_NAME, **headers},
                    timeout=urllib3.Timeout(connect=self._timeout, read=wait),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
            try:
                yield response
            finally:
                response.close()

    def _pieces(self, response: urllib3.BaseHTTPResponse, name: str, wait: float, until: float) -> Iterator[bytes]:
        """Read a body that has an end; what its reader raises keeps its own words."""
        while True:
            with self._in_words(name, wait):
                piece = response.read1(_READ)
            if not piece:
                return
            if time.monotonic() > until:
                raise PeerUnreachable(f"{name} did not answer in full in time")
            yield piece

    @contextmanager
    def _pool(self, url: str) -> Iterator[urllib3.PoolManager]:
        tls = self._connection.tls or ClientTlsSettings()
        options: dict[str, Any] = {}
        if urlsplit(url).scheme == "https":
            # urllib3 compares the name itself where the context does not
            names = None if tls.check_host_name else False
            options = {"ssl_context": client_context(tls, self._tls_table), "assert_hostname": names}
        proxy = self._connection.proxy
        pool = urllib3.PoolManager(**options) if proxy is None else urllib3.ProxyManager(proxy, **options)
        try:
            yield pool
        finally:
            pool.clear()

    @contextmanager
    def _in_words(self, name: str, wait: float) -> Iterator[None]:
        try:
            yield
        except NameResolutionError as error:
            raise PeerUnreachable(f"the host of {name} is not known here: check url and DNS") from error
        except ProxyError as error:
            raise PeerUnreachable(
                f"the proxy on the way to {name} does not let the node through: check proxy"
            ) from error
        except SSLError as error:
            cause = error.args[0] if error.args else None
            table = self._tls_table
            text = trouble(cause, table) if isinstance(cause, ssl.SSLError) else f"ends TLS: check ca of {table}"
            raise PeerUnreachable(f"{name} {text}") from error
        except ReadTimeoutError as error:
            raise PeerUnreachable(f"{name} did not answer in time, within {wait:.0f} s") from error
        except (HTTPError, OSError) as error:
            reason = "does not answer, or ended the connection: check that it runs, url, and the firewall between"
            raise PeerUnreachable(f"{name} {reason}") from error


def named(url: str) -> str:
    """Return scheme, host and path of an address: what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def same_server(answer: Head, url: str) -> str | None:
    """Return where the same server wants a request to go; None if it is no redirect, or one to elsewhere."""
    try:
        target = urljoin(url, answer.headers.get("location", ""))
        here, there = urlsplit(url), urlsplit(target)
    except ValueError:  # no address at all
        return None
    if answer.status not in _SAME_REQUEST or target == url:
        return None
    return target if (here.scheme, here.netloc.lower()) == (there.scheme, there.netloc.lower()) else None


def _headers(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {key.lower(): value for key, value in response.headers.items()}
