"""Jobs: claimed once, in order, under a lease; finished with their deliveries; failed with their reason."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_node.ledger import Job, Ledger, NewJob
from dicom_node.ledger.jobs import INTERRUPTIONS_ALLOWED
from dicom_node.lifecycle import DeliveryState, JobState
from tests.ledger_cases import NOW, STUDY, arrive, complete, finished, image, made, new_job, queued, running


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


def test_a_refusal_and_its_notice_are_known_at_once(ledger: Ledger) -> None:
    """HELD with its reason, and in the same transaction the notice is known and waits for those who want it."""
    queued(ledger, new_job(destinations=("pacs", "archive")))
    job = running(ledger)
    _, notice = made()
    recipients = {notice.sop_instance_uid: ("archive",)}
    assert ledger.jobs.fail(job, "too few slices", NOW, None, (notice,), recipients=recipients, give_up_at=NOW + 9)
    assert _state(ledger, job.id) is JobState.HELD
    assert ledger.jobs.results(job.id) == [notice]
    (delivery,) = ledger.deliveries.of_job(job.id)
    assert (delivery.destination, delivery.state, delivery.give_up_at) == ("archive", DeliveryState.WAITING, NOW + 9)
    assert [event[1:] for event in ledger.events(job=job.id)][-2:] == [
        ("job held", "too few slices"),
        ("notice made", "SR made, which says so"),
    ]


def test_a_refusal_again_makes_no_second_notice(ledger: Ledger) -> None:
    """A person asks again, and the images are refused again: the notice that is known is not sent twice."""
    queued(ledger)
    _, notice = made()
    for attempt in range(2):
        assert ledger.jobs.fail(
            running(ledger, at=NOW + attempt), "no", NOW + attempt, None, (notice,), give_up_at=NOW
        )
        assert ledger.jobs.retry(1, NOW + attempt)
    assert len(ledger.deliveries.of_study(STUDY)) == 1


def test_a_failure_for_now_tells_nobody(ledger: Ledger) -> None:
    """A job that will be tried again has not failed yet; neither has one that somebody cancelled meanwhile."""
    queued(ledger)
    job = running(ledger)
    assert ledger.jobs.fail(job, "no worker", NOW, NOW + 10, made(), give_up_at=NOW)
    job = running(ledger, at=NOW + 10)
    assert ledger.jobs.cancel(job.id, NOW + 11)
    assert not ledger.jobs.fail(job, "late", NOW + 12, None, made(), give_up_at=NOW)
    assert ledger.deliveries.of_study(STUDY) == []


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


def later(ledger: Ledger, number: int, *wanted: NewJob) -> Job:
    """Receive another image of the study, and claim the job of its next revision."""
    arrive(ledger, image(number), at=NOW)
    revision = complete(ledger)
    assert ledger.studies.record_verdicts(revision, "[]", ("digest", 1), wanted or (new_job(),), NOW)
    job = running(ledger)
    assert job.revision == number
    return job


def test_a_later_job_supersedes_the_newest_earlier_one(ledger: Ledger) -> None:
    """Of the same study and rule, and of the kind that is asked for; the first job supersedes nothing."""
    first = finished(ledger)
    assert ledger.jobs.superseded(first, "SR", ["pacs"]) is None
    second = later(ledger, 2)
    seg, report = made()
    assert ledger.jobs.superseded(second, "SR", ["pacs"]) == report
    assert ledger.jobs.superseded(second, "SEG", ["pacs"]) == seg
    assert ledger.jobs.superseded(second, "PM", ["pacs"]) is None
    assert ledger.jobs.finish(second, made(name="10"), {}, NOW, NOW + 86400)
    assert ledger.jobs.superseded(later(ledger, 3), "SR", ["pacs"]) == made(name="10")[1]


def test_an_earlier_job_without_results_is_passed_over(ledger: Ledger) -> None:
    """What failed or was cancelled left nothing that could be superseded: the one before it still holds."""
    finished(ledger)
    second = later(ledger, 2)
    assert ledger.jobs.fail(second, "broken", NOW, None)
    assert ledger.jobs.superseded(later(ledger, 3), "SR", ["pacs"]) == made()[1]


def test_only_what_a_destination_was_sent_is_superseded_there(ledger: Ledger) -> None:
    """A PACS that never had a report, or to which it was cancelled, is not told of it."""
    job = finished(ledger, new_job(destinations=("pacs", "archive")))
    second = later(ledger, 2)
    assert ledger.jobs.superseded(second, "SR", ["other"]) is None
    assert ledger.jobs.superseded(second, "SR", []) == made()[1]
    for delivery in ledger.deliveries.of_job(job.id):
        if delivery.destination == "archive":
            assert ledger.deliveries.cancel(delivery.id, NOW)
    assert ledger.jobs.superseded(second, "SR", ["archive"]) is None
    assert ledger.jobs.superseded(second, "SR", ["archive", "pacs"]) == made()[1]


def test_another_rule_supersedes_nothing(ledger: Ledger) -> None:
    """Two rules look for different things: neither's report takes the place of the other's."""
    finished(ledger)
    assert ledger.jobs.superseded(later(ledger, 2, new_job("other rule")), "SR", ["pacs"]) is None


def test_another_study_supersedes_nothing(ledger: Ledger) -> None:
    """Nor does the same rule on another study."""
    finished(ledger, study="1.2.4")
    finished(ledger)
    second = later(ledger, 2)
    assert ledger.jobs.superseded(second, "SR", ["pacs"]) == made(STUDY)[1]
