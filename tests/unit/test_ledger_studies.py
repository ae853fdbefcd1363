"""Revisions: frozen only as they were looked at, routed once, and what the rules may see of them."""

from dataclasses import replace

import pytest

from dicom_node.ledger import JobTerms, Ledger
from dicom_node.lifecycle import JobState, StudyState
from tests.ledger_cases import NOW, STUDY, arrive, complete, image, new_job, queued, read_headers, running

_RULES = ("digest", 7)


def test_a_revision_that_grew_is_not_frozen(ledger: Ledger) -> None:
    """An instance that arrives between the look and the freeze keeps the revision open; so does a repeated one."""
    arrive(ledger, image(1))
    (seen,) = ledger.studies.in_state(StudyState.RECEIVING)
    arrive(ledger, image(2), at=NOW + 1)
    assert not ledger.studies.close(seen, "quiet", NOW + 30)
    (seen,) = ledger.studies.in_state(StudyState.RECEIVING)
    arrive(ledger, image(2), at=NOW + 2)
    assert not ledger.studies.close(seen, "quiet", NOW + 30)
    assert complete(ledger).reason == "quiet"


def test_a_revision_is_frozen_once(ledger: Ledger) -> None:
    """The second of two that freeze it changes nothing."""
    arrive(ledger, image(1))
    (seen,) = ledger.studies.in_state(StudyState.RECEIVING)
    assert ledger.studies.close(seen, "first", NOW)
    assert not ledger.studies.close(seen, "second", NOW + 1)
    assert ledger.studies.revisions(STUDY)[0].reason == "first"


def test_routing_waits_for_headers(ledger: Ledger) -> None:
    """While one header is unread, nothing is handed out; then all of it is, in order of arrival."""
    arrive(ledger, image(2), image(1))
    (row_id, path), _ = ledger.studies.unread(10)
    assert path == image(2).path
    ledger.studies.put_headers([(row_id, '{"Modality":["MR"]}')])
    assert ledger.studies.received(STUDY, 1) is None
    read_headers(ledger)
    received = ledger.studies.received(STUDY, 1) or []
    assert [one.ref for one in received] == [image(2), image(1)]
    assert (received[0].calling, received[0].called, received[0].address) == ("SCANNER", "NODE", "127.0.0.1")
    assert received[0].header == '{"Modality":["MR"]}'


def test_unread_is_handed_out_by_the_piece(ledger: Ledger) -> None:
    """At most as many as asked for, oldest first."""
    arrive(ledger, *(image(number) for number in range(5)))
    assert [path for _, path in ledger.studies.unread(2)] == [image(0).path, image(1).path]


def test_unread_of_a_study_that_is_still_arriving(ledger: Ledger) -> None:
    """Is not handed out before the study pauses, or is complete."""
    arrive(ledger, image(1), at=NOW)
    assert ledger.studies.unread(10, quiet_since=NOW - 0.1) == []
    assert len(ledger.studies.unread(10, quiet_since=NOW)) == 1
    (revision,) = ledger.studies.in_state(StudyState.RECEIVING)
    ledger.studies.close(revision, "quiet", NOW)
    assert len(ledger.studies.unread(10, quiet_since=NOW - 9)) == 1


def test_verdicts_and_jobs_are_one_transaction(ledger: Ledger) -> None:
    """After routing the revision is ROUTED, its jobs queue, and the rules that decided are kept."""
    first, second = queued(ledger, new_job("one"), new_job("two", priority=0))
    assert [job.state for job in (first, second)] == [JobState.QUEUED, JobState.QUEUED]
    assert (first.rule, first.revision, dict(first.inputs)) == ("one", 1, {"t1": (image(1).path,)})
    (revision,) = ledger.studies.in_state(StudyState.ROUTED)
    assert revision.verdicts == "[]"
    assert ledger.studies.record_verdicts(revision, "[1]", _RULES, (new_job("three"),), NOW) == []
    assert len(ledger.jobs.latest(10)) == 2


def test_a_study_without_a_job_is_routed_all_the_same(ledger: Ledger) -> None:
    """No rule fired: routed, with an event that says so."""
    arrive(ledger, image(1))
    assert ledger.studies.record_verdicts(complete(ledger), "[]", _RULES, (), NOW) == []
    assert ledger.studies.revisions(STUDY)[0].state is StudyState.ROUTED
    assert ledger.events(study=STUDY)[-1][2] == "revision 1: no rule fired"


def test_a_revision_that_is_being_received_is_not_routed(ledger: Ledger) -> None:
    """The table forbids it, and so does the WHERE clause."""
    arrive(ledger, image(1))
    (revision,) = ledger.studies.in_state(StudyState.RECEIVING)
    assert ledger.studies.record_verdicts(revision, "[]", _RULES, (new_job(),), NOW) == []
    assert ledger.jobs.latest(10) == []


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.HELD])
def test_a_later_revision_supersedes_what_has_not_finished(ledger: Ledger, state: JobState) -> None:
    """The same rule's job on fewer images is cancelled with the reason; another rule's job is left alone."""
    queued(ledger, new_job("a rule"), new_job("other"))
    if state is not JobState.QUEUED:
        job = running(ledger)
        assert job.rule == "a rule"
        if state is JobState.HELD:
            ledger.jobs.fail(job, "no", NOW, None)
    arrive(ledger, image(2), at=NOW + 60)
    ledger.studies.record_verdicts(complete(ledger), "[]", _RULES, (new_job("a rule"),), NOW + 61)
    newest, other, old = ledger.jobs.latest(10)
    assert (old.state, old.reason) == (JobState.CANCELLED, "superseded by revision 2")
    assert (newest.rule, newest.revision, newest.state) == ("a rule", 2, JobState.QUEUED)
    assert (other.rule, other.state) == ("other", JobState.QUEUED)


def test_a_finished_job_is_not_superseded(ledger: Ledger) -> None:
    """What was delivered stays true of its revision."""
    queued(ledger)
    job = running(ledger)
    ledger.jobs.finish(job, (), {}, NOW, NOW)
    arrive(ledger, image(2), at=NOW + 60)
    ledger.studies.record_verdicts(complete(ledger), "[]", _RULES, (new_job(),), NOW + 61)
    assert [each.state for each in ledger.jobs.latest(10)] == [JobState.QUEUED, JobState.DONE]


def test_earlier_inputs_are_those_of_a_job_that_stands(ledger: Ledger) -> None:
    """A held or cancelled job's inputs are no reason against a new one."""
    assert ledger.earlier.standing(STUDY, "rule", live=True) == []
    (job,) = queued(ledger)
    (found,) = ledger.earlier.standing(STUDY, "rule", live=True)
    told = found.revision, found.pipeline, found.inputs, found.settings
    assert told == (1, "pipeline", {"t1": [image(1).path]}, {})
    assert (found.destinations, found.terms, found.state) == (("pacs",), JobTerms(), JobState.QUEUED)
    ledger.jobs.cancel(job.id, NOW)
    assert ledger.earlier.standing(STUDY, "rule", live=True) == []
    assert ledger.earlier.latest(STUDY, "rule", live=True) == replace(found, state=JobState.CANCELLED)
    assert ledger.earlier.latest(STUDY, "another", live=True) is None


def test_refs_come_in_the_order_of_their_paths(ledger: Ledger) -> None:
    """More paths than a database takes in one statement come back in the order that was asked for."""
    images = [image(number) for number in range(620)]
    for each in images:
        arrive(ledger, each)
    paths = [each.path for each in reversed(images)]
    assert ledger.studies.refs(paths) == images[::-1]


def test_the_latest_studies_come_first(ledger: Ledger) -> None:
    """Newest arrival first, no more than asked for."""
    for number in range(4):
        arrive(ledger, image(1, study=f"1.2.{number}"), at=NOW + number)
    assert [r.study_instance_uid for r in ledger.studies.latest(2)] == ["1.2.3", "1.2.2"]
