"""Who calls, and how: one maker of associations for all that the node asks of peers, in the clear or over TLS."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from pynetdicom.association import Association as PeerAssociation
from pynetdicom.presentation import PresentationContext

from dicom_node.entities import Peer
from dicom_node.pace import Pace
from dicom_node.requestor.acse import Proposed
from dicom_node.requestor.association import Association, AssociationRejected, requested
from dicom_node.requestor.by_pynetdicom import Handler, carried
from dicom_node.requestor.rejections import rejected


@dataclass(frozen=True, slots=True)
class Requestor:
    """Opens associations to peers.

    Parameters
    ----------
    calling : str
        The AE title that this node calls itself by.
    timeout : float
        Longest wait for a connection, for an answer, and for a silent line, in seconds.
    tls : ssl.SSLContext or None
        What wraps every connection in TLS (PS3.15 B.12); None: in the clear.
    pace : Pace
        How fast objects may leave.
    """

    calling: str
    timeout: float
    tls: ssl.SSLContext | None = None
    pace: Pace = field(default_factory=lambda: Pace(0))

    @contextmanager
    def line(self, peer: Peer, contexts: Sequence[PresentationContext]) -> Iterator[Association]:
        """Open an association of our own, for C-STORE and C-ECHO, and release it afterwards.

        Raises
        ------
        PeerUnreachable, PeerRefused
            If it is not established.
        """
        proposed = [
            Proposed(str(context.abstract_syntax), tuple(map(str, context.transfer_syntax))) for context in contexts
        ]
        try:
            line = requested(peer, self.calling, proposed, self.timeout, self.tls, self.pace)
        except AssociationRejected as answer:
            raise rejected(peer, self.calling, answer.result, answer.source, answer.reason) from None
        try:
            yield line
        finally:
            line.release()

    def association(
        self,
        peer: Peer,
        contexts: Sequence[PresentationContext],
        roles: Sequence[Any] = (),
        handlers: Sequence[Handler] = (),
    ) -> AbstractContextManager[PeerAssociation]:
        """Open an association that pynetdicom carries, for every other service, and release it afterwards.

        It may have come without any accepted context.

        Raises
        ------
        PeerUnreachable, PeerRefused
            If it is not established.
        """
        return carried(peer, self.calling, contexts, self.timeout, self.tls, roles, handlers)
