"""Peers that break the protocol, dawdle or overdo it: each ends its own association, and nobody else's.

An exception that escapes into one of the node's threads fails the test (pytest reports it as a warning, and warnings
are errors). Several of these were found by `bench.hostile`.
"""

import contextlib
import socket
import struct
import time
from contextlib import closing
from typing import Any

import pytest

from bench import upper_layer
from dicom_node.entities import AssociationEnd
from dicom_node.settings import Engine

_CONTEXTS = [(upper_layer.MR_STORAGE, upper_layer.EXPLICIT_LITTLE)]


def _association(node: Any) -> closing[upper_layer.RawAssociation]:
    return closing(upper_layer.RawAssociation(node.peer, "SCANNER", _CONTEXTS))


def _c_store_command(sop_instance: str) -> bytes:
    command = upper_layer.c_store_rq(1, upper_layer.MR_STORAGE, sop_instance)
    return b"".join(upper_layer.p_data(1, command, command=True))


def _heard(line: socket.socket, seconds: float = 10) -> list[int]:
    """Return the types of the PDUs that come until the node aborts or hangs up; fails if it does neither.

    After an A-ABORT the fast engine waits for its peer to close, until ARTIM expires (PS3.8 9.2, AA-1).
    """
    line.settimeout(seconds)
    data = b""
    try:
        while piece := line.recv(4096):
            data += piece
            if upper_layer.ABORT in [kind for kind, _ in upper_layer.split(data)]:
                break
    except ConnectionResetError:
        pass
    return [kind for kind, _ in upper_layer.split(data)]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(upper_layer.command_set({0x0110: 1, 0x0800: 0x0101}), id="no Command Field"),
        pytest.param(upper_layer.command_set({0x0100: 1, 0x0110: 1}), id="no Command Data Set Type"),
        pytest.param(
            struct.pack("<HHIHH", 0, 0x0100, 4, 1, 0x30) + struct.pack("<HHIH", 0, 0x0800, 2, 0x0101),
            id="a Command Field of two values",
        ),
        pytest.param(struct.pack("<HHI", 0, 0x0100, 0) + struct.pack("<HHIH", 0, 0x0800, 2, 0), id="empty field"),
        pytest.param(b"\xff" * 40, id="noise"),
    ],
)
def test_a_command_set_that_is_none(node: Any, command: bytes) -> None:
    """The association is aborted (PS3.8 9.3.8), not the thread; the next sender is served."""
    with _association(node) as association:
        association.send(b"".join(upper_layer.p_data(1, command, command=True)))
        assert _heard(association.line) == [upper_layer.ABORT]
    assert node.still_serves()


def test_a_cancel_of_nothing(node: Any, mr_image: Any, encoded: Any) -> None:
    """C-CANCEL (0x0FFF) of no operation is ignored (PS3.7 9.3.2.3); the association lives."""
    image = mr_image()
    with _association(node) as association:
        cancel = upper_layer.command_set({0x0100: 0x0FFF, 0x0120: 1, 0x0800: 0x0101})
        association.send(b"".join(upper_layer.p_data(1, cancel, command=True)))
        assert association.store(1, upper_layer.MR_STORAGE, image.SOPInstanceUID, encoded(image)) == 0


def test_an_instance_before_the_violation_counts(
    node: Any, mr_image: Any, encoded: Any, eventually: Any, engine: Engine
) -> None:
    """What was acknowledged stays; the association counts as aborted or lost, not as released."""
    image = mr_image()
    with _association(node) as association:
        assert association.store(1, upper_layer.MR_STORAGE, image.SOPInstanceUID, encoded(image)) == 0
        association.send(b"".join(upper_layer.p_data(1, upper_layer.command_set({0x0110: 1}), command=True)))
        assert _heard(association.line) == [upper_layer.ABORT]
    assert eventually(lambda: node.ledger.ends)
    end = AssociationEnd.LOST if engine is Engine.FAST else AssociationEnd.ABORTED
    assert [each for _, each in node.ledger.ends] == [end]
    assert [each.sop_instance_uid for each in node.ledger.instances] == [image.SOPInstanceUID]


def test_an_unknown_command(node: Any, engine: Engine) -> None:
    """The fast engine answers it (0x0211, PS3.7 C.5.22), pynetdicom's association is aborted; the node goes on."""
    command = upper_layer.command_set({0x0100: 0x0FFE, 0x0110: 1, 0x0800: 0x0101})
    with _association(node) as association:
        association.send(b"".join(upper_layer.p_data(1, command, command=True)))
        if engine is Engine.FAST:
            assert association.answer().status == 0x0211
        else:
            assert _heard(association.line) == [upper_layer.ABORT]
    assert node.still_serves()


def test_a_pdu_longer_than_any_that_was_agreed(node: Any, engine: Engine) -> None:
    """A header that announces 4 GB is answered with A-ABORT before any of it is read into memory.

    The fast engine never holds a P-DATA PDU in memory, and reads on.
    """
    if engine is not Engine.FAST:
        with _association(node) as association:
            association.send(struct.pack(">BxI", upper_layer.P_DATA, 2**32 - 1))
            assert _heard(association.line) == [upper_layer.ABORT]
    with socket.create_connection(("127.0.0.1", node.scp.port)) as line:
        line.sendall(struct.pack(">BxI", 1, 2**31))
        assert _heard(line) == [upper_layer.ABORT]
    assert node.still_serves()


def test_pdus_of_twice_the_agreed_length_are_read(start_node: Any, mr_image: Any, encoded: Any) -> None:
    """Senders that overdo it a little are still understood."""
    node = start_node(maximum_pdu=1_000_000)
    image = mr_image(Rows=1000, Columns=900, PixelData=bytes(1_800_000))
    data = encoded(image)
    with _association(node) as association:
        request = _c_store_command(image.SOPInstanceUID)
        association.send(request + b"".join(upper_layer.p_data(1, data, command=False, maximum=1_990_000)))
        assert association.answer().status == 0
    assert len(node.ledger.instances) == 1


@pytest.mark.parametrize("bytes_first", [1, 6, 60])
def test_an_association_request_byte_by_byte(start_node: Any, eventually: Any, bytes_first: int) -> None:
    """The whole request must come within acse_timeout_seconds (ARTIM, PS3.8 9.1.5), however busily it trickles."""
    node = start_node(acse_timeout_seconds=1.0)
    request = upper_layer.associate_rq("SCANNER", "NODE", _CONTEXTS)
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", node.scp.port)) as line:
        line.sendall(request[:bytes_first])
        rest = iter(request[bytes_first:])
        assert eventually(lambda: _gone_after_another_byte(line, bytes([next(rest)])), 5)
    assert 0.8 < time.monotonic() - started < 4
    assert node.still_serves()


def _gone_after_another_byte(line: socket.socket, byte: bytes = b"\0") -> bool:
    """Send one byte more; return whether the node has hung up."""
    time.sleep(0.1)
    line.settimeout(0.01)
    try:
        line.sendall(byte)
        return line.recv(100)[:1] in (b"", bytes([upper_layer.ABORT]))
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_pdu_byte_by_byte(start_node: Any, eventually: Any) -> None:
    """A PDU that has begun must end within network_timeout_seconds."""
    node = start_node(network_timeout_seconds=1.0, dimse_timeout_seconds=1.0)
    with _association(node) as association:
        association.send(upper_layer.c_store(1, 1, upper_layer.MR_STORAGE, "2.25.1", bytes(1000))[:50])
        assert eventually(lambda: _gone_after_another_byte(association.line), 5)
    assert node.files("incoming") == []
    assert node.still_serves()


def test_an_object_in_tiny_pdus(start_node: Any, eventually: Any) -> None:
    """Whole PDUs of a few bytes, one after the other for ever, are too slow as well; no temporary file stays."""
    node = start_node(dimse_timeout_seconds=1.0, slowest_bytes_per_second=1000)
    started = time.monotonic()
    with _association(node) as association:
        association.send(_c_store_command("2.25.1"))
        fragment = upper_layer.pdu(upper_layer.P_DATA, struct.pack(">IBB", 4, 1, 0) + b"\0\0")

        def refused() -> bool:
            time.sleep(0.05)
            try:
                association.line.settimeout(0.01)
                association.line.sendall(fragment)
                return bool(association.line.recv(100)[:1] in (b"", bytes([upper_layer.ABORT])))
            except TimeoutError:
                return False
            except OSError:
                return True

        assert eventually(refused, 5)
    assert time.monotonic() - started > 1
    assert eventually(lambda: not node.files("incoming"))
    assert node.still_serves()


def test_a_slow_but_bearable_sender_is_served(start_node: Any, mr_image: Any, encoded: Any) -> None:
    """A pause in the middle of an object is no reason to hang up."""
    node = start_node(dimse_timeout_seconds=1.0, slowest_bytes_per_second=100)
    image = mr_image()
    whole = upper_layer.c_store(1, 1, upper_layer.MR_STORAGE, image.SOPInstanceUID, encoded(image))
    with _association(node) as association:
        for start in range(0, len(whole), 400):
            association.send(whole[start : start + 400])
            time.sleep(0.5)
        assert association.answer().status == 0


def test_a_command_set_without_end(node: Any, eventually: Any) -> None:
    """A message that is no C-STORE is kept in memory, and only so much of it: then A-ABORT."""
    fragment = upper_layer.pdu(upper_layer.P_DATA, struct.pack(">IBB", 100_002, 1, 1) + bytes(100_000))
    with _association(node) as association:
        try:
            for _ in range(400):
                association.send(fragment)
        except upper_layer.LineGone:
            pass  # the node has hung up
        # a reset may have taken the A-ABORT along
        assert _heard(association.line) in ([], [upper_layer.ABORT])
    assert eventually(lambda: node.ledger.records)
    assert node.ledger.records[0].end is not AssociationEnd.RELEASED
    assert node.still_serves()


@pytest.mark.parametrize("second", [upper_layer.P_DATA, upper_layer.ASSOCIATE_AC, 1, 3, 6, 0, 9, 255])
def test_anything_instead_of_what_is_due(node: Any, engine: Engine, second: int) -> None:
    """Any PDU twice, out of turn, or of no known type (PS3.8 Table 9-10): the association ends, the node goes on."""
    request = upper_layer.associate_rq("SCANNER", "NODE", _CONTEXTS)
    with socket.create_connection(("127.0.0.1", node.scp.port)) as line:
        line.sendall(request + upper_layer.pdu(second, bytes(4)) * 3 + upper_layer.pdu(5, bytes(4)) * 2)
        heard = _heard(line)
    if engine is Engine.FAST:
        assert heard[:2] == [upper_layer.ASSOCIATE_AC, upper_layer.ABORT]
    # pynetdicom may still be judging the request when the next PDU comes, and then does not accept it
    assert set(heard) <= {upper_layer.ASSOCIATE_AC, upper_layer.ABORT}
    assert node.still_serves()


@pytest.mark.parametrize("way", ["fast", "pynetdicom"], indirect=True)  # the journal waits for no ledger
def test_a_sender_that_does_not_wait(node: Any, engine: Engine, mr_image: Any, encoded: Any) -> None:
    """A thousand objects before the first answer: none has an open file for longer than it takes, none is kept twice.

    The fast engine reads no further than the agreed window; pynetdicom's association is aborted.
    """
    node.ledger.gate.clear()
    image = mr_image()
    one = upper_layer.c_store(1, 1, upper_layer.MR_STORAGE, image.SOPInstanceUID, encoded(image))
    with _association(node) as association:
        association.line.settimeout(2)
        with contextlib.suppress(upper_layer.LineGone):  # not all of it is taken
            association.send(one * 1000)
        time.sleep(0.5)
        assert len(node.files("incoming")) + len(node.files("instances")) <= (270 if engine is Engine.FAST else 70)
        node.ledger.gate.set()
    with node.line() as line:
        assert line.object().Status == 0
