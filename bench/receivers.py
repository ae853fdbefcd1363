"""The node and its peers as processes that receive, with folders of their own."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from bench.peers import NodeProcess, settings_text
from dicom_node.demo.stored import LOOPBACK, answers_echo, free_port
from dicom_node.entities import Peer

_START_SECONDS: Final = 60.0
#: Of the Debian package orthanc-dicomweb.
_DICOMWEB: Final = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


@dataclass
class Running:
    """One receiver that answers, the root of its processes, and how many instances it says that it has."""

    peer: Peer
    process: psutil.Process
    kept: Callable[[], int]
    url: str = ""
    "Where it takes STOW-RS, if it does."


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
    with _orthanc(folder, {}) as running:
        yield running


@contextmanager
def orthanc_web(folder: Path) -> Iterator[Running]:
    """Orthanc with its DICOMweb plugin."""
    port = free_port()
    options = {
        "HttpServerEnabled": True,
        "HttpPort": port,
        "Plugins": [_DICOMWEB],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    with _orthanc(folder, options) as running:
        running.url = f"http://{LOOPBACK}:{port}/dicom-web/studies"
        yield running


@contextmanager
def _orthanc(folder: Path, options: Mapping[str, object]) -> Iterator[Running]:
    port = free_port()
    store = folder / "store"
    configuration = {
        "StorageDirectory": str(store),
        "IndexDirectory": str(folder),
        "HttpServerEnabled": False,
        "DicomPort": port,
        "DicomCheckCalledAet": False,
        "Plugins": [],
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin") or "Orthanc"

    def kept() -> int:
        return sum(1 for path in store.rglob("*") if path.is_file())

    with _process([program, str(folder / "orthanc.json")], "ORTHANC", port, kept, folder) as running:
        yield running


RECEIVERS: Final[Mapping[str, Callable[[Path], AbstractContextManager[Running]]]] = {
    "node": node,
    "receivers": receivers,
    "storescp": storescp,
    "orthanc": orthanc,
    "pynetdicom": pynetdicom,
}
