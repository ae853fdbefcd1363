"""One study: its story, why each rule did or did not run, images with what was marked, and what can be done now."""

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from nicegui import ui

from dicom_node.admin.measured import Measured, measured_of
from dicom_node.admin.pages.frame import Visit, keep_live, show
from dicom_node.admin.pages.headers import draw_headers
from dicom_node.admin.pages.images import draw_images
from dicom_node.admin.pages.jobs import draw_jobs
from dicom_node.admin.pages.runs import draw_runs
from dicom_node.admin.pages.words import (
    Html,
    badge,
    card,
    clock,
    date,
    joined,
    lasting,
    pairs,
    person_name,
    safe,
    table,
    tag,
)
from dicom_node.admin.queries.story import Story, story_of

_REFRESH_SECONDS: Final = 2.0
#: A browser that does not open its connection by then, or a program, gets the story alone.
_CONNECT_SECONDS: Final = 60.0
#: With no rule that fires, so many show every answer at once.
_FEW: Final = 10
_BAD: Final = ("held", "failed", "lost", "refused", "cancel", "missing")
#: Of what has no picture, such as a report, `static/preview.js` takes it away.
_THUMBNAIL: Final = '<img class="thumbnail" src="{}" alt="" loading="lazy">'
_GOOD: Final = ("done", "delivered", "confirmed", "complete")


async def study_page(visit: Visit, study: str) -> None:
    """Show one study, renewed while something of it is under way."""
    office = visit.office
    story = await to_thread(story_of, office.ledger, study)
    if story is None:
        show(tag("p", "This node has not received a study with that UID."))
    elif await visit.do(lambda person: office.actions.viewed(person, study)):
        await _told(visit, study, story)  # whoever is not in the trail sees nothing


async def _told(visit: Visit, study: str, story: Story) -> None:
    office, head = visit.office, show(_head(visit, story))

    async def renew() -> None:
        found = await to_thread(story_of, office.ledger, study)
        if found is not None and found != state[0]:
            before, state[0] = state[0], found
            head.content, asked.content = _head(visit, found), _asked(visit, found)
            live.refresh()
            if found.results != before.results:
                findings.refresh()
            if found.results != before.results or len(found.series) != len(before.series):
                tools.refresh()

    @ui.refreshable
    def live() -> None:
        draw_jobs(visit, state[0], renew)
        show(card("What happened", _line(visit, state[0]), wide=True))

    @ui.refreshable
    async def findings() -> None:
        await _draw_findings(visit, state[0])

    @ui.refreshable
    async def tools() -> None:
        draw_headers(visit, state[0])
        await draw_runs(visit, state[0], renew)

    state = [story]
    for script in ("preview", "unfolded"):
        ui.add_body_html(f'<script src="{visit.root}/static/{script}.js"></script>')
    live()
    place = ui.element("div").style("display: contents")
    asked = show(_asked(visit, story))
    await tools()
    keep_live(visit, _REFRESH_SECONDS, renew)
    await _fill_once_read(place, findings)


async def _fill_once_read(place: ui.element, fill: Callable[[], Awaitable[None]]) -> None:
    """Send the page as it is; what takes long is drawn once a browser shows the rest."""
    client = ui.context.client
    with suppress(TimeoutError):
        await client.connected(_CONNECT_SECONDS)
    if client.has_socket_connection:
        with place:
            await fill()


async def _draw_findings(visit: Visit, story: Story) -> None:
    values, office = show(Html("")), visit.office
    found = await to_thread(measured_of, office.ledger.engine, office.store, story.study_instance_uid)
    if not values.is_deleted:  # else it is drawn anew by somebody else
        values.content = _measured(found)
        await draw_images(visit, story)


def _asked(visit: Visit, story: Story) -> Html:
    return joined([_why(story), _series(visit, story)])


def _head(visit: Visit, story: Story) -> Html:
    patient, newest = story.patient, story.revisions[-1]
    born = f"{date(patient['PatientBirthDate'])} {patient['PatientSex']}".strip()
    made = f"{patient['Manufacturer']} {patient['ManufacturerModelName']}".strip()
    known = [
        ("Patient", joined([tag("b", person_name(patient["PatientName"]) or "(no name)"), f" {born}"])),
        ("Patient ID", patient["PatientID"]),
        ("Accession Number", patient["AccessionNumber"] or "-"),
        ("Study", joined([patient["StudyDescription"] or "-", ", ", date(patient["StudyDate"])])),
        ("Study Instance UID", tag("code", story.study_instance_uid)),
    ]
    images = sum(each.instances for each in story.series)
    state = [
        ("State", joined([badge(story.phase), f" revision {newest.number}"])),
        ("Received", joined([clock(visit.office, story.revisions[0].opened_at), f", {images} images"])),
        ("Complete because", newest.reason or "still arriving"),
        ("From", ", ".join(dict.fromkeys(f"{each.sender} ({each.address})" for each in story.series)) or "-"),
        ("Made by", made or "-"),
    ]
    cards = tag("div", card("Patient and study", pairs(known)), card("Journey", pairs(state)), class_="cards")
    return joined([tag("h1", "Study"), cards])


def _line(visit: Visit, story: Story) -> Html:
    def kind(text: str) -> str | None:
        if any(word in text for word in _BAD):
            return "bad"
        return "good" if any(word in text for word in _GOOD) else None

    items = [
        tag("li", clock(visit.office, each.at), tag("b", each.kind), f": {each.text}", class_=kind(each.kind))
        for each in story.happenings
    ]
    return tag("ol", *items, class_="line")


def _why(story: Story) -> Html:
    if not story.verdicts:
        return card("Rules", tag("p", "The rules have not been asked yet.", class_="quiet"), wide=True)
    parts = []
    few = len(story.verdicts) <= _FEW and not any(each["fires"] for each in story.verdicts)
    for verdict in sorted(story.verdicts, key=lambda each: not each["fires"]):
        lines = "\n".join(verdict["lines"])
        late = verdict.get("late_images_reason", "")
        head = joined(
            [
                badge("fires" if verdict["fires"] else "does not fire"),
                tag("b", verdict["rule"]),
                f": {verdict['reason']}",
            ]
        )
        more = tag("p", late) if late else ""
        summary = tag("summary", head)
        unfolded = {"open": "open" if few else None, "data_key": f"rule {verdict['rule']}"}
        parts.append(tag("details", summary, more, tag("pre", lines), **unfolded))
    return card("Rules: what each answered, and why", *parts, wide=True)


def _measured(found: tuple[Measured, ...]) -> Html:
    rows = [(f"J{each.job}", each.what or "-", each.name, tag("b", each.value), each.unit) for each in found]
    heads = ("Job", "Of", "What", "Value", "Unit")
    return card("Measured", table(heads, rows, label="Measured values"), wide=True) if rows else Html("")


def _series(visit: Visit, story: Story) -> Html:
    base = f"{visit.root}/api/studies/{story.study_instance_uid}/series"
    rows = [
        (
            tag("div", Html(_THUMBNAIL.format(safe(f"{base}/{each.series_instance_uid}/thumbnail.png")))),
            each.number or "-",
            each.modality,
            each.description or "-",
            each.instances,
            clock(visit.office, each.first_at),
            lasting(each.last_at - each.first_at),
            tag("code", each.series_instance_uid),
        )
        for each in story.series
    ]
    heads = ("Picture", "No.", "Modality", "Description", "Images", "First image", "Took", "Series Instance UID")
    return card("Series", table(heads, rows, "None."), wide=True)
