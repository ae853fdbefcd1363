"""A destination tested step by step: what works is told with what was found, what fails with what to look at."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import SegmentationStorage

from dicom_node.admin import testing
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.stored import free_port
from dicom_node.senders import Senders
from dicom_node.settings import (
    READY,
    ClientTlsSettings,
    Destination,
    DicomDestination,
    DicomWebDestination,
    FolderDestination,
)
from dicom_node.tls import present, restrict
from tests.tls_papers import Papers


def _test(destination: Destination) -> testing.Tested:
    sender = Senders("NODE", lambda: 0.0).of(destination)
    return testing.tested(destination, sender, READY["default"])


def _steps(told: testing.Tested) -> list[tuple[str, bool | None]]:
    return [(step.name, step.passed) for step in told.steps]


def _dicom(port: int, **more: Any) -> DicomDestination:
    given = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": port, "timeout_seconds": 5} | more
    return DicomDestination.model_validate(given)


def test_a_pacs_that_answers(tmp_path: Path) -> None:
    """TCP, C-ECHO, and each SOP class in words."""
    with SmallPacs(tmp_path, "PACS", refused=frozenset({SegmentationStorage})) as pacs:
        told = _test(_dicom(pacs.port))
        assert (told.answers, _steps(told)) == (True, [("TCP", True), ("C-ECHO", True)])
        assert told.accepts["Segmentation Storage"] is False
        assert told.accepts["Comprehensive 3D SR Storage"] is True
        assert any("Segmentation" in loss for loss in told.losses)
        wrong = _test(_dicom(pacs.port, ae_title="OTHER"))
        assert _steps(wrong) == [("TCP", True), ("C-ECHO", False)]
        assert "there is no AE title OTHER" in wrong.reason


def test_where_nobody_listens() -> None:
    """The first step says so, and there is no other."""
    told = _test(_dicom(free_port()))
    assert (told.answers, _steps(told)) == (False, [("TCP", False)])
    assert "nothing listens" in told.reason


def test_a_host_that_nobody_knows() -> None:
    """A name that DNS does not have is told as that."""
    told = _test(_dicom(104, host="no-such-host.invalid"))
    assert _steps(told) == [("TCP", False)]
    assert "check host and DNS" in told.reason


@pytest.fixture
def shaking(papers: Papers) -> Iterator[Callable[[], int]]:
    """Return a function that starts a server which makes a TLS handshake and goes; it returns the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        restrict(context)
        present(context, papers.certificate("node"), papers.key("node"), "test")
        listener.settimeout(10)

        def serve() -> None:
            try:
                while True:
                    line, _ = listener.accept()
                    line.settimeout(5)
                    try:
                        context.wrap_socket(line, server_side=True).close()
                    except OSError:
                        line.close()
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield lambda: int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_tls_is_a_step_of_its_own(shaking: Callable[[], int], papers: Papers) -> None:
    """With the right CA the certificate is named; with another, what to look at is."""
    good = _test(_dicom(shaking(), tls=ClientTlsSettings(ca=papers.certificate("ca"))))
    assert _steps(good) == [("TCP", True), ("TLS", True), ("C-ECHO", False)]
    assert good.steps[1].told.startswith("TLSv1.3; certificate of ")
    bad = _test(_dicom(shaking(), tls=ClientTlsSettings(ca=papers.certificate("other"))))
    assert _steps(bad) == [("TCP", True), ("TLS", False)]
    assert "[destination.tls] of 'pacs'" in bad.reason
    gone = _test(_dicom(shaking(), tls=ClientTlsSettings(ca=papers.folder / "gone.pem")))
    assert (_steps(gone), "gone.pem" in gone.reason) == ([("TLS", False)], True)


def test_a_plain_port_is_no_tls_port(tmp_path: Path, papers: Papers) -> None:
    """TLS fails where DICOM in the clear is spoken, and C-ECHO is not tried."""
    with SmallPacs(tmp_path, "PACS") as pacs:
        told = _test(_dicom(pacs.port, timeout_seconds=3, tls=ClientTlsSettings(ca=papers.certificate("ca"))))
    assert _steps(told) == [("TCP", True), ("TLS", False)]


def test_other_protocols_have_their_own_steps(tmp_path: Path) -> None:
    """A folder that is there, one that is not, and a web server that is away."""
    assert _steps(_test(FolderDestination(name="f", protocol="folder", path=tmp_path))) == [("Folder", True)]
    gone = FolderDestination(name="f", protocol="folder", path=tmp_path / "gone")
    assert _steps(_test(gone)) == [("Folder", False)]
    url = f"http://127.0.0.1:{free_port()}/studies"
    assert _steps(_test(DicomWebDestination(name="w", protocol="dicomweb", url=url))) == [("TCP", False)]
