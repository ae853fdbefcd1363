"""What pynetdicom needs to be a reliable requestor."""

from typing import Any

from pynetdicom.association import Association


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
