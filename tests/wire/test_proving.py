"""What was delivered is proven, and nothing goes to another patient's study: a node's flow against archives."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
)
from sqlalchemy import update

from dicom_node.delivering import Delivering
from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import free_port
from dicom_node.entities import Peer
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Delivery, Ledger, open_ledger
from dicom_node.ledger.schema import deliveries
from dicom_node.lifecycle import ARRIVED, DeliveryState
from dicom_node.requestor import leave_answers
from dicom_node.senders import Senders
from dicom_node.settings import (
    ClientTlsSettings,
    Confirmation,
    DeliverySettings,
    Destination,
    DicomDestination,
    PatientCheck,
    ReceptionSettings,
    Settings,
    Source,
)
from dicom_node.storage_scp import CommitmentDesk, StorageSCP
from tests.ledger_cases import NOW, STUDY, finished, new_job
from tests.tls_papers import Papers

IDENTITY = {"PatientID": "P-1", "PatientName": "Doe^Jane", "PatientBirthDate": "19700101"}


def result_file(delivery: Delivery, **changes: str) -> Dataset:
    """Return a result as it lies in the store, as far as an archive looks at it."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = delivery.sop_class_uid, delivery.sop_instance_uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = delivery.study_instance_uid, delivery.series_instance_uid
    dataset.Modality = delivery.kind
    for keyword, value in (IDENTITY | changes).items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


@dataclass
class Archive:
    """An archive of the test's own: it stores, finds and commits as it is told to."""

    port: int
    answers: tuple[str, ...] = ("store", "find", "commit")
    stored: dict[str, Dataset] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    loses: set[str] = field(default_factory=set)
    aborts_at: set[str] = field(default_factory=set)
    cannot_find: set[str] = field(default_factory=set)
    other_studies: int = 0
    told: int = 0
    patient: dict[str, str] = field(default_factory=lambda: dict(IDENTITY))
    has_study: bool = True
    asked: list[str] = field(default_factory=list)
    report_to: Peer | None = None
    reports_on_the_next: bool = False
    owed: list[tuple[Dataset, int]] = field(default_factory=list)
    reporting: list[threading.Thread] = field(default_factory=list)
    server: Any = None
    tls: ssl.SSLContext | None = None

    def start(self) -> None:
        entity = AE("PACS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
        if "store" in self.answers:
            for uid in (SegmentationStorage, Comprehensive3DSRStorage):
                entity.add_supported_context(uid)
        if "find" in self.answers:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        if "commit" in self.answers:
            entity.add_supported_context(StorageCommitmentPushModel)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_ACTION, self._commit),
        ]
        self.server = entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=handlers, ssl_context=self.tls
        )

    def stop(self) -> None:
        for each in self.reporting:
            each.join(10)
        if self.server is not None:
            self.server.shutdown()
            self.server = None

    def _store(self, event: evt.Event) -> int:
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        dataset = event.dataset
        if dataset.SOPInstanceUID in self.aborts_at:
            event.assoc.abort()
        elif dataset.SOPInstanceUID not in self.loses:
            self.stored[str(dataset.SOPInstanceUID)] = dataset
        return 0x0000

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        self.asked.append(str(asked.QueryRetrieveLevel))
        if asked.QueryRetrieveLevel == "STUDY":
            for number in range(self.other_studies):
                other = Dataset()
                other.QueryRetrieveLevel, other.StudyInstanceUID = "STUDY", f"9.9.{number}"
                yield 0xFF00, other
                self.told += 1
            if self.has_study:
                match = Dataset()
                match.QueryRetrieveLevel, match.StudyInstanceUID = "STUDY", asked.StudyInstanceUID
                for keyword, value in self.patient.items():
                    setattr(match, keyword, value)
                yield 0xFF00, match
            return
        if asked.StudyInstanceUID in self.cannot_find:
            yield 0xC000, None
            return
        wanted = asked.SOPInstanceUID
        for uid in [wanted] if isinstance(wanted, str) else wanted:
            if uid in self.stored:
                match = Dataset()
                match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", uid
                yield 0xFF00, match

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        action = event.action_information
        report = Dataset()
        report.TransactionUID = action.TransactionUID
        there = [each for each in action.ReferencedSOPSequence if each.ReferencedSOPInstanceUID in self.stored]
        gone = [each for each in action.ReferencedSOPSequence if each not in there]
        if there:
            report.ReferencedSOPSequence = there
        if gone:
            report.FailedSOPSequence = gone
            for each in gone:
                each.FailureReason = 0x0112
        self.owed.append((report, 2 if gone else 1))
        due = self.owed[:-1] if self.reports_on_the_next else list(self.owed)
        del self.owed[: len(due)]
        for each in due:
            work = threading.Thread(target=self._report, args=(event.assoc, *each))
            self.reporting.append(work)
            work.start()
        return 0x0000, None

    def _report(self, association: Any, report: Dataset, kind: int) -> None:
        time.sleep(0.2)  # the answer to the request first
        about = (report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        if self.report_to is None:
            association.send_n_event_report(*about)
            return
        while association.is_established:
            time.sleep(0.05)
        entity = AE("PACS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
        entity.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        own = entity.associate(self.report_to.host, self.report_to.port, ae_title="NODE", ext_neg=[role])
        assert own.is_established
        leave_answers(own)
        status, _ = own.send_n_event_report(*about)
        assert status.Status == 0x0000
        own.release()


@dataclass
class Clock:
    """A clock that a test moves; UTC seconds."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """A node's flow with a real ledger and store, its SCP, and one destination."""

    delivering: Delivering
    ledger: Ledger
    store: InstanceStore
    scp: StorageSCP
    destination: Destination
    clock: Clock

    def deliveries(self) -> list[Delivery]:
        return self.ledger.deliveries.of_study(STUDY)

    def states(self) -> list[DeliveryState]:
        return [each.state for each in self.deliveries()]

    def make(self, **changes: str) -> None:
        """Let a job end: its SEG and SR wait for the destination."""
        finished(self.ledger)
        self.write_files(STUDY, **changes)

    def write_files(self, study: str, **changes: str) -> None:
        """Lay the results of a study into the store."""
        for each in self.ledger.deliveries.of_study(study):
            path = self.store.path_of(each.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            dcmwrite(path, result_file(each, **changes), enforce_file_format=True)

    def deliver_and_prove(self) -> None:
        self.delivering.deliver(self.destination)
        self.delivering.prove(self.destination)


StartHouse = Callable[..., House]


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Give an archive that is not started yet."""
    made = Archive(free_port())
    yield made
    made.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartHouse]:
    """Return a function that starts a node whose destination is at a port."""
    started: list[House] = []

    def start_one(port: int, ae_title: str = "PACS", **changes: Any) -> House:
        pacs = DicomDestination(name="pacs", ae_title=ae_title, host="127.0.0.1", port=port, timeout_seconds=10)
        pacs = pacs.model_copy(update=changes)
        waits = DeliverySettings(first_wait_seconds=0.1, longest_wait_seconds=0.2, confirm_after_seconds=0)
        anybody = Source(name="anybody", ae_titles=("*",), addresses=("*",))
        settings = Settings(sources=(anybody,), destinations=(pacs,), delivery=waits)
        store = InstanceStore(tmp_path / "store", 0)
        ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
        desk = CommitmentDesk(ledger.commitments, ledger.proofs, store, "node1", 86400.0, time.time)
        reception = ReceptionSettings().model_copy(update={"port": 0, "journal_mib": 2})
        scp = StorageSCP(reception, "NODE", settings.sources, store, ledger.arrivals, time.time, desk)
        clock = Clock(_LATER)
        delivering = Delivering(settings, ledger, store, clock)
        scp.start()
        started.append(House(delivering, ledger, store, scp, pacs, clock))
        return started[-1]

    yield start_one
    for house in started:
        house.scp.stop(2)
        house.ledger.close()


#: Within the day that deliveries of `ledger_cases` are tried.
_LATER = 1_800_000_000.0 + 60


def test_committed_on_the_same_association(start: StartHouse, archive: Archive) -> None:
    """Delivered, then confirmed by the archive's report on the association that asked."""
    archive.start()
    house = start(archive.port)
    house.make()
    house.delivering.deliver(house.destination)
    assert house.states() == [DeliveryState.DELIVERED] * 2
    house.delivering.prove(house.destination)
    assert house.states() == [DeliveryState.CONFIRMED] * 2
    assert {each.proof for each in house.deliveries()} == {"storage commitment"}


def test_committed_on_an_association_of_the_archive(start: StartHouse, archive: Archive, eventually: Any) -> None:
    """The report comes later, by an association to the node in the role of SCP: its receiver takes it."""
    house = start(archive.port)
    archive.report_to = Peer.parse("NODE", "127.0.0.1", house.scp.port)
    archive.start()
    house.make()
    house.deliver_and_prove()
    assert eventually(lambda: house.states() == [DeliveryState.CONFIRMED] * 2, 15)


def test_committed_on_the_next_association(start: StartHouse, archive: Archive, eventually: Any) -> None:
    """The report on one request comes while the node asks for others: it counts all the same."""
    archive.reports_on_the_next = True
    archive.start()
    house = start(archive.port)
    house.make()
    house.deliver_and_prove()
    assert house.states() == [DeliveryState.DELIVERED] * 2
    finished(house.ledger, study="4.5.6")
    house.write_files("4.5.6")
    house.deliver_and_prove()
    assert eventually(lambda: house.states() == [DeliveryState.CONFIRMED] * 2)
    assert {each.state for each in house.ledger.deliveries.of_study("4.5.6")} == {DeliveryState.DELIVERED}


def test_what_is_lost_is_sent_again(start: StartHouse, archive: Archive, eventually: Any) -> None:
    """An archive that answered success and has lost an object gets it again by itself, then it is confirmed."""
    archive.start()
    house = start(archive.port)
    house.make()
    seg, sr = house.deliveries()
    archive.loses.add(seg.sop_instance_uid)
    house.deliver_and_prove()
    assert house.states() == [DeliveryState.WAITING, DeliveryState.CONFIRMED]
    assert house.deliveries()[0].reason == "storage commitment failed with reason 0x0112"
    archive.loses.clear()
    assert sr.sop_instance_uid in archive.stored
    house.ledger.deliveries.bring_back("pacs", _LATER, every=True)
    house.deliver_and_prove()
    assert house.states() == [DeliveryState.CONFIRMED] * 2
    assert (house.deliveries()[0].resends, house.deliveries()[1].resends) == (1, 0)


def test_a_query_counts_where_commitment_is_not_offered(start: StartHouse, archive: Archive) -> None:
    """C-FIND for the instances proves them; what it does not find is asked for again, later."""
    archive.answers = ("store", "find")
    archive.start()
    house = start(archive.port)
    house.make()
    seg, _ = house.deliveries()
    archive.loses.add(seg.sop_instance_uid)
    house.deliver_and_prove()
    assert house.states() == [DeliveryState.DELIVERED, DeliveryState.CONFIRMED]
    assert [each.proof for each in house.deliveries()] == [
        "not shown there yet",
        f"found by C-FIND at PACS@127.0.0.1:{archive.port}",
    ]


def test_a_question_that_is_refused_holds_up_no_other_study(start: StartHouse, archive: Archive) -> None:
    """An archive that fails at one study's query proves the others all the same."""
    archive.answers = ("store", "find")
    archive.cannot_find.add(STUDY)
    archive.start()
    house = start(archive.port)
    house.make()
    finished(house.ledger, study="4.5.6")
    house.write_files("4.5.6")
    house.deliver_and_prove()
    assert {each.state for each in house.ledger.deliveries.of_study("4.5.6")} == {DeliveryState.CONFIRMED}
    assert house.states() == [DeliveryState.DELIVERED] * 2
    assert all(each.proof.endswith("answered a C-FIND with status 0xC000") for each in house.deliveries())


def test_everything_goes_over_tls(start: StartHouse, archive: Archive, papers: Papers) -> None:
    """Whose the study is, the objects, commitment and queries: one `[destination.tls]` holds for all of them."""
    archive.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    archive.tls.load_cert_chain(papers.certificate("node"), papers.key("node"))
    archive.tls.load_verify_locations(papers.certificate("ca"))
    archive.tls.verify_mode = ssl.CERT_REQUIRED
    archive.start()
    tls = ClientTlsSettings(
        ca=papers.certificate("ca"), certificate=papers.certificate("mr1"), private_key=papers.key("mr1")
    )
    house = start(archive.port, tls=tls)
    house.make()
    house.deliver_and_prove()
    assert archive.asked == ["STUDY"]
    assert {(each.state, each.proof) for each in house.deliveries()} == {
        (DeliveryState.CONFIRMED, "storage commitment")
    }
    senders = Senders("NODE", time.time)
    (seg, _), queries = house.deliveries(), senders.archive(house.destination)
    assert queries is not None
    wanted = {seg.series_instance_uid: [seg.sop_instance_uid, "1.2.3"]}
    assert queries.find_instances(STUDY, wanted) == {seg.sop_instance_uid}


def test_nothing_is_asked_in_the_clear(start: StartHouse, archive: Archive, papers: Papers) -> None:
    """A receiver that is no TLS receiver, or not the one that `ca` knows, is asked and sent nothing."""
    archive.start()
    house = start(archive.port, tls=ClientTlsSettings(ca=papers.certificate("ca")), timeout_seconds=2)
    house.make()
    house.deliver_and_prove()
    assert house.states() == [DeliveryState.WAITING] * 2
    assert (archive.asked, archive.stored) == ([], {})
    missing = house.destination.model_copy(update={"tls": ClientTlsSettings(ca=papers.folder / "none.pem")})
    house.ledger.deliveries.bring_back("pacs", _LATER, every=True)
    house.clock.now += 600
    house.delivering = Delivering(Settings(destinations=(missing,)), house.ledger, house.store, house.clock)
    house.delivering.deliver(missing)
    assert all("none.pem" in each.reason for each in house.deliveries())


def test_a_damaged_result_holds_up_no_other(start: StartHouse, archive: Archive) -> None:
    """Whose a result is cannot be read from a damaged file: it is held for that, and the others go."""
    archive.start()
    house = start(archive.port)
    house.make()
    seg, _ = house.deliveries()
    house.store.path_of(seg.path).write_bytes(b"not a DICOM file")
    house.delivering.deliver(house.destination)
    assert house.states() == [DeliveryState.HELD, DeliveryState.DELIVERED]
    assert "is the store damaged?" in house.deliveries()[0].reason


def test_a_result_whose_patient_cannot_be_read_goes_nowhere(start: StartHouse, archive: Archive) -> None:
    """The File Meta Information is good, so its bytes could be sent; whose they are nobody knows."""
    archive.start()
    house = start(archive.port)
    house.make()
    seg, _ = house.deliveries()
    path = house.store.path_of(seg.path)
    whole = path.read_bytes()
    broken = whole[: whole.index(b"\x08\x00\x16\x00")] + b"\x08\x00\x05\x00CS\xff\x00short"
    path.write_bytes(broken)
    house.delivering.deliver(house.destination)
    assert house.states() == [DeliveryState.HELD, DeliveryState.DELIVERED]
    assert seg.sop_instance_uid not in archive.stored
    assert archive.received == [house.deliveries()[1].sop_instance_uid]


def test_an_object_that_an_archive_cannot_bear_is_no_outage(start: StartHouse, archive: Archive) -> None:
    """The archive ends the association at one object: that one waits, the other goes, nothing else is held up."""
    archive.start()
    house = start(archive.port)
    house.make()
    seg, _ = house.deliveries()
    archive.aborts_at.add(seg.sop_instance_uid)
    house.deliver_and_prove()
    assert house.states() == [DeliveryState.WAITING, DeliveryState.CONFIRMED]
    assert not [kind for _, kind, _ in house.ledger.events() if kind == "destination down"]


def test_what_offers_no_proof_stays_delivered(start: StartHouse, archive: Archive) -> None:
    """An archive with neither service: delivered, with the reason why it is not proven, and not asked again."""
    archive.answers = ("store",)
    archive.start()
    house = start(archive.port)
    house.make()
    house.deliver_and_prove()
    assert house.states() == [DeliveryState.DELIVERED] * 2
    (why,) = {each.proof for each in house.deliveries()}
    assert why.startswith("not proven: PACS@127.0.0.1")
    assert "does not accept Study Root Query" in why
    assert house.ledger.proofs.start("pacs", "node1", _LATER + 1e6, _LATER + 2e6, 50) == []


def test_nobody_is_asked_for_ever(start: StartHouse, archive: Archive) -> None:
    """An archive that took an object and then never says whether it has it: given up after its days."""
    archive.start()
    house = start(archive.port, timeout_seconds=1)
    house.make()
    house.delivering.deliver(house.destination)
    archive.stop()
    house.clock.now += 60
    house.delivering.prove(house.destination)
    with house.ledger.engine.begin() as connection:
        connection.execute(update(deliveries).values(proof_attempts=5000))
    house.clock.now += 3600
    house.delivering.prove(house.destination)
    (why,) = {each.proof for each in house.deliveries()}
    assert "does not answer" in why
    house.clock.now += 30 * 86400
    house.delivering.prove(house.destination)
    (why,) = {each.proof for each in house.deliveries()}
    assert why.startswith("not proven, gave up after 14 days: PACS@127.0.0.1")
    assert house.states() == [DeliveryState.DELIVERED] * 2
    assert house.ledger.proofs.start("pacs", "node1", _LATER + 1e9, _LATER + 2e9, 50) == []


@pytest.mark.parametrize(
    ("way", "levels"), [(Confirmation.QUERY, ["STUDY", "IMAGE", "IMAGE"]), (Confirmation.NONE, ["STUDY"])]
)
def test_the_way_of_proof_is_a_setting(
    start: StartHouse, archive: Archive, way: Confirmation, levels: list[str]
) -> None:
    """`confirm = "query"` asks no commitment, "none" nothing at all."""
    archive.start()
    house = start(archive.port, confirm=way)
    house.make()
    house.deliver_and_prove()
    assert archive.asked == levels
    assert archive.reporting == []


@pytest.mark.parametrize(
    "theirs", [{"PatientID": "P-2"}, {"PatientBirthDate": "19700102"}, {"PatientID": ""}], ids=str
)
def test_another_patients_study_gets_nothing(start: StartHouse, archive: Archive, theirs: dict[str, str]) -> None:
    """Held, nothing sent, both identities kept for a person - and in no reason, event or log line."""
    archive.start()
    archive.patient |= theirs
    house = start(archive.port)
    house.make()
    house.delivering.deliver(house.destination)
    assert archive.stored == {}
    assert house.states() == [DeliveryState.HELD] * 2
    (conflict,) = house.ledger.proofs.conflicts(STUDY)
    assert (conflict.ours["PatientID"], conflict.theirs["PatientID"]) == ("P-1", archive.patient["PatientID"])
    told = [text for _, _, text in house.ledger.events(study=STUDY)] + [each.reason for each in house.deliveries()]
    assert all(next(iter(theirs)) in text for text in told if "another patient" in text)
    assert not any("P-1" in text or "Doe" in text or "P-2" in text for text in told)


def test_a_conflict_that_is_mended_is_forgotten(start: StartHouse, archive: Archive) -> None:
    """After the archive is corrected, a retry delivers, and the conflict is gone."""
    archive.start()
    archive.patient["PatientID"] = "P-2"
    house = start(archive.port)
    house.make()
    house.delivering.deliver(house.destination)
    archive.patient["PatientID"] = "P-1"
    for each in house.deliveries():
        assert house.ledger.deliveries.retry(each.id, _LATER, _LATER + 3600)
    house.delivering.deliver(house.destination)
    assert house.states() == [DeliveryState.DELIVERED] * 2
    assert house.ledger.proofs.conflicts() == []


@pytest.mark.parametrize(
    ("check", "arrives"), [(PatientCheck.REQUIRED, False), (PatientCheck.IF_THERE, True), (PatientCheck.OFF, True)]
)
def test_a_study_that_is_not_there(start: StartHouse, archive: Archive, check: PatientCheck, arrives: bool) -> None:
    """Results wait until the archive has the images, unless a setting says that they need not."""
    archive.has_study = False
    archive.start()
    house = start(archive.port, check_patient=check)
    house.make()
    house.delivering.deliver(house.destination)
    assert all((each.state in ARRIVED) is arrives for each in house.deliveries())
    assert len(archive.stored) == (2 if arrives else 0)
    if not arrives:
        assert "does not have the study yet" in house.deliveries()[0].reason
    assert archive.asked == ([] if check is PatientCheck.OFF else ["STUDY"])


@pytest.mark.parametrize(("others", "state"), [(3, DeliveryState.DELIVERED), (100_000, DeliveryState.WAITING)])
def test_an_archive_that_tells_of_other_studies(
    start: StartHouse, archive: Archive, others: int, state: DeliveryState
) -> None:
    """Only the study that was asked for counts; one that answers with all it has is not listened to for ever."""
    archive.other_studies = others
    archive.start()
    house = start(archive.port)
    house.make()
    house.delivering.deliver(house.destination)
    assert house.states() == [state] * 2
    assert archive.told < 50_000
    if others > 3:
        assert "it ignores its UID" in house.deliveries()[0].reason


def test_spelling_of_names_and_missing_issuers_are_no_conflict(start: StartHouse, archive: Archive) -> None:
    """Names are spelled in many ways, and an archive may add an issuer: the same patient all the same."""
    archive.patient |= {"PatientName": "DOE^JANE^^", "IssuerOfPatientID": "HOSPITAL"}
    archive.start()
    house = start(archive.port)
    house.make()
    house.delivering.deliver(house.destination)
    assert house.states() == [DeliveryState.DELIVERED] * 2


def test_an_archive_that_is_away_is_left_alone(start: StartHouse, archive: Archive) -> None:
    """One attempt, one event; then the breaker is open, and what waits keeps its turn until it is probed."""
    house = start(archive.port)
    house.make()
    house.delivering.deliver(house.destination)
    house.delivering.deliver(house.destination)
    assert [each.attempts for each in house.deliveries()] == [1, 1]
    assert [kind for _, kind, _ in house.ledger.events() if kind == "destination down"] == ["destination down"]
    archive.start()
    house.delivering.probe(house.destination)
    house.delivering.deliver(house.destination)
    assert house.states() == [DeliveryState.DELIVERED] * 2


def test_seven_days_of_outage_lose_nothing(start: StartHouse, archive: Archive) -> None:
    """An archive that is away for a week gets everything when it is back, the urgent first, each in its turn.

    With the days that a delivery is tried by default, and tried again in the last hour of the week.
    """
    tried = DeliverySettings().give_up_days * 86400
    house = start(archive.port)
    days = 7
    for day in range(days):
        rule = new_job(f"day {day}", priority=0 if day == days - 1 else 2)
        finished(house.ledger, rule, study=f"1.2.{day}", give_up_at=NOW + day * 86400 + tried)
        house.write_files(f"1.2.{day}")
        for _ in range(24):
            house.clock.now += 3600
            house.delivering.deliver(house.destination)
            house.delivering.probe(house.destination)
    waiting = house.ledger.deliveries.in_state(DeliveryState.WAITING)
    assert len(waiting) == 2 * days
    assert [each.kind for each in house.ledger.deliveries.in_state(DeliveryState.HELD)] == []
    archive.start()
    house.delivering.probe(house.destination)
    house.delivering.deliver(house.destination)
    assert house.ledger.deliveries.in_state(DeliveryState.WAITING) == []
    studies = [str(each.StudyInstanceUID) for each in archive.stored.values()]
    assert studies[::2] == studies[1::2] == [f"1.2.{day}" for day in (6, 0, 1, 2, 3, 4, 5)]
    told = [kind for _, kind, _ in house.ledger.events(limit=100000) if kind.startswith("destination")]
    assert told == ["destination down", "destination back"]


def test_orthanc_finds_and_commits(
    start: StartHouse, tmp_path: Path, require_tool: Any, missing: Callable[[str], NoReturn], eventually: Any
) -> None:
    """A real archive: asked whose the study is, it stores, and reports commitment to the node's own port."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    port = free_port()
    house = start(port, "ORTHANC", check_patient=PatientCheck.IF_THERE, calling_ae_title="NODE")
    node = Peer.parse("NODE", "127.0.0.1", house.scp.port)
    with OrthancPacs(tmp_path / "orthanc", "ORTHANC", port, modalities={"node": node}):
        house.make()
        house.deliver_and_prove()
        assert eventually(lambda: house.states() == [DeliveryState.CONFIRMED] * 2, 20)
        assert {each.proof for each in house.deliveries()} == {"storage commitment"}


def test_orthanc_is_asked_whose_a_study_is(
    start: StartHouse, tmp_path: Path, require_tool: Any, missing: Callable[[str], NoReturn]
) -> None:
    """A real archive that has the study under another patient gets nothing more for it."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    port = free_port()
    house = start(port, "ORTHANC", confirm=Confirmation.QUERY)
    with OrthancPacs(tmp_path / "orthanc", "ORTHANC", port) as orthanc:
        house.make()
        image = result_file(replace(house.deliveries()[0], sop_instance_uid="1.2.3.9"), PatientID="P-2")
        (tmp_path / "images").mkdir()
        dcmwrite(tmp_path / "images" / "1.dcm", image, enforce_file_format=True)
        push(find_study(tmp_path / "images"), Peer.parse("ORTHANC", "127.0.0.1", port), "SCANNER", lambda _: None)
        house.delivering.deliver(house.destination)
        assert house.states() == [DeliveryState.HELD] * 2
        assert [conflict.theirs["PatientID"] for conflict in house.ledger.proofs.conflicts()] == ["P-2"]
        assert len(orthanc.stored()) == 1


def test_orthanc_shows_what_it_has(
    start: StartHouse, tmp_path: Path, require_tool: Any, missing: Callable[[str], NoReturn]
) -> None:
    """A real archive's C-FIND proves what it has, by study, series and instance."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    port = free_port()
    house = start(port, "ORTHANC", confirm=Confirmation.QUERY, check_patient=PatientCheck.IF_THERE)
    with OrthancPacs(tmp_path / "orthanc", "ORTHANC", port):
        house.make()
        house.deliver_and_prove()
        assert house.states() == [DeliveryState.CONFIRMED] * 2
        assert {each.proof for each in house.deliveries()} == {f"found by C-FIND at ORTHANC@127.0.0.1:{port}"}
