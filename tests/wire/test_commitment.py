"""Storage Commitment Push Model (PS3.4 Annex J): the report tells the truth, and no request is forgotten."""

import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance, Verification

from dicom_node.delivering import Delivering
from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import free_port, peer
from dicom_node.entities import Peer
from dicom_node.flow import Flow
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.lifecycle import DeliveryState
from dicom_node.requestor import leave_answers
from dicom_node.settings import DeliverySettings, ReceptionSettings, Settings, Source
from dicom_node.storage_scp import CommitmentDesk, StorageSCP

_CONTEXTS = [
    build_context(MRImageStorage, ExplicitVRLittleEndian),
    build_context(StorageCommitmentPushModel),
]


@dataclass
class House:
    """A node with a real ledger, and a requester that writes down the reports it is given."""

    scp: StorageSCP
    store: InstanceStore
    ledger: Ledger
    flow: Flow
    delivering: Delivering
    port: int
    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    heard: threading.Event = field(default_factory=threading.Event)
    answer: int = 0x0000

    def note(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.request.EventTypeID, event.event_information))
        self.heard.set()
        return self.answer, None

    def open(self) -> Any:
        entity = AE("SCANNER")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
        association = entity.associate(
            "127.0.0.1",
            self.scp.port,
            _CONTEXTS,
            ae_title="NODE",
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.note)],
        )
        assert association.is_established
        leave_answers(association)
        return association

    def listen(self, sop_class: str = StorageCommitmentPushModel, **role: bool) -> Any:
        """Listen for reports as a requester does that has let its association go."""
        entity = AE("SCANNER")
        entity.add_supported_context(sop_class, **role)
        return entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.note)]
        )

    def ask(self, association: Any, *wanted: tuple[str, str], transaction: str | None = None) -> int:
        """Ask for commitment; return the status of the answer."""
        action = Dataset()
        action.TransactionUID = transaction or generate_uid()
        action.ReferencedSOPSequence = [_reference(*pair) for pair in wanted]
        status, _ = association.send_n_action(
            action, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        return int(status.Status)

    def reported(self) -> None:
        self.delivering.report_commitments()

    def state(self) -> DeliveryState:
        (latest,) = self.ledger.commitments.latest(1)
        return latest.state


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


StartHouse = Callable[..., House]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartHouse]:
    """Return a function that starts a node; on the same folder again it is the node after a crash."""
    started: list[House] = []

    def start_one(*, listens: bool = True) -> House:
        port = free_port()
        host = "127.0.0.1" if listens else None
        scanner = Source(
            name="s", ae_titles=("SCANNER",), addresses=("*",), commitment_host=host, commitment_port=port
        )
        waits = DeliverySettings(first_wait_seconds=0.1, longest_wait_seconds=0.2)
        settings = Settings(sources=(scanner,), delivery=waits)
        store = InstanceStore(tmp_path / "store", 0)
        ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
        desk = CommitmentDesk(ledger.commitments, ledger.proofs, store, "node1", 86400.0, time.time)
        reception = ReceptionSettings().model_copy(update={"port": 0, "journal_mib": 2})
        scp = StorageSCP(reception, "NODE", settings.sources, store, ledger.arrivals, time.time, desk)
        # the flow reaches for compute and rules in other stages only
        flow = Flow(settings, ledger, store, None, None, time.time)  # type: ignore[arg-type]
        scp.start()
        started.append(House(scp, store, ledger, flow, Delivering(settings, ledger, store, time.time), port))
        return started[-1]

    yield start_one
    for house in started:
        house.scp.stop(2)
        house.ledger.close()


@pytest.fixture
def house(start: StartHouse) -> House:
    return start()


def _stored(association: Any, mr_image: Any) -> str:
    image = mr_image()
    image.file_meta = Dataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert association.send_c_store(image).Status == 0
    return str(image.SOPInstanceUID)


def test_all_is_here(house: House, mr_image: Any) -> None:
    """Everything stored: event type 1 on the same association (PS3.4 J.3.3.1.1), with no Failed SOP Sequence."""
    association = house.open()
    uids = [_stored(association, mr_image) for _ in range(3)]
    assert house.ask(association, *((MRImageStorage, uid) for uid in uids), transaction="2.25.99") == 0
    assert house.heard.wait(10)
    association.release()
    ((kind, told),) = house.reports
    assert (kind, told.TransactionUID) == (1, "2.25.99")
    assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence] == uids
    assert "FailedSOPSequence" not in told


def test_each_failure_has_its_reason(house: House, mr_image: Any) -> None:
    """Unknown 0x0112; other SOP class 0x0119; file gone or cut short 0x0112 (PS3.3 C.14.1.1); event type 2."""
    association = house.open()
    good, gone, cut, conflicting = (_stored(association, mr_image) for _ in range(4))
    for uid, change in ((gone, Path.unlink), (cut, _cut)):
        (path,) = (house.store.root / "instances").rglob(f"{uid}-*.dcm")
        change(path)
    wanted = [(MRImageStorage, good), (MRImageStorage, gone), (MRImageStorage, cut), (MRImageStorage, "2.25.404")]
    assert house.ask(association, *wanted, (CTImageStorage, conflicting)) == 0
    assert house.heard.wait(10)
    association.release()
    ((kind, told),) = house.reports
    assert kind == 2
    assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence] == [good]
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in told.FailedSOPSequence}
    assert failed == {gone: 0x0112, cut: 0x0112, "2.25.404": 0x0112, conflicting: 0x0119}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def test_a_disk_that_does_not_say(house: House, mr_image: Any) -> None:
    """A store that cannot be asked gives 0x0110, processing failure, and never a promise."""
    association = house.open()
    uid = _stored(association, mr_image)
    (path,) = (house.store.root / "instances").rglob(f"{uid}-*.dcm")
    folder = path.parent
    path.unlink()
    folder.rmdir()
    folder.write_bytes(b"a file where the series was: NotADirectoryError")
    assert house.ask(association, (MRImageStorage, uid)) == 0
    assert house.heard.wait(10)
    association.release()
    assert house.reports[0][1].FailedSOPSequence[0].FailureReason == 0x0110


def test_several_requests_on_one_association(house: House, mr_image: Any, eventually: Any) -> None:
    """Each request has its own report, and storing goes on meanwhile."""
    association = house.open()
    for _ in range(4):
        assert house.ask(association, (MRImageStorage, _stored(association, mr_image))) == 0
    assert eventually(lambda: len(house.reports) == 4)
    association.release()
    assert {kind for kind, _ in house.reports} == {1}
    assert len({told.TransactionUID for _, told in house.reports}) == 4


def test_a_requester_that_has_gone_is_called(house: House, mr_image: Any, eventually: Any) -> None:
    """Released at once: the report comes by a new association, with the node in the role of SCP (PS3.7 D.3.3.4)."""
    server = house.listen(scu_role=True, scp_role=True)
    association = house.open()
    uid = _stored(association, mr_image)
    assert house.ask(association, (MRImageStorage, uid)) == 0
    association.abort()
    assert eventually(lambda: house.delivering.report_commitments() or house.reports, 15)
    assert eventually(lambda: house.state() is DeliveryState.DELIVERED)
    server.shutdown()
    assert len(house.reports) == 1
    assert house.reports[0][1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid


def test_orthanc_asks_for_commitment(
    house: House,
    tmp_path: Path,
    shared_data: Path,
    require_tool: Any,
    missing: Callable[[str], NoReturn],
    eventually: Any,
) -> None:
    """A real requester, which waits for the report as an SCP: Orthanc sends, asks, and is told "Success"."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    node = Peer.parse("NODE", "127.0.0.1", house.scp.port)
    with OrthancPacs(tmp_path / "orthanc", "SCANNER", house.port, modalities={"node": node}) as orthanc:
        push(find_study(shared_data / "transfer-syntaxes"), peer(orthanc), "SCANNER", lambda _: None)

        def asked(method: str, path: str, body: object = None) -> Any:
            with closing(http.client.HTTPConnection("127.0.0.1", orthanc.http_port, timeout=60)) as line:
                line.request(method, path, json.dumps(body))
                return json.loads(line.getresponse().read())

        body = {"Resources": asked("GET", "/instances"), "Synchronous": True, "StorageCommitment": True}
        transaction = asked("POST", "/modalities/node/store", body)["StorageCommitmentTransactionUID"]

        def told() -> str:
            house.delivering.report_commitments()
            return str(asked("GET", f"/storage-commitment/{transaction}")["Status"])

        assert eventually(lambda: told() != "Pending", 20)
        report = asked("GET", f"/storage-commitment/{transaction}")
        assert (report["Status"], len(report["Success"])) == ("Success", len(body["Resources"]))
        assert house.state() is DeliveryState.DELIVERED


def test_a_requester_that_is_away_is_tried_again(house: House, mr_image: Any, eventually: Any) -> None:
    """Nobody listens: waiting, with a reason; then somebody does, and is told the truth of that later moment."""
    association = house.open()
    uid = _stored(association, mr_image)
    assert house.ask(association, (MRImageStorage, uid)) == 0
    association.abort()
    assert eventually(lambda: house.reported() or house.ledger.commitments.latest(1)[0].reason, 15)
    assert house.state() is DeliveryState.WAITING
    (path,) = (house.store.root / "instances").rglob(f"{uid}-*.dcm")
    path.unlink()
    server = house.listen(scu_role=True, scp_role=True)
    assert eventually(lambda: house.delivering.report_commitments() or house.reports, 15)
    server.shutdown()
    assert house.reports[0][0] == 2


def test_a_requester_that_takes_no_reports(house: House, mr_image: Any, eventually: Any) -> None:
    """A listener that does not accept Storage Commitment is not told, and the reason says so."""
    server = house.listen(sop_class=Verification)
    association = house.open()
    assert house.ask(association, (MRImageStorage, "2.25.1")) == 0
    association.abort()
    assert eventually(lambda: house.reported() or house.ledger.commitments.latest(1)[0].reason, 15)
    server.shutdown()
    assert house.reports == []
    assert "does not accept" in house.ledger.commitments.latest(1)[0].reason


def test_a_requester_that_ignores_role_selection(house: House, eventually: Any) -> None:
    """Many listeners answer no role item, and take the report all the same."""
    server = house.listen()
    association = house.open()
    assert house.ask(association, (MRImageStorage, "2.25.1")) == 0
    association.abort()
    assert eventually(lambda: house.delivering.report_commitments() or house.reports, 15)
    server.shutdown()
    assert house.reports[0][0] == 2


def test_a_report_that_is_not_taken_waits(house: House, mr_image: Any, eventually: Any) -> None:
    """A requester that answers a failure on its association is told again, by a new one."""
    house.answer = 0x0110
    association = house.open()
    assert house.ask(association, (MRImageStorage, _stored(association, mr_image))) == 0
    assert eventually(lambda: house.ledger.commitments.latest(1)[0].reason)
    association.release()
    assert house.state() is DeliveryState.WAITING
    house.answer = 0
    server = house.listen(scu_role=True, scp_role=True)
    assert eventually(lambda: house.delivering.report_commitments() or house.state() is DeliveryState.DELIVERED, 15)
    server.shutdown()
    assert len(house.reports) == 2


def test_nowhere_to_report_to_is_held(start: StartHouse, eventually: Any) -> None:
    """Without commitment_host a request whose association is over waits for a person, with what to configure."""
    house = start(listens=False)
    association = house.open()
    assert house.ask(association, (MRImageStorage, "2.25.1")) == 0
    association.abort()
    assert eventually(lambda: house.delivering.report_commitments() or house.state() is DeliveryState.HELD, 15)
    assert "commitment_host" in house.ledger.commitments.latest(1)[0].reason


def test_a_crash_forgets_no_request(start: StartHouse, mr_image: Any, eventually: Any) -> None:
    """0x0000 to the N-ACTION means that the request is on disk: the node that starts again reports it."""
    first = start()
    association = first.open()
    uid = _stored(association, mr_image)
    assert first.ask(association, (MRImageStorage, uid)) == 0
    association.abort()
    (taken,) = first.ledger.commitments.start("node1", time.time() + 60, time.time() + 600)  # and dies
    assert taken.request.references[0].sop_instance_uid == uid
    second = start()
    second.flow.take_back(starting=True)
    server = second.listen(scu_role=True, scp_role=True)
    assert eventually(lambda: second.delivering.report_commitments() or second.reports, 15)
    server.shutdown()
    assert second.reports[0][0] == 1


def test_a_repeated_request_is_reported_again(house: House, mr_image: Any, eventually: Any) -> None:
    """The same Transaction UID for the same instances asks again; for others it is refused (0x0115)."""
    association = house.open()
    uid = _stored(association, mr_image)
    for count in (1, 2):
        assert house.ask(association, (MRImageStorage, uid), transaction="2.25.7") == 0
        assert eventually(lambda count=count: len(house.reports) == count)
        assert eventually(lambda: house.state() is DeliveryState.DELIVERED)
    assert house.ask(association, (MRImageStorage, "2.25.8"), transaction="2.25.7") == 0x0115
    association.release()


def test_requests_that_are_none(house: House) -> None:
    """Another instance 0x0112, another action 0x0123, no references or UID 0x0115 (PS3.7 10.1.4.1.10)."""
    association = house.open()
    empty = Dataset()
    empty.TransactionUID = "2.25.1"
    nameless = Dataset()
    nameless.ReferencedSOPSequence = [_reference(MRImageStorage, "2.25.1")]

    def asked(action: Dataset, kind: int, instance: str) -> int:
        return int(association.send_n_action(action, kind, StorageCommitmentPushModel, instance)[0].Status)

    good = StorageCommitmentPushModelInstance
    assert asked(empty, 1, "2.25.5") == 0x0112
    assert asked(empty, 2, good) == 0x0123
    assert asked(empty, 1, good) == 0x0115
    assert asked(nameless, 1, good) == 0x0115
    association.release()
    assert house.ledger.commitments.latest(5) == []


def test_a_ledger_that_fails_promises_nothing(house: House, tmp_path: Path) -> None:
    """A request that cannot be kept is 0x0110, and the association goes on."""
    association = house.open()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
        other.execute("ALTER TABLE commitments RENAME TO elsewhere")
    assert house.ask(association, (MRImageStorage, "2.25.1")) == 0x0110
    other.close()
    association.release()
