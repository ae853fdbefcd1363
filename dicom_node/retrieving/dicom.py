"""An archive that speaks DICOM: C-FIND, C-GET and C-MOVE as SCU, Study Root (PS3.4 Annex C)."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pydicom import Dataset
from pydicom.multival import MultiValue
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRootFind
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as StudyRootGet
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as StudyRootMove

from dicom_node.entities import AssociationEnd, Peer
from dicom_node.errors import PeerRefused, PeerUnreachable, ServiceNotOffered
from dicom_node.presentation import study_root_find, study_root_get, study_root_move
from dicom_node.requestor import Requestor, identifier, matches, require_accepted
from dicom_node.retrieving.archive import STUDY_KEYS, Contents, Match, Progress, Wanted
from dicom_node.retrieving.keeping import Keeper
from dicom_node.retrieving.streaming import PatientDimse, receive_on, store
from dicom_node.settings import Archive as ArchiveSettings
from dicom_node.settings import Retrieve
from dicom_node.tls import client_context

_SUCCESS: Final = 0x0000
_PENDING: Final = frozenset({0xFF00, 0xFF01})
#: PS3.4 C.4.2.1.5, C.4.3.1.4: sub-operations complete, one or more of them failed or with a warning.
_SOME_FAILED: Final = 0xB000
_DESTINATION_UNKNOWN: Final = 0xA801
#: UIDs asked for in one identifier: some archives limit the length of a request.
_UIDS_A_REQUEST: Final = 100


class DicomArchive:
    """Asks one application entity; an association for each question, every wait bounded."""

    def __init__(self, settings: ArchiveSettings, node_ae_title: str) -> None:
        self._settings = settings
        self._node = node_ae_title
        self._peer = Peer.parse(settings.ae_title or "", settings.host or "", settings.port or 0)
        calling = settings.calling_ae_title or node_ae_title
        tls = settings.tls
        context = None if tls is None else client_context(tls, f"[archive.tls] of {settings.name!r}")
        self._requestor = Requestor(calling, settings.timeout_seconds, context)

    def studies(self, keys: Mapping[str, str]) -> list[Match]:
        """Return the studies that match."""
        with self._asking() as association:
            found = self._find(association, "STUDY", {**dict.fromkeys(STUDY_KEYS, ""), **keys})
            # an archive that ignores a key it does not know answers with every study
            return [match for match in found if all(match.get(key) == value for key, value in keys.items())]

    def series(self, study_instance_uid: str, keywords: Collection[str]) -> list[Match]:
        """Return the series of a study."""
        with self._asking() as association:
            return self._series(association, study_instance_uid, keywords)

    def contents(self, study_instance_uid: str, series: Collection[str] | None = None) -> Contents:
        """Return the instances of a study, or of some of its series."""
        found: dict[str, dict[str, str]] = {}
        with self._asking() as association:
            if series is None:
                series = [each["SeriesInstanceUID"] for each in self._series(association, study_instance_uid, ())]
            for uid in series:
                keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": uid}
                asked = {**keys, "SOPInstanceUID": "", "SOPClassUID": ""}
                images = self._find(association, "IMAGE", asked)
                found[uid] = {each["SOPInstanceUID"]: each["SOPClassUID"] for each in images}
                found[uid].pop("", None)
        return found

    def fetch(
        self, wanted: Sequence[Wanted], sop_classes: Collection[str], keeper: Keeper, until: float, progress: Progress
    ) -> str:
        """Have the archive send objects: on this association, or to the port of the node."""
        way = self._settings.retrieve
        if way is Retrieve.MOVE:
            return self._move(wanted, keeper, until, progress)
        try:
            return self._get(wanted, sop_classes, keeper, until, progress)
        except ServiceNotOffered:
            if way is Retrieve.GET:
                raise
            return self._move(wanted, keeper, until, progress)

    # Questions

    @contextmanager
    def _asking(self) -> Iterator[Association]:
        with self._requestor.association(self._peer, study_root_find()) as association:
            require_accepted(association, self._peer, StudyRootFind, "Study Root Query")
            yield association

    def _series(self, association: Association, study: str, keywords: Collection[str]) -> list[Match]:
        keys = dict.fromkeys(("SeriesInstanceUID", "Modality", *keywords), "")
        found = self._find(association, "SERIES", {"StudyInstanceUID": study, **keys})
        return [match for match in found if match["SeriesInstanceUID"]]

    def _find(self, association: Association, level: str, keys: Mapping[str, str]) -> list[Match]:

        def ended(status: int | None) -> None:
            self._require_success(status, "C-FIND")

        return [
            {keyword: _text(found.get(keyword)) for keyword in keys}
            for found in matches(association, self._peer, identifier(level, keys), ended)
        ]

    # Retrieval

    def _get(
        self, wanted: Sequence[Wanted], sop_classes: Collection[str], keeper: Keeper, until: float, progress: Progress
    ) -> str:
        contexts = study_root_get(sop_classes)
        storage = {str(each.abstract_syntax) for each in contexts} - {str(StudyRootGet)}
        roles = [build_role(uid, scp_role=True) for uid in sorted(storage)]

        def stored(event: evt.Event) -> int:
            status = store(event, keeper)
            progress()
            return status

        end = AssociationEnd.LOST
        try:
            with self._requestor.association(
                self._peer, contexts, roles=roles, handlers=[(evt.EVT_C_STORE, stored)]
            ) as association:
                require_accepted(association, self._peer, StudyRootGet, "C-GET (Study Root)")
                dimse = receive_on(association, keeper, self._settings.timeout_seconds, until)
                try:
                    remarks = [
                        self._retrieved(association.send_c_get(asked, StudyRootGet), "C-GET", progress)
                        for asked in _requests(wanted)
                    ]
                finally:
                    dimse.discard()
            end = AssociationEnd.RELEASED
        except RuntimeError as error:
            raise PeerUnreachable(f"{self._peer} ended the association before it was asked") from error
        finally:
            keeper.end(end)
        return _told("by C-GET", remarks)

    def _move(self, wanted: Sequence[Wanted], keeper: Keeper, until: float, progress: Progress) -> str:
        with self._requestor.association(self._peer, study_root_move()) as association:
            require_accepted(association, self._peer, StudyRootMove, "C-GET or C-MOVE (Study Root)")
            # nothing need be heard here while the objects come to the port of the node
            association.dimse = PatientDimse(association, keeper, max(until - time.monotonic(), 0.1), until)
            try:
                remarks = [
                    self._retrieved(association.send_c_move(asked, self._node, StudyRootMove), "C-MOVE", progress)
                    for asked in _requests(wanted)
                ]
            except RuntimeError as error:
                raise PeerUnreachable(f"{self._peer} ended the association before it was asked") from error
        return _told("by C-MOVE", remarks)

    def _retrieved(self, answers: Iterable[tuple[Dataset, Any]], service: str, progress: Progress) -> str:
        """Follow one retrieval to its end; return what it lacks, in words."""
        for status, _ in answers:
            code = status.get("Status")
            if code in _PENDING:
                progress()
                continue
            failed = status.get("NumberOfFailedSuboperations") or 0
            if code in {_SUCCESS, _SOME_FAILED}:
                return f"{failed} object(s) it could not send" if failed else ""
            self._require_success(code, service)
        return ""

    def _require_success(self, code: int | None, service: str) -> None:
        if code is None:
            hint = f"; does it know {self._node}, its address and port?" if service == "C-MOVE" else ""
            raise PeerUnreachable(f"{self._peer} ended the association, or did not answer a {service} in time{hint}")
        if code == _DESTINATION_UNKNOWN:
            raise PeerRefused(
                f"{self._peer} does not know where {self._node} is: add this node there, with its address and port"
            )
        if code != _SUCCESS:
            raise PeerUnreachable(f"{self._peer} answers a {service} with status 0x{code:04X}: look at its log")


def _requests(wanted: Sequence[Wanted]) -> Iterator[Dataset]:
    for each in wanted:
        keys = {"StudyInstanceUID": each.study_instance_uid, "SeriesInstanceUID": each.series_instance_uid}
        if not each.sop_instance_uids:
            yield identifier("SERIES", keys)
        for start in range(0, len(each.sop_instance_uids), _UIDS_A_REQUEST):
            asked = identifier("IMAGE", keys)
            asked.SOPInstanceUID = list(each.sop_instance_uids[start : start + _UIDS_A_REQUEST])
            yield asked


def _text(value: Any) -> str:
    if isinstance(value, MultiValue):
        return "\\".join(str(each) for each in value)
    return "" if value is None else str(value).strip()


def _told(way: str, remarks: Sequence[str]) -> str:
    return "; ".join([way, *dict.fromkeys(filter(None, remarks))])
