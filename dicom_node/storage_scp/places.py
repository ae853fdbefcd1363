"""How many associations are open, counted over all receiver processes, so that no two take the last place."""

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from dicom_node.storage_scp.admission import Admission, Rejection

_SIZE: Final = 4096
_ABSENT: Final = -1


class Places:
    """One process's count of its open associations, and its view of the counts of the others.

    Parameters
    ----------
    descriptor : int or None
        A file in memory that the processes share; None for a process that receives alone.
    mine : int
        This process's number, below `processes`.
    """

    def __init__(self, descriptor: int | None = None, mine: int = 0, processes: int = 1) -> None:
        self._descriptor = descriptor
        self._mine = mine
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, _SIZE)
        self._counts = memoryview(self._memory).cast("i")[:processes]
        self._thread = threading.Lock()

    @staticmethod
    def shared() -> int:
        """Return the descriptor of a new file for several processes, in which none is present yet."""
        descriptor = os.memfd_create("places")
        os.write(descriptor, _ABSENT.to_bytes(4, "little", signed=True) * (_SIZE // 4))
        return descriptor

    def enter(self) -> None:
        """Be present, with no association open."""
        self._counts[self._mine] = 0

    def vacate(self, number: int) -> None:
        """Note that a process is gone, and its associations with it."""
        self._counts[number] = _ABSENT

    def take(self, admission: Admission) -> Rejection | None:
        """Take a place, or return why there is none."""
        with self._alone():
            rejection = admission.overload(sum(count for count in self._counts if count > 0))
            if rejection is None:
                self._counts[self._mine] += 1
            return rejection

    def give_back(self) -> None:
        """Give a place back."""
        with self._alone():
            self._counts[self._mine] -= 1

    def fewest_here(self) -> bool:
        """Return whether no other process has fewer associations than this one."""
        if self._descriptor is None:
            return True
        return self._counts[self._mine] <= min(count for count in self._counts if count >= 0)

    def close(self) -> None:
        """Release the memory."""
        with suppress(BufferError):
            self._counts.release()
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
