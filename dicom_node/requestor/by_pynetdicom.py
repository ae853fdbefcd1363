"""Associations that pynetdicom carries, for what is seldom asked: every wait bounded, closed whatever happens."""

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.entities import Peer
from dicom_node.errors import Failure, PeerUnreachable
from dicom_node.requestor.rejections import rejected, silent

_MAXIMUM_PDU: Final = 131072
#: TCP_QUICKACK of Linux; where there is none, setting TCP_NODELAY again does no harm.
_QUICK_ACK: Final[int] = getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY)
#: An event of pynetdicom and who is told of it.
Handler = tuple[Any, Callable[..., Any]] | tuple[Any, Callable[..., Any], list[Any]]


@contextmanager
def carried(
    peer: Peer,
    calling: str,
    contexts: Sequence[PresentationContext],
    timeout_seconds: float,
    tls: ssl.SSLContext | None,
    roles: Sequence[Any] = (),
    handlers: Sequence[Handler] = (),
) -> Iterator[Association]:
    """Open an association and release it afterwards; it may have come without any accepted context.

    Raises
    ------
    PeerUnreachable, PeerRefused
        If it is not established.
    """
    lines: list[socket.socket] = []
    told: list[Handler] = [
        (evt.EVT_ACSE_SENT, _remember_socket, [lines]),
        (evt.EVT_CONN_OPEN, _prepare_socket, [timeout_seconds]),
        (evt.EVT_DATA_RECV, _acknowledge_at_once),
        *handlers,
    ]
    try:
        association = _requested(peer, _entity(calling, timeout_seconds), contexts, tls, roles, told)
        try:
            yield association
        finally:
            if association.is_established:
                association.release()
    finally:
        # pynetdicom leaves a socket unclosed that did not connect, or that the peer closed first
        for line in lines:
            line.close()


def _requested(
    peer: Peer,
    entity: Any,
    contexts: Sequence[PresentationContext],
    tls: ssl.SSLContext | None,
    roles: Sequence[Any],
    handlers: Sequence[Handler],
) -> Association:
    try:
        association = entity.associate(
            peer.host,
            peer.port,
            list(contexts),
            ae_title=str(peer.ae_title),
            max_pdu=_MAXIMUM_PDU,
            tls_args=None if tls is None else (tls, peer.host),
            ext_neg=list(roles),
            evt_handlers=list(handlers),
        )
    except OSError as error:
        raise PeerUnreachable(f"{peer.host} is not known here ({error.strerror}): check host and DNS") from error
    if association.is_established:
        leave_answers(association)
        return association
    if association.rejected_contexts:
        # accepted, but with none of the contexts: pynetdicom has ended it already
        return association
    raise _failure(association, peer, str(entity.ae_title))


def _failure(association: Association, peer: Peer, calling: str) -> Failure:
    answer = association.acceptor.primitive
    if not association.is_rejected or answer is None:
        return silent(peer)
    return rejected(peer, calling, answer.result, answer.result_source, answer.diagnostic)


def _entity(calling: str, timeout_seconds: float) -> Any:
    entity = AE(calling)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = timeout_seconds
    entity.acse_timeout = timeout_seconds
    entity.dimse_timeout = timeout_seconds
    # counts while nothing comes in, so also while an answer is awaited: the DIMSE timeout must come first
    entity.network_timeout = None
    return entity


def _remember_socket(event: evt.Event, lines: list[socket.socket]) -> None:
    # this event comes before pynetdicom tries to connect
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None and not lines:
        lines.append(wrapped.socket)


def _prepare_socket(event: evt.Event, timeout: float) -> None:
    line = event.assoc.dul.socket.socket
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # pynetdicom sends without one: a peer that stops reading would hold the thread for ever
    line.settimeout(timeout)


def _acknowledge_at_once(event: evt.Event) -> None:
    # many a PACS sends its answers in two pieces with Nagle's algorithm on: it would wait 40 ms for our delayed ACK.
    # Linux forgets this option, so it is set after every read
    line = event.assoc.dul.socket
    if line is not None and line.socket is not None:
        line.socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


def leave_answers(association: Association) -> None:
    """Let nobody take an answer but the one who waits for it.

    pynetdicom 3.0 looks for requests of the peer on a thread of its own, which is meant to pause while an answer is
    awaited. It is taken for paused in a moment when it is not, and an answer that comes at once is then read by that
    thread, called unexpected and lost: the requestor waits for its whole DIMSE timeout. Now it takes requests only.
    """
    dimse: Any = association.dimse
    take = dimse.get_msg

    def get_msg(block: bool = False) -> tuple[Any, Any]:
        if not block:
            _, first = dimse.peek_msg()
            if first is None or not first.is_valid_request:
                return None, None
        return take(block)

    dimse.get_msg = get_msg
