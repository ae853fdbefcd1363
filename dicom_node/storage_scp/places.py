"""How many associations are open, counted over all receiver processes, so that no two take the last place."""

import fcntl
import hashlib
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from dicom_node.entities import Association
from dicom_node.storage_scp.admission import Admission, Rejection

#: Counts of processes come first, then a slot per open association: its process and its caller.
_COUNTS_SIZE: Final = 4096
_ABSENT: Final = -1
_FREE: Final = 0


class Places:
    """One process's count of its open associations, and its view of the counts of the others.

    Parameters
    ----------
    descriptor : int or None
        A file in memory that the processes share; None for a process that receives alone.
    mine : int
        This process's number: below `processes` for a receiver, `processes` for the node beside them.
    slots : int
        How many associations there may be.
    """

    def __init__(self, slots: int, descriptor: int | None = None, mine: int = 0, processes: int = 1) -> None:
        self._descriptor = descriptor
        self._mine = mine
        self._receivers = processes
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, _size(slots))
        self._counts = memoryview(self._memory)[:_COUNTS_SIZE].cast("i")[: processes + 1]
        self._owners = memoryview(self._memory)[_COUNTS_SIZE : _COUNTS_SIZE + 8 * slots].cast("q")
        self._callers = memoryview(self._memory)[_COUNTS_SIZE + 8 * slots :].cast("q")
        self._thread = threading.Lock()

    @staticmethod
    def shared(slots: int) -> int:
        """Return the descriptor of a new file for several processes, in which none is present yet."""
        descriptor = os.memfd_create("places")
        os.write(descriptor, _ABSENT.to_bytes(4, "little", signed=True) * (_COUNTS_SIZE // 4))
        os.ftruncate(descriptor, _size(slots))
        return descriptor

    def enter(self) -> None:
        """Be present, with no association open."""
        self._counts[self._mine] = 0

    def vacate(self, number: int) -> None:
        """Note that a process is gone, and its associations with it."""
        with self._alone():
            self._counts[number] = _ABSENT
            for slot, owner in enumerate(self._owners.tolist()):
                if owner == number:
                    self._callers[slot] = _FREE

    def take(self, admission: Admission, caller: Association) -> Rejection | None:
        """Take a place for a caller, or return why there is none."""
        key = _key(caller)
        with self._alone():
            callers = self._callers.tolist()
            rejection = admission.overload(len(callers) - callers.count(_FREE), callers.count(key))
            if rejection is None:
                slot = callers.index(_FREE)
                self._owners[slot], self._callers[slot] = self._mine, key
                self._counts[self._mine] += 1
            return rejection

    def give_back(self, caller: Association) -> None:
        """Give a caller's place back."""
        key = _key(caller)
        with self._alone():
            places = zip(self._owners.tolist(), self._callers.tolist(), strict=True)
            slot = next(slot for slot, place in enumerate(places) if place == (self._mine, key))
            self._callers[slot] = _FREE
            self._counts[self._mine] -= 1

    def fewest_here(self) -> bool:
        """Return whether no other process has fewer associations than this one."""
        if self._descriptor is None:
            return True
        return self._counts[self._mine] <= min(count for count in self._counts[: self._receivers] if count >= 0)

    def close(self) -> None:
        """Release the memory."""
        with suppress(BufferError):
            for view in (self._counts, self._owners, self._callers):
                view.release()
            self._memory.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._thread:
            if self._descriptor is None:
                yield
                return
            # a POSIX lock, because the processes have inherited one open file; the kernel frees it with its process
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def _size(slots: int) -> int:
    return _COUNTS_SIZE + 16 * slots


def _key(caller: Association) -> int:
    """Return what an address with an AE title is counted under; never that of a free slot."""
    text = f"{caller.address} {caller.calling.strip()}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "little") + 1
