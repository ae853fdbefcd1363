"""Jobs: claimed once, in order, under a lease; finished with their deliveries; failed with their reason."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_node.ledger import Ledger
from dicom_node.ledger.jobs import INTERRUPTIONS_ALLOWED
from dicom_node.lifecycle import DeliveryState, JobState
from tests.ledger_cases import NOW, STUDY, finished, made, new_job, queued, running


def _state(ledger: Ledger, job_id: int) -> JobState:
    job = ledger.jobs.get(job_id)
    assert job is not None
    return job.state


def test_the_most_urgent_is_claimed_first(ledger: Ledger) -> None:
    """By priority, then by age."""
    queued(ledger, new_job("routine"), new_job("stat", priority=0), study="1.1", at=NOW)
    queued(ledger, new_job("stat later", priority=0), study="1.2", at=NOW + 1)
    jobs = ledger.jobs.claim("node1", NOW + 2, NOW + 60, 2)
    assert [job.rule for job in jobs] == ["stat", "stat later"]
    assert all(job.state is JobState.RUNNING and job.attempts == 1 for job in jobs)


def test_a_job_that_is_not_due_waits(ledger: Ledger) -> None:
    """A job that failed for now is claimed only when its wait is over."""
    queued(ledger)
    assert ledger.jobs.fail(running(ledger), "no worker", NOW, NOW + 10)
    assert ledger.jobs.claim("node1", NOW + 9, NOW + 60, 1) == []
    assert ledger.jobs.next_due() == NOW + 10
    assert running(ledger, at=NOW + 10).attempts == 2


def test_a_job_is_claimed_by_one_node_only(ledger: Ledger) -> None:
    """Eight that claim at once: each of twenty jobs is given out exactly once."""
    for number in range(20):
        queued(ledger, study=f"1.2.{number}")
    with ThreadPoolExecutor(8) as pool:
        claims = pool.map(lambda n: ledger.jobs.claim(f"node{n}", NOW, NOW + 60, 20), range(8))
        ids = [job.id for jobs in claims for job in jobs]
    assert sorted(ids) == sorted(set(ids))
    assert len(ids) == 20


def test_finishing_makes_objects_and_deliveries_at_once(ledger: Ledger) -> None:
    """In one transaction: DONE, results known, one waiting delivery for each object and destination."""
    job = finished(ledger, new_job(destinations=("pacs", "archive")))
    done = ledger.jobs.get(job.id)
    assert done is not None
    assert (done.state, done.seconds, done.ended_at) == (JobState.DONE, {"run": 1.0}, NOW)
    assert ledger.jobs.results(job.id) == list(made())
    deliveries = ledger.deliveries.of_job(job.id)
    assert {(d.kind, d.destination) for d in deliveries} == {
        (kind, to) for kind in ("SEG", "SR") for to in ("pacs", "archive")
    }
    assert all(d.state is DeliveryState.WAITING and d.not_before == NOW for d in deliveries)


def test_a_job_is_finished_once(ledger: Ledger) -> None:
    """An answer that comes late, after a cancel or a second answer, changes nothing."""
    job = finished(ledger)
    assert not ledger.jobs.finish(job, made(name="10"), {}, NOW, NOW)
    assert not ledger.jobs.fail(job, "late", NOW, None)
    assert len(ledger.deliveries.of_study(STUDY)) == 2


def test_the_same_objects_again_are_not_delivered_again(ledger: Ledger) -> None:
    """A second job with the same inputs makes the same UIDs: rows that exist are not made again."""
    finished(ledger)
    other = finished(ledger, study="1.2.4")  # made() of that study has other UIDs
    assert len(ledger.deliveries.of_job(other.id)) == 2
    queued(ledger, study="1.2.5")
    third = running(ledger)
    assert ledger.jobs.finish(third, made(), {}, NOW, NOW)
    assert len(ledger.deliveries.of_study(STUDY)) == 2


def test_a_failure_for_good_is_held_with_its_reason(ledger: Ledger) -> None:
    """HELD, the reason in the row and in the history."""
    queued(ledger)
    job = running(ledger)
    assert ledger.jobs.fail(job, "too few slices", NOW, None)
    (held,) = ledger.jobs.latest(1, state=JobState.HELD)
    assert (held.reason, held.ended_at) == ("too few slices", NOW)
    assert ledger.events(job=job.id)[-1][1:] == ("job held", "too few slices")


@pytest.mark.parametrize("first", ["fail", "cancel"])
def test_retry_starts_the_count_again(ledger: Ledger, first: str) -> None:
    """A held or cancelled job that a person asks for runs as if it were new."""
    queued(ledger)
    job = running(ledger)
    assert ledger.jobs.fail(job, "no", NOW, None) if first == "fail" else ledger.jobs.cancel(job.id, NOW)
    assert ledger.jobs.retry(job.id, NOW + 5)
    again = running(ledger, at=NOW + 5)
    assert (again.id, again.attempts, again.reason) == (job.id, 1, "")


def test_what_runs_or_is_done_cannot_be_retried(ledger: Ledger) -> None:
    """The table has no line for it; neither has an unknown id."""
    queued(ledger)
    job = running(ledger)
    assert not ledger.jobs.retry(job.id, NOW)
    ledger.jobs.finish(job, (), {}, NOW, NOW)
    assert not ledger.jobs.retry(job.id, NOW)
    assert not ledger.jobs.cancel(job.id, NOW)
    assert not ledger.jobs.retry(999, NOW)
    assert ledger.jobs.get(999) is None


def test_a_cancelled_job_is_no_longer_the_nodes(ledger: Ledger) -> None:
    """The node that runs it sees that by asking, and its answer is not taken."""
    queued(ledger)
    job = running(ledger)
    assert ledger.jobs.still_running("node1") == {job.id}
    assert ledger.jobs.still_running("node2") == set()
    assert ledger.jobs.cancel(job.id, NOW)
    assert ledger.jobs.still_running("node1") == set()
    assert not ledger.jobs.finish(job, made(), {}, NOW, NOW)


def test_a_start_takes_back_its_own_work(ledger: Ledger) -> None:
    """After kill -9: what this node ran is queued again at once, and costs no attempt."""
    queued(ledger)
    job = running(ledger)
    assert ledger.jobs.take_back("node1", NOW + 1, starting=True) == [job.id]
    assert running(ledger, at=NOW + 1).attempts == 1


def test_a_living_nodes_work_is_not_taken(ledger: Ledger) -> None:
    """Another node's start, and ticks within the lease, leave it alone; a renewed lease lasts longer."""
    queued(ledger)
    job = running(ledger)
    assert ledger.jobs.take_back("node2", NOW + 59, starting=True) == []
    ledger.jobs.renew("node1", NOW + 600)
    assert ledger.jobs.take_back("node2", NOW + 599, starting=False) == []
    assert ledger.jobs.take_back("node2", NOW + 601, starting=False) == [job.id]


def test_a_job_that_takes_the_node_down_is_held_in_the_end(ledger: Ledger) -> None:
    """Interruptions cost no attempt, but not for ever."""
    (job,) = queued(ledger)
    for _ in range(INTERRUPTIONS_ALLOWED):
        running(ledger)
        ledger.jobs.take_back("node1", NOW, starting=True)
        assert _state(ledger, job.id) is JobState.QUEUED
    running(ledger)
    ledger.jobs.take_back("node1", NOW, starting=True)
    (held,) = ledger.jobs.latest(1, state=JobState.HELD)
    assert held.reason == f"the node went away {INTERRUPTIONS_ALLOWED + 1} times while this job ran"


def test_progress_is_of_a_running_job_only(ledger: Ledger) -> None:
    """Progress that comes late does not change what is over; long words are cut to the column."""
    queued(ledger)
    job = running(ledger)
    ledger.jobs.note_progress(job.id, 0.5, "thinking " * 100)
    seen = ledger.jobs.get(job.id)
    assert seen is not None
    assert seen.progress == 0.5
    assert len(seen.step) == 200
    ledger.jobs.cancel(job.id, NOW)
    ledger.jobs.note_progress(job.id, 0.9, "late")
    seen = ledger.jobs.get(job.id)
    assert seen is not None
    assert seen.progress == 0.5
