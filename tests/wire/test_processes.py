"""Several receiver processes on one port, with a real ledger: counted together, restarted, gone with their node."""

import fcntl
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from sqlalchemy import select

from bench.upper_layer import EXPLICIT_LITTLE, LineGone, RawAssociation
from dicom_node.entities import Peer
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.ledger.schema import associations
from dicom_node.requestor import leave_answers
from dicom_node.settings import LogSettings, ReceptionSettings, Source
from dicom_node.storage_scp import ReceiverProcesses, Setup, StorageSCP
from dicom_node.storage_scp.receiver_process import receive
from dicom_node.storage_scp.sole import ReceiversRemain, alone

EVERYBODY = (Source(name="everybody", ae_titles=("*",), addresses=("*",)),)


def _setup(folder: Path, **changes: Any) -> Setup:
    settings = ReceptionSettings().model_copy(update={"port": 0, "processes": 2, "journal_mib": 8, **changes})
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    open_ledger(url).close()
    return Setup(settings, "NODE", EVERYBODY, folder / "store", 0, url, LogSettings())


@contextmanager
def _made(setup: Setup, lose: Callable[[str], int] | None = None) -> Iterator[ReceiverProcesses]:
    """Make receivers as the node does; stop them afterwards."""
    ledger = open_ledger(setup.ledger_url, create=False)
    store = InstanceStore(setup.store, 0)
    alone = StorageSCP(setup.settings, "NODE", setup.sources, store, ledger.arrivals, time.time)
    scp = ReceiverProcesses(setup, alone.reception, lose)
    try:
        yield scp
    finally:
        scp.stop(2)
        ledger.close()


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[ReceiverProcesses]:
    """Two receivers with room for four associations."""
    with _made(_setup(tmp_path, maximum_associations=4)) as scp:
        scp.start()
        yield scp


def _associate(port: int) -> Association:
    entity = AE("SCANNER")
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title="NODE")
    leave_answers(association)
    return association


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
    assert receivers.all_settled(10)
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
    assert receivers.all_settled(10)
    assert _instances(tmp_path) == 4


def _raw(scp: ReceiverProcesses) -> RawAssociation:
    return RawAssociation(Peer.parse("NODE", "127.0.0.1", scp.port), "SCANNER", [(MRImageStorage, EXPLICIT_LITTLE)])


def _rejected(scp: ReceiverProcesses) -> bool:
    try:
        _raw(scp).release()
    except LineGone:
        return True
    return False


def _ends(ledger: Ledger, pid: int) -> list[str | None]:
    """Return how the associations of one receiver have ended; None for those that are open."""
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(associations.c.id, associations.c.ended)).all()
    return [row.ended for row in rows if row.id.startswith(f"{pid:x}-")]


def test_what_a_killed_receiver_leaves_open_is_lost(
    tmp_path: Path, mr_image: Any, encoded: Any, eventually: Any
) -> None:
    """Kill -9 of one of two receivers: its associations end as LOST, their places and no others are free."""
    setup = _setup(tmp_path, maximum_associations=4)
    ledger = open_ledger(setup.ledger_url, create=False)
    with ExitStack() as after:
        after.callback(ledger.close)
        scp = after.enter_context(_made(setup, lambda mark: ledger.arrivals.lose_associations(mark, time.time())))
        scp.start()
        lines = [after.enter_context(_raw(scp)) for _ in range(4)]
        images = [mr_image() for _ in lines]
        stored = [
            line.store(1, MRImageStorage, image.SOPInstanceUID, encoded(image))
            for line, image in zip(lines, images, strict=True)
        ]
        assert stored == [0] * 4
        assert _rejected(scp)
        assert scp.all_settled(10)
        killed, other = scp.pids
        its, others = len(_ends(ledger, killed)), len(_ends(ledger, other))
        assert min(its, others) > 0
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: _ends(ledger, killed) == ["lost"] * its, 30)
        assert _ends(ledger, other) == [None] * others
        again = [after.enter_context(_raw(scp)) for _ in range(its)]
        assert len(again) == its
        assert _rejected(scp)


def test_a_ledger_that_fails_keeps_no_receiver_down(tmp_path: Path, eventually: Any) -> None:
    """If the losses of a killed receiver cannot be noted, receivers are started again all the same."""

    def fail(_mark: str) -> int:
        raise OSError

    with _made(_setup(tmp_path), fail) as scp:
        scp.start()
        for _ in range(2):
            before = scp.pids
            os.kill(before[0], signal.SIGKILL)
            assert eventually(lambda before=before: scp.pids[0] != before[0], 30)
        assert not _rejected(scp)


def test_receivers_end_with_their_node(tmp_path: Path, eventually: Any) -> None:
    """Kill -9 of the node: no receiver stays behind to take what nobody will route."""
    code = (
        "import pickle, sys, signal, time; from dicom_node.storage_scp import ReceiverProcesses, StorageSCP;"
        "from dicom_node.instance_store import InstanceStore; from dicom_node.ledger import open_ledger;"
        "setup = pickle.loads(bytes.fromhex(sys.argv[1])); ledger = open_ledger(setup.ledger_url);"
        "store = InstanceStore(setup.store, 0);"
        "alone = StorageSCP(setup.settings, 'NODE', setup.sources, store, ledger.arrivals, time.time);"
        "scp = ReceiverProcesses(setup, alone.reception); scp.start();"
        "print(*scp.pids, flush=True); signal.pause()"
    )
    setup = pickle.dumps(_setup(tmp_path)).hex()
    with subprocess.Popen([sys.executable, "-c", code, setup], stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        pids: list[int] = []
        while not pids:
            line = node.stdout.readline()
            assert line, "the node has ended"
            words = line.split()
            pids = [int(word) for word in words] if words and all(word.isdigit() for word in words) else []
        node.kill()
        assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), 20)


def test_two_nodes_cannot_share_a_port(receivers: ReceiverProcesses, tmp_path: Path) -> None:
    """A second node on the port raises, instead of taking half of its associations."""
    folder = tmp_path / "other"
    folder.mkdir()
    with _made(_setup(folder, port=receivers.port)) as other, pytest.raises(OSError, match="in use"):
        other.start()


def test_the_receivers_of_a_killed_node_are_waited_for(tmp_path: Path) -> None:
    """While a process that the node before has left behind holds the lock of the store, no receiver starts."""
    with (tmp_path / "receivers.lock").open("w") as lock, _made(_setup(tmp_path)) as scp:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(["sleep", "1"], pass_fds=(lock.fileno(),)) as orphan:
            lock.close()  # as the killed node does
            scp.start()
            assert orphan.poll() == 0
        assert not _rejected(scp)


def test_receivers_that_do_not_go_are_named(receivers: ReceiverProcesses, tmp_path: Path) -> None:
    """A node that waits in vain says what to end."""
    assert receivers.pids
    with pytest.raises(ReceiversRemain, match="receiver_process"):
        alone(tmp_path / "receivers.lock", 0.2)


def test_a_receiver_without_its_node_touches_nothing(tmp_path: Path) -> None:
    """One whose node is killed while it starts ends before it reads a journal or opens the ledger."""
    setup = replace(_setup(tmp_path), ledger_url="sqlite:////nowhere/ledger.sqlite", store=Path("/nowhere"))
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs, socket.socket() as door:
        receive(setup, door, theirs, theirs, -1, 0)


def test_a_receiver_is_lean() -> None:
    """A receiver loads nothing of pipelines, results or computing."""
    code = "import sys, dicom_node.storage_scp.receiver_process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "highdicom", "monai", "dask", "distributed", "nicegui"} & set(loaded)
