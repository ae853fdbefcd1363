"""What one association brings, counted while it brings it."""

from collections import Counter
from dataclasses import replace

from dicom_node.entities import Arrival, Association, AssociationEnd, AssociationRecord


class Tally:
    """Counts of one association: objects by the thread that keeps them, answers by the one that gives them."""

    def __init__(self) -> None:
        self._kept = 0
        self._duplicates = 0
        self._size = 0
        self._statuses: Counter[int] = Counter()

    def took(self, arrival: Arrival, size: int) -> None:
        """Count an object that is on disk, with so many bytes, and in the ledger."""
        self._kept += arrival is Arrival.NEW
        self._duplicates += arrival is not Arrival.NEW
        self._size += size

    def added_to(self, record: AssociationRecord) -> AssociationRecord:
        """Return a record with these objects as well."""
        return replace(
            record,
            kept=record.kept + self._kept,
            duplicates=record.duplicates + self._duplicates,
            size=record.size + self._size,
        )

    def answered(self, status: int) -> None:
        """Count the answer to a C-STORE, if it is another than success."""
        if status:
            self._statuses[status] += 1

    def record(
        self,
        association: Association,
        accepted: tuple[str, ...],
        refused: tuple[str, ...],
        end: AssociationEnd,
        at: float,
    ) -> AssociationRecord:
        """Return all of it."""
        return AssociationRecord(
            association,
            end,
            at,
            accepted,
            refused,
            self._kept,
            self._duplicates,
            dict(self._statuses),
            self._size,
        )
