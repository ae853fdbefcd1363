"""Destinations and senders: how each is, tests in words, pause and resume, add, edit and remove."""

from asyncio import to_thread
from collections.abc import Callable

from nicegui import ui

from dicom_node.admin.pages.connection_forms import edit_destination
from dicom_node.admin.pages.frame import Visit, confirmed, labelled, show
from dicom_node.admin.pages.reach import echo_html, state_html
from dicom_node.admin.pages.senders import senders
from dicom_node.admin.pages.words import Html, ago, badge, card, clock, joined, lasting, pairs, table, tag
from dicom_node.admin.queries.overview import DestinationState, destination_states
from dicom_node.admin.testing import Tested
from dicom_node.ledger import AccountRole
from dicom_node.reaching import Step
from dicom_node.senders import peer_of
from dicom_node.settings import DicomDestination, DicomWebDestination, FolderDestination


async def destinations_page(visit: Visit) -> None:
    """Show destinations and senders."""

    @ui.refreshable
    async def sections() -> None:
        states = await to_thread(destination_states, visit.office)
        for state in states:
            _destination(visit, state, sections.refresh)
        if not states:
            show(card("Destinations", tag("p", "There is none yet: results go nowhere.", class_="quiet"), wide=True))

    async def add() -> None:
        if await edit_destination(visit):
            sections.refresh()

    with ui.element("div").classes("row-between"):
        show(tag("h1", "Destinations and senders"))
        if visit.may(AccountRole.ADMINISTRATOR):
            ui.button("Add destination", on_click=add).props("no-caps")
    await sections()
    await senders(visit)


def _destination(visit: Visit, first: DestinationState, redraw: Callable[[], object]) -> None:
    office, name = visit.office, first.name
    with ui.element("section").classes("card wide"):
        head = show(Html(""))
        switches: list[ui.button] = []

        async def renew() -> None:
            states = await to_thread(destination_states, office)
            found = next((each for each in states if each.name == name), None)
            if found is None:
                redraw()  # somebody has removed it meanwhile
            else:
                _draw(found)

        def _draw(state: DestinationState) -> None:
            head.content = _state(visit, state)
            for each, shown in zip(switches, (state.paused_at is None, state.paused_at is not None), strict=False):
                each.set_visibility(shown)

        if visit.may(AccountRole.OPERATOR):
            with ui.row().classes("actions"):

                async def test() -> None:
                    button.props("loading")
                    told = await visit.get(lambda person: office.actions.test(person, name), office.crews.tests)
                    button.props(remove="loading")
                    if told is not None:
                        answer.content = _tested(told)
                    await renew()

                async def pause() -> None:
                    await visit.do(lambda person: office.actions.pause(person, name), f"{name} waits")
                    await renew()

                async def resume() -> None:
                    await visit.do(lambda person: office.actions.resume(person, name), f"{name} is sent to again")
                    await renew()

                button = ui.button("Test", on_click=test).props("no-caps")
                switches += [
                    ui.button("Pause", on_click=pause).props("outline no-caps"),
                    ui.button("Resume", on_click=resume).props("outline no-caps"),
                ]
                _editing(visit, name, redraw)
        _draw(first)
        answer = show(Html(""))


def _editing(visit: Visit, name: str, redraw: Callable[[], object]) -> None:
    """Add what an administrator can do with a destination."""
    connections = visit.office.connections
    if not visit.may(AccountRole.ADMINISTRATOR):
        return

    async def edit() -> None:
        if await edit_destination(visit, name):
            redraw()

    async def remove() -> None:
        open_now = await to_thread(connections.undelivered, name)
        question = f"Remove the destination {name}? Nothing is sent there any more."
        if open_now:
            question += f" {open_now} object(s) that it has not got are cancelled."
        if not await confirmed(question, "Remove"):
            return
        cancel = open_now > 0
        if await visit.do(
            lambda person: connections.remove_destination(person, name, cancel=cancel), f"{name} is gone"
        ):
            redraw()

    labelled(ui.button("Edit", on_click=edit).props("outline no-caps"), f"Edit {name}")
    labelled(ui.button("Remove", on_click=remove).props("flat no-caps color=negative"), f"Remove {name}")


def _state(visit: Visit, state: DestinationState) -> Html:
    now = visit.office.clock()
    queue = f"{state.waiting} waiting, {state.sending} being sent, {state.held} held"
    oldest = f", the oldest from {ago(now, state.oldest_at)}" if state.oldest_at else ""
    rows = [
        ("State", state_html(state, now)),
        ("Last C-ECHO", echo_html(state, now)),
        ("Where", _where(visit, state.name)),
        ("Protocol, profile", f"{state.protocol}, {state.profile}"),
        ("Queue", queue + oldest),
        ("Does not accept", ", ".join(state.refuses) or "-"),
        ("Last delivery", clock(visit.office, state.delivered_at)),
    ]
    return joined([tag("h2", state.name), pairs(rows)])


def _where(visit: Visit, name: str) -> str:
    """Return a destination's address as an administrator would say it; nothing that may be a secret."""
    match next((each for each in visit.office.settings.destinations if each.name == name), None):
        case DicomDestination() as dicom:
            return f"{peer_of(dicom)}{' over TLS' if dicom.tls is not None else ''}"
        case DicomWebDestination(url=url):
            return url.partition("?")[0]
        case FolderDestination(path=path):
            return str(path)
    return "-"


def _tested(told: Tested) -> Html:
    steps = tag("ol", *(_step(each) for each in told.steps), class_="steps", aria_label="Steps of the test")
    if not told.answers:
        return joined(
            [tag("p", badge("no"), f" It does not answer ({lasting(told.seconds)}).", role="status"), steps]
        )
    words = {True: badge("yes"), False: badge("no"), None: "is seen when an object is sent"}
    rows = [(name, words[yes]) for name, yes in told.accepts.items()]
    lost = tag("ul", *(tag("li", loss) for loss in told.losses)) if told.losses else ""
    answered = tag("p", badge("yes"), f" It answers, after {told.seconds * 1000:.0f} ms.", role="status")
    return joined([answered, steps, table(("SOP class", "Accepted"), rows, "Its profile sends nothing."), lost])


def _step(step: Step) -> Html:
    word = {True: badge("yes"), False: badge("no"), None: badge("not offered")}[step.passed]
    took = tag("small", f"{step.seconds * 1000:.0f} ms")
    return tag("li", tag("b", step.name), " ", word, " ", step.told, took)
