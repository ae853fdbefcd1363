"""The BCP 195 profile of TLS (PS3.15 B.12; RFC 9325): version 1.2 and later, whether the node is called or calls."""

import ssl
from pathlib import Path
from typing import Final, Protocol

from dicom_node.errors import TlsUnusable

#: RFC 9325 4.2, in its order; those of TLS 1.3 are all recommended.
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
)


class ClientPapers(Protocol):
    """What a table of settings says of the node as the one who calls."""

    @property
    def ca(self) -> Path | None:
        """Whom it trusts; None: the CAs of this computer."""
        ...

    @property
    def certificate(self) -> Path | None:
        """What it shows to who asks for it."""
        ...

    @property
    def private_key(self) -> Path | None:
        """The key of that."""
        ...

    @property
    def check_host_name(self) -> bool:
        """Whether a certificate must be for the host that is called."""
        ...


def restrict(context: ssl.SSLContext) -> None:
    """Allow only what BCP 195 recommends: no renegotiation (RFC 9325 3.5), no compression."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def present(context: ssl.SSLContext, certificate: Path, private_key: Path, table: str) -> None:
    """Have a context present a certificate chain.

    Raises
    ------
    TlsUnusable
        If the files are no chain and its key; the text names them and the table of settings.
    """
    try:
        context.load_cert_chain(certificate, private_key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = f"{certificate} and {private_key} are no certificate chain and its unencrypted key in PEM"
        raise TlsUnusable(f"{reason} ({type(error).__name__}); see {table}") from error


def _no_password() -> str:
    # OpenSSL would otherwise ask on the terminal
    raise ValueError("the private key is encrypted")


def trust(context: ssl.SSLContext, authority: Path, table: str) -> None:
    """Have a context trust the certificates of a CA file; raises TlsUnusable if it holds none."""
    try:
        context.load_verify_locations(authority)
    except OSError as error:
        raise TlsUnusable(f"{authority} holds no CA certificate in PEM; see {table}") from error


def client_context(papers: ClientPapers, table: str) -> ssl.SSLContext:
    """Return what wraps connections that the node opens.

    Raises
    ------
    TlsUnusable
        If a file cannot be used; the text says which, and the table that names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    restrict(context)
    context.check_hostname = papers.check_host_name
    if papers.ca is None:
        context.load_default_certs()
    else:
        trust(context, papers.ca, table)
    if papers.certificate is not None and papers.private_key is not None:
        present(context, papers.certificate, papers.private_key, table)
    return context


def trouble(error: ssl.SSLError, table: str) -> str:
    """Return what went wrong in a handshake, and what to look at; for the sentence that names the peer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"has a certificate that is not good here ({error.verify_message})"
        return f"{reason}: check ca and the host name, see {table}"
    reason = str(error.reason or type(error).__name__).replace("_", " ").lower()
    return f"ends TLS ({reason}): check the port, and whether it takes certificate and private_key of {table}"
