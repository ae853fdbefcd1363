"""Proof: what is delivered is asked about when its time comes, and becomes confirmed, or waits again."""

import pytest

from dicom_node.commitment import FailureReason, Reference, Report
from dicom_node.ledger import Conflict, Delivery, Ledger
from dicom_node.ledger.proofs import RESENDS_ALLOWED
from dicom_node.lifecycle import DeliveryState
from tests.ledger_cases import NOW, STUDY, finished, new_job

TRANSACTION = "1.2.3.4"


def delivered(ledger: Ledger, at: float = NOW) -> list[Delivery]:
    """Return SEG and SR, delivered; whether they are still there is to be asked 10 s later."""
    finished(ledger)
    for each in ledger.deliveries.start("pacs", "node1", at, at + 600, 50):
        ledger.deliveries.accept(each, 0, "", at, prove_at=at + 10)
    return ledger.deliveries.of_study(STUDY)


def asked(ledger: Ledger, at: float = NOW + 10, owner: str = "node1") -> list[Delivery]:
    return ledger.proofs.start("pacs", owner, at, at + 60, 50)


def states(ledger: Ledger) -> list[DeliveryState]:
    return [each.state for each in ledger.deliveries.of_study(STUDY)]


def reference(delivery: Delivery) -> Reference:
    return Reference(delivery.sop_class_uid, delivery.sop_instance_uid)


def test_what_is_due_is_taken_once(ledger: Ledger) -> None:
    """Not before its time, by one node only, until its lease is over."""
    delivered(ledger)
    assert asked(ledger, NOW + 9) == []
    taken = asked(ledger)
    assert [each.proof_attempts for each in taken] == [1, 1]
    assert asked(ledger, NOW + 11, "node2") == []
    assert [each.proof_attempts for each in asked(ledger, NOW + 71, "node2")] == [2, 2]
    assert ledger.proofs.start("archive", "node1", NOW + 99, NOW + 100, 50) == []


def test_nobody_is_asked_about_what_needs_no_proof(ledger: Ledger) -> None:
    """Without a time to ask, a delivery stays delivered."""
    finished(ledger)
    for each in ledger.deliveries.start("pacs", "node1", NOW, NOW + 600, 50):
        ledger.deliveries.accept(each, 0, "", NOW)
    assert asked(ledger, NOW + 1e6) == []


def test_confirmed(ledger: Ledger) -> None:
    """CONFIRMED, with who showed it and when; once, however often it is said."""
    delivered(ledger)
    taken = asked(ledger)
    ledger.proofs.confirm(taken, "found by C-FIND", NOW + 11)
    ledger.proofs.confirm(taken, "again", NOW + 12)
    assert states(ledger) == [DeliveryState.CONFIRMED] * 2
    assert [(each.proof, each.proven_at) for each in ledger.deliveries.of_study(STUDY)] == [
        ("found by C-FIND", NOW + 11)
    ] * 2
    told = [text for _, kind, text in ledger.events(study=STUDY) if kind == "confirmed"]
    assert told == ["SEG at pacs: found by C-FIND", "SR at pacs: found by C-FIND"]


def test_found_missing_is_sent_again_some_times_then_held(ledger: Ledger) -> None:
    """After longer and longer waits; the reason stands in the row; after its times a person must look."""
    seg, _ = delivered(ledger)
    for time in range(RESENDS_ALLOWED):
        ledger.proofs.missing({seg: "it is not there"}, NOW, NOW + 5)
        wait = (5, 20, 80)[time]
        assert ledger.deliveries.start("pacs", "node1", NOW + wait - 1, NOW + 600, 50) == []
        (again,) = ledger.deliveries.start("pacs", "node1", NOW + wait, NOW + 600, 50)
        assert (again.id, again.resends, again.reason) == (seg.id, time + 1, "it is not there")
        ledger.deliveries.accept(again, 0, "", NOW, prove_at=NOW)
        seg = again
    ledger.proofs.missing({seg: "it is not there"}, NOW, NOW + 5)
    held = ledger.deliveries.get(seg.id)
    assert held is not None
    assert (held.state, held.reason) == (DeliveryState.HELD, "sent 4 times: it is not there")


def test_a_report_settles_what_was_asked_under_its_transaction(ledger: Ledger) -> None:
    """Committed: confirmed. Failed: sent again, with the reason. What it leaves out stays as it is."""
    seg, sr = delivered(ledger)
    ledger.proofs.asked(asked(ledger), TRANSACTION, NOW + 3600)
    report = Report(TRANSACTION, (reference(seg),), ((reference(sr), FailureReason.NO_SUCH_INSTANCE),))
    assert ledger.proofs.reported(report, NOW + 20, NOW + 21) == 2
    assert states(ledger) == [DeliveryState.CONFIRMED, DeliveryState.WAITING]
    assert ledger.deliveries.of_study(STUDY)[1].reason == "storage commitment failed with reason 0x0112"
    assert ledger.proofs.reported(report, NOW + 30, NOW + 31) == 1  # the SEG's row still knows the transaction
    assert states(ledger) == [DeliveryState.CONFIRMED, DeliveryState.WAITING]


def test_a_report_about_nothing_of_ours_changes_nothing(ledger: Ledger) -> None:
    """Another transaction, or another instance, is about nothing."""
    seg, sr = delivered(ledger)
    ledger.proofs.asked(asked(ledger), TRANSACTION, NOW + 3600)
    assert ledger.proofs.reported(Report("9.9", (reference(seg), reference(sr)), ()), NOW, NOW) == 0
    assert ledger.proofs.reported(Report(TRANSACTION, (Reference("1.2", "3.4"),), ()), NOW, NOW) == 0
    assert states(ledger) == [DeliveryState.DELIVERED] * 2


def test_without_a_report_it_is_asked_again(ledger: Ledger) -> None:
    """At the time that was said, and not before; put off for good, never."""
    delivered(ledger)
    ledger.proofs.asked(asked(ledger), TRANSACTION, NOW + 100)
    assert asked(ledger, NOW + 99) == []
    taken = asked(ledger, NOW + 100)
    assert [each.transaction_uid for each in taken] == [TRANSACTION] * 2
    ledger.proofs.put_off(taken, "it cannot be asked", None)
    assert asked(ledger, NOW + 1e6) == []
    assert [each.proof for each in ledger.deliveries.of_study(STUDY)] == ["it cannot be asked"] * 2


def test_long_words_are_cut(ledger: Ledger) -> None:
    """An address may be longer than the column that PostgreSQL keeps it in; the proof counts all the same."""
    delivered(ledger)
    taken = asked(ledger)
    ledger.proofs.put_off(taken[:1], "x" * 1000, None)
    ledger.proofs.confirm(taken[1:], "y" * 1000, NOW)
    assert [each.proof for each in ledger.deliveries.of_study(STUDY)] == ["x" * 200, "y" * 200]


def test_urgent_results_go_first(ledger: Ledger) -> None:
    """Deliveries are started by the priority of their jobs, then by age: an outage does not turn that round."""
    finished(ledger, new_job("routine", priority=2))
    finished(ledger, new_job("stat", priority=0), study="4.5.6")
    order = [each.study_instance_uid for each in ledger.deliveries.start("pacs", "node1", NOW, NOW + 60, 50)]
    assert order == ["4.5.6", "4.5.6", STUDY, STUDY]


def test_conflicts_are_kept_until_they_are_gone(ledger: Ledger) -> None:
    """One for each study and destination, the latest; with both identities."""
    first = Conflict(STUDY, "pacs", {"PatientID": "1"}, {"PatientID": "2"}, NOW)
    second = Conflict(STUDY, "pacs", {"PatientID": "1"}, {"PatientID": "3"}, NOW + 1)
    other = Conflict("4.5.6", "pacs", {"PatientID": "1"}, {"PatientID": "2"}, NOW + 2)
    for each in (first, second, other):
        ledger.proofs.note_conflict(each)
    assert ledger.proofs.conflicts() == [second, other]
    assert ledger.proofs.conflicts(STUDY) == [second]
    ledger.proofs.clear_conflict(STUDY, "pacs")
    assert ledger.proofs.conflicts() == [other]


@pytest.mark.parametrize("resends", [0, 1])
def test_sent_again_is_proven_anew(ledger: Ledger, resends: int) -> None:
    """A repeated delivery forgets the transaction of the one before."""
    seg, _ = delivered(ledger)
    ledger.proofs.asked(asked(ledger), TRANSACTION, NOW + 3600)
    for _ in range(resends):
        ledger.proofs.missing({seg: "gone"}, NOW, NOW)
        (again,) = ledger.deliveries.start("pacs", "node1", NOW, NOW + 600, 50)
        ledger.deliveries.accept(again, 0, "", NOW, prove_at=NOW)
    report = Report(TRANSACTION, (reference(seg),), ())
    assert ledger.proofs.reported(report, NOW, NOW) == (0 if resends else 1)
