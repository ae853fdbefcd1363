"""Overview: whether all is well, and how busy the node is."""

from asyncio import to_thread

from nicegui import ui

from dicom_node.admin.office import Office
from dicom_node.admin.pages.frame import Visit, keep_live, show
from dicom_node.admin.pages.plots import SPAN_NAMES, stages_plot, studies_plot
from dicom_node.admin.pages.reach import echo_html, state_html
from dicom_node.admin.pages.words import Html, ago, badge, card, clock, joined, lasting, pairs, room, table, tag
from dicom_node.admin.queries.overview import Overview, overview_of
from dicom_node.admin.queries.phases import Phase

_REFRESH_SECONDS = 3.0
_PLOT_SECONDS = 60.0


async def overview_page(visit: Visit) -> None:
    """Show the node's state, renewed every few seconds."""
    office = visit.office
    now_html = show(overview_html(office, await to_thread(overview_of, office)))
    times_html: ui.html

    async def renew() -> None:
        now_html.content = overview_html(office, await to_thread(overview_of, office))

    async def draw(span: str) -> None:
        times = await to_thread(office.times.over, span, office.clock())
        times_html.content = tag("div", studies_plot(office, times), stages_plot(office, times), class_="plots")

    async def turn(span: str) -> None:
        if await visit.is_here():
            await draw(span)

    with ui.element("section").classes("card wide"):
        with ui.element("div").classes("row-between"):
            show(tag("h2", "Throughput and stage times"))
            choice = ui.toggle(SPAN_NAMES, value="hour", on_change=lambda event: turn(event.value))
            choice.props('dense no-caps aria-label="Time span"')
        times_html = show(Html(""))
    await draw("hour")
    keep_live(visit, _REFRESH_SECONDS, renew)
    keep_live(visit, _PLOT_SECONDS, lambda: draw(choice.value))


def overview_html(office: Office, overview: Overview) -> Html:
    """Return the overview as a page shows it."""
    well = not overview.troubles
    head = "All is well" if well else f"{len(overview.troubles)} to look at"
    said = tag("ul", *(tag("li", trouble) for trouble in overview.troubles)) if not well else Html("")
    banner = tag("section", tag("h1", head), said, class_=f"banner {'good' if well else 'bad'}", role="status")
    return joined(
        [
            banner,
            tag("div", _today(overview), _parts(office, overview), class_="cards"),
            card("Destinations", _destinations(office, overview), wide=True),
            card("Senders", _senders(office, overview), wide=True),
        ]
    )


def _today(overview: Overview) -> Html:
    counts = overview.studies_today
    tiles = [
        tag("div", tag("b", counts.get(str(phase), 0)), tag("span", str(phase)), class_="tile")
        for phase in Phase
        if counts.get(str(phase), 0) or phase in (Phase.DONE, Phase.HELD, Phase.RUNNING, Phase.NO_RULE)
    ]
    jobs = f"{overview.jobs['queued']} jobs queued, {overview.jobs['running']} running, {overview.jobs['held']} held"
    return card(
        f"Studies today: {sum(counts.values())}", tag("div", *tiles, class_="tiles"), tag("p", jobs, class_="quiet")
    )


def _parts(office: Office, overview: Overview) -> Html:
    receivers = "up" if overview.receivers >= overview.receivers_wanted else "down"
    disk = overview.disk
    used = 100 - round(100 * disk.free_mib / max(1, disk.total_mib))
    meter = tag("meter", f"{used} %", min=0, max=100, low=80, high=92, optimum=0, value=used, aria_label="Disk used")
    free = joined([room(disk.free_mib), " free of ", room(disk.total_mib), " ", meter])
    busy = f"{overview.workers - overview.free_workers} of {overview.workers} busy ({overview.device})"
    return card(
        "Node",
        pairs(
            [
                ("Receivers", joined([badge(receivers), f" {overview.receivers} of {overview.receivers_wanted}"])),
                ("Workers", busy),
                ("GPUs", _gpus(overview)),
                ("Disk", joined([badge("low"), " ", free]) if disk.low else free),
                ("Running since", clock(office, overview.started_at)),
                ("Version", overview.version),
            ]
        ),
    )


def _gpus(overview: Overview) -> Html:
    if not overview.gpus:
        return Html("none on this computer: jobs run on its processors")
    told = [
        tag(
            "div",
            f"{each.name}: {room(each.used_mib)} of {room(each.total_mib)} used",
            "" if each.busy_percent is None else f", {each.busy_percent} % busy",
        )
        for each in overview.gpus
    ]
    unused = tag("div", "jobs do not use it: [compute] device is cpu", class_="small")
    return joined([*told, unused if overview.device == "cpu" else ""])


def _destinations(office: Office, overview: Overview) -> Html:
    rows = [
        (
            tag("b", each.name),
            state_html(each, overview.now),
            echo_html(each, overview.now),
            each.waiting + each.sending,
            ago(overview.now, each.oldest_at) if each.oldest_at else "-",
            badge(f"{each.held} held") if each.held else "0",
            ", ".join(each.refuses) or "-",
            clock(office, each.delivered_at),
        )
        for each in overview.destinations
    ]
    heads = ("Name", "State", "Last C-ECHO", "Queue", "Oldest", "Held", "Refuses", "Last delivery")
    return table(heads, rows, "node.toml has no [[destination]].", "Destinations")


def _senders(office: Office, overview: Overview) -> Html:
    rows = [
        (
            tag("b", each.sender),
            badge("silent") if each.silent else badge("well"),
            joined([ago(overview.now, each.last_at), " (", clock(office, each.last_at), ")"]),
            lasting(each.usual_gap_seconds),
        )
        for each in overview.senders
    ]
    empty = "No sender has sent enough studies yet to have a habit."
    return table(("AE title", "State", "Last study", "Usual longest gap"), rows, empty, "Senders")
