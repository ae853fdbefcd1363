"""Opening a receiver's journal; what a crash has left there goes to files and rows before anybody is received."""

import re
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

import structlog

from dicom_node.entities import Association, AssociationEnd, InstanceRef
from dicom_node.instance_store import Journal, Segment, left_behind
from dicom_node.settings import Engine
from dicom_node.storage_scp.intake import noted
from dicom_node.storage_scp.reception import Reception

log = structlog.get_logger(__name__)

_MIB: Final = 2**20
_BATCH: Final = 64
#: Another receiver may just be recovering the journal that its former owner has left.
_WAIT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.05


def open_journal(reception: Reception, name: str) -> Journal | None:
    """Return the journal of a receiver; None if there is to be none, or it cannot be had.

    Parameters
    ----------
    name : str
        That no other receiver on the same instance store has; the same after each start.
    """
    size = reception.settings.journal_mib * _MIB
    recover_others(reception)
    if not size or reception.settings.engine is Engine.PYNETDICOM:
        return None
    try:
        return _opened(reception, name, size)
    except Exception:  # boundary: the longer way of each object is as safe
        log.exception("no journal: objects go the longer way", path=str(reception.store.journal_folder))
        return None


def journal_name(owner: str, number: int) -> str:
    """Return the name of the journal of a node's receiver process."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"{owner}-{number}")


def _opened(reception: Reception, name: str, size: int) -> Journal:
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            journal = Journal(reception.store.journal_folder, name, size)
            break
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOOK_SECONDS)
    try:
        for segment in journal.segments:
            _recover(segment, reception)
            segment.fit(size // 2)
    except BaseException:
        journal.close(forget=False)
        raise
    return journal


def recover_others(reception: Reception) -> None:
    """Recover the journals that no process has open: of receivers that are no more, or of a node that is gone."""
    for segment in left_behind(reception.store.journal_folder):
        try:
            _recover(segment, reception)
        except Exception:  # boundary: they stay, and the next start tries again
            log.exception("journal not recovered", path=str(segment.path))


def _recover(segment: Segment, reception: Reception) -> None:
    """Put what a segment holds into files and ledger, and clear it; what is there already is no news."""
    count = 0
    entries = segment.entries()
    while batch := [(*noted(note), data) for note, data in islice(entries, _BATCH)]:
        for instance, _, _, data in batch:
            reception.store.restore(instance, data)
        kept = [(instance, association, at) for instance, association, at, _ in batch]
        reception.arrivals.note_arrivals(kept, reception.settings.same_uid_other_bytes)
        reception.arrivals.end_associations(list(_lost(kept)))
        count += len(batch)
    segment.clear()
    if count:
        log.warning("journal recovered", path=str(segment.path), count=count)


def _lost(
    kept: list[tuple[InstanceRef, Association, float]],
) -> Iterator[tuple[Association, AssociationEnd, float]]:
    for association, at in {association: at for _, association, at in kept}.items():
        yield association, AssociationEnd.LOST, at
