"""Lines of the trail as DICOM audit messages: valid by the schema of PS3.15 A.5.1, and the right event of A.5.3."""

import base64
import itertools
import json
from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest

from dicom_node.admin.audit_message import Subject, audit_message
from dicom_node.ledger import Act

_CODED: Final = ({"csd-code", "codeSystemName", "originalText"}, {"displayName"}, ())
#: Element -> attributes that it must and may have, and its children in order: name, at least, at most (PS3.15 A.5.1).
_SCHEMA: Final[Mapping[str, tuple[set[str], set[str], tuple[tuple[str, int, float], ...]]]] = {
    "AuditMessage": (
        set(),
        set(),
        (
            ("EventIdentification", 1, 1),
            ("ActiveParticipant", 1, 99),
            ("AuditSourceIdentification", 1, 1),
            ("ParticipantObjectIdentification", 0, 99),
        ),
    ),
    "EventIdentification": (
        {"EventDateTime", "EventOutcomeIndicator"},
        {"EventActionCode"},
        (("EventID", 1, 1), ("EventTypeCode", 0, 99), ("EventOutcomeDescription", 0, 1)),
    ),
    "ActiveParticipant": (
        {"UserID", "UserIsRequestor"},
        {"AlternativeUserID", "UserName", "NetworkAccessPointID", "NetworkAccessPointTypeCode"},
        (("RoleIDCode", 0, 99), ("MediaIdentifier", 0, 1)),
    ),
    "MediaIdentifier": (set(), set(), (("MediaType", 1, 1),)),
    "AuditSourceIdentification": ({"AuditSourceID"}, {"AuditEnterpriseSiteID"}, (("AuditSourceTypeCode", 0, 99),)),
    "ParticipantObjectIdentification": (
        {"ParticipantObjectID"},
        {"ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole"},
        (
            ("ParticipantObjectIDTypeCode", 1, 1),
            ("ParticipantObjectName", 0, 1),
            ("ParticipantObjectQuery", 0, 1),
            ("ParticipantObjectDetail", 0, 99),
            ("ParticipantObjectDescription", 0, 99),
        ),
    ),
    "ParticipantObjectDetail": ({"type", "value"}, set(), ()),
    "ParticipantObjectDescription": (set(), set(), (("SOPClass", 0, 99),)),
    "SOPClass": ({"NumberOfInstances"}, {"UID"}, ()),
    **dict.fromkeys(("EventID", "EventTypeCode", "RoleIDCode", "MediaType", "ParticipantObjectIDTypeCode"), _CODED),
    **dict.fromkeys(
        ("EventOutcomeDescription", "ParticipantObjectName", "ParticipantObjectQuery"), (set(), set(), ())
    ),
}
_STUDY: Final = Subject("1.2.3", "P&<1>", {"1.2.840.10008.5.1.4.1.1.4": 3})


def _faults(element: ET.Element) -> list[str]:
    """Return where an element is not as the schema has it."""
    must, may, order = _SCHEMA[element.tag]
    given = set(element.attrib)
    faults = [f"{element.tag}: {given}"] if not must <= given <= must | may else []
    found = [(name, len(list(group))) for name, group in itertools.groupby(child.tag for child in element)]
    counts, names = dict(found), [name for name, _, _ in order]
    if [name for name, _ in found] != [name for name in names if name in counts]:
        faults.append(f"{element.tag}: {found}")
    faults += [f"{element.tag}: {name}" for name, least, most in order if not least <= counts.get(name, 0) <= most]
    if element.tag == "ParticipantObjectIdentification":
        one = {"ParticipantObjectName", "ParticipantObjectQuery"} & set(counts)
        faults += [] if len(one) == 1 else [f"{element.tag}: {one}"]
    return faults + [fault for child in element for fault in _faults(child)]


def _said(act: Act, subject: Subject | None = None) -> ET.Element:
    content = audit_message(act, "node1", subject)
    assert content is not None
    message = ET.fromstring(content)  # noqa: S314 - ours
    assert _faults(message) == []
    return message


def _act(action: str, subject: str = "x", after: Any = None, before: Any = None, study: str | None = None) -> Act:
    return Act(1.5, "ada", "10.1.2.3", action, subject, before, after, study)


@pytest.mark.parametrize(
    ("act", "event", "kind", "code", "outcome"),
    [
        (_act("log in", after={"role": "viewer"}), "110114", "110122", "E", "0"),
        (_act("log in", after={"role": "viewer", "by": "OpenID Connect"}), "110114", "110122", "E", "0"),
        (_act("log-in refused"), "110114", "110122", "E", "4"),
        (_act("log out"), "110114", "110123", "E", "0"),
        (_act("view study", study="1.2.3"), "110103", None, "R", "0"),
        (_act("view images", study="1.2.3"), "110103", None, "R", "0"),
        (_act("cancel job", after={"state": "cancelled"}, study="1.2.3"), "110103", None, "R", "0"),
        (_act("export list", "3 studies", {"modality": "MR"}), "110106", None, "R", "0"),
        (_act("search studies", "the list", {"search": "doe"}), "110112", None, "E", "0"),
        (_act("add account", "bob", {"role": "viewer"}), "110113", "110137", "E", "0"),
        (_act("drop token", "ci"), "110113", "110137", "E", "0"),
        (_act("pause destination", "pacs", {"paused": True}, {"paused": False}), "110113", "110128", "E", "0"),
        (_act("allow sender", "MR1", {"ae_title": "MR1"}), "110113", "110128", "E", "0"),
        (_act("save rules", "version 4", {"version": 4}, {"version": 3}), "110113", "110131", "E", "0"),
    ],
)
def test_each_act_is_the_event_of_the_standard(
    act: Act, event: str, kind: str | None, code: str, outcome: str
) -> None:
    """Event ID, type, action code and outcome indicator as in PS3.15 A.5.3; who, from where, and who reports."""
    message = _said(act, _STUDY if act.study_instance_uid else None)
    identification, person = message[0], message[1]
    codes = [each.get("csd-code") for each in identification if each.tag in ("EventID", "EventTypeCode")]
    assert codes == [event] + ([kind] if kind else [])
    assert (identification.get("EventActionCode"), identification.get("EventOutcomeIndicator")) == (code, outcome)
    assert identification.get("EventDateTime") == "1970-01-01T00:00:01.500+00:00"
    network = (person.get("NetworkAccessPointID"), person.get("NetworkAccessPointTypeCode"))
    assert (person.get("UserID"), person.get("UserIsRequestor"), network) == ("ada", "true", ("10.1.2.3", "2"))


def test_a_look_that_changes_nothing_of_a_study_is_no_event() -> None:
    """The standard has none for a destination that is tested."""
    assert audit_message(_act("test destination", "pacs"), "node1") is None


def test_a_study_is_named_with_its_patient() -> None:
    """PS3.15 Table A.5.3.6-1: the study with its SOP classes and how many of each, and the patient's ID."""
    message = _said(_act("view study", study="1.2.3"), _STUDY)
    study, patient = message.findall("ParticipantObjectIdentification")
    kinds = [
        tuple(each.get(f"ParticipantObject{name}") for name in ("ID", "TypeCode", "TypeCodeRole"))
        for each in (study, patient)
    ]
    assert kinds == [("1.2.3", "2", "3"), ("P&<1>", "1", "1")]
    assert [each[0].get("csd-code") for each in (study, patient)] == ["110180", "2"]
    (sop_class,) = study.iter("SOPClass")
    assert sop_class.attrib == {"UID": "1.2.840.10008.5.1.4.1.1.4", "NumberOfInstances": "3"}


def test_why_and_by_whose_word() -> None:
    """A refused log-in tells its reason, one by OpenID Connect says so; the node takes part as who authenticates."""
    refused = _said(_act("log-in refused", after={"reason": "ada: none of your groups has a role here"}))
    text = refused.findtext("EventIdentification/EventOutcomeDescription")
    assert text == "log-in refused: ada: none of your groups has a role here"
    entered = _said(_act("log in", after={"role": "viewer", "by": "OpenID Connect"}))
    assert entered.findtext("EventIdentification/EventOutcomeDescription") == "log in: OpenID Connect"
    assert [each.get("UserID") for each in entered.iter("ActiveParticipant")] == ["ada", "node1"]


def test_an_alert_says_what_became_of_what() -> None:
    """PS3.15 Table A.5.3.11-1: Alert Description, in base64, with before and after."""
    message = _said(_act("save rules", "version 4", {"version": 4}, {"version": 3}))
    (detail,) = message.iter("ParticipantObjectDetail")
    assert detail.get("type") == "Alert Description"
    told = json.loads(base64.b64decode(detail.get("value", "")))
    assert told == {"action": "save rules", "before": {"version": 3}, "after": {"version": 4}}


def test_a_search_is_told_as_it_was_asked() -> None:
    """The criteria in base64, for a query and for an export, which also names whither."""
    for action in ("search studies", "export list"):
        message = _said(_act(action, "the list", {"search": "döe"}))
        (query,) = message.iter("ParticipantObjectQuery")
        assert json.loads(base64.b64decode(query.text or "")) == {"search": "döe"}
    roles = [each.get("csd-code") for each in message.iter("RoleIDCode")]
    assert roles == ["110153", "110154"]


def test_who_has_no_ip_address_has_a_machine_s_name() -> None:
    """RFC 3881 5.3.1; the command line has none at all."""
    act = Act(1.5, "root (command line)", "", "add account", "bob", None, {"role": "viewer"})
    assert "NetworkAccessPointID" not in _said(act)[1].attrib
    named = Act(1.5, "ada", "workstation", "log in", "ada")
    assert _said(named)[1].get("NetworkAccessPointTypeCode") == "1"
