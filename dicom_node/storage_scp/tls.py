"""Accepting DICOM over TLS (PS3.15 B.12), and what a client certificate is called."""

import hashlib
import socket
import ssl
from typing import Final

import structlog

from dicom_node import tls
from dicom_node.settings import TlsSettings

log = structlog.get_logger(__name__)

_TABLE: Final = "[reception.tls]"


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return what wraps accepted connections: TLS 1.2 and later, no renegotiation (RFC 9325 3.5), no compression.

    Raises
    ------
    TlsUnusable
        If certificate, key or client CA cannot be used; the text says which.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.restrict(context)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    tls.present(context, settings.certificate, settings.private_key, _TABLE)
    if settings.client_ca is not None:
        tls.trust(context, settings.client_ca, _TABLE)
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_certificate else ssl.CERT_OPTIONAL
    return context


def wrapped(line: socket.socket, context: ssl.SSLContext, seconds: float, address: str) -> ssl.SSLSocket | None:
    """Return a connection after its handshake; None if that failed, or took longer than so many seconds.

    Called on the connection's own thread, so that a silent peer keeps nobody waiting.
    """
    line.settimeout(seconds)
    try:
        return context.wrap_socket(line, server_side=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        log.warning("TLS handshake failed", address=address, reason=str(reason))
        return None


def names_of(line: socket.socket) -> frozenset[str]:
    """Return what a [[source]] may call the peer's certificate: its SHA-256 fingerprint, and its common name.

    Empty without TLS, or without a client certificate that was verified.
    """
    encoded = line.getpeercert(binary_form=True) if isinstance(line, ssl.SSLSocket) else None
    if not isinstance(line, ssl.SSLSocket) or encoded is None:
        return frozenset()
    subject = (line.getpeercert() or {}).get("subject", ())
    common = [str(part[1]) for group in subject for part in group if part[0] == "commonName"]
    return frozenset({f"sha256:{hashlib.sha256(encoded).hexdigest()}", *(f"CN={name}" for name in common)})
