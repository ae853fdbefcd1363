"""Jobs, results and deliveries of a study, each with what can be done with it now: a part of the study's page."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nicegui import ui

from dicom_node.admin.pages.attempts import attempts_html, runs_html
from dicom_node.admin.pages.frame import Visit, show
from dicom_node.admin.pages.words import Html, badge, clock, joined, lasting, pairs, tag
from dicom_node.admin.people import Person
from dicom_node.admin.queries.story import Story
from dicom_node.ledger import AccountRole, Delivery, Job
from dicom_node.lifecycle import ARRIVED, DeliveryState, JobState


@dataclass(frozen=True, slots=True)
class _Buttons:
    """Draws what an operator may do now."""

    visit: Visit
    renew: Callable[[], Awaitable[None]]

    def draw(self, name: str, action: Callable[[Person], None], done: str) -> None:
        """Draw one button, for those who may press it."""

        async def act() -> None:
            await self.visit.do(action, done)
            await self.renew()

        if self.visit.may(AccountRole.OPERATOR):
            ui.button(name, on_click=act).props("outline dense no-caps padding='2px 12px'")

    def of_job(self, job: Job) -> None:
        """Draw what can be done with a job."""
        actions, number = self.visit.office.actions, job.id
        if job.state in (JobState.HELD, JobState.CANCELLED):
            self.draw("Run again", lambda person: actions.retry_job(person, number), f"J{number} is queued")
        if job.state in (JobState.HELD, JobState.QUEUED, JobState.RUNNING):
            self.draw("Cancel", lambda person: actions.cancel_job(person, number), f"J{number} is cancelled")

    def of_delivery(self, one: Delivery) -> None:
        """Draw what can be done with a delivery."""
        actions, number = self.visit.office.actions, one.id
        if one.state is not DeliveryState.SENDING:
            name = "Send again" if one.state in ARRIVED else "Send now"
            self.draw(name, lambda person: actions.retry_delivery(person, number), f"D{number} is queued")
        if one.state in (DeliveryState.WAITING, DeliveryState.HELD):
            self.draw("Cancel", lambda person: actions.cancel_delivery(person, number), f"D{number} is cancelled")


def draw_jobs(visit: Visit, story: Story, renew: Callable[[], Awaitable[None]]) -> None:
    """Draw the section of jobs; `renew` draws the page anew after something was done."""
    buttons, study = _Buttons(visit, renew), story.study_instance_uid
    with ui.element("section").classes("card wide"):
        show(tag("h2", "Jobs, results and deliveries"))
        if not story.jobs:
            show(tag("p", "No rule made a job: below is why.", class_="quiet"))
        for job in story.jobs:
            show(_job(story, job))
            with ui.row().classes("actions"):
                buttons.of_job(job)
            show(runs_html(visit.office, story.runs.get(job.id, ())))
            for one in (each for each in story.deliveries if each.job_id == job.id):
                with ui.row().classes("actions items-center"):
                    show(_delivery(visit, one))
                    buttons.of_delivery(one)
                show(attempts_html(visit.office, one.id, story.attempts.get(one.id, ())))
        with ui.row().classes("actions"):
            route = visit.office.actions.route_again
            said = "The rules in force are asked again"
            buttons.draw("Ask the rules again", lambda person: route(person, study), said)


def _job(story: Story, job: Job) -> Html:
    made = ", ".join(f"{each.kind}" for each in story.results.get(job.id, ())) or "none yet"
    took = ", ".join(f"{step} {lasting(seconds)}" for step, seconds in job.seconds.items())
    rows = [
        ("Pipeline", joined([job.pipeline, *(f", {key} = {value}" for key, value in job.settings.items())])),
        ("State", joined([badge(job.state), f" attempt {job.attempts}", f": {job.reason}" if job.reason else ""])),
        ("Results", made),
        ("Time", took or "-"),
    ]
    if job.state is JobState.RUNNING:
        bar = tag("progress", f"{job.progress:.0%}", value=job.progress, max=1, aria_label="Progress")
        rows.insert(2, ("Progress", joined([bar, f" {job.progress:.0%} {job.step}"])))
    return joined([tag("h3", f"J{job.id}: rule {job.rule}, revision {job.revision}"), pairs(rows)])


def _delivery(visit: Visit, one: Delivery) -> Html:
    when = clock(visit.office, one.delivered_at) if one.delivered_at else f"{one.attempts} attempt(s)"
    words = [f"D{one.id} ", tag("b", one.kind), f" to {one.destination}: ", badge(one.state), " ", when]
    return tag("span", *words, f" {one.reason}" if one.reason else "", f" {one.proof}" if one.proof else "")
