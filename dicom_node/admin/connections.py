"""Whom the node sends to and who may send to it: `[[destination]]` and `[[source]]`, changed while it runs.

Each action asks for its role, changes the file as `live_settings` allows, and leaves its line in the audit trail.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from dicom_node.admin.actions import NotFound, NotPossible
from dicom_node.admin.people import Person
from dicom_node.admin.rule_texts import free_name
from dicom_node.errors import SettingsInvalid
from dicom_node.ledger import AccountRole, Act, Ledger
from dicom_node.ledger.arrivals import RefusedSender
from dicom_node.lifecycle import UNDELIVERED, DeliveryState
from dicom_node.live_settings import FileNotWritable, FileOvertaken, LiveSettings, digest
from dicom_node.settings import ANY, Settings
from dicom_node.toml_source import TomlSyntaxError
from dicom_node.toml_tables import TableNotEditable, put_table, remove_table, table_of

#: Where in the file a fault stands; of a table that is not in the file yet, nobody wants to know.
_PLACE: Final = re.compile(r"^[^\n]*?:\d+: (?=\[\[)", re.MULTILINE)


class Kind(StrEnum):
    """Which tables of `node.toml`."""

    DESTINATION = "destination"
    SENDER = "source"


@dataclass(frozen=True, slots=True)
class Entry:
    """One table of `node.toml`.

    Parameters
    ----------
    values : mapping
        Its keys and values, as written there.
    digest : str
        Of the whole file: whoever changes it says what he started from.
    """

    name: str
    values: Mapping[str, Any]
    digest: str


class Connections:
    """The actions.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, live: LiveSettings, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._live = live
        self._ledger = ledger
        self._clock = clock

    def start(self, person: Person) -> str:
        """Return the digest of the file, for a change that begins now; raises NotPossible if there can be none."""
        person.need(AccountRole.ADMINISTRATOR)
        with _in_words():
            return digest(self._live.text())

    def get(self, person: Person, kind: Kind, name: str) -> Entry:
        """Return one destination or sender as it stands in the file; raises NotFound."""
        person.need(AccountRole.ADMINISTRATOR)
        with _in_words():
            text = self._live.text()
            values = table_of(text, kind, name)
        if values is None:
            raise NotFound(f"there is no [[{kind}]] {name!r} in node.toml")
        return Entry(name, values, digest(text))

    def put(self, person: Person, kind: Kind, name: str, values: Mapping[str, Any], after: str | None = None) -> bool:
        """Add a destination or sender, or change the one of that name; it holds at once.

        Parameters
        ----------
        after : str or None
            Digest of the file that the author started from; None: whatever it is now.

        Returns
        -------
        bool
            True if it was added.
        """
        person.need(AccountRole.ADMINISTRATOR)
        if values.get("name", name) != name:
            raise NotPossible(
                "the name stays: rules, deliveries and the audit trail know it; add another one instead"
            )
        with _in_words():
            text = self._live.text()
            before = table_of(text, kind, name)
            table = {"name": name, **{key: value for key, value in values.items() if key != "name"}}
            self._require_secrets(table, before or {})
            self._live.save(put_table(text, kind, table), after or digest(text))
        self._note(person, f"{'add' if before is None else 'change'} {_word(kind)}", name, before, table)
        return before is None

    def _require_secrets(self, table: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """Let nobody have any file of the node sent somewhere as a password; a person on the node may name others."""
        given = table.get("auth")
        if not isinstance(given, Mapping) or given == before.get("auth"):
            return
        for key, value in given.items():
            if key.endswith("_file") and not (isinstance(value, str) and self._live.keeps_secret(value)):
                raise NotPossible(
                    f"{key} must be in the folder of node.toml, or below it, such as secrets/archive-password; a "
                    "file elsewhere is named in node.toml itself"
                )

    def remove_sender(self, person: Person, name: str, after: str | None = None) -> None:
        """Let a sender in no more; its open associations go on."""
        before = self.get(person, Kind.SENDER, name)
        self._remove(Kind.SENDER, name, after)
        self._note(person, "remove sender", name, before.values, None)

    def remove_destination(
        self, person: Person, name: str, after: str | None = None, *, cancel: bool = False
    ) -> None:
        """Send to a destination no more.

        Parameters
        ----------
        cancel : bool
            Cancel what has not been delivered there; without that, such deliveries keep it from being removed.
        """
        before = self.get(person, Kind.DESTINATION, name)
        if rules := self._live.rules_for(name):
            named = ", ".join(map(repr, rules))
            raise NotPossible(f"{name} is named by the rule {named}: take it out there first, then remove it")
        self._require_nothing_left(name, cancel=cancel)
        self._remove(Kind.DESTINATION, name, after)
        cancelled = self._cancel(name) if cancel else 0  # what came since is held, and not lost
        self._ledger.trail.resume(name, person.name, self._clock())  # one of that name, added later, is not paused
        self._note(person, "remove destination", name, before.values, {"cancelled": cancelled} if cancelled else None)

    def undelivered(self, name: str) -> int:
        """Return how many objects a destination has not got, and does not get just now."""
        return len(self._of(name, *UNDELIVERED))

    def _require_nothing_left(self, name: str, *, cancel: bool) -> None:
        if self._of(name, DeliveryState.SENDING):
            raise NotPossible(f"something is being sent to {name} now: pause it, wait a moment, and try again")
        waiting, held = (len(self._of(name, state)) for state in UNDELIVERED)
        if (waiting or held) and not cancel:
            raise NotPossible(
                f"{name} has not got {waiting + held} object(s): {waiting} waiting, {held} held. Let them be "
                "delivered first, or cancel them with the removal"
            )

    def _of(self, name: str, *states: DeliveryState) -> list[int]:
        return [each.id for each in self._ledger.deliveries.in_state(*states) if each.destination == name]

    def _cancel(self, name: str) -> int:
        now = self._clock()
        return sum(self._ledger.deliveries.cancel(number, now) for number in self._of(name, *UNDELIVERED))

    def _remove(self, kind: Kind, name: str, after: str | None) -> None:
        with _in_words():
            text = self._live.text()
            self._live.save(remove_table(text, kind, name), after or digest(text))

    # -- refused senders ---------------------------------------------------------------------------------------------

    def allow(self, person: Person, calling: str, address: str) -> str:
        """Let a caller in that was turned away: by its AE title, from its address, and nothing more.

        Returns
        -------
        str
            The name of the sender that it is now: a new one, or that which has its AE title already.
        """
        person.need(AccountRole.ADMINISTRATOR)
        known = (
            each for each in self._ledger.arrivals.refused() if (each.calling, each.address) == (calling, address)
        )
        refused = next(known, None)
        if refused is None:
            raise NotFound("no such caller was turned away")
        if why := why_not_allowed(self._live.now, refused):
            raise NotPossible(why)
        name, table = self._letting_in(refused)
        with _in_words():
            text = self._live.text()
            before = table_of(text, Kind.SENDER, name)
            self._live.save(put_table(text, Kind.SENDER, table), digest(text))
        self._note(person, "allow sender", f"{calling} from {address}", before, table)
        return name

    def _letting_in(self, refused: RefusedSender) -> tuple[str, dict[str, Any]]:
        """Return the name and the table of the sender that a refused caller becomes."""
        sources = self._live.now.sources
        for source in sources:
            # another AE title of that sender would be let in from the new address, too
            if source.ae_titles == (refused.calling,) and not source.certificates:
                with _in_words():
                    table = table_of(self._live.text(), Kind.SENDER, source.name) or {}
                return source.name, {**table, "addresses": [*source.addresses, refused.address]}
        name = free_name([{"name": source.name} for source in sources], refused.calling)
        return name, {"name": name, "ae_titles": [refused.calling], "addresses": [refused.address]}

    def _note(
        self,
        person: Person,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        act = Act(self._clock(), person.name, person.address, action, subject, _told(before), _told(after))
        self._ledger.trail.note(act)


def is_allowed(settings: Settings, refused: RefusedSender) -> bool:
    """Return whether a caller that was turned away would be let in now."""
    return _calls_us(settings, refused) and any(
        source.is_called(refused.calling) and source.is_at(refused.address) and not source.certificates
        for source in settings.sources
    )


def why_not_allowed(settings: Settings, refused: RefusedSender) -> str:
    """Return why a new sender would not help a caller, and what would; empty if it would."""
    if not _calls_us(settings, refused):
        ours = ", ".join(_called(settings))
        return (
            f"{refused.calling} calls {refused.called!r}, which is not an AE title of this node ({ours}): correct it "
            "at the sender, or add it to called_ae_titles in node.toml"
        )
    if refused.calling == ANY:
        return f"{ANY!r} would let everybody in: add that sender by hand, if it is what you want"
    if is_allowed(settings, refused):
        return f"{refused.calling} from {refused.address} is allowed already: let it send again"
    for source in settings.sources:
        if source.is_called(refused.calling) and source.is_at(refused.address):
            return f"sender {source.name} must prove itself by a certificate: see `certificates` of that sender"
    return ""


def _calls_us(settings: Settings, refused: RefusedSender) -> bool:
    return refused.called.strip() in _called(settings)


def _called(settings: Settings) -> tuple[str, ...]:
    return settings.reception.called_ae_titles or (settings.node.ae_title,)


def _word(kind: Kind) -> str:
    return kind.name.lower()


def _told(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a table as the trail keeps it: of an address, nothing after a "?", which may be a secret."""
    if values is None:
        return None
    return {
        key: value.partition("?")[0] if isinstance(value, str) and "://" in value else value
        for key, value in values.items()
    }


@contextmanager
def _in_words() -> Iterator[None]:
    """Answer what a person can put right as such."""
    try:
        yield
    except SettingsInvalid as error:
        raise SettingsInvalid(_PLACE.sub("", str(error))) from error
    except (FileOvertaken, FileNotWritable, TableNotEditable) as error:
        raise NotPossible(str(error)) from error
    except TomlSyntaxError as error:
        raise NotPossible(f"node.toml has a fault in line {error.line}: {error}; mend that first") from error
