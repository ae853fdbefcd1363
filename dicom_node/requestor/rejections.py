"""A-ASSOCIATE-RJ (PS3.8 9.3.4) in words that say what to configure."""

from collections.abc import Mapping
from typing import Final

from dicom_node.entities import Peer
from dicom_node.errors import Failure, PeerRefused, PeerUnreachable

_PERMANENT: Final = 1
_UNEXPLAINED: Final = "it gives no reason: look at its log"
#: (source, reason), PS3.8 Table 9-21, and what an administrator can do about it.
_ADVICE: Final[Mapping[tuple[int, int], str]] = {
    (1, 2): "it does not speak DICOM's application context; is this a DICOM port?",
    (1, 3): "it does not know the calling AE title {calling}: add it at {peer}",
    (1, 7): "there is no AE title {peer} at that port: correct ae_title of the destination",
    (2, 2): "it does not speak this protocol version; is this a DICOM port?",
    (3, 1): "it is congested",
    (3, 2): "it has reached a limit of its own",
}


def rejected(peer: Peer, calling: str, result: int, source: int, reason: int) -> Failure:
    """Return the failure that a rejection is: PeerRefused if it is permanent, else PeerUnreachable."""
    advice = _ADVICE.get((source, reason), _UNEXPLAINED).format(calling=calling, peer=peer.ae_title)
    text = f"{peer} rejects the association: {advice}"
    return PeerRefused(text) if result == _PERMANENT else PeerUnreachable(text)


def silent(peer: Peer) -> PeerUnreachable:
    """Return the failure of a peer that cannot be connected to, or says nothing that is an answer."""
    return PeerUnreachable(f"{peer} does not answer: check that it runs, its host and port, and the firewall between")
