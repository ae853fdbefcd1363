"""The shipped `config/` works as it is, shows every setting, and its examples are right."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from dicom_node.routing import parse_rules
from dicom_node.settings import (
    BasicAuth,
    BearerToken,
    ClientTlsSettings,
    DicomDestination,
    DicomWebDestination,
    FolderDestination,
    OAuth2,
    Settings,
    load_settings,
    parse_settings,
)
from dicom_node.settings.destinations import PROTOCOLS

_CONFIG = Path(__file__).resolve().parents[2] / "config"
_ROLES = {"brain_extraction": ("t1",)}


def _uncommented(text: str) -> str:
    """Return a file with its commented examples in force; prose comments stay."""
    example = re.compile(r"^# (\[.*\]|[\w\".]+ = .*)$", re.MULTILINE)
    return example.sub(r"\1", text)


def test_node_toml_loads_and_holds_the_defaults() -> None:
    """What the file shows as default is the default, down to the last setting."""
    shown = load_settings(_CONFIG / "node.toml").model_dump()
    default = Settings().model_dump()
    for name in ("source", "destination"):
        assert shown.pop(f"{name}s")
        default.pop(f"{name}s")
    shown["node"].update(data=default["node"]["data"], rules=default["node"]["rules"])
    assert shown == default


def test_node_toml_works_on_loopback() -> None:
    """As shipped: anything on this computer may send, and a PACS is expected on this computer."""
    settings = load_settings(_CONFIG / "node.toml")
    assert settings.reception.address == "127.0.0.1"
    assert settings.sources[0].ae_titles == ("*",)
    assert settings.sources[0].addresses == ("127.0.0.1", "::1")
    pacs = settings.destinations[0]
    assert isinstance(pacs, DicomDestination)
    assert (pacs.name, pacs.ae_title, pacs.host, pacs.port) == ("pacs", "ORTHANC", "127.0.0.1", 4242)
    assert settings.node.rules == _CONFIG / "rules.toml"


def _keys(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


@pytest.mark.parametrize("section", sorted(set(Settings.model_fields) - {"pipelines"}))
def test_node_toml_shows_every_setting(section: str) -> None:
    """An administrator finds each setting in the file, with its comment, in force or as an example."""
    table: Any = tomllib.loads(_uncommented((_CONFIG / "node.toml").read_text()).replace('url = ""\n', ""))
    name = section.removesuffix("s") if section in ("sources", "destinations", "archives", "profiles") else section
    shown = table[name]
    keys = {key for entry in (shown if isinstance(shown, list) else [shown]) for key in entry}
    annotation = Settings.model_fields[section].annotation
    if section == "destinations":
        assert keys == {key for model in PROTOCOLS.values() for key in _keys(model)}
        return
    model = annotation.__args__[0] if isinstance(shown, list) else annotation
    assert keys == _keys(model)


@pytest.mark.parametrize(
    ("table", "models"),
    [("tls", [ClientTlsSettings]), ("auth", [BasicAuth, OAuth2, BearerToken])],
    ids=["tls", "auth"],
)
def test_node_toml_shows_every_setting_of_a_connection(table: str, models: list[type[BaseModel]]) -> None:
    """The tables within a [[destination]] or [[archive]], which are the same, are shown whole, too."""
    shown = tomllib.loads(_uncommented((_CONFIG / "node.toml").read_text()).replace('url = ""\n', ""))
    keys = {key for entry in shown["destination"] + shown["archive"] for key in entry.get(table, {})}
    assert keys == {key for model in models for key in _keys(model)}


def test_the_examples_of_node_toml_are_valid() -> None:
    """Uncommenting an example gives settings that load."""
    text = _uncommented((_CONFIG / "node.toml").read_text()).replace('url = ""\n', "")
    settings = parse_settings(text, "node.toml")
    assert len(settings.sources) == 2
    protocols = [(each.name, type(each)) for each in settings.destinations]
    assert protocols == [
        ("pacs", DicomDestination),
        ("research archive", DicomDestination),
        ("cloud archive", DicomWebDestination),
        ("second cloud archive", DicomWebDestination),
        ("share", FolderDestination),
    ]
    assert settings.ledger.url.startswith("postgresql")


def test_rules_toml_is_right_for_the_shipped_settings() -> None:
    """The shipped rule names a destination of the shipped node.toml, and every role of its pipeline."""
    destinations = [destination.name for destination in load_settings(_CONFIG / "node.toml").destinations]
    rules = parse_rules((_CONFIG / "rules.toml").read_text(), "rules.toml", _ROLES, destinations)
    assert [rule.name for rule in rules.rules] == ["brain volume"]


def test_the_examples_of_rules_toml_are_valid() -> None:
    """Uncommenting the examples gives rules that load."""
    text = (_CONFIG / "rules.toml").read_text()
    start = text.index("# [[rule]]")
    rules = parse_rules(text[:start] + _uncommented(text[start:]), "rules.toml", _ROLES, ["pacs", "research archive"])
    assert [rule.name for rule in rules.rules] == [
        *("brain volume", "stroke, first", "any other head", "localizers only", "new version, in the shadow"),
    ]
