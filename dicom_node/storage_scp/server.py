"""The node's listening port, received from within this process or by processes of its own."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from dicom_node.entities import AssociationRecord
from dicom_node.instance_store import InstanceStore
from dicom_node.settings import ReceptionSettings, Source
from dicom_node.storage_scp.admission import Admission, KnownCallers
from dicom_node.storage_scp.commitment import CommitmentDesk
from dicom_node.storage_scp.listening import listen
from dicom_node.storage_scp.places import Places
from dicom_node.storage_scp.receiver import Receiver
from dicom_node.storage_scp.reception import Arrivals, Reception
from dicom_node.storage_scp.recovery import journal_name, open_journal, recover_others
from dicom_node.storage_scp.secure import secured

log = structlog.get_logger(__name__)


def reception(
    settings: ReceptionSettings,
    node_ae_title: str,
    sources: Sequence[Source],
    store: InstanceStore,
    arrivals: Arrivals,
    clock: Callable[[], float],
    places: Places,
    mark: str = "",
    desk: CommitmentDesk | None = None,
    note_records: Callable[[Sequence[AssociationRecord]], None] | None = None,
) -> Reception:
    """Return what every association of a receiver needs."""
    called = frozenset(settings.called_ae_titles or (node_ae_title,))
    admission = Admission(
        called, KnownCallers(sources), settings.maximum_associations, settings.maximum_associations_per_caller
    )
    if desk is not None:
        desk = replace(desk, settled=places.all_settled)
    return Reception(settings, node_ae_title, admission, places, store, arrivals, clock, mark, desk, note_records)


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
    desk : CommitmentDesk, optional
        Without it storage commitment is not offered.
    note_records : callable, optional
        Given the records of associations that were admitted, after their ends.
    name : str
        Of its journal: another for each node on the same instance store.
    """

    def __init__(
        self,
        settings: ReceptionSettings,
        node_ae_title: str,
        sources: Sequence[Source],
        store: InstanceStore,
        arrivals: Arrivals,
        clock: Callable[[], float],
        desk: CommitmentDesk | None = None,
        note_records: Callable[[Sequence[AssociationRecord]], None] | None = None,
        name: str = "node",
    ) -> None:
        self._name = name
        places = Places(settings.maximum_associations)
        self.reception = reception(
            settings,
            node_ae_title,
            sources,
            store,
            arrivals,
            clock,
            places,
            desk=desk,
            note_records=note_records,
        )
        self._tls = secured(self.reception)
        self._listener: socket.socket | None = None
        self._receiver: Receiver | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; that of TLS if there is no other.

        Raises
        ------
        RuntimeError
            If not started.
        """
        if self._listener is None:
            if self.tls_port is None:
                raise RuntimeError("the Storage SCP is not started")
            return self.tls_port
        return int(self._listener.getsockname()[1])

    @property
    def tls_port(self) -> int | None:
        """The port that is listened on for TLS, if there is one."""
        return None if self._tls is None else self._tls.port

    def admit(self, sources: Sequence[Source]) -> None:
        """Let these call from now on, and nobody else; associations that are open go on."""
        self.reception.admission.callers.replace(sources)

    def all_settled(self, seconds: float) -> bool:
        """Wait until the ledger has all that was answered before; return whether it has."""
        return self.reception.places.all_settled(seconds)

    def start(self) -> None:
        """Listen; when this returns the port is bound.

        Raises
        ------
        OSError
            If the address cannot be bound, for instance because another program has the port.
        """
        settings = self.reception.settings
        if settings.tls is None or not settings.tls.only:
            self._listener = listen(settings)
            journal = open_journal(self.reception, journal_name(self._name, 0))
            self._receiver = Receiver(self._listener, self.reception, journal)
            self._receiver.start()
            log.info("listening", address=settings.address, port=self.port)
        else:
            recover_others(self.reception)  # of the time before there was TLS only
        try:
            if self._tls is not None:
                self._tls.start()
        except OSError:
            self.stop(0)
            raise

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Stop accepting, let running C-STOREs finish for as long as the grace, then abort what is still open."""
        if self._receiver is not None:
            self._receiver.stop(grace_seconds)
            self._receiver = self._listener = None
        if self._tls is not None:
            self._tls.stop(grace_seconds)
