"""Are the settings that `node.toml` and `rules.toml` give to pipelines known to them? Faults name file and line."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from dicom_node import catalogue
from dicom_node.contract import SettingValue, checked_settings
from dicom_node.errors import Fault, PipelineUnknown, SettingsInvalid
from dicom_node.routing import RuleSet
from dicom_node.settings import Settings
from dicom_node.toml_source import KeyPath, read_toml

#: Where a table of settings stands in its file -> the pipeline, and what it is given.
_Given = Mapping[KeyPath, tuple[str, Mapping[str, SettingValue]]]


def rule_setting_faults(rules: RuleSet, text: str) -> list[Fault]:
    """Return what is wrong with the `settings` of every rule of a text."""
    given: _Given = {
        ("rule", number, "settings"): (rule.pipeline, rule.settings) for number, rule in enumerate(rules.rules)
    }
    return _all_faults(given, text)


def check_node_settings(settings: Settings, config: Path) -> None:
    """Check the tables `[pipelines.NAME]` of `node.toml`.

    Raises
    ------
    SettingsInvalid
        With every fault as "file:line: what is wrong".
    """
    given: _Given = {("pipelines", pipeline): (pipeline, values) for pipeline, values in settings.pipelines.items()}
    faults = _all_faults(given, config.read_text(encoding="utf-8"))
    if faults:
        raise SettingsInvalid.of(str(config), faults)


def _all_faults(given: _Given, text: str) -> list[Fault]:
    found = [
        ((*path, key), fault)
        for path, (pipeline, values) in given.items()
        for key, fault in _faults(pipeline, values)
    ]
    if not found:
        return []  # places are looked up for faults alone: a text is long, and mostly right
    source = read_toml(text)
    return [Fault(*source.place(path), fault) for path, fault in found]


def _faults(pipeline: str, values: Mapping[str, SettingValue]) -> Iterator[tuple[str, str]]:
    try:
        wanted = catalogue.find(pipeline).settings
    except PipelineUnknown as error:
        # with no setting there is nothing to check; an unknown pipeline of a rule is a fault of the rule
        yield from ((key, str(error)) for key in list(values)[:1])
        return
    for key, value in values.items():
        _, faults = checked_settings(wanted, {key: value})
        yield from ((key, f"{pipeline}: {fault}") for fault in faults)
