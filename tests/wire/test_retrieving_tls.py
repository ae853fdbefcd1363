"""Archives over TLS: DICOM and DICOMweb, trusted by `ca` alone, and shown a certificate of the node."""

import gc
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRootFind

from dicom_node.dicom_web import Services
from dicom_node.entities import Peer
from dicom_node.errors import PeerUnreachable, TlsUnusable
from dicom_node.retrieving import archive_of
from dicom_node.settings import Archive, ClientTlsSettings
from tests.fetching_cases import dicom_archive

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Let go at once of the sockets that both servers leave unclosed where a handshake failed."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> ClientTlsSettings:
    """Give a certificate that is its own CA, for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("paper")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [require_tool("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=archive", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return ClientTlsSettings(ca=certificate, certificate=certificate, private_key=key)


def _server_context(paper: ClientTlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paper.certificate, paper.private_key)  # type: ignore[arg-type]
    context.load_verify_locations(paper.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextmanager
def _dicom(paper: ClientTlsSettings) -> Iterator[Archive]:
    def find(_: evt.Event) -> Iterator[tuple[int, Dataset]]:
        found = Dataset()
        found.StudyInstanceUID, found.PatientID = "1.2", "P1"
        yield 0xFF00, found

    entity = AE("SAFE")
    entity.add_supported_context(StudyRootFind)
    handlers = [(evt.EVT_C_FIND, find)]
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=_server_context(paper)
    )
    try:
        yield dicom_archive(Peer.parse("SAFE", "127.0.0.1", server.server_address[1]), timeout_seconds=5)
    finally:
        server.shutdown()


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'[{"0020000D": {"Value": ["1.2"]}, "00100020": {"Value": ["P1"]}}]')

    def log_message(self, *_: Any) -> None:
        return


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Clients that do not trust it hang up."""


@contextmanager
def _web(paper: ClientTlsSettings) -> Iterator[Archive]:
    server = _Quiet(("127.0.0.1", 0), _Page)
    server.socket = _server_context(paper).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Archive(name="pacs", url=f"https://127.0.0.1:{server.server_address[1]}", timeout_seconds=5)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _found(archive: Archive, tls: ClientTlsSettings | None) -> list[str]:
    speaker = archive_of(archive.model_copy(update={"tls": tls}), "NODE", Services(), time.time)
    return [match["StudyInstanceUID"] for match in speaker.studies({"PatientID": "P1"})]


@pytest.mark.parametrize("serving", [_dicom, _web])
def test_an_archive_is_asked_over_tls(paper: ClientTlsSettings, serving: Any) -> None:
    """Trusted by its CA and shown our certificate it answers; without either nothing is asked."""
    with serving(paper) as archive:
        assert _found(archive, paper) == ["1.2"]
        for wrong in (
            ClientTlsSettings(ca=paper.ca),
            ClientTlsSettings(certificate=paper.certificate, private_key=paper.private_key),
        ):
            with pytest.raises(PeerUnreachable) as told:
                _found(archive, wrong)
            assert "destination" not in str(told.value)


@pytest.mark.parametrize("kind", ["ca", "key"])
def test_files_that_are_no_papers_are_told(paper: ClientTlsSettings, tmp_path: Path, kind: str) -> None:
    """The words name the table, and the archive whose files they are."""
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("x")
    wrong = {"ca": nothing} if kind == "ca" else {"certificate": paper.certificate, "private_key": nothing}
    archive = dicom_archive(Peer.parse("SAFE", "127.0.0.1", 1))
    with pytest.raises(TlsUnusable, match=r"\[archive.tls\] of 'pacs'"):
        _found(archive, ClientTlsSettings(**wrong))
