"""What 0x0000 promises, and what the ledger hears of an association."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification

from dicom_node.entities import Arrival, AssociationEnd, SameUidPolicy


def test_an_acknowledged_instance_is_on_disk_and_noted(node: Any, mr_image: Any, encoded: Any) -> None:
    """0x0000: the bytes are under their final name, as received, and the arrival was noted."""
    image = mr_image()
    with node.line() as line:
        answer = line.store(encoded(image), MRImageStorage, image.SOPInstanceUID)
    assert answer.Status == 0x0000
    (kept,) = node.ledger.instances
    raw = node.store.path_of(kept.path).read_bytes()
    assert raw.endswith(encoded(image))
    stored = dcmread(node.store.path_of(kept.path))
    assert stored.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
    assert stored.file_meta.SourceApplicationEntityTitle == "SCANNER"
    assert stored == image
    assert node.files("incoming") == []


#: What is answered out of the journal waits for no ledger and no folder: see test_recovery and test_disk_trouble.
_WITHOUT_JOURNAL = pytest.mark.parametrize("way", ["fast", "pynetdicom"], indirect=True)
_WITH_JOURNAL = pytest.mark.parametrize("way", ["journal"], indirect=True)


@_WITHOUT_JOURNAL
def test_success_waits_for_the_ledger(node: Any, eventually: Any) -> None:
    """While the ledger has not returned, no answer is given; then it is 0x0000."""
    node.ledger.gate.clear()
    answers: list[Dataset] = []
    with node.line() as line:
        thread = threading.Thread(target=lambda: answers.append(line.object()))
        thread.start()
        assert node.ledger.asked.wait(10)
        assert len(node.files("instances")) == 1  # the bytes come first
        time.sleep(0.3)
        assert answers == []
        node.ledger.gate.set()
        thread.join(10)
    assert answers[0].Status == 0x0000


@_WITH_JOURNAL
def test_the_journal_waits_for_no_ledger(node: Any) -> None:
    """While the ledger has not returned, 0x0000 is given out of the journal; then the arrival is noted."""
    node.ledger.gate.clear()
    with node.line() as line:
        assert line.object().Status == 0x0000
        assert node.ledger._instances == []
        node.ledger.gate.set()
    assert len(node.ledger.instances) == 1


@_WITH_JOURNAL
def test_what_was_answered_and_can_never_be_noted(node: Any, mr_image: Any, encoded: Any, eventually: Any) -> None:
    """An error that does not pass: the bytes stay, an event says where, the others are noted, the node goes on."""
    node.ledger.error = RuntimeError("the ledger has lost its mind, and quotes Doe^Jane")
    image = mr_image()
    with node.line() as line:
        assert line.store(encoded(image), MRImageStorage, image.SOPInstanceUID).Status == 0x0000
        assert eventually(lambda: node.ledger.quarantined)
        node.ledger.error = None
        assert line.object().Status == 0x0000
    ((uid, status, reason, path),) = node.ledger.quarantined
    assert (uid, status) == (image.SOPInstanceUID, 0x0110)
    assert "Doe" not in reason
    assert (node.store.root / path).read_bytes().endswith(encoded(image))
    assert len(node.ledger.instances) == 1
    assert node.still_serves()


@_WITHOUT_JOURNAL
def test_a_failing_ledger_is_never_answered_with_success(node: Any) -> None:
    """An arrival that cannot be noted: 0x0110 (PS3.7 C.5.14), the node goes on."""
    node.ledger.error = RuntimeError("the ledger has lost its mind, and quotes Doe^Jane")
    with node.line() as line:
        answer = line.object()
        assert answer.Status == 0x0110
        assert "Doe" not in answer.ErrorComment
        node.ledger.error = None
        assert line.object().Status == 0x0000
    assert node.still_serves()


@_WITHOUT_JOURNAL
def test_a_full_ledger_disk_is_out_of_resources(node: Any) -> None:
    """No space left on device, wherever it strikes: 0xA700 (PS3.4 B.2.3), so that the sender tries again."""
    node.ledger.error = OSError(28, "No space left on device")
    with node.line() as line:
        assert line.object().Status == 0xA700
    node.ledger.error = None
    assert node.still_serves()


@_WITHOUT_JOURNAL
def test_an_unwritable_store_is_out_of_resources(node: Any) -> None:
    """If bytes cannot be written, 0xA700 and no arrival; the association lives."""
    with node.line() as line:
        shutil.rmtree(node.store.receive_folder)
        answer = line.object()
        assert answer.Status == 0xA700
        assert node.ledger.instances == []
        node.store.receive_folder.mkdir()
        assert line.object().Status == 0x0000


def test_the_same_instance_again_is_no_new_work(node: Any, mr_image: Any, encoded: Any) -> None:
    """Same UID, same bytes: 0x0000, the ledger says REPEATED, one file on disk."""
    data, uid = encoded(mr_image(SOPInstanceUID="2.25.77")), "2.25.77"
    with node.line() as line:
        assert [line.store(data, MRImageStorage, uid).Status for _ in range(3)] == [0, 0, 0]
    assert node.ledger.outcomes == [Arrival.NEW, Arrival.REPEATED, Arrival.REPEATED]
    assert len(node.files("instances")) == 1


@pytest.mark.parametrize(
    ("policy", "status"),
    [(SameUidPolicy.KEEP_FIRST, 0x0000), (SameUidPolicy.KEEP_LAST, 0x0000), (SameUidPolicy.REFUSE, 0x0111)],
)
def test_the_same_uid_with_other_bytes(
    start_node: Any, mr_image: Any, encoded: Any, policy: SameUidPolicy, status: int
) -> None:
    """The policy decides the answer (0x0111: PS3.7 C.5.3); both bytes stay on disk in every case."""
    node = start_node(same_uid_other_bytes=policy)
    with node.line() as line:
        for rows in (16, 17):
            answer = line.store(encoded(mr_image(SOPInstanceUID="2.25.5", Rows=rows)), MRImageStorage, "2.25.5")
    assert answer.Status == status
    assert len(node.files("instances")) == 2
    assert len({kept.path for kept in node.ledger.instances}) == 2
    assert node.files("quarantine") == []
    assert node.still_serves()


def test_a_release_is_noted_after_the_last_arrival(node: Any, eventually: Any) -> None:
    """A normal release is RELEASED, noted once, after every arrival (PS3.8 7.2)."""
    with node.line() as line:
        for _ in range(3):
            assert line.object().Status == 0
    assert eventually(lambda: node.ledger.ends)
    assert node.ledger.log == ["arrival"] * 3 + ["end"]
    ((association, end),) = node.ledger.ends
    assert (association.calling, association.called, association.address) == ("SCANNER", "NODE", "127.0.0.1")
    assert end is AssociationEnd.RELEASED


def test_an_abort_is_noted_as_such(node: Any, eventually: Any) -> None:
    """A-ABORT by the sender (PS3.8 7.3) is ABORTED, not a release."""
    with node.line() as line:
        line.object()
        line.association.abort()
    assert eventually(lambda: node.ledger.ends)
    assert node.ledger.ends[0][1] is AssociationEnd.ABORTED


def test_a_lost_connection_is_noted_as_such(node: Any, eventually: Any) -> None:
    """A connection that goes away without a word is LOST."""
    with node.line() as line:
        line.object()
        line.association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        assert eventually(lambda: node.ledger.ends)
    assert node.ledger.ends[0][1] is AssociationEnd.LOST


def test_an_association_without_instances_leaves_no_row(node: Any) -> None:
    """C-ECHO and empty associations are not ends of anything."""
    association = node.request(contexts=[build_context(Verification)])
    assert association.send_c_echo().Status == 0x0000
    association.release()
    node.request().release()
    time.sleep(0.2)
    assert node.ledger.ends == []


def test_a_transfer_cut_short_is_not_kept(node: Any, mr_image: Any, encoded: Any, eventually: Any) -> None:
    """Bytes that stop in the middle of a data set leave no instance and no temporary file behind."""
    association = node.request()
    dimse, context = association.dimse, association.accepted_contexts[0]
    sent: list[Any] = []
    association.dul.send_pdu, original = sent.append, association.dul.send_pdu
    request = _request(encoded(mr_image(PixelData=bytes(4_000_000), Rows=500, Columns=500)))
    dimse.send_msg(request, context.context_id)
    for fragment in sent[: len(sent) // 2]:
        original(fragment)
    assert eventually(lambda: node.files("incoming"))
    association.dul.send_pdu = original
    association.abort()
    assert eventually(lambda: not node.files("incoming"))
    assert (node.files("instances"), node.ledger.instances) == ([], [])
    assert node.still_serves()


def _request(data: bytes) -> Any:
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = MRImageStorage, "2.25.9"
    request.DataSet = BytesIO(data)
    return request


def test_health_checks_cost_nothing(node: Any, eventually: Any) -> None:
    """A hundred opened and closed connections leave no thread, no row, no refused sender, and service unharmed."""
    before = threading.active_count()
    for _ in range(100):
        socket.create_connection(("127.0.0.1", node.scp.port)).close()
    assert eventually(lambda: threading.active_count() <= before)
    assert (node.ledger.ends, node.ledger.refused) == ([], [])
    assert node.still_serves()


def test_what_is_not_dicom_is_sent_away(node: Any, eventually: Any) -> None:
    """A browser or a port scanner gets an A-ABORT (PS3.8 9.3.8) and no thread."""
    before = threading.active_count()
    with socket.create_connection(("127.0.0.1", node.scp.port)) as line:
        line.sendall(b"GET / HTTP/1.1\r\n\r\n")
        line.settimeout(10)
        assert line.recv(10) == bytes.fromhex("07000000000400000201")
    assert eventually(lambda: threading.active_count() <= before)
    assert node.still_serves()


def test_a_silent_connection_is_closed_in_time(start_node: Any, eventually: Any) -> None:
    """Whoever connects and says nothing is closed after the ACSE timeout."""
    node = start_node(acse_timeout_seconds=0.3)
    with socket.create_connection(("127.0.0.1", node.scp.port)) as line:
        line.settimeout(10)
        assert line.recv(1) == b""


def test_a_peer_that_stops_in_the_middle_of_a_pdu_is_let_go(start_node: Any, eventually: Any) -> None:
    """Half a PDU and then silence: the network timeout ends it, no thread stays."""
    node = start_node(network_timeout_seconds=0.5)
    before = threading.active_count()
    association = node.request()
    association.dul.socket.socket.sendall(bytes.fromhex("0400000010000000"))
    assert eventually(lambda: threading.active_count() <= before)


def test_start_raises_where_the_port_is_taken(node: Any, start_node: Any) -> None:
    """`start` raises in its caller; nothing runs that does not listen."""
    with pytest.raises(OSError, match="in use"):
        start_node(port=node.scp.port)


@_WITHOUT_JOURNAL
def test_stop_lets_a_running_store_finish(node: Any) -> None:
    """`stop` waits for the C-STORE under way, and its sender still gets 0x0000; afterwards nobody connects."""
    node.ledger.gate.clear()
    answers: list[Dataset] = []
    association_line = node.line()
    with association_line as line:
        sender = threading.Thread(target=lambda: answers.append(line.object()))
        sender.start()
        assert node.ledger.asked.wait(10)
        port = node.scp.port
        stopper = threading.Thread(target=node.scp.stop, args=(10,))
        stopper.start()
        time.sleep(0.3)
        assert answers == []
        node.ledger.gate.set()
        sender.join(10)
        stopper.join(10)
    assert answers[0].Status == 0x0000
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_many_senders_at_once(node: Any) -> None:
    """Eight associations side by side lose nothing and double nothing."""
    statuses: list[int] = []

    def send() -> None:
        with node.line() as line:
            statuses.extend(line.object().Status for _ in range(10))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [0] * 80
    assert len(node.files("instances")) == len({kept.sop_instance_uid for kept in node.ledger.instances}) == 80


def test_a_big_object_does_not_sit_in_memory(node: Any, mr_image: Any, require_tool: Any, tmp_path: Path) -> None:
    """300 MB come in fragments: the process grows by far less, and the bytes are the sender's."""
    size = 300_000_000
    image = mr_image(Rows=15000, Columns=10000, PixelData=os.urandom(1_000_000) * (size // 1_000_000))
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source = tmp_path / "big.dcm"
    image.save_as(source, enforce_file_format=True)
    del image
    before = _resident()
    sender = subprocess.Popen(
        [
            require_tool("storescu", "dcmtk"),
            "--max-pdu",
            "131072",
            "-aec",
            "NODE",
            "127.0.0.1",
            str(node.scp.port),
            source,
        ]
    )
    peak = before
    while sender.poll() is None:
        peak = max(peak, _resident())
        time.sleep(0.02)
    assert sender.returncode == 0
    (kept,) = node.ledger.instances
    with source.open("rb") as file:
        file.seek(-size, os.SEEK_END)
        pixels = hashlib.file_digest(file, "sha256").digest()
    with node.store.path_of(kept.path).open("rb") as file:
        file.seek(-size, os.SEEK_END)
        assert hashlib.file_digest(file, "sha256").digest() == pixels
    assert peak - before < size / 4, f"grew by {(peak - before) / 1e6:.0f} MB"


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
