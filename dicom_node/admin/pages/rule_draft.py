"""The text that somebody edits on the Rules page, which form and editor share, and what is wrong with it."""

from asyncio import to_thread
from collections.abc import Callable
from typing import Any

from dicom_node.admin.office import Office
from dicom_node.admin.rule_desk import Checked
from dicom_node.admin.rule_texts import rules_of
from dicom_node.ledger import RuleVersion


class Draft:
    """One person's edit.

    Attributes
    ----------
    text : str
        As it stands now.
    after : int
        The version that the edit began with.
    checked : Checked
        What the last look found.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self._listeners: list[Callable[[], None]] = []
        self.text, self.after, self._saved = "", 0, ""
        self.checked = Checked(0, ())
        self._looked_at: str | None = None
        self._take(office.rules.in_force())

    async def begin(self) -> None:
        """Take what is in force; what was edited is gone."""
        self._take(await to_thread(self._office.rules.in_force))

    async def follow(self) -> bool:
        """Take what is in force unless something was edited; return whether it was taken."""
        latest = await to_thread(self._office.rules.in_force)
        if self.is_changed:
            return False
        self._take(latest)
        return True

    async def insist(self) -> None:
        """Let what was edited follow what is in force now, instead of what it began with."""
        latest = await to_thread(self._office.rules.in_force)
        text = self.text
        self._take(latest)
        self.text = text

    def keep(self, saved: str, made: RuleVersion) -> None:
        """Go on from a version that was made of what was saved; what was typed since stays."""
        text = self.text
        self._take(made)
        if text != saved:
            self.text = text

    def _take(self, latest: RuleVersion | None) -> None:
        self.text = self._saved = with_plain_lines(latest.text) if latest else ""
        self.after = latest.number if latest else 0
        self._looked_at = None

    def heard_by(self, listener: Callable[[], None]) -> None:
        """Call somebody whenever the text was looked at anew."""
        self._listeners.append(listener)

    @property
    def is_changed(self) -> bool:
        """Whether the text differs from what it began with."""
        return self.text != self._saved

    @property
    def rules(self) -> list[dict[str, Any]]:
        """The rules of the text as plain values; none if it is no TOML."""
        return rules_of(self.text)

    @property
    def is_new(self) -> bool:
        """Whether the text was edited since the last look."""
        return self.text != self._looked_at

    async def look(self) -> None:
        """Check the text, if it has changed since the last look, and tell those who show it."""
        if not self.is_new:
            return
        text = self._looked_at = self.text
        checked = await to_thread(self._office.rules.check, text)
        if text != self.text:  # edited meanwhile: the next look finds it
            self._looked_at = None
            return
        self.checked = checked
        for listener in self._listeners:
            listener()


def with_plain_lines(text: str) -> str:
    """Return a text whose lines end as the editor ends them: with others, what is typed lands in another place."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
