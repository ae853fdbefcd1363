"""A requestor made with pynetdicom gets every answer, however quickly it comes."""

import time
from typing import Any

import pytest
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO

from dicom_node.requestor import leave_answers


def _answer() -> C_ECHO:
    answer = C_ECHO()
    answer.MessageIDBeingRespondedTo = 1
    answer.Status = 0x0000
    return answer


def _left(association: Association) -> bool:
    """Whether an answer is still there for who waits for it, some turns of pynetdicom's own thread later."""
    association.dimse.msg_queue.put((1, _answer()))
    time.sleep(0.1)
    found, message = association.dimse.get_msg(block=True)
    return found == 1 and isinstance(message, C_ECHO)


@pytest.mark.parametrize("way", ["fast"], indirect=True)
def test_an_answer_is_left_to_who_waits_for_it(node: Any) -> None:
    """pynetdicom's own thread leaves answers alone, though it is not paused; by itself it takes them."""
    with node.line() as line:
        assert all(_left(line.association) for _ in range(5))
        line.association.dimse_timeout = 0.5
        line.association.dimse.get_msg = type(line.association.dimse).get_msg.__get__(line.association.dimse)
        assert not _left(line.association)
        leave_answers(line.association)


@pytest.mark.parametrize("way", ["fast"], indirect=True)
def test_requests_of_the_peer_are_taken(node: Any) -> None:
    """A request that the peer makes on our association is seen at once: here a C-ECHO, which we do not provide."""
    request = C_ECHO()
    request.MessageID = 7
    request.AffectedSOPClassUID = "1.2.840.10008.1.1"
    with node.line() as line:
        line.association.dimse.msg_queue.put((1, request))  # answered to the node, which ends the association
        until = time.monotonic() + 5
        while line.association.dimse.peek_msg()[1] is request:
            assert time.monotonic() < until
            time.sleep(0.01)
