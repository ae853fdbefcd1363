"""The DICOM headers of a study's images and results side by side: a part of the study's page."""

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from typing import Final

from nicegui import ui

from dicom_node.admin.headers import HeaderLine, full_header, wanted
from dicom_node.admin.pages.frame import Visit, show
from dicom_node.admin.pages.words import Html, joined, tag
from dicom_node.admin.queries.story import Story
from dicom_node.presentation import sop_class_name

_INDENT: Final = 1.1


def draw_headers(visit: Visit, story: Story) -> None:
    """Draw what to choose a source and a result with, and their headers beside each other, read when asked for."""
    sources = {
        each.sop_instance_uid: f"{each.number or '-'} {each.modality} {each.description}, first image"
        for each in story.series
    }
    made = {
        each.sop_instance_uid: f"J{job} {each.kind}: {sop_class_name(each.sop_class_uid)}"
        for job, results in story.results.items()
        for each in results
    }
    with ui.element("section").classes("card wide"):
        show(tag("h2", "DICOM headers"))
        with ui.expansion("Of a received image and of a result, beside each other").props("dense"):
            search = ui.input("Search in both", placeholder="Attribute, tag or value")
            search.props("outlined dense clearable debounce=300 type=search").style("width: min(100%, 24rem)")
            with ui.element("div").classes("beside"):
                sides = [_Side(visit, story, "Source", sources), _Side(visit, story, "Result", made)]

            def find() -> None:
                for side in sides:
                    side.find(search.value or "")

            search.on_value_change(find)


class _Side:
    """One of the two headers."""

    def __init__(self, visit: Visit, story: Story, title: str, choices: Mapping[str, str]) -> None:
        self._visit, self._study, self._title = visit, story.study_instance_uid, title
        self._lines: tuple[HeaderLine, ...] = ()
        self._words = ""
        with ui.element("div"):
            if not choices:
                show(tag("p", f"{title}: none yet.", class_="quiet"))
                return
            choice = ui.select(dict(choices), label=title, on_change=lambda event: self._load(event.value))
            choice.props("outlined dense").classes("grow")
            self._shown = show(Html(""))

    async def _load(self, uid: str) -> None:
        office, study = self._visit.office, self._study
        if not await self._visit.do(lambda person: office.actions.viewed(person, study, "view header")):
            return
        found = await to_thread(full_header, office.ledger.engine, office.store, study, uid)
        if found is None:
            self._shown.content = tag("p", "Its file is not in the store, or is no DICOM file.", class_="said")
            return
        self._lines = found
        self.find(self._words)

    def find(self, words: str) -> None:
        """Show the lines in which these words stand."""
        self._words = words
        if self._lines:
            self._shown.content = header_html(wanted(self._lines, words), self._title)


def header_html(lines: Sequence[HeaderLine], title: str) -> Html:
    """Return a header as a table; what lies in a sequence is set in."""
    if not lines:
        return tag("p", "No attribute is like that.", class_="quiet")
    rows = [
        tag(
            "tr",
            tag("td", tag("code", line.tag)),
            tag("td", line.vr),
            tag("td", line.name, style=f"padding-left:{line.depth * _INDENT:.1f}rem"),
            tag("td", line.value),
            class_=None if line.tag else "item",
        )
        for line in lines
    ]
    head = tag("thead", tag("tr", *(tag("th", each, scope="col") for each in ("Tag", "VR", "Attribute", "Value"))))
    whole = tag("table", head, tag("tbody", joined(rows)), class_="plain header", aria_label=f"Header of the {title}")
    return tag("div", whole, class_="scroll tall", tabindex=0, role="region", aria_label=f"{title} header")
