"""The stages of the journey on a real ledger and a real store, with a clock that is moved by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicom_node.entities import AssociationEnd
from dicom_node.errors import ComputeUnavailable, PipelineRefused, WorkerDied
from dicom_node.flow.orders import order_of
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Job
from dicom_node.lifecycle import LEASE_SECONDS, DeliveryState, JobState, StudyState
from dicom_node.offers import Offers
from dicom_node.results import Predecessor
from dicom_node.settings import DicomDestination, NoticeKind, ResultProfile, Settings
from dicom_node.study_folder import one_study
from dicom_node.task import Answer
from tests.flow_cases import RULE, Journey, receive, sender, started
from tests.ledger_cases import NOW, SCANNER, STUDY, arrive, complete, finished, image, made, new_job
from tests.study_cases import write_study


def test_a_study_is_complete_when_it_is_quiet(journey: Journey, tmp_path: Path) -> None:
    """Not a moment before, and with the reason in words."""
    study = receive(journey, tmp_path / "a")
    journey.now = NOW + 29.9
    journey.tick()
    assert journey.ledger.studies.revisions(study)[0].state is StudyState.RECEIVING
    journey.now = NOW + 30
    journey.tick()
    (revision,) = journey.ledger.studies.revisions(study)
    assert revision.state is StudyState.ROUTED
    assert revision.reason == "quiet for 30 s, 3 instances; one association is still open"


def test_a_released_association_shortens_the_wait(journey: Journey, tmp_path: Path) -> None:
    """After the release only the grace counts."""
    study = receive(journey, tmp_path / "a")
    journey.ledger.arrivals.end_association(SCANNER, AssociationEnd.RELEASED, NOW + 1)
    journey.now = NOW + 6
    journey.tick()
    assert journey.ledger.studies.revisions(study)[0].reason.startswith("3 instances; every association was released")


def test_silence_while_nobody_listened_is_no_silence(journey: Journey, tmp_path: Path) -> None:
    """A node that was down for an hour waits again before it calls a study complete."""
    study = receive(journey, tmp_path / "a")
    journey.now = journey.flow._watched_since = NOW + 3600
    journey.tick()
    assert journey.ledger.studies.revisions(study)[0].state is StudyState.RECEIVING
    journey.tick(after=30)
    assert journey.ledger.studies.revisions(study)[0].state is StudyState.ROUTED


def test_a_header_that_cannot_be_read_stops_nothing(journey: Journey, tmp_path: Path) -> None:
    """A damaged file has no facts but is not left out of its series; a file that is gone holds up nobody."""
    study = receive(journey, tmp_path / "a")
    (tmp_path / "a" / "0001.dcm").write_bytes(b"damaged")
    arrive(journey.ledger, image(1), at=NOW)  # a file that is gone
    journey.tick(after=31)
    assert {r.state for r in journey.ledger.studies.latest(5)} == {StudyState.ROUTED}
    assert journey.job().study_instance_uid == study
    assert len(journey.job().inputs["t1"]) == 3


def test_a_study_that_cannot_be_judged_does_not_stop_the_others(journey: Journey, tmp_path: Path) -> None:
    """One study whose facts break the rules' engine stays where it is; the next one is routed and run."""
    arrive(journey.ledger, image(1), at=NOW - 9)
    ((row_id, _),) = journey.ledger.studies.unread(9)
    journey.ledger.studies.put_headers([(row_id, "this is no header")])
    job = started(journey, tmp_path / "a")
    assert job.study_instance_uid != STUDY
    assert [r.study_instance_uid for r in journey.ledger.studies.in_state(StudyState.COMPLETE)] == [STUDY]


def test_the_order_holds_all_that_decides(journey: Journey, tmp_path: Path) -> None:
    """Settings of node.toml under those of the rule; the time is that of the job's making, not of its start."""
    job = started(journey, tmp_path / "a")
    order = journey.hands.taken[job.id]
    assert (order.name, order.pipeline, order.settings) == (f"J{job.id}", "example", {"factor": 2, "for_all": True})
    assert order.created_at == job.created_at
    assert set(order.inputs["t1"]) == set(one_study(tmp_path / "a").instances.values())


def test_a_later_revision_knows_the_report_that_it_supersedes(journey: Journey, tmp_path: Path) -> None:
    """Late images: the order names the report on the earlier ones; the first order names none."""
    job = started(journey, tmp_path / "a")
    assert journey.hands.taken[job.id].products[0].predecessor is None
    _, report = made(job.study_instance_uid)
    journey.done(job)
    write_study(tmp_path / "b", slices=5, study=job.study_instance_uid)
    journey.arrive(tmp_path / "b")
    journey.tick(after=31)
    (order,) = journey.hands.taken.values()
    (product,) = order.products
    assert product.destinations == ("pacs",)
    assert product.predecessor == Predecessor(
        report.study_instance_uid, report.series_instance_uid, report.sop_class_uid, report.sop_instance_uid
    )


def test_no_more_jobs_than_free_workers(journey: Journey, tmp_path: Path) -> None:
    """The ledger keeps the queue, so the most urgent always goes first."""
    journey.rules[:] = [
        RULE.format(name="routine", extra=""),
        RULE.format(name="stat", extra='priority = "stat"'),
    ]
    job = started(journey, tmp_path / "a")
    assert job.rule == "stat"
    states = {each.rule: each.state for each in journey.ledger.jobs.latest(9)}
    assert states == {"stat": JobState.RUNNING, "routine": JobState.QUEUED}


def test_a_finished_job_becomes_deliveries(journey: Journey, tmp_path: Path) -> None:
    """DONE, with its objects waiting for the destination for as many days as the settings say."""
    job = started(journey, tmp_path / "a")
    answer = Answer(made=made(job.study_instance_uid), seconds={"run": 2.0}, remarks=("Seen.", "Twice."))
    journey.hands.end(job, value=answer)
    assert journey.flow.collect() == 1
    assert (journey.job().state, journey.job().reason) == (JobState.DONE, "Seen. Twice.")
    deliveries = journey.ledger.deliveries.of_job(job.id)
    assert [each.kind for each in deliveries] == ["SEG", "SR"]
    assert all(each.give_up_at == journey.now + 14 * 86400 for each in deliveries)


def test_a_job_whose_end_cannot_be_recorded_is_recorded_later(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full for a moment: the other job that ended is recorded, and this one at the next look."""
    journey.hands.free = 2
    for name in ("a", "b"):
        write_study(tmp_path / name, slices=2)
        journey.arrive(tmp_path / name, sender(name))
    journey.tick(after=31)
    second, first = journey.ledger.jobs.latest(2)
    finish = journey.ledger.jobs.finish

    def full(job: Job, *arguments: Any, **named: Any) -> bool:
        if job.id == first.id:
            raise OSError("disk full")
        return finish(job, *arguments, **named)

    monkeypatch.setattr(journey.ledger.jobs, "finish", full)
    for job in (first, second):
        journey.hands.end(job, value=Answer(made=made(job.study_instance_uid)))
    assert journey.flow.collect() == 1
    assert [job.state for job in journey.ledger.jobs.latest(2)] == [JobState.DONE, JobState.RUNNING]
    monkeypatch.undo()
    assert (journey.flow.collect(), journey.flow.collect()) == (1, 0)
    assert [job.state for job in journey.ledger.jobs.latest(2)] == [JobState.DONE, JobState.DONE]


def test_a_retryable_failure_is_tried_again_and_held_in_the_end(journey: Journey, tmp_path: Path) -> None:
    """As often as the settings say, each time after a longer wait."""
    job = started(journey, tmp_path / "a")
    journey.hands.end(job, failure=WorkerDied("killed"))
    journey.flow.collect()
    assert (journey.job().state, journey.job().not_before) == (JobState.QUEUED, journey.now + 10)
    journey.now += 10
    journey.flow.run()
    journey.hands.end(job, failure=WorkerDied("killed"))
    journey.flow.collect()
    assert (journey.job().state, journey.job().reason) == (JobState.HELD, "killed")


def test_a_failure_that_will_not_pass_is_held_at_once(journey: Journey, tmp_path: Path) -> None:
    """What a pipeline says of the images does not change by asking again."""
    job = started(journey, tmp_path / "a")
    journey.hands.end(job, value=Answer(failure=PipelineRefused("too dark")))
    journey.flow.collect()
    assert (journey.job().state, journey.job().reason) == (JobState.HELD, "too dark")


def test_a_notice_is_delivered_though_the_job_is_held(journey: Journey, tmp_path: Path) -> None:
    """HELD with its reason, and what says so waits for those who want to know."""
    job = started(journey, tmp_path / "a")
    _, notice = made(job.study_instance_uid)
    answer = Answer(made=(notice,), recipients={notice.sop_instance_uid: ("pacs",)}, failure=PipelineRefused("dark"))
    journey.hands.end(job, value=answer)
    journey.flow.collect()
    assert (journey.job().state, journey.job().reason) == (JobState.HELD, "dark")
    (delivery,) = journey.ledger.deliveries.of_job(job.id)
    assert (delivery.kind, delivery.state) == ("SR", DeliveryState.WAITING)
    assert delivery.give_up_at == journey.now + 14 * 86400


def test_notices_are_ordered_for_those_who_want_them(journey: Journey, tmp_path: Path) -> None:
    """One product for each form, though the objects of a result are the same for all three destinations."""
    forms = (("a", "told"), ("b", "default"), ("c", "drawn"), ("d", "told"))
    settings = Settings(
        destinations=tuple(
            DicomDestination(name=name, ae_title="PACS", host="127.0.0.1", port=104, profile=profile)
            for name, profile in forms
        ),
        profiles=(
            ResultProfile(name="told", not_run=NoticeKind.REPORT),
            ResultProfile(name="drawn", not_run=NoticeKind.PICTURE),
        ),
    )
    job = replace(started(journey, tmp_path / "a"), destinations=("a", "b", "c", "d"))
    order = order_of(job, journey.ledger, InstanceStore(tmp_path / "store", free_space_floor=0), settings, Offers())
    assert [product.destinations for product in order.products] == [("a", "b", "c", "d")]
    assert [(product.profile.not_run, product.destinations) for product in order.notices] == [
        (NoticeKind.REPORT, ("a", "d")),
        (NoticeKind.PICTURE, ("c",)),
    ]


def test_a_missing_engine_is_waited_for_without_end(journey: Journey, tmp_path: Path) -> None:
    """No worker is nobody's fault: the job waits, however many attempts that takes."""
    started(journey, tmp_path / "a")
    for _ in range(5):
        journey.hands.end(journey.job(), failure=ComputeUnavailable("no worker"))
        journey.flow.collect()
        assert journey.job().state is JobState.QUEUED
        journey.now = journey.job().not_before
        journey.flow.run()


@pytest.mark.parametrize(
    "trouble", [ComputeUnavailable("no"), OSError("connection lost"), TypeError("cannot pickle")]
)
def test_a_job_that_cannot_be_handed_over_is_not_lost(journey: Journey, tmp_path: Path, trouble: Exception) -> None:
    """Whatever the engine raises when it is given a job: the row does not stay RUNNING with nobody running it."""
    journey.hands.trouble = trouble
    receive(journey, tmp_path / "a")
    journey.tick(after=31)
    assert journey.job().state is JobState.QUEUED
    journey.hands.trouble = None
    journey.now = journey.job().not_before
    journey.tick()
    assert journey.job().state is JobState.RUNNING
    assert list(journey.hands.taken) == [journey.job().id]


def test_a_cancelled_job_is_stopped(journey: Journey, tmp_path: Path) -> None:
    """The next tick sees what a person asked for, and the worker is free again."""
    job = started(journey, tmp_path / "a")
    journey.ledger.jobs.cancel(job.id, journey.now)
    journey.flow.collect()
    assert journey.hands.stopped == [job.id]
    assert journey.job().state is JobState.CANCELLED


def test_cancelled_and_asked_for_again_at_once(journey: Journey, tmp_path: Path) -> None:
    """The first run is stopped before the second starts, though no tick came between."""
    job = started(journey, tmp_path / "a")
    journey.ledger.jobs.cancel(job.id, journey.now)
    journey.ledger.jobs.retry(job.id, journey.now)
    journey.hands.free = 2
    journey.flow.run()
    assert journey.hands.stopped == [job.id]
    assert list(journey.hands.taken) == [job.id]
    assert journey.job().state is JobState.RUNNING


def test_a_living_node_keeps_its_jobs(journey: Journey, tmp_path: Path) -> None:
    """Leases are renewed long before they end, however long a job takes."""
    job = started(journey, tmp_path / "a")
    for _ in range(20):
        journey.now += LEASE_SECONDS / 6
        journey.flow.keep_leases()
    assert journey.job().state is JobState.RUNNING
    assert journey.ledger.jobs.still_running("node1") == {job.id}


def test_a_living_node_keeps_what_it_is_sending(journey: Journey) -> None:
    """An object may take a slow line longer than any lease: it is not taken for lost, and so not sent twice."""
    finished(journey.ledger)
    journey.ledger.deliveries.start("pacs", "node1", journey.now, journey.now + LEASE_SECONDS, 50)
    for _ in range(20):
        journey.now += LEASE_SECONDS / 6
        journey.flow.keep_leases()
    assert {each.state for each in journey.ledger.deliveries.of_study(STUDY)} == {DeliveryState.SENDING}
    journey.ledger.deliveries.renew("node1", journey.now - 1)
    journey.ledger.deliveries.take_back("node2", journey.now, starting=False)
    assert {each.state for each in journey.ledger.deliveries.of_study(STUDY)} == {DeliveryState.WAITING}


def test_a_start_takes_back_what_was_under_way(journey: Journey, tmp_path: Path) -> None:
    """Running is queued again, sending waits again, open associations are lost."""
    job = started(journey, tmp_path / "a")
    journey.flow.take_back(starting=True)
    assert journey.job().state is JobState.QUEUED
    (revision,) = journey.ledger.studies.revisions(job.study_instance_uid)
    assert [each.end for each in journey.ledger.studies.carriers(revision)] == [AssociationEnd.LOST]


def test_what_waits_for_a_destination_that_is_gone_is_held(journey: Journey) -> None:
    """A destination that was taken out of node.toml: HELD with what to do, instead of waiting for ever."""
    finished(journey.ledger, new_job(destinations=("pacs", "closed")))
    journey.flow.take_back(starting=True)
    states = {(d.destination, d.state) for d in journey.ledger.deliveries.of_study(STUDY)}
    assert states == {("pacs", DeliveryState.WAITING), ("closed", DeliveryState.HELD)}
    (held, _) = journey.ledger.deliveries.in_state(DeliveryState.HELD)
    assert held.reason.startswith("there is no destination 'closed' in node.toml any more")


def test_what_a_job_brings_for_a_removed_destination_is_held(journey: Journey) -> None:
    """Removed while the node runs, as at a start; what other nodes have as destinations is not touched."""
    finished(journey.ledger, new_job(destinations=("pacs", "of another node")))
    journey.flow.take(Settings())
    journey.flow.keep_leases()
    states = {(d.destination, d.state) for d in journey.ledger.deliveries.of_study(STUDY)}
    assert states == {("pacs", DeliveryState.HELD), ("of another node", DeliveryState.WAITING)}


def test_the_rules_in_force_decide(journey: Journey, tmp_path: Path) -> None:
    """The rules that decided are those of the moment of routing, not of the start."""
    journey.rules.clear()
    study = receive(journey, tmp_path / "a")
    complete(journey.ledger, study)
    journey.flow.read_headers()
    journey.rules.append(RULE.format(name="just now", extra=""))
    journey.flow.route()
    assert journey.job().rule == "just now"
