"""What one association brings, counted while it brings it."""

from collections import Counter

from dicom_node.entities import Arrival, Association, AssociationEnd, AssociationRecord
from dicom_node.storage_scp.commits import Outcome


class Tally:
    """Counts of one association; written by its own thread only."""

    def __init__(self) -> None:
        self._kept = 0
        self._duplicates = 0
        self._size = 0
        self._statuses: Counter[int] = Counter()

    @property
    def carried(self) -> int:
        """Instances that were noted in the ledger."""
        return self._kept + self._duplicates

    def took(self, outcome: Outcome) -> None:
        """Count an object that is on disk and in the ledger."""
        if outcome.arrival is not None:
            self._kept += outcome.arrival is Arrival.NEW
            self._duplicates += outcome.arrival is not Arrival.NEW
            self._size += outcome.size

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
