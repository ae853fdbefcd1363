"""CPU seconds and memory of a receiver: of its process and of all that it started."""

import threading
import time
from typing import Final

import psutil

#: Every so often memory is read; the list of processes, which costs more, is read again every fifth time.
_LOOK_SECONDS: Final = 0.05
_LIST_EVERY: Final = 5
#: Idle: less than this share of a core for so long; the node reads headers half a second after the last instance.
_IDLE_SHARE: Final = 0.25
_IDLE_SECONDS: Final = 0.8
_MOST_SECONDS: Final = 30.0
_MB: Final = 10**6


class Watch:
    """What a receiver uses from now until it is stopped.

    Parameters
    ----------
    root : psutil.Process
        The receiver; of a node only its receiver processes' memory is looked at, but everybody's CPU time.
    """

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._before = cpu_seconds(root)
        self._over = threading.Event()
        #: Process id -> least and most resident bytes.
        self._spans: dict[int, tuple[int, int]] = {}
        self._processes: list[psutil.Process] = []
        self._look(0)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        """Stop watching memory when the senders are done; return the CPU seconds used until the receiver is idle."""
        self._over.set()
        self._thread.join()
        return wait_until_idle(self._root) - self._before

    @property
    def peak(self) -> float:
        """The most resident MB (10^6 bytes) of any one process."""
        return max((most for _, most in self._spans.values()), default=0) / _MB

    @property
    def swing(self) -> float:
        """The widest span between least and most resident MB of any one process."""
        return max((most - least for least, most in self._spans.values()), default=0) / _MB

    def _watch(self) -> None:
        number = 0
        while not self._over.wait(_LOOK_SECONDS):
            number += 1
            self._look(number)

    def _look(self, number: int) -> None:
        if number % _LIST_EVERY == 0:
            self._processes = _receiving(self._root)
        for process in self._processes:
            size = _resident(process)
            if size:
                least, most = self._spans.get(process.pid, (size, size))
                self._spans[process.pid] = min(least, size), max(most, size)


def wait_until_idle(root: psutil.Process) -> float:
    """Return the CPU seconds that a receiver had used when it became idle; what it puts off is done by then."""
    until = time.monotonic() + _MOST_SECONDS
    used = cpu_seconds(root)
    while time.monotonic() < until:
        time.sleep(_IDLE_SECONDS)
        now = cpu_seconds(root)
        if now - used < _IDLE_SHARE * _IDLE_SECONDS:
            break
        used = now
    return used


def cpu_seconds(root: psutil.Process) -> float:
    """Return user and system time of a process, of all that it started, and of those of them that have ended."""
    total = 0.0
    for process in _tree(root):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _tree(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _receiving(root: psutil.Process) -> list[psutil.Process]:
    tree = _tree(root)
    return [each for each in tree if "receiver_process" in _command(each)] or tree


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
