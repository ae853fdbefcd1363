"""The promise of 0x0000, kept for everything that waits at once.

A disk takes as long to sync ten files as one, and a ledger to commit ten rows as one. So one thread takes all objects
whose last byte has come since it last looked, makes their bytes durable, notes them in one transaction, and only then
lets each be answered. The longer the disk takes, the more it takes along: no timer, no tuning.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from dicom_node.entities import Arrival, Association, AssociationRecord, InstanceRef
from dicom_node.errors import DuplicateInstance, OutOfResources, ProcessingFailure, Refusal
from dicom_node.instance_store import Incoming, Received
from dicom_node.storage_scp.reception import Reception

log = structlog.get_logger(__name__)

#: More would keep the first of a batch waiting for the last.
_LARGEST_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object.

    Parameters
    ----------
    refusal : Refusal or None
        None: it is safe, and 0x0000 may be answered.
    arrival : Arrival or None
        What the ledger made of it; None if it is not in the ledger.
    size : int
        Bytes on disk.
    """

    refusal: Refusal | None
    arrival: Arrival | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Complete:
    """One object whose last byte has come.

    Parameters
    ----------
    done : callable
        Told the outcome, on the committing thread.
    """

    part: Incoming
    sop_class_uid: str
    sop_instance_uid: str
    association: Association
    done: Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """One association that was admitted and has ended."""

    record: AssociationRecord


#: None ends the thread.
_Item = Complete | Ended | Callable[[], None] | None


class Commits:
    """The committing thread."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._waiting: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="storage-scp-commits")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after everything that was submitted."""
        self._waiting.put(None)
        self._thread.join()

    def submit(self, item: Complete | Ended | Callable[[], None]) -> None:
        """Queue an object, an end or a call that may wait for the ledger; in order, from any thread."""
        self._waiting.put(item)

    def keep(self, part: Incoming, sop_class_uid: str, sop_instance_uid: str, association: Association) -> Outcome:
        """Queue an object and wait for its outcome."""
        outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self.submit(Complete(part, sop_class_uid, sop_instance_uid, association, outcomes.put))
        return outcomes.get()

    def _run(self) -> None:
        going = True
        while going:
            items = self._take()
            going = None not in items
            self._keep([item for item in items if isinstance(item, Complete)])
            self._note_ends([item for item in items if isinstance(item, Ended)])
            for item in items:
                if callable(item):
                    item()

    def _take(self) -> list[_Item]:
        items = [self._waiting.get()]
        while len(items) < _LARGEST_BATCH and not self._waiting.empty():
            items.append(self._waiting.get_nowait())
        return items

    def _keep(self, batch: Sequence[Complete]) -> None:
        """Keep the bytes, note the arrivals, answer: in this order, or not at all."""
        if not batch:
            return
        kept = self._kept(batch)
        notable = [(ref, each.association) for ref, each in zip(kept, batch, strict=True) if not _refused(ref)]
        noted = iter(self._noted([(ref, who) for ref, who in notable if isinstance(ref, InstanceRef)]))
        for each, ref in zip(batch, kept, strict=True):
            outcome = Outcome(ref) if isinstance(ref, Refusal) else next(noted)
            self._tell(each, outcome)

    def _kept(self, batch: Sequence[Complete]) -> list[InstanceRef | Refusal]:
        store = self._reception.store
        try:
            return store.keep_all([Received(each.part, each.sop_class_uid, each.sop_instance_uid) for each in batch])
        except Exception:  # boundary: the node goes on, and the senders may try again
            log.exception("instances not kept", count=len(batch))
            return [ProcessingFailure("the node failed to keep the instance; see its log") for _ in batch]

    def _noted(self, kept: Sequence[tuple[InstanceRef, Association]]) -> list[Outcome]:
        """Note instances in one transaction; if that fails, one by one, so that one bad row refuses no other."""
        if not kept:
            return []
        at, policy = self._reception.clock(), self._reception.settings.same_uid_other_bytes
        try:
            arrivals = self._reception.arrivals.note_arrivals([(ref, who, at) for ref, who in kept], policy)
        except Exception as error:  # boundary: see `_kept`
            log.exception("arrivals not noted", count=len(kept))
            refusal = _refusal(error)
            if len(kept) == 1 or isinstance(refusal, OutOfResources):
                return [Outcome(refusal) for _ in kept]
            return [outcome for each in kept for outcome in self._noted([each])]
        return [_outcome(arrival, ref.size) for arrival, (ref, _) in zip(arrivals, kept, strict=True)]

    def _tell(self, complete: Complete, outcome: Outcome) -> None:
        if outcome.refusal is not None:
            self._put_aside(complete, outcome.refusal)
        try:
            complete.done(outcome)
        except Exception:  # boundary: one association's trouble is not the others'
            log.exception("answer not given", association=complete.association.id)

    def _put_aside(self, complete: Complete, refusal: Refusal) -> None:
        """Quarantine refused bytes; where there is no room for them, drop them: the sender still has them."""
        part, association = complete.part, complete.association
        uid = complete.sop_instance_uid
        status = f"0x{refusal.status:04X}"
        log.warning(
            "instance refused",
            association=association.id,
            sop_instance_uid=uid,
            status=status,
            reason=str(refusal),
        )
        part.close()
        if not part.path.exists():
            return
        if isinstance(refusal, OutOfResources):
            part.discard()
            return
        path = str(self._reception.store.quarantine(part.path, f"{status} {refusal}", association))
        try:
            self._reception.arrivals.note_quarantined(
                association, uid, refusal.status, str(refusal), path, self._reception.clock()
            )
        except Exception:  # boundary: the bytes and their reason are in the folder all the same
            log.exception("quarantine not noted", association=association.id, path=path)

    def _note_ends(self, batch: Sequence[Ended]) -> None:
        records = [each.record for each in batch]
        carried = [(each.association, each.end, each.ended_at) for each in records if each.kept + each.duplicates]
        try:
            if carried:
                self._reception.arrivals.end_associations(carried)
            if records and self._reception.note_records is not None:
                self._reception.note_records(records)
        except Exception:  # boundary: the ledger closes them as lost at the next start
            log.exception("ends of associations not noted", count=len(batch))


def _refused(kept: InstanceRef | Refusal) -> bool:
    return isinstance(kept, Refusal)


def _outcome(arrival: Arrival, size: int) -> Outcome:
    if arrival is Arrival.DIFFERENT_REFUSED:
        return Outcome(DuplicateInstance("this SOP Instance UID is known with other bytes"), arrival, size)
    return Outcome(None, arrival, size)


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, OSError):
        return OutOfResources(f"{error.strerror or type(error).__name__}: the node could not write")
    return ProcessingFailure("the node failed to keep the instance; see its log")
