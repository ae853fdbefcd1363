"""Buttons for many studies at once: those that are ticked, or all that the filters find. A part of Studies."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from nicegui import ui

from dicom_node.admin.bulk import BulkAction, BulkDone, do_all
from dicom_node.admin.pages.frame import Visit, confirmed, show
from dicom_node.admin.pages.words import tag
from dicom_node.admin.people import Person
from dicom_node.admin.queries.studies import StudyList, Wanted

#: Of all that are found: more at once would keep everything else waiting.
MOST_AT_ONCE: Final = 2000
_NAMES: Final = {
    BulkAction.RETRY: "Retry held",
    BulkAction.CANCEL: "Cancel",
    BulkAction.ROUTE: "Route again",
    BulkAction.RESEND: "Send again",
}
_LOOK_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Chosen:
    """The studies to act on, and how many more there are beside them."""

    studies: tuple[str, ...]
    more: int = 0

    def question(self, name: str) -> str:
        """Return what is asked before something is done with all of them."""
        count = len(self.studies)
        first = f"the first {count} of {count + self.more}" if self.more else count
        return f"{name}: {first} studies?"

    def said(self, name: str, told: BulkDone) -> str:
        """Return what is said at the end."""
        refused = f"; {told.refused} studies not possible: {told.reasons[0]}" if told.refused else ""
        remain = f"; {self.more} of the studies found remain: nothing was done with them" if self.more else ""
        return f"{name}: {told.changed} changed{refused}{remain}"


class BulkButtons:
    """The buttons, and how far they are."""

    def __init__(
        self, visit: Visit, table: ui.table, wanted: Callable[[], Wanted], renew: Callable[[], Awaitable[None]]
    ) -> None:
        self._visit, self._table, self._wanted, self._renew = visit, table, wanted, renew
        self._done, self._of = 0, 0
        self._every = ui.checkbox().props('label="All that are found"')  # the property gives it its name, too
        self._buttons = [
            ui.button(name, on_click=partial(self._act, action)).props("outline no-caps")
            for action, name in _NAMES.items()
        ]
        with ui.element("div").props('role="status" aria-live="polite"') as self._status:
            self._words = show(tag("span", ""))
        self._timer = ui.timer(_LOOK_SECONDS, self._look, active=False)

    async def _act(self, action: BulkAction) -> None:
        chosen = await self._chosen()
        if chosen is None:
            return
        if not chosen.studies:
            ui.notify("Choose studies first: tick them in the list, or tick “All that are found”.")
            return
        name = _NAMES[action]
        if self._every.value and not await confirmed(chosen.question(name), f"{name} all"):
            return
        self._done, self._of = 0, len(chosen.studies)
        self._begin()
        try:
            office = self._visit.office.actions, self._visit.office.ledger
            crew = self._visit.office.crews.bulk
            told = await self._visit.get(
                lambda person: do_all(office, person, action, chosen.studies, self._tell), crew
            )
        finally:
            self._end()
        if told is not None:
            said = chosen.said(name, told)
            ui.notify(said, type="warning" if told.refused or chosen.more else "positive", multi_line=True)
            self._table.selected.clear()
            self._every.value = False
            await self._renew()

    async def _chosen(self) -> Chosen | None:
        if not self._every.value:
            return Chosen(tuple(row["uid"] for row in self._table.selected))
        office, wanted = self._visit.office, self._wanted()

        def found(_: Person) -> Chosen:
            return first_found(office.studies, wanted)

        return await self._visit.get(found, office.crews.bulk)

    def _tell(self, done: int) -> None:
        self._done = done  # from another thread: the page looks at it

    def _look(self) -> None:
        bar = tag("progress", "", value=self._done, max=max(1, self._of), aria_label="Progress")
        self._words.content = tag("span", bar, f" {self._done} of {self._of} studies")

    def _begin(self) -> None:
        for button in self._buttons:
            button.disable()
        self._look()
        self._timer.activate()

    def _end(self) -> None:
        self._timer.deactivate()
        self._words.content = ""
        for button in self._buttons:
            button.enable()


def first_found(studies: StudyList, wanted: Wanted, most: int = MOST_AT_ONCE) -> Chosen:
    """Return the first studies that are found, newest first, as many as are acted on at once."""
    chosen = tuple(row.study_instance_uid for row in islice(studies.every(wanted), most))
    return Chosen(chosen, max(0, studies.count(wanted) - len(chosen)) if len(chosen) == most else 0)
