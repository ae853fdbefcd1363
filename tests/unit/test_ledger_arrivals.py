"""What reception writes: which bytes count, which revision they belong to, who sent them, who was turned away."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from dicom_node.entities import Arrival, AssociationEnd, SameUidPolicy
from dicom_node.ledger import Ledger
from dicom_node.ledger.schema import associations, instances
from dicom_node.lifecycle import StudyState
from tests.ledger_cases import NOW, SCANNER, STUDY, arrive, complete, finished, image, made, read_headers


def _current(ledger: Ledger) -> dict[str, str]:
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(instances).where(instances.c.current.is_(True))).all()
    return {row.sop_instance_uid: row.sha256[0] for row in rows}


def _kinds(ledger: Ledger) -> list[str]:
    return [kind for _, kind, _ in ledger.events()]


def test_the_first_instance_opens_revision_1(ledger: Ledger) -> None:
    """A study exists from its first instance; the next ones belong to the same revision."""
    assert arrive(ledger, image(1), image(2), at=NOW) == [Arrival.NEW, Arrival.NEW]
    arrive(ledger, image(3), at=NOW + 5)
    (revision,) = ledger.studies.revisions(STUDY)
    assert (revision.number, revision.state, revision.instances) == (1, StudyState.RECEIVING, 3)
    assert (revision.opened_at, revision.last_arrival_at) == (NOW, NOW + 5)


def test_the_same_bytes_again_are_no_new_work(ledger: Ledger) -> None:
    """A repeated instance adds no row, but shows that its sender is still at it."""
    other = replace(SCANNER, id="a-2")
    arrive(ledger, image(1))
    assert arrive(ledger, image(1), at=NOW + 9, association=other) == [Arrival.REPEATED]
    (revision,) = ledger.studies.revisions(STUDY)
    assert (revision.instances, revision.last_arrival_at) == (1, NOW + 9)
    assert len(ledger.studies.carriers(revision)) == 2
    assert len(ledger.studies.unread(10)) == 1


def test_the_same_bytes_after_completion_open_nothing(ledger: Ledger) -> None:
    """A scanner that sends everything again makes no second revision."""
    arrive(ledger, image(1))
    complete(ledger)
    assert arrive(ledger, image(1), at=NOW + 9) == [Arrival.REPEATED]
    assert [r.number for r in ledger.studies.revisions(STUDY)] == [1]


@pytest.mark.parametrize(
    ("policy", "arrival", "current"),
    [
        (SameUidPolicy.KEEP_FIRST, Arrival.DIFFERENT_KEPT_FIRST, "a"),
        (SameUidPolicy.KEEP_LAST, Arrival.DIFFERENT_KEPT_LAST, "b"),
        (SameUidPolicy.REFUSE, Arrival.DIFFERENT_REFUSED, "a"),
    ],
)
def test_other_bytes_under_a_known_uid(ledger: Ledger, policy: SameUidPolicy, arrival: Arrival, current: str) -> None:
    """The policy names the bytes that count; both rows stay, an event says so, and there is one current row."""
    arrive(ledger, image(1))
    assert arrive(ledger, image(1, content="b"), policy=policy) == [arrival]
    assert _current(ledger) == {image(1).sop_instance_uid: current}
    with ledger.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(instances)).scalar_one() == 2
    assert _kinds(ledger) == ["same UID, other bytes"]
    assert arrive(ledger, image(1, content="b"), policy=policy) == [Arrival.REPEATED]


def test_other_bytes_that_count_open_a_revision(ledger: Ledger) -> None:
    """keep_last after completion is a late image; keep_first is not."""
    arrive(ledger, image(1))
    complete(ledger)
    arrive(ledger, image(1, content="b"), policy=SameUidPolicy.KEEP_FIRST)
    assert len(ledger.studies.revisions(STUDY)) == 1
    arrive(ledger, image(1, content="c"), policy=SameUidPolicy.KEEP_LAST)
    assert [r.number for r in ledger.studies.revisions(STUDY)] == [1, 2]
    read_headers(ledger)
    (received,) = ledger.studies.received(STUDY, 2) or ()
    assert received.ref.sha256[0] == "c"


def test_a_late_instance_opens_the_next_revision(ledger: Ledger) -> None:
    """Nothing is dropped silently: a late instance is in revision 2, which also holds all of revision 1."""
    arrive(ledger, image(1))
    complete(ledger)
    arrive(ledger, image(2), image(3), at=NOW + 60)
    first, second = ledger.studies.revisions(STUDY)
    assert (first.state, second.state) == (StudyState.COMPLETE, StudyState.RECEIVING)
    assert (first.instances, second.instances) == (1, 2)
    assert _kinds(ledger) == ["complete", "late instance"]
    read_headers(ledger)
    assert [len(ledger.studies.received(STUDY, number) or ()) for number in (1, 2)] == [1, 3]


def test_own_objects_are_stored_and_no_news(ledger: Ledger) -> None:
    """The loop guard: an object of this software opens no revision, and is never handed to routing."""
    assert arrive(ledger, image(1, own=True)) == [Arrival.NEW]
    assert ledger.studies.revisions(STUDY) == []
    assert ledger.studies.unread(10) == []
    assert _current(ledger)


def test_a_result_that_comes_back_is_known_by_its_uid(ledger: Ledger) -> None:
    """Even if a PACS has changed its Manufacturer, a result of this ledger is no news about the study."""
    finished(ledger)
    seg, _ = made()
    returned = replace(image(7), sop_instance_uid=seg.sop_instance_uid)
    assert arrive(ledger, returned, at=NOW + 60) == [Arrival.NEW]
    assert len(ledger.studies.revisions(STUDY)) == 1
    assert ledger.studies.unread(10) == [(1, image(1).path)]


def test_own_objects_that_come_again_do_not_keep_a_study_open(ledger: Ledger) -> None:
    """A PACS that sends results again and again does not delay the study that is being received."""
    arrive(ledger, image(1), image(2, own=True))
    other = replace(SCANNER, id="a-2")
    assert arrive(ledger, image(2, own=True), at=NOW + 9, association=other) == [Arrival.REPEATED]
    (revision,) = ledger.studies.revisions(STUDY)
    assert revision.last_arrival_at == NOW
    assert len(ledger.studies.carriers(revision)) == 1


def test_how_an_association_ended_is_kept_once(ledger: Ledger) -> None:
    """The first end counts; completion reads it with the revision that the association carried."""
    arrive(ledger, image(1))
    (revision,) = ledger.studies.revisions(STUDY)
    assert [(c.end, c.ended_at) for c in ledger.studies.carriers(revision)] == [(None, None)]
    ledger.arrivals.end_association(SCANNER, AssociationEnd.RELEASED, NOW + 1)
    ledger.arrivals.end_association(SCANNER, AssociationEnd.ABORTED, NOW + 2)
    assert [(c.end, c.ended_at) for c in ledger.studies.carriers(revision)] == [(AssociationEnd.RELEASED, NOW + 1)]


def test_associations_open_at_a_start_are_lost(ledger: Ledger) -> None:
    """What was open when the node went away is lost; what had ended stays as it ended."""
    arrive(ledger, image(1))
    arrive(ledger, image(2), association=replace(SCANNER, id="a-2"))
    ledger.arrivals.end_association(SCANNER, AssociationEnd.RELEASED, NOW + 1)
    assert ledger.arrivals.lose_open_associations(NOW + 9) == 1
    with ledger.engine.connect() as connection:
        ends = {row.id: row.ended for row in connection.execute(select(associations))}
    assert ends == {"a-1": "released", "a-2": "lost"}


def test_open_associations_of_one_receiver_are_lost(ledger: Ledger) -> None:
    """Those whose id begins with its mark and that have no end yet; `1a-` is not the mark of `01a-` or `1ab-`."""
    for number, name in enumerate(("1a-open", "1a-ended", "1ab-other", "01a-other", "1a_other")):
        arrive(ledger, image(number), association=replace(SCANNER, id=name))
    ledger.arrivals.end_association(replace(SCANNER, id="1a-ended"), AssociationEnd.RELEASED, NOW + 1)
    assert ledger.arrivals.lose_associations("1a-", NOW + 9) == 1
    assert ledger.arrivals.lose_associations("1a-", NOW + 10) == 0
    assert ledger.arrivals.lose_associations("%-", NOW + 10) == 0
    with ledger.engine.connect() as connection:
        ends = {row.id: (row.ended, row.ended_at) for row in connection.execute(select(associations))}
    open_ones = {"1ab-other": (None, None), "01a-other": (None, None), "1a_other": (None, None)}
    assert ends == {"1a-open": ("lost", NOW + 9), "1a-ended": ("released", NOW + 1), **open_ones}


def test_a_flood_of_strangers_is_one_row(ledger: Ledger) -> None:
    """Refused callers are counted by who, from where and why; overlong names do not break the ledger."""
    for second in range(50):
        ledger.arrivals.note_refused_sender("STRANGER", "NODE", "10.0.0.9", "not a source", NOW + second)
    ledger.arrivals.note_refused_sender("X" * 500, "Y" * 500, "10.0.0.9", "z" * 500, NOW + 99)
    latest, flood = ledger.arrivals.refused()
    assert (flood.calling, flood.count, flood.last_at) == ("STRANGER", 50, NOW + 49)
    assert latest.count == 1


def test_quarantine_is_an_event_with_its_status(ledger: Ledger) -> None:
    """What was refused, why, with which status, and where the bytes are."""
    ledger.arrivals.note_quarantined(SCANNER, "", 0xC000, "no SOP Instance UID", "quarantine/1.bin", NOW)
    ((_, kind, text),) = ledger.events()
    assert kind == "quarantined"
    assert text == "an instance without UID: answered 0xC000, no SOP Instance UID; kept at quarantine/1.bin"


def test_many_threads_note_arrivals_at_once(ledger: Ledger) -> None:
    """Eight associations that send the same and other instances of one study: each counted once."""

    def send(number: int) -> list[Arrival]:
        images = [image(index) for index in (*range(5), 100 + number)]
        return arrive(ledger, *images, association=replace(SCANNER, id=f"a-{number}"))

    with ThreadPoolExecutor(8) as pool:
        arrivals = [each for sent in pool.map(send, range(8)) for each in sent]
    assert arrivals.count(Arrival.NEW) == 13
    assert arrivals.count(Arrival.REPEATED) == 35
    (revision,) = ledger.studies.revisions(STUDY)
    assert revision.instances == 13
    assert len(ledger.studies.carriers(revision)) == 8
