"""What the node itself fetches from archives: priors that jobs wait for, and what is missing of a study.

A stage of the journey like those of `flow`: a tick that meets the others only in the ledger.
"""

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from dicom_node.errors import Failure
from dicom_node.fetching.missing import fetch_missing
from dicom_node.fetching.outcome import Outcome
from dicom_node.fetching.priors import fetch_priors
from dicom_node.fetching.pulling import Pulled, Puller
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Fetch, FetchKind, Ledger
from dicom_node.log import safe_text, where
from dicom_node.settings import Archive, Settings

__all__ = ["Fetching", "Pulled", "Puller"]

log = structlog.get_logger(__name__)

_FETCHES_A_TICK: Final = 5
#: The wait before the second attempt; each one after it is twice as long, up to the longest.
_FIRST_WAIT_SECONDS: Final = 2.0
_LONGEST_WAIT_SECONDS: Final = 60.0
_FETCH: Final[Mapping[FetchKind, Callable[[Puller, Fetch], Outcome]]] = {
    FetchKind.PRIORS: fetch_priors,
    FetchKind.MISSING: fetch_missing,
}


class Fetching:
    """The stage, and what it acts on.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: Settings, ledger: Ledger, store: InstanceStore, clock: Callable[[], float]) -> None:
        self._owner = settings.node.name
        self._ledger = ledger
        self._clock = clock
        self._puller = Puller(settings, ledger, store, clock)

    def fetch(self, archive: Archive) -> None:
        """Ask one archive for what is due."""
        for fetch in self._ledger.fetches.start(archive.name, self._owner, self._clock(), _FETCHES_A_TICK):
            if not self._puller.stopping.is_set():
                self._do(fetch)

    def give_up_late(self) -> None:
        """Let go on what has waited for an archive for too long."""
        self._ledger.fetches.time_out(self._clock())

    def stop(self) -> None:
        """Leave the archives alone; what was under way is asked for again at the next start."""
        self._puller.stopping.set()

    def _do(self, fetch: Fetch) -> None:
        """Do one fetch; whatever goes wrong is in its row, and holds up nobody for longer than its time."""
        try:
            outcome = _FETCH[fetch.kind](self._puller, fetch)
        except Failure as failure:
            outcome = Outcome(str(failure), broke=failure)
        except Exception as error:  # the named boundary: an archive may answer anything
            log.exception("fetch broke off", study=fetch.study_instance_uid, job=fetch.job_id)
            said = f"the fetch broke off ({safe_text(error)} at {where(error)})"
            outcome = Outcome(said, broke=Failure(said))
        if not self._puller.stopping.is_set():  # else it is taken back at the next start
            self._note(fetch, outcome)

    def _note(self, fetch: Fetch, outcome: Outcome) -> None:
        now, fetches = self._clock(), self._ledger.fetches
        again_at = now + min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** (fetch.attempts - 1))
        about = {"study": fetch.study_instance_uid, "kind": str(fetch.kind), "name": fetch.archive}
        if outcome.broke is None:
            fetches.finish(fetch, outcome.reason, now, outcome.inputs)
            log.info("fetched", **about, reason=outcome.reason)
        elif outcome.broke.retryable and again_at < fetch.give_up_at:
            fetches.wait(fetch, outcome.reason, now, again_at)
        else:
            fetches.give_up(fetch, outcome.reason, now, outcome.inputs)
            log.warning("fetch given up", **about, reason=outcome.reason)
