"""Bring what the node lacks of some studies from an archive, and see that it has arrived."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dicom_node.dicom_web import Services
from dicom_node.errors import Failure, PeerUnreachable
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger
from dicom_node.retrieving import Archive, Contents, Keeper, Progress, Wanted, archive_of
from dicom_node.settings import Archive as ArchiveSettings
from dicom_node.settings import Settings

#: How long objects may still be on their way to the node's port when the archive has said that it sent them.
_ARRIVAL_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1
#: What an archive has not sent in so many attempts, it will not send.
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a retrieval brought.

    Parameters
    ----------
    wanted, came : int
        Instances that the archive has and the node lacked, and those of them that are here now.
    how : str
        By which service, and what it did not send.
    """

    wanted: int
    came: int
    how: str

    def lack(self, attempts: int) -> Failure | None:
        """Return that not everything came, if it is to be asked for again after so many attempts."""
        return None if self.complete or attempts >= _ATTEMPTS else PeerUnreachable(str(self))

    @property
    def complete(self) -> bool:
        """Whether everything came."""
        return self.came == self.wanted

    def __str__(self) -> str:
        """Return the sentence that a person reads."""
        if not self.wanted:
            return "the node had everything"
        return f"{self.came} of {self.wanted} instances came {self.how}"


@dataclass(frozen=True, slots=True)
class Puller:
    """Pulls for one node.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    stopping : Event
        Set: nothing more is waited for.
    services : Services
        What is known of DICOMweb archives: tokens, and who wants to be left alone.
    """

    settings: Settings
    ledger: Ledger
    store: InstanceStore
    clock: Callable[[], float]
    stopping: threading.Event = field(default_factory=threading.Event)
    services: Services = field(default_factory=Services)

    def archive(self, name: str) -> tuple[ArchiveSettings, Archive]:
        """Return the archive of a name, which the settings are known to have."""
        found = next(each for each in self.settings.archives if each.name == name)
        return found, archive_of(found, self.settings.node.ae_title, self.services, self.clock)

    def lacking(self, contents: Contents) -> Contents:
        """Return what of a study the node has not; a series whose instances are not named lacks all."""
        known = self.ledger.fetches.known([uid for images in contents.values() for uid in images])
        lacking = {
            series: {uid: sop_class for uid, sop_class in images.items() if uid not in known}
            for series, images in contents.items()
        }
        return {series: images for series, images in lacking.items() if images or not contents[series]}

    def pull(
        self,
        archive: tuple[ArchiveSettings, Archive],
        studies: Mapping[str, Contents],
        wanted: Mapping[str, Contents],
        until: float,
        progress: Progress = lambda: None,
        *,
        priors: bool = False,
    ) -> Pulled:
        """Fetch instances of some studies.

        Parameters
        ----------
        studies, wanted : mapping of Study Instance UID to Contents
            All that the archive has of them, and what is to come.
        until : float
            Seconds of the monotonic clock.

        Raises
        ------
        PeerUnreachable, PeerRefused
            If the archive does not send; what came until then is kept.
        """
        settings, asked = archive
        expected = [uid for contents in wanted.values() for images in contents.values() for uid in images]
        classes = {kind for all_ in wanted.values() for images in all_.values() for kind in images.values() if kind}
        requests = list(_requests(studies, wanted))
        if not requests:
            return Pulled(0, 0, "")
        keeper = Keeper(
            self.store,
            self.ledger.arrivals,
            self.settings.reception.same_uid_other_bytes,
            settings.ae_title or settings.name,
            self.settings.node.ae_title,
            list(wanted),
            self.clock,
            priors=priors,
            stopped=self.stopping.is_set,
        )
        how = asked.fetch(requests, classes, keeper, until, progress)
        came = self._arrived(expected, {each.sop_instance_uid for each in keeper.kept}, until)
        # of a series whose instances the archive does not name, what came is what there is
        more = 0 if all(images for contents in wanted.values() for images in contents.values()) else len(keeper.kept)
        return Pulled(max(len(expected), more), max(came, more), how)

    def _arrived(self, expected: list[str], kept: set[str], until: float) -> int:
        """Wait until what the archive sent to the node's port is in the ledger; return how many there are."""
        known = kept | self.ledger.fetches.known(expected)
        patience = min(until, time.monotonic() + _ARRIVAL_SECONDS)
        while not known >= set(expected) and time.monotonic() < patience and not self.stopping.is_set():
            time.sleep(_LOOK_SECONDS)
            before, known = known, known | self.ledger.fetches.known(expected)
            if known != before:
                patience = min(until, time.monotonic() + _ARRIVAL_SECONDS)
        return len(known & set(expected))


def _requests(studies: Mapping[str, Contents], wanted: Mapping[str, Contents]) -> Iterator[Wanted]:
    """Yield a request for each series: all of it, where all of it is wanted."""
    for study, contents in wanted.items():
        for series, images in contents.items():
            whole = len(images) == len(studies[study].get(series, images))
            yield Wanted(study, series, () if whole else tuple(sorted(images)))
