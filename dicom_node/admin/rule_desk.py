"""What a person may do with the rules: each action asks for its role, acts, and leaves its line in the audit trail.

Looking and checking is for everybody, trying for operators (it costs time), saving for administrators.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dicom_node import catalogue
from dicom_node.admin.people import Person
from dicom_node.admin.trials import Trials
from dicom_node.ledger import AccountRole, Act, Ledger, RuleVersion
from dicom_node.routing import Trial, rules_schema
from dicom_node.rulebook import RuleBook, Rules, check_text, text_difference
from dicom_node.settings import Settings

_SECONDS_A_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class RuleFault:
    """One fault; line and column count from 1."""

    line: int
    column: int
    what: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: how many rules, and every fault."""

    rules: int
    faults: tuple[RuleFault, ...]


class RuleDesk:
    """The rules of a node, for those who look at them and edit them.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: Settings, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._book = RuleBook(settings, ledger, clock)
        self._trials = Trials(settings, ledger, clock)

    def take(self, settings: Settings) -> None:
        """Check and try by these settings from now on."""
        self._settings = settings
        self._book.take(settings)
        self._trials.take(settings)

    # -- looking -----------------------------------------------------------------------------------------------

    def in_force(self) -> RuleVersion | None:
        """Return the version in force; None before the node has read any."""
        return self._ledger.rules.latest()

    def read(self) -> Rules | None:
        """Return the rules in force, read; None if there are none yet.

        Raises
        ------
        SettingsInvalid
            If this node cannot use them.
        """
        return self._book.in_force()

    def newest(self) -> int:
        """Return the number of the version in force; 0 if there is none."""
        return self._book.newest

    def version(self, number: int) -> RuleVersion:
        """Return one version; raises RuleVersionUnknown."""
        return self._book.version(number)

    def history(self, limit: int) -> list[RuleVersion]:
        """Return the versions, newest first."""
        return self._ledger.rules.all(limit)

    def difference(self, old: int, new: int) -> str:
        """Return a unified diff from one version to another (0: nothing at all); raises RuleVersionUnknown."""
        return self._book.difference(old, new)

    def difference_to(self, text: str) -> str:
        """Return a unified diff from the version in force to a text."""
        latest = self.in_force()
        name = f"version {latest.number}" if latest else "nothing"
        return text_difference(latest.text if latest else "", text, name, "this text")

    def check(self, text: str) -> Checked:
        """Return what is wrong with a text, against the pipelines and destinations of this node; nothing is saved."""
        found = check_text(text, self._settings)
        faults = tuple(RuleFault(each.line, each.column, each.what) for each in found.faults)
        return Checked(len(found.rules.rules), faults)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of rules, with the names that this node knows."""
        destinations = [destination.name for destination in self._settings.destinations]
        return rules_schema(catalogue.roles(), destinations, self._settings.profile_names)

    # -- trying and changing -----------------------------------------------------------------------------------

    def attempt(
        self, person: Person, text: str, seconds: float, progress: Callable[[int], None] = lambda _: None
    ) -> Trial:
        """Try a text on the studies of so many seconds; raises as `Trials.run`. Nothing runs, nothing changes."""
        person.need(AccountRole.OPERATOR)
        found = self._trials.run(text, seconds, progress)
        # what decided names values of patients' studies, so that it was looked at is recorded
        subject = f"{found.studies} studies of {seconds / _SECONDS_A_DAY:g} days"
        self._ledger.trail.note(Act(self._clock(), person.name, person.address, "try rules", subject))
        return found

    def save(self, person: Person, text: str, reason: str, after: int | None) -> RuleVersion:
        """Put a text in force; raises as `RuleBook.save`."""
        person.need(AccountRole.ADMINISTRATOR)
        before = self.newest()
        return self._noted(person, "save rules", before, self._book.save(text, person.name, reason, after=after))

    def roll_back(self, person: Person, number: int, reason: str = "") -> RuleVersion:
        """Put an earlier version in force again; raises as `RuleBook.roll_back`."""
        person.need(AccountRole.ADMINISTRATOR)
        before = self.newest()
        return self._noted(person, "roll back rules", before, self._book.roll_back(number, person.name, reason))

    def stop(self) -> None:
        """End a trial that is under way."""
        self._trials.stop()

    def _noted(self, person: Person, action: str, before: int, made: RuleVersion) -> RuleVersion:
        after = {"version": made.number, "reason": made.reason}
        act = Act(
            self._clock(), person.name, person.address, action, f"version {made.number}", {"version": before}, after
        )
        self._ledger.trail.note(act)
        return made
