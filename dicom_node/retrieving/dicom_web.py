"""An archive that speaks DICOMweb: QIDO-RS and WADO-RS (PS3.18 10.6, 10.4)."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from dicom_node.dicom_web import Service, statuses
from dicom_node.dicom_web.dicom_json import DataSet, NotDicomJson, data_sets, tag_text, texts
from dicom_node.dicom_web.paging import Page, paged
from dicom_node.dicom_web.parts import Parts, boundary_of
from dicom_node.dicom_web.web import Head
from dicom_node.entities import AssociationEnd
from dicom_node.errors import CannotUnderstand, PeerRefused, PeerUnreachable, ServiceNotOffered
from dicom_node.retrieving.archive import STUDY_KEYS, Contents, Match, Progress, Wanted
from dicom_node.retrieving.keeping import Keeper
from dicom_node.retrieving.part10 import arriving

#: Every encoding as it is stored (PS3.18 8.7.3.5.2): nothing is decoded for us.
_OBJECTS: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_MATCHES_A_PAGE: Final = 1000
#: Longest wait for all pages of one question, in multiples of the timeout.
_PATIENCE: Final = 10
_GIVEN: Final = frozenset({200, 204, 206})
_REFUSED: Final[Mapping[int, str]] = {
    401: "does not know the node: check [archive.auth]",
    403: "does not let the node in: check [archive.auth], and what its user may do there",
}
_NOT_OFFERED: Final = frozenset({404, 405, 406, 415, 501})
_Path = tuple[str, ...]


class DicomWebArchive:
    """Asks one DICOMweb service.

    Parameters
    ----------
    timeout_seconds : float
        For one answer; all pages of a question have longer.
    """

    def __init__(self, service: Service, timeout_seconds: float) -> None:
        self._service = service
        self._timeout = timeout_seconds

    def studies(self, keys: Mapping[str, str]) -> list[Match]:
        """Return the studies that match."""
        found = self._search(("studies",), STUDY_KEYS, keys)
        return [match for match in found if all(match.get(key) == value for key, value in keys.items())]

    def series(self, study_instance_uid: str, keywords: Collection[str]) -> list[Match]:
        """Return the series of a study."""
        wanted = ("SeriesInstanceUID", "Modality", *keywords)
        found = self._search(("studies", study_instance_uid, "series"), wanted)
        return [each for each in found if each[wanted[0]]]

    def contents(self, study_instance_uid: str, series: Collection[str] | None = None) -> Contents:
        """Return the instances of a study, or of some of its series."""
        keywords = ("SOPInstanceUID", "SeriesInstanceUID", "SOPClassUID")
        study = ("studies", study_instance_uid)
        below: list[_Path] = [()] if series is None else [("series", uid) for uid in series]
        found: dict[str, dict[str, str]] = {}
        for path in below:
            for each in self._search((*study, *path, "instances"), keywords):
                if each["SOPInstanceUID"]:
                    found.setdefault(each["SeriesInstanceUID"], {})[each["SOPInstanceUID"]] = each["SOPClassUID"]
        return found

    def fetch(
        self, wanted: Sequence[Wanted], sop_classes: Collection[str], keeper: Keeper, until: float, progress: Progress
    ) -> str:
        """Have the service send objects, one series - or one instance - a request."""
        del sop_classes  # the service sends what it has
        end = AssociationEnd.LOST
        try:
            for each in wanted:
                series = ("studies", each.study_instance_uid, "series", each.series_instance_uid)
                below: list[_Path] = [("instances", uid) for uid in each.sop_instance_uids] or [()]
                for path in below:
                    self._receive((*series, *path), keeper, until, progress)
            end = AssociationEnd.RELEASED
        finally:
            keeper.end(end)
        return "by WADO-RS"

    def _receive(self, path: _Path, keeper: Keeper, until: float, progress: Progress) -> None:
        with self._service.getting(path, _OBJECTS, until) as answer:
            self._require(answer)
            for pieces in Parts(answer.pieces, boundary_of(answer.headers.get("content-type", ""))):
                _keep(pieces, keeper)
                progress()
                _go_on(keeper)

    def _search(self, path: _Path, keywords: Sequence[str], keys: Mapping[str, str] | None = None) -> list[Match]:
        """Return what a search finds; the first keyword tells the matches apart."""
        until = time.monotonic() + _PATIENCE * self._timeout
        query = [(tag_text(key), value) for key, value in (keys or {}).items()]
        query += [("includefield", ",".join(map(tag_text, keywords))), ("limit", str(_MATCHES_A_PAGE))]

        def page(offset: int) -> Page:
            if time.monotonic() > until:
                raise PeerUnreachable(f"{self._service} did not answer a search in full in time")
            return self._page(path, [*query, ("offset", str(offset))] if offset else query)

        return [
            {keyword: "\\".join(texts(match, keyword)) for keyword in keywords} for match in paged(page, keywords[0])
        ]

    def _page(self, path: _Path, query: Sequence[tuple[str, str]]) -> Page:
        answer = self._service.asked("GET", path, query)
        self._require(answer)
        matches = self._matches(answer.body) if answer.body.strip() else []
        # a server with a limit of its own says that there is more (PS3.18 8.3.4.4.1)
        return matches, len(matches) >= _MATCHES_A_PAGE or answer.headers.get("warning", "").startswith("299")

    def _matches(self, body: bytes) -> list[DataSet]:
        try:
            return data_sets(body)
        except NotDicomJson as error:
            raise PeerUnreachable(f"{self._service} answers a query with something else than DICOM JSON") from error

    def _require(self, answer: Head) -> None:
        """Raise what an answer is, if it is none."""
        status, name = answer.status, str(self._service)
        if status in _GIVEN:
            return
        if status in _REFUSED:
            raise PeerRefused(f"{name} {_REFUSED[status]}")
        if status in _NOT_OFFERED:
            raise ServiceNotOffered(
                f"{name} answers {status}: it does not offer this, or does not have it; check url"
            )
        raise PeerUnreachable(f"{name} answers {status}: {statuses.words(status)}")


def _keep(pieces: Iterator[bytes], keeper: Keeper) -> None:
    try:
        file = arriving(pieces)
    except CannotUnderstand:
        keeper.refused += 1
        return
    part = keeper.open(file.sop_class_uid, file.sop_instance_uid, file.transfer_syntax_uid)
    try:
        for piece in file.data:
            part.write(piece)
            _go_on(keeper)
    except BaseException:
        part.discard()
        raise
    keeper.keep(part, file.sop_class_uid, file.sop_instance_uid)


def _go_on(keeper: Keeper) -> None:
    if keeper.stopped():
        raise PeerUnreachable("the node ends: what is lacking is asked for again")
