"""Conditions on the Rules page: rows of attribute, comparison and value."""

from collections.abc import Callable
from typing import Any, Final

from nicegui import ui

from dicom_node.admin.pages.frame import labelled
from dicom_node.admin.rule_rows import HINTS, WITHOUT_VALUE, How, Row, RowInvalid, row_of, rows_of, table_of

#: Id of the list from which browsers complete attributes.
KEYWORDS: Final = "dicom-keywords"
_GROUPS: Final = frozenset({"any_of", "all_of", "none_of"})


class Conditions:
    """One table of conditions, such as `[rule.when]`.

    Parameters
    ----------
    put : callable
        Takes the table after every edit that can be read.
    """

    def __init__(self, title: str, table: dict[str, Any], put: Callable[[dict[str, Any]], None]) -> None:
        self._title = title
        self._table = table
        self._rows = rows_of(table)
        self._put = put
        self._box = ui.element("div").classes("conditions").props('role="group"')
        self._box.props["aria-label"] = title  # a role as somebody wrote it is a value, and never a property
        self.draw()

    def draw(self) -> None:
        """Draw every row, and a button for one more."""
        self._box.clear()
        with self._box:
            for place, row in enumerate(self._rows):
                self._draw_row(place, row)
            add = ui.button("Add a condition", on_click=self._add).props("flat dense no-caps")
            labelled(add, f"Add a condition: {self._title}")

    def _draw_row(self, place: int, row: Row) -> None:
        with ui.element("div").classes("condition"):
            if row.keyword in _GROUPS:
                ui.label(row.keyword).classes("group")
            else:
                keyword = ui.input("Attribute", value=row.keyword)
                keyword.props(f"outlined dense list={KEYWORDS} debounce=400 spellcheck=false")
                keyword.on_value_change(lambda event: self._edit(place, event.sender, keyword=event.value))
                how = ui.select([str(each) for each in How], value=str(row.how), label="Is")
                how.props("outlined dense options-dense")
                how.on_value_change(lambda event: self._edit(place, event.sender, how=How(event.value)))
            if row.how not in WITHOUT_VALUE:
                value = ui.input("Value", value=row.value, placeholder=HINTS.get(row.how, ""))
                value.props("outlined dense debounce=400 spellcheck=false").classes("grow")
                value.on_value_change(lambda event: self._edit(place, event.sender, value=event.value))
            gone = ui.button(icon="close", on_click=lambda: self._remove(place)).props("flat dense round")
            labelled(gone, f"Remove the condition on {row.keyword or 'nothing yet'}")

    def _edit(self, place: int, field: Any, **fields: Any) -> None:
        before = self._rows[place]
        try:
            row = before.edited(**fields)
            table = table_of([*self._rows[:place], row, *self._rows[place + 1 :]])
        except RowInvalid as error:
            if "how" in fields:  # what is to be compared changes with it, and is not there yet
                self._rows[place] = Row(before.keyword, fields["how"], "", before.raw)
                self.draw()
            else:
                field.props("error")
                field.props["error-message"] = str(error)
            return
        self._rows[place] = row
        if "value" in fields or "keyword" in fields:
            field.props(remove="error error-message")
        self._write(table)
        if (before.how in WITHOUT_VALUE) != (row.how in WITHOUT_VALUE):
            self.draw()

    def _add(self) -> None:
        self._rows.append(row_of("", ""))
        self.draw()

    def _remove(self, place: int) -> None:
        del self._rows[place]
        self._write(table_of(self._rows))
        self.draw()

    def _write(self, table: dict[str, Any]) -> None:
        rank = {"rank": self._table["rank"]} if "rank" in self._table else {}
        self._put({**table, **rank})
