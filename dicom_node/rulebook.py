"""The rules in force: versions in the ledger, the file that people edit, and how one becomes the other.

The ledger's newest version is in force. A file that somebody has changed becomes a version if it has no fault; a
version that was saved elsewhere is written into the file. A faulty text is never taken, nor is an emptied file.
"""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from dicom_node import catalogue
from dicom_node.edited_file import EditedFile, FileState, state_of, write_whole
from dicom_node.errors import Failure, SettingsInvalid
from dicom_node.ledger import Ledger, RuleVersion
from dicom_node.pipeline_settings import rule_setting_faults
from dicom_node.routing import Reading, Recorder, RuleSet, digest, read_rules_text
from dicom_node.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that may be in force, the text that they were read from, and its version (0: of no ledger)."""

    parsed: RuleSet
    text: str
    version: int = 0
    digest: str = field(init=False)
    recorder: Recorder = field(init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What tells these rules from others."""
        return f"{self.version} {self.digest}"

    def __post_init__(self) -> None:
        """Prepare once what every routed study needs."""
        object.__setattr__(self, "digest", digest(self.parsed))
        object.__setattr__(self, "recorder", Recorder(self.parsed))


class RulesOvertaken(Failure):
    """Somebody else has saved another version since this one was begun."""


class RuleVersionUnknown(Failure):
    """There is no such version of the rules."""


def check_text(text: str, settings: Settings) -> Reading:
    """Return the rules of a text and every fault, checked against what is installed and set up."""
    destinations = {destination.name for destination in settings.destinations}
    archives = {archive.name for archive in settings.archives}
    reading = read_rules_text(text, catalogue.roles(), destinations, archives, settings.profile_names)
    if reading.faults:
        return reading
    return Reading(reading.rules, tuple(sorted(rule_setting_faults(reading.rules, text))))


def checked_rules(text: str, settings: Settings, name: str, version: int = 0) -> Rules:
    """Return the rules of a text.

    Raises
    ------
    SettingsInvalid
        With every fault as "name:line: what is wrong; what would be right".
    """
    reading = check_text(text, settings)
    if reading.faults:
        raise SettingsInvalid.of(name, reading.faults)
    return Rules(reading.rules, text, version)


def read_text(path: Path) -> str:
    """Return the text of a file of rules, its lines ended by LF; raises SettingsInvalid if it cannot be read."""
    try:
        return _lines(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        cure = "name a text file that this account may read; a node's own rules are those that [node] rules names"
        raise SettingsInvalid(f"{path}: cannot be read ({why}); {cure}") from error


def read_rules(settings: Settings) -> Rules:
    """Return the rules of the file that `node.toml` names; raises SettingsInvalid as `checked_rules`."""
    path = settings.node.rules
    return checked_rules(read_text(path), settings, str(path))


def text_difference(old: str, new: str, old_name: str, new_name: str) -> str:
    """Return the difference of two texts as a unified diff; empty if there is none."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), old_name, new_name, lineterm="")
    return "\n".join(lines)


class RuleBook:
    """The versions of one ledger, and the file of one node.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: Settings, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._versions = ledger.rules
        self._ledger = ledger
        self._clock = clock
        self._path = settings.node.rules
        self._file = EditedFile()
        self._owed = False  # whether the file does not say yet what is in force
        self._refused = 0  # a version that this node cannot use

    def take(self, settings: Settings) -> None:
        """Check rules against these settings from now on."""
        self._settings = settings
        self._refused = 0  # what could not be used may be usable now

    def version(self, number: int) -> RuleVersion:
        """Return one version; raises RuleVersionUnknown."""
        found = self._versions.get(number)
        if found is None:
            known = self._versions.latest_number()
            raise RuleVersionUnknown(f"there is no version {number} of the rules (the newest is {known})")
        return found

    @property
    def newest(self) -> int:
        """The number of the version in force; 0 if there is none."""
        return self._versions.latest_number()

    def in_force(self) -> Rules | None:
        """Return the newest version; None if there is none yet. Raises SettingsInvalid if this node cannot use it."""
        latest = self._versions.latest()
        if latest is None:
            return None
        return checked_rules(latest.text, self._settings, f"rules version {latest.number}", latest.number)

    def save(self, text: str, author: str, reason: str, *, after: int | None = None) -> RuleVersion:
        """Put a text in force as the next version; every node takes it within two seconds.

        Parameters
        ----------
        after : int or None
            The version that the author started from; None, to replace whatever is in force.

        Raises
        ------
        SettingsInvalid
            If the text has faults; nothing changes.
        RulesOvertaken
            If another version is in force than the author started from; nothing changes.
        """
        rules = checked_rules(text, self._settings, "rules")
        made = self._versions.add(text, rules.digest, author, reason, self._clock(), after=after)
        if made is None:
            latest = self._versions.latest()
            who = f"version {latest.number} by {latest.author}" if latest else "another version"
            raise RulesOvertaken(f"{who} was saved meanwhile: look at the difference, then save again")
        return made

    def roll_back(self, number: int, author: str, reason: str = "") -> RuleVersion:
        """Put the text of an earlier version in force again, as a new version; raises as `version` and `save`."""
        text = self.version(number).text
        return self.save(text, author, reason or f"back to version {number}")

    def difference(self, old: int, new: int) -> str:
        """Return the difference of two versions as a unified diff; version 0 is empty."""
        before, after = (self.version(number).text if number else "" for number in (old, new))
        return text_difference(before, after, f"version {old}", f"version {new}")

    # -- the file ----------------------------------------------------------------------------------------------------

    def start(self) -> Rules:
        """Return the rules to start with: the file if somebody changed it, else the newest version.

        Raises
        ------
        SettingsInvalid
            If neither the file nor the newest version can be used.
        """
        refused = ""
        try:
            self._take_text(state_of(self._path))
        except SettingsInvalid as error:
            if self._versions.latest() is None:
                raise
            refused = str(error)
            self._say_refused(refused)
        rules = self.in_force()
        if rules is None:
            raise SettingsInvalid(f"{self._path}: there are no rules")
        self._owed = not refused  # else whoever edited the file goes on with it
        self._write_owed(rules)
        return rules

    def refreshed(self, current: Rules) -> Rules:
        """Return the rules in force by now: those given, unless the file was edited or a version saved."""
        try:
            state = self._file.changed(self._path)
            if state is not None:
                self._take_text(state)
        except SettingsInvalid as error:
            self._say_refused(str(error))
        rules = self._newest(current)
        self._write_owed(rules)
        return rules

    def _write_owed(self, rules: Rules) -> None:
        """Let the file say what is in force, unless somebody is saving it: then first that is looked at."""
        if self._owed and self._file.settled(self._path):
            self._owed = False
            self._write_file(rules.text)

    def _newest(self, current: Rules) -> Rules:
        """Return the newest version, if it is another one than the current and can be used."""
        latest = self._versions.latest_number()
        if latest in (current.version, self._refused):
            return current
        try:
            rules = self.in_force() or current
        except SettingsInvalid as error:
            self._refused = latest
            self._say_refused(str(error))
            return current
        self._owed = True
        log.info("rules taken", count=len(rules.parsed.rules), version=rules.version)
        return rules

    def _take_text(self, state: FileState) -> None:
        """Make a version of the file if somebody has changed it; raises SettingsInvalid if it has faults."""
        try:
            self._take_edit(state)
        except SettingsInvalid:
            self._file.done(state)  # said once; after any other error, such as a locked ledger, it is read again
            raise

    def _take_edit(self, state: FileState) -> None:
        node, latest = self._settings.node.name, self._versions.latest()
        if latest is not None and not any(state):
            self._file.done(state)
            return  # a file that is gone is written again
        text = read_text(self._path)
        if latest is not None and state_of(self._path) != state:
            return  # it was changed again: the next looks see
        self._make_version(text, node, latest)
        self._file.done(state)

    def _make_version(self, text: str, node: str, latest: RuleVersion | None) -> None:
        if self._versions.seen_file(node) == _sha256(text):
            return
        if latest is None or _lines(latest.text) != text:
            rules = checked_rules(text, self._settings, str(self._path))
            self._refuse_emptied(rules, latest)
            said = f"{self._path.name} was changed on disk" if latest else f"first read from {self._path.name}"
            added = text, rules.digest, _owner(self._path), said
            while self._versions.add(*added, self._clock()) is None:
                continue  # another node was quicker, and has the number: this is the next one
        self._versions.note_file(node, _sha256(text))

    def _refuse_emptied(self, rules: Rules, latest: RuleVersion | None) -> None:
        """Refuse a file without any rule in the place of rules: more likely it was damaged than meant."""
        if not rules.parsed.rules and latest is not None and read_rules_text(latest.text).rules.rules:
            raise SettingsInvalid(
                f"{self._path}: there is no rule in it any more, so those in force stay; to really remove all rules, "
                "save the empty text on the page Rules, or: dicom-node rules import FILE"
            )

    def _write_file(self, text: str) -> None:
        """Let the file say what is in force, whole or not at all; a folder that may not be written is left alone."""
        try:
            if self._path.is_file():
                there = self._path.read_bytes()
                if _lines(there.decode("utf-8")) == _lines(text):
                    return
                self._set_aside(there)
            state = write_whole(self._path, text.encode())
        except (OSError, UnicodeDecodeError) as error:
            log.warning("rules file not written, the ledger has the rules", path=str(self._path), exc_info=error)
            return
        self._versions.note_file(self._settings.node.name, _sha256(text))
        self._file.done(state)

    def _set_aside(self, content: bytes) -> None:
        """Keep what somebody wrote into the file and was not taken: it may be an hour's work with one fault."""
        if self._versions.seen_file(self._settings.node.name) != _sha256(content.decode("utf-8")):
            kept = self._path.with_name(f"{self._path.name}.refused")
            kept.write_bytes(content)
            log.warning("rules with faults set aside, the file says what is in force", path=str(kept))

    def _say_refused(self, reason: str) -> None:
        log.warning("rules not taken, the former stay in force", reason=reason)
        self._ledger.note("rules not taken", reason, self._clock())


def _lines(text: str) -> str:
    """Return a text with its lines ended by LF: to end them by CR LF changes no rule (TOML 1.0)."""
    return text.replace("\r\n", "\n")


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return "unknown"


def _sha256(text: str) -> str:
    return hashlib.sha256(_lines(text).encode()).hexdigest()
