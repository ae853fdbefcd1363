"""Where complete objects go on a receiver's thread: small ones into the journal, all that a round brings at once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Final, Protocol

import structlog

from dicom_node.entities import Association, InstanceRef, SameUidPolicy
from dicom_node.errors import Refusal
from dicom_node.instance_store import Entry, Journal, Received
from dicom_node.storage_scp.commits import Commits, Complete
from dicom_node.storage_scp.moves import Ended, Event, Journaled, Sealed
from dicom_node.storage_scp.reception import Reception

log = structlog.get_logger(__name__)


class Sink(Protocol):
    """Where what is in the journal is moved from there."""

    @property
    def stuck(self) -> bool:
        """Whether nothing can be moved now; the journal should not take more then."""
        ...

    def put(self, event: Event) -> None:
        """Take an event, after those before it; does not wait."""
        ...


class Intake:
    """Answers what is safe in the journal; everything else waits for the committing thread.

    What the journal cannot take - too big, refused, no room, a disk in trouble - goes the longer way, and is answered
    by what happens there.

    Parameters
    ----------
    journal : Journal or None
        None: everything goes the longer way.
    sink : Sink, optional
        Told what the journal takes; the committing thread, if nobody else is.
    """

    def __init__(
        self, reception: Reception, commits: Commits, journal: Journal | None, sink: Sink | None = None
    ) -> None:
        self._sink: Sink = commits if sink is None else sink
        self._reception = reception
        self._commits = commits
        # whether other bytes under a known UID are refused is for the ledger to say, before the answer
        refusing = reception.settings.same_uid_other_bytes is SameUidPolicy.REFUSE
        self._journal = None if refusing else journal
        self._due: list[Complete] = []

    def submit(self, item: Complete | Ended | Callable[[], None]) -> None:
        """Take an object, to be kept by the next `flush`; or what the committing thread is to do."""
        if self._journal is not None and isinstance(item, Complete) and item.part.held is not None:
            self._due.append(item)
        else:
            self._commits.submit(item)

    def flush(self) -> None:
        """Keep in the journal what has come, and answer it."""
        if not self._due:
            return
        due, self._due = self._due, []
        chosen = [] if self._sink.stuck else [(each, ref) for each in due if (ref := self._identified(each))]
        kept = self._kept(chosen)
        taken = {id(each) for each, _ in kept}
        for each in due:
            if id(each) not in taken:
                self._commits.submit(each)
        for each, journaled in kept:
            self._sink.put(journaled)
            each.part.close()
            _answer(each)

    def _identified(self, complete: Complete) -> InstanceRef | None:
        """Return which instance an object is; None lets the longer way say what is wrong with it."""
        try:
            return self._reception.store.identified(
                Received(complete.part, complete.sop_class_uid, complete.sop_instance_uid)
            )
        except Refusal:
            return None
        except Exception:  # boundary: one object's trouble is not the others'
            log.exception("object not identified", association=complete.association.id)
            return None

    def _kept(self, chosen: Sequence[tuple[Complete, InstanceRef]]) -> list[tuple[Complete, Journaled]]:
        at, places = self._reception.clock(), self._reception.places
        entries = [_entry(each, instance, at) for each, instance in chosen]
        if self._journal is None or not entries:
            return []
        places.received(len(entries))
        try:
            kept = self._journal.append(entries)
        except Exception:  # boundary: the bytes are still in memory, and go the longer way
            log.exception("objects not journaled", count=len(entries))
            kept = None
        for segment in self._journal.newly_sealed():
            self._sink.put(Sealed(segment))
        if kept is None:
            places.received(-len(entries))
            return []
        return [
            (each, Journaled(place, instance, each.association, at))
            for place, (each, instance) in zip(kept, chosen, strict=True)
        ]


def _answer(complete: Complete) -> None:
    try:
        complete.answer(None)
    except Exception:  # boundary: as above
        log.exception("answer not given", association=complete.association.id)


_INSTANCE: Final = "instance"
_ASSOCIATION: Final = "association"
_AT: Final = "at"
_INSTANCE_FIELDS: Final = tuple(each.name for each in fields(InstanceRef))
_ASSOCIATION_FIELDS: Final = tuple(each.name for each in fields(Association))


def _entry(complete: Complete, instance: InstanceRef, at: float) -> Entry:
    part = complete.part
    return Entry(note_of(instance, complete.association, at), part.head, part.held or b"", part.digest)


def note_of(instance: InstanceRef, association: Association, at: float) -> bytes:
    """Return what the ledger is to know of an instance, as an entry of the journal says it."""
    values = {
        _INSTANCE: {name: getattr(instance, name) for name in _INSTANCE_FIELDS},
        _ASSOCIATION: {name: getattr(association, name) for name in _ASSOCIATION_FIELDS},
        _AT: at,
    }
    return json.dumps(values).encode()


def noted(note: bytes) -> tuple[InstanceRef, Association, float]:
    """Return what the note of an entry says."""
    values = json.loads(note)
    return InstanceRef(**values[_INSTANCE]), Association(**values[_ASSOCIATION]), values[_AT]
