"""Several receiver processes on one port: started, watched, and started again if they die.

Each is this Python running `receiver_process`, and not a fork or `multiprocessing` child: it must not carry what the
node has loaded, and a fork of a process with threads may hang. It gets the listening socket, the shared counts and a
line to the node. When that line closes it ends: a node that is killed leaves no receiver behind.
"""

import contextlib
import os
import pickle
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

import structlog

from dicom_node.errors import Failure
from dicom_node.settings import LogSettings, ReceptionSettings, Source
from dicom_node.storage_scp.listening import listen
from dicom_node.storage_scp.mover import MovingThread
from dicom_node.storage_scp.places import Places
from dicom_node.storage_scp.reception import Reception
from dicom_node.storage_scp.recovery import journal_name
from dicom_node.storage_scp.secure import secured
from dicom_node.storage_scp.sole import alone

log = structlog.get_logger(__name__)

READY: Final = b"r"
STOP: Final = b"s"
#: A length and a pickled tuple of Source follow.
ADMIT: Final = b"a"
_MODULE: Final = "dicom_node.storage_scp.receiver_process"
_START_SECONDS: Final = 60.0
#: A receiver that dies sooner is not started again at once: whatever kills it may last.
_SHORT_LIFE_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 10.0


class ReceiverDied(Failure):
    """A receiver process did not start; the log has its last words."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Setup:
    """What a receiver process is told; all of it can be pickled.

    Parameters
    ----------
    floor : int
        Bytes that must stay free on the store's disk.
    owner : str
        The node's name, for leases.
    give_up_seconds : float
        How long a requester of storage commitment that cannot be reached is tried.
    """

    settings: ReceptionSettings
    ae_title: str
    sources: tuple[Source, ...]
    store: Path
    floor: int
    ledger_url: str
    log: LogSettings
    owner: str = ""
    give_up_seconds: float = 0.0


def mark_of(pid: int) -> str:
    """Return what the ids of a receiver process's associations begin with."""
    return f"{pid:x}-"


class _Process:
    """One receiver process."""

    def __init__(
        self, setup: Setup, listener: int, places: int, number: int, channel: socket.socket, lock: int
    ) -> None:
        self.number = number
        self.started_at = time.monotonic()
        self.line, theirs = socket.socketpair()
        with theirs, channel:
            descriptors = (listener, places, theirs.fileno(), channel.fileno())
            arguments = [str(value) for value in (*descriptors, number)]
            self._process = subprocess.Popen(  # noqa: S603 - this Python, and numbers
                [sys.executable, "-P", "-m", _MODULE, *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=(*descriptors, lock),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self.line.sendall(_parcel(setup))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Return when it accepts associations.

        Raises
        ------
        ReceiverDied
            If it does not.
        """
        self.line.settimeout(_START_SECONDS)
        try:
            ready = self.line.recv(1) == READY
        except OSError:
            ready = False
        self.line.settimeout(None)
        if not ready:
            self._process.kill()
            raise ReceiverDied("a receiver process did not start; see the log lines before this one")

    def admit(self, sources: tuple[Source, ...]) -> None:
        """Tell it who may call from now on."""
        with contextlib.suppress(OSError):  # it is gone; its successor is told at its start
            self.line.sendall(ADMIT + _parcel(sources))

    def ask_to_stop(self, grace_seconds: float) -> None:
        """Let it end, with this grace for running C-STOREs."""
        try:
            self.line.sendall(STOP + str(grace_seconds).encode())
        except OSError:
            return  # it is gone already

    def join(self, seconds: float) -> int:
        """Wait until it has ended, and end it if it does not; return its exit status."""
        self.line.close()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _parcel(content: object) -> bytes:
    data = pickle.dumps(content)
    return len(data).to_bytes(4, "little") + data


class ReceiverProcesses:
    """The node's SCP, in `settings.processes` processes of its own.

    This process moves what their journals take, and has the connections over TLS.

    Parameters
    ----------
    reception : Reception
        What moving, and associations over TLS, need; these are counted together with the others.
    lose : callable, optional
        Given what the ids of a dead receiver's associations begin with; notes that they are lost, returns how many.
    """

    def __init__(self, setup: Setup, reception: Reception, lose: Callable[[str], int] | None = None) -> None:
        self._setup = setup
        self._callers = reception.admission.callers
        self._lose = lose
        slots, processes = setup.settings.maximum_associations, setup.settings.processes
        self._shared = Places.shared(slots)
        self._places = Places(slots, self._shared, processes, processes)
        self._tls = secured(replace(reception, places=self._places))
        self._mover = MovingThread(reception, self._places)
        self._listener: socket.socket | None = None
        self._lock: TextIO | None = None
        self._processes: list[_Process] = []
        # a receiver that is started while others are told of sources is told too
        self._telling = threading.Lock()
        self._stopping = threading.Event()
        self._wake, self._sleeper = socket.socketpair()
        self._watcher = threading.Thread(target=self._watch, name="storage-scp-watch")

    @property
    def port(self) -> int:
        """The port that is listened on; raises RuntimeError if not started."""
        if self._listener is None:
            raise RuntimeError("the Storage SCP is not started")
        return int(self._listener.getsockname()[1])

    @property
    def tls_port(self) -> int | None:
        """The port that is listened on for TLS, if there is one."""
        return None if self._tls is None else self._tls.port

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the receivers that are running."""
        return tuple(process.pid for process in self._processes)

    def admit(self, sources: Sequence[Source]) -> None:
        """Let these call from now on, and nobody else; associations that are open go on."""
        with self._telling:
            self._setup = replace(self._setup, sources=tuple(sources))
            for process in self._processes:
                process.admit(self._setup.sources)
        self._callers.replace(sources)  # those over TLS are received here

    def all_settled(self, seconds: float) -> bool:
        """Wait until the ledger has all that was answered before; return whether it has."""
        return self._places.all_settled(seconds)

    def start(self) -> None:
        """Listen and start the receivers; when this returns all of them accept.

        Raises
        ------
        OSError
            If the address cannot be bound.
        ReceiverDied
            If a receiver does not start.
        ReceiversRemain
            If those of a node that has ended do not go.
        """
        self._lock = alone(self._setup.store.parent / "receivers.lock", _START_SECONDS)
        try:
            self._listener = listen(self._setup.settings)
        except OSError:
            self._lock.close()
            raise
        try:
            self._mover.start()
            self._processes = [self._spawn(number) for number in range(self._setup.settings.processes)]
            for process in self._processes:
                process.wait_until_ready()
            if self._tls is not None:
                self._tls.start()
        except BaseException:
            self._end_all(0)
            self._listener.close()
            self._lock.close()
            raise
        self._watcher.start()
        log.info(
            "listening", address=self._setup.settings.address, port=self.port, count=self._setup.settings.processes
        )

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Stop accepting, let running C-STOREs finish for as long as the grace, then abort what is still open."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._watcher.ident is not None:
            self._end(grace_seconds)
        self._mover.stop()
        self._wake.close()
        self._sleeper.close()
        self._places.close()
        os.close(self._shared)
        if self._lock is not None:
            self._lock.close()

    def _end(self, grace_seconds: float) -> None:
        self._wake.send(STOP)
        self._watcher.join()
        if self._listener is not None:
            self._listener.close()
        self._end_all(grace_seconds)

    def _spawn(self, number: int) -> _Process:
        if self._listener is None or self._lock is None:
            raise RuntimeError("the Storage SCP is not started")
        channel = self._mover.attach(number, journal_name(self._setup.owner, number))
        return _Process(self._setup, self._listener.fileno(), self._shared, number, channel, self._lock.fileno())

    def _end_all(self, grace_seconds: float) -> None:
        for process in self._processes:
            process.ask_to_stop(grace_seconds)
        if self._tls is not None:
            self._tls.stop(grace_seconds)
        for process in self._processes:
            process.join(grace_seconds + _KILL_SECONDS)
        self._processes = []

    def _watch(self) -> None:
        """Start again what dies; sleeps until something does."""
        while not self._stopping.is_set():
            lines = {process.line: process for process in self._processes}
            readable, _, _ = select.select([*lines, self._sleeper], [], [])
            for line in readable:
                if line is not self._sleeper and not self._stopping.is_set():
                    self._replace(lines[line])

    def _replace(self, dead: _Process) -> None:
        status = dead.join(_KILL_SECONDS)
        self._mover.detach(dead.number)
        self._places.vacate(dead.number)
        log.error("receiver process died", status=status, count=dead.number)
        if time.monotonic() - dead.started_at < _SHORT_LIFE_SECONDS:
            self._stopping.wait(_SHORT_LIFE_SECONDS)
        if self._stopping.is_set():
            self._processes.remove(dead)  # what it left open is lost at the next start
            return
        with self._telling:
            successor = self._spawn(dead.number)
            self._processes[self._processes.index(dead)] = successor
        try:
            successor.wait_until_ready()
        except ReceiverDied as error:
            log.exception("receiver process not started", reason=str(error))
        self._note_lost(dead)

    def _note_lost(self, dead: _Process) -> None:
        """Have the associations that a dead receiver left open noted as lost; nobody else knows of them."""
        if self._lose is None:
            return
        try:
            log.warning("associations lost", count=self._lose(mark_of(dead.pid)))
        except Exception:  # boundary: receivers are watched on; the next start of the node loses them
            log.exception("lost associations not noted", count=dead.number)
