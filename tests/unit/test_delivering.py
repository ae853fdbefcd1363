"""How long deliveries wait, and what an archive must say for a study to be the same patient's."""

import os
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.delivering import Delivering
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger
from dicom_node.lifecycle import DeliveryState
from dicom_node.offers import Offers
from dicom_node.proving import disagreement
from dicom_node.senders import querying_peer
from dicom_node.settings import DicomDestination, FolderDestination, QueryPeer, Settings
from tests.ledger_cases import NOW, STUDY, finished
from tests.study_cases import write_study

OURS = {"PatientID": "1", "IssuerOfPatientID": "H", "PatientName": "Doe^Jane", "PatientBirthDate": "19700101"}


def write_results(ledger: Ledger, store: InstanceStore, folder: Path, study: str = STUDY) -> None:
    """Lay the results of a study into the store, as far as a folder looks at them."""
    write_study(folder / study, slices=1)
    for delivery in ledger.deliveries.of_study(study):
        path = store.path_of(delivery.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        image = dcmread(folder / study / "0000.dcm")
        image.SOPInstanceUID, image.StudyInstanceUID = delivery.sop_instance_uid, study
        image.save_as(path)


@pytest.mark.parametrize(("attempts", "least", "most"), [(1, 22.5, 37.5), (3, 90, 150), (40, 2700, 4500)])
def test_waits_grow_and_are_spread(ledger: Ledger, tmp_path: Path, attempts: int, least: float, most: float) -> None:
    """30 s, 60 s, 120 s ... up to an hour, each a quarter more or less."""
    store = InstanceStore(tmp_path / "store", free_space_floor=0)
    delivering = Delivering(Settings(), ledger, store, lambda: 0.0)
    waits = [delivering._wait(attempts) for _ in range(50)]
    assert least <= min(waits) < max(waits) <= most
    assert len(set(waits)) > 10


@pytest.mark.parametrize(
    ("theirs", "wrong"),
    [
        ([OURS], ()),
        ([OURS | {"PatientName": "DOE^JANE"}], ()),
        ([OURS | {"IssuerOfPatientID": "", "PatientBirthDate": ""}], ()),
        ([OURS | {"PatientID": " 1"}], ()),
        ([OURS | {"PatientID": "2"}], ("PatientID",)),
        ([OURS | {"PatientID": ""}], ("PatientID",)),
        ([OURS | {"IssuerOfPatientID": "X", "PatientBirthDate": "1"}], ("IssuerOfPatientID", "PatientBirthDate")),
        ([OURS | {"PatientID": "2"}, OURS], ()),
        ([], ()),
    ],
)
def test_who_is_another_patient(theirs: list[dict[str, str]], wrong: tuple[str, ...]) -> None:
    """Patient ID, its issuer and the date of birth decide, where both sides have them; the ID always."""
    assert disagreement(OURS, theirs) == wrong


def test_queries_may_have_a_peer_of_their_own() -> None:
    """What `[destination.query]` leaves out is that of the destination."""
    pacs = DicomDestination(name="pacs", ae_title="PACS", host="pacs.example.org", port=104)
    assert str(querying_peer(pacs)) == "PACS@pacs.example.org:104"
    other = pacs.model_copy(update={"query": QueryPeer(ae_title="QUERY", port=105)})
    assert str(querying_peer(other)) == "QUERY@pacs.example.org:105"


def test_a_silent_destination_is_asked_again_though_nothing_waits(ledger: Ledger, tmp_path: Path) -> None:
    """When it was last asked, and what came of it, is known; once it answers, it is left alone by the probe."""
    share = FolderDestination(name="pacs", protocol="folder", path=tmp_path / "share")
    now = [NOW]
    store = InstanceStore(tmp_path / "store", free_space_floor=0)
    delivering = Delivering(Settings(destinations=(share,)), ledger, store, lambda: now[0])
    assert delivering.echo(share) is None
    delivering.learn(share)
    said = delivering.echo(share)
    assert said is not None
    assert (said.at, said.answered, "is the share mounted" in said.reason) == (NOW, False, True)
    share.path.mkdir()
    now[0] = NOW + 30
    delivering.probe(share)
    assert (said := delivering.echo(share)) is not None
    assert (said.at, said.answered, said.reason) == (NOW + 30, True, "")
    now[0] = NOW + 60
    delivering.probe(share)
    assert (said := delivering.echo(share)) is not None
    assert said.at == NOW + 30


def test_results_go_into_a_folder(ledger: Ledger, tmp_path: Path) -> None:
    """A destination that is no PACS waits, comes back early and is delivered to; it is asked and proves nothing."""
    finished(ledger)
    share = FolderDestination(name="pacs", protocol="folder", path=tmp_path / "share")
    store = InstanceStore(tmp_path / "store", free_space_floor=0)
    delivering = Delivering(Settings(destinations=(share,)), ledger, store, lambda: NOW + 60)
    write_results(ledger, store, tmp_path)
    delivering.deliver(share)
    waiting = ledger.deliveries.of_study(STUDY)
    assert {(d.state, "is the share mounted" in d.reason) for d in waiting} == {(DeliveryState.WAITING, True)}
    delivering.probe(share)
    delivering.deliver(share)
    assert {d.attempts for d in ledger.deliveries.of_study(STUDY)} == {1}
    share.path.mkdir()
    delivering.probe(share)
    delivering.deliver(share)
    delivering.prove(share)
    delivered = ledger.deliveries.of_study(STUDY)
    assert {(d.state, d.proof) for d in delivered} == {(DeliveryState.DELIVERED, "")}
    assert {path.stem for path in share.path.rglob("*.dcm")} == {d.sop_instance_uid for d in delivered}


def test_a_destination_that_was_corrected_is_sent_to_at_once(ledger: Ledger, tmp_path: Path) -> None:
    """What was learnt of it as it was is forgotten, and what waited for it is due."""
    finished(ledger, give_up_at=NOW + 86400)
    wrong = FolderDestination(name="pacs", protocol="folder", path=tmp_path / "wrong")
    right = wrong.model_copy(update={"path": tmp_path})
    store = InstanceStore(tmp_path / "store", free_space_floor=0)
    offers = Offers()
    delivering = Delivering(Settings(destinations=(wrong,)), ledger, store, lambda: NOW + 60, offers)
    write_results(ledger, store, tmp_path / "in")
    delivering.deliver(wrong)
    offers.learn("pacs", {"1.2.3": False})
    assert delivering.outage(wrong) is not None
    delivering.take(Settings(destinations=(right,)))
    assert (delivering.outage(right), offers.of("pacs")) == (None, {})
    delivering.deliver(right)
    assert {each.state for each in ledger.deliveries.of_study(STUDY)} == {DeliveryState.DELIVERED}


def test_what_fails_at_a_destination_that_is_there_waits_longer_and_longer(ledger: Ledger, tmp_path: Path) -> None:
    """A probe that always succeeds brings nothing back: no attempt every 30 s, no "down" and "back" in turn."""
    finished(ledger, give_up_at=NOW + 7 * 86400)
    now = NOW
    share = FolderDestination(name="pacs", protocol="folder", path=tmp_path / "share")
    store = InstanceStore(tmp_path / "store", free_space_floor=0)
    delivering = Delivering(Settings(destinations=(share,)), ledger, store, lambda: now)
    write_results(ledger, store, tmp_path / "in")
    share.path.mkdir()
    (share.path / STUDY).write_text("a file where a folder must be")
    for _ in range(240):
        now += 30
        delivering.deliver(share)
        delivering.probe(share)
    waiting = ledger.deliveries.of_study(STUDY)
    assert {each.state for each in waiting} == {DeliveryState.WAITING}
    assert max(each.attempts for each in waiting) < 12
    told = [kind for _, kind, _ in ledger.events(limit=10_000) if kind.startswith("destination")]
    assert len(told) <= 3
    finished(ledger, study="4.5.6")
    write_results(ledger, store, tmp_path / "in", "4.5.6")
    delivering.probe(share)
    delivering.deliver(share)
    assert {each.state for each in ledger.deliveries.of_study("4.5.6")} == {DeliveryState.DELIVERED}


def test_what_a_broken_tick_leaves_behind_is_sent_by_the_next(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that takes nothing for a moment, amid sending, leaves no row that is "sending" for ever."""
    finished(ledger)
    now = NOW
    share = FolderDestination(name="pacs", protocol="folder", path=tmp_path / "share")
    share.path.mkdir()
    store = InstanceStore(tmp_path / "store", free_space_floor=0)
    delivering = Delivering(Settings(destinations=(share,)), ledger, store, lambda: now)
    write_results(ledger, store, tmp_path / "in")

    def full(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(ledger.deliveries, "_end", full)
        with pytest.raises(OSError, match="disk full"):
            delivering.deliver(share)
    assert {each.state for each in ledger.deliveries.of_study(STUDY)} == {DeliveryState.SENDING}
    delivering.deliver(share)
    now += 60
    delivering.deliver(share)
    assert {each.state for each in ledger.deliveries.of_study(STUDY)} == {DeliveryState.DELIVERED}


def test_a_node_that_stops_begins_no_other_object(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being sent is sent to its end; the rest of the batch is for the next start, as after a kill."""
    finished(ledger)
    share = FolderDestination(name="pacs", protocol="folder", path=tmp_path / "share")
    share.path.mkdir()
    store = InstanceStore(tmp_path / "store", free_space_floor=0)
    delivering = Delivering(Settings(destinations=(share,)), ledger, store, lambda: NOW)
    write_results(ledger, store, tmp_path / "in")
    sync = os.fsync

    def stopped_meanwhile(descriptor: int) -> None:
        delivering.stop()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", stopped_meanwhile)
    delivering.deliver(share)
    delivering.deliver(share)
    assert [each.state for each in ledger.deliveries.of_study(STUDY)] == [
        DeliveryState.DELIVERED,
        DeliveryState.SENDING,
    ]
    ledger.deliveries.take_back("node1", NOW, starting=True)
    Delivering(Settings(destinations=(share,)), ledger, store, lambda: NOW).deliver(share)
    assert {each.state for each in ledger.deliveries.of_study(STUDY)} == {DeliveryState.DELIVERED}
