"""QIDO-RS (PS3.18 10.6): which instances a server has, and whose a study is there. Its words are never repeated."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from dicom_node.commitment import Report, Request
from dicom_node.dicom_web import statuses
from dicom_node.dicom_web.dicom_json import DataSet, NotDicomJson, data_sets, first_text
from dicom_node.dicom_web.paging import Page, paged
from dicom_node.dicom_web.service import Service
from dicom_node.dicom_web.web import Answer
from dicom_node.errors import PeerRefused, PeerUnreachable, ServiceNotOffered

_OK: Final = 200
_NO_CONTENT: Final = 204
#: What a server without this search answers.
_NOT_FOUND: Final = 404
_NOT_OFFERED: Final = frozenset({_NOT_FOUND, 405, 501})
_STUDY: Final = "StudyInstanceUID"
_INSTANCE: Final = "SOPInstanceUID"


class _NothingThere(ServiceNotOffered):
    """HTTP 404: there is no such search, or nothing to be found."""


class QidoRs:
    """Searches at one server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __str__(self) -> str:
        """Return the address of the server."""
        return str(self._service)

    @property
    def service_name(self) -> str:
        """What the queries are."""
        return "QIDO-RS"

    def request_commitment(
        self, request: Request, wait_seconds: float, told: Callable[[Report], None]
    ) -> Report | None:
        """DICOMweb has no storage commitment; raises ServiceNotOffered."""
        del request, wait_seconds, told
        raise ServiceNotOffered(f"{self} is DICOMweb, which has no storage commitment")

    def find_studies(
        self, study_instance_uids: Iterable[str], keywords: Iterable[str]
    ) -> dict[str, list[dict[str, str]]]:
        """Return how the server has studies: for each, a mapping of keyword to text for each match.

        Raises
        ------
        ServiceNotOffered
            If it knows no such search.
        Failure
            If it does not answer, or refuses.
        """
        wanted, found = tuple(keywords), {}
        for uid in study_instance_uids:
            query = [(_STUDY, uid), *(("includefield", keyword) for keyword in wanted)]
            # a server that ignores a key it does not know would answer with every study
            same = [each for each in self._matches((), query) if first_text(each, _STUDY) == uid]
            found[uid] = [{keyword: first_text(each, keyword) for keyword in wanted} for each in same]
        return found

    def find_instances(self, study_instance_uid: str, wanted: Mapping[str, Sequence[str]]) -> frozenset[str]:
        """Return which instances of a study the server has, by SOP Instance UID; raises as `find_studies`.

        Parameters
        ----------
        wanted : mapping
            Series Instance UID to the SOP Instance UIDs that are asked for.
        """
        found: set[str] = set()
        for series, uids in wanted.items():
            try:
                found |= self._of_series((study_instance_uid, "series", series, "instances"), frozenset(uids))
            except _NothingThere:
                # some servers answer so for a series that they do not have; one that answers no searches at all does
                # so for every study, too, and raises
                self.find_studies([study_instance_uid], ())
        return frozenset(found)

    def _of_series(self, path: Sequence[str], uids: frozenset[str]) -> frozenset[str]:
        """Return which of some instances are in a series, page by page (PS3.18 8.3.4.4)."""
        only = [(_INSTANCE, uid) for uid in uids] if len(uids) == 1 else []

        def page(offset: int) -> Page:
            return self._matches(path, [*only, ("offset", str(offset))] if offset else only), True

        seen: set[str] = set()
        for match in paged(page, _INSTANCE):
            seen.add(first_text(match, _INSTANCE))
            if uids <= seen:
                break
        return uids & seen

    def _matches(self, path: Sequence[str], query: Sequence[tuple[str, str]]) -> list[DataSet]:
        answer = self._service.asked("GET", path, query)
        if answer.status == _NO_CONTENT:
            return []
        if answer.status != _OK:
            raise self._no(answer)
        try:
            return data_sets(answer.body)
        except NotDicomJson as error:
            reason = "does not answer a search in DICOM JSON: is url its DICOMweb endpoint, .../studies?"
            raise PeerRefused(f"{self} {reason}") from error

    def _no(self, answer: Answer) -> Exception:
        if answer.status in _NOT_OFFERED:
            kind = _NothingThere if answer.status == _NOT_FOUND else ServiceNotOffered
            return kind(f"{self} answers no searches by QIDO-RS (HTTP {answer.status})")
        why = statuses.why_not_there(answer)
        if why is not None:
            return PeerUnreachable(f"{self}: {why}")
        return PeerRefused(f"{self} answered a search by QIDO-RS with HTTP {answer.status}: look at its log")
