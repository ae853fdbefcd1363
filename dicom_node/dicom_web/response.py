"""The Store Instances Response Module (PS3.18 10.5.3, Annex I.2), as DICOM JSON (Annex F) or XML (PS3.19 A.1)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree as ET

from dicom_node.dicom_web.dicom_json import DataSet, values

_REFERENCED_SOP_SEQUENCE: Final = "00081199"
_FAILED_SOP_SEQUENCE: Final = "00081198"
_REFERENCED_SOP_INSTANCE_UID: Final = "00081155"
_WARNING_REASON: Final = "00081196"
_FAILURE_REASON: Final = "00081197"
_STATUSES: Final = range(0x10000)


@dataclass(frozen=True, slots=True)
class Told:
    """What a server says of each instance.

    Parameters
    ----------
    stored : mapping of SOP Instance UID to int or None
        Warning Reason (0008,1196), None where there is none.
    failed : mapping of SOP Instance UID to int or None
        Failure Reason (0008,1197), None where the server gives none.
    """

    stored: Mapping[str, int | None] = field(default_factory=dict)
    failed: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def anything(self) -> bool:
        """Whether any instance was mentioned."""
        return bool(self.stored or self.failed)


def told(body: bytes) -> Told:
    """Return what an answer says; nothing, if it is not one of the kind."""
    data_set = _data_set(body.strip())
    return Told(
        dict(_references(data_set, _REFERENCED_SOP_SEQUENCE, _WARNING_REASON)),
        dict(_references(data_set, _FAILED_SOP_SEQUENCE, _FAILURE_REASON)),
    )


def _data_set(body: bytes) -> DataSet:
    try:
        if body.startswith(b"<"):
            return _from_xml(body)
        found = json.loads(body)
    except (ValueError, LookupError, RecursionError, ET.ParseError):  # LookupError: an encoding that nobody knows
        return {}
    # some servers answer with a list of one data set
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, dict) else {}


def _references(data_set: DataSet, sequence: str, reason: str) -> Iterator[tuple[str, int | None]]:
    for item in values(data_set, sequence):
        if isinstance(item, Mapping):
            for uid in values(item, _REFERENCED_SOP_INSTANCE_UID)[:1]:
                yield str(uid).strip("\0 "), _status(values(item, reason))


def _status(values: list[Any]) -> int | None:
    try:
        status = int(values[0])
    except (IndexError, TypeError, ValueError, OverflowError):
        return None
    return status if status in _STATUSES else None


def _from_xml(body: bytes) -> DataSet:
    """Return what would be the same in DICOM JSON."""
    # entities are what makes XML of a stranger dangerous, and the Native DICOM Model has none; a zero byte: UTF-16,
    # in which they would look otherwise
    if b"<!" in body or b"\0" in body:
        return {}
    return _element_tree(ET.fromstring(body))  # noqa: S314


def _element_tree(parent: ET.Element) -> DataSet:
    found: dict[str, Any] = {}
    for element in parent:
        if _local(element) == "DicomAttribute":
            found_values: list[Any] = [child.text or "" for child in element if _local(child) == "Value"]
            found_values += [_element_tree(child) for child in element if _local(child) == "Item"]
            found[element.get("tag", "").upper()] = {"Value": found_values}
    return found


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
