"""C-GET: objects that come on an association of our own go to disk as their fragments arrive."""

import queue
import time
from typing import Any, Final

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.errors import CannotUnderstand, Refusal
from dicom_node.requestor import leave_answers
from dicom_node.retrieving.keeping import Keeper
from dicom_node.storage_scp.guarding import Bounds, Pace
from dicom_node.storage_scp.streaming import StreamingDimse

_SUCCESS: Final = 0x0000
_MAXIMUM_PDU: Final = 131072
#: How often a wait looks whether the node ends.
_LOOK_SECONDS: Final = 0.5


class PatientDimse(StreamingDimse):
    """Waits for a message as long as its bytes come, and never beyond a deadline.

    Parameters
    ----------
    silence_seconds : float
        So long nothing may come.
    until : float
        Seconds of the monotonic clock.
    """

    def __init__(self, association: Association, keeper: Keeper, silence_seconds: float, until: float) -> None:
        bounds = Bounds(_MAXIMUM_PDU, silence_seconds, silence_seconds, silence_seconds, 0)
        super().__init__(association, keeper.open, Pace(bounds))
        self._stopped = keeper.stopped
        self._silence = silence_seconds
        self._until = until
        self._pieces = 0

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA, and note that something came."""
        self._pieces += 1
        super().receive_primitive(primitive)

    def get_msg(self, block: bool = False) -> tuple[Any, Any]:
        """Return the next message; (None, None) if none comes in time."""
        if not block:
            return super().get_msg(block=False)
        pieces, heard = self._pieces, time.monotonic()
        while not self._stopped() and (now := time.monotonic()) < min(heard + self._silence, self._until):
            try:
                return self.msg_queue.get(timeout=min(heard + self._silence - now, self._until - now, _LOOK_SECONDS))
            except queue.Empty:
                heard = heard if pieces == self._pieces else time.monotonic()
                pieces = self._pieces
        return None, None


def receive_on(association: Association, keeper: Keeper, silence_seconds: float, until: float) -> PatientDimse:
    """Have an association that was just established take objects to disk."""
    dimse = PatientDimse(association, keeper, silence_seconds, until)
    association.dimse = dimse
    leave_answers(association)
    return dimse


def store(event: evt.Event, keeper: Keeper) -> int:
    """Answer one C-STORE sub-operation: 0x0000 when bytes and row are safe."""
    held = event.request._dataset_file  # noqa: SLF001 - pynetdicom's place for it
    if held is None:
        return CannotUnderstand.status
    uids = str(event.request.AffectedSOPClassUID), str(event.request.AffectedSOPInstanceUID)
    refusal: Refusal | None = keeper.keep(held.part, *uids)
    return _SUCCESS if refusal is None else refusal.status
