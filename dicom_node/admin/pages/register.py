"""Where each page is: adds the pages to the application."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI, Request
from nicegui import ui

from dicom_node.admin.office import Office
from dicom_node.admin.pages.destinations import destinations_page
from dicom_node.admin.pages.frame import PAGES, Visit, frame, visit_of
from dicom_node.admin.pages.overview import overview_page
from dicom_node.admin.pages.people import people_page
from dicom_node.admin.pages.pipelines import pipelines_page
from dicom_node.admin.pages.rules import rules_page
from dicom_node.admin.pages.studies import studies_page
from dicom_node.admin.pages.study import study_page

_BUILDS: Final[dict[str, Callable[[Visit], Awaitable[None]]]] = {
    "/": overview_page,
    "/studies": studies_page,
    "/rules": rules_page,
    "/destinations": destinations_page,
    "/pipelines": pipelines_page,
    "/people": people_page,
}
#: A page is built from the ledger; on a busy node that may take longer than NiceGUI's three seconds.
_SLOWEST_SECONDS: Final = 30.0


def add_pages(app: FastAPI, office: Office) -> None:
    """Add the pages; once in a process, because NiceGUI has one application."""
    for path, title, _ in PAGES:
        _add(office, path, title, _BUILDS[path])

    @ui.page("/study/{study}", response_timeout=_SLOWEST_SECONDS)
    async def one_study(request: Request, study: str) -> None:
        visit = visit_of(office, request)
        with frame(visit, "Study", "/studies"):
            await study_page(visit, study)

    ui.run_with(
        app,
        title="dicom_node",
        favicon=None,
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )


def _add(office: Office, path: str, title: str, build: Callable[[Visit], Awaitable[None]]) -> None:
    async def page(request: Request) -> None:
        visit = visit_of(office, request)
        with frame(visit, title, path):
            await build(visit)

    ui.page(path, response_timeout=_SLOWEST_SECONDS)(page)
