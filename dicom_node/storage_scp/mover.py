"""The node's thread that moves what the journals of its receiver processes take to files and rows.

Not in the receivers: there it would take the interpreter from the thread that answers.
"""

import os
import select
import socket
import threading
import time
from contextlib import ExitStack
from typing import Final

import structlog

from dicom_node.instance_store import forget, segment_paths
from dicom_node.storage_scp.channel import FarEnd, pair
from dicom_node.storage_scp.moves import Moves
from dicom_node.storage_scp.places import Places
from dicom_node.storage_scp.reception import Reception

log = structlog.get_logger(__name__)

#: Nobody waits for what is in a journal: more of it at once costs less.
_GATHER_SECONDS: Final = 0.05
#: How long nothing has come before files are made durable, and how soon what failed is tried again.
_IDLE_SECONDS: Final = 1.0


class _Receiver:
    """What the node knows of one receiver's journal."""

    def __init__(self, number: int, name: str, line: socket.socket, reception: Reception, places: Places) -> None:
        self.number = number
        self.far = FarEnd(line)
        self.moves = Moves(reception, lambda count: places.settled(count, number), self.far.cleared)
        self.moved = threading.Event()
        self._paths = segment_paths(reception.store.journal_folder, name)
        self._opened: tuple[int, ...] = ()
        self._told_stuck = False

    def step(self) -> None:
        """Take what the receiver has told, and move what can be moved."""
        self.moves.add(self.far.heard(self._descriptors))
        self.moves.step()
        if self.moves.stuck is not self._told_stuck:
            self._told_stuck = self.moves.stuck
            self.far.stuck(self._told_stuck)

    def _descriptors(self) -> tuple[int, ...]:
        if not self._opened:
            with ExitStack() as undo:
                opened = []
                for path in self._paths:
                    opened.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
                    undo.callback(os.close, opened[-1])
                undo.pop_all()
            self._opened = tuple(opened)
        return self._opened

    def end(self) -> None:
        """Finish with a receiver that is gone; what cannot be moved now is recovered by its successor."""
        if self.moves.close() and self.far.over:
            for descriptor in self._opened:
                forget(descriptor)
        for descriptor in self._opened:
            os.close(descriptor)
        self.far.close()
        self.moved.set()


class MovingThread:
    """Moves for every receiver process that is attached."""

    def __init__(self, reception: Reception, places: Places) -> None:
        self._reception = reception
        self._places = places
        self._receivers: dict[int, _Receiver] = {}
        self._bell, self._ringer = socket.socketpair()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="storage-scp-moves")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def attach(self, number: int, name: str) -> socket.socket:
        """Return the end of a new channel for a receiver whose journal has this name."""
        ours, theirs = pair()
        self._receivers[number] = _Receiver(number, name, ours, self._reception, self._places)
        self._ringer.send(b"a")
        return theirs

    def detach(self, number: int) -> None:
        """Wait until everything has been moved that a receiver has told, which is gone now."""
        receiver = self._receivers.get(number)
        if receiver is not None and self._thread.is_alive():
            receiver.moved.wait()

    def stop(self) -> None:
        """End, after all receivers are gone and what they told is moved."""
        if self._stopping:
            return
        self._stopping = True
        self._ringer.send(b"s")
        if self._thread.ident is not None:
            self._thread.join()
        self._bell.close()
        self._ringer.close()

    def _run(self) -> None:
        busy_seconds = 0.0  # in the last round: whoever was busy for long enough has gathered meanwhile
        while not (self._stopping and not self._receivers):
            receivers = list(self._receivers.values())
            restless = any(each.moves.waiting or each.moves.unsafe for each in receivers)
            lines = [each.far.line for each in receivers]
            ready, _, _ = select.select([*lines, self._bell], [], [], _IDLE_SECONDS if restless else None)
            if self._bell in ready:
                self._bell.recv(1)
            elif ready:
                time.sleep(max(_GATHER_SECONDS - busy_seconds, 0))
            started = time.monotonic()
            for each in receivers:
                try:
                    self._look_after(each, idle=not ready)
                except Exception:  # boundary: one receiver's trouble is not the others'
                    log.exception("objects of a receiver not moved", count=each.number)
            busy_seconds = time.monotonic() - started

    def _look_after(self, receiver: _Receiver, *, idle: bool) -> None:
        receiver.step()
        if idle:
            receiver.moves.rest()
        if receiver.far.gone:
            self._receivers.pop(receiver.number, None)
            receiver.end()
