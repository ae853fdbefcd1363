"""What Storage Commitment (PS3.4 Annex J, Push Model) speaks of: requests, reports, and their encoding; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from pydicom.dataset import Dataset

from dicom_node.errors import InvalidArgument

SOP_CLASS_UID: Final = "1.2.840.10008.1.20.1"
#: The one instance that every request is about (PS3.4 J.3.5).
SOP_INSTANCE_UID: Final = "1.2.840.10008.1.20.1.1"
#: Request Storage Commitment (PS3.4 J.3.2.1).
REQUEST_ACTION: Final = 1
_ALL_COMMITTED, _SOME_FAILED = 1, 2
_MAX_UID: Final = 64


class Reference(NamedTuple):
    """One instance that commitment is asked for."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the safekeeping of these instances is asked for (PS3.4 J.3.2.1.1)."""

    transaction_uid: str
    references: tuple[Reference, ...]


class FailureReason(IntEnum):
    """Why an instance is not committed: Failure Reason (0008,1197), PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119


@dataclass(frozen=True, slots=True)
class Report:
    """What a keeper of instances promises, and what it cannot (PS3.4 J.3.3.1); others' reasons may be any number."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]

    @property
    def event_type(self) -> int:
        """Event Type ID: 1 if every instance is committed, 2 if any is not."""
        return _SOME_FAILED if self.failed else _ALL_COMMITTED

    def __str__(self) -> str:
        """Return what it says, for the history."""
        return f"{len(self.committed)} committed, {len(self.failed)} not"

    def information(self) -> Dataset:
        """Return the Event Information of the N-EVENT-REPORT."""
        told = Dataset()
        told.TransactionUID = self.transaction_uid
        if self.committed:
            told.ReferencedSOPSequence = [_item(reference) for reference in self.committed]
        if self.failed:
            told.FailedSOPSequence = [_item(reference) for reference, _ in self.failed]
            for item, (_, reason) in zip(told.FailedSOPSequence, self.failed, strict=True):
                item.FailureReason = int(reason)
        return told


def parse_request(action: Dataset) -> Request:
    """Return what the Action Information of an N-ACTION asks for.

    Raises
    ------
    InvalidArgument
        If the Transaction UID, the references or one of their UIDs are missing or too long.
    """
    transaction = _uid(action, "TransactionUID")
    references = tuple(_reference(item) for item in _items(action))
    return Request(transaction, tuple(dict.fromkeys(references)))


def parse_report(information: Dataset) -> Report:
    """Return what the Event Information of an N-EVENT-REPORT says (PS3.4 J.3.3.1).

    Raises
    ------
    InvalidArgument
        If the Transaction UID, the references or one of their UIDs are missing or too long.
    """
    committed = tuple(_reference(item) for item in information.get("ReferencedSOPSequence") or ())
    failed = tuple((_reference(item), _reason(item)) for item in information.get("FailedSOPSequence") or ())
    if not committed and not failed:
        raise InvalidArgument("the report refers to no instance")
    return Report(_uid(information, "TransactionUID"), committed, failed)


def _reference(item: Dataset) -> Reference:
    return Reference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID"))


def _reason(item: Dataset) -> int:
    reason = item.get("FailureReason")
    return FailureReason.PROCESSING_FAILURE if reason is None else int(reason)


def request_information(request: Request) -> Dataset:
    """Return the Action Information of an N-ACTION (PS3.4 J.3.2.1.1)."""
    asked = Dataset()
    asked.TransactionUID = request.transaction_uid
    asked.ReferencedSOPSequence = [_item(reference) for reference in request.references]
    return asked


def _items(action: Dataset) -> Iterable[Dataset]:
    sequence = action.get("ReferencedSOPSequence")
    if not sequence:
        raise InvalidArgument("the request refers to no instance (Referenced SOP Sequence)")
    return list(sequence)


def _uid(dataset: Dataset, keyword: str) -> str:
    value = str(dataset.get(keyword) or "")
    if not value or len(value) > _MAX_UID:
        raise InvalidArgument(f"{keyword} is missing or is no UID")
    return value


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item
