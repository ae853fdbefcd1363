"""Real associations on loopback, port 0: a node's Storage SCP with a ledger that only remembers, and a raw sender."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association as PeerAssociation
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_node.entities import (
    Arrival,
    Association,
    AssociationEnd,
    AssociationRecord,
    InstanceRef,
    Peer,
    SameUidPolicy,
)
from dicom_node.instance_store import InstanceStore
from dicom_node.outgoing import OutgoingObject
from dicom_node.requestor import leave_answers
from dicom_node.settings import Engine, ReceptionSettings, Source
from dicom_node.storage_scp import StorageSCP
from tests.tls_papers import Papers, make_papers

EVERYBODY = Source(name="everybody", ae_titles=("*",), addresses=("*",))


class Ledger:
    """What the node noted, in order; it can be told to fail, and to make its caller wait."""

    def __init__(self) -> None:
        #: Waits until what was answered out of the journal is noted.
        self.settled: Callable[[], object] = lambda: None
        self._instances: list[InstanceRef] = []
        self._outcomes: list[Arrival] = []
        self.ends: list[tuple[Association, AssociationEnd]] = []
        self.refused: list[dict[str, str]] = []
        self.quarantined: list[tuple[str, int, str, str]] = []
        self.records: list[AssociationRecord] = []
        self.log: list[str] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        self._known: dict[str, str] = {}

    @property
    def instances(self) -> list[InstanceRef]:
        self.settled()
        return self._instances

    @property
    def outcomes(self) -> list[Arrival]:
        self.settled()
        return self._outcomes

    def note_arrival(
        self, instance: InstanceRef, association: Association, at: float, policy: SameUidPolicy
    ) -> Arrival:
        self.asked.set()
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        outcome = self._outcome(instance, policy)
        self._instances.append(instance)
        self._outcomes.append(outcome)
        self.log.append("arrival")
        return outcome

    def note_arrivals(
        self, batch: Sequence[tuple[InstanceRef, Association, float]], policy: SameUidPolicy
    ) -> list[Arrival]:
        return [self.note_arrival(instance, association, at, policy) for instance, association, at in batch]

    def _outcome(self, instance: InstanceRef, policy: SameUidPolicy) -> Arrival:
        first = self._known.setdefault(instance.sop_instance_uid, instance.sha256)
        if first == instance.sha256:
            return Arrival.REPEATED if instance.sha256 in [seen.sha256 for seen in self._instances] else Arrival.NEW
        return {
            SameUidPolicy.KEEP_FIRST: Arrival.DIFFERENT_KEPT_FIRST,
            SameUidPolicy.KEEP_LAST: Arrival.DIFFERENT_KEPT_LAST,
            SameUidPolicy.REFUSE: Arrival.DIFFERENT_REFUSED,
        }[policy]

    def end_associations(self, batch: Sequence[tuple[Association, AssociationEnd, float]]) -> None:
        for association, end, _ in batch:
            self.ends.append((association, end))
            self.log.append("end")

    def note_refused_sender(self, calling: str, called: str, address: str, reason: str, at: float) -> None:
        self.refused.append({"calling": calling, "called": called, "address": address, "reason": reason})

    def note_quarantined(
        self, association: Association, sop_instance_uid: str, status: int, reason: str, path: str, at: float
    ) -> None:
        self.quarantined.append((sop_instance_uid, status, reason, path))


class Line:
    """One association of a sender that can be made to send anything."""

    def __init__(self, association: PeerAssociation) -> None:
        self.association = association

    def store(self, data: bytes | None, sop_class: str, sop_instance: str) -> Dataset:
        """Send bytes as the data set of a C-STORE request with these UIDs, right or wrong; return the answer."""
        request = C_STORE()
        request.MessageID = 1
        request.Priority = 2
        # past the setters, which would refuse what a broken sender sends
        request._affected_sop_class_uid = UID(sop_class) if sop_class else None
        request._affected_sop_instance_uid = UID(sop_instance) if sop_instance else None
        if data is not None:
            request.DataSet = BytesIO(data)
        association = self.association
        context = next(iter(association.accepted_contexts))
        for candidate in association.accepted_contexts:
            if candidate.abstract_syntax == sop_class:
                context = candidate
        association.dimse.send_msg(request, context.context_id)
        _, answer = association.dimse.get_msg(block=True)
        result = Dataset()
        if answer is not None:
            result.Status = answer.Status
            result.ErrorComment = answer.ErrorComment or ""
        return result

    def object(self, **changes: Any) -> Dataset:
        """Send a small good MR image, with elements changed (None removes one); return the answer."""
        image = mr_image(**changes)
        return self.store(encoded(image), MRImageStorage, image.get("SOPInstanceUID", generate_uid()))


def mr_image(**changes: Any) -> Dataset:
    """Return a small data set with the identity of an MR image."""
    image = Dataset()
    image.SOPClassUID = MRImageStorage
    image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID = "2.25.1"
    image.SeriesInstanceUID = "2.25.1.1"
    image.Modality = "MR"
    image.Rows = image.Columns = 16
    image.BitsAllocated = 16
    image.PixelData = bytes(512)
    for keyword, value in changes.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    return image


def encoded(image: Dataset) -> bytes:
    """Return a data set in Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, image)
    return buffer.getvalue()


@dataclass
class Node:
    """A started Storage SCP and all that a test may look at."""

    scp: StorageSCP
    store: InstanceStore
    ledger: Ledger
    free: list[int] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def peer(self) -> Peer:
        return Peer.parse("NODE", "127.0.0.1", self.scp.port)

    def request(self, calling: str = "SCANNER", called: str = "NODE", **options: Any) -> PeerAssociation:
        """Ask for an association; it may come back rejected.

        pynetdicom 3.0's requestor takes a connection for failed, and aborts, where a rejection closed it before its
        thread woke: such a request is made once more.
        """
        association = self._request(calling, called, dict(options))
        if association.is_aborted:
            association = self._request(calling, called, dict(options))
        leave_answers(association)
        return association

    def _request(self, calling: str, called: str, options: dict[str, Any]) -> PeerAssociation:
        entity = AE(calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
        contexts = options.pop("contexts", None) or [build_context(MRImageStorage, ExplicitVRLittleEndian)]
        handlers = [(evt.EVT_CONN_OPEN, _remember, [self.sockets])]
        return entity.associate(
            "127.0.0.1", self.scp.port, contexts, ae_title=called, evt_handlers=handlers, **options
        )

    @contextmanager
    def line(self, **options: Any) -> Iterator[Line]:
        """Open an association that must be accepted, release it afterwards."""
        association = self.request(**options)
        assert association.is_established
        try:
            yield Line(association)
        finally:
            if association.is_established:
                association.release()

    def still_serves(self) -> bool:
        """Whether a new association stores a good instance."""
        before = len(self.ledger.instances)
        with self.line() as line:
            return line.object().Status == 0x0000 and len(self.ledger.instances) == before + 1

    def files(self, folder: str) -> list[Path]:
        """Every file below one of the store's folders, once what was answered has left the journal."""
        self.ledger.settled()
        return sorted(path for path in (self.store.root / folder).rglob("*") if path.is_file())


def _remember(event: evt.Event, sockets: list[socket.socket]) -> None:
    # pynetdicom leaves a socket unclosed that its peer closed first; the fixtures close it
    sockets.append(event.assoc.dul.socket.socket)


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not (answer := true()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(answer)


def rejection(association: PeerAssociation) -> tuple[int, int, int]:
    """Return (result, source, reason) of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    assert association.is_rejected
    answer: A_ASSOCIATE = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


StartNode = Callable[..., Node]


@pytest.fixture(params=["journal", "fast", "pynetdicom"])
def way(request: pytest.FixtureRequest) -> str:
    """Each way of reception in turn: all must pass every test of what the node does on the wire."""
    return str(request.param)


@pytest.fixture
def engine(way: str) -> Engine:
    return Engine.PYNETDICOM if way == "pynetdicom" else Engine.FAST


@pytest.fixture
def journal_mib(way: str) -> int:
    return 8 if way == "journal" else 0


@pytest.fixture
def start_node(tmp_path: Path, engine: Engine, journal_mib: int) -> Iterator[StartNode]:
    """Return a function that starts a Storage SCP with changed settings; all are stopped afterwards."""
    started: list[Node] = []

    def start(sources: tuple[Source, ...] = (EVERYBODY,), floor: int = 0, **changes: Any) -> Node:
        chosen = {"port": 0, "engine": engine, "journal_mib": journal_mib, **changes}
        settings = ReceptionSettings().model_copy(update=chosen)
        free = [2**40]
        store = InstanceStore(tmp_path / f"store{len(started)}", floor, lambda _: free[0])
        ledger = Ledger()
        scp = StorageSCP(settings, "NODE", sources, store, ledger, time.time, note_records=ledger.records.extend)
        ledger.settled = lambda: scp.reception.places.all_settled(10)
        node = Node(scp, store, ledger, free)
        node.scp.start()
        started.append(node)
        return node

    yield start
    for node in started:
        node.ledger.gate.set()
        node.scp.stop(2)
        for line in node.sockets:
            line.close()


@pytest.fixture
def node(start_node: StartNode) -> Node:
    """A node that everybody may send to."""
    return start_node()


class TestPacs:
    """A small storage SCP that answers as it is told."""

    __test__ = False

    def __init__(self) -> None:
        self.status: list[int] = []
        self.received: list[tuple[str, bytes]] = []
        self.before_answer: Callable[[evt.Event], None] = lambda _: None
        self._servers: list[Any] = []
        self._sockets: list[socket.socket] = []

    def listen(self, contexts: list[Any], **options: Any) -> Peer:
        """Start accepting these presentation contexts."""
        entity = AE("PACS1")
        for name, value in options.items():
            setattr(entity, name, value)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_CONN_OPEN, _remember, [self._sockets])]
        server = entity.start_server(("127.0.0.1", 0), block=False, contexts=contexts, evt_handlers=handlers)
        self._servers.append(server)
        return Peer.parse("PACS1", "127.0.0.1", server.server_address[1])

    def _store(self, event: evt.Event) -> int:
        self.before_answer(event)
        self.received.append((str(event.request.AffectedSOPInstanceUID), event.request.DataSet.getvalue()))
        return self.status.pop(0) if self.status else 0x0000

    def stop(self) -> None:
        """Stop all that was started."""
        for server in self._servers:
            for association in server.active_associations:
                association.abort()
            server.shutdown()
        for line in self._sockets:
            line.close()


@pytest.fixture
def pacs() -> Iterator[TestPacs]:
    """Return a PACS that is stopped afterwards."""
    pacs = TestPacs()
    yield pacs
    pacs.stop()


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> Papers:
    """Return keys and certificates of CAs made here."""
    return make_papers(tmp_path_factory.mktemp("papers"), require_tool("openssl", "openssl"))


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., OutgoingObject]:
    """Return a function that makes a stored object: SOP class, transfer syntax -> OutgoingObject."""

    def make(sop_class: str = MRImageStorage, syntax: str = ExplicitVRLittleEndian, **changes: Any) -> OutgoingObject:
        image = mr_image(SOPClassUID=sop_class, **changes)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = syntax
        path = tmp_path / f"{image.SOPInstanceUID}.dcm"
        image.save_as(path, enforce_file_format=True)
        return OutgoingObject(path, sop_class, image.SOPInstanceUID, syntax)

    return make


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., bool]:
    """Return `eventually`: tests cannot import from a conftest."""
    return eventually


@pytest.fixture(name="rejection")
def rejection_fixture() -> Callable[[PeerAssociation], tuple[int, int, int]]:
    """Return `rejection`."""
    return rejection


@pytest.fixture(name="mr_image")
def mr_image_fixture() -> Callable[..., Dataset]:
    """Return `mr_image`."""
    return mr_image


@pytest.fixture(name="encoded")
def encoded_fixture() -> Callable[[Dataset], bytes]:
    """Return `encoded`."""
    return encoded
