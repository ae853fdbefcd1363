"""Deliveries: each object to each destination, waiting, sending, delivered or held, with the reason."""

import pytest

from dicom_node.homeless import hold_homeless
from dicom_node.ledger import Delivery, Ledger
from dicom_node.lifecycle import DeliveryState
from tests.ledger_cases import NOW, STUDY, finished, new_job


def _sending(ledger: Ledger, to: str = "pacs", at: float = NOW, limit: int = 50) -> list[Delivery]:
    return ledger.deliveries.start(to, "node1", at, at + 600, limit)


def _get(ledger: Ledger, delivery: Delivery) -> Delivery:
    found = ledger.deliveries.get(delivery.id)
    assert found is not None
    return found


def test_due_deliveries_are_started_once(ledger: Ledger) -> None:
    """Those of one destination, oldest first, at most `limit`; a second asker gets the rest."""
    finished(ledger, new_job(destinations=("pacs", "archive")))
    (first,) = _sending(ledger, limit=1)
    (second,) = _sending(ledger)
    assert [first.kind, second.kind] == ["SEG", "SR"]
    assert (first.state, first.attempts, first.destination) == (DeliveryState.SENDING, 1, "pacs")
    assert _sending(ledger) == []
    assert len(_sending(ledger, "archive")) == 2


def test_what_a_removed_destination_leaves_is_held_although_it_was_paused(ledger: Ledger) -> None:
    """Nobody can resume what is in no settings; what other destinations get is left alone."""
    finished(ledger, new_job(destinations=("pacs", "archive")))
    ledger.trail.pause("pacs", "ada", NOW)
    hold_homeless(ledger, "node1", {"archive"}, NOW)
    states = {(one.destination, one.state) for one in ledger.deliveries.of_study(STUDY)}
    assert states == {("pacs", DeliveryState.HELD), ("archive", DeliveryState.WAITING)}
    assert ledger.deliveries.waiting() == {"archive": 2}


def test_accepted(ledger: Ledger) -> None:
    """DELIVERED, with the time, the status and a note where the receiver warned."""
    finished(ledger)
    seg, sr = _sending(ledger)
    ledger.deliveries.accept(seg, 0x0000, "", NOW + 1)
    ledger.deliveries.accept(sr, 0xB000, "changed", NOW + 2)
    assert _get(ledger, seg).delivered_at == NOW + 1
    assert _get(ledger, sr).reason == "changed"
    assert [d.state for d in ledger.deliveries.of_study(STUDY)] == [DeliveryState.DELIVERED] * 2
    assert [text for _, kind, text in ledger.events(study=STUDY) if kind == "delivered"] == [
        "SEG delivered to pacs",
        "SR delivered to pacs (changed)",
    ]


def test_a_late_answer_is_not_taken(ledger: Ledger) -> None:
    """What is delivered cannot be held or made to wait."""
    finished(ledger)
    seg, _ = _sending(ledger)
    ledger.deliveries.accept(seg, 0, "", NOW)
    ledger.deliveries.hold(seg, 0xC000, "no", NOW)
    ledger.deliveries.wait(seg, 0xA700, "full", NOW, NOW + 30)
    assert _get(ledger, seg).state is DeliveryState.DELIVERED


def test_waiting_and_trying_again(ledger: Ledger) -> None:
    """A temporary trouble waits until its time, its reason in the row."""
    finished(ledger)
    seg, sr = _sending(ledger)
    for each in (seg, sr):
        ledger.deliveries.wait(each, 0xA700, "full", NOW, NOW + 30)
    assert _get(ledger, seg).reason == "full"
    assert _sending(ledger, at=NOW + 29) == []
    assert [d.attempts for d in _sending(ledger, at=NOW + 30)] == [2, 2]


def test_giving_up_after_its_days(ledger: Ledger) -> None:
    """Once the next attempt would be past the limit, it is HELD, and says for how long it was tried."""
    finished(ledger)  # gives up a day later
    seg, sr = _sending(ledger)
    ledger.deliveries.wait(seg, None, "does not answer", NOW, NOW + 86400)
    ledger.deliveries.wait(sr, None, "does not answer", NOW, NOW + 86401)
    assert _get(ledger, seg).state is DeliveryState.WAITING
    assert _get(ledger, sr).state is DeliveryState.HELD
    assert _get(ledger, sr).reason == "gave up after 1.0 days: does not answer"


def test_a_destination_comes_back(ledger: Ledger) -> None:
    """What waits for it is due at once; what waits for others is not."""
    finished(ledger, new_job(destinations=("pacs", "archive")))
    for to in ("pacs", "archive"):
        assert ledger.deliveries.waiting_for(to) == 0  # not tried yet
        for each in _sending(ledger, to):
            ledger.deliveries.wait(each, None, "does not answer", NOW, NOW + 3600)
    assert ledger.deliveries.waiting_for("pacs") == 2
    assert ledger.deliveries.bring_back("pacs", NOW + 5) == 2
    assert ledger.deliveries.bring_back("pacs", NOW + 5) == 0
    assert len(_sending(ledger, at=NOW + 5)) == 2
    assert _sending(ledger, "archive", at=NOW + 5) == []


def test_a_start_sends_again_what_was_under_way(ledger: Ledger) -> None:
    """After kill -9: this node's own at once, another's only when its lease has run out."""
    finished(ledger)
    _sending(ledger)
    assert ledger.deliveries.take_back("node2", NOW + 1, starting=True) == 0
    assert ledger.deliveries.take_back("node1", NOW + 1, starting=False) == 0
    assert ledger.deliveries.take_back("node1", NOW + 1, starting=True) == 2
    assert len(_sending(ledger, at=NOW + 1)) == 2
    assert ledger.deliveries.take_back("node2", NOW + 602, starting=False) == 2


@pytest.mark.parametrize("ending", ["hold", "cancel", "wait"])
def test_a_person_may_ask_again(ledger: Ledger, ending: str) -> None:
    """Held, cancelled or waiting: due now, with its days before it."""
    finished(ledger)
    (seg, _) = _sending(ledger)
    if ending == "hold":
        ledger.deliveries.hold(seg, 0xC000, "no", NOW)
    else:
        ledger.deliveries.wait(seg, None, "gone", NOW, NOW + 3600)
    if ending == "cancel":
        assert ledger.deliveries.cancel(seg.id, NOW)
        assert _get(ledger, seg).state is DeliveryState.CANCELLED
    assert ledger.deliveries.retry(seg.id, NOW + 9, NOW + 999)
    again = _get(ledger, seg)
    assert (again.state, again.not_before, again.give_up_at) == (DeliveryState.WAITING, NOW + 9, NOW + 999)
    assert [d.id for d in _sending(ledger, at=NOW + 9)] == [seg.id]


def test_what_is_under_way_or_delivered_is_not_touched(ledger: Ledger) -> None:
    """Neither cancel nor retry; an unknown id changes nothing."""
    finished(ledger)
    seg, _ = _sending(ledger)
    assert not ledger.deliveries.cancel(seg.id, NOW)
    assert not ledger.deliveries.retry(seg.id, NOW, NOW)
    ledger.deliveries.accept(seg, 0, "", NOW)
    assert not ledger.deliveries.cancel(seg.id, NOW)
    assert not ledger.deliveries.retry(seg.id, NOW, NOW)
    assert not ledger.deliveries.retry(999, NOW, NOW)
    assert ledger.deliveries.get(999) is None


def test_deliveries_are_found_by_state(ledger: Ledger) -> None:
    """What `status` shows."""
    finished(ledger)
    seg, sr = _sending(ledger)
    ledger.deliveries.hold(seg, None, "PACS does not accept Segmentation Storage", NOW)
    assert [d.id for d in ledger.deliveries.in_state(DeliveryState.HELD)] == [seg.id]
    found = ledger.deliveries.in_state(DeliveryState.HELD, DeliveryState.SENDING)
    assert [d.id for d in found] == [seg.id, sr.id]
