"""DICOM over TLS (PS3.15 B.12, BCP 195): who gets in, with DCMTK and Python's ssl as peers and a CA made here."""

import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from pydicom import dcmread
from pydicom.uid import MRImageStorage
from sqlalchemy import select

from bench import upper_layer
from bench.peers import NodeProcess
from dicom_node.demo.stored import free_port
from dicom_node.entities import Peer
from dicom_node.errors import TlsUnusable
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import open_ledger
from dicom_node.ledger.schema import instances
from dicom_node.settings import LogSettings, ReceptionSettings, Source, TlsSettings
from dicom_node.storage_scp import ReceiverProcesses, Setup, StorageSCP
from tests.tls_papers import Papers

SCANNER = Source(name="scanner", ae_titles=("SCANNER",), addresses=("127.0.0.1",))


@pytest.fixture
def start_tls(start_node: Any, papers: Papers) -> Callable[..., Any]:
    """Return a function that starts a node with TLS on a free port."""

    def start(
        source: Source = SCANNER, *, asks: bool = True, requires: bool = True, reception: Any = None, **changes: Any
    ) -> Any:
        tls = TlsSettings(
            certificate=papers.certificate("node"),
            private_key=papers.key("node"),
            client_ca=papers.certificate("ca") if asks else None,
            require_client_certificate=asks and requires,
        ).model_copy(update={"port": 0, **changes})
        return start_node((source,), tls=tls, **(reception or {}))

    return start


def _client(papers: Papers, name: str | None = "mr1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(papers.certificate("ca"))
    if name:
        context.load_cert_chain(papers.certificate(name), papers.key(name))
    return context


def _asked(node: Any, context: ssl.SSLContext) -> bytes:
    """Open TLS, ask for an association; return the first byte of the answer, empty if the node hangs up."""
    request = upper_layer.associate_rq("SCANNER", "NODE", [(MRImageStorage, upper_layer.EXPLICIT_LITTLE)])
    with socket.create_connection(("127.0.0.1", node.scp.tls_port), 10) as raw, context.wrap_socket(raw) as line:
        line.sendall(request)
        return bytes(line.recv(1))


_ACCEPTED, _REJECTED = bytes([upper_layer.ASSOCIATE_AC]), bytes([upper_layer.ASSOCIATE_RJ])


def _storescu(require_tool: Any, node: Any, papers: Papers, name: str, ca: str, file: Path) -> int:
    options = ["+tls", papers.key(name), papers.certificate(name), "+cf", papers.certificate(ca), "-aet", "SCANNER"]
    command = [require_tool("storescu", "dcmtk"), *options, "-aec", "NODE", "127.0.0.1", str(node.scp.tls_port), file]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


@pytest.fixture
def file(mr_image: Any, tmp_path: Path) -> Path:
    image = mr_image()
    path = tmp_path / "image.dcm"
    image.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    meta = upper_layer.EXPLICIT_LITTLE
    image.ensure_file_meta()
    image.file_meta.TransferSyntaxUID = meta
    image.save_as(path, enforce_file_format=True)
    return path


def test_dcmtk_sends_over_tls(start_tls: Any, papers: Papers, require_tool: Any, file: Path) -> None:
    """DCMTK's storescu with a certificate of the CA is served, and the plain port is still there for others."""
    node = start_tls()
    assert _storescu(require_tool, node, papers, "mr1", "ca", file) == 0
    assert len(node.ledger.instances) == 1
    assert node.still_serves()


def test_dcmtk_with_a_certificate_of_another_ca(
    start_tls: Any, papers: Papers, require_tool: Any, file: Path
) -> None:
    """A client certificate of an unknown CA ends at the handshake; nothing is received."""
    node = start_tls()
    assert _storescu(require_tool, node, papers, "stranger", "ca", file) != 0
    assert node.ledger.instances == []


def test_dcmtk_that_does_not_trust_the_node(start_tls: Any, papers: Papers, require_tool: Any, file: Path) -> None:
    """A sender that knows another CA does not send to this node."""
    node = start_tls()
    assert _storescu(require_tool, node, papers, "mr1", "other", file) != 0
    assert node.ledger.instances == []


@pytest.mark.parametrize(("requires", "served"), [(True, False), (False, True)])
def test_without_a_client_certificate(start_tls: Any, papers: Papers, *, requires: bool, served: bool) -> None:
    """Refused where one is required (TLS 1.3 tells the client with its first read), served where it is not."""
    node = start_tls(requires=requires)
    try:
        answer = _asked(node, _client(papers, None))
    except OSError:
        answer = b""
    assert answer == (_ACCEPTED if served else b"")


def test_client_certificates_need_not_be_asked_for(start_tls: Any, papers: Papers) -> None:
    """Without client_ca TLS hides and proves the node, and nothing more."""
    assert _asked(start_tls(asks=False), _client(papers, None)) == _ACCEPTED


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(start_tls: Any, papers: Papers, version: ssl.TLSVersion) -> None:
    """TLS 1.0 and 1.1 are gone (RFC 8996, BCP 195): the node refuses them, not this test's OpenSSL."""
    node = start_tls()
    context = _client(papers)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError) as refused:
        _asked(node, context)
    assert "alert" in str(refused.value).lower()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_present_versions_are_served(start_tls: Any, papers: Papers, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 (PS3.15 B.12)."""
    context = _client(papers)
    context.minimum_version = context.maximum_version = version
    assert _asked(start_tls(), context) == _ACCEPTED


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"])
def test_ciphers_that_are_not_recommended(start_tls: Any, papers: Papers, cipher: str) -> None:
    """Without forward secrecy, with CBC, or with finite-field DHE: RFC 9325 4.1 and 4.2 do not recommend them."""
    context = _client(papers)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        _asked(start_tls(), context)


@pytest.mark.parametrize("by", ["common name", "fingerprint"])
def test_a_certificate_belongs_to_an_ae_title(start_tls: Any, papers: Papers, by: str) -> None:
    """A good certificate of another source opens no door: 1, 1, 3 as for a stranger, and recorded; its own does."""
    name = "CN=mr1" if by == "common name" else f"sha256:{papers.fingerprint('mr1')}"
    node = start_tls(SCANNER.model_copy(update={"certificates": (name,)}))
    assert _asked(node, _client(papers, "mr1")) == _ACCEPTED
    assert _asked(node, _client(papers, "mr2")) == _REJECTED
    assert "another certificate" in node.ledger.refused[0]["reason"]


def test_a_source_with_a_certificate_must_show_it(start_tls: Any, papers: Papers, rejection: Any) -> None:
    """On the plain port nobody is taken for a source that has certificates."""
    node = start_tls(SCANNER.model_copy(update={"certificates": ("CN=mr1",)}))
    assert rejection(node.request()) == (1, 1, 3)


def test_a_silent_peer_blocks_nobody(start_tls: Any, papers: Papers, eventually: Any) -> None:
    """Connections that say nothing, or stop in the handshake, wait on threads of their own, and not for ever."""
    node = start_tls(asks=False, reception={"acse_timeout_seconds": 1.0})
    idle = [socket.create_connection(("127.0.0.1", node.scp.tls_port)) for _ in range(20)]
    for line in idle[:10]:
        line.sendall(b"\x16\x03\x01")
    started = time.monotonic()
    assert _asked(node, _client(papers, None)) == _ACCEPTED
    assert time.monotonic() - started < 1
    for line in idle:
        line.settimeout(5)
        assert line.recv(100)[:1] in (b"", b"\x15")  # closed, or told why (alert) before
        line.close()


def test_health_checks_on_the_tls_port(start_tls: Any, papers: Papers, eventually: Any) -> None:
    """A hundred opened and closed connections leave no thread, no row and no refused sender."""
    node = start_tls()
    before = threading.active_count()
    for _ in range(100):
        socket.create_connection(("127.0.0.1", node.scp.tls_port)).close()
    assert eventually(lambda: threading.active_count() <= before)
    assert (node.ledger.records, node.ledger.refused) == ([], [])
    assert _asked(node, _client(papers)) == _ACCEPTED


def test_plain_dicom_on_the_tls_port(start_tls: Any) -> None:
    """An association request without TLS is no handshake: hung up, nothing received, the port still serves."""
    node = start_tls()
    with socket.create_connection(("127.0.0.1", node.scp.tls_port)) as line:
        line.sendall(upper_layer.associate_rq("SCANNER", "NODE", [(MRImageStorage, "1.2.840.10008.1.2")]))
        line.settimeout(5)
        try:
            heard = line.recv(100)
        except ConnectionResetError:
            heard = b""
    assert heard[:1] not in (_ACCEPTED, _REJECTED)
    assert node.still_serves()


def test_tls_only(start_tls: Any, papers: Papers) -> None:
    """`only = true`: there is no plain port."""
    node = start_tls(only=True)
    assert node.scp.port == node.scp.tls_port
    assert _asked(node, _client(papers)) == _ACCEPTED


def test_files_that_are_no_certificates(start_tls: Any, papers: Papers) -> None:
    """The node does not start, and says which file of [reception.tls] is wrong."""
    with pytest.raises(TlsUnusable, match=r"mr1\.key"):
        start_tls(private_key=papers.key("mr1"))
    with pytest.raises(TlsUnusable, match="gone"):
        start_tls(certificate=papers.folder / "gone.pem")
    with pytest.raises(TlsUnusable, match=r"node\.key"):
        start_tls(client_ca=papers.key("node"))


@pytest.fixture
def start_receivers(tmp_path: Path, papers: Papers) -> Iterator[Callable[..., Any]]:
    """Return a function that starts two receiver processes, with TLS beside them, and a real ledger."""
    with ExitStack() as after:

        def start(*sources: Source, **changes: Any) -> Any:
            tls = TlsSettings(
                certificate=papers.certificate("node"),
                private_key=papers.key("node"),
                client_ca=papers.certificate("ca"),
                require_client_certificate=True,
            ).model_copy(update={"port": 0})
            settings = ReceptionSettings(tls=tls).model_copy(
                update={"port": 0, "processes": 2, "journal_mib": 8, **changes}
            )
            ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
            after.callback(ledger.close)
            store = InstanceStore(tmp_path / "store", 0)
            alone = StorageSCP(settings, "NODE", sources, store, ledger.arrivals, time.time)
            url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
            setup = Setup(settings, "NODE", sources, store.root, 0, url, LogSettings())
            scp = ReceiverProcesses(setup, alone.reception)
            scp.start()
            after.callback(scp.stop, 2)
            return SimpleNamespace(scp=scp, ledger=ledger)

        yield start


def _plain(node: Any, calling: str) -> upper_layer.RawAssociation:
    contexts = [(upper_layer.MR_STORAGE, upper_layer.EXPLICIT_LITTLE)]
    return upper_layer.RawAssociation(Peer.parse("NODE", "127.0.0.1", node.scp.port), calling, contexts)


@contextmanager
def _secure(node: Any, papers: Papers, calling: str) -> Iterator[bytes]:
    """Ask for an association over TLS; give the first PDU of the answer, and hang up afterwards."""
    request = upper_layer.associate_rq(calling, "NODE", [(MRImageStorage, upper_layer.EXPLICIT_LITTLE)])
    context = _client(papers)
    with socket.create_connection(("127.0.0.1", node.scp.tls_port), 10) as raw, context.wrap_socket(raw) as line:
        line.sendall(request)
        yield line.recv(1000)


_FULL = struct.pack(">BxIBBBB", upper_layer.ASSOCIATE_RJ, 4, 0, 2, 3, 2)  # transient, local limit exceeded


def test_tls_beside_several_processes(
    start_receivers: Any, papers: Papers, require_tool: Any, file: Path, mr_image: Any, encoded: Any
) -> None:
    """Both ports serve: what came by either is in the one ledger; a certificate still belongs to its AE title."""
    own = Source(name="own", ae_titles=("SCANNER",), addresses=("*",), certificates=("CN=mr1",))
    node = start_receivers(own, Source(name="plain", ae_titles=("PLAIN",), addresses=("*",)))
    assert _storescu(require_tool, node, papers, "mr1", "ca", file) == 0
    assert _storescu(require_tool, node, papers, "mr2", "ca", file) != 0
    image = mr_image()
    with _plain(node, "PLAIN") as line:
        assert line.store(1, MRImageStorage, image.SOPInstanceUID, encoded(image)) == 0
    with pytest.raises(upper_layer.LineGone):
        _plain(node, "SCANNER")
    assert node.scp.all_settled(10)
    with node.ledger.engine.connect() as connection:
        kept = set(connection.execute(select(instances.c.sop_instance_uid)).scalars())
    assert kept == {str(dcmread(file).SOPInstanceUID), image.SOPInstanceUID}
    (refused,) = node.ledger.arrivals.refused()  # counted over both ports
    assert (refused.calling, refused.count) == ("SCANNER", 2)


def test_limits_hold_over_tls_and_all_processes(start_receivers: Any, papers: Papers, eventually: Any) -> None:
    """`maximum_associations` and the share of a caller count both ports; what one gives back the other can take."""
    anybody = Source(name="anybody", ae_titles=("*",), addresses=("*",))
    node = start_receivers(anybody, maximum_associations=4, maximum_associations_per_caller=3)

    def served(calling: str) -> bool:
        with _secure(node, papers, calling) as answer:
            return answer[:1] == _ACCEPTED

    with _secure(node, papers, "A") as first, _plain(node, "A"), _plain(node, "A") as third:
        assert first[:1] == _ACCEPTED
        with _secure(node, papers, "A") as fourth:
            assert fourth == _FULL
        with pytest.raises(upper_layer.LineGone):
            _plain(node, "A")
        with _secure(node, papers, "B") as other:
            assert other[:1] == _ACCEPTED
            with pytest.raises(upper_layer.LineGone):
                _plain(node, "C")
            with _secure(node, papers, "C") as sixth:
                assert sixth == _FULL
            third.release()
            assert eventually(lambda: served("A"))
    assert eventually(lambda: served("A"))


def test_a_node_of_several_processes_with_tls_only(tmp_path: Path, papers: Papers, eventually: Any) -> None:
    """`only = true` beside `processes = 2`: the node listens on the port for TLS, and on no other."""
    tls_port = free_port()
    reception = f"""processes = 2
[reception.tls]
certificate = "{papers.certificate("node")}"
private_key = "{papers.key("node")}"
port = {tls_port}
only = true
"""
    node = NodeProcess.alone(tmp_path / "node", reception=reception)
    node.start(wait=False)
    tls = SimpleNamespace(scp=SimpleNamespace(tls_port=tls_port))

    def served() -> bool:
        try:
            return _asked(tls, _client(papers, None)) == _ACCEPTED
        except ConnectionRefusedError:
            return False

    try:
        assert eventually(served, 60)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", node.port))
        listening = {
            line.laddr.port for line in psutil.Process(node.pid).net_connections() if line.status == "LISTEN"
        }
        assert tls_port in listening
        assert node.port not in listening
    finally:
        node.stop()
