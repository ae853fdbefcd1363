"""Fetches in the ledger: jobs wait for them, nothing is lost or asked twice, and priors are known as priors."""

from dataclasses import replace

import pytest

from dicom_node.entities import Association
from dicom_node.ledger import AskedPriors, Fetch, FetchKind, Job, Ledger
from dicom_node.lifecycle import FetchState, JobState, StudyState
from tests.ledger_cases import NOW, SCANNER, STUDY, arrive, complete, image, new_job, queued, running

_PRIOR = "1.9"
_ARCHIVE = Association("a-9", "PACS", "NODE", "127.0.0.1", NOW + 5)


def _waiting(ledger: Ledger, give_up_at: float = NOW + 300) -> Job:
    (job,) = queued(ledger, replace(new_job(), priors=AskedPriors("pacs", "rule", give_up_at)))
    return job


def _started(ledger: Ledger, at: float = NOW, archive: str = "pacs") -> Fetch:
    (fetch,) = ledger.fetches.start(archive, "node1", at, 5)
    return fetch


def test_a_job_waits_until_its_priors_are_here(ledger: Ledger) -> None:
    """It is queued with a reason, and nobody may claim it; then it is due at once, with what came."""
    job = _waiting(ledger)
    assert (job.state, job.reason) == (JobState.QUEUED, "waits for priors from pacs")
    assert ledger.jobs.claim("node1", NOW + 9, NOW + 99, 5) == []
    assert ledger.jobs.next_due() is None
    fetch = _started(ledger)
    assert (fetch.kind, fetch.job_id, fetch.wanted) == (FetchKind.PRIORS, job.id, "rule")
    assert ledger.jobs.next_due() is None
    ledger.fetches.finish(fetch, "2 of 2 came", NOW + 3, {"prior": ["a.dcm"]})
    assert ledger.jobs.next_due() == NOW
    told = ledger.jobs.get(job.id)
    assert told is not None
    assert told.reason == "priors from pacs: 2 of 2 came"
    assert running(ledger, at=NOW + 4).id == job.id
    done = ledger.fetches.of_job(job.id)
    assert done is not None
    assert (done.state, done.inputs, done.over) == (FetchState.DONE, {"prior": ("a.dcm",)}, True)
    assert ("fetched", "priors from pacs: 2 of 2 came") in [
        (kind, text) for _, kind, text in ledger.events(job=job.id)
    ]


def test_a_job_without_priors_waits_for_nobody(ledger: Ledger) -> None:
    """Another job's fetch is not its own."""
    _waiting(ledger)
    (other,) = queued(ledger, study="1.2.9")
    assert running(ledger).id == other.id


def test_a_fetch_that_fails_for_now_is_due_again_later(ledger: Ledger) -> None:
    """The job goes on waiting, and its reason says for what."""
    job = _waiting(ledger)
    ledger.fetches.wait(_started(ledger), "it does not answer", NOW, NOW + 7)
    assert ledger.fetches.start("pacs", "node1", NOW + 6.9, 5) == []
    assert ledger.jobs.next_due() is None
    told = ledger.jobs.get(job.id)
    assert told is not None
    assert "it does not answer" in told.reason
    assert _started(ledger, NOW + 7).attempts == 2


def test_a_fetch_whose_time_is_over_lets_its_job_go(ledger: Ledger) -> None:
    """Given up with how long it was tried and why; a fetch that runs has its own end."""
    job = _waiting(ledger)
    ledger.fetches.wait(_started(ledger), "it does not answer", NOW, NOW + 299)
    assert ledger.fetches.time_out(NOW + 299.9) == 0
    assert ledger.fetches.time_out(NOW + 300) == 1
    fetch = ledger.fetches.of_job(job.id)
    assert fetch is not None
    assert (fetch.state, fetch.reason) == (FetchState.GIVEN_UP, "given up after 300 s: it does not answer")
    assert running(ledger, at=NOW + 301).id == job.id
    assert ledger.fetches.time_out(NOW + 999) == 0


def test_what_a_node_that_went_away_was_fetching_is_asked_again(ledger: Ledger) -> None:
    """At a start its own fetches at once; another node's when the lease is over."""
    _waiting(ledger)
    _started(ledger)
    assert ledger.fetches.take_back("node2", NOW + 1, starting=True) == 0
    assert ledger.fetches.take_back("node1", NOW + 1, starting=True) == 1
    _started(ledger, NOW + 1)
    assert ledger.fetches.take_back("node2", NOW + 10_000, starting=False) == 1


def test_an_ended_fetch_stays_ended(ledger: Ledger) -> None:
    """A node that comes back late cannot change what was decided."""
    job = _waiting(ledger)
    fetch = _started(ledger)
    ledger.fetches.give_up(fetch, "no", NOW + 1, {"prior": ["a"]})
    ledger.fetches.finish(fetch, "yes", NOW + 2, {"prior": ["b"]})
    found = ledger.fetches.of_job(job.id)
    assert found is not None
    assert (found.state, found.reason, found.inputs) == (FetchState.GIVEN_UP, "no", {"prior": ("a",)})


def test_a_revision_is_asked_about_once(ledger: Ledger) -> None:
    """However often the flow looks."""
    for _ in range(3):
        ledger.fetches.ask_missing(STUDY, 1, "pacs", NOW, NOW + 60)
    ledger.fetches.ask_missing(STUDY, 2, "pacs", NOW, NOW + 60)
    assert [(each.kind, each.revision, each.job_id) for each in ledger.fetches.of_study(STUDY)] == [
        (FetchKind.MISSING, 1, 0),
        (FetchKind.MISSING, 2, 0),
    ]
    assert ledger.fetches.of_job(0) is None
    assert len(ledger.fetches.start("pacs", "node1", NOW, 1)) == 1
    assert ledger.fetches.start("other", "node1", NOW, 5) == []


def test_what_is_known_was_received_or_made(ledger: Ledger) -> None:
    """Asked for in any number."""
    images = [image(number) for number in range(1, 4)]
    arrive(ledger, *images)
    uids = [each.sop_instance_uid for each in images]
    assert ledger.fetches.known([*uids, *(f"9.{number}" for number in range(1200))]) == set(uids)
    assert [ref.sop_instance_uid for ref in ledger.fetches.held(STUDY, uids[:2])] == uids[:2]
    assert ledger.fetches.held("other", uids) == []


def _as_prior(ledger: Ledger, association: Association = _ARCHIVE) -> None:
    """Receive one image of a study that was asked for as prior, and keep it as that."""
    _waiting(ledger)
    ledger.fetches.name_priors(_started(ledger), [_PRIOR], "PACS", NOW + 4)
    arrive(ledger, image(1, study=_PRIOR), at=NOW + 6, association=association)


@pytest.mark.parametrize(
    "association", [_ARCHIVE, Association("prior-77", "anything", "NODE", "", NOW)], ids=["C-MOVE", "C-GET"]
)
def test_a_study_that_came_as_prior_is_kept_as_prior(ledger: Ledger, association: Association) -> None:
    """Known by the node's own association, or by the archive's while it was asked."""
    _as_prior(ledger, association)
    assert ledger.fetches.as_prior_of(_PRIOR, 1) == STUDY
    assert ledger.studies.keep_as_prior(complete(ledger, _PRIOR), "prior of", NOW + 20)
    (revision,) = ledger.studies.revisions(_PRIOR)
    assert (revision.state, revision.reason) == (StudyState.PRIOR, "quiet; prior of")
    assert ledger.fetches.only_prior(_PRIOR)


@pytest.mark.parametrize(
    "association",
    [
        Association("a-8", "SCANNER", "NODE", "127.0.0.1", NOW + 5),
        Association("a-8", "PACS", "NODE", "127.0.0.1", NOW + 3),
    ],
    ids=["another caller", "before it was asked"],
)
def test_a_study_that_was_sent_is_no_prior(ledger: Ledger, association: Association) -> None:
    """Even if the same archive pushes it before it was asked."""
    _as_prior(ledger, association)
    assert ledger.fetches.as_prior_of(_PRIOR, 1) is None


def test_one_that_was_sent_too_is_no_prior(ledger: Ledger) -> None:
    """One association that nobody asked for is enough; a study that nobody asked for is none."""
    _as_prior(ledger)
    arrive(ledger, image(2, study=_PRIOR), at=NOW + 7)
    assert ledger.fetches.as_prior_of(_PRIOR, 1) is None
    assert ledger.fetches.as_prior_of(STUDY, 1) is None


@pytest.mark.parametrize(
    ("number", "content"),
    [(1, "a"), (2, "a"), (1, "b")],
    ids=["the same image", "another image", "the image as it was before the archive changed it"],
)
def test_a_prior_that_a_scanner_sends_later_is_a_study(ledger: Ledger, number: int, content: str) -> None:
    """The same revision is received again, and is then no prior any more."""
    _as_prior(ledger)
    ledger.studies.keep_as_prior(complete(ledger, _PRIOR), "prior", NOW + 20)
    scanner = replace(SCANNER, id="a-99", opened_at=NOW + 98)
    arrive(ledger, image(number, study=_PRIOR, content=content), at=NOW + 99, association=scanner)
    (revision,) = ledger.studies.revisions(_PRIOR)
    assert (revision.state, revision.last_arrival_at) == (StudyState.RECEIVING, NOW + 99)
    assert revision.instances == number
    assert ledger.fetches.as_prior_of(_PRIOR, 1) is None


def test_a_prior_that_is_fetched_again_stays_one(ledger: Ledger) -> None:
    """The archive sends it again for another study: the same bytes change nothing."""
    _as_prior(ledger)
    ledger.studies.keep_as_prior(complete(ledger, _PRIOR), "prior", NOW + 20)
    arrive(ledger, image(1, study=_PRIOR), at=NOW + 30, association=replace(_ARCHIVE, id="a-10", opened_at=NOW + 29))
    assert ledger.fetches.only_prior(_PRIOR)


def test_after_the_fetch_the_archive_pushes_as_anybody_does(ledger: Ledger) -> None:
    """What it sends once nobody asks any more is a study to be routed."""
    _as_prior(ledger)
    ledger.studies.keep_as_prior(complete(ledger, _PRIOR), "prior", NOW + 20)
    (fetch,) = ledger.fetches.of_study(STUDY)
    ledger.fetches.finish(fetch, "done", NOW + 25)
    arrive(ledger, image(1, study=_PRIOR), at=NOW + 30, association=replace(_ARCHIVE, id="a-10", opened_at=NOW + 29))
    assert not ledger.fetches.only_prior(_PRIOR)
