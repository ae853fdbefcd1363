"""What every page has: its head, the way to the others, and a visitor whose rights are asked for at every click."""

from asyncio import to_thread
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from fastapi import Request
from nicegui import ui

from dicom_node.admin.crews import Crew
from dicom_node.admin.guard import secret_of
from dicom_node.admin.office import Office
from dicom_node.admin.pages.words import Html, joined, tag
from dicom_node.admin.people import Person
from dicom_node.errors import DicomNodeError
from dicom_node.ledger import AccountRole

_Value = TypeVar("_Value")
PAGES: Final = (
    ("/", "Overview", AccountRole.VIEWER),
    ("/studies", "Studies", AccountRole.VIEWER),
    ("/rules", "Rules", AccountRole.VIEWER),
    ("/destinations", "Destinations", AccountRole.VIEWER),
    ("/pipelines", "Pipelines", AccountRole.VIEWER),
    ("/people", "Audit and users", AccountRole.ADMINISTRATOR),
)


@dataclass(frozen=True, slots=True)
class Visit:
    """One open page of one person."""

    office: Office
    secret: str
    person: Person

    @property
    def root(self) -> str:
        """The path that a reverse proxy serves the pages below."""
        return self.office.settings.admin.root_path

    def may(self, role: AccountRole) -> bool:
        """Return whether to show what needs a role; doing it asks again."""
        return self.person.role.covers(role)

    async def is_here(self, *, uses: bool = True) -> bool:
        """Return whether the session still holds; if not, show the log-in instead of the page.

        Parameters
        ----------
        uses : bool
            False where nobody did anything: a page that renews itself keeps no session alive.
        """
        return await self._who(uses=uses) is not None

    async def _who(self, *, uses: bool = True) -> Person | None:
        """Return whoever this session belongs to now; if it has ended, show the log-in and return None."""
        person = await to_thread(self.office.people.of_session, self.secret, self.person.address, uses=uses)
        if person is None:
            ui.navigate.to(f"{self.root}/login")
        return person

    async def get(self, action: Callable[[Person], _Value], by: Crew | None = None) -> _Value | None:
        """Do something for whoever this session belongs to now; if it is not possible, say why and return None.

        Parameters
        ----------
        by : Crew or None
            Who does what takes long.
        """
        person = await self._who()
        if person is None:
            return None
        try:
            return await (to_thread(action, person) if by is None else by.do(action, person))
        except DicomNodeError as error:
            ui.notify(str(error), type="negative", multi_line=True, timeout=10_000, close_button="Close")
            return None

    async def do(self, action: Callable[[Person], None], done: str = "") -> bool:
        """Do something that gives nothing back; say that it is done, and return whether it is."""

        def acted(person: Person) -> bool:
            action(person)
            return True

        is_done = bool(await self.get(acted))
        if is_done and done:
            ui.notify(done, type="positive")
        return is_done


def visit_of(office: Office, request: Request) -> Visit:
    """Return the visit that a request begins; the guard has let it in."""
    person: Person = request.scope["dicom_node.person"]
    return Visit(office, secret_of(request.headers), person)


def show(html: Html) -> ui.html:
    """Put safe HTML on the page."""
    return ui.html(html, sanitize=False)


def keep_live(visit: Visit, seconds: float, renew: Callable[[], Awaitable[None]]) -> None:
    """Renew what a page shows while its session holds; a page that nobody looks at keeps no session alive."""

    async def look() -> None:
        if await visit.is_here(uses=False):
            await renew()

    ui.timer(seconds, look, immediate=False)


def labelled(button: ui.button, label: str) -> ui.button:
    """Give a button another name for screen readers; a text of a sender's is a value here, and never a property."""
    button.props["aria-label"] = label
    return button


@contextmanager
def frame(visit: Visit, title: str, path: str) -> Iterator[None]:
    """Draw what every page has; the page's own goes inside."""
    ui.page_title(f"{title} - dicom_node")
    ui.add_head_html(f'<link rel="stylesheet" href="{visit.root}/static/node.css">')
    ui.colors(primary="#0b5c7a", positive="#1b6e3c", negative="#a61b29", warning="#8a5a00")
    links = [
        tag("a", name, href=f"{visit.root}{to}", aria_current="page" if to == path else None)
        for to, name, role in PAGES
        if visit.may(role)
    ]
    leave = tag(
        "form",
        tag("input", type="hidden", name="csrf", value=visit.person.csrf),
        tag("span", visit.person.name, tag("small", str(visit.person.role))),
        tag("button", "Log out", type="submit"),
        method="post",
        action=f"{visit.root}/logout",
    )
    logo = tag(
        "a",
        Html(f'<img src="{visit.root}/static/icon.svg" alt="" width="26" height="26">'),
        "dicom_node",
        href=f"{visit.root}/",
        class_="logo",
    )
    skip = tag("a", "To the content", href="#content", class_="skip")
    with ui.element("header").classes("bar"):
        show(joined([skip, logo, tag("nav", *links, aria_label="Pages"), leave]))
    with ui.element("main").props('id="content" tabindex="-1"'):
        yield
    notice = visit.office.settings.results.notice
    with ui.element("footer"):
        show(tag("p", f"{visit.office.settings.node.name}. {notice}"))


async def confirmed(question: str, yes: str, color: str = "negative") -> bool:
    """Ask before something that cannot be taken back, or that lets somebody in."""
    with ui.dialog() as dialog, ui.card():
        ui.label(question)
        with ui.row():
            ui.button(yes, on_click=lambda: dialog.submit(True)).props(f"color={color}")
            ui.button("Leave it", on_click=lambda: dialog.submit(False)).props("flat")
    answer = bool(await dialog)
    dialog.delete()
    return answer
