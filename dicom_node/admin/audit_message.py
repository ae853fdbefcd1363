"""Lines of the audit trail as DICOM audit messages (PS3.15 A.5.1, by the tables of A.5.3); pure."""

import base64
import ipaddress
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree as ET

from pydicom.sr.coding import Code

from dicom_node.admin.audit_events import AUTHENTICATION, EXPORT, QUERY, SECURITY, USERS, Event, event_of
from dicom_node.ledger import Act

_STUDY_UID: Final = Code("110180", "DCM", "Study Instance UID")
_PATIENT_NUMBER: Final = Code("2", "RFC-3881", "Patient Number")
_SEARCH: Final = Code("10", "RFC-3881", "Search Criteria")
_URI: Final = Code("12", "RFC-3881", "URI")
_SOURCE: Final = Code("110153", "DCM", "Source Role ID")
_DESTINATION: Final = Code("110152", "DCM", "Destination Role ID")
_MEDIA: Final = Code("110154", "DCM", "Destination Media")
_MEDIUM: Final = Code("110037", "DCM", "URI")
#: RFC 3881 5.5.1, 5.5.2: a person as patient; a system object as report, master file, security resource, query.
_PATIENT, _STUDY, _FILE, _SECURITY_RESOURCE, _QUERIED = ("1", "1"), ("2", "3"), ("2", "5"), ("2", "13"), ("2", "24")
#: RFC 3881 5.3.1: machine name, IP address.
_MACHINE, _IP_ADDRESS = "1", "2"
_LONGEST_DETAIL: Final = 4096


@dataclass(frozen=True, slots=True)
class Subject:
    """The study that an act is about.

    Parameters
    ----------
    sop_classes : mapping of str to int
        SOP Class UID to how many instances the node has.
    """

    study_instance_uid: str
    patient_id: str
    sop_classes: dict[str, int]


def audit_message(act: Act, source: str, subject: Subject | None = None) -> bytes | None:
    """Return an act as XML in UTF-8; None for an act that the standard has no event for.

    Parameters
    ----------
    source : str
        Who reports: the node's name (Audit Source ID).
    """
    event = event_of(act)
    if event is None:
        return None
    message = ET.Element("AuditMessage")
    _identify(message, act, event)
    _add_participants(message, act, event, source)
    ET.SubElement(message, "AuditSourceIdentification", AuditSourceID=source)
    if subject is not None:
        _add_study(message, subject)
    elif event.id is SECURITY:
        _add_alert(message, act, event)
    elif event.id in (EXPORT, QUERY):
        _add_search(message, act)
    return bytes(ET.tostring(message, encoding="utf-8", xml_declaration=True))


def _identify(message: ET.Element, act: Act, event: Event) -> None:
    identification = ET.SubElement(
        message,
        "EventIdentification",
        EventActionCode=event.action,
        EventDateTime=datetime.fromtimestamp(act.at, UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=event.outcome,
    )
    _coded(identification, "EventID", event.id)
    if event.type is not None:
        _coded(identification, "EventTypeCode", event.type)
    told = act.after or {}
    # why somebody was not let in, and by whose word somebody was
    more = [str(told[name]) for name in ("reason", "by") if event.id is AUTHENTICATION and name in told]
    ET.SubElement(identification, "EventOutcomeDescription").text = ": ".join([act.action, *more])


def _add_participants(message: ET.Element, act: Act, event: Event, source: str) -> None:
    """Add who asked, and on whose behalf or whither (PS3.15 Tables A.5.3.4-1, A.5.3.10-1, A.5.3.12-1)."""
    person = ET.SubElement(message, "ActiveParticipant", UserID=act.who, UserIsRequestor="true")
    person.attrib |= _network(act.address)
    if event.id in (EXPORT, QUERY):
        _coded(person, "RoleIDCode", _SOURCE)
    if event.id in (AUTHENTICATION, QUERY):
        node = ET.SubElement(message, "ActiveParticipant", UserID=source, UserIsRequestor="false")
        if event.id is QUERY:
            _coded(node, "RoleIDCode", _DESTINATION)
    if event.id is EXPORT:
        medium = ET.SubElement(message, "ActiveParticipant", UserID=act.address or "-", UserIsRequestor="false")
        medium.attrib |= _network(act.address)
        _coded(medium, "RoleIDCode", _MEDIA)
        _coded(ET.SubElement(medium, "MediaIdentifier"), "MediaType", _MEDIUM)


def _network(address: str) -> dict[str, str]:
    """Return where somebody asks from, as attributes."""
    if not address:
        return {}
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": _MACHINE}
    return {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": _IP_ADDRESS}


def _add_study(message: ET.Element, subject: Subject) -> None:
    """Add the study and its patient (PS3.15 Table A.5.3.6-1)."""
    study = _add_object(message, subject.study_instance_uid, _STUDY, _STUDY_UID)
    ET.SubElement(study, "ParticipantObjectName").text = subject.study_instance_uid
    description = ET.SubElement(study, "ParticipantObjectDescription")
    for uid, count in sorted(subject.sop_classes.items()):
        ET.SubElement(description, "SOPClass", UID=uid, NumberOfInstances=str(count))
    if subject.patient_id:
        patient = _add_object(message, subject.patient_id, _PATIENT, _PATIENT_NUMBER)
        ET.SubElement(patient, "ParticipantObjectName").text = subject.patient_id


def _add_alert(message: ET.Element, act: Act, event: Event) -> None:
    """Add what was changed, from what to what (PS3.15 Table A.5.3.11-1)."""
    role = _SECURITY_RESOURCE if event.type is USERS else _FILE
    changed = _add_object(message, act.subject, role, _URI)
    ET.SubElement(changed, "ParticipantObjectName").text = act.subject
    told = {"action": act.action, "before": act.before, "after": act.after}
    text = json.dumps(told, ensure_ascii=False, default=str)[:_LONGEST_DETAIL]
    ET.SubElement(changed, "ParticipantObjectDetail", type="Alert Description", value=_base64(text))


def _add_search(message: ET.Element, act: Act) -> None:
    """Add what was searched for: a query has no name (PS3.15 A.5.1)."""
    asked = _add_object(message, act.subject, _QUERIED, _SEARCH)
    ET.SubElement(asked, "ParticipantObjectQuery").text = _base64(json.dumps(act.after or {}, ensure_ascii=False))


def _add_object(message: ET.Element, name: str, kind: tuple[str, str], name_kind: Code) -> ET.Element:
    given = {"ParticipantObjectTypeCode": kind[0], "ParticipantObjectTypeCodeRole": kind[1]}
    added = ET.SubElement(message, "ParticipantObjectIdentification", {"ParticipantObjectID": name, **given})
    _coded(added, "ParticipantObjectIDTypeCode", name_kind)
    return added


def _coded(parent: ET.Element, name: str, code: Code) -> None:
    coded = {"csd-code": code.value, "codeSystemName": code.scheme_designator, "originalText": code.meaning}
    ET.SubElement(parent, name, coded)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
