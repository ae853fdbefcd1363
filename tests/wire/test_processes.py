"""Several receiver processes on one port, with a real ledger: counted together, restarted, gone with their node."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association

from dicom_node.ledger import open_ledger
from dicom_node.settings import LogSettings, ReceptionSettings, Source
from dicom_node.storage_scp import ReceiverProcesses, Setup

EVERYBODY = (Source(name="everybody", ae_titles=("*",), addresses=("*",)),)


def _setup(folder: Path, **changes: Any) -> Setup:
    settings = ReceptionSettings().model_copy(update={"port": 0, "processes": 2, **changes})
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    open_ledger(url).close()
    return Setup(settings, "NODE", EVERYBODY, folder / "store", 0, url, LogSettings())


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[ReceiverProcesses]:
    """Two receivers with room for four associations."""
    scp = ReceiverProcesses(_setup(tmp_path, maximum_associations=4))
    scp.start()
    yield scp
    scp.stop(2)


def _associate(port: int) -> Association:
    entity = AE("SCANNER")
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    return entity.associate("127.0.0.1", port, ae_title="NODE")


def _store(association: Association, image: Any) -> int:
    image.file_meta = _meta()
    return int(association.send_c_store(image).Status)


def _meta() -> Any:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _instances(folder: Path) -> int:
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}", create=False)
    with ledger.engine.connect() as connection:
        count = int(connection.exec_driver_sql("SELECT count(*) FROM instances").scalar() or 0)
    ledger.close()
    return count


def test_all_receivers_take_part(receivers: ReceiverProcesses, tmp_path: Path, mr_image: Any) -> None:
    """Associations spread over the processes; what each acknowledged is in the one ledger."""

    def send(association: Association) -> list[int]:
        return [_store(association, mr_image()) for _ in range(5)]

    associations = [_associate(receivers.port) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(send, associations)) == [[0] * 5] * 4
    open_files = [len(psutil.Process(pid).net_connections()) for pid in receivers.pids]
    for association in associations:
        association.release()
    assert _instances(tmp_path) == 20
    assert min(open_files) > 1, open_files  # the listening socket, and at least one association


def test_the_limit_holds_over_all_processes(receivers: ReceiverProcesses, eventually: Any) -> None:
    """`maximum_associations` counts all receivers together; a place given back can be taken."""
    associations = [_associate(receivers.port) for _ in range(4)]
    assert all(each.is_established for each in associations)
    assert _associate(receivers.port).is_rejected
    associations[0].release()
    assert eventually(lambda: (fifth := _associate(receivers.port)).is_established and not fifth.release())
    for association in associations[1:]:
        association.release()


def test_a_killed_receiver_is_replaced(
    receivers: ReceiverProcesses, tmp_path: Path, mr_image: Any, eventually: Any
) -> None:
    """Kill -9 of one receiver: the port stays open, its places are free, another takes its place."""
    before = receivers.pids
    os.kill(before[0], signal.SIGKILL)
    assert eventually(lambda: len(receivers.pids) == 2 and receivers.pids[0] != before[0], 30)
    associations = [_associate(receivers.port) for _ in range(4)]
    assert all(each.is_established for each in associations)
    assert [_store(each, mr_image()) for each in associations] == [0] * 4
    for association in associations:
        association.release()
    assert _instances(tmp_path) == 4


def test_receivers_end_with_their_node(tmp_path: Path, eventually: Any) -> None:
    """Kill -9 of the node: no receiver stays behind to take what nobody will route."""
    code = (
        "import pickle, sys, signal; from dicom_node.storage_scp import ReceiverProcesses;"
        "scp = ReceiverProcesses(pickle.loads(bytes.fromhex(sys.argv[1]))); scp.start();"
        "print(*scp.pids, flush=True); signal.pause()"
    )
    setup = pickle.dumps(_setup(tmp_path)).hex()
    with subprocess.Popen([sys.executable, "-c", code, setup], stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        pids: list[int] = []
        while not pids:
            words = node.stdout.readline().split()
            pids = [int(word) for word in words] if words and all(word.isdigit() for word in words) else []
        node.kill()
        assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), 20)


def test_two_nodes_cannot_share_a_port(receivers: ReceiverProcesses, tmp_path: Path) -> None:
    """A second node on the port raises, instead of taking half of its associations."""
    other = ReceiverProcesses(_setup(tmp_path, port=receivers.port))
    with pytest.raises(OSError, match="in use"):
        other.start()
    other.stop()


def test_a_receiver_is_lean() -> None:
    """A receiver loads nothing of pipelines, results or computing."""
    code = "import sys, dicom_node.storage_scp.receiver_process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "highdicom", "monai", "dask", "distributed", "nicegui"} & set(loaded)
