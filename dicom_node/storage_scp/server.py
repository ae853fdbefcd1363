"""The node's listening port, received from within this process or by processes of its own."""

import socket
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from dicom_node.instance_store import InstanceStore
from dicom_node.settings import ReceptionSettings, Source
from dicom_node.storage_scp.admission import Admission
from dicom_node.storage_scp.places import Places
from dicom_node.storage_scp.receiver import Receiver
from dicom_node.storage_scp.reception import Arrivals, Reception

log = structlog.get_logger(__name__)

#: Senders open many associations at once; who finds the queue full waits a second before it tries again.
_QUEUE: Final = 1024


def listen(settings: ReceptionSettings) -> socket.socket:
    """Return a socket that listens on the port of the settings; port 0 takes any free one.

    Not with SO_REUSEPORT: two nodes could then share a port by mistake, and what waits in the queue of a process that
    dies would be lost. Receivers accept from this one socket.

    Raises
    ------
    OSError
        If the address cannot be bound, for instance because another program has the port.
    """
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    line = socket.socket(family, socket.SOCK_STREAM)
    try:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind((settings.address, settings.port))
        line.listen(_QUEUE)
    except OSError:
        line.close()
        raise
    return line


def reception(
    settings: ReceptionSettings,
    node_ae_title: str,
    sources: Sequence[Source],
    store: InstanceStore,
    arrivals: Arrivals,
    clock: Callable[[], float],
    places: Places,
    mark: str = "",
) -> Reception:
    """Return what every association of a receiver needs."""
    called = frozenset(settings.called_ae_titles or (node_ae_title,))
    admission = Admission(called, tuple(sources), settings.maximum_associations)
    return Reception(settings, node_ae_title, admission, places, store, arrivals, clock, mark)


class StorageSCP:
    """The node's Storage and Verification SCP, within this process.

    Parameters
    ----------
    settings : ReceptionSettings
        Port 0 takes any free port.
    node_ae_title : str
        Answered to if `settings.called_ae_titles` is empty.
    sources : sequence of Source
        Who may call; nobody if empty.
    clock : callable
        UTC seconds.
    """

    def __init__(
        self,
        settings: ReceptionSettings,
        node_ae_title: str,
        sources: Sequence[Source],
        store: InstanceStore,
        arrivals: Arrivals,
        clock: Callable[[], float],
    ) -> None:
        self._reception = reception(settings, node_ae_title, sources, store, arrivals, clock, Places())
        self._listener: socket.socket | None = None
        self._receiver: Receiver | None = None

    @property
    def port(self) -> int:
        """The port that is listened on.

        Raises
        ------
        RuntimeError
            If not started.
        """
        if self._listener is None:
            raise RuntimeError("the Storage SCP is not started")
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen; when this returns the port is bound.

        Raises
        ------
        OSError
            If the address cannot be bound, for instance because another program has the port.
        """
        self._listener = listen(self._reception.settings)
        self._receiver = Receiver(self._listener, self._reception)
        self._receiver.start()
        log.info("listening", address=self._reception.settings.address, port=self.port)

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Stop accepting, let running C-STOREs finish for as long as the grace, then abort what is still open."""
        if self._receiver is None:
            return
        self._receiver.stop(grace_seconds)
        self._receiver = self._listener = None
