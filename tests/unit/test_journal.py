"""The journal: what `append` has returned from is found after a crash, whole, in order, and nothing else is."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.entities import Association, InstanceRef
from dicom_node.instance_store import Entry, InstanceStore, Journal, Movers, Place, Segment, left_behind
from dicom_node.storage_scp.intake import note_of, noted

_MIB = 2**20


def entry(number: int, size: int = 5000) -> Entry:
    """Return an entry whose bytes depend on its number."""
    data = bytes([number % 251]) * size
    return Entry(f"note {number}".encode(), b"head", data, hashlib.sha256(data).digest())


def instance(number: int) -> InstanceRef:
    """Return an instance whose file belongs below `instances/`."""
    path = f"instances/1.4/1.3/{number}"
    return InstanceRef(f"1.2.{number}", "1.2", "1.2.840.10008.1.2.1", "1.3", "1.4", path, "", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    made = Journal(folder, "node1-0", 2 * _MIB)
    yield made
    made.close(forget=False)


def found(path: Path) -> list[tuple[bytes, bytes]]:
    """Return what a crash would leave: read by another, from a copy."""
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    segment = Segment(copy, 0)
    try:
        return list(segment.entries())
    finally:
        segment.close()


def test_what_was_appended_is_found(journal: Journal, folder: Path) -> None:
    """Entries of several appends, with their bytes, in order; where `append` said."""
    first = journal.append([entry(1), entry(2, 0)])
    second = journal.append([entry(3, 123_456)])
    assert first is not None
    assert second is not None
    here = found(folder / "node1-0-a.journal")
    assert here == [(f"note {n}".encode(), b"head" + bytes([n]) * s) for n, s in ((1, 5000), (2, 0), (3, 123_456))]
    for place, (_, file) in zip([*first, *second], here, strict=True):
        assert os.pread(place.descriptor, place.size, place.offset) == file


@pytest.mark.parametrize("part", ["note", "head", "data", "entry head"])
def test_a_torn_entry_ends_the_segment(journal: Journal, folder: Path, part: str) -> None:
    """A byte that is not what was written: this entry and those after it were never promised."""
    places = journal.append([entry(1), entry(2), entry(3)])
    assert places is not None
    start = places[1].offset
    offset = {"note": start - 2, "head": start, "data": start + 2000, "entry head": start - len(b"note 2") - 20}[part]
    path = folder / "node1-0-a.journal"
    byte = os.pread(places[1].descriptor, 1, offset)
    os.pwrite(places[1].descriptor, bytes([byte[0] ^ 1]), offset)
    assert [note for note, _ in found(path)] == [b"note 1"]


def test_a_segment_forgets_its_former_epoch(journal: Journal, folder: Path) -> None:
    """Whole entries of an earlier use lie behind the new ones; they do not count."""
    journal.append([entry(n) for n in range(20)])
    journal.clear(0)
    assert found(folder / "node1-0-a.journal") == []
    journal.append([entry(99)])
    assert [note for note, _ in found(folder / "node1-0-a.journal")] == [b"note 99"]


def test_the_other_segment_when_one_is_full(journal: Journal) -> None:
    """A full segment is sealed, and used again once it is cleared; without a free one there is no room."""
    appended = 0
    while not (sealed := journal.newly_sealed()):
        assert journal.append([entry(appended, 100_000)]) is not None
        appended += 1
    assert sealed == [0]
    assert appended == 11  # the eleventh is in the other segment
    while journal.append([entry(1, 100_000)]) is not None:
        appended += 1
    assert appended == 20
    assert journal.newly_sealed() == [1]
    assert journal.append([entry(1, 10)]) is None
    journal.clear(0)
    places = journal.append([entry(1, 10)])
    assert places is not None
    assert places[0].segment == 0


def test_what_is_too_big_for_a_segment(journal: Journal) -> None:
    """Has no room, ever, and costs the others none."""
    assert journal.append([entry(1, 2 * _MIB)]) is None
    assert journal.append([entry(1)]) is not None


def test_a_failed_sync_ends_a_segment(journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is promised there; what was promised before stays; cleared, it is new."""
    journal.append([entry(1)])

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output"):
            journal.append([entry(2)])
    places = journal.append([entry(3)])
    assert journal.newly_sealed() == [0]
    assert places is not None
    assert places[0].segment == 1
    assert found(folder / "node1-0-a.journal")[0][0] == b"note 1"
    journal.clear(0)
    assert set((folder / "node1-0-a.journal").read_bytes()) == {0}


def test_only_one_process_has_a_journal(journal: Journal, folder: Path) -> None:
    """Another one with the same name is refused, and a journal that is in use is not left behind."""
    with pytest.raises(BlockingIOError):
        Journal(folder, "node1-0", _MIB)
    assert list(left_behind(folder)) == []


def test_a_journal_that_is_left_behind(folder: Path) -> None:
    """Of a process that is gone: found, with what it holds, and locked while it is looked at."""
    journal = Journal(folder, "gone-7", _MIB)
    journal.append([entry(1)])
    journal.close(forget=False)
    seen = []
    for segment in left_behind(folder):
        seen += [note for note, _ in segment.entries()]
        with segment.path.open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert seen == [b"note 1"]


def test_a_journal_whose_objects_are_all_moved(folder: Path) -> None:
    """Closed with nothing left to move, it leaves nothing to recover."""
    journal = Journal(folder, "node1-0", _MIB)
    journal.append([entry(1)])
    journal.close(forget=True)
    assert [list(segment.entries()) for segment in left_behind(folder)] == [[], []]


def test_notes() -> None:
    """What the ledger is to know comes back as it was."""
    caller = Association("a1", "SCANNER", "NODE", "10.0.0.1", 1_700_000_000.25)
    assert noted(note_of(instance(1), caller, 1.5)) == (instance(1), caller, 1.5)


class TestMovers:
    """Files are written from the journal, made durable together, and written again where that fails."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> InstanceStore:
        return InstanceStore(tmp_path / "store", 0)

    @pytest.fixture
    def places(self, journal: Journal) -> list[Place]:
        return journal.append([entry(1), entry(2), entry(3)]) or []

    def test_move(self, store: InstanceStore, places: list[Place]) -> None:
        movers = Movers(store)
        for number, place in enumerate(places):
            movers.move(place, instance(number))
        assert movers.opened == 3
        movers.make_durable(0)
        assert movers.opened == 0
        files = sorted((store.root / "instances").rglob("[0-9]*"))
        assert [path.read_bytes() for path in files if path.is_file()] == [
            b"head" + bytes([n]) * 5000 for n in (1, 2, 3)
        ]

    def test_a_name_that_is_taken(self, store: InstanceStore, places: list[Place]) -> None:
        """The new bytes replace the old ones, and never half of them."""
        movers = Movers(store)
        movers.move(places[0], instance(0))
        movers.move(places[1], instance(0))
        movers.make_all_durable()
        assert (store.root / instance(0).path).read_bytes() == b"head" + b"\2" * 5000
        assert list(store.receive_folder.iterdir()) == []

    def test_a_folder_that_was_removed(self, store: InstanceStore, places: list[Place]) -> None:
        """By whomever: it is made again."""
        movers = Movers(store)
        movers.move(places[0], instance(0))
        path = store.root / instance(0).path
        path.unlink()
        path.parent.rmdir()
        movers.move(places[1], instance(0))
        movers.make_all_durable()
        assert path.exists()

    def test_a_sync_that_fails(
        self, store: InstanceStore, places: list[Place], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The files are doubtful: not durable until they were written once more, from the journal, and synced."""
        movers = Movers(store)
        movers.move(places[0], instance(0))
        path = store.root / instance(0).path

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(OSError, match="Input/output"):
                movers.make_durable(0)
        path.write_bytes(b"what the disk made of it")
        assert movers.opened == 1
        movers.make_durable(0)
        assert path.read_bytes() == b"head" + b"\1" * 5000
        assert movers.opened == 0

    def test_file_systems_that_cannot_copy(
        self, store: InstanceStore, places: list[Place], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then the bytes go through memory."""

        def refuse(*_: object) -> int:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", refuse)
        movers = Movers(store)
        movers.move(places[0], instance(0))
        movers.make_all_durable()
        assert (store.root / instance(0).path).read_bytes() == b"head" + b"\1" * 5000
