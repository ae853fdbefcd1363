"""The images of a study, slice by slice, with what each job marked on them: a part of the study's page."""

from asyncio import to_thread
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from nicegui import ui

from dicom_node.admin.office import Office
from dicom_node.admin.pages.frame import Visit, show
from dicom_node.admin.pages.preview import preview_html
from dicom_node.admin.pages.words import Html, tag
from dicom_node.admin.preview import Extent
from dicom_node.admin.queries.story import Story
from dicom_node.errors import Failure
from dicom_node.settings import ResultKind

_VOLUMES_TRIED: Final = 10
_WAITING: Final = tag(
    "p", Html('<progress aria-label="Under way"></progress>'), " The images are made ready ...", role="status"
)
_FAILED: Final = tag("p", "The images could not be made ready: the log of the node says why.", class_="said")


@dataclass(frozen=True, slots=True)
class View:
    """A series, and the job whose marks are shown on it, or None."""

    series: str
    job: int | None
    words: str


def views_of(office: Office, story: Story) -> tuple[View, ...]:
    """Return what there is to look at: what each job marked, the newest first, then every series without marks."""
    names = {
        each.series_instance_uid: f"series {each.number or '?'} {each.description}".strip() for each in story.series
    }
    marked = []
    for job in story.jobs:
        if any(each.kind == ResultKind.SEGMENTATION for each in story.results.get(job.id, ())):
            firsts = [paths[0] for paths in job.inputs.values() if paths]
            found = dict.fromkeys(ref.series_instance_uid for ref in office.ledger.studies.refs(firsts))
            told = f"marks of J{job.id} (rule {job.rule}, revision {job.revision})"
            marked += [View(series, job.id, f"{names[series]}, {told}") for series in found if series in names]
    return (*marked, *(View(series, None, f"{name}, without marks") for series, name in names.items()))


async def draw_images(visit: Visit, story: Story) -> None:
    """Draw the first view that is a volume, and the others to choose from; until it is decoded, that it comes."""
    place = ui.element("section").classes("card wide")
    place.set_visibility(False)
    views = await to_thread(views_of, visit.office, story)
    if not views or place.is_deleted:
        return
    place.set_visibility(True)
    with place:
        show(tag("h2", "Images"))
        words = {index: view.words for index, view in enumerate(views)}
        choice = ui.select(words, value=0, label="Looked at").props("outlined dense options-dense")
        shown = show(_WAITING)

    async def turn(to: int) -> None:
        shown.content = _WAITING
        if not await visit.is_here():
            return
        with _filled(shown) as content:
            content[0] = await _looked(visit, story, views[to])
            if choice.value != to:  # something else was chosen meanwhile
                content[0] = shown.content

    with _filled(shown) as content:
        number, content[0] = await _first(visit, story, views)
    if not choice.is_deleted:
        choice.value = number
        choice.on_value_change(lambda event: turn(event.value))


@contextmanager
def _filled(shown: ui.html) -> Iterator[list[str]]:
    """Fill a place that waits, whatever happens; one that was taken away meanwhile stays away."""
    content: list[str] = [_FAILED]
    try:
        yield content
    finally:
        if not shown.is_deleted:
            shown.content = content[0]


async def _first(visit: Visit, story: Story, views: Sequence[View]) -> tuple[int, Html]:
    """Return the first view that can be looked at slice by slice; if none can, the first, and why it cannot."""
    whys = []
    for number, view in enumerate(views[:_VOLUMES_TRIED]):
        extent, why = await _extent(visit.office, story, view)
        if extent is not None:
            return number, _viewer(visit, story, view, extent)
        whys.append(why)
    return 0, tag("p", whys[0], class_="said")


async def _looked(visit: Visit, story: Story, view: View) -> Html:
    extent, why = await _extent(visit.office, story, view)
    return tag("p", why, class_="said") if extent is None else _viewer(visit, story, view, extent)


def _viewer(visit: Visit, story: Story, view: View, extent: Extent) -> Html:
    return preview_html(visit, story, view.series, extent, view.job)


async def _extent(office: Office, story: Story, view: View) -> tuple[Extent | None, str]:
    """Return what a view offers; or None, and why it cannot be shown."""
    study = story.study_instance_uid
    try:
        found = await office.crews.volumes.do(office.previews.extent, study, view.series, view.job)
    except Failure as error:
        return None, f"This series cannot be shown slice by slice: {error}"
    return found, "There are no images of this series."
