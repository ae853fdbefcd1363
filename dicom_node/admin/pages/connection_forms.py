"""Forms of a destination and of a sender: the keys that matter as fields, all others as TOML: none is lost."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from nicegui import ui

from dicom_node.admin.actions import NotPossible
from dicom_node.admin.connections import Entry, Kind
from dicom_node.admin.pages.frame import Visit, show
from dicom_node.admin.pages.words import Html, tag
from dicom_node.admin.people import Person
from dicom_node.errors import SettingsInvalid
from dicom_node.settings import DEFAULT_PROFILE
from dicom_node.toml_tables import keys_text

_PROTOCOLS: Final = {"dicom": "DICOM (C-STORE)", "dicomweb": "DICOMweb (STOW-RS)", "folder": "Folder"}
#: Which fields a protocol has.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "dicom": ("ae_title", "host", "port", "tls", "ca"),
    "dicomweb": ("url",),
    "folder": ("path",),
}
_HINTS: Final = {
    Kind.DESTINATION: "Such as timeout_seconds, confirm, check_patient, calling_ae_title, [query], [auth]; paths of "
    "certificates and passwords, never these themselves.",
    Kind.SENDER: "Such as certificates, commitment_host, commitment_port.",
}


@dataclass(frozen=True, slots=True)
class _Form:
    """The fields of one form, and how they are read."""

    kind: Kind
    name: ui.input
    more: ui.textarea
    read: Callable[[Mapping[str, Any]], dict[str, Any]]


async def edit_destination(visit: Visit, name: str = "") -> bool:
    """Show the form of a destination, a new one if there is no name; return whether it was saved."""
    return await _edit(visit, Kind.DESTINATION, name, partial(_destination_fields, visit))


async def edit_sender(visit: Visit, name: str = "") -> bool:
    """Show the form of a sender, a new one if there is no name; return whether it was saved."""
    return await _edit(visit, Kind.SENDER, name, _sender_fields)


async def _edit(visit: Visit, kind: Kind, name: str, fields: Callable[[str, dict[str, Any]], _Form]) -> bool:
    entry, started = await _begun(visit, kind, name)
    if started is None:
        return False
    word = kind.name.lower()
    with ui.dialog().props("persistent") as dialog, ui.card().classes("form"):
        show(tag("h2", f"{word.capitalize()} {name}" if name else f"New {word}"))
        form = fields(name, dict(entry.values) if entry else {})
        _end(visit, dialog, form, started, is_new=not name)
    saved = bool(await dialog)
    dialog.delete()
    return saved


async def _begun(visit: Visit, kind: Kind, name: str) -> tuple[Entry | None, str | None]:
    """Return what is to be edited, and the digest of the file it is in; None if nothing can be edited."""
    connections = visit.office.connections
    if not name:
        return None, await visit.get(connections.start)
    entry = await visit.get(lambda person: connections.get(person, kind, name))
    return entry, entry.digest if entry else None


def _field(label: str, value: object = "", hint: str = "") -> ui.input:
    field = ui.input(label, value=str(value)).props("outlined dense")
    return field.props(f'hint="{hint}"') if hint else field


def _name_field(name: str) -> ui.input:
    field = _field("Name", name, "" if name else "What rules and pages call it; it stays")
    if name:
        field.props("readonly")
    return field


def _destination_fields(visit: Visit, name: str, values: dict[str, Any]) -> _Form:
    tls = dict(values.pop("tls", {})) if values.get("protocol", "dicom") == "dicom" else {}
    given = {key: values.pop(key, "") for key in ("protocol", "profile", "ae_title", "host", "port", "url", "path")}
    ca = tls.pop("ca", "")
    profiles = list(visit.office.settings.profile_names)
    named = _name_field(name)
    protocol = ui.select(_PROTOCOLS, value=given["protocol"] or "dicom", label="Protocol").props("outlined dense")
    fields: dict[str, Any] = {
        "ae_title": _field("AE title", given["ae_title"]),
        "host": _field("Host", given["host"], "Name or IP address"),
        "port": ui.number("Port", value=given["port"] or None, min=1, max=65535, precision=0).props("outlined dense"),
        "tls": ui.checkbox("DICOM over TLS", value=bool(tls or ca)),
        "ca": _field("CA file", ca, "Path on the node; empty: the CAs that its computer trusts"),
        "url": _field("Address (URL)", given["url"], "What objects are posted to: https://.../studies"),
        "path": _field("Folder", given["path"], "Path on the node; it must exist"),
    }
    profile = ui.select(profiles, value=given["profile"] or DEFAULT_PROFILE, label="Profile: what it is sent")
    profile.props("outlined dense")
    fields["ca"].bind_enabled_from(fields["tls"], "value")
    for kind, keys in _FIELDS.items():
        for key in keys:
            fields[key].bind_visibility_from(protocol, "value", value=kind)
    more = _more(Kind.DESTINATION, values | ({"tls": tls} if tls else {}))

    def read(others: Mapping[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {"protocol": protocol.value, "profile": profile.value}
        told = {key: value for key, value in told.items() if given[key] or value not in ("dicom", DEFAULT_PROFILE)}
        told |= {key: fields[key].value for key in _FIELDS[protocol.value] if key not in ("tls", "ca")}
        if told.get("port") is not None:
            told["port"] = int(told["port"])
        told |= others
        if protocol.value == "dicom" and fields["tls"].value:
            told["tls"] = {**others.get("tls", {}), **({"ca": fields["ca"].value} if fields["ca"].value else {})}
        elif protocol.value == "dicom":
            told.pop("tls", None)
        return {key: value for key, value in told.items() if value not in ("", None)}

    return _Form(Kind.DESTINATION, named, more, read)


def _sender_fields(name: str, values: dict[str, Any]) -> _Form:
    named = _name_field(name)
    lists = {
        "ae_titles": _field("AE titles", ", ".join(values.pop("ae_titles", ())), "Several with commas; * for any"),
        "addresses": _field(
            "Addresses", ", ".join(values.pop("addresses", ())), "IP addresses or networks (10.1.0.0/16); * for any"
        ),
    }
    more = _more(Kind.SENDER, values)

    def read(others: Mapping[str, Any]) -> dict[str, Any]:
        told = {
            key: [part.strip() for part in field.value.split(",") if part.strip()] for key, field in lists.items()
        }
        return told | dict(others)

    return _Form(Kind.SENDER, named, more, read)


def _more(kind: Kind, values: Mapping[str, Any]) -> ui.textarea:
    others = {key: value for key, value in values.items() if key != "name"}
    area = ui.textarea("Other keys, as in node.toml", value=keys_text(others))
    area.props(f'outlined dense autogrow hint="{_HINTS[kind]}"').classes("code")
    return area


def _names(visit: Visit, kind: Kind) -> set[str]:
    settings = visit.office.settings
    return {each.name for each in (settings.destinations if kind is Kind.DESTINATION else settings.sources)}


def _end(visit: Visit, dialog: ui.dialog, form: _Form, started: str, *, is_new: bool) -> None:
    """Add the buttons; what is wrong is said below the fields, which stay as they are."""
    fault = show(Html(""))

    def _say(what: str) -> None:
        fault.content = tag("p", what, role="alert", class_="said")

    async def save() -> None:
        fault.content = ""
        try:
            values = form.read(tomllib.loads(form.more.value or ""))
        except tomllib.TOMLDecodeError as error:
            _say(f"Other keys: {error}")
            return
        name = (form.name.value or "").strip()
        if not name:
            _say("Name is empty: rules and pages need one.")
            return
        if is_new and name in _names(visit, form.kind):
            _say(f"There is a {name} already: edit that one, or choose another name.")
            return
        said = await visit.get(lambda person: _put(visit, person, form.kind, name, values, started))
        if said == "":
            ui.notify(f"{name} is saved, and in force", type="positive")
            dialog.submit(True)
        elif said:
            _say(said)

    with ui.row().classes("actions"):
        ui.button("Save", on_click=save).props("no-caps")
        ui.button("Leave it", on_click=lambda: dialog.submit(False)).props("flat no-caps")


def _put(visit: Visit, person: Person, kind: Kind, name: str, values: Mapping[str, Any], started: str) -> str:
    """Save; return what is wrong, if something is."""
    try:
        visit.office.connections.put(person, kind, name, values, started)
    except (NotPossible, SettingsInvalid) as error:
        return str(error)
    return ""
