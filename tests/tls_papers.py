"""Keys and certificates for tests of TLS, made with OpenSSL; their host is 127.0.0.1."""

import hashlib
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Papers:
    """A folder of keys and certificates: by CA `ca` `node`, `mr1`, `mr2`, `elsewhere`; by CA `other` `stranger`.

    `elsewhere` is the certificate of another host.
    """

    folder: Path

    def certificate(self, name: str) -> Path:
        """Return the path of a certificate."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Return the path of its key."""
        return self.folder / f"{name}.key"

    def fingerprint(self, name: str) -> str:
        """Return the SHA-256 of a certificate in hexadecimal digits."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate(name).read_text())).hexdigest()


def make_papers(folder: Path, openssl: Path) -> Papers:
    """Return a new folder of all of them."""
    papers = Papers(folder)

    def sign(name: str, ca: str | None) -> None:
        signed = ["-CA", str(papers.certificate(ca)), "-CAkey", str(papers.key(ca))] if ca else []
        files = ["-keyout", str(papers.key(name)), "-out", str(papers.certificate(name))]
        host = "DNS:elsewhere.example.org" if name == "elsewhere" else "IP:127.0.0.1"
        extensions = ["-addext", f"basicConstraints=critical,CA:{'FALSE' if ca else 'TRUE'}"]
        extensions += ["-addext", f"subjectAltName={host}"] if ca else []
        command = [
            str(openssl),
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
        ]
        subprocess.run([*command, *files, *extensions, *signed], check=True, capture_output=True)

    for ca, names in (("ca", ("node", "mr1", "mr2", "elsewhere")), ("other", ("stranger",))):
        sign(ca, None)
        for name in names:
            sign(name, ca)
    return papers
