"""Try on the Rules page: what an edit would have done with the studies of the last days."""

from collections.abc import Callable
from typing import Final

from nicegui import ui

from dicom_node.admin.pages.frame import Visit, show
from dicom_node.admin.pages.rule_draft import Draft
from dicom_node.admin.pages.words import Html, joined, table, tag
from dicom_node.routing import Trial

_SPANS: Final = {1: "1 day", 7: "7 days", 30: "30 days", 90: "90 days", 366: "a year"}
_SHOWN: Final = 50
_SECONDS_A_DAY: Final = 86400.0


def draw_trial(visit: Visit, draft: Draft) -> None:
    """Draw the section, for those who may try."""
    state = {"done": 0}

    def progress(done: int) -> None:
        state["done"] = done

    async def run() -> None:
        days, text = span.value, draft.text
        state["done"] = 0
        button.disable()
        timer.activate()
        try:
            found = await visit.get(
                lambda person: visit.office.rules.attempt(person, text, days * _SECONDS_A_DAY, progress),
                visit.office.crews.trials,
            )
        finally:
            timer.deactivate()
            button.enable()
        told.content = "" if found is None else _told(visit, found, _SPANS[days])

    def tell() -> None:
        done = f"{state['done']} studies tried ..." if state["done"] else "Trying ..."
        told.content = tag("p", done, class_="quiet")

    with ui.element("section").classes("card wide"):
        show(tag("h2", "Try it before it is live"))
        words = "Old and new rules are asked about the studies of the last days. Nothing runs, nothing changes."
        show(tag("p", words, class_="quiet"))
        with ui.row().classes("items-center"):
            span = ui.select(_SPANS, value=30, label="Studies of the last").props("outlined dense").classes("narrow")
            button = ui.button("Try", on_click=run).props("no-caps")
        with ui.element("div").props('role="status" aria-live="polite"'):
            told = show(Html(""))
    timer = ui.timer(0.5, tell, active=False)
    draft.heard_by(_forgetting(draft, told))


def _forgetting(draft: Draft, told: ui.html) -> Callable[[], None]:
    """Return what takes an answer away as soon as it is about another text."""
    state = {"text": draft.text}

    def forget() -> None:
        if draft.text != state["text"]:
            state["text"], told.content = draft.text, ""

    return forget


def _told(visit: Visit, trial: Trial, span: str) -> Html:
    said = f"{trial.studies} studies of the last {span}: {trial.differing} would be treated otherwise."
    counts = [(tag("b", rule), str(change), count) for (rule, change), count in trial.counts.items()]
    rows = [
        (
            tag("a", each.study_instance_uid, href=f"{visit.root}/study/{each.study_instance_uid}"),
            tag("b", each.rule),
            str(each.change),
            joined([*each.what, *each.decided], Html("<br>")),
        )
        for each in trial.differences[:_SHOWN]
    ]
    parts = [tag("p", tag("b", said))]
    if rows:
        parts.append(table(("Rule", "Change", "Studies"), counts, label="Changes by rule"))
        parts.append(table(("Study", "Rule", "Change", "What decided"), rows, label="Changes by study"))
    hidden = sum(trial.counts.values()) - len(rows)
    if hidden > 0:
        parts.append(tag("p", f"and {hidden} more, which are counted above", class_="quiet"))
    return joined(parts)
