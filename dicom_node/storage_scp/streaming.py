"""C-STORE data sets go to disk as their fragments arrive; a 500 MB object never sits in memory.

pynetdicom can stream too (`_config.STORE_RECV_CHUNKED_DATASET`), but into the system's temporary folder, from which
no atomic rename into the store is possible, and a full disk would abort the association instead of answering 0xA700.
Its message object writes to any file-like object that it holds, so it is handed the store's.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom.association import Association as PeerAssociation
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.errors import CannotUnderstand, SopClassMismatch
from dicom_node.instance_store import Incoming, is_uid
from dicom_node.storage_scp.guarding import Pace, ProtocolViolated

#: Called with SOP Class UID, SOP Instance UID and transfer syntax UID; returns where the data set goes.
OpenPart = Callable[[str, str, str], Incoming]

#: Stands in a response for a UID that the request lacks or that no response can carry.
_NO_UID: Final = "0.0"
_MAX_UID: Final = 64
#: Requests that wait for their answers; each may hold an open file, and a peer that was given no window has one.
_MOST_WAITING: Final = 64


class StreamingPart:
    """The file that pynetdicom's message writes to: an `Incoming`, with the little more that pynetdicom asks for."""

    def __init__(self, part: Incoming) -> None:
        self.part = part
        self.file = self
        self.name = part.name

    def write(self, data: bytes) -> None:
        """Append a fragment."""
        self.part.write(data)

    def flush(self) -> None:
        """Leave flushing to `Incoming.complete`; pynetdicom asks for it after every fragment."""

    def close(self) -> None:
        """Close the file; pynetdicom then removes it if it is still under its temporary name."""
        self.part.close()


class StreamingDimse(DIMSEServiceProvider):
    """The DIMSE provider of one association, with C-STORE data sets diverted to files."""

    def __init__(self, association: PeerAssociation, open_part: OpenPart, pace: Pace) -> None:
        super().__init__(association)
        self._open_part = open_part
        self._pace = pace
        self._sending = threading.Lock()
        self._parts: list[Incoming] = []

    @property
    def receiving(self) -> bool:
        """Whether a message is only partly here."""
        return self.message is not None

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send one message whole: reports are sent from another thread than answers, and fragments must not mix."""
        with self._sending:
            super().send_msg(primitive, context_id)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA apart, so that a data set in the same PDU as its command finds its file open.

        Raises
        ------
        ProtocolViolated
            If the peer does not wait for its answers, or as `Pace.took` does.
        """
        if self.msg_queue.qsize() > _MOST_WAITING:
            raise ProtocolViolated(f"more than {_MOST_WAITING} requests at once")
        for context_id, data in primitive.presentation_data_value_list:
            self._pace.took(len(data), in_memory=self.message is None or self.message._data_set_file is None)  # noqa: SLF001 - see module
            fragment = P_DATA()
            fragment.presentation_data_value_list.append((context_id, data))
            super().receive_primitive(fragment)
            self._divert(context_id)
            if self.message is None:
                self._pace.ended()

    def discard(self) -> None:
        """Remove what an association that is gone left half received, or received and never handled."""
        for part in self._parts:
            part.discard()

    def _divert(self, context_id: int) -> None:
        message = self.message
        if not isinstance(message, C_STORE_RQ) or message._data_set_file is not None:  # noqa: SLF001 - see module
            return
        context = self.assoc._accepted_cx.get(context_id)  # noqa: SLF001 - see module
        if context is None:
            return  # pynetdicom aborts the association over a context that was not accepted
        command = message.command_set
        sop_class, sop_instance = _text(command, "AffectedSOPClassUID"), _text(command, "AffectedSOPInstanceUID")
        part = self._open_part(sop_class, sop_instance, str(context.transfer_syntax[0]))
        _refuse_wrong(part, command, sop_class, str(context.abstract_syntax), sop_instance)
        self._parts = [*(earlier for earlier in self._parts if not earlier.closed), part]
        message._data_set_file = StreamingPart(part)  # noqa: SLF001 - see module


def _refuse_wrong(part: Incoming, command: Dataset, sop_class: str, context: str, sop_instance: str) -> None:
    """Refuse a request whose UIDs are wrong, and make them such that pynetdicom can answer it at all.

    It finds the service by the SOP class of the request, and ends the association over a UID that it cannot repeat.
    """
    if sop_class != context:
        part.refuse(SopClassMismatch("SOP class of request and presentation context differ"))
        command.AffectedSOPClassUID = context
    if not is_uid(sop_instance):
        part.refuse(CannotUnderstand("Affected SOP Instance UID of the request is not a UID"))
    if not sop_instance or len(sop_instance) > _MAX_UID:
        command.AffectedSOPInstanceUID = _NO_UID


def _text(command: Dataset, keyword: str) -> str:
    value = command.get(keyword)
    return "" if value is None else str(value)
