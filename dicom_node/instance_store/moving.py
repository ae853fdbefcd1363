"""From the journal to files: written one by one, made durable together, and only then forgotten by the journal."""

import errno
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from dicom_node.entities import InstanceRef
from dicom_node.instance_store.incoming import sync_folder
from dicom_node.instance_store.journal import Place

_NOT_THERE: Final = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_PIECE: Final = 2**20
_MOST_KNOWN: Final = 10_000


class Folders(Protocol):
    """What the instance store knows of its folders."""

    root: Path
    receive_folder: Path

    def missing(self, target: Path) -> list[Path]:
        """Make the folders of a file; return those whose entries may not be on disk yet."""
        ...

    def remember(self, folders: Sequence[Path]) -> None:
        """Note folders whose entries are on disk."""
        ...


@dataclass(slots=True)
class _File:
    """One file that was written from the journal, and is open until it is durable."""

    place: Place
    path: str
    descriptor: int


@dataclass(slots=True)
class _Files:
    """The files of one segment; `again` are those that a failed sync has made doubtful."""

    written: list[_File] = field(default_factory=list)
    again: list[tuple[Place, str]] = field(default_factory=list)


class Movers:
    """Moves objects from one journal to files; used by one thread."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._root = str(folders.root)
        self._files: dict[int, _Files] = defaultdict(_Files)
        self._known: set[str] = set()  # folders that are there
        self._new: set[Path] = set()  # and whose entries are not yet on disk

    def move(self, place: Place, instance: InstanceRef) -> None:
        """Write an object's file; its bytes may be in memory only when this returns, and are in the journal.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        self._write(place, f"{self._root}/{instance.path}")

    def _write(self, place: Place, path: str) -> None:
        folder = _folder(path)
        if folder not in self._known:
            self._make(folder, path)
        try:
            descriptor = _new(path)
        except FileNotFoundError:  # somebody has removed a folder that was there
            self._make(folder, path)
            descriptor = _new(path)
        except FileExistsError:
            descriptor = self._replaced(place, path)
        else:
            _copied(place, descriptor, path)
        self._files[place.segment].written.append(_File(place, path, descriptor))

    def _make(self, folder: str, path: str) -> None:
        self._new.update(self._folders.missing(Path(path)))
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known.add(folder)

    def _replaced(self, place: Place, path: str) -> int:
        """Write a file whose name is taken, perhaps by the only safe copy: it stays until the new one is on disk."""
        part = f"{self._folders.receive_folder}/{os.urandom(16).hex()}.part"
        descriptor = _new(part)
        _copied(place, descriptor, part)
        try:
            os.fdatasync(descriptor)
            os.replace(part, path)  # noqa: PTH105 - paths are text here, for speed
        except OSError:
            os.close(descriptor)
            Path(part).unlink(missing_ok=True)
            raise
        return descriptor

    @property
    def opened(self) -> int:
        """Files that are open, because they are not yet durable."""
        return sum(len(files.written) + len(files.again) for files in self._files.values())

    def close(self) -> None:
        """Close what is open; what was not made durable is still in the journal."""
        for files in self._files.values():
            for each in files.written:
                os.close(each.descriptor)
        self._files.clear()

    def make_all_durable(self) -> None:
        """Make everything durable that was moved; see `make_durable`."""
        for segment in list(self._files):
            self.make_durable(segment)

    def make_durable(self, segment: int) -> None:
        """Make durable what was moved from a segment.

        Raises
        ------
        OSError
            If bytes are not on disk; they are still in the journal, and the next call writes them again.
        """
        files = self._files[segment]
        while files.again:
            self._write(*files.again[-1])
            files.again.pop()
        try:
            for each in files.written:
                os.fdatasync(each.descriptor)
            for folder in {Path(_folder(each.path)) for each in files.written} | {new.parent for new in self._new}:
                sync_folder(folder)
        except OSError:
            files.again = [(each.place, each.path) for each in files.written]
            raise
        finally:
            for each in files.written:
                os.close(each.descriptor)
            files.written = []
        self._folders.remember(list(self._new))
        self._new.clear()


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _new(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)


def _copied(place: Place, descriptor: int, path: str) -> None:
    try:
        _copy(place, descriptor)
    except OSError:
        os.close(descriptor)
        Path(path).unlink(missing_ok=True)
        raise


def _copy(place: Place, descriptor: int) -> None:
    """Copy within the kernel, or through memory where it cannot do that."""
    source, at, left = place.descriptor, place.offset, place.size
    try:
        while left:
            copied = os.copy_file_range(source, descriptor, left, at)
            at, left = at + copied, left - copied
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
    while left:
        piece = os.pread(source, min(left, _PIECE), at)
        os.write(descriptor, piece)
        at, left = at + len(piece), left - len(piece)
