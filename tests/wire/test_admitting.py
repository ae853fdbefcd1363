"""Who may call changes while a node receives: at once, in every process, and without touching an open association."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association

from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import open_ledger
from dicom_node.requestor import leave_answers
from dicom_node.settings import Engine, LogSettings, ReceptionSettings, Source
from dicom_node.storage_scp import ReceiverProcesses, Setup, StorageSCP

SCANNER = Source(name="scanner", ae_titles=("SCANNER",), addresses=("127.0.0.1",))
STRANGER = Source(name="stranger", ae_titles=("STRANGER",), addresses=("127.0.0.1",))


def test_one_process_lets_in_whom_it_is_told(start_node: Any, rejection: Any) -> None:
    """Refused, then let in, then refused again; an association that was open before goes on storing."""
    node = start_node((SCANNER,))
    with node.line(calling="SCANNER") as line:
        assert rejection(node.request(calling="STRANGER")) == (1, 1, 3)
        node.scp.admit((STRANGER,))
        with node.line(calling="STRANGER") as other:
            assert other.object().Status == 0x0000
        assert rejection(node.request(calling="SCANNER")) == (1, 1, 3)
        assert line.object().Status == 0x0000


@pytest.fixture(params=list(Engine))
def receivers(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ReceiverProcesses]:
    """Two receiver processes that know the scanner alone."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    settings = ReceptionSettings().model_copy(update={"port": 0, "processes": 2, "engine": request.param})
    ledger = open_ledger(url)
    store = InstanceStore(tmp_path / "store", 0)
    alone = StorageSCP(settings, "NODE", (SCANNER,), store, ledger.arrivals, lambda: 0.0)
    scp = ReceiverProcesses(Setup(settings, "NODE", (SCANNER,), store.root, 0, url, LogSettings()), alone.reception)
    scp.start()
    yield scp
    scp.stop(2)
    ledger.close()


def _asked(port: int, calling: str) -> Association:
    entity = AE(calling)
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title="NODE")
    leave_answers(association)
    return association


def _lets_in(port: int, calling: str, times: int = 8) -> set[bool]:
    """Ask so often that every process has been asked; return what the answers were."""
    answers = set()
    for _ in range(times):
        association = _asked(port, calling)
        answers.add(association.is_established)
        if association.is_established:
            association.release()
    return answers


def test_every_process_is_told(receivers: ReceiverProcesses, mr_image: Any, eventually: Any) -> None:
    """A refused caller is let in by all receivers; what was open stores on, also when its own source is gone."""
    from_before = _asked(receivers.port, "SCANNER")
    assert _lets_in(receivers.port, "STRANGER") == {False}
    receivers.admit((STRANGER,))
    assert eventually(lambda: _lets_in(receivers.port, "STRANGER") == {True}, 2.0)
    assert _lets_in(receivers.port, "SCANNER") == {False}
    image = mr_image()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert from_before.send_c_store(image).Status == 0x0000
    from_before.release()


def test_a_receiver_that_starts_again_knows_whom_to_let_in(receivers: ReceiverProcesses, eventually: Any) -> None:
    """A successor is told the sources of now, not those of the node's start."""
    receivers.admit((STRANGER,))
    before = set(receivers.pids)
    for pid in before:
        psutil.Process(pid).kill()
    assert eventually(lambda: not before & set(receivers.pids), 30.0)
    assert eventually(lambda: _lets_in(receivers.port, "STRANGER") == {True}, 30.0)
    assert _lets_in(receivers.port, "SCANNER") == {False}
