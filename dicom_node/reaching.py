"""The first steps to a system that the node calls: is there a TCP connection, and is there TLS on it."""

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_node.tls import trouble


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a test.

    Parameters
    ----------
    passed : bool or None
        None where it is not offered, and not needed.
    told : str
        What was found, or what to look at.
    """

    name: str
    passed: bool | None
    seconds: float
    told: str


def reached(
    host: str, port: int, timeout_seconds: float, context: ssl.SSLContext | None, table: str
) -> Iterator[Step]:
    """Yield what comes of a TCP connection and, with a context, of TLS on it; the first failure is the last.

    Parameters
    ----------
    table : str
        Which table of `node.toml` says how TLS is done.
    """
    began = time.monotonic()
    try:
        line = socket.create_connection((host, port), timeout_seconds)
    except (socket.gaierror, ValueError):  # ValueError: no name that DNS could know
        yield Step("TCP", False, time.monotonic() - began, f"{host} is not known here: check host and DNS")
        return
    except OSError as error:
        why = _connection_trouble(error)
        yield Step("TCP", False, time.monotonic() - began, f"no connection to {host}:{port}: {why}")
        return
    with line:
        address = line.getpeername()[0]
        yield Step("TCP", True, time.monotonic() - began, f"connected to {address}, port {port}")
        if context is not None:
            yield _secured(line, host, context, table)


def _connection_trouble(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens at that port; check that it runs, and its port"
    if isinstance(error, TimeoutError):
        return "no answer; check host, and the firewall between"
    return f"{error.strerror or type(error).__name__}; check host, port, and the network between"


def _secured(line: socket.socket, host: str, context: ssl.SSLContext, table: str) -> Step:
    began = time.monotonic()
    try:
        with context.wrap_socket(line, server_hostname=host) as secure:
            certificate = secure.getpeercert() or {}
            until = str(certificate.get("notAfter", "?"))
            told = f"{secure.version()}; certificate of {_name(certificate)}, valid until {until}"
            return Step("TLS", True, time.monotonic() - began, told)
    except ssl.SSLError as error:
        return Step("TLS", False, time.monotonic() - began, f"it {trouble(error, table)}")
    except (OSError, ValueError):
        told = "it ended the connection: does it speak TLS at that port?"
        return Step("TLS", False, time.monotonic() - began, told)


def _name(certificate: object) -> str:
    parts = certificate.get("subject", ()) if isinstance(certificate, dict) else ()
    return next((value for part in parts for key, value in part if key == "commonName"), "no common name")
