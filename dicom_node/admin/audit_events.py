"""Which event of PS3.15 A.5.3 a line of the audit trail is; pure."""

from dataclasses import dataclass
from typing import Final

from pydicom.sr.coding import Code

from dicom_node.ledger import Act

#: A.5.3 and PS3.16 CID 400: what happened.
ACCESSED: Final = Code("110103", "DCM", "DICOM Instances Accessed")
AUTHENTICATION: Final = Code("110114", "DCM", "User Authentication")
EXPORT: Final = Code("110106", "DCM", "Export")
QUERY: Final = Code("110112", "DCM", "Query")
SECURITY: Final = Code("110113", "DCM", "Security Alert")
#: CID 401: of which kind.
_LOG_IN: Final = Code("110122", "DCM", "Login")
_LOG_OUT: Final = Code("110123", "DCM", "Logout")
_NETWORK: Final = Code("110128", "DCM", "Network Configuration")
_SOFTWARE: Final = Code("110131", "DCM", "Software Configuration")
USERS: Final = Code("110137", "DCM", "User Security Attributes Changed")
_REFUSED: Final = "log-in refused"
#: Words of an action that is about who the node speaks with.
_NETWORK_WORDS: Final = frozenset({"destination", "sender", "source", "archive"})
#: RFC 3881 5.1.4.
SUCCESS, MINOR_FAILURE = "0", "4"


@dataclass(frozen=True, slots=True)
class Event:
    """An event, and its type where it has one; `action` is C, R, U, D or E (RFC 3881 5.1.2)."""

    id: Code
    type: Code | None
    action: str
    outcome: str = SUCCESS


_EVENTS: Final = {
    "log in": Event(AUTHENTICATION, _LOG_IN, "E"),
    _REFUSED: Event(AUTHENTICATION, _LOG_IN, "E", MINOR_FAILURE),
    "log out": Event(AUTHENTICATION, _LOG_OUT, "E"),
    "export list": Event(EXPORT, None, "R"),
    "search studies": Event(QUERY, None, "E"),
    **dict.fromkeys(("add account", "change account", "add token", "drop token"), Event(SECURITY, USERS, "E")),
}


def event_of(act: Act) -> Event | None:
    """Return what an act is an event of; None if the standard has none for it.

    Whatever is done to a study is an access to it, and every other change is one of the node's configuration.
    """
    if act.action in _EVENTS:
        return _EVENTS[act.action]
    if act.study_instance_uid is not None:
        return Event(ACCESSED, None, "R")
    if act.before is None and act.after is None:
        return None
    is_network = _NETWORK_WORDS & {word.rstrip("s") for word in act.action.split()}
    return Event(SECURITY, _NETWORK if is_network else _SOFTWARE, "E")
