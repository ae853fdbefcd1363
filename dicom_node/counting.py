"""Asking destinations how many instances a study has: what a rule with `count_from` waits for."""

import threading
from collections.abc import Callable
from typing import Final

import structlog

from dicom_node.counts import Counts
from dicom_node.errors import Failure
from dicom_node.senders import Senders
from dicom_node.settings import Settings

log = structlog.get_logger(__name__)

_COUNT: Final = "NumberOfStudyRelatedInstances"


class Counting:
    """The stage that asks.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: Settings, counts: Counts, clock: Callable[[], float]) -> None:
        self.take(settings)
        self._senders = Senders(settings.node.ae_title, clock)
        self._counts = counts
        self._clock = clock
        self._stopping = threading.Event()

    def take(self, settings: Settings) -> None:
        """Ask the destinations of these settings from now on."""
        self._destinations = {destination.name: destination for destination in settings.destinations}

    def ask(self) -> None:
        """Ask what is open: C-FIND or QIDO-RS at study level (PS3.4 C.6.2.1.2, Number of Study Related Instances)."""
        silent: set[str] = set()  # each is waited for once, however many studies are open
        for study, name in self._counts.open(self._clock()):
            if self._stopping.is_set():
                return
            asked_at = self._clock()  # what comes while the destination answers is not in its count
            count = None if name in silent else self._asked(study, name, silent)
            self._counts.answer(study, name, count, asked_at)

    def stop(self) -> None:
        """Ask no more: the node is about to go away."""
        self._stopping.set()

    def _asked(self, study_instance_uid: str, name: str, silent: set[str]) -> int | None:
        destination = self._destinations.get(name)
        archive = self._senders.archive(destination) if destination else None
        if archive is None:
            return None
        try:
            found = archive.find_studies((study_instance_uid,), (_COUNT,))
        except Failure as failure:
            silent.add(name)
            log.warning(
                "instances cannot be counted", destination=name, study=study_instance_uid, reason=str(failure)
            )
            return None
        texts = [match.get(_COUNT, "") for match in found.get(study_instance_uid, ())]
        counts = [int(text) for text in texts if text.strip().isdecimal()]
        return max(counts, default=None)
