"""What one association brings, counted while it brings it."""

from collections import Counter

from pynetdicom.association import Association as PeerAssociation
from pynetdicom.presentation import PresentationContext

from dicom_node.entities import Arrival, Association, AssociationEnd, AssociationRecord


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

    def arrived(self, arrival: Arrival, size: int) -> None:
        """Count an instance that is on disk and in the ledger."""
        self._kept += arrival is Arrival.NEW
        self._duplicates += arrival is not Arrival.NEW
        self._size += size

    def answered(self, status: int) -> None:
        """Count a C-STORE that was answered with another status than success."""
        self._statuses[status] += 1

    def record(
        self, association: Association, peer: PeerAssociation, end: AssociationEnd, at: float
    ) -> AssociationRecord:
        """Return all of it."""
        return AssociationRecord(
            association,
            end,
            at,
            tuple(f"{each.abstract_syntax} {each.transfer_syntax[0]}" for each in peer.accepted_contexts),
            tuple(_refusal(each) for each in peer.rejected_contexts),
            self._kept,
            self._duplicates,
            dict(self._statuses),
            self._size,
        )


def _refusal(context: PresentationContext) -> str:
    # Result/Reason of the A-ASSOCIATE-AC (PS3.8 Table 9-18)
    return f"{context.abstract_syntax} (result {context.result})"
