"""Who may send here, and who was turned away: shown to all, changed and allowed by an administrator."""

from asyncio import to_thread
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from nicegui import ui

from dicom_node.admin.connections import is_allowed, why_not_allowed
from dicom_node.admin.pages.connection_forms import edit_sender
from dicom_node.admin.pages.frame import Visit, confirmed, labelled, show
from dicom_node.admin.pages.words import Html, badge, clock, safe, tag
from dicom_node.ledger import AccountRole
from dicom_node.ledger.arrivals import RefusedSender
from dicom_node.settings import Source

_SHOWN: Final = 50
#: Draws what can be done in a row.
_Does = Callable[[], None]


async def senders(visit: Visit) -> None:
    """Draw both sections."""

    @ui.refreshable
    async def sections() -> None:
        refused = await to_thread(visit.office.ledger.arrivals.refused)
        _known(visit, sections.refresh)
        _refused(visit, refused[:_SHOWN], sections.refresh)

    await sections()


def _known(visit: Visit, redraw: Callable[[], object]) -> None:
    administrator, sources = visit.may(AccountRole.ADMINISTRATOR), visit.office.settings.sources

    async def add() -> None:
        if await edit_sender(visit):
            redraw()

    with ui.element("section").classes("card wide"):
        with ui.element("div").classes("row-between"):
            show(tag("h2", "Who may send here"))
            if administrator:
                ui.button("Add sender", on_click=add).props("no-caps")
        rows = [_cells(source) for source in sources]
        does = [partial(_source_does, visit, source, redraw) for source in sources] if administrator else []
        heads = ("Sender", "AE titles", "Addresses", "Certificates")
        _table(heads, rows, does, "Nobody yet: every caller is turned away.", "Senders")


def _cells(source: Source) -> tuple[Html, ...]:
    texts = (", ".join(each) for each in (source.ae_titles, source.addresses, source.certificates))
    return (tag("b", source.name), *(safe(text or "-") for text in texts))


def _source_does(visit: Visit, source: Source, redraw: Callable[[], object]) -> None:
    name = source.name

    async def edit() -> None:
        if await edit_sender(visit, name):
            redraw()

    async def remove() -> None:
        question = f"Remove the sender {name}? It is turned away from then on; what it is sending now still arrives."
        if await confirmed(question, "Remove"):
            connections = visit.office.connections
            if await visit.do(
                lambda person: connections.remove_sender(person, name), f"{name} may not send any more"
            ):
                redraw()

    labelled(ui.button("Edit", on_click=edit).props("flat dense no-caps"), f"Edit {name}")
    labelled(ui.button("Remove", on_click=remove).props("flat dense no-caps color=negative"), f"Remove {name}")


def _refused(visit: Visit, refused: Sequence[RefusedSender], redraw: Callable[[], object]) -> None:
    rows = [
        (
            tag("b", each.calling),
            safe(each.called),
            safe(each.address),
            safe(each.reason),
            safe(each.count),
            clock(visit.office, each.last_at),
        )
        for each in refused
    ]
    does: list[_Does] = []
    if visit.may(AccountRole.ADMINISTRATOR):
        does = [partial(_refused_does, visit, each, redraw) for each in refused]
    heads = ("Calling AE", "Called AE", "Address", "Why", "Times", "Last")
    with ui.element("section").classes("card wide"):
        show(tag("h2", "Turned away"))
        _table(heads, rows, does, "Nobody was turned away.", "Refused senders")


def _refused_does(visit: Visit, refused: RefusedSender, redraw: Callable[[], object]) -> None:
    settings, connections = visit.office.settings, visit.office.connections
    calling, address = refused.calling, refused.address
    if is_allowed(settings, refused):
        show(badge("allowed now"))
        return
    if why := why_not_allowed(settings, refused):
        show(tag("details", tag("summary", "What to do"), tag("p", why)))
        return

    async def allow() -> None:
        question = f"Let {calling} send here from {address}? Whoever has that address and AE title is let in then."
        if not await confirmed(question, "Allow", "positive"):
            return
        name = await visit.get(lambda person: connections.allow(person, calling, address))
        if name is not None:
            ui.notify(f"{calling} may send from {address}: it is the sender {name} now", type="positive")
            redraw()

    button = ui.button("Allow this sender", on_click=allow).props("outline dense no-caps")
    labelled(button, f"Allow this sender: {calling} from {address}")


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[Html]], does: Sequence[_Does], empty: str, label: str
) -> None:
    """Draw a table whose rows end with what can be done."""
    if not rows:
        show(tag("p", empty, class_="quiet"))
        return
    with ui.element("div").classes("scroll"), ui.element("table").classes("plain").props(f'aria-label="{label}"'):
        with ui.element("thead"), ui.element("tr"):
            for head in (*heads, *(("Actions",) if does else ())):
                with ui.element("th").props('scope="col"'):
                    show(safe(head))
        with ui.element("tbody"):
            for number, row in enumerate(rows):
                with ui.element("tr"):
                    for cell in row:
                        with ui.element("td"):
                            show(cell)
                    if does:
                        with ui.element("td").classes("does"):
                            does[number]()
