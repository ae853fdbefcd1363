"""C-STORE over TLS (PS3.15 B.12) to DCMTK's storescp and to Orthanc: who is trusted, and what the reasons say."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage
from pynetdicom.dsutils import split_dataset

from dicom_node.commitment import Report
from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.stored import free_port
from dicom_node.errors import PeerRefused, PeerUnreachable
from dicom_node.outgoing import Sender, Verdict
from dicom_node.senders import Senders, peer_of, scu_of
from dicom_node.settings import ClientTlsSettings, DicomDestination
from tests.tls_papers import Papers


def _sender(port: int, tls: ClientTlsSettings | None, ae_title: str = "PACS", seconds: float = 10) -> Sender:
    destination = DicomDestination(
        name="pacs", ae_title=ae_title, host="127.0.0.1", port=port, tls=tls, timeout_seconds=seconds
    )
    return Senders("DICOM_NODE", time.time).of(destination)


def _tls(papers: Papers, own: str | None = "mr1", ca: str = "ca", *, check: bool = True) -> ClientTlsSettings:
    certificate, key = (papers.certificate(own), papers.key(own)) if own else (None, None)
    return ClientTlsSettings(
        ca=papers.certificate(ca), certificate=certificate, private_key=key, check_host_name=check
    )


@contextmanager
def _storescp(program: Path, folder: Path, *options: str | Path) -> Iterator[int]:
    """Run storescp on a free port; objects come to a folder."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [program, "--fork", "+xa", "-od", folder, *options, str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()


@pytest.fixture
def storescp(require_tool: Any, papers: Papers, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Return a function that starts storescp with a certificate of the CA, and verifies its callers."""
    program = require_tool("storescp", "dcmtk")
    running: list[Any] = []

    def start(name: str = "node", *options: str) -> int:
        tls = ["+tls", papers.key(name), papers.certificate(name), "+cf", papers.certificate("ca"), *options]
        running.append(_storescp(program, tmp_path / "received", *tls))
        return int(running[-1].__enter__())

    yield start
    for each in running:
        each.__exit__(None, None, None)


def _received(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes()[split_dataset(path)[1] :] for path in folder.iterdir())


def test_plain_storescp_has_what_was_stored(require_tool: Any, stored: Any, tmp_path: Path) -> None:
    """DCMTK receives 50 objects of two SOP classes over one association, bit by bit."""
    objects = [stored(MRImageStorage if number % 5 else SegmentationStorage) for number in range(50)]
    with _storescp(require_tool("storescp", "dcmtk"), tmp_path / "received", "+B") as port:
        sender = _sender(port, None)
        sender.echo()
        assert {outcome.verdict for outcome in sender.store(objects)} == {Verdict.ACCEPTED}
    sent = sorted(item.path.read_bytes()[split_dataset(item.path)[1] :] for item in objects)
    assert _received(tmp_path / "received") == sent


def test_storescp_over_tls(storescp: Any, papers: Papers, stored: Any, tmp_path: Path) -> None:
    """With certificates on both sides everything arrives; C-ECHO and negotiation go over TLS, too."""
    sender = _sender(storescp(), _tls(papers))
    sender.echo()
    assert sender.accepted([MRImageStorage], ExplicitVRLittleEndian) == {MRImageStorage: True}
    big = stored(Rows=1500, Columns=1500, PixelData=bytes(range(256)) * 17_579)
    outcomes = list(sender.store([stored(), big, stored()]))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * 3
    assert len(_received(tmp_path / "received")) == 3


@pytest.mark.parametrize(
    ("own", "ca", "served_by", "words"),
    [
        (None, "ca", "node", "certificate and private_key"),
        ("stranger", "ca", "node", "certificate and private_key"),
        ("mr1", "other", "node", "check ca and the host name"),
        ("mr1", "ca", "elsewhere", "IP address mismatch"),
    ],
)
def test_without_trust_nothing_is_sent(
    storescp: Any, papers: Papers, stored: Any, tmp_path: Path, own: str | None, ca: str, served_by: str, words: str
) -> None:
    """A certificate that one side does not take: tried again later, with a reason that says what to look at."""
    sender = _sender(storescp(served_by), _tls(papers, own, ca))
    (outcome,) = sender.store([stored()])
    assert outcome.verdict is Verdict.TEMPORARY
    assert words in outcome.reason
    with pytest.raises(PeerUnreachable):
        sender.echo()
    assert _received(tmp_path / "received") == []


def test_the_host_name_need_not_be_checked(storescp: Any, papers: Papers, stored: Any) -> None:
    """`check_host_name = false`: any certificate of the CA is good, one of another CA is not."""
    port = storescp("elsewhere")
    (outcome,) = _sender(port, _tls(papers, check=False)).store([stored()])
    assert outcome.verdict is Verdict.ACCEPTED
    (outcome,) = _sender(port, _tls(papers, ca="other", check=False)).store([stored()])
    assert outcome.verdict is Verdict.TEMPORARY


def test_a_plain_port_is_no_tls_port(require_tool: Any, papers: Papers, stored: Any, tmp_path: Path) -> None:
    """An administrator who gives the wrong port is told so; and a TLS port is not called in the clear."""
    with _storescp(require_tool("storescp", "dcmtk"), tmp_path / "plain") as port:
        (outcome,) = _sender(port, _tls(papers), seconds=3).store([stored()])
    assert outcome.verdict is Verdict.TEMPORARY


def test_what_pynetdicom_carries_goes_over_tls_too(storescp: Any, papers: Papers) -> None:
    """A storage commitment report reaches a TLS receiver: storescp answers that it knows no such service."""
    destination = DicomDestination(name="p", ae_title="PACS", host="127.0.0.1", port=storescp(), tls=_tls(papers))
    report = Report("1.2.3", (), ())
    with pytest.raises(PeerRefused, match="does not accept Storage Commitment"):
        scu_of(destination, "DICOM_NODE").report(peer_of(destination), report)


def test_tls_files_that_are_missing(papers: Papers, stored: Any) -> None:
    """A file that is not there is named; when it comes, the object goes without a restart."""
    tls = ClientTlsSettings(ca=papers.folder / "gone.pem")
    (outcome,) = _sender(1, tls).store([stored()])
    assert outcome.verdict is Verdict.TEMPORARY
    assert "gone.pem holds no CA certificate" in outcome.reason
    assert "[destination.tls]" in outcome.reason


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_tls_is_not_spoken(papers: Papers, stored: Any) -> None:
    """A receiver that knows TLS 1.1 at most gets nothing (RFC 8996, BCP 195)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate("node"), papers.key("node"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    heard: list[type[BaseException]] = []

    def serve(listener: socket.socket) -> None:
        line, _ = listener.accept()
        with line:
            try:
                context.wrap_socket(line, server_side=True).close()
            except OSError as error:
                heard.append(type(error))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        (outcome,) = _sender(listener.getsockname()[1], _tls(papers)).store([stored()])
        thread.join(10)
    assert outcome.verdict is Verdict.TEMPORARY
    assert "ends TLS" in outcome.reason
    assert heard == [ssl.SSLError]


@pytest.fixture
def secure_orthanc(
    tmp_path: Path, papers: Papers, require_tool: Any, missing: Callable[[str], NoReturn]
) -> Iterator[OrthancPacs]:
    """Give an Orthanc that takes DICOM over TLS only, from callers with a certificate of the CA."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(papers.certificate("node")),
        "DicomTlsPrivateKey": str(papers.key("node")),
        "DicomTlsTrustedCertificates": str(papers.certificate("ca")),
        "DicomTlsRemoteCertificateRequired": True,
    }
    with OrthancPacs(tmp_path / "orthanc", options=options) as pacs:
        yield pacs


def test_orthanc_over_tls(secure_orthanc: OrthancPacs, papers: Papers, stored: Any) -> None:
    """Orthanc has what was sent with the right certificate, and nothing that was not."""
    objects = [stored(PatientID="1") for _ in range(5)]
    sender = _sender(secure_orthanc.port, _tls(papers), secure_orthanc.ae_title)
    sender.echo()
    assert {outcome.verdict for outcome in sender.store(objects)} == {Verdict.ACCEPTED}
    held = {one.sop_instance_uid for one in secure_orthanc.stored()}
    assert held == {item.sop_instance_uid for item in objects}
    for tls in (_tls(papers, None), _tls(papers, "stranger"), None):
        (outcome,) = _sender(secure_orthanc.port, tls, secure_orthanc.ae_title, 3).store([stored(PatientID="2")])
        assert outcome.verdict is Verdict.TEMPORARY
    assert {one.sop_instance_uid for one in secure_orthanc.stored()} == held
