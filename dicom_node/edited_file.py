"""A file that people edit while the node runs: taken only when it is whole, and written whole or not at all."""

import contextlib
import os
from pathlib import Path
from typing import Final

from dicom_node.instance_store.incoming import sync_folder

#: What changes when a file does: time in ns, size, which file it is. All 0: there is none.
FileState = tuple[int, int, int]

_NEW_FILE: Final = 0o644
_NEVER: Final[FileState] = (-1, -1, -1)


class EditedFile:
    """What is known of a file from the looks at it.

    A program that saves may empty the file first, and write it in pieces: so a file counts only if two looks in a row
    saw the same.
    """

    def __init__(self) -> None:
        self._seen = _NEVER  # at the last look
        self._done = _NEVER  # of what was dealt with

    def changed(self, path: Path) -> FileState | None:
        """Return the state of a file that is to be dealt with, to be given to `done`; None if there is none now."""
        state, before = state_of(path), self._seen
        self._seen = state
        return state if state == before != self._done else None

    def done(self, state: FileState) -> None:
        """What a file was in a state has been dealt with: only another state counts from now on."""
        self._seen = self._done = state

    def settled(self, path: Path) -> bool:
        """Return whether the last look found nothing that is still to be dealt with, and nothing came after it."""
        return state_of(path) == self._seen == self._done


def state_of(path: Path) -> FileState:
    """Return what changes when a file does."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


def write_whole(path: Path, content: bytes) -> FileState:
    """Write a file by temporary name, fsync and rename, with the rights that it had; return its state.

    The state is that before others can see the file: what they change afterwards is another one.

    Raises
    ------
    OSError
        If it cannot be written; the file is as it was then.
    """
    path = path.resolve()  # a link stays a link
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777 if path.exists() else _NEW_FILE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        state = state_of(part)
        part.replace(path)
        sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    return state
