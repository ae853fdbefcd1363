"""DIMSE as no library sends it: raw PDUs against both engines, and the node goes on after each."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from dicom_node.settings import Engine

COMMAND, LAST = 1, 2
RELEASE_RQ, ABORT = struct.pack(">BxII", 5, 4, 0), struct.pack(">BxII", 7, 4, 0)


class Raw:
    """A sender made of bytes."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        line.settimeout(10)

    def associate(self, contexts: list[Any], *items: Any, maximum: int = 16384) -> A_ASSOCIATE:
        """Ask for an association; return the answer."""
        request = A_ASSOCIATE()
        request.application_context_name = "1.2.840.10008.3.1.1.1"
        request.calling_ae_title, request.called_ae_title = "SCANNER", "NODE"
        for number, context in enumerate(contexts):
            context.context_id = 2 * number + 1
        request.presentation_context_definition_list = contexts
        length, uid = MaximumLengthNotification(), ImplementationClassUIDNotification()
        length.maximum_length_received, uid.implementation_class_uid = maximum, "1.2.3"
        request.user_information = [length, uid, *items]
        pdu = A_ASSOCIATE_RQ()
        pdu.from_primitive(request)
        self.line.sendall(pdu.encode())
        answer = A_ASSOCIATE_AC()
        kind, data = self.pdu()
        assert kind == 2, f"not accepted: {data!r}"
        answer.decode(data)
        return answer.to_primitive()

    def pdu(self) -> tuple[int, bytes]:
        """Read one PDU; (0, b"") at the end of the connection."""
        head = self._exactly(6)
        if not head:
            return 0, b""
        return head[0], head + self._exactly(struct.unpack(">xxI", head)[0])

    def _exactly(self, size: int) -> bytes:
        data = b""
        try:
            while len(data) < size and (piece := self.line.recv(size - len(data))):
                data += piece
        except ConnectionResetError:
            return b""
        return data

    def send(self, *pdvs: tuple[int, int, bytes]) -> None:
        """Send PDVs (context, control, data) in one PDU."""
        body = b"".join(
            struct.pack(">IBB", len(data) + 2, context, control) + data for context, control, data in pdvs
        )
        self.line.sendall(struct.pack(">BxI", 4, len(body)) + body)

    def status(self) -> int:
        """Read one response, in however many PDUs; return its status."""
        command = b""
        while True:
            kind, data = self.pdu()
            assert kind == 4, f"PDU type {kind} instead of a response"
            command += data[12:]
            if data[11] & LAST:
                return int(struct.unpack_from("<H", command, command.index(b"\0\0\0\x09\2\0\0\0") + 8)[0])

    def ended(self) -> bool:
        """Whether the node aborts or closes."""
        return self.pdu()[0] in {0, 7}


def command(field: int, uid: str, instance: str, *, data_set: bool = True, group_length: int | None = None) -> bytes:
    """Return a command set of a request."""

    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, number, len(value)) + value

    def text(value: str) -> bytes:
        return value.encode() + b"\0" * (len(value) % 2)

    body = element(0x0002, text(uid)) + element(0x0100, struct.pack("<H", field))
    body += element(0x0110, struct.pack("<H", 7)) + element(0x0700, b"\0\0")
    body += element(0x0800, struct.pack("<H", 1 if data_set else 0x0101))
    body += element(0x1000, text(instance)) if instance else b""
    return element(0x0000, struct.pack("<I", len(body) if group_length is None else group_length)) + body


@pytest.fixture
def raw(node: Any) -> Callable[..., Any]:
    """Return a context manager that connects."""

    @contextmanager
    def connect() -> Iterator[Raw]:
        with socket.create_connection(("127.0.0.1", node.scp.port)) as line:
            yield Raw(line)

    return connect


STORE = command(1, MRImageStorage, "2.25.1")


def mr() -> list[Any]:
    return [build_context(MRImageStorage, ExplicitVRLittleEndian)]


@pytest.mark.parametrize("group_length", [None, 0, 2, 10**6])
def test_the_group_length_is_not_needed(
    node: Any, raw: Any, mr_image: Any, encoded: Any, group_length: int | None
) -> None:
    """The PDV that is marked as last ends a command set, whatever its group length says."""
    with raw() as peer:
        peer.associate(mr())
        peer.send((1, COMMAND | LAST, command(1, MRImageStorage, "2.25.1", group_length=group_length)))
        peer.send((1, LAST, encoded(mr_image(SOPInstanceUID="2.25.1"))))
        assert peer.status() == 0x0000
    assert node.still_serves()


def test_command_and_data_set_in_one_pdu(node: Any, raw: Any, mr_image: Any, encoded: Any) -> None:
    """Several PDVs in a PDU, zero-length ones among them, a command set in pieces: all one request (PS3.8 E)."""
    data = encoded(mr_image(SOPInstanceUID="2.25.1"))
    with raw() as peer:
        peer.associate(mr())
        peer.send((1, COMMAND, STORE[:10]), (1, COMMAND, STORE[10:]), (1, COMMAND | LAST, b""))
        peer.send((1, 0, data[:101]), (1, 0, b""), (1, 0, data[101:]), (1, LAST, b""))
        assert peer.status() == 0x0000
        peer.send((1, COMMAND | LAST, STORE), (1, LAST, data))
        assert peer.status() == 0x0000
    assert len(node.ledger.instances) == 2


def test_a_command_set_over_many_pdus(node: Any, raw: Any, mr_image: Any, encoded: Any) -> None:
    """One byte a PDU is foolish, and allowed."""
    with raw() as peer:
        peer.associate(mr())
        for at in range(len(STORE)):
            peer.send((1, COMMAND | (LAST if at == len(STORE) - 1 else 0), STORE[at : at + 1]))
        peer.send((1, LAST, encoded(mr_image(SOPInstanceUID="2.25.1"))))
        assert peer.status() == 0x0000
    assert node.still_serves()


@pytest.mark.parametrize("maximum", [0, 4096, 2**20, 64])
def test_answers_fit_what_the_peer_takes(node: Any, raw: Any, maximum: int) -> None:
    """Responses come in PDUs that the peer is willing to take; 0 is any length (PS3.8 D.1)."""
    with raw() as peer:
        peer.associate(mr(), maximum=maximum)
        peer.send((1, COMMAND | LAST, STORE), (1, LAST, b"\x89PNG this is no data set"))
        assert peer.status() == 0xC000
        peer.line.sendall(RELEASE_RQ)
        assert peer.pdu()[0] == 6
    assert node.still_serves()


@pytest.mark.parametrize("limit", [0, 4096, 2**20])
def test_data_sets_come_in_pdus_of_any_size(start_node: Any, mr_image: Any, encoded: Any, limit: int) -> None:
    """Whatever maximum the node offers, a sender that keeps to it is understood."""
    node = start_node(maximum_pdu=limit)
    with node.line() as line:
        image = mr_image(Rows=500, Columns=500, PixelData=bytes(500_000))
        assert line.store(encoded(image), MRImageStorage, image.SOPInstanceUID).Status == 0x0000
    assert node.ledger.instances[0].size > 500_000


@pytest.mark.parametrize("field", [0x0020, 0x0021, 0x0010, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0100])
def test_a_known_operation_that_is_not_provided(node: Any, raw: Any, engine: Engine, field: int) -> None:
    """C-FIND and the like on a storage context: 0x0211, unrecognised operation (PS3.7 C.5.22), or the end."""
    with raw() as peer:
        peer.associate(mr())
        peer.send((1, COMMAND | LAST, command(field, MRImageStorage, "2.25.1")), (1, LAST, b"\x08\0\x60\0CS\2\0MR"))
        if engine is Engine.FAST:
            assert peer.status() == 0x0211
            peer.send((1, COMMAND | LAST, command(0x30, MRImageStorage, "", data_set=False)))
            assert peer.status() == 0x0000
    assert node.ledger.instances == []
    assert node.still_serves()


@pytest.mark.parametrize("field", [0x8001, 0x8030])
def test_a_response_to_nothing(node: Any, raw: Any, engine: Engine, field: int) -> None:
    """A response that answers no request of ours ends the association, or is ignored; never the node."""
    with raw() as peer:
        peer.associate(mr())
        peer.send((1, COMMAND | LAST, command(field, MRImageStorage, "2.25.1", data_set=False)))
        if engine is Engine.FAST:
            assert peer.ended()
    assert node.still_serves()


def test_a_cancel_of_nothing_is_ignored(node: Any, raw: Any, mr_image: Any, encoded: Any) -> None:
    """C-CANCEL has no response and nothing to cancel here (PS3.7 9.3.2.3); the association goes on."""
    cancel = struct.pack("<HHIHHHIHHHIH", 0, 0x100, 2, 0x0FFF, 0, 0x120, 2, 7, 0, 0x800, 2, 0x101)
    cancel = struct.pack("<HHII", 0, 0, 4, len(cancel)) + cancel
    with raw() as peer:
        peer.associate(mr())
        peer.send((1, COMMAND | LAST, cancel))
        peer.send((1, COMMAND | LAST, STORE), (1, LAST, encoded(mr_image(SOPInstanceUID="2.25.1"))))
        assert peer.status() == 0x0000
    assert node.still_serves()


@pytest.mark.parametrize(
    "pdvs",
    [
        [(3, COMMAND | LAST, STORE), (3, LAST, b"xx")],  # a context that was not accepted
        [(2, COMMAND | LAST, STORE)],  # an even context ID
        [(1, COMMAND | LAST, b"\x08\0\x05\0\x02\0\0\0xx")],  # a group that no command set has
        [(1, COMMAND | LAST, STORE[:-3])],  # an element cut off
        [(1, COMMAND | LAST, b"")],  # nothing
    ],
)
def test_a_message_that_makes_no_sense(node: Any, raw: Any, engine: Engine, pdvs: list[Any]) -> None:
    """It ends its association, and nothing else."""
    with raw() as peer:
        peer.associate(mr())
        peer.send(*pdvs)
        if engine is Engine.FAST:
            assert peer.ended()
    assert node.files("incoming") == []
    assert node.still_serves()


@pytest.mark.parametrize("pdvs", [[(1, LAST, b"xx")], [(1, COMMAND | LAST, STORE), (1, COMMAND | LAST, STORE)]])
def test_a_message_out_of_order(node: Any, raw: Any, engine: Engine, pdvs: list[Any]) -> None:
    """A data set without its command, or a command inside a message: A-ABORT, nothing kept."""
    with raw() as peer:
        peer.associate(mr())
        peer.send(*pdvs)
        if engine is Engine.FAST:
            assert peer.ended()
    assert node.ledger.instances == []
    assert node.still_serves()


@pytest.mark.parametrize("size", [50, 1_100_000])  # an object that is in memory still, and one that has a file
@pytest.mark.parametrize("pdu", [RELEASE_RQ, ABORT, b""])
def test_a_sender_that_goes_in_the_middle_of_an_object(
    node: Any, raw: Any, eventually: Any, encoded: Any, mr_image: Any, pdu: bytes, size: int
) -> None:
    """Release, abort or silence after half a data set: nothing is kept, no temporary file stays."""
    with raw() as peer:
        peer.associate(mr())
        peer.send((1, COMMAND | LAST, STORE))
        half = encoded(mr_image(PixelData=bytes(2 * size)))[:size]
        for at in range(0, size, 65536):
            peer.send((1, 0, half[at : at + 65536]))
        assert size < 2**20 or eventually(lambda: node.files("incoming"))
        peer.line.sendall(pdu)
    assert eventually(lambda: node.files("incoming") == [])
    assert node.files("instances") == []
    assert node.still_serves()


@pytest.mark.parametrize(
    "syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRLittleEndian]
)
def test_an_odd_length_data_set(node: Any, raw: Any, syntax: str) -> None:
    """A data set of an odd number of bytes is answered, not choked on."""
    with raw() as peer:
        peer.associate([build_context(MRImageStorage, syntax)])
        peer.send((1, COMMAND | LAST, STORE), (1, LAST, b"\x08\0\x16\0U"))
        assert peer.status() == 0xC000
    assert node.still_serves()


def test_operations_may_overlap_where_it_was_agreed(
    node: Any, raw: Any, engine: Engine, mr_image: Any, encoded: Any
) -> None:
    """An asynchronous operations window is answered (PS3.7 D.3.3.3), and its operations are all performed."""
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 4, 1
    with raw() as peer:
        answer = peer.associate(mr(), window)
        items = [i for i in answer.user_information if isinstance(i, AsynchronousOperationsWindowNegotiation)]
        if engine is Engine.FAST:
            assert items[0].maximum_number_operations_invoked == 4
        for number in range(20):
            uid = f"2.25.{number + 1}"
            data = encoded(mr_image(SOPInstanceUID=uid))
            peer.send((1, COMMAND | LAST, command(1, MRImageStorage, uid)), (1, LAST, data))
        assert [peer.status() for _ in range(20)] == [0] * 20
        peer.line.sendall(RELEASE_RQ)
        assert peer.pdu()[0] == 6
    assert len(node.ledger.instances) == 20


@pytest.mark.parametrize("way", ["fast", "pynetdicom"], indirect=True)  # the journal waits for no ledger
def test_a_release_waits_for_the_answers(node: Any, raw: Any, mr_image: Any, encoded: Any) -> None:
    """A-RELEASE-RQ right behind an object: first the C-STORE response, then A-RELEASE-RP."""
    with raw() as peer:
        peer.associate(mr())
        node.ledger.gate.clear()
        peer.send((1, COMMAND | LAST, STORE), (1, LAST, encoded(mr_image(SOPInstanceUID="2.25.1"))))
        assert node.ledger.asked.wait(10)
        peer.line.sendall(RELEASE_RQ)
        node.ledger.gate.set()
        assert peer.status() == 0x0000
        assert peer.pdu()[0] == 6


def test_role_selection(node: Any, raw: Any) -> None:
    """A requestor may be SCU, and is told that it may not be SCP (PS3.7 D.3.3.4)."""
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = MRImageStorage, True, True
    with raw() as peer:
        answer = peer.associate(mr(), role)
        (item,) = [i for i in answer.user_information if isinstance(i, SCP_SCU_RoleSelectionNegotiation)]
        assert (item.scu_role, item.scp_role) == (True, False)
        assert [context.result for context in answer.presentation_context_definition_results_list] == [0]


@pytest.mark.parametrize(("scu", "scp", "result"), [(True, False, 0), (False, True, 1)])
def test_roles_that_are_proposed_alone(node: Any, raw: Any, *, scu: bool, scp: bool, result: int) -> None:
    """Who wants to be SCU only is accepted, one that wants to be SCP only is not (PS3.7 D.3.3.4)."""
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = MRImageStorage, scu, scp
    with raw() as peer:
        answer = peer.associate(mr(), role)
        assert [context.result for context in answer.presentation_context_definition_results_list] == [result]
        items = [i for i in answer.user_information if isinstance(i, SCP_SCU_RoleSelectionNegotiation)]
        assert [(item.scu_role, item.scp_role) for item in items] == ([(True, False)] if scu else [])
    assert node.still_serves()


@pytest.mark.parametrize(("asked", "agreed"), [(0, 8), (1, 1), (8, 8), (100, 8)])
def test_the_window_that_is_agreed(raw: Any, engine: Engine, asked: int, agreed: int) -> None:
    """As many operations as asked for, 0 meaning any number, and no more than 8 (PS3.7 D.3.3.3); none by the node."""
    if engine is Engine.PYNETDICOM:
        pytest.skip("pynetdicom does not answer: one operation at a time")
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = asked
    with raw() as peer:
        answer = peer.associate(mr(), window)
        (item,) = [i for i in answer.user_information if isinstance(i, AsynchronousOperationsWindowNegotiation)]
        assert (item.maximum_number_operations_invoked, item.maximum_number_operations_performed) == (agreed, 1)


def test_no_item_is_answered_that_was_not_proposed(raw: Any) -> None:
    """Without proposals there are no answers to windows, roles and extended negotiation (PS3.7 D.3.3)."""
    with raw() as peer:
        kinds = {type(item).__name__ for item in peer.associate(mr()).user_information}
        assert kinds <= {
            "MaximumLengthNotification",
            "ImplementationClassUIDNotification",
            "ImplementationVersionNameNotification",
        }


def test_an_element_of_odd_length(node: Any, raw: Any, mr_image: Any, encoded: Any) -> None:
    """Values of odd length break PS3.5 7.1.1 and are common: bytes are kept as they came, not repaired."""
    data = encoded(mr_image(SOPInstanceUID="2.25.1"))
    odd = data.replace(b"CS\x02\x00MR", b"CS\x01\x00M")
    assert odd != data
    with raw() as peer:
        peer.associate(mr())
        peer.send((1, COMMAND | LAST, STORE), (1, LAST, odd))
        assert peer.status() == 0x0000
    (kept,) = node.ledger.instances
    assert node.store.path_of(kept.path).read_bytes().endswith(odd)


def test_extended_negotiation_and_user_identity(node: Any, raw: Any) -> None:
    """Storage is full and bit-preserving (PS3.4 B.3.1); an identity is accepted without a positive response."""
    extended, identity = SOPClassExtendedNegotiation(), UserIdentityNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = MRImageStorage, b"\2\0\0\0\0\0"
    identity.user_identity_type, identity.primary_field = 1, b"somebody"
    identity.positive_response_requested = True
    with raw() as peer:
        answer = peer.associate(mr(), extended, identity)
        (item,) = [i for i in answer.user_information if isinstance(i, SOPClassExtendedNegotiation)]
        assert item.service_class_application_information == b"\2\0\3\0\0\0"
        assert not [i for i in answer.user_information if isinstance(i, UserIdentityNegotiation)]
        peer.send((1, COMMAND | LAST, STORE), (1, LAST, b"noise"))
        assert peer.status() == 0xC000


def test_a_service_that_is_not_provided_does_not_spoil_the_others(node: Any, raw: Any) -> None:
    """An association that also proposes storage commitment is carried by pynetdicom; storage works in it."""
    contexts = [*mr(), build_context(StorageCommitmentPushModel), build_context(Verification)]
    with raw() as peer:
        answer = peer.associate(contexts)
        results = {c.context_id: c.result for c in answer.presentation_context_definition_results_list}
        assert results == {1: 0, 3: 3, 5: 0}
        peer.send((5, COMMAND | LAST, command(0x30, Verification, "", data_set=False)))
        assert peer.status() == 0x0000
        peer.send((1, COMMAND | LAST, STORE), (1, LAST, b"noise"))
        assert peer.status() == 0xC000
        peer.line.sendall(RELEASE_RQ)
        assert peer.pdu()[0] == 6


def test_a_slow_sender_is_given_up(start_node: Any, eventually: Any, engine: Engine) -> None:
    """Less than the least progress, object after object begun: the association is aborted, its file removed."""
    if engine is Engine.PYNETDICOM:
        pytest.skip("pynetdicom knows an idle timeout only")
    node = start_node(dimse_timeout_seconds=0.3, slowest_bytes_per_second=10_000)
    with socket.create_connection(("127.0.0.1", node.scp.port)) as line:
        peer = Raw(line)
        peer.associate(mr())
        peer.send((1, COMMAND | LAST, STORE))

        def dripped() -> bool:
            try:
                peer.send((1, 0, b"x"))
            except OSError:
                return True
            return node.files("incoming") == []

        assert eventually(dripped)
    assert node.still_serves()
