"""History on the Rules page: who changed what, when and why; and back again."""

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import ui

from dicom_node.admin.pages.frame import Visit, confirmed, show
from dicom_node.admin.pages.words import Html, clock, joined, tag
from dicom_node.ledger import AccountRole, RuleVersion

_FIRST: Final = 10
_MORE: Final = 1000


class History:
    """The versions, newest first.

    Parameters
    ----------
    renew : callable
        Shows the page anew after a roll back.
    """

    def __init__(self, visit: Visit, renew: Callable[[], Awaitable[None]]) -> None:
        self._visit = visit
        self._renew = renew
        self._most = _FIRST
        with ui.element("section").classes("card wide"):
            show(tag("h2", "History"))
            self._list = ui.element("div")

    async def draw(self) -> None:
        """Show the versions as they are now."""
        versions = await to_thread(self._visit.office.rules.history, self._most)
        self._list.clear()
        with self._list:
            if not versions:
                show(tag("p", "No version yet.", class_="quiet"))
            for place, version in enumerate(versions):
                self._version(version, in_force=place == 0)
            if len(versions) == _FIRST:
                ui.button("Older versions", on_click=self._all).props("flat no-caps")

    async def _all(self) -> None:
        self._most = _MORE
        await self.draw()

    def _version(self, version: RuleVersion, *, in_force: bool) -> None:
        number = version.number

        async def difference() -> None:
            found = await to_thread(self._visit.office.rules.difference, number - 1, number)
            shown.content = "" if shown.content else diff_html(found)

        async def back() -> None:
            if await confirmed(f"Put version {number} in force again?", "Roll back"):
                rules = self._visit.office.rules
                made = await self._visit.get(lambda person: rules.roll_back(person, number))
                if made is not None:
                    ui.notify(f"Version {number} is back, as version {made.number}", type="positive")
                    await self._renew()

        with ui.element("div").classes("version").props(f'role="group" aria-label="Version {number}"'):
            state = tag("span", "in force", class_="badge good") if in_force else ""
            who = [tag("b", f"Version {number} "), state, " ", clock(self._visit.office, version.at)]
            show(tag("p", *who, f" by {version.author}", f": {version.reason}" if version.reason else ""))
            with ui.row().classes("actions"):
                ui.button("What changed", on_click=difference).props("flat dense no-caps")
                if not in_force and self._visit.may(AccountRole.ADMINISTRATOR):
                    ui.button("Roll back to this", on_click=back).props("outline dense no-caps")
            shown = show(Html(""))


def diff_html(difference: str) -> Html:
    """Return a unified diff with its lines coloured; the signs at their beginning say the same."""
    if not difference:
        return tag("p", "Nothing differs.", class_="quiet")
    kinds = {"+": "added", "-": "removed", "@": "quiet"}
    lines = [
        tag("span", f"{line}\n", class_="quiet" if line[:3] in ("---", "+++") else kinds.get(line[:1]))
        for line in difference.splitlines()
    ]
    return tag("pre", joined(lines), class_="diff")
