"""The rules as text: line numbers, colours, and every fault at its line."""

from typing import Final

from nicegui import ui

from dicom_node.admin.pages.frame import show
from dicom_node.admin.pages.rule_draft import Draft
from dicom_node.admin.pages.words import badge, joined, tag

LABEL: Final = "Rules as text"
_READY: Final = """
const view = getElement({id}).editor;
view.contentDOM.setAttribute('aria-label', '{label}');
return document.body.classList.contains('body--dark');
"""


class Editor:
    """The text of a draft."""

    def __init__(self, draft: Draft, *, may_edit: bool) -> None:
        self._draft = draft
        self._area = ui.codemirror(draft.text, language="TOML", theme="basicLight", on_change=self._typed)
        self._area.classes("rule-text")
        if not may_edit:
            self._area.disable()
        self._faults = ui.element("div").props('role="status" aria-live="polite"')
        ui.timer(0.2, self._settle, once=True)
        draft.heard_by(self.draw)

    async def _settle(self) -> None:
        """Name the field for screen readers, and take the browser's colours."""
        script = _READY.replace("{id}", str(self._area.id)).replace("{label}", LABEL)
        if await ui.run_javascript(script, timeout=10):
            self._area.set_theme("vscodeDark")

    def _typed(self) -> None:
        self._draft.text = self._area.value

    def renew(self) -> None:
        """Show the draft's text, after something else than typing changed it."""
        if self._area.value != self._draft.text:
            self._area.set_value(self._draft.text)

    def reveal(self, line: int) -> None:
        """Bring a line into sight."""
        self._area.reveal_line(line)

    def draw(self) -> None:
        """Show the faults, each at its line and in words below."""
        self.renew()
        faults, lines = self._draft.checked.faults, self._draft.text.count("\n") + 1
        marked = sorted({min(fault.line, lines) for fault in faults})
        self._area.decorations = [{"kind": "line", "line": line, "class": "fault"} for line in marked]
        self._area.props["line-tooltips"] = {
            line: "\n".join(fault.what for fault in faults if min(fault.line, lines) == line) for line in marked
        }
        self._area.update()
        self._faults.clear()
        with self._faults:
            if not faults:
                show(tag("p", badge("well"), f" No faults, {self._draft.checked.rules} rule(s)."))
                return
            show(tag("p", badge("refused"), f" {len(faults)} fault(s). What has a fault cannot be saved."))
            for fault in faults[:20]:
                with ui.element("div").classes("fault-line"):
                    line = min(fault.line, lines)
                    jump = ui.button(f"Line {fault.line}", on_click=lambda _, line=line: self._area.reveal_line(line))
                    jump.props("flat dense no-caps")
                    show(joined([tag("span", fault.what)]))
            if len(faults) > 20:  # noqa: PLR2004 - as many as are shown
                show(tag("p", f"and {len(faults) - 20} more", class_="quiet"))
