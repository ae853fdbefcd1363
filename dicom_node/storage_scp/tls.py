"""DICOM over TLS: the BCP 195 profile (PS3.15 B.12; RFC 9325), and what a client certificate is called."""

import hashlib
import socket
import ssl
from typing import Final

import structlog

from dicom_node.errors import TlsUnusable
from dicom_node.settings import TlsSettings

log = structlog.get_logger(__name__)

#: RFC 9325 4.2, in its order; those of TLS 1.3 are all recommended.
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
)


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return what wraps accepted connections: TLS 1.2 and later, no renegotiation (RFC 9325 3.5), no compression.

    Raises
    ------
    TlsUnusable
        If certificate, key or client CA cannot be used; the text says which.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(settings.certificate, settings.private_key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = f"{settings.certificate} and {settings.private_key} are no certificate chain and its unencrypted key"
        raise TlsUnusable(f"{reason} in PEM ({type(error).__name__}); see [reception.tls]") from error
    if settings.client_ca is not None:
        _ask_for_certificates(context, settings)
    return context


def _no_password() -> str:
    # OpenSSL would otherwise ask on the terminal
    raise ValueError("the private key is encrypted")


def _ask_for_certificates(context: ssl.SSLContext, settings: TlsSettings) -> None:
    try:
        context.load_verify_locations(settings.client_ca)
    except OSError as error:
        raise TlsUnusable(f"{settings.client_ca} holds no CA certificate in PEM; see [reception.tls]") from error
    context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_certificate else ssl.CERT_OPTIONAL


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
