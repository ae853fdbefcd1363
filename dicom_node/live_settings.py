"""The settings in force: destinations and sources of `node.toml` change while the node runs, the rest at its start.

A page writes the file, or a person does; both are taken in the same way, whole or not at all. A faulty or an emptied
file is never taken, and said once.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from dicom_node.edited_file import EditedFile, state_of, write_whole
from dicom_node.errors import Failure, SettingsInvalid
from dicom_node.ledger import Ledger
from dicom_node.routing import Rule, read_rules_text
from dicom_node.settings import Settings, settings_from

log = structlog.get_logger(__name__)

#: Told the settings that hold from now on.
Taker = Callable[[Settings], None]


class FileOvertaken(Failure):
    """The settings file is not what the author started from."""


class FileNotWritable(Failure):
    """The settings file cannot be written here; the text says what to do."""


class LiveSettings:
    """What holds now, and the file that it comes from.

    Parameters
    ----------
    settings : Settings
        Those of the start.
    path : Path or None
        Of `node.toml`; None for a node that was started without one: nothing can be changed then.
    ledger : Ledger
        Whose rules in force name destinations.
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: Settings, path: Path | None, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._now = settings
        self._path = path
        self._ledger = ledger
        self._clock = clock
        self._takers: list[Taker] = []
        self._lock: Final = threading.RLock()
        self._file = EditedFile()  # it may have changed since it was read for the start

    @property
    def now(self) -> Settings:
        """What holds now."""
        return self._now

    def keeps_secret(self, name: str) -> bool:
        """Return whether a path names a file for secrets: one in the folder of the settings, or below it."""
        if self._path is None:
            return False
        own = self._path.resolve()
        try:
            path = (own.parent / Path(name).expanduser()).resolve()
        except (ValueError, RuntimeError):  # no path at all: with a NUL, of a user that there is not
            return False
        return path.is_relative_to(own.parent) and path != own

    def watch(self, taker: Taker) -> None:
        """Tell somebody of every change; on the thread of whoever makes it."""
        with self._lock:
            self._takers.append(taker)

    def text(self) -> str:
        """Return the text of the file.

        Raises
        ------
        FileNotWritable
            If there is no file that could be changed.
        """
        if self._path is None:
            raise FileNotWritable("this node was started without a settings file: there is nothing to change")
        try:
            return self._path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileNotWritable(f"{self._path} cannot be read any more: look at it on the node") from error

    def save(self, text: str, started_from: str) -> None:
        """Put a text in the place of the file, and in force.

        Parameters
        ----------
        started_from : str
            `digest` of the text that the author changed.

        Raises
        ------
        SettingsInvalid
            If it has faults, or rules in force need what it lacks; nothing changes.
        FileOvertaken
            If the file was changed meanwhile, or emptied; nothing changes.
        FileNotWritable
            If it cannot be written; nothing changes.
        """
        with self._lock:
            there = self.text()
            if digest(there) != started_from:
                raise FileOvertaken(f"{self._path} was changed meanwhile: load the page again, then make your change")
            if self._was_emptied(there):
                raise FileOvertaken(f"{self._path} was emptied: bring its text back first, this would be all of it")
            settings = self._usable(text)
            self._write(text)
            self._take(settings)

    def refresh(self) -> None:
        """Take what somebody has changed in the file; what has faults is not taken, and said once."""
        with self._lock:
            state = self._file.changed(self._path) if self._path is not None else None
            if self._path is None or state is None:
                return
            try:
                text = self.text()
                if state_of(self._path) != state:
                    return  # it was changed again: the next looks see
                self._take(self._whole(text))
            except (SettingsInvalid, FileNotWritable) as error:
                log.warning("settings not taken, the former stay in force", reason=str(error))
                self._ledger.note("settings not taken", str(error), self._clock())
            self._file.done(state)  # after any other error, such as a locked ledger, the file is read again

    def rules_for(self, name: str) -> tuple[str, ...]:
        """Return the names of the rules in force that send to a destination, or count by it."""
        return _naming(self._rules(), name)

    def _rules(self) -> tuple[Rule, ...]:
        latest = self._ledger.rules.latest()
        return () if latest is None else read_rules_text(latest.text).rules.rules

    def _whole(self, text: str) -> Settings:
        """Return the settings of a file that was not written by us; raises SettingsInvalid, too, if it is empty."""
        if self._was_emptied(text):
            raise SettingsInvalid(
                f"{self._path}: the file is empty, so destinations and sources stay as they are; to really remove "
                "them all, take their tables out and leave [node] in it, or remove them on the page"
            )
        return self._usable(text)

    def _was_emptied(self, text: str) -> bool:
        return not _says_something(text) and bool(self._now.destinations or self._now.sources)

    def _usable(self, text: str) -> Settings:
        """Return the settings that hold once a text is in force; raises SettingsInvalid."""
        if self._path is None:
            raise FileNotWritable("this node was started without a settings file")
        try:
            read, now = settings_from(text, self._path), self._now
        except (ValueError, RuntimeError) as error:
            raise SettingsInvalid("one of the paths is none: it has a NUL, or ~ with an unknown user") from error
        known = now.profile_names
        faults = [
            f"[[destination]] {each.name!r}: profile {each.profile!r} came into the file after the node's start; "
            "restart the node first"
            for each in read.destinations
            if each.profile not in known
        ]
        gone = sorted({each.name for each in now.destinations} - {each.name for each in read.destinations})
        rules = self._rules() if gone else ()
        for name in gone:
            if naming := _naming(rules, name):
                named = ", ".join(map(repr, naming))
                faults.append(f"destination {name!r} is named by the rule {named}: take it out there first")
        if faults:
            raise SettingsInvalid("\n".join(faults))
        return now.model_copy(update={"destinations": read.destinations, "sources": read.sources})

    def _take(self, settings: Settings) -> None:
        before, self._now = self._now, settings
        if (before.destinations, before.sources) == (settings.destinations, settings.sources):
            return
        for taker in self._takers:
            try:
                taker(settings)
            except Exception:  # boundary: one part's trouble, such as a locked ledger, is not the others'
                log.exception("a part has not taken the settings in full")
        counts = {"destinations": len(settings.destinations), "sources": len(settings.sources)}
        log.info("settings taken", reason=", ".join(f"{count} {what}" for what, count in counts.items()))

    def _write(self, text: str) -> None:
        """Write the file, whole or not at all, with the rights that it had."""
        if self._path is None:
            return
        try:
            self._file.done(write_whole(self._path, text.encode()))
        except OSError as error:
            raise FileNotWritable(
                f"{self._path.resolve()} cannot be written here ({error.strerror}): change it where it comes from, "
                "such as the folder that a container mounts read-only; the running node then takes its destinations "
                "and sources"
            ) from error


def digest(text: str) -> str:
    """Return what tells one text of the file from another."""
    return hashlib.sha256(text.encode()).hexdigest()


def _naming(rules: Iterable[Rule], name: str) -> tuple[str, ...]:
    """Return the names of the rules that need a destination."""
    return tuple(rule.name for rule in rules if name in _needed(rule))


def _needed(rule: Rule) -> tuple[str, ...]:
    """Return the destinations that a rule names."""
    counts = rule.completion.count_from if rule.completion is not None else ""
    return (*rule.destinations, *((counts,) if counts else ()))


def _says_something(text: str) -> bool:
    """Return whether a text has more than comments and space."""
    return any(line.strip() and not line.strip().startswith("#") for line in text.splitlines())
