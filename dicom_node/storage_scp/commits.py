"""The promise of 0x0000, kept for everything that waits at once.

A disk takes as long to sync ten files as one, and a ledger to commit ten rows as one. So one thread takes all objects
whose last byte has come since it last looked, makes their bytes durable, notes them in one transaction, and only then
lets each be answered. The longer the disk takes, the more it takes along: no timer, no tuning.

Objects that are in the journal already (`intake`) come here only in a process that receives alone: see `moves`.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from dicom_node.entities import Arrival, Association, InstanceRef
from dicom_node.errors import DuplicateInstance, Failure, OutOfResources, ProcessingFailure, Refusal
from dicom_node.instance_store import Incoming, Journal, Received
from dicom_node.storage_scp.moves import Event, Journaled, Moves
from dicom_node.storage_scp.reception import Reception
from dicom_node.storage_scp.tally import Tally

log = structlog.get_logger(__name__)

#: More would keep the first of a batch waiting for the last.
_LARGEST_BATCH: Final = 64
#: Nobody waits for what is in the journal: more of it at once costs less.
_GATHER_SECONDS: Final = 0.02
#: How long nothing has come before files that were moved are made durable, and how soon what failed is tried again.
_IDLE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Complete:
    """One object whose last byte has come.

    Parameters
    ----------
    answer : callable
        Told why the object is refused, or None: it is safe, and 0x0000 may be answered.
    call : callable
        Calls a function on the thread that may call `answer`; from any thread.
    """

    part: Incoming
    sop_class_uid: str
    sop_instance_uid: str
    association: Association
    tally: Tally
    answer: Callable[[Refusal | None], None]
    call: Callable[[Callable[[], None]], None]


#: None ends the thread.
_Item = Complete | Event | Callable[[], None] | None


class Commits:
    """The committing thread.

    Parameters
    ----------
    journal : Journal, optional
        Whose objects this thread moves; closed when it ends.
    forward : callable, optional
        Told of ended associations, where somebody else moves the objects of the journal.
    """

    def __init__(
        self, reception: Reception, journal: Journal | None = None, forward: Callable[[Event], None] | None = None
    ) -> None:
        self._reception = reception
        self._journal = journal
        self._forward = forward
        self._moves = Moves(reception, reception.places.settled, self._cleared)
        self._waiting: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._somebody_waits = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-scp-commits")

    @property
    def stuck(self) -> bool:
        """Whether objects cannot be moved out of the journal now; it should not take more then."""
        return self._moves.stuck

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after everything that was submitted."""
        self.submit(None)
        self._thread.join()

    def submit(self, item: _Item) -> None:
        """Queue an object, an event or a call that may wait for the ledger; in order, from any thread."""
        self._waiting.put(item)
        if not isinstance(item, Journaled):
            self._somebody_waits.set()

    def put(self, event: Event) -> None:
        """Queue an event."""
        self.submit(event)

    def keep(
        self, part: Incoming, sop_class_uid: str, sop_instance_uid: str, association: Association, tally: Tally
    ) -> Refusal | None:
        """Queue an object and wait; return why it is refused, or None."""
        answers: queue.SimpleQueue[Refusal | None] = queue.SimpleQueue()
        self.submit(Complete(part, sop_class_uid, sop_instance_uid, association, tally, answers.put, _at_once))
        return answers.get()

    def _run(self) -> None:
        going = True
        while going:
            items = self._take()
            going = None not in items
            self._keep([item for item in items if isinstance(item, Complete)])
            events = [item for item in items if isinstance(item, Event)]
            self._happened(events)
            if not items:
                self._moves.rest()
            for item in items:
                if callable(item):
                    item()
        self._end()

    def _take(self) -> list[_Item]:
        items: list[_Item] = []
        restless = self._moves.waiting or self._moves.unsafe
        with contextlib.suppress(queue.Empty):
            items.append(self._waiting.get(timeout=_IDLE_SECONDS if restless else None))
        if items and isinstance(items[0], Journaled):
            self._somebody_waits.wait(_GATHER_SECONDS)
        self._somebody_waits.clear()
        while items and len(items) < _LARGEST_BATCH and not self._waiting.empty():
            items.append(self._waiting.get_nowait())
        return items

    def _happened(self, events: Sequence[Event]) -> None:
        if self._forward is None:
            self._moves.add(events)
            self._moves.step()
            return
        for event in events:
            self._forward(event)

    def _cleared(self, segment: int) -> None:
        if self._journal is not None:
            self._journal.clear(segment)

    def _end(self) -> None:
        done = self._moves.close()
        if self._journal is not None:
            self._journal.close(forget=done)

    # Objects that wait for their answer

    def _keep(self, batch: Sequence[Complete]) -> None:
        """Keep the bytes, note the arrivals, answer: in this order, or not at all."""
        if not batch:
            return
        kept = self._kept(batch)
        pairs = zip(kept, batch, strict=True)
        noted = iter(self._noted([(ref, each.association) for ref, each in pairs if isinstance(ref, InstanceRef)]))
        for each, ref in zip(batch, kept, strict=True):
            outcome = ref if isinstance(ref, Refusal) else next(noted)
            if isinstance(outcome, Arrival) and isinstance(ref, InstanceRef):
                each.tally.took(outcome, ref.size)
            self._tell(each, _refused(outcome))

    def _kept(self, batch: Sequence[Complete]) -> list[InstanceRef | Refusal]:
        store = self._reception.store
        try:
            return store.keep_all([Received(each.part, each.sop_class_uid, each.sop_instance_uid) for each in batch])
        except Exception:  # boundary: the node goes on, and the senders may try again
            log.exception("instances not kept", count=len(batch))
            return [ProcessingFailure("the node failed to keep the instance; see its log") for _ in batch]

    def _noted(self, kept: Sequence[tuple[InstanceRef, Association]]) -> list[Arrival | Refusal]:
        """Note instances in one transaction; if that fails, one by one, so that one bad row refuses no other."""
        if not kept:
            return []
        at = self._reception.clock()
        try:
            return list(self._note([(ref, who, at) for ref, who in kept]))
        except Exception as error:  # boundary: see `_kept`
            log.exception("arrivals not noted", count=len(kept))
            refusal = _refusal(error)
            if len(kept) == 1 or isinstance(refusal, OutOfResources):
                return [refusal for _ in kept]
            return [outcome for each in kept for outcome in self._noted([each])]

    def _note(self, kept: Sequence[tuple[InstanceRef, Association, float]]) -> list[Arrival]:
        return self._reception.arrivals.note_arrivals(kept, self._reception.settings.same_uid_other_bytes)

    def _tell(self, complete: Complete, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._put_aside(complete, refusal)
        try:
            complete.call(lambda: complete.answer(refusal))
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


def _at_once(function: Callable[[], None]) -> None:
    function()


def _refused(outcome: Arrival | Refusal) -> Refusal | None:
    if outcome is Arrival.DIFFERENT_REFUSED:
        return DuplicateInstance("this SOP Instance UID is known with other bytes")
    return outcome if isinstance(outcome, Refusal) else None


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, OSError):
        return OutOfResources(f"{error.strerror or type(error).__name__}: the node could not write")
    if isinstance(error, Failure | DBAPIError):
        # full, locked, gone or read-only: it may be over when the sender tries again
        return OutOfResources("the ledger could not be written; see the node's log")
    return ProcessingFailure("the node failed to keep the instance; see its log")
