"""The fields of one rule on the Rules page; each edit goes into the rule's values, and from there into the text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nicegui import ui

from dicom_node import catalogue
from dicom_node.contract import Setting
from dicom_node.errors import PipelineUnknown
from dicom_node.routing import LateImages, Priority
from dicom_node.settings import Settings

_LATE: Final = {
    str(LateImages.RERUN): "run again, in place of the earlier results",
    str(LateImages.ADD): "run again, beside the earlier results",
    str(LateImages.IGNORE): "ignore them",
}
_OWN: Final = "its own profile"


@dataclass(frozen=True)
class Known:
    """What a rule may name here."""

    pipelines: Mapping[str, Sequence[str]]
    destinations: Sequence[str]
    profiles: Sequence[str]

    @classmethod
    def of(cls, settings: Settings) -> "Known":
        """Return what a node knows; imports the pipelines."""
        roles = {name: tuple(wanted) for name, wanted in catalogue.roles().items()}
        destinations = tuple(destination.name for destination in settings.destinations)
        return cls(roles, destinations, settings.profile_names)


class Fields:
    """Fields that write into the values of a rule.

    Parameters
    ----------
    changed : callable
        Called after every edit.
    """

    def __init__(self, rule: dict[str, Any], known: Known, changed: Callable[[], None]) -> None:
        self._rule = rule
        self._known = known
        self._changed = changed

    def put(self, key: str, value: Any, default: Any = None) -> None:
        """Take a value; what is the default need not stand in the text."""
        if value == default or value is None:
            self._rule.pop(key, None)
        else:
            self._rule[key] = value
        self._changed()

    def text(self, key: str, label: str, hint: str = "") -> ui.input:
        """Draw a line of text."""
        field = ui.input(label, value=str(self._rule.get(key, "")), placeholder=hint)
        field.on_value_change(lambda event: self.put(key, event.value, ""))
        return field.props("outlined dense debounce=300").classes("grow")

    def switch(self, key: str, label: str, *, default: bool = False) -> None:
        """Draw a switch."""
        field = ui.switch(label, value=bool(self._rule.get(key, default)))
        field.on_value_change(lambda event: self.put(key, bool(event.value), default))

    def destinations(self) -> None:
        """Draw where results go, and with which profile."""
        given = self._rule.get("destinations", [])
        profiles = {each["name"]: each.get("profile") for each in given if isinstance(each, dict) and "name" in each}
        names = [each.get("name", "") if isinstance(each, dict) else str(each) for each in given]

        def write() -> None:
            chosen = [
                {"name": name, "profile": profiles[name]} if profiles.get(name) else name for name in field.value
            ]
            self.put("destinations", chosen)

        def profile_of(name: str, chosen: str) -> None:
            profiles[name] = None if chosen == _OWN else chosen
            write()

        options = list(dict.fromkeys((*self._known.destinations, *names)))
        field = ui.select(options, value=names, multiple=True, label="Destinations", on_change=write)
        field.props("outlined dense use-chips").classes("grow")
        choices = [_OWN, *dict.fromkeys((*self._known.profiles, *filter(None, profiles.values())))]
        for name in names:
            chosen = ui.select(choices, value=profiles.get(name) or _OWN, label=f"Profile for {name}")
            chosen.on_value_change(lambda event, name=name: profile_of(name, event.value))
            chosen.props("outlined dense")

    def priority(self) -> None:
        """Draw the priority; one that comes from an attribute is edited in the text."""
        given = self._rule.get("priority", str(Priority.ROUTINE))
        if isinstance(given, dict):
            ui.label(f"Priority from {given.get('from', '?')}: see the text").classes("quiet")
            return
        options = [str(one) for one in Priority]
        field = ui.select(options if given in options else [*options, given], value=given, label="Priority")
        field.on_value_change(lambda event: self.put("priority", event.value, str(Priority.ROUTINE)))
        field.props("outlined dense")

    def late_images(self) -> None:
        """Draw what happens with images that come late."""
        given = str(self._rule.get("late_images", LateImages.RERUN))
        options = _LATE if given in _LATE else {**_LATE, given: given}
        field = ui.select(options, value=given, label="Late images")
        field.on_value_change(lambda event: self.put("late_images", event.value, str(LateImages.RERUN)))
        field.props("outlined dense").classes("grow")

    def schedule(self) -> None:
        """Draw when its jobs may start."""
        given = self._rule.get("schedule", [])
        text = "; ".join(map(str, given)) if isinstance(given, list) else str(given)
        field = ui.input(
            "Runs only at", value=text, placeholder="any time; or Mon-Fri 18:00-07:00; Sat,Sun 00:00-24:00"
        )
        field.on_value_change(lambda event: self.put("schedule", _windows(event.value), []))
        field.props("outlined dense debounce=300").classes("grow")

    def completion(self) -> None:
        """Draw when its study is whole."""
        given = dict(self._rule.get("completion") or {})

        def take(key: str, value: Any) -> None:
            given.pop(key, None)
            if value not in (None, "", False):
                given[key] = value
            self.put("completion", dict(given), {})

        quiet = ui.number("A silence of (s)", value=given.get("quiet_seconds"), min=0)
        quiet.on_value_change(lambda event: take("quiet_seconds", event.value))
        quiet.props("outlined dense clearable debounce=300").props("placeholder='as in node.toml'")
        options = list(dict.fromkeys(("", *self._known.destinations, given.get("count_from", ""))))
        count = ui.select(options, value=given.get("count_from", ""), label="The count of")
        count.on_value_change(lambda event: take("count_from", event.value))
        count.props("outlined dense")
        present = ui.switch("Every input is there", value=bool(given.get("inputs_present")))
        present.on_value_change(lambda event: take("inputs_present", bool(event.value)))

    def settings(self) -> None:
        """Draw the settings of its pipeline."""
        try:
            wanted = catalogue.find(str(self._rule.get("pipeline", ""))).settings
        except PipelineUnknown:
            return
        for name, setting in wanted.items():
            self._setting(name, setting)

    def _setting(self, name: str, setting: Setting) -> None:
        given = dict(self._rule.get("settings") or {})
        value = given.get(name, setting.default)

        def take(new: Any) -> None:
            now = dict(self._rule.get("settings") or {})
            now.pop(name, None)
            if new is not None and new != setting.default:
                now[name] = new
            self.put("settings", now, {})

        field: Any
        if setting.choices:
            choices = list(dict.fromkeys((*setting.choices, value)))
            field = ui.select(choices, value=value, label=name)
        elif isinstance(setting.default, bool):
            field = ui.switch(name, value=bool(value))
        elif isinstance(setting.default, int | float) and isinstance(value, int | float):
            field = ui.number(name, value=value, min=setting.at_least, max=setting.at_most)
        else:
            field = ui.input(name, value=str(value))
        whole = isinstance(setting.default, int) and not isinstance(setting.default, bool)
        field.on_value_change(
            lambda event: take(int(event.value) if whole and _is_whole(event.value) else event.value)
        )
        field.props("outlined dense debounce=300").tooltip(setting.help)


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _windows(text: str) -> list[str]:
    return [each.strip() for each in text.split(";") if each.strip()]
