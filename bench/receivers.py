"""The node and its peers as processes that receive: started fresh for each run, watched while they work."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from bench.peers import NodeProcess, settings_text
from dicom_node.demo.stored import LOOPBACK, answers_echo, free_port
from dicom_node.entities import Peer

_LOOK_SECONDS: Final = 0.05
_START_SECONDS: Final = 60.0
_MIB: Final = 2**20


@dataclass
class Running:
    """One receiver that answers, the root of its processes, and how many instances it says that it has."""

    peer: Peer
    process: psutil.Process
    kept: Callable[[], int]


class Watch:
    """CPU seconds and peak memory of a tree of processes, between two moments."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._before = _cpu(root)
        self._over = threading.Event()
        self.peak_mib = 0.0
        self.lowest_mib = float("inf")
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> float:
        """Stop watching; return the CPU seconds used."""
        self._over.set()
        self._thread.join()
        return _cpu(self._root) - self._before

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            sizes = [_resident(each) for each in _receiving(self._root)]
            self.peak_mib = max([self.peak_mib, *sizes])
            self.lowest_mib = min([self.lowest_mib, max(sizes, default=0.0)])


def _tree(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _receiving(root: psutil.Process) -> list[psutil.Process]:
    """Return the processes whose memory counts: of the node, those that receive."""
    tree = _tree(root)
    own = [each for each in tree if "receiver_process" in " ".join(_command(each))]
    return own or tree


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / _MIB
    except psutil.NoSuchProcess:
        return 0.0


def _cpu(root: psutil.Process) -> float:
    total = 0.0
    for process in _tree(root):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def node(folder: Path, *, engine: str = "fast", processes: int = 2) -> Iterator[Running]:
    """The whole node, with a ledger, its ticks and no rule that fits."""
    port = free_port()
    reception = f'engine = "{engine}"\nprocesses = {processes}\nmaximum_associations = 1000'
    settings = settings_text({}, port, reception=reception)
    with NodeProcess(folder, settings, "", port) as running, running.ledger() as ledger:

        def kept() -> int:
            with ledger.engine.connect() as connection:
                return int(connection.exec_driver_sql("SELECT count(*) FROM instances").scalar() or 0)

        yield Running(running.peer, psutil.Process(running.pid), kept)


@contextmanager
def _process(command: list[str], called: str, port: int, kept: Callable[[], int], folder: Path) -> Iterator[Running]:
    log = (folder / "log.txt").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            peer = Peer.parse(called, LOOPBACK, port)
            until = time.monotonic() + _START_SECONDS
            while not answers_echo(peer, "STORESCU"):
                assert time.monotonic() < until, f"{command[0]} did not start"
                time.sleep(0.1)
            yield Running(peer, psutil.Process(process.pid), kept)
        finally:
            process.terminate()
            process.wait()


def _files(folder: Path) -> Callable[[], int]:
    return lambda: sum(1 for path in folder.iterdir() if path.name != "log.txt")


@contextmanager
def receivers(folder: Path) -> Iterator[Running]:
    """The node's receivers and ledger, without the flow that reads headers and looks for work meanwhile."""
    port = free_port()
    command = [sys.executable, "-m", "bench.only_reception", str(port), str(folder)]

    def kept() -> int:
        return sum(1 for _ in (folder / "instances").rglob("*.dcm"))

    with _process(command, "NODE", port, kept, folder) as running:
        yield running


@contextmanager
def storescp(folder: Path) -> Iterator[Running]:
    """DCMTK's storescp, a process for each association; it does not sync."""
    port = free_port()
    command = ["/usr/bin/storescp", "-ll", "error", "--fork", "+xa", "--max-pdu", "131072", "-od", str(folder)]
    with _process([*command, str(port)], "ANY", port, _files(folder), folder) as running:
        yield running


@contextmanager
def pynetdicom(folder: Path) -> Iterator[Running]:
    """Plain pynetdicom that writes files; it does not sync."""
    port = free_port()
    command = [sys.executable, "-m", "bench.plain_scp", str(port), str(folder)]
    with _process(command, "PLAIN", port, _files(folder), folder) as running:
        yield running


@contextmanager
def orthanc(folder: Path) -> Iterator[Running]:
    """Orthanc as it comes: SQLite index, files synced."""
    port = free_port()
    store = folder / "store"
    configuration = {
        "StorageDirectory": str(store),
        "IndexDirectory": str(folder),
        "HttpServerEnabled": False,
        "DicomPort": port,
        "DicomCheckCalledAet": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin") or "Orthanc"

    def kept() -> int:
        return sum(1 for path in store.rglob("*") if path.is_file())

    with _process([program, str(folder / "orthanc.json")], "ORTHANC", port, kept, folder) as running:
        yield running


RECEIVERS: Final[Mapping[str, Callable[[Path], object]]] = {
    "node": node,
    "receivers": receivers,
    "storescp": storescp,
    "orthanc": orthanc,
    "pynetdicom": pynetdicom,
}
