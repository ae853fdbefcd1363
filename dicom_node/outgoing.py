"""What leaves the node, and what became of it: the words that every way out shares.

What a status means for a delivery is one table, `MEANINGS` (PS3.4 B.2.3, PS3.7 Annex C; PS3.18 10.5.3 uses the same
numbers as Failure Reason). A receiver's own words are never repeated: they may quote patient data.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

SUCCESS: Final = 0x0000


class Verdict(StrEnum):
    """What an answer means for one delivery."""

    ACCEPTED = "accepted"
    TEMPORARY = "temporary"  # trying again later may help without anybody changing anything
    PERMANENT = "permanent"  # a person has to look


@dataclass(frozen=True, slots=True)
class Meaning:
    """A range of DIMSE statuses, both ends included, and what it means for a delivery."""

    first: int
    last: int
    verdict: Verdict
    text: str


#: Read from the top; the first line that holds the status counts. A test holds CONFORMANCE.md to it.
MEANINGS: Final = (
    Meaning(0x0000, 0x0000, Verdict.ACCEPTED, "stored"),
    Meaning(0x0001, 0x0001, Verdict.ACCEPTED, "stored, with a warning"),
    Meaning(0x0107, 0x0107, Verdict.ACCEPTED, "stored, with a warning about attributes"),
    Meaning(0x0116, 0x0116, Verdict.ACCEPTED, "stored, with a warning about attribute values"),
    Meaning(0xB000, 0xB000, Verdict.ACCEPTED, "stored, with data elements changed by the receiver"),
    Meaning(0xB006, 0xB006, Verdict.ACCEPTED, "stored, with data elements dropped by the receiver"),
    Meaning(0xB007, 0xB007, Verdict.ACCEPTED, "stored, though the receiver finds that it does not fit its SOP class"),
    Meaning(0xB000, 0xBFFF, Verdict.ACCEPTED, "stored, with a warning"),
    Meaning(0x0111, 0x0111, Verdict.ACCEPTED, "already stored there"),
    Meaning(0x0110, 0x0110, Verdict.TEMPORARY, "processing failure at the receiver"),
    Meaning(0x0210, 0x0210, Verdict.TEMPORARY, "duplicate invocation"),
    Meaning(0xA700, 0xA7FF, Verdict.TEMPORARY, "receiver is out of resources"),
    Meaning(0xFE00, 0xFE00, Verdict.TEMPORARY, "cancelled by the receiver"),
    Meaning(0x0117, 0x0117, Verdict.PERMANENT, "invalid SOP instance"),
    Meaning(0x0122, 0x0122, Verdict.PERMANENT, "SOP class not supported"),
    Meaning(0x0124, 0x0124, Verdict.PERMANENT, "not authorised: allow this node to store there"),
    Meaning(0xA900, 0xA9FF, Verdict.PERMANENT, "data set does not match its SOP class"),
    Meaning(0xC000, 0xCFFF, Verdict.PERMANENT, "receiver cannot understand the data set"),
    Meaning(0x0000, 0xFFFF, Verdict.PERMANENT, "refused"),
)


@dataclass(frozen=True, slots=True)
class OutgoingObject:
    """One stored Part 10 file to send as it is."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    def unreadable(self, error: BaseException) -> "Outcome":
        """Return the outcome of an object whose file cannot be read: a person has to look at the store."""
        reason = f"{self.path} cannot be read as a DICOM file ({type(error).__name__}); is the store damaged?"
        return Outcome(self.sop_instance_uid, Verdict.PERMANENT, None, reason)

    def postponed(self, reason: str) -> "Outcome":
        """Return the outcome of an object that nobody has answered for, and that is tried again."""
        return Outcome(self.sop_instance_uid, Verdict.TEMPORARY, None, reason)

    def answered(self, by: str, status: int) -> "Outcome":
        """Return the outcome that a DIMSE status of the receiver `by` means."""
        meaning = meaning_of(status)
        reason = meaning.text if status == SUCCESS else f"{by} answered 0x{status:04X}: {meaning.text}"
        return Outcome(self.sop_instance_uid, meaning.verdict, status, reason)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object; `status` is None where the receiver gave none for it."""

    sop_instance_uid: str
    verdict: Verdict
    status: int | None
    reason: str


def meaning_of(status: int) -> Meaning:
    """Return what a C-STORE status, or a Failure Reason (0008,1197), means for a delivery."""
    return next(meaning for meaning in MEANINGS if meaning.first <= status <= meaning.last)


class Sender(Protocol):
    """One way to one destination. `str()` of it is what an administrator calls the destination's address."""

    def store(self, objects: Sequence[OutgoingObject]) -> Iterator[Outcome]:
        """Send stored objects as they are; yield one outcome for each, in order. Foreseen trouble is an outcome."""
        ...

    def echo(self) -> None:
        """Return if the destination is there and would take objects from this node.

        Raises
        ------
        Failure
            If it is not, or would not; the text says what to look at.
        """
        ...

    def accepted(self, sop_class_uids: Sequence[str], transfer_syntax_uid: str) -> Mapping[str, bool | None]:
        """Return which SOP classes the destination takes so encoded; None where it tells only when it is sent one.

        Raises
        ------
        Failure
            As `echo`.
        """
        ...
