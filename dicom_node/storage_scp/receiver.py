"""The event loop of one receiver: connections in, bytes to their associations, answers out. One thread, no polling.

It sleeps in epoll until a peer, or the committing thread, has something for it. The one thing here that waits for a
disk is the flush of the journal, once for all objects that a round has completed.
"""

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog

from dicom_node.instance_store import Journal
from dicom_node.storage_scp.channel import Channel
from dicom_node.storage_scp.commits import Commits
from dicom_node.storage_scp.exchange import Exchange
from dicom_node.storage_scp.intake import Intake
from dicom_node.storage_scp.plain import Session
from dicom_node.storage_scp.reception import Reception
from dicom_node.storage_scp.upper_layer import UpperLayer

log = structlog.get_logger(__name__)

_BUFFER: Final = 2**18
_READ, _WRITE, _GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
#: How long a receiver leaves new connections to those with fewer associations.
_YIELD_SECONDS: Final = 0.005
#: How long it stops accepting when the process has no descriptors left.
_EXHAUSTED_SECONDS: Final = 1.0
_LAST_WORDS_SECONDS: Final = 0.05
_NEVER: Final = float("inf")


class Connection:
    """One accepted connection."""

    def __init__(self, receiver: "Receiver", line: socket.socket, address: Any) -> None:
        # each answer would wait up to 40 ms for the peer's delayed ACK
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setblocking(False)
        self._receiver = receiver
        self._socket = line
        self._address = address
        self._number = line.fileno()
        self._unsent = bytearray()
        self._reading = True
        self._artim = _NEVER
        self._heard = time.monotonic()
        self._progress = (0, 0, self._heard)  # message, its association's bytes, and when
        self.open = True
        self._interest = _READ
        receiver.poll.register(self._number, _READ)
        self.exchange = Exchange(self, address[0], receiver.reception, receiver.intake)
        self.layer = UpperLayer(self, self.exchange)

    # What the upper layer asks of its transport

    def send(self, data: bytes) -> None:
        """Send now what the peer takes now, and the rest when it takes it."""
        if not self._unsent:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # the peer is gone; reading will say so
        self._unsent += data
        self._adjust()

    def close(self) -> None:
        """Close the connection; what the peer has not taken it will not take: it is gone, or ARTIM has run out."""
        self.drop()

    def start_artim(self) -> None:
        """Start the ARTIM timer anew."""
        self._artim = time.monotonic() + self._receiver.reception.settings.acse_timeout_seconds
        self._receiver.look_at(self._artim)

    def stop_artim(self) -> None:
        """Stop it; from now on the other timeouts hold."""
        self._artim = _NEVER
        settings = self._receiver.reception.settings
        first = min(settings.network_timeout_seconds, settings.dimse_timeout_seconds)
        self._receiver.look_at(time.monotonic() + first)

    # What the association asks of its line

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the receiver's thread; from any thread."""
        self._receiver.call(function)

    def resume(self) -> None:
        """Read again, if reading had stopped because the association was full."""
        if not self._reading:
            self._reading = True
            self._adjust()

    def hand_over(self, request: bytes) -> None:
        """Let pynetdicom carry the association; what this read has brought beyond the request goes along."""
        self.layer.detach()
        self._receiver.forget(self._number)
        self.open = False
        # the rest of the read is known only when the layer has returned
        self._receiver.call(lambda: self._receiver.carry(self._socket, self._address, request + self.layer.rest))

    # What the receiver tells

    def ready(self, events: int) -> None:
        """Read or write what can be read or written."""
        if events & _WRITE:
            self._flush()
        if not self.open:
            return
        if self.exchange.full and not events & _GONE:
            self._reading = False
            self._adjust()
        elif events & (_READ | _GONE):
            self._read()

    def _read(self) -> None:
        buffer = self._receiver.buffer
        try:
            size = self._socket.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size == 0:
            self.layer.closed()
            self.drop()
            return
        # Linux falls back to delayed ACKs by itself, and a sender with Nagle's algorithm waits 40 ms for each
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._heard = time.monotonic()
        self.layer.received(buffer[:size])

    def _flush(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
        self._adjust()

    def _adjust(self) -> None:
        """Tell epoll what to watch for; who does not take our answers is not read from."""
        if not self.open:
            return
        interest = _WRITE if self._unsent else _READ if self._reading else 0
        if interest != self._interest:
            self._interest = interest
            self._receiver.poll.modify(self._number, interest)

    def drop(self) -> None:
        """Close the connection at once."""
        if self.open:
            self.open = False
            self._receiver.forget(self._number)
            self._socket.close()

    def abort(self) -> None:
        """End whatever there is."""
        self.layer.abort()
        self.layer.closed()
        self.drop()

    def look(self, now: float) -> float:
        """End what has taken too long; return when to look again (monotonic seconds)."""
        settings = self._receiver.reception.settings
        if self._artim < _NEVER:
            if now >= self._artim:
                self.layer.artim_expired()
            return self._artim if self.open else _NEVER
        idle = self._heard + settings.network_timeout_seconds
        if self.exchange.waiting_for_us:
            return now + settings.network_timeout_seconds
        if now >= idle:
            self._give_up("silent")
        elif self._too_slow(now):
            self._give_up("too slow")
        return min(idle, now + settings.dimse_timeout_seconds) if self.open else _NEVER

    def _too_slow(self, now: float) -> bool:
        """Return whether a message has made less progress than it must since it was last looked at."""
        exchange, settings = self.exchange, self._receiver.reception.settings
        message, count, since = self._progress
        if not exchange.receiving or message != exchange.messages:
            self._progress = (exchange.messages, exchange.bytes_received, now)
            return False
        if now - since < settings.dimse_timeout_seconds:
            return False
        self._progress = (message, exchange.bytes_received, now)
        return exchange.bytes_received - count < settings.slowest_bytes_per_second * (now - since)

    def _give_up(self, outcome: str) -> None:
        log.warning("association given up", address=self._address[0], reason=outcome)
        self.layer.abort()
        self.exchange.lost()


class Receiver:
    """Accepts on a listening socket and carries what it accepted.

    Parameters
    ----------
    listener : socket
        Bound and listening; other processes may accept from it too.
    journal : Journal, optional
        Where small objects go first; closed by `stop`.
    channel : Channel, optional
        To who moves what the journal takes; without it the committing thread does.
    """

    def __init__(
        self,
        listener: socket.socket,
        reception: Reception,
        journal: Journal | None = None,
        channel: Channel | None = None,
    ) -> None:
        listener.setblocking(False)
        self.reception = reception
        self._channel = channel
        if channel is None:
            self.commits = Commits(reception, journal)
        else:
            self.commits = Commits(reception, forward=channel.put)
            channel.unsent = lambda: self.call(self._flush_channel)
        self.intake = Intake(reception, self.commits, journal, channel)
        self.poll = select.epoll()
        self.buffer = memoryview(bytearray(_BUFFER))
        self._listener = listener
        self._listening = False
        self._listen_at = 0.0
        self._connections: dict[int, Connection] = {}
        self._sessions: set[Session] = set()
        self._calls: deque[Callable[[], None]] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._look_at = self._flush_at = _NEVER
        self._stop_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="storage-scp")

    def start(self) -> None:
        """Begin to accept."""
        self.reception.places.enter()
        self.poll.register(self._bell, _READ)
        if self._channel is not None:
            self.poll.register(self._channel.fileno(), _READ)
        self.commits.start()
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Accept nobody, let running C-STOREs finish for as long as the grace, then abort what is still open."""
        self.call(lambda: self._begin_stop(grace_seconds))
        self._thread.join()
        for session in list(self._sessions):
            session.join(grace_seconds)
        self.commits.stop()
        if self._channel is not None:
            self._channel.close()
        self.poll.close()
        os.close(self._bell)

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the receiver's thread; from any thread."""
        self._calls.append(function)
        os.eventfd_write(self._bell, 1)

    def look_at(self, moment: float) -> None:
        """Look at the timers no later than at this moment (monotonic seconds)."""
        self._look_at = min(self._look_at, moment)

    def forget(self, number: int) -> None:
        """Watch a connection no longer."""
        self._connections.pop(number, None)
        with contextlib.suppress(OSError):
            self.poll.unregister(number)

    def carry(self, line: socket.socket, address: Any, ahead: bytes) -> None:
        """Let pynetdicom carry an association."""
        self._sessions = {session for session in self._sessions if not session.over}
        session = Session(line, address, ahead, self.reception, self.commits)
        self._sessions.add(session)
        session.start()

    def _run(self) -> None:
        while not self._stopped():
            self._consider_listening()
            for number, events in self.poll.poll(self._patience()):
                try:
                    self._dispatch(number, events)
                except Exception:  # boundary: one connection's trouble is not the others'
                    log.exception("connection failed")
                    self._fail(number)
            self._flush()
            now = time.monotonic()
            if now >= self._look_at:
                self._look()
            if now >= self._flush_at:
                self._flush_channel()

    def _flush(self) -> None:
        """Keep and answer what this round has brought: the longer the disk takes, the more the next one brings."""
        try:
            self.intake.flush()
        except Exception:  # boundary: who gets no answer tries again
            log.exception("objects not kept")

    def _dispatch(self, number: int, events: int) -> None:
        if number == self._bell:
            self._answer_bell()
        elif self._channel is not None and number == self._channel.fileno():
            if not self._channel.heard():
                self.poll.unregister(number)  # the node is gone, and this process will be told
        elif (connection := self._connections.get(number)) is not None:
            connection.ready(events)
        else:
            self._accept()

    def _fail(self, number: int) -> None:
        connection = self._connections.get(number)
        if connection is not None:
            connection.exchange.lost()
            connection.drop()

    def _flush_channel(self) -> None:
        """Tell the node what it did not take before; it is busy if that goes on."""
        if self._channel is not None and not self._channel.flush():
            self._flush_at = time.monotonic() + _YIELD_SECONDS
        else:
            self._flush_at = _NEVER

    def _patience(self) -> float | None:
        moments = [self._look_at, self._flush_at]
        if not self._listening and self._stop_at is None:
            moments.append(self._listen_at)
        if self._stop_at is not None:
            moments.append(self._stop_at)
            if self._sessions:  # they have threads of their own and do not ring
                moments.append(time.monotonic() + _LAST_WORDS_SECONDS)
        first = min(moments)
        return None if first == _NEVER else max(first - time.monotonic(), 0)

    def _answer_bell(self) -> None:
        os.eventfd_read(self._bell)
        for _ in range(len(self._calls)):
            try:
                self._calls.popleft()()
            except Exception:  # boundary: as for a connection
                log.exception("call failed")

    # Accepting

    def _consider_listening(self) -> None:
        """Listen, unless another receiver has fewer associations; then leave it a moment to take the next one."""
        if self._stop_at is not None:
            return
        now = time.monotonic()
        if now < self._listen_at:
            return
        willing = self.reception.places.few_here() or not self._listening
        if willing and not self._listening:
            self._listening = True
            self.poll.register(self._listener.fileno(), _READ | select.EPOLLEXCLUSIVE)
        elif not willing:
            self._deafen(now + _YIELD_SECONDS)

    def _deafen(self, until: float) -> None:
        if self._listening:
            self._listening = False
            self.poll.unregister(self._listener.fileno())
        self._listen_at = until

    def _accept(self) -> None:
        """Accept one connection: the next one may be for another receiver."""
        try:
            line, address = self._listener.accept()
        except BlockingIOError:
            return  # another receiver was faster
        except OSError as error:
            log.warning("connection not accepted", reason=error.strerror)
            self._deafen(time.monotonic() + _EXHAUSTED_SECONDS)
            return
        self._connections[line.fileno()] = Connection(self, line, address)

    # Timers and the end

    def _look(self) -> None:
        now = time.monotonic()
        self._look_at = _NEVER
        self.look_at(min((each.look(now) for each in list(self._connections.values())), default=_NEVER))

    def _begin_stop(self, grace_seconds: float) -> None:
        self._deafen(_NEVER)
        self._listener.close()
        self._stop_at = time.monotonic() + grace_seconds
        for connection in list(self._connections.values()):
            if not connection.exchange.busy:
                connection.abort()

    def _stopped(self) -> bool:
        if self._stop_at is None:
            return False
        late = time.monotonic() >= self._stop_at
        for connection in list(self._connections.values()):
            if late or not connection.exchange.busy:
                connection.abort()
        for session in self._sessions:
            if late or not session.busy:
                session.abort()
        return not self._connections and (late or not any(session.busy for session in self._sessions))
