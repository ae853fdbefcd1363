"""What every archive can be asked, whichever protocol it speaks."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dicom_node.retrieving.keeping import Keeper

#: One match of a query: keyword to text, empty where the archive does not say; several values with backslashes.
Match = Mapping[str, str]
#: What a study holds: Series Instance UID to SOP Instance UID to SOP Class UID, empty where it is not said.
Contents = Mapping[str, Mapping[str, str]]
#: Told of each step of a retrieval; may raise to end it.
Progress = Callable[[], None]

#: What is asked of every study.
STUDY_KEYS: Final = (
    "StudyInstanceUID",
    "PatientID",
    "IssuerOfPatientID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "NumberOfStudyRelatedInstances",
)
_WILD: Final = frozenset("*?\\")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to come of one series: some instances, or all of it where none are named."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...] = ()


class Archive(Protocol):
    """Answers queries, and sends what is asked for. Every method raises PeerUnreachable or PeerRefused."""

    def studies(self, keys: Mapping[str, str]) -> list[Match]:
        """Return the studies that match: keyword to the one value that it must have."""
        ...

    def series(self, study_instance_uid: str, keywords: Collection[str]) -> list[Match]:
        """Return the series of a study, with what they say of each keyword."""
        ...

    def contents(self, study_instance_uid: str, series: Collection[str] | None = None) -> Contents:
        """Return the instances of a study, or of some of its series."""
        ...

    def fetch(
        self, wanted: Sequence[Wanted], sop_classes: Collection[str], keeper: Keeper, until: float, progress: Progress
    ) -> str:
        """Have the archive send objects; return how, in words, and what it did not send.

        Parameters
        ----------
        sop_classes : collection of str
            Of the objects, as far as they are known.
        until : float
            Seconds of the monotonic clock: what has not come by then is given up.
        """
        ...


def only_one_value(keys: Mapping[str, str]) -> bool:
    """Return whether no key means more than itself: archives take * and ? for any characters (PS3.4 C.2.2.2.4)."""
    return all(value and not _WILD & set(value) for value in keys.values())
