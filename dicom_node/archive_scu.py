"""Asking an archive: has it what it accepted (storage commitment, C-FIND), and whose is a study there (C-FIND).

Storage commitment: PS3.4 Annex J, as SCU. Query: PS3.4 Annex C, Study Root, as SCU. What an archive answers in words
is never read: it may quote patient data.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog
from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRootFind

from dicom_node.commitment import (
    REQUEST_ACTION,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    Report,
    Request,
    parse_report,
    request_information,
)
from dicom_node.entities import Peer
from dicom_node.errors import PeerRefused, PeerUnreachable
from dicom_node.presentation import commitment_request, study_root_find
from dicom_node.requestor import Requestor, identifier, matches, require_accepted

log = structlog.get_logger(__name__)

_SUCCESS: Final = 0x0000
_INVALID: Final = 0x0115
_PROCESSING_FAILURE: Final = 0x0110
#: UIDs asked for in one identifier: some archives limit the length of a request.
_UIDS_A_QUESTION: Final = 100
_LOOK_SECONDS: Final = 0.05
#: Matches that were not asked for, after which an archive is not listened to any longer.
_MOST_OTHERS: Final = 100


class ArchiveSCU:
    """Asks archives; one association per call, every wait bounded."""

    def __init__(self, requestor: Requestor) -> None:
        self._requestor = requestor

    def request_commitment(
        self, peer: Peer, request: Request, wait_seconds: float, told: Callable[[Report], None]
    ) -> Report | None:
        """Ask an archive to commit itself to instances (N-ACTION), and wait a moment for its report.

        Parameters
        ----------
        told : callable
            Takes every other report that comes meanwhile: an archive may bring what it owes of earlier requests on
            the next association that is opened to it. Called on the thread that reads the association.

        Returns
        -------
        Report or None
            None if it has not come on this association: the archive brings it on another one.

        Raises
        ------
        ServiceNotOffered
            If the archive does not provide storage commitment.
        PeerUnreachable, PeerRefused
            If it does not answer, or refuses.
        """
        heard = _Heard(request.transaction_uid, told)
        handlers = [(evt.EVT_N_EVENT_REPORT, heard.take)]
        with self._requestor.association(peer, commitment_request(), handlers=handlers) as association:
            require_accepted(association, peer, SOP_CLASS_UID, "Storage Commitment")
            try:
                answer, _ = association.send_n_action(
                    request_information(request), REQUEST_ACTION, SOP_CLASS_UID, SOP_INSTANCE_UID
                )
            except RuntimeError as error:
                raise PeerUnreachable(f"{peer} ended the association before it was asked") from error
            _require_success(answer.get("Status"), peer, "an N-ACTION", self._requestor.timeout)
            return heard.wait(association, wait_seconds)

    def find_instances(
        self, peer: Peer, study_instance_uid: str, wanted: Mapping[str, Sequence[str]]
    ) -> frozenset[str]:
        """Return which instances of a study an archive has, by SOP Instance UID.

        Parameters
        ----------
        wanted : mapping
            Series Instance UID to the SOP Instance UIDs that are asked for.

        Raises
        ------
        ServiceNotOffered
            If the archive answers no Study Root queries.
        PeerUnreachable, PeerRefused
            If it does not answer, or refuses.
        """
        found: set[str] = set()
        with self._requestor.association(peer, study_root_find()) as association:
            require_accepted(association, peer, StudyRootFind, "Study Root Query")
            for series, uids in wanted.items():
                for start in range(0, len(uids), _UIDS_A_QUESTION):
                    asked = identifier("IMAGE", {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series})
                    asked.SOPInstanceUID = list(uids[start : start + _UIDS_A_QUESTION])
                    found |= {str(each.get("SOPInstanceUID")) for each in self._found(association, peer, asked)}
        return frozenset(found & {uid for uids in wanted.values() for uid in uids})

    def find_studies(
        self, peer: Peer, study_instance_uids: Iterable[str], keywords: Iterable[str]
    ) -> dict[str, list[dict[str, str]]]:
        """Return how an archive has studies: for each, a mapping of keyword to text for each match.

        Raises
        ------
        ServiceNotOffered
            If the archive answers no Study Root queries.
        PeerUnreachable, PeerRefused
            If it does not answer, or refuses.
        """
        wanted, found = tuple(keywords), {}
        with self._requestor.association(peer, study_root_find()) as association:
            require_accepted(association, peer, StudyRootFind, "Study Root Query")
            for uid in study_instance_uids:
                asked = identifier("STUDY", {**dict.fromkeys(wanted, ""), "StudyInstanceUID": uid})
                same = self._same_study(association, peer, asked)
                found[uid] = [{keyword: str(each.get(keyword) or "") for keyword in wanted} for each in same]
        return found

    def _same_study(self, association: Association, peer: Peer, asked: Dataset) -> list[Dataset]:
        """Return the matches for the study asked for: an archive may ignore the key, and tell of every study."""
        same, others = [], 0
        for each in self._found(association, peer, asked):
            if each.get("StudyInstanceUID") == asked.StudyInstanceUID:
                same.append(each)
                continue
            others += 1
            if others > _MOST_OTHERS:
                association.abort()
                raise PeerRefused(f"{peer} answers a C-FIND for one study with all that it has: it ignores its UID")
        return same

    def _found(self, association: Association, peer: Peer, asked: Dataset) -> Iterator[Dataset]:
        """Yield the matches of one C-FIND (PS3.4 C.4.1)."""

        def ended(status: int | None) -> None:
            _require_success(status, peer, "a C-FIND", self._requestor.timeout)

        return matches(association, peer, asked, ended)


class _Heard:
    """The report on one request, taken on the thread that reads the association; others are passed on."""

    def __init__(self, transaction_uid: str, told: Callable[[Report], None]) -> None:
        self._transaction = transaction_uid
        self._told = told
        self._report: Report | None = None
        self._came = threading.Event()
        self._is_awaited = True
        self._lock = threading.Lock()

    def take(self, event: evt.Event) -> tuple[int, None]:
        """Answer one N-EVENT-REPORT."""
        try:
            report = parse_report(event.event_information)
        except Exception:  # noqa: BLE001 - boundary: damaged bytes make pydicom raise anything
            return _INVALID, None
        with self._lock:
            mine = self._is_awaited and report.transaction_uid == self._transaction
            if mine:
                self._report = report
                self._came.set()
        try:
            if not mine:
                self._told(report)
        except Exception:  # boundary: the archive may report again
            log.exception("commitment report not noted")
            return _PROCESSING_FAILURE, None
        return _SUCCESS, None

    def wait(self, association: Association, seconds: float) -> Report | None:
        until = time.monotonic() + seconds
        while association.is_established and time.monotonic() < until and not self._came.wait(_LOOK_SECONDS):
            pass
        with self._lock:
            self._is_awaited = False
            return self._report


def _require_success(status: int | None, peer: Peer, what: str, seconds: float) -> None:
    if status is None:
        raise PeerUnreachable(f"{peer} did not answer {what} within {seconds:g} s")
    if status != _SUCCESS:
        raise PeerRefused(f"{peer} answered {what} with status 0x{status:04X}")
