"""Disks that are full, read-only or failing, and a ledger that is locked or gone: 0xA700, and never a lie.

The disks are real small file systems, mounted for a test.
"""

import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import MRImageStorage
from sqlalchemy import select

from bench.repeating_senders import Image, judge, new_image, new_uid
from bench.upper_layer import EXPLICIT_LITTLE, RawAssociation
from dicom_node.entities import Peer
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger, database, open_ledger
from dicom_node.ledger.schema import instances
from dicom_node.settings import Engine, ReceptionSettings, Source
from dicom_node.storage_scp import StorageSCP

_EVERYBODY = Source(name="everybody", ae_titles=("*",), addresses=("*",))
_BIG = 256 * 2048  # bytes of pixels, half a MiB


@dataclass(frozen=True)
class Disks:
    """Mounts small file systems below a folder, and unmounts them.

    In this process's own mount namespace: SQLite resolves every path to what it is called here.
    """

    folder: Path
    mounted: list[Path] = field(default_factory=list)

    def run(self, *command: str) -> None:
        """Run a program; raises CalledProcessError if it fails."""
        subprocess.run(command, check=True, capture_output=True)

    def mount(self, name: str, *arguments: str) -> Path:
        """Mount something; return its folder."""
        place = self.folder / name
        place.mkdir()
        self.run("mount", *arguments, str(place))
        self.mounted.append(place)
        return place

    def tmpfs(self, name: str, mebibytes: int) -> Path:
        """Mount a small tmpfs; return its folder."""
        return self.mount(name, "-t", "tmpfs", "-o", f"size={mebibytes}m", "none")


@pytest.fixture
def disks(tmp_path: Path, missing: Callable[[str], None]) -> Iterator[Disks]:
    found = Disks(tmp_path)
    try:
        found.tmpfs("probe", 1)
    except (subprocess.CalledProcessError, OSError):
        missing("mounting a file system is not permitted here: it takes root")
    yield found
    for place in reversed(found.mounted):
        found.run("umount", "--lazy", str(place))


@dataclass
class Node:
    """A node whose store and ledger lie where a test puts them."""

    scp: StorageSCP
    store: InstanceStore
    ledger: Ledger
    acknowledged: dict[str, str]

    def open(self) -> RawAssociation:
        peer = Peer.parse("NODE", "127.0.0.1", self.scp.port)
        return RawAssociation(peer, "SCANNER", [(MRImageStorage, EXPLICIT_LITTLE)])

    def send(self, association: RawAssociation, image: Image) -> int:
        """Send an image; remember it if it was acknowledged."""
        status = association.store(1, MRImageStorage, image.uid, image.data)
        if status == 0:
            self.acknowledged[image.uid] = ""
        return status

    def refusal(self, association: RawAssociation, size: int = 256) -> int:
        """Send until something is refused, and return the status.

        Without a journal that is the first. A journal takes what comes until it is seen that nothing can leave it:
        that is no lie, because it is on disk there.
        """
        for _ in range(200 if self.scp.reception.settings.journal_mib else 1):
            status = self.send(association, _image(size))
            if status:
                break
            time.sleep(0.02)
        return status

    def tells_the_truth(self) -> bool:
        """Whether every acknowledged instance has its row and its bytes, and nothing unfinished lies about."""
        assert self.scp.reception.places.all_settled(10)
        return (
            judge(self.ledger, self.store.root, self.acknowledged.items()).wrong == 0
            and list(self.store.receive_folder.iterdir()) == []
        )


@pytest.fixture
def start(engine: Engine, journal_mib: int) -> Iterator[Callable[..., Node]]:
    started: list[Node] = []

    def start_one(store: Path, ledger: Path) -> Node:
        kept = InstanceStore(store / "store", 0)
        books = open_ledger(f"sqlite:///{ledger / 'ledger.sqlite'}")
        settings = ReceptionSettings().model_copy(update={"port": 0, "engine": engine, "journal_mib": journal_mib})
        scp = StorageSCP(settings, "NODE", (_EVERYBODY,), kept, books.arrivals, time.time)
        scp.start()
        started.append(Node(scp, kept, books, {}))
        return started[-1]

    yield start_one
    for node in started:
        node.scp.stop(2)
        node.ledger.close()


def _image(pixels: int = 256) -> Image:
    return new_image(new_uid(), new_uid(), bytes(pixels))


def _fill(folder: Path, leave: int = 0) -> Path:
    """Fill a disk but for so many bytes; return the file that does it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))
    return filler


@pytest.mark.parametrize("books", ["beside the images", "elsewhere"])
def test_a_full_disk(disks: Disks, tmp_path: Path, start: Any, books: str, way: str) -> None:
    """No room for bytes or row: 0xA700 (PS3.4 B.2.3) on an association that lives; then room, and 0x0000."""
    disk = disks.tmpfs("disk", 8 if way != "journal" else 32)
    node = start(disk, disk if books == "beside the images" else tmp_path)
    with node.open() as association:
        assert node.send(association, _image(_BIG)) == 0
        filler = _fill(disk, leave=_BIG // 2)
        assert node.refusal(association, _BIG) == 0xA700
        filler.unlink()
        filler = _fill(disk)
        assert node.refusal(association) == 0xA700
        statuses = {node.send(association, _image()) for _ in range(20)}
        assert statuses == {0xA700}
        filler.unlink()
        assert node.send(association, _image(_BIG)) == 0
    assert len(node.acknowledged) == 2 or way == "journal"
    assert node.tells_the_truth()


def test_only_the_ledgers_disk_is_full(disks: Disks, tmp_path: Path, start: Any) -> None:
    """Bytes that are safe without a row are not acknowledged: 0xA700; the sender repeats, and all is well."""
    disk = disks.tmpfs("disk", 2)
    node = start(tmp_path, disk)
    image = _image()
    with node.open() as association:
        filler = _fill(disk)
        statuses = [node.send(association, _image())]
        while len(statuses) < 500 and statuses[-1] == 0:  # the write-ahead log has some room left
            statuses.append(node.send(association, _image()))
        assert statuses[-1] == 0xA700
        assert set(statuses) <= {0, 0xA700}
        filler.unlink()
        assert node.send(association, image) == 0
    assert node.tells_the_truth()


def test_a_disk_remounted_read_only(disks: Disks, tmp_path: Path, start: Any, way: str) -> None:
    """Linux does that to a disk it no longer trusts: 0xA700 for each object, and back to work by itself."""
    disk = disks.tmpfs("disk", 8)
    node = start(disk, tmp_path)
    with node.open() as association:
        assert node.send(association, _image()) == 0
        if way == "journal":
            pytest.skip("Linux remounts nothing read-only where a journal is open; if forced, it is an fsync error")
        disks.run("mount", "-o", "remount,ro", str(tmp_path / "disk"))
        assert [node.send(association, _image()) for _ in range(3)] == [0xA700] * 3
        disks.run("mount", "-o", "remount,rw", str(tmp_path / "disk"))
        assert node.send(association, _image()) == 0
    assert len(node.acknowledged) == 2
    assert node.tells_the_truth()


def test_an_fsync_that_fails(disks: Disks, tmp_path: Path, start: Any, missing: Any) -> None:
    """Bytes that the disk took and then could not write (EIO at fsync, on a real ext4): 0xA700, never 0x0000.

    The disk is a sparse file, and what lies under that is full: writes go to the cache, and fail when synced.
    """
    under = disks.tmpfs("under", 64)
    image = under / "disk.img"
    try:
        disks.run("truncate", "-s", "40M", str(image))
        disks.run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(image))
        disk = disks.mount("disk", "-o", "loop", str(image))
    except (subprocess.CalledProcessError, OSError):
        missing("ext4 on a loop device cannot be mounted here: it takes root, /dev/loop* and mkfs.ext4")
    node = start(disk, tmp_path)
    statuses: list[int] = []
    with node.open() as association:
        assert node.send(association, _image(_BIG)) == 0
        filler = _fill(under)
        while len(statuses) < 20 and 0xA700 not in statuses:
            statuses.append(node.send(association, _image(_BIG)))
        assert statuses[-1] == 0xA700
        filler.unlink()
        assert node.send(association, _image(_BIG)) in (0, 0xA700)  # ext4 may not trust itself any more
    node.scp.stop(2)
    disks.run("umount", str(disk))  # what is read now comes from the disk, not from the cache
    subprocess.run(["fsck.ext4", "-fy", str(image)], check=False, capture_output=True)  # as after every such error
    disks.run("mount", "-o", "loop", str(image), str(disk))
    again = start(disk, tmp_path)  # recovers what had not left the journal
    assert judge(again.ledger, again.store.root, node.acknowledged.items()).wrong == 0


def test_a_locked_ledger(tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program holds the ledger for longer than the node waits: 0xA700; let go, and 0x0000."""
    monkeypatch.setattr(database, "_BUSY_MILLISECONDS", 300)
    node = start(tmp_path, tmp_path)
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    with node.open() as association:
        other.execute("BEGIN IMMEDIATE")
        assert node.refusal(association) == 0xA700
        other.execute("ROLLBACK")
        other.close()
        assert node.send(association, _image()) == 0
    assert node.tells_the_truth()


def test_a_ledger_that_is_gone(tmp_path: Path, start: Any) -> None:
    """A row in a file that has no name any more is no row: 0xA700 until the ledger is back, under the same name."""
    node = start(tmp_path, tmp_path)
    names = [tmp_path / f"ledger.sqlite{end}" for end in ("", "-wal", "-shm")]
    with node.open() as association:
        assert node.send(association, _image()) == 0
        for name in names:
            name.rename(name.with_name(f"away-{name.name}"))
        assert node.refusal(association) == 0xA700
        assert node.send(association, _image()) == 0xA700
        assert not names[0].exists()  # an empty one in its place would hide the loss
        for name in names:
            name.with_name(f"away-{name.name}").rename(name)
        assert node.send(association, _image()) == 0
    assert node.tells_the_truth()
    with node.ledger.engine.connect() as connection:
        assert len(connection.execute(select(instances.c.id)).all()) == len(node.acknowledged)
