"""A journal of received objects: their bytes, and what the ledger is to know of them, durable in one write.

An object in a file of its own costs the disk two flushes, for file and folder, and its row in the ledger a third; its
sender waits for all of them. Here objects follow one another in a file that has its size already, and one flush makes
everything durable that came meanwhile. From here they are moved to their files and rows within moments; the journal
itself is read only after a crash.

It has two segments, so that one can be moved and cleared while the other takes objects. A segment is

    head      magic, and an epoch: random, new whenever the segment is begun anew
    entries   each its own head (magic, epoch, lengths, CRC-32 of the rest of the head), a note, the bytes, padding

An entry counts if its epoch is that of the segment, and its checks are right; the first that does not is the end.
"""

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.instance_store.incoming import sync_folder

Bytes = bytes | bytearray | memoryview

_MAGIC: Final = b"DNJ1"
_HEAD: Final = struct.Struct("<4s16s")
_ENTRY: Final = struct.Struct("<4s16sIIQ32sI")
#: Whole pages are written, so that none has to be read first.
_PAGE: Final = 4096
_ZEROS: Final = bytes(2**20)
_MOST_PIECES: Final = 1000  # of one write; Linux takes 1024
SUFFIX: Final = ".journal"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object to keep.

    Parameters
    ----------
    note : bytes
        What the ledger is to know of it.
    head : bytes
        Preamble and File Meta Information.
    data : bytes-like
        The data set.
    digest : bytes
        Its SHA-256.
    """

    note: bytes
    head: bytes
    data: Bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object's file (head and data set) is in a journal: number and open file of the segment, and bytes."""

    segment: int
    descriptor: int
    offset: int
    size: int


class Segment:
    """One file of the journal; only this process has it while it is open.

    Parameters
    ----------
    size : int
        Bytes of a file that is made; one that is there keeps its size.
    number : int
        Which of the journal's segments it is.

    Raises
    ------
    OSError
        If the file cannot be opened or made, or another process has it (`BlockingIOError`).
    """

    def __init__(self, path: Path, size: int, number: int = 0) -> None:
        self.path = path
        self.number = number
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.size = os.fstat(self._descriptor).st_size or self._made(size)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._end = 0
        self._epoch = b""
        #: Whether a write has failed: what the segment holds stays, and nothing is added.
        self.failed = False

    def _made(self, size: int) -> int:
        try:
            return _fill(self._descriptor, size)
        except OSError:
            self.path.unlink()  # what little room there is belongs to others
            raise

    @property
    def empty(self) -> bool:
        """Whether nothing is in it, and something can be appended."""
        return self._end == 0 and not self.failed

    def room(self, entries: Sequence[Entry]) -> bool:
        """Return whether entries fit."""
        return (self._end or _PAGE) + sum(_length(entry) for entry in entries) <= self.size

    def append(self, entries: Sequence[Entry]) -> list[Place]:
        """Write entries that fit; when this returns, a power cut does not lose them.

        Raises
        ------
        OSError
            If they may be lost. The segment takes no more then: the system may have dropped what it could not write,
            and a second attempt would succeed without it.
        """
        start = at = self._end
        pieces: list[Bytes] = []
        if start == 0:
            self._epoch = os.urandom(16)
            pieces += _padded([_HEAD.pack(_MAGIC, self._epoch)])
            at = _PAGE
        places = []
        for entry in entries:
            head = self._entry_head(entry)
            begin, size = at + len(head) + len(entry.note), len(entry.head) + len(entry.data)
            places.append(Place(self.number, self._descriptor, begin, size))
            pieces += _padded([head, entry.note, entry.head, entry.data])
            at += _length(entry)
        try:
            self._write(pieces, start)
            os.fdatasync(self._descriptor)
        except BaseException:
            self.failed = True
            raise
        self._end = at
        return places

    def _entry_head(self, entry: Entry) -> bytes:
        fields = (_MAGIC, self._epoch, len(entry.note), len(entry.head), len(entry.data), entry.digest)
        check = zlib.crc32(entry.head, zlib.crc32(entry.note, zlib.crc32(_ENTRY.pack(*fields, 0))))
        return _ENTRY.pack(*fields, check)

    def _write(self, pieces: Sequence[Bytes], at: int) -> None:
        for first in range(0, len(pieces), _MOST_PIECES):
            group = pieces[first : first + _MOST_PIECES]
            wanted = sum(map(len, group))
            written = os.pwritev(self._descriptor, group, at)
            if written < wanted:  # a signal, or the end of the disk: an error says so if it comes again
                rest = memoryview(b"".join(group))
                while written < wanted:
                    written += os.pwrite(self._descriptor, rest[written:], at + written)
            at += wanted

    def clear(self) -> None:
        """Begin anew; everything in it is elsewhere, durably.

        Raises
        ------
        OSError
            If that cannot be written; a segment that had failed cannot be used then.
        """
        if self.failed:
            # the file's pages are doubtful; a new file has new ones
            os.ftruncate(self._descriptor, 0)
            _fill(self._descriptor, self.size)
        else:
            # if that gets lost, a crash finds entries that are known already
            forget(self._descriptor)
        self.failed = False
        self._end = 0  # last: another thread may append from now on

    def fit(self, size: int) -> None:
        """Make an empty segment as big as is wanted; raises OSError if there is no room."""
        if self.size != size:
            os.ftruncate(self._descriptor, 0)
            self.size = _fill(self._descriptor, size)

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Give note and file (head and data set) of each entry that counts, of a segment that a crash has left."""
        with mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ) as memory:
            magic, epoch = _HEAD.unpack_from(memory)
            at = _PAGE
            while magic == _MAGIC and (found := _entry_at(memory, at, epoch)) is not None:
                yield found.note, found.head + found.data
                at += _length(found)

    def close(self) -> None:
        """Let others have the file."""
        os.close(self._descriptor)


class Journal:
    """Two segments; objects are appended to one while the other is cleared.

    Parameters
    ----------
    folder : Path
        Made if it is missing; on the disk of the files that the objects are moved to.
    name : str
        Of the files; no other process may use it at the same time.
    size : int
        Bytes, of both segments together.

    Raises
    ------
    OSError
        If a segment cannot be opened or made.
    """

    def __init__(self, folder: Path, name: str, size: int) -> None:
        folder.mkdir(exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._segments = [
                opened.enter_context(contextlib.closing(Segment(path, size // 2, number)))
                for number, path in enumerate(segment_paths(folder, name))
            ]
            for each in (folder, folder.parent):
                sync_folder(each)
            opened.pop_all()
        self._active: Segment | None = self._segments[0]
        self._sealed: list[int] = []

    @property
    def segments(self) -> Sequence[Segment]:
        """Both segments."""
        return self._segments

    def append(self, entries: Sequence[Entry]) -> list[Place] | None:
        """Keep entries durably; None if there is no room for them now.

        Raises
        ------
        OSError
            If they may be lost.
        """
        active = self._active
        if active is not None and (active.failed or not active.room(entries)):
            self._seal(active)
            active = self._active
        if active is None:
            active = next((each for each in self._segments if each.empty and each.room(entries)), None)
            if active is None:
                return None
            self._active = active
        return active.append(entries)

    def _seal(self, segment: Segment) -> None:
        self._active = None
        if segment.failed or not segment.empty:
            self._sealed.append(segment.number)

    def newly_sealed(self) -> list[int]:
        """Return, once, the segments that take no more until they are cleared."""
        sealed, self._sealed = self._sealed, []
        return sealed

    def clear(self, segment: int) -> None:
        """Let a sealed segment be used again; everything in it is elsewhere, durably."""
        self._segments[segment].clear()

    def close(self, *, forget: bool) -> None:
        """Let others have the files; `forget`: everything in them is elsewhere, durably."""
        for segment in self._segments:
            if forget and not segment.failed:
                segment.clear()
            segment.close()


def forget(descriptor: int) -> None:
    """Let no entry of an open segment count any more; raises OSError if that cannot be written."""
    os.pwrite(descriptor, bytes(_HEAD.size), 0)


def segment_paths(folder: Path, name: str) -> list[Path]:
    """Return the files of a journal, by the number of the segment."""
    return [folder / f"{name}-{which}{SUFFIX}" for which in ("a", "b")]


def left_behind(folder: Path) -> Iterator[Segment]:
    """Give the segments that no process has open; each is closed after its turn."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            segment = Segment(path, _PAGE)
        except BlockingIOError:
            continue
        try:
            yield segment
        finally:
            segment.close()


def _fill(descriptor: int, size: int) -> int:
    # written and not only reserved: the first write to a reserved block would make the file system write its journal
    for at in range(0, size, len(_ZEROS)):
        os.pwrite(descriptor, _ZEROS[: size - at], at)
    os.fsync(descriptor)
    return size


def _entry_at(memory: mmap.mmap, at: int, epoch: bytes) -> Entry | None:
    if at + _ENTRY.size > len(memory):
        return None
    magic, of, noted, headed, size, digest, check = _ENTRY.unpack_from(memory, at)
    at += _ENTRY.size
    if (magic, of) != (_MAGIC, epoch) or at + noted + headed + size > len(memory):
        return None
    note, head = memory[at : at + noted], memory[at + noted : at + noted + headed]
    data = memory[at + noted + headed : at + noted + headed + size]
    fields = _ENTRY.pack(magic, of, noted, headed, size, digest, 0)
    if check != zlib.crc32(head, zlib.crc32(note, zlib.crc32(fields))) or hashlib.sha256(data).digest() != digest:
        return None
    return Entry(note, head, data, digest)


def _length(entry: Entry) -> int:
    return _rounded(_ENTRY.size + len(entry.note) + len(entry.head) + len(entry.data))


def _rounded(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _padded(pieces: list[Bytes]) -> list[Bytes]:
    size = sum(map(len, pieces))
    gap = _rounded(size) - size
    return [*pieces, _ZEROS[:gap]] if gap else pieces
