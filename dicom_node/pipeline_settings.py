"""Are the settings that `node.toml` and `rules.toml` give to pipelines known to them? Faults name file and line."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from dicom_node import catalogue
from dicom_node.contract import SettingValue, checked_settings
from dicom_node.errors import PipelineUnknown, SettingsInvalid
from dicom_node.routing import RuleSet
from dicom_node.settings import Settings
from dicom_node.toml_source import KeyPath, read_toml

#: Where a table of settings stands in its file -> the pipeline, and what it is given.
_Given = Mapping[KeyPath, tuple[str, Mapping[str, SettingValue]]]


def check_rule_settings(rules: RuleSet, text: str, name: str) -> None:
    """Check the `settings` of every rule.

    Parameters
    ----------
    text, name : str
        The file that the rules were read from, and what to call it in faults.

    Raises
    ------
    SettingsInvalid
        With every fault as "file:line: what is wrong".
    """
    given: _Given = {
        ("rule", number, "settings"): (rule.pipeline, rule.settings) for number, rule in enumerate(rules.rules)
    }
    _raise_faults(given, text, name)


def check_node_settings(settings: Settings, config: Path) -> None:
    """Check the tables `[pipelines.NAME]` of `node.toml`.

    Raises
    ------
    SettingsInvalid
        With every fault as "file:line: what is wrong".
    """
    given: _Given = {("pipelines", pipeline): (pipeline, values) for pipeline, values in settings.pipelines.items()}
    _raise_faults(given, config.read_text(encoding="utf-8"), str(config))


def _raise_faults(given: Mapping[KeyPath, tuple[str, Mapping[str, SettingValue]]], text: str, name: str) -> None:
    source = read_toml(text)
    faults = [
        f"{name}:{source.line((*path, key))}: {fault}"
        for path, (pipeline, values) in given.items()
        for key, fault in _faults(pipeline, values)
    ]
    if faults:
        raise SettingsInvalid("\n".join(faults))


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
