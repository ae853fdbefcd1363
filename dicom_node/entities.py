"""The values that every floor speaks of: frozen, validated where they are made, free of behaviour.

Terms are those of the DICOM standard: AE title (PS3.5 6.2, VR AE), association (PS3.8 7), instance, series,
study (PS3.3 A.1.2), SOP class, transfer syntax.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

_MAX_AE_TITLE: Final = 16

#: One value of a DICOM attribute as rules see it: text, or a number where its VR holds numbers.
FactValue = str | int | float
#: Dotted keyword path ("Modality", "RequestAttributesSequence.RequestedProcedureID") to the distinct values seen.
Header = Mapping[str, tuple[FactValue, ...]]


@dataclass(frozen=True, slots=True)
class AETitle:
    r"""An Application Entity title: 1 to 16 characters, no backslash, no control character (PS3.5 6.2, VR AE).

    Leading and trailing spaces are not significant and are dropped.

    Raises
    ------
    ValueError
        If the text cannot be an AE title.
    """

    value: str

    def __post_init__(self) -> None:
        """Strip insignificant spaces and refuse what VR AE cannot hold."""
        text = self.value.strip(" ")
        printable = text.isascii() and text.isprintable() and "\\" not in text
        if not text or len(text) > _MAX_AE_TITLE or not printable:
            raise ValueError(f"{self.value!r} is not an AE title (1 to 16 ASCII characters, no backslash)")
        object.__setattr__(self, "value", text)

    def __str__(self) -> str:
        """Return the title as an administrator writes it."""
        return self.value


@dataclass(frozen=True, slots=True)
class Association:
    """One association as its acceptor knows it: who called whom, from where, since when (UTC seconds)."""

    id: str
    calling: str
    called: str
    address: str
    opened_at: float


class AssociationEnd(StrEnum):
    """How an association ended; only a release says that the sender meant to stop (PS3.8 7.2, 7.3)."""

    RELEASED = "released"
    ABORTED = "aborted"
    LOST = "lost"  # the connection, or the node itself, went away


@dataclass(frozen=True, slots=True)
class AssociationRecord:
    """What became of one association.

    Parameters
    ----------
    accepted, refused : tuple of str
        Presentation contexts: SOP class and transfer syntax; SOP class and Result/Reason (PS3.8 Table 9-18).
    duplicates : int
        Instances that were known already, with the same bytes or others.
    statuses : mapping
        C-STORE statuses other than success, and how often each was answered.
    size : int
        Bytes of the files of the kept and the duplicate instances.
    """

    association: Association
    end: AssociationEnd
    ended_at: float
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    kept: int
    duplicates: int
    statuses: Mapping[int, int]
    size: int


@dataclass(frozen=True, slots=True)
class InstanceRef:
    """One stored instance: its identity, and where its bytes are.

    Parameters
    ----------
    path : str
        Relative to the instance store's root, so that the store can be moved.
    sha256 : str
        Hex digest of the data set as received, without File Meta Information.
    size : int
        Bytes of the file.
    own : bool
        True if this software made the object (Manufacturer, or the ledger's results): never routed again.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    series_instance_uid: str
    study_instance_uid: str
    path: str
    sha256: str
    size: int
    own: bool = False


class SameUidPolicy(StrEnum):
    """What happens when a SOP Instance UID arrives again with other bytes. Both bytes are kept in every case."""

    KEEP_FIRST = "keep_first"  # the first stays current; answered 0x0000
    KEEP_LAST = "keep_last"  # the new one becomes current and opens a revision; answered 0x0000
    REFUSE = "refuse"  # the first stays current; answered 0x0111 (duplicate SOP instance)


class Arrival(StrEnum):
    """What the ledger made of one received instance."""

    NEW = "new"
    REPEATED = "repeated"  # same UID, same bytes: no new work
    DIFFERENT_KEPT_FIRST = "different bytes, first kept"
    DIFFERENT_KEPT_LAST = "different bytes, last kept"
    DIFFERENT_REFUSED = "different bytes, refused"


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What is known of one series, over all its instances.

    Parameters
    ----------
    values : Header
        Attributes and computed facts (`Orientation`, `SliceSpacing`, `NumberOfSlices`, `NumberOfInstances`,
        `SOPClassUID`); each with every distinct value that any instance holds.
        A keyword that no instance holds is absent: missing is its own answer.
    paths : tuple of str
        Store-relative paths of the instances, in order of SOP Instance UID: the order of arrival decides nothing.
    """

    series_instance_uid: str
    values: Header
    paths: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What is known of one study revision: its series, and who sent it.

    Parameters
    ----------
    values : Header
        `CallingAETitle`, `CalledAETitle`, `CallingAddress`, `NumberOfInstances` (of the whole study), and every
        attribute that is the union of its series' values.
    """

    study_instance_uid: str
    values: Header
    series: tuple[SeriesFacts, ...]


_JOB_NAMESPACE: Final = uuid.UUID("7f0a3c1e-1d0b-5a6e-9b52-6a1f6f0d4c11")


@dataclass(frozen=True, slots=True)
class JobKey:
    """Everything that decides what a job's result is; equal keys mean equal results and equal UIDs.

    Parameters
    ----------
    sources : tuple of (str, str)
        (SOP Instance UID, sha256 of the data set) of every input instance, any order.
    weights : str
        Hash of the model weights, empty where the pipeline has none.
    software : str
        This software's version: another builder may write other bytes.
    """

    sources: tuple[tuple[str, str], ...]
    pipeline: str
    version: str
    weights: str
    software: str
    settings: Mapping[str, FactValue | bool] = field(default_factory=dict)

    def digest(self) -> str:
        """Return the SHA-256 hex digest of the key; independent of the order of sources and settings."""
        parts = [self.pipeline, self.version, self.weights, self.software]
        parts += [f"{key}={value!r}" for key, value in sorted(self.settings.items())]
        parts += [f"{uid}:{sha}" for uid, sha in sorted(self.sources)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def uid(self, purpose: str) -> str:
        """Return the UID for one purpose ("seg", "seg.series", "tracking.1"): a UUID-derived UID (PS3.5 B.2).

        Same job, same UID: sending again is harmless, and changed content never reuses a UID.
        """
        return derived_uid(f"{self.digest()}/{purpose}")


def derived_uid(text: str) -> str:
    """Return the UID (PS3.5 B.2, at most 44 characters) that belongs to a text, the same for ever."""
    return f"2.25.{uuid.uuid5(_JOB_NAMESPACE, text).int}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A remote application entity that this node calls."""

    ae_title: AETitle
    host: str
    port: int

    @classmethod
    def parse(cls, ae_title: str, host: str, port: int) -> Self:
        """Return a peer from settings text; raises ValueError for an impossible AE title."""
        return cls(AETitle(ae_title), host, port)

    def __str__(self) -> str:
        """Return the peer as an administrator writes it: AE@host:port."""
        return f"{self.ae_title}@{self.host}:{self.port}"
