"""Studies: search, filters, pages, and what can be done with several at once."""

from asyncio import to_thread
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from nicegui import events, ui

from dicom_node.admin.api.studies import csv_lines
from dicom_node.admin.office import Office
from dicom_node.admin.pages.bulk import BulkButtons
from dicom_node.admin.pages.frame import Visit, keep_live, show
from dicom_node.admin.pages.words import date, kind_of, person_name, tag
from dicom_node.admin.people import Person
from dicom_node.admin.queries.phases import Phase
from dicom_node.admin.queries.studies import StudyRow, Wanted
from dicom_node.ledger import AccountRole

_REFRESH_SECONDS: Final = 3.0
_ROWS: Final = (25, 50, 100)
_MODALITIES: Final = ("CR", "CT", "DX", "MG", "MR", "NM", "PT", "RF", "US", "XA")
_COLUMNS: Final = (
    ("phase", "State"),
    ("patient", "Patient"),
    ("patient_id", "Patient ID"),
    ("accession_number", "Accession"),
    ("study_date", "Study date"),
    ("modalities", "Modality"),
    ("study_description", "Description"),
    ("sender", "Sender"),
    ("rules", "Rules"),
    ("instances", "Images"),
    ("received", "Received"),
)
_CELLS: Final = """
<q-td key="phase" :props="props"><span class="badge" :class="props.row.kind">{{ props.row.phase }}</span></q-td>
"""


@dataclass
class _Shown:
    """What the page shows now."""

    wanted: dict[str, Any] = field(default_factory=dict)
    page: int = 1
    rows: int = _ROWS[0]


async def studies_page(visit: Visit) -> None:
    """Show the list of studies."""
    office, shown = visit.office, _Shown()
    choices = await to_thread(office.studies.choices)
    first = await to_thread(office.studies.page, Wanted(), 0, shown.rows)

    async def renew() -> None:
        page = await to_thread(office.studies.page, Wanted(**shown.wanted), (shown.page - 1) * shown.rows, shown.rows)
        table.rows = [_cells(visit, row) for row in page.rows]
        table.pagination = {"page": shown.page, "rowsPerPage": shown.rows, "rowsNumber": page.total}
        table.update()

    async def want(**fields: Any) -> None:
        shown.wanted |= fields
        shown.page = 1
        if await visit.is_here():
            if "search" in fields:
                await visit.get(lambda person: office.actions.searched(person, shown.wanted))
            await renew()

    show(tag("h1", "Studies"))
    with ui.element("div").classes("card wide"):
        _filters(visit, choices, want)
        table = ui.table(
            columns=[{"name": key, "field": key, "label": label, "align": "left"} for key, label in _COLUMNS],
            rows=[_cells(visit, row) for row in first.rows],
            row_key="uid",
            selection="multiple" if visit.may(AccountRole.OPERATOR) else None,
            pagination={"page": 1, "rowsPerPage": shown.rows, "rowsNumber": first.total},
        )
        table.props(f':rows-per-page-options="{list(_ROWS)}" flat dense no-data-label="No study is like that."')
        table.add_slot("body-cell-phase", _CELLS)
        table.add_slot(
            "body-cell-patient",
            '<q-td key="patient" :props="props"><a :href="props.row.link">{{ props.row.patient }}</a></q-td>',
        )

        async def turn(event: events.GenericEventArguments) -> None:
            asked = event.args["pagination"]
            shown.page, shown.rows = int(asked["page"]), int(asked["rowsPerPage"]) or _ROWS[-1]
            if await visit.is_here():
                await renew()

        table.on("request", turn)
        with ui.row().classes("actions"):
            ui.button("Export CSV", on_click=lambda: _export(visit, shown)).props("flat no-caps icon=download")
            if visit.may(AccountRole.OPERATOR):
                BulkButtons(visit, table, lambda: Wanted(**shown.wanted), renew)
    keep_live(visit, _REFRESH_SECONDS, renew)


def _cells(visit: Visit, row: StudyRow) -> dict[str, Any]:
    return {
        "uid": row.study_instance_uid,
        "link": f"{visit.root}/study/{row.study_instance_uid}",
        "phase": str(row.phase),
        "kind": kind_of(row.phase),
        "patient": person_name(row.patient_name) or "(no name)",
        "patient_id": row.patient_id,
        "accession_number": row.accession_number,
        "study_date": date(row.study_date),
        "modalities": "/".join(row.modalities),
        "study_description": row.study_description,
        "sender": row.sender,
        "rules": ", ".join(row.rules) or "-",
        "instances": row.instances,
        "received": visit.office.local(row.received_at).strftime("%Y-%m-%d %H:%M"),
    }


def _filters(visit: Visit, choices: dict[str, list[str]], want: Callable[..., Any]) -> None:
    with ui.element("div").classes("filters"):
        search = ui.input("Search", placeholder="Name, ID, accession, description, UID")
        search.props("outlined dense clearable debounce=300 type=search").classes("grow")
        search.on_value_change(lambda event: want(search=event.value or ""))
        phases = {"": "Any state", **{str(phase): str(phase) for phase in Phase}}
        _select("State", phases, lambda event: want(phase=Phase(event.value) if event.value else None))
        rules = {"": "Any rule", **{rule: rule for rule in choices["rule"]}}
        _select("Rule", rules, lambda event: want(rule=event.value))
        senders = {"": "Any sender", **{sender: sender for sender in choices["sender"]}}
        _select("Sender", senders, lambda event: want(sender=event.value))
        kinds = {"": "Any", **{kind: kind for kind in _MODALITIES}}
        _select("Modality", kinds, lambda event: want(modality=event.value))
        _days(visit, want)


def _days(visit: Visit, want: Callable[..., Any]) -> None:
    """Draw when studies were received: since a day, or on one; days are the site's."""
    since = {"": "Any day", "0": "Today", "1": "Since yesterday", "7": "Last 7 days", "30": "Last 30 days"}

    async def take() -> None:
        if day.value:
            await want(**dict(zip(("received_from", "received_to"), day_of(visit.office, day.value), strict=True)))
            return
        today = visit.office.local(visit.office.clock()).date()
        start = today - timedelta(days=int(received.value)) if received.value else None
        begins = day_of(visit.office, start.isoformat())[0] if start else None
        await want(received_from=begins, received_to=None)

    received = _select("Received", since, lambda _: take())
    day = ui.input("Received on", on_change=take).props("outlined dense clearable type=date stack-label debounce=300")
    received.bind_enabled_from(day, "value", backward=lambda value: not value)


def day_of(office: Office, day: str) -> tuple[float | None, float | None]:
    """Return when a day (YYYY-MM-DD) begins and ends at the site, in UTC seconds; nothing while it is being typed."""
    try:
        first = datetime.fromisoformat(day)
        begins, ends = (each.replace(tzinfo=office.zone).timestamp() for each in (first, first + timedelta(days=1)))
    except (ValueError, OverflowError):  # the year 2 of 2026
        return None, None
    return begins, ends


def _select(
    label: str, options: dict[str, str], changed: Callable[[events.ValueChangeEventArguments[Any]], Any]
) -> ui.select:
    return ui.select(options, value="", label=label, on_change=changed).props("outlined dense options-dense")


async def _export(visit: Visit, shown: _Shown) -> None:
    def made(person: Person) -> bytes:
        rows = list(visit.office.studies.every(Wanted(**shown.wanted)))
        visit.office.actions.exported(person, len(rows), shown.wanted)
        return "".join(csv_lines(visit.office, iter(rows))).encode()

    content = await visit.get(made, visit.office.crews.bulk)
    if content is not None:
        ui.download.content(content, "studies.csv", "text/csv")
