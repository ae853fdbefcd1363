"""What every association needs, whichever engine carries it, and who may have one."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

import structlog

from dicom_node.entities import Arrival, Association, AssociationEnd, AssociationRecord, InstanceRef, SameUidPolicy
from dicom_node.errors import OutOfResources
from dicom_node.instance_store import Incoming, InstanceStore
from dicom_node.settings import ReceptionSettings
from dicom_node.storage_scp.admission import Admission, Rejection, local_limit
from dicom_node.storage_scp.commands import printable
from dicom_node.storage_scp.commitment import CommitmentDesk
from dicom_node.storage_scp.guarding import Bounds
from dicom_node.storage_scp.places import Places

log = structlog.get_logger(__name__)

_MIB: Final = 2**20


class Arrivals(Protocol):
    """Where arrivals are noted; what a method has returned from is durable."""

    def note_arrivals(
        self, batch: Sequence[tuple[InstanceRef, Association, float]], policy: SameUidPolicy
    ) -> list[Arrival]:
        """Note kept instances, all or none; say what each is to what came before."""
        ...

    def end_associations(self, batch: Sequence[tuple[Association, AssociationEnd, float]]) -> None:
        """Note the ends of associations that carried at least one instance; after their last arrivals."""
        ...

    def note_refused_sender(self, calling: str, called: str, address: str, reason: str, at: float) -> None:
        """Note a caller that is not configured."""
        ...

    def note_quarantined(
        self, association: Association, sop_instance_uid: str, status: int, reason: str, path: str, at: float
    ) -> None:
        """Note an object that was refused, and where its bytes are."""
        ...


@dataclass(frozen=True, slots=True)
class Reception:
    """What every association needs.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    mark : str
        Begins the ids of the associations of one process.
    desk : CommitmentDesk, optional
        Without it storage commitment is not offered.
    note_records : callable, optional
        Given the records of associations that were admitted, after their ends.
    """

    settings: ReceptionSettings
    ae_title: str
    admission: Admission
    places: Places
    store: InstanceStore
    arrivals: Arrivals
    clock: Callable[[], float]
    mark: str = ""
    desk: CommitmentDesk | None = None
    note_records: Callable[[Sequence[AssociationRecord]], None] | None = None

    @property
    def bounds(self) -> Bounds:
        """What a peer may do to an association that pynetdicom carries."""
        settings = self.settings
        return Bounds(
            maximum_pdu=settings.maximum_pdu,
            request_seconds=settings.acse_timeout_seconds,
            pdu_seconds=settings.network_timeout_seconds,
            message_seconds=settings.dimse_timeout_seconds,
            slowest_bytes_per_second=settings.slowest_bytes_per_second,
        )

    def unnamed(self, address: str) -> Association:
        """Return a new association whose caller has not said its name yet."""
        return Association(f"{self.mark}{uuid.uuid4().hex}", "", "", address, self.clock())

    def stranger(self, caller: Association, certificates: frozenset[str] = frozenset()) -> Rejection | None:
        """Return why a caller is not let in for good, or None."""
        return self.admission.rejection(caller.calling, caller.called, caller.address, certificates)

    def placed(self, caller: Association) -> int | Rejection:
        """Take a place for one association and return its number, or return why there is none now."""
        try:
            self.store.ensure_space()
        except OutOfResources as refusal:
            return local_limit(str(refusal))
        return self.places.take(self.admission, caller)

    def note_refused(self, caller: Association, rejection: Rejection) -> None:
        """Log a caller that was turned away, and record it if a person may want to let it in."""
        named = {"calling": caller.calling, "called": caller.called, "address": caller.address}
        log.warning("association refused", reason=rejection.reason, **named)
        if not rejection.unknown_caller:
            return
        try:
            self.arrivals.note_refused_sender(**named, reason=rejection.reason, at=self.clock())
        except Exception:  # boundary: the caller is refused all the same
            log.exception("refused sender not noted", **named)

    def open_part(
        self, caller: Association, place: int, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str
    ) -> Incoming:
        """Return where the bytes of one object go."""
        part = self.store.incoming(sop_class_uid, sop_instance_uid, transfer_syntax_uid, caller.calling)
        part.meter = partial(self._came, place)
        return part

    def _came(self, place: int, count: int) -> None:
        """Count bytes of a big object; raises OutOfResources if there are to be no more of them now."""
        self.places.fly(place, count)
        if count <= 0:
            return
        self.store.ensure_space()
        limits = self.settings.maximum_mib_in_flight, self.settings.maximum_mib_in_flight_per_caller
        names = "maximum_mib_in_flight", "maximum_mib_in_flight_per_caller"
        for flying, limit, name in zip(self.places.flying(place), limits, names, strict=True):
            if flying > limit * _MIB:
                raise OutOfResources(f"more bytes are arriving at once than reception.{name} allows ({limit} MiB)")


def named(association: Association, calling: str, called: str) -> Association:
    """Return an association with its caller's name, as a log can show it."""
    return replace(association, calling=printable(calling), called=printable(called))
