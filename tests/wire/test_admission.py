"""Who is let in; every rejection is that of PS3.8 Table 9-21, and unknown callers are recorded."""

import time
from typing import Any

import pytest

from dicom_node.settings import Source

SCANNERS = (
    Source(name="scanner", ae_titles=("SCANNER", "SCANNER2"), addresses=("127.0.0.1", "10.1.0.0/16")),
    Source(name="elsewhere", ae_titles=("FAR",), addresses=("192.0.2.0/24",)),
)


@pytest.mark.parametrize("calling", ["SCANNER", "SCANNER2"])
def test_a_source_may_have_several_ae_titles(start_node: Any, calling: str) -> None:
    """Every AE title of a source is known."""
    node = start_node(SCANNERS)
    with node.line(calling=calling) as line:
        assert line.object().Status == 0x0000
    assert node.ledger.refused == []


def test_an_unknown_calling_ae_title(start_node: Any, rejection: Any) -> None:
    """Rejected permanent, service user, calling AE title not recognised; recorded; known callers still come in."""
    node = start_node(SCANNERS)
    assert rejection(node.request(calling="STRANGER")) == (1, 1, 3)
    (note,) = node.ledger.refused
    assert (note["calling"], note["called"], note["address"]) == ("STRANGER", "NODE", "127.0.0.1")
    assert "no [[source]]" in note["reason"]
    assert node.still_serves()


def test_a_known_ae_title_from_another_address(start_node: Any, rejection: Any) -> None:
    """An AE title alone opens no door: 1, 1, 3 as for a stranger; the record says which source it claimed to be."""
    node = start_node(SCANNERS)
    assert rejection(node.request(calling="FAR")) == (1, 1, 3)
    assert "elsewhere" in node.ledger.refused[0]["reason"]
    assert node.still_serves()


def test_a_called_ae_title_that_is_not_ours(start_node: Any, rejection: Any) -> None:
    """Rejected permanent, service user, called AE title not recognised."""
    node = start_node(SCANNERS)
    assert rejection(node.request(called="OTHER")) == (1, 1, 7)
    assert "(NODE)" in node.ledger.refused[0]["reason"]
    assert node.still_serves()


def test_several_called_ae_titles(start_node: Any, rejection: Any) -> None:
    """With `called_ae_titles` set, the node answers to these."""
    node = start_node(called_ae_titles=("NODE", "ROUTER"))
    for called in ("NODE", "ROUTER"):
        node.request(called=called).release()
    assert rejection(node.request(called="DICOM_NODE")) == (1, 1, 7)


def test_without_sources_nobody_comes_in(start_node: Any, rejection: Any) -> None:
    """No [[source]] means nobody, not everybody."""
    node = start_node(())
    assert rejection(node.request()) == (1, 1, 3)


def test_below_the_floor_no_association(start_node: Any, rejection: Any) -> None:
    """Rejected transient, presentation-related, local limit exceeded; no stranger, so not in the refused senders."""
    node = start_node(floor=2**30)
    node.free[0] = 2**29
    assert rejection(node.request()) == (2, 3, 2)
    assert node.ledger.refused == []
    node.free[0] = 2**31
    assert node.still_serves()


def test_one_association_too_many(start_node: Any, rejection: Any, eventually: Any) -> None:
    """`maximum_associations` holds exactly, is transient, and a place that is given back can be taken."""
    node = start_node(maximum_associations=2)
    first, second = node.request(), node.request()
    assert first.is_established
    assert second.is_established
    assert rejection(node.request()) == (2, 3, 2)
    first.release()
    assert eventually(lambda: (third := node.request()).is_established and not third.release())
    second.release()


def test_a_caller_has_its_own_share(start_node: Any, rejection: Any, eventually: Any) -> None:
    """`maximum_associations_per_caller` of one address and AE title; others find their places free."""
    node = start_node(maximum_associations=4, maximum_associations_per_caller=2)
    wild = [node.request(calling="WILD") for _ in range(3)]
    assert rejection(wild[2]) == (2, 3, 2)
    with node.line(calling="SCANNER") as line:
        assert line.object().Status == 0x0000
    wild[0].release()
    assert eventually(lambda: (again := node.request(calling="WILD")).is_established and not again.release())
    wild[1].release()
    assert node.ledger.refused == []


def test_refused_callers_leave_no_thread_and_take_no_place(start_node: Any, eventually: Any) -> None:
    """A stranger that knocks fifty times does not use up the places."""
    node = start_node(SCANNERS, maximum_associations=2)
    for _ in range(50):
        node.request(calling="STRANGER")
    assert len(node.ledger.refused) == len(node.sockets) >= 50  # a knock whose answer was missed is made again
    assert node.still_serves()


def test_a_door_whose_ledger_fails_stays_shut(start_node: Any, rejection: Any) -> None:
    """If a refusal cannot be recorded, it is a refusal all the same."""
    node = start_node(SCANNERS)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    node.ledger.note_refused_sender = fail
    assert rejection(node.request(calling="STRANGER")) == (1, 1, 3)
    time.sleep(0.1)
    assert node.still_serves()
