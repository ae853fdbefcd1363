"""The installed pipelines: what they are for, what they need and put out, and how their jobs went."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dicom_node import catalogue
from dicom_node.admin.office import Office
from dicom_node.admin.queries.pipeline_runs import History, history_of
from dicom_node.contract import Pipeline, Setting
from dicom_node.declarations import WeightDigests, Weights, outputs_of
from dicom_node.entities import FactValue
from dicom_node.errors import PipelineUnknown, SettingsInvalid
from dicom_node.rulebook import Rules

#: Of this process: a weight file is read once.
_DIGESTS: Final = WeightDigests()


@dataclass(frozen=True, slots=True)
class InputState:
    """One role that a pipeline wants a series for."""

    role: str
    title: str
    modality: str
    minimum_slices: int
    may_lack: bool
    prior: bool


@dataclass(frozen=True, slots=True)
class SettingState:
    """One setting.

    Parameters
    ----------
    value : str, int, float or bool
        In force, unless a rule gives another.
    given : bool
        True: by `[pipelines.NAME]` of node.toml; False: it is the default.
    by_rules : mapping
        Rule to the value that it gives instead.
    """

    name: str
    value: FactValue | bool
    default: FactValue | bool
    given: bool
    limits: str
    help: str
    by_rules: Mapping[str, FactValue | bool]


@dataclass(frozen=True, slots=True)
class PipelineState:
    """One pipeline.

    Parameters
    ----------
    fault : str
        Why it cannot be used; empty if it can.
    outputs : mapping
        What it says that it finds: name to a sentence; empty if it does not say.
    weights : Weights or None
        None if it declares no weight files.
    rules : tuple of str
        The rules in force that run it.
    """

    name: str
    package: str
    title: str = ""
    version: str = ""
    intended_use: str = ""
    fault: str = ""
    inputs: tuple[InputState, ...] = ()
    outputs: Mapping[str, str] | None = None
    settings: tuple[SettingState, ...] = ()
    weights: Weights | None = None
    rules: tuple[str, ...] = ()
    history: History | None = None


def pipeline_states(office: Office) -> tuple[PipelineState, ...]:
    """Return every installed pipeline, by name."""
    rules = _rules(office)
    return tuple(_state(office, name, point.value, rules) for name, point in sorted(catalogue.installed().items()))


def _rules(office: Office) -> Rules | None:
    try:
        return office.rules.read()
    except SettingsInvalid:  # the Rules page says what is wrong with them
        return None


def _state(office: Office, name: str, package: str, rules: Rules | None) -> PipelineState:
    history = history_of(office.ledger.engine, name)
    running = [] if rules is None else [rule for rule in rules.parsed.rules if rule.pipeline == name]
    used_by = tuple(rule.name for rule in running)
    try:
        pipeline = catalogue.find(name)
    except PipelineUnknown as error:
        return PipelineState(name, package, title=name, fault=str(error), rules=used_by, history=history)
    given = office.settings.pipelines.get(name, {})
    by_rules = {rule.name: rule.settings for rule in running}
    return PipelineState(
        name,
        package,
        title=pipeline.title,
        version=pipeline.version,
        intended_use=pipeline.intended_use,
        inputs=_inputs(pipeline),
        outputs=outputs_of(pipeline),
        settings=tuple(_setting(key, each, given, by_rules) for key, each in pipeline.settings.items()),
        weights=_DIGESTS.of(pipeline),
        rules=used_by,
        history=history,
    )


def _inputs(pipeline: Pipeline) -> tuple[InputState, ...]:
    return tuple(
        InputState(role, each.title, each.modality, each.minimum_slices, each.may_lack, each.prior)
        for role, each in pipeline.roles.items()
    )


def _setting(
    name: str, setting: Setting, given: Mapping[str, Any], by_rules: Mapping[str, Mapping[str, Any]]
) -> SettingState:
    return SettingState(
        name=name,
        value=given.get(name, setting.default),
        default=setting.default,
        given=name in given,
        limits=_limits(setting),
        help=setting.help,
        by_rules={rule: settings[name] for rule, settings in by_rules.items() if name in settings},
    )


def _limits(setting: Setting) -> str:
    """Return what a setting may be, in words; empty if anything of its type."""
    if setting.choices:
        return "one of " + ", ".join(map(str, setting.choices))
    low = "" if setting.at_least is None else f"from {setting.at_least:g}"
    high = "" if setting.at_most is None else f"to {setting.at_most:g}"
    return f"{low} {high}".strip()
