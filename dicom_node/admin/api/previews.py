"""Pictures of a study's series, slice by slice, and of what a job marked on them."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Response

from dicom_node.admin.actions import LOOK, NotFound, NotPossible
from dicom_node.admin.api.asking import BUSY, PROBLEMS, TheOffice, Uid, Viewer
from dicom_node.admin.office import Office
from dicom_node.admin.people import Person
from dicom_node.admin.preview import Extent, Shown
from dicom_node.errors import GeometryUnusable

_Found = TypeVar("_Found")
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
router = APIRouter(prefix="/api/studies/{study}/series/{series}", tags=["previews"], responses=PROBLEMS | BUSY)
_Index = Annotated[int, Query(ge=0, le=100_000)]
_Job = Annotated[int, Query(ge=1, le=2**53)]
_Value = Annotated[float | None, Query(ge=-1e9, le=1e9, allow_inf_nan=False)]


@router.get("/preview")
async def extent(office: TheOffice, person: Viewer, study: Uid, series: Uid, job: _Job | None = None) -> Extent:
    """Return how many slices there are, and in which window they are shown. That it is looked at is recorded."""

    def found() -> Extent:
        made = _made(lambda: office.previews.extent(study, series, job), "series")
        office.actions.viewed(person, study, LOOK)
        return made

    return await office.crews.volumes.do(found)


@router.get("/slice.png", response_class=Response, responses=_PNG)
async def picture(
    office: TheOffice,
    person: Viewer,
    study: Uid,
    series: Uid,
    index: _Index,
    centre: _Value = None,
    width: _Value = None,
) -> Response:
    """Return one slice."""
    shown = Shown(index, centre, width)
    return await _png(office, person, study, lambda: office.previews.picture(study, series, shown))


@router.get("/thumbnail.png", response_class=Response, responses=_PNG)
async def thumbnail(office: TheOffice, person: Viewer, study: Uid, series: Uid) -> Response:
    """Return a small picture of the image in the middle of a series, in order of arrival."""
    return await _png(office, person, study, lambda: office.previews.thumbnail(study, series))


@router.get("/marks.png", response_class=Response, responses=_PNG)
async def marks(office: TheOffice, person: Viewer, study: Uid, series: Uid, job: _Job, index: _Index) -> Response:
    """Return what a job marked on a slice, transparent elsewhere."""
    return await _png(office, person, study, lambda: office.previews.overlay(study, series, job, index))


async def _png(office: Office, person: Person, study: str, make: Callable[[], bytes | None]) -> Response:
    def drawn() -> bytes:
        content = _made(make, "slice")
        office.actions.looks_on(person, study)
        return content

    return Response(await office.crews.pictures.do(drawn), media_type="image/png")


def _made(make: Callable[[], _Found | None], what: str) -> _Found:
    try:
        found = make()
    except GeometryUnusable as error:
        raise NotPossible(str(error)) from error
    if found is None:
        raise NotFound(f"there is no such {what}")
    return found
