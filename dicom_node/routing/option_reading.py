"""The options of a rule: destinations with their profiles, priority, schedule, completion."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from dicom_node.routing.attributes import attribute, closest, normal_path
from dicom_node.routing.condition_reading import known
from dicom_node.routing.reading import TableReader
from dicom_node.routing.rules import CompletionPolicy, Priority, PriorityFrom
from dicom_node.routing.schedule import EXAMPLE, Window
from dicom_node.toml_source import KeyPath, TomlSource

_LIST: Final = 'destinations must be a list of names from node.toml, such as ["pacs"]'
MOST_QUIET_SECONDS: Final = 86400


class OptionReader(TableReader):
    """Reads the options of a rule, checked against the names that `node.toml` has."""

    def __init__(
        self, source: TomlSource, destinations: Collection[str] | None, profiles: Collection[str] | None
    ) -> None:
        super().__init__(source)
        self._destinations = destinations
        self._profiles = profiles

    def destination_names(self, table: Mapping[str, Any], path: KeyPath) -> tuple[str, ...]:
        """Return the names of the destinations."""
        given = table.get("destinations")
        if not isinstance(given, list) or not given:
            self.fault((*path, "destinations") if "destinations" in table else path, _LIST)
            return ()
        here: KeyPath = (*path, "destinations")
        names = [self._destination(one, (*here, index)) for index, one in enumerate(given)]
        for index, name in enumerate(names):
            if name and name in names[:index]:
                self.fault((*here, index), f"{name!r} stands twice among the destinations; take one out")
        return tuple(filter(None, names))

    def _destination(self, value: Any, path: KeyPath) -> str:
        name = value.get("name") if isinstance(value, dict) else value
        if not isinstance(name, str) or (isinstance(value, dict) and value.keys() != {"name", "profile"}):
            self.fault(path, f'{_LIST}, or [{{ name = "pacs", profile = "default" }}]')
            return ""
        self.known_destination(name, path)
        profile = value["profile"] if isinstance(value, dict) else None
        if profile is not None and self._profiles is not None and profile not in self._profiles:
            hint = closest(str(profile), self._profiles) or known(self._profiles)
            self.fault(path, f"there is no result profile {profile!r}{hint}")
        return name

    def known_destination(self, name: str, path: KeyPath) -> None:
        """Note a name that no destination has."""
        if self._destinations is not None and name not in self._destinations:
            hint = closest(name, self._destinations) or known(self._destinations)
            self.fault(path, f"no [[destination]] is named {name!r}{hint}")

    def profiles(self, table: Mapping[str, Any]) -> Mapping[str, str]:
        """Return destination -> profile where a rule wants another one than the destination's own."""
        given = table.get("destinations")
        tables = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        return {str(one.get("name")): str(one.get("profile")) for one in tables}

    def priority(self, table: Mapping[str, Any], path: KeyPath) -> tuple[Priority, PriorityFrom | None]:
        """Return the priority, and the attribute that it comes from, if it does."""
        value = table.get("priority")
        if not isinstance(value, dict):
            return self.choice(table, "priority", path, Priority.ROUTINE), None
        here: KeyPath = (*path, "priority")
        self.unknown_keys(value, ("from", "otherwise", "terms"), here)
        keyword = normal_path(self.text(value, "from", here))
        with self.faults_at((*here, "from")):
            attribute(keyword) if keyword else None
        terms = self.table(value, "terms", here)
        meant = {term.upper(): self.choice(terms, term, (*here, "terms"), Priority.ROUTINE) for term in terms}
        return self.choice(value, "otherwise", here, Priority.ROUTINE), PriorityFrom(keyword, meant)

    def schedule(self, table: Mapping[str, Any], path: KeyPath) -> tuple[Window, ...]:
        """Return the windows in which jobs may start."""
        given = table.get("schedule", [])
        here: KeyPath = (*path, "schedule")
        if not isinstance(given, list) or ("schedule" in table and not given):
            self.fault(here, f'schedule must be a list of windows, such as ["{EXAMPLE}"]')
            return ()
        windows = [Window.read(one) if isinstance(one, str) else None for one in given]
        for index, (one, window) in enumerate(zip(given, windows, strict=True)):
            if window is None:
                self.fault(
                    (*here, index), f"schedule: {one!r} is no window; write weekdays and times as in {EXAMPLE!r}"
                )
        return tuple(window for window in windows if window is not None)

    def completion(self, table: Mapping[str, Any], path: KeyPath) -> CompletionPolicy | None:
        """Return when the rule takes a study for whole; None: as `node.toml` says."""
        if "completion" not in table:
            return None
        here: KeyPath = (*path, "completion")
        given = self.table(table, "completion", path)
        self.unknown_keys(given, ("quiet_seconds", "inputs_present", "count_from"), here)
        if isinstance(table["completion"], dict) and not given:
            self.fault(here, "completion is empty; known: quiet_seconds, inputs_present, count_from")
        count_from = self.optional(given, "count_from", here, "")
        if count_from:
            self.known_destination(count_from, (*here, "count_from"))
        return CompletionPolicy(
            self._quiet_seconds(given, here), self.optional(given, "inputs_present", here, default=False), count_from
        )

    def _quiet_seconds(self, given: Mapping[str, Any], path: KeyPath) -> float | None:
        value = given.get("quiet_seconds")
        if value is None:
            return None
        right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_QUIET_SECONDS
        if not right:
            self.fault((*path, "quiet_seconds"), f"quiet_seconds is {value!r}; it must be 0..{MOST_QUIET_SECONDS}")
        return float(value) if right else None
