"""Study Root queries (PS3.4 C.4.1) over an association that pynetdicom carries: identifiers, and their matches."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRootFind

from dicom_node.entities import Peer
from dicom_node.errors import PeerUnreachable, ServiceNotOffered

_PENDING: Final = frozenset({0xFF00, 0xFF01})


def require_accepted(association: Association, peer: Peer, sop_class_uid: str, service: str) -> None:
    """Raise ServiceNotOffered if a peer has not accepted a service."""
    if not any(context.abstract_syntax == sop_class_uid for context in association.accepted_contexts):
        raise ServiceNotOffered(f"{peer} does not accept {service}")


def identifier(level: str, keys: Mapping[str, str]) -> Dataset:
    """Return what asks at a level (PS3.4 C.4.1.1.3) for the keys that have a value; the others are return keys."""
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    if not all(value.isascii() for value in keys.values()):
        asked.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(asked, keyword, value or None)
    return asked


def matches(
    association: Association, peer: Peer, asked: Dataset, ended: Callable[[int | None], None]
) -> Iterator[Dataset]:
    """Yield the matches of one C-FIND.

    Parameters
    ----------
    ended : callable
        Told the last status, None if there was none; raises if that is no success.

    Raises
    ------
    PeerUnreachable
        If the peer has ended the association before.
    """
    try:
        for status, found in association.send_c_find(asked, StudyRootFind):
            code = status.get("Status")
            if code in _PENDING and found is not None:
                yield found
            elif code not in _PENDING:
                ended(code)
    except RuntimeError as error:
        raise PeerUnreachable(f"{peer} ended the association before it was asked") from error
