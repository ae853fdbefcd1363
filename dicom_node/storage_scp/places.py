"""How many associations are open, counted over all receiver processes, so that no two take the last place.

Beside that, how many objects each process has answered that are not yet in the ledger.
"""

import fcntl
import hashlib
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from dicom_node.entities import Association
from dicom_node.storage_scp.admission import Admission, Rejection

#: Counts of processes come first, then a slot per open association: its process, its caller, and its bytes
#: that are not yet answered.
_COUNTS_SIZE: Final = 4096
#: Their first half: open associations; their second: objects received into, and settled from, each journal.
_JOURNALS: Final = 2048
_ABSENT: Final = -1
_LOOK_SECONDS: Final = 0.005
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
        self._counts = memoryview(self._memory)[:_JOURNALS].cast("i")[: processes + 1]
        self._journals = memoryview(self._memory)[_JOURNALS:_COUNTS_SIZE].cast("q")[: 2 * processes + 2]
        self._owners = memoryview(self._memory)[_COUNTS_SIZE : _COUNTS_SIZE + 8 * slots].cast("q")
        self._callers = memoryview(self._memory)[_COUNTS_SIZE + 8 * slots : _COUNTS_SIZE + 16 * slots].cast("q")
        self._flying = memoryview(self._memory)[_COUNTS_SIZE + 16 * slots :].cast("q")
        self._thread = threading.Lock()

    @staticmethod
    def shared(slots: int) -> int:
        """Return the descriptor of a new file for several processes, in which none is present yet."""
        descriptor = os.memfd_create("places")
        os.write(descriptor, _ABSENT.to_bytes(4, "little", signed=True) * (_JOURNALS // 4))
        os.ftruncate(descriptor, _size(slots))
        return descriptor

    def enter(self) -> None:
        """Be present, with no association open, and nothing in the journal."""
        self._counts[self._mine] = 0
        self._journals[2 * self._mine + 1] = self._journals[2 * self._mine]

    def received(self, count: int) -> None:
        """Count objects that are about to be answered out of this process's journal."""
        self._journals[2 * self._mine] += count

    def settled(self, count: int, process: int | None = None) -> None:
        """Count objects that have left its journal, or that of another process, for the ledger."""
        self._journals[2 * (self._mine if process is None else process) + 1] += count

    def all_settled(self, seconds: float) -> bool:
        """Wait until the ledger has all objects that any process has answered before; return whether it has."""
        received, until = self._journals.tolist()[::2], time.monotonic() + seconds
        while True:
            settled = self._journals.tolist()[1::2]
            if all(left >= came for left, came in zip(settled, received, strict=True)):
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_SECONDS)

    def vacate(self, number: int) -> None:
        """Note that a process is gone, and its associations with it."""
        with self._alone():
            self._counts[number] = _ABSENT
            for slot, owner in enumerate(self._owners.tolist()):
                if owner == number:
                    self._callers[slot] = _FREE

    def take(self, admission: Admission, caller: Association) -> int | Rejection:
        """Take a place for a caller and return its number, or return why there is none."""
        key = _key(caller)
        with self._alone():
            callers = self._callers.tolist()
            rejection = admission.overload(len(callers) - callers.count(_FREE), callers.count(key))
            if rejection is not None:
                return rejection
            place = callers.index(_FREE)
            self._owners[place], self._callers[place], self._flying[place] = self._mine, key, 0
            self._counts[self._mine] += 1
            return place

    def give_back(self, place: int) -> None:
        """Give a place back."""
        with self._alone():
            self._callers[place] = _FREE
            self._counts[self._mine] -= 1

    def fly(self, place: int, count: int) -> None:
        """Count bytes that have come over the association in a place, and are not yet answered."""
        self._flying[place] += count

    def flying(self, place: int) -> tuple[int, int]:
        """Return the bytes that are not yet answered: of all associations, and of this one's caller."""
        callers, flying = self._callers.tolist(), self._flying.tolist()
        known = [(caller, count) for caller, count in zip(callers, flying, strict=True) if caller != _FREE]
        return sum(count for _, count in known), sum(count for caller, count in known if caller == callers[place])

    def few_here(self) -> bool:
        """Return whether no other process has fewer associations than this one, by more than one."""
        if self._descriptor is None:
            return True
        return self._counts[self._mine] <= 1 + min(count for count in self._counts[: self._receivers] if count >= 0)

    def close(self) -> None:
        """Release the memory."""
        with suppress(BufferError):
            for view in (self._counts, self._journals, self._owners, self._callers, self._flying):
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
    return _COUNTS_SIZE + 24 * slots


def _key(caller: Association) -> int:
    """Return what an address with an AE title is counted under; never that of a free slot."""
    text = f"{caller.address} {caller.calling.strip()}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "little") + 1
