"""A node that fetches: a real ledger and store, a port for C-MOVE, and archives to fetch from."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import answers_echo, free_port
from dicom_node.entities import Peer
from dicom_node.fetching import Pulled, Puller
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger
from dicom_node.retrieving import Archive as Speaker
from dicom_node.retrieving import Keeper, Wanted
from dicom_node.settings import Archive, NodeSettings, ReceptionSettings, Retrieve, Settings, Source
from dicom_node.storage_scp import StorageSCP
from tests.ledger_cases import fresh_ledger

NODE: Final = "NODE"
_PLUGIN: Final = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
_HERE: Final = "127.0.0.1"
_EVERYBODY: Final = Source(name="everybody", ae_titles=("*",), addresses=("*",))
_START_SECONDS: Final = 20.0


@dataclass
class Clock:
    """The time, and how far it was moved ahead (s)."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass(frozen=True)
class FetchingNode:
    """What a node fetches with, and a Storage SCP that takes what a C-MOVE sends."""

    puller: Puller
    ledger: Ledger
    store: InstanceStore
    scp: StorageSCP
    clock: Clock

    @property
    def peer(self) -> Peer:
        return Peer.parse(NODE, _HERE, self.scp.port)

    def speaker(self, name: str = "pacs") -> Speaker:
        return self.puller.archive(name)[1]

    def with_archive(self, archive: Archive) -> "FetchingNode":
        """Return the same node with another archive in its settings."""
        settings = self.puller.settings.model_copy(update={"archives": (archive,)})
        return replace(self, puller=replace(self.puller, settings=settings))

    def pull(
        self, study: str, *, priors: bool = False, seconds: float = 60.0, progress: Any = lambda: None
    ) -> Pulled:
        """Fetch what is lacking of a study."""
        archive = self.puller.archive("pacs")
        contents = archive[1].contents(study)
        wanted = self.puller.lacking(contents)
        until = time.monotonic() + seconds
        return self.puller.pull(archive, {study: contents}, {study: wanted}, until, progress, priors=priors)

    def pull_series(self, study: str, series: str, seconds: float = 20.0) -> Keeper:
        """Fetch a series, whatever is known of it; return what kept it."""
        policy = self.puller.settings.reception.same_uid_other_bytes
        keeper = Keeper(self.store, self.ledger.arrivals, policy, "pacs", NODE, [study], self.clock)
        self.speaker().fetch([Wanted(study, series)], [], keeper, time.monotonic() + seconds, lambda: None)
        return keeper


@contextmanager
def fetching_node(folder: Path) -> Iterator[FetchingNode]:
    """Give a node that everybody may send to."""
    folder.mkdir(exist_ok=True)
    with fresh_ledger(folder) as ledger:
        store = InstanceStore(folder / "store", 0)
        reception = ReceptionSettings().model_copy(update={"port": 0})
        clock = Clock()
        scp = StorageSCP(reception, NODE, (_EVERYBODY,), store, ledger.arrivals, clock)
        scp.start()
        try:
            settings = Settings(node=NodeSettings(ae_title=NODE, data=folder))
            yield FetchingNode(Puller(settings, ledger, store, clock), ledger, store, scp, clock)
        finally:
            scp.stop(1)


def dicom_archive(peer: Peer, retrieve: Retrieve = Retrieve.AUTO, **more: Any) -> Archive:
    """Return the settings of an archive that speaks DICOM."""
    return Archive(
        name="pacs",
        ae_title=str(peer.ae_title),
        host=peer.host,
        port=peer.port,
        retrieve=retrieve,
        **{"timeout_seconds": 10, **more},
    )


def web_archive(orthanc: OrthancPacs, **more: Any) -> Archive:
    """Return the settings of Orthanc's DICOMweb service."""
    url = f"http://{_HERE}:{orthanc.http_port}/dicom-web"
    return Archive(name="pacs", url=url, **{"timeout_seconds": 10, **more})


def orthanc_with_web(folder: Path, node: Peer) -> OrthancPacs:
    """Return an Orthanc, not started, that knows the node and has DICOMweb, if its plugin is installed."""
    plugins = [_PLUGIN] if Path(_PLUGIN).exists() else []
    options = {"Plugins": plugins, "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    return OrthancPacs(folder, modalities={"node": node}, options=options)


@contextmanager
def dcmqrscp(program: Path, folder: Path, node: Peer) -> Iterator[Peer]:
    """Give DCMTK's archive, which knows the node."""
    folder.mkdir()
    (folder / "database").mkdir()
    port = free_port()
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nnode = ({node.ae_title}, {node.host}, {node.port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nDCMQR {folder / 'database'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(program), "-c", str(config)], stdout=log, stderr=log)
    peer = Peer.parse("DCMQR", _HERE, port)
    try:
        until = time.monotonic() + _START_SECONDS
        while not answers_echo(peer):
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.05)
        yield peer
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()


def fill(peer: Peer, folder: Path, count: int | None = None) -> None:
    """Send a folder to an archive."""
    push(find_study(folder)[:count], peer, "SCANNER", lambda _: None)


def until_true(true: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Return what is found as soon as it is truthy."""
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return found
