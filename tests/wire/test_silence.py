"""Peers that fall silent: how long they are waited for, and that who waits for us is not taken for one of them."""

import socket
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench import upper_layer
from dicom_node.entities import AssociationEnd

_DESCRIPTORS = Path("/proc/self/fd")
_CONTEXTS = [
    (upper_layer.MR_STORAGE, upper_layer.EXPLICIT_LITTLE),
    (upper_layer.VERIFICATION, upper_layer.EXPLICIT_LITTLE),
]


def _association(node: Any) -> closing[upper_layer.RawAssociation]:
    return closing(upper_layer.RawAssociation(node.peer, "SCANNER", _CONTEXTS))


def _heard(line: socket.socket, seconds: float = 10) -> list[int]:
    """Return the types of the PDUs that come until the node hangs up; fails if it does not."""
    line.settimeout(seconds)
    data = b""
    try:
        while piece := line.recv(4096):
            data += piece
    except ConnectionResetError:
        pass
    return [kind for kind, _ in upper_layer.split(data)]


def test_an_idle_association_is_ended(start_node: Any, eventually: Any) -> None:
    """Nothing for network_timeout_seconds: A-ABORT, then hung up, and the place is free."""
    node = start_node(network_timeout_seconds=0.5, acse_timeout_seconds=0.5, maximum_associations=1)
    before = threading.active_count()
    with _association(node) as association:
        started = time.monotonic()
        assert _heard(association.line) == [upper_layer.ABORT]
        assert 0.4 < time.monotonic() - started < 5
    assert eventually(lambda: [record.end for record in node.ledger.records] == [AssociationEnd.LOST])
    assert eventually(lambda: threading.active_count() <= before)
    assert node.still_serves()


def test_who_keeps_talking_is_not_idle(start_node: Any) -> None:
    """C-ECHOs at intervals shorter than the timeout keep an association open for longer than it."""
    node = start_node(network_timeout_seconds=0.6)
    with _association(node) as association:
        for number in range(1, 7):
            association.send(b"".join(upper_layer.p_data(3, upper_layer.c_echo_rq(number), command=True)))
            assert association.answer().status == 0
            time.sleep(0.2)


@pytest.mark.parametrize("way", ["fast", "pynetdicom"], indirect=True)  # the journal waits for no ledger
def test_who_waits_for_us_is_not_idle(start_node: Any, mr_image: Any, encoded: Any) -> None:
    """While the ledger makes a sender wait for longer than every timeout, it is not hung up on: then 0x0000."""
    node = start_node(network_timeout_seconds=0.3, dimse_timeout_seconds=0.3, acse_timeout_seconds=0.3)
    image = mr_image()
    node.ledger.gate.clear()
    with _association(node) as association:
        data = upper_layer.c_store(1, 1, upper_layer.MR_STORAGE, image.SOPInstanceUID, encoded(image))
        association.send(data)
        assert node.ledger.asked.wait(10)
        time.sleep(1.2)
        node.ledger.gate.set()
        assert association.answer().status == 0


def test_a_peer_that_takes_no_answers(start_node: Any, eventually: Any) -> None:
    """Who asks and asks and never reads is read from no longer, and hung up on in time; nobody spins meanwhile."""
    node = start_node(network_timeout_seconds=1.0, dimse_timeout_seconds=1.0, acse_timeout_seconds=1.0)
    before = len(list(_DESCRIPTORS.iterdir()))
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        line.settimeout(0.5)
        line.connect(("127.0.0.1", node.scp.port))
        line.sendall(upper_layer.associate_rq("SCANNER", "NODE", _CONTEXTS))
        assert line.recv(1)
        echo = b"".join(upper_layer.p_data(3, upper_layer.c_echo_rq(1), command=True))
        with pytest.raises(OSError):  # noqa: PT011 - a timeout, or the node has hung up already
            line.sendall(echo * 200_000)
        assert eventually(lambda: node.ledger.records, 10)
        spent = time.process_time()
        assert eventually(lambda: len(list(_DESCRIPTORS.iterdir())) <= before + 1, 5)
        assert time.process_time() - spent < 1
    assert node.still_serves()
