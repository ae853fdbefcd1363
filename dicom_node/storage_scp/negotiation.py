"""Association negotiation with pynetdicom's PDUs (PS3.8 9.3.2, 9.3.3; PS3.7 Annex D.3.3).

A scanner proposes the same to every association, so answers are remembered by the bytes of the proposal. Proposals
with a user identity (PS3.7 D.3.3.7) are not: they may hold a password, and no password stays in memory.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.presentation import acceptable, is_ours, is_storage
from dicom_node.storage_scp.upper_layer import ProtocolFault

#: PS3.7 A.2.1: the DICOM Application Context Name.
_APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
#: Requests that a requestor may send before it has the answers; each holds an open file here.
WINDOW: Final = 8
#: PS3.4 B.3.1.2: level 2 (full) storage, bit-preserving for signatures, no coercion.
STORAGE_SERVICE: Final = b"\x02\x00\x03\x00\x00\x00"
_FIXED: Final = 74  # bytes of an A-ASSOCIATE PDU before its items
_HEAD: Final = struct.Struct(">BxIHxx16s16s32x")
_UNKNOWN_VERSION, _UNKNOWN_CONTEXT = (1, 2, 2), (1, 1, 2)
_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class Context:
    """One accepted presentation context."""

    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What an A-ASSOCIATE-RQ leads to, should its caller be admitted.

    Parameters
    ----------
    maximum_length : int
        Of PDUs that the requestor takes, in bytes; 0: any.
    window : int
        Requests that may be under way at once (PS3.7 D.3.3.3).
    foreign : bool
        True if a service is proposed that the fast path does not provide.
    fault : (int, int, int) or None
        The A-ASSOCIATE-RJ that the request itself calls for.
    answer : bytes
        The variable items of the A-ASSOCIATE-AC.
    """

    contexts: Mapping[int, Context]
    maximum_length: int
    window: int
    foreign: bool
    fault: tuple[int, int, int] | None
    answer: bytes
    private: bool = False
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def callers(pdu: bytes) -> tuple[str, str]:
    """Return calling and called AE title of an A-ASSOCIATE-RQ.

    Raises
    ------
    ProtocolFault
        If the PDU is too short to name them.
    """
    if len(pdu) < _FIXED:
        raise ProtocolFault("the association request is too short")
    _, _, _, called, calling = _HEAD.unpack_from(pdu)
    return calling.decode("ascii", "replace"), called.decode("ascii", "replace")


def negotiate(pdu: bytes, maximum_pdu: int) -> Negotiated:
    """Return what a requestor's A-ASSOCIATE-RQ leads to.

    Raises
    ------
    ProtocolFault
        If the PDU is damaged.
    """
    key = pdu[6:8] + pdu[_FIXED:]
    known = _remembered(maximum_pdu).get(key)
    if known is None:
        known = _negotiate(pdu, maximum_pdu)
        if not known.private:
            _remember(maximum_pdu, key, known)
    return known


@lru_cache(maxsize=4)
def _remembered(_maximum_pdu: int) -> dict[bytes, Negotiated]:
    return {}


def _remember(maximum_pdu: int, key: bytes, negotiated: Negotiated) -> None:
    memory = _remembered(maximum_pdu)
    if len(memory) >= _REMEMBERED:
        memory.pop(next(iter(memory)), None)
    memory[key] = negotiated


def _negotiate(pdu: bytes, maximum_pdu: int) -> Negotiated:
    try:
        request = A_ASSOCIATE_RQ()
        request.decode(pdu)
        primitive = request.to_primitive()
    except Exception as error:  # boundary: damaged items make pynetdicom raise anything
        raise ProtocolFault("the association request is damaged") from error
    nothing = Negotiated({}, 0, 1, foreign=False, fault=None, answer=b"")
    if not request.protocol_version & 1:
        return replace(nothing, fault=_UNKNOWN_VERSION)
    if str(primitive.application_context_name) != _APPLICATION_CONTEXT:
        return replace(nothing, fault=_UNKNOWN_CONTEXT)
    return _answered(primitive, maximum_pdu)


def _answered(request: A_ASSOCIATE, maximum_pdu: int) -> Negotiated:
    proposed = request.presentation_context_definition_list
    items = _Items(request.user_information)
    results, roles = negotiate_as_acceptor(
        proposed, acceptable(str(context.abstract_syntax) for context in proposed), items.roles
    )
    contexts = {
        context.context_id: Context(str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for context in results
        if context.result == 0
    }
    answer = A_ASSOCIATE()
    answer.application_context_name = _APPLICATION_CONTEXT
    answer.result = 0
    answer.presentation_context_definition_results_list = results
    accepted = {context.sop_class_uid for context in contexts.values()}
    answer.user_information = [*_ourselves(maximum_pdu), *items.window_answer(), *roles, *items.extended(accepted)]
    return Negotiated(
        contexts,
        items.maximum_length,
        items.window,
        foreign=not all(is_ours(str(context.abstract_syntax)) for context in proposed),
        fault=None,
        answer=_encoded_items(answer),
        private=items.private,
        accepted=told_accepted(context for context in results if context.result == 0),
        refused=told_refused(context for context in results if context.result != 0),
    )


def told_accepted(contexts: Iterable[PresentationContext]) -> tuple[str, ...]:
    """Return accepted presentation contexts as an association's record names them."""
    return tuple(f"{each.abstract_syntax} {each.transfer_syntax[0]}" for each in contexts)


def told_refused(contexts: Iterable[PresentationContext]) -> tuple[str, ...]:
    """Return refused presentation contexts, each with Result/Reason of the A-ASSOCIATE-AC (PS3.8 Table 9-18)."""
    return tuple(f"{each.abstract_syntax} (result {each.result})" for each in contexts)


def _encoded_items(answer: A_ASSOCIATE) -> bytes:
    pdu = A_ASSOCIATE_AC()
    # the AE titles are repeated from each request, not remembered
    answer.calling_ae_title = answer.called_ae_title = "X"
    pdu.from_primitive(answer)
    return bytes(pdu.encode())[_FIXED:]


def accept_pdu(request: bytes, negotiated: Negotiated) -> bytes:
    """Return the A-ASSOCIATE-AC to a request; its reserved fields repeat those of the request (PS3.8 9.3.3)."""
    _, _, _, called, calling = _HEAD.unpack_from(request)
    length = _FIXED - 6 + len(negotiated.answer)
    return _HEAD.pack(2, length, 1, called, calling) + negotiated.answer


def _ourselves(maximum_pdu: int) -> list[Any]:
    length = MaximumLengthNotification()
    length.maximum_length_received = maximum_pdu
    uid = ImplementationClassUIDNotification()
    uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return [length, uid, version]


class _Items:
    """The user information items of a request, and our answers to them."""

    def __init__(self, items: list[Any]) -> None:
        self.maximum_length = 0
        self.window = 1
        self.private = False
        self.roles: dict[Any, tuple[bool | None, bool | None]] = {}
        self._window: AsynchronousOperationsWindowNegotiation | None = None
        self._extended: list[SOPClassExtendedNegotiation] = []
        for item in items:
            self._read(item)

    def _read(self, item: Any) -> None:
        match item:
            case MaximumLengthNotification():
                self.maximum_length = item.maximum_length_received
            case SCP_SCU_RoleSelectionNegotiation():
                self.roles[item.sop_class_uid] = (item.scu_role, item.scp_role)
            case AsynchronousOperationsWindowNegotiation():
                self._window = item
                self.window = min(item.maximum_number_operations_invoked or WINDOW, WINDOW)
            case SOPClassExtendedNegotiation():
                self._extended.append(item)
            case UserIdentityNegotiation():
                # accepted without a positive response: identities are not checked (PS3.7 D.3.3.7.2)
                self.private = True

    def window_answer(self) -> list[Any]:
        """Answer an asynchronous operations window: as many as asked for, up to ours; we invoke none."""
        if self._window is None:
            return []
        item = AsynchronousOperationsWindowNegotiation()
        item.maximum_number_operations_invoked = self.window
        item.maximum_number_operations_performed = 1
        return [item]

    def extended(self, accepted: set[str]) -> list[Any]:
        """Answer SOP class extended negotiation for the storage classes that were accepted (PS3.4 B.3.1)."""
        return [
            storage_item(str(item.sop_class_uid))
            for item in self._extended
            if str(item.sop_class_uid) in accepted and is_storage(str(item.sop_class_uid))
        ]


def storage_item(sop_class_uid: str) -> Any:
    """Return the extended negotiation item that says how a storage class is provided."""
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid = sop_class_uid
    item.service_class_application_information = STORAGE_SERVICE
    return item
