"""From a journal to files and rows: what was answered is moved in its order, and nobody waits for it.

What cannot be moved now - a full disk, a locked ledger - stays in the journal and is tried until it can.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from dicom_node.entities import Arrival, Association, AssociationRecord, InstanceRef
from dicom_node.errors import Failure, OutOfResources, ProcessingFailure
from dicom_node.instance_store import Movers, Place
from dicom_node.storage_scp.reception import Reception
from dicom_node.storage_scp.tally import Tally

log = structlog.get_logger(__name__)

#: Rows of one transaction; the ledger is locked for others meanwhile.
_LARGEST_BATCH: Final = 128
_MOST_OPEN: Final = 500
#: What passes: disks and databases that are full, locked, read-only or gone.
_TROUBLE: Final = (OSError, Failure, OutOfResources, OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class Journaled:
    """One object that is in the journal, and was answered; `at` is when it came (UTC seconds)."""

    place: Place
    instance: InstanceRef
    association: Association
    at: float


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment of the journal that takes no more; it is to be cleared."""

    segment: int


@dataclass(frozen=True, slots=True)
class Ended:
    """One association that was admitted and has ended; its record lacks what was journaled."""

    record: AssociationRecord


Event = Journaled | Sealed | Ended


class Moves:
    """Moves what one journal takes; used by one thread.

    Parameters
    ----------
    settled : callable
        Told how many objects have left the journal for files and rows.
    cleared : callable
        Told which segment holds nothing any more that is not on disk elsewhere.
    """

    def __init__(self, reception: Reception, settled: Callable[[int], None], cleared: Callable[[int], None]) -> None:
        self._reception = reception
        self._movers = Movers(reception.store)
        self._settled = settled
        self._cleared = cleared
        self._waiting: deque[Event] = deque()
        self._tallies: dict[str, Tally] = {}
        self._written: list[Journaled] = []
        #: Whether objects cannot be moved now.
        self.stuck = False

    @property
    def waiting(self) -> bool:
        """Whether something is not moved yet."""
        return bool(self._waiting or self._written)

    @property
    def unsafe(self) -> bool:
        """Whether files are not yet durable."""
        return self._movers.opened > 0

    def add(self, events: Iterable[Event]) -> None:
        """Take what is to be moved."""
        self._waiting.extend(events)

    def step(self) -> None:
        """Move what is waiting, as far as that goes."""
        self._try(self._move)

    def rest(self) -> None:
        """Make durable what was moved: there is time."""
        self._try(self._movers.make_all_durable)

    def close(self) -> bool:
        """Move what can still be moved; return whether the journal holds nothing any more that is not elsewhere."""
        self.step()
        self.rest()
        done = not (self.waiting or self.unsafe)
        self._movers.close()
        return done

    def _try(self, what: Callable[[], None]) -> None:
        try:
            what()
        except _TROUBLE:  # it is all in the journal, and tried again
            if not self.stuck:
                log.exception("objects stay in the journal", count=len(self._waiting) + len(self._written))
            self.stuck = True
            return
        if self.waiting:
            return
        if self.stuck:
            log.info("objects leave the journal again")
        self.stuck = False

    def _move(self) -> None:
        while self.waiting:
            self._write()
            self._note()
            self._note_ended()
            self._clear_sealed()
            if self._movers.opened > _MOST_OPEN:
                self._movers.make_all_durable()

    def _write(self) -> None:
        """Write the files of the objects that come next."""
        while self._waiting and isinstance(each := self._waiting[0], Journaled):
            if len(self._written) >= _LARGEST_BATCH:
                return
            self._movers.move(each.place, each.instance)
            self._written.append(each)
            self._waiting.popleft()

    def _note(self) -> None:
        batch = self._written
        for each, arrival in zip(batch, self._arrivals(batch), strict=True):
            if arrival is not None:
                self._tallies.setdefault(each.association.id, Tally()).took(arrival, each.instance.size)
        self._written = []
        self._settled(len(batch))

    def _arrivals(self, batch: Sequence[Journaled]) -> list[Arrival | None]:
        """Note instances; None stands for one that can never be noted, whose file and event remain."""
        if not batch:
            return []
        kept = [(each.instance, each.association, each.at) for each in batch]
        try:
            return list(self._reception.arrivals.note_arrivals(kept, self._reception.settings.same_uid_other_bytes))
        except _TROUBLE:
            raise
        except Exception:  # boundary: one bad row keeps no other
            if len(batch) > 1:
                return [arrival for each in batch for arrival in self._arrivals([each])]
            instance, association = batch[0].instance, batch[0].association
            uid = instance.sop_instance_uid
            log.exception("acknowledged instance not noted", association=association.id, sop_instance_uid=uid)
            self._never_noted(instance, association)
            return [None]

    def _never_noted(self, instance: InstanceRef, association: Association) -> None:
        uid, path = instance.sop_instance_uid, instance.path
        reason = "it was acknowledged, and cannot be noted"
        status = ProcessingFailure.status
        self._reception.arrivals.note_quarantined(association, uid, status, reason, path, self._reception.clock())

    def _note_ended(self) -> None:
        records = list(_ended(self._waiting))
        if records:
            self._note_ends([self._whole(record) for record in records])
        for record in records:
            self._tallies.pop(record.association.id, None)
            self._waiting.popleft()

    def _note_ends(self, records: Sequence[AssociationRecord]) -> None:
        """Note ended associations, after their last arrivals."""
        carried = [(each.association, each.end, each.ended_at) for each in records if each.kept + each.duplicates]
        try:
            if carried:
                self._reception.arrivals.end_associations(carried)
            if self._reception.note_records is not None:
                self._reception.note_records(records)
        except _TROUBLE:
            raise
        except Exception:  # boundary: the ledger closes them as lost at the next start
            log.exception("ends of associations not noted", count=len(records))
        for each in records:
            count = each.kept + each.duplicates
            log.info("association ended", association=each.association.id, outcome=each.end, instances=count)

    def _clear_sealed(self) -> None:
        while self._waiting and isinstance(each := self._waiting[0], Sealed):
            self._movers.make_durable(each.segment)
            self._cleared(each.segment)
            self._waiting.popleft()

    def _whole(self, record: AssociationRecord) -> AssociationRecord:
        tally = self._tallies.get(record.association.id)
        return record if tally is None else tally.added_to(record)


def _ended(events: Iterable[Event]) -> Iterator[AssociationRecord]:
    """Give the records of the ends that come first."""
    for event in events:
        if not isinstance(event, Ended):
            return
        yield event.record
