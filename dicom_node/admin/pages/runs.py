"""Running a pipeline on a chosen study without sending anything: a part of the study's page."""

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from dicom_node import catalogue
from dicom_node.admin.pages.frame import Visit, show
from dicom_node.admin.pages.words import tag
from dicom_node.admin.queries.story import Story
from dicom_node.ledger import AccountRole


async def draw_runs(visit: Visit, story: Story, renew: Callable[[], Awaitable[None]]) -> None:
    """Draw how to run a pipeline on this study without sending anything."""
    roles = await to_thread(catalogue.roles)
    if not visit.may(AccountRole.OPERATOR) or not roles or not story.series:
        return
    series = {
        each.series_instance_uid: f"{each.number or '-'} {each.modality} {each.description}" for each in story.series
    }
    chosen: dict[str, str] = {}

    @ui.refreshable
    def inputs() -> None:
        chosen.clear()
        for role in roles[pipeline.value]:
            chosen[role] = next(iter(series))
            picked = partial(chosen.__setitem__, role)
            select = ui.select(series, value=chosen[role], label=f"Series for {role}")
            select.on_value_change(lambda event, pick=picked: pick(event.value))
            select.props("outlined dense").classes("grow")

    async def run() -> None:
        study, name = story.study_instance_uid, pipeline.value
        number = await visit.get(lambda person: visit.office.actions.run(person, study, name, dict(chosen)))
        if number is not None:
            ui.notify(f"J{number} is queued; its results are sent nowhere", type="positive")
            await renew()

    with ui.element("section").classes("card wide"):
        show(tag("h2", "Run a pipeline without sending"))
        with ui.element("div").classes("filters"):
            names = sorted(roles)
            pipeline = ui.select(names, value=names[0], label="Pipeline", on_change=inputs.refresh)
            pipeline.props("outlined dense")
            inputs()
        ui.button("Run", on_click=run).props("outline no-caps")
