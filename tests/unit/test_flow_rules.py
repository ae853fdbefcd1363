"""What a rule says of how and when: schedule, completion, late images, priority, profiles, dry runs."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from dicom_node import early, flow
from dicom_node.entities import AssociationEnd
from dicom_node.flow import putting_off
from dicom_node.ledger import Job, JobTerms
from dicom_node.ledger.new_jobs import insert_job
from dicom_node.ledger.schema import jobs
from dicom_node.lifecycle import JobState, StudyState
from dicom_node.settings import NodeSettings
from dicom_node.study_folder import one_study
from dicom_node.task import Answer
from tests.flow_cases import RULE, Journey, receive, sender, started
from tests.ledger_cases import NOW, SCANNER, arrive, image, made, new_job
from tests.study_cases import write_study


def _rule(journey: Journey, *extras: str) -> None:
    journey.rules[:] = [RULE.format(name=f"rule {n}", extra=extra) for n, extra in enumerate(extras)]


def _more(journey: Journey, folder: Path, study: str, description: str = "T1") -> None:
    write_study(folder, description, slices=5, study=study)
    journey.arrive(folder, sender("a-2", journey.now))


def _jobs(journey: Journey) -> dict[str, Job]:
    return {job.rule: job for job in reversed(journey.ledger.jobs.latest(9))}


def test_a_job_waits_for_its_window(journey: Journey, tmp_path: Path) -> None:
    """Off-peak, in the time zone of the site; the reason says which window."""
    journey.flow._settings = journey.flow._settings.model_copy(update={"node": NodeSettings(time_zone="Asia/Tokyo")})
    _rule(journey, 'schedule = ["Mon-Sun 03:00-04:00"]')
    receive(journey, tmp_path / "a")
    journey.tick(after=31)
    job = journey.job()
    assert (job.state, job.reason) == (
        JobState.QUEUED,
        "waits for its schedule: Mon,Tue,Wed,Thu,Fri,Sat,Sun 03:00-04:00",
    )
    assert datetime.fromtimestamp(job.not_before, UTC).hour == 18  # 3:00 in Tokyo
    journey.now = job.not_before
    journey.tick()
    assert journey.job().state is JobState.RUNNING


def test_a_job_that_found_no_worker_in_its_window_waits_for_the_next(journey: Journey, tmp_path: Path) -> None:
    """A window is when jobs may start, also after a busy night."""
    _rule(journey, 'schedule = ["Mon-Sun 03:00-04:00"]')
    receive(journey, tmp_path / "a")
    journey.tick(after=31)
    opens = journey.job().not_before
    journey.hands.free = 0
    journey.now = opens + 3599
    journey.tick()
    journey.hands.free = 1
    journey.now = opens + 3600
    journey.tick()
    assert (journey.job().state, journey.job().not_before) == (JobState.QUEUED, opens + 86400)


def _many_due(journey: Journey, count: int, terms: JobTerms, first: int = 0) -> None:
    """Queue jobs that are due, each of a study of its own."""
    with journey.ledger.engine.begin() as connection:
        for number in range(first, first + count):
            insert_job(connection, f"1.9.{number}", 1, replace(new_job(), terms=terms), ("", 0), journey.now)


def test_a_night_window_with_many_jobs_behind_it_is_looked_at_in_pages(
    journey: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None while no worker is free; then as few as need be, their window once for all of them."""
    _many_due(journey, 50, JobTerms(windows=("Mon-Sun 03:00-04:00",)))
    _many_due(journey, 50, JobTerms(), first=50)
    asked: list[str] = []
    monkeypatch.setattr(putting_off, "_A_PAGE", 9)
    monkeypatch.setattr(flow, "opens_again", lambda terms, **_: asked.append(str(terms)) or journey.now + 60)
    monkeypatch.setattr(journey.flow, "_hand_over", lambda _: None)
    journey.hands.free = 0
    journey.flow.run()
    assert asked == []
    journey.hands.free = 1
    journey.flow.run()
    assert len(asked) == 1
    (running,) = journey.ledger.jobs.latest(200, state=JobState.RUNNING)
    assert running.study_instance_uid == "1.9.50"
    waiting = [job for job in journey.ledger.jobs.latest(200) if job.reason.startswith("waits for its schedule")]
    assert len(waiting) == 50
    assert {job.not_before for job in waiting} == {journey.now + 60}


def test_only_so_many_jobs_are_put_off_in_a_tick(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not looked at does not start; the next tick goes on."""
    _many_due(journey, 50, JobTerms(windows=("Mon-Sun 03:00-04:00",)))
    monkeypatch.setattr(putting_off, "_A_PAGE", 4)
    monkeypatch.setattr(putting_off, "_MOST_PAGES", 2)
    for ticks in (1, 2, 3):
        journey.flow.run()
        put_off = [job for job in journey.ledger.jobs.latest(99) if job.not_before > journey.now]
        assert len(put_off) == ticks * 10
    assert journey.ledger.jobs.latest(99, state=JobState.RUNNING) == []


def test_which_studies_grow_is_one_question(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that settle are put off while they do, the others start."""
    _many_due(journey, 5, JobTerms(settling=True))
    arrive(journey.ledger, *(image(1, study=f"1.9.{number}") for number in range(4)), at=journey.now)
    growing, asked = journey.ledger.studies.growing, []
    monkeypatch.setattr(journey.ledger.studies, "growing", lambda uids: asked.append(set(uids)) or growing(uids))
    monkeypatch.setattr(journey.flow, "_hand_over", lambda _: None)
    journey.flow.run()
    assert asked == [{f"1.9.{number}" for number in range(5)}]
    assert [job.state for job in journey.ledger.jobs.latest(9)] == [JobState.RUNNING, *[JobState.QUEUED] * 4]


def test_a_rule_may_want_a_longer_silence(journey: Journey, tmp_path: Path) -> None:
    """Its job waits; the other rule's does not."""
    _rule(journey, "completion = { quiet_seconds = 300 }", "")
    receive(journey, tmp_path / "a")
    journey.tick(after=31)
    jobs = _jobs(journey)
    assert (jobs["rule 0"].state, jobs["rule 1"].state) == (JobState.QUEUED, JobState.RUNNING)
    assert jobs["rule 0"].not_before == NOW + 300
    journey.hands.free = 2
    journey.now = NOW + 300
    journey.tick()
    assert _jobs(journey)["rule 0"].state is JobState.RUNNING


def test_images_that_come_within_the_silence_start_it_anew(journey: Journey, tmp_path: Path) -> None:
    """The job on fewer images is not started, though its time has come; the next revision's takes its place."""
    _rule(journey, "completion = { quiet_seconds = 60 }")
    study = receive(journey, tmp_path / "a")
    journey.now = NOW + 31
    journey.tick()
    first = journey.job()
    journey.now = NOW + 50
    _more(journey, tmp_path / "b", study)
    journey.now = NOW + 60
    journey.tick()
    waiting = journey.ledger.jobs.get(first.id)
    assert waiting is not None
    assert (waiting.state, waiting.reason[:27]) == (JobState.QUEUED, "more images are coming: the")
    journey.now = NOW + 81
    journey.tick()
    cancelled, second = journey.ledger.jobs.get(first.id), journey.job()
    assert cancelled is not None
    assert (cancelled.state, second.revision, second.not_before) == (JobState.CANCELLED, 2, NOW + 110)


def test_a_rule_that_does_not_fire_on_the_whole_study_is_withdrawn(journey: Journey, tmp_path: Path) -> None:
    """It fired on a part, and waited: nothing runs."""
    _rule(journey, "completion = { quiet_seconds = 60 }\nwhen.none_of = [{ SeriesDescription = 'stop' }]")
    study = receive(journey, tmp_path / "a")
    journey.now = NOW + 31
    journey.tick()
    _more(journey, tmp_path / "b", study, "stop")
    journey.now = NOW + 100
    journey.tick()
    assert journey.job().state is JobState.CANCELLED
    assert journey.job().reason == "withdrawn: with the images of revision 2 the rule does not fire"


def test_a_rule_that_is_gone_is_withdrawn_too(journey: Journey, tmp_path: Path) -> None:
    """Its job on a part of the study waited; the rules in force by now want another one."""
    _rule(journey, "completion = { quiet_seconds = 100 }")
    study = receive(journey, tmp_path / "a")
    journey.now = NOW + 31
    journey.tick()
    journey.rules[:] = [RULE.format(name="another", extra="completion = { quiet_seconds = 100 }")]
    _more(journey, tmp_path / "b", study)
    journey.tick(after=31)
    assert {name: job.state for name, job in _jobs(journey).items()} == {
        "rule 0": JobState.CANCELLED,
        "another": JobState.QUEUED,
    }


def test_a_job_that_only_waited_is_no_run_that_lets_late_images_be_ignored(journey: Journey, tmp_path: Path) -> None:
    """It gave way to that of the second revision, which has not started either when the third comes."""
    _rule(journey, 'late_images = "ignore"\ncompletion = { quiet_seconds = 100 }')
    study = receive(journey, tmp_path / "a")
    journey.now = NOW + 31
    journey.tick()
    for slices, name in ((4, "b"), (5, "c")):
        write_study(tmp_path / name, slices=slices, study=study)
        journey.arrive(tmp_path / name, sender(name, journey.now))
        journey.tick(after=31)
    made_jobs = [(job.revision, job.state) for job in journey.ledger.jobs.latest(9)]
    assert made_jobs == [(3, JobState.QUEUED), (2, JobState.CANCELLED), (1, JobState.CANCELLED)]


@pytest.mark.parametrize("late", ["rerun", "ignore"])
def test_a_dry_run_keeps_no_rule_from_running_that_is_live_by_now(
    journey: Journey, tmp_path: Path, late: str
) -> None:
    """Routed again, the study has its results sent; and once more, nothing runs."""
    _rule(journey, f'dry_run = true\nlate_images = "{late}"')
    job = started(journey, tmp_path / "a")
    journey.done(job)
    _rule(journey, f'late_images = "{late}"')
    for _ in range(2):
        assert journey.ledger.studies.route_again(job.study_instance_uid, "ada", journey.now)
        journey.tick()
    assert [each.revision for each in journey.ledger.jobs.latest(9)] == [2, 1]


def test_another_pipeline_is_not_what_ran_before(journey: Journey, tmp_path: Path) -> None:
    """A rule that was edited, and a study that is routed again: the images are the same, the job is not."""
    job = started(journey, tmp_path / "a")
    journey.done(job)
    study = job.study_instance_uid
    with journey.ledger.engine.begin() as connection:
        connection.execute(update(jobs).values(pipeline="former"))
    assert journey.ledger.studies.route_again(study, "ada", journey.now)
    journey.tick()
    assert (journey.job().revision, journey.job().pipeline) == (2, "example")


def test_a_study_that_cannot_be_looked_at_early_holds_up_no_other(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw: the study waits for its silence, the others go on; its story tells it once."""
    _rule(journey, "completion = { inputs_present = true }")
    study = receive(journey, tmp_path / "a")
    journey.now += 20
    write_study(tmp_path / "b", slices=2)
    journey.arrive(tmp_path / "b", sender("b", journey.now))
    calls: list[str] = []

    def stumbles(uid: str, *_: object) -> None:
        calls.append(uid)
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(early, "study_facts", stumbles)
    journey.tick(after=6)
    assert len(set(calls)) == 2
    journey.tick()
    told = [text for _, kind, text in journey.ledger.events(study=study) if kind == "study cannot be looked at early"]
    assert len(told) == 1
    assert "RuntimeError" in told[0]
    assert "nobody foresaw this" not in told[0]
    journey.tick(after=31)
    assert journey.ledger.studies.in_state(StudyState.RECEIVING) == []


def test_a_rule_starts_as_soon_as_its_inputs_are_there(journey: Journey, tmp_path: Path) -> None:
    """Not while its own series grows; the other rule waits for the silence that node.toml asks for."""
    _rule(journey, "completion = { inputs_present = true }", "")
    study = receive(journey, tmp_path / "a")
    journey.ledger.arrivals.end_association(SCANNER, AssociationEnd.RELEASED, NOW + 1)
    _series(journey, tmp_path / "b", study, NOW + 4, AssociationEnd.RELEASED)
    journey.now = NOW + 4.9
    journey.tick()
    assert journey.ledger.studies.revisions(study)[0].state is StudyState.RECEIVING
    journey.now = NOW + 6
    journey.tick()
    assert (
        journey.ledger.studies.revisions(study)[0].reason
        == "rule 'rule 0' has all of its inputs, and nothing more came for them"
    )
    jobs = _jobs(journey)
    assert (jobs["rule 0"].state, jobs["rule 1"].state) == (JobState.RUNNING, JobState.QUEUED)
    assert jobs["rule 1"].not_before == NOW + 9


def _series(journey: Journey, folder: Path, study: str, at: float, end: AssociationEnd | None = None) -> None:
    """Receive another, smaller series of a study; its association ends at once, or stays open."""
    write_study(folder, "another", slices=2, study=study)
    carrier = sender(folder.name, at)
    arrive(journey.ledger, *one_study(folder).instances.values(), at=at, association=carrier)
    if end is not None:
        journey.ledger.arrivals.end_association(carrier, end, at)


@pytest.mark.parametrize("end", [None, AssociationEnd.ABORTED])
def test_a_series_that_only_pauses_has_not_ended(
    journey: Journey, tmp_path: Path, end: AssociationEnd | None
) -> None:
    """While an association is open, or was broken off, its silence is as long as any."""
    _rule(journey, "completion = { inputs_present = true }")
    study = receive(journey, tmp_path / "a")
    if end is not None:
        journey.ledger.arrivals.end_association(SCANNER, end, NOW + 1)
    for number in range(1, 5):
        journey.now = NOW + 7 * number
        _series(journey, tmp_path / f"b{number}", study, journey.now)
        journey.tick(after=1)
        assert journey.ledger.studies.revisions(study)[0].state is StudyState.RECEIVING
    journey.now = NOW + 31
    journey.tick()
    (revision,) = journey.ledger.studies.revisions(study)
    assert revision.reason == "rule 'rule 0' has all of its inputs, and nothing more came for them"


def test_a_rule_may_want_a_shorter_silence(journey: Journey, tmp_path: Path) -> None:
    """The study is closed for it; the other rule waits for the silence that node.toml asks for."""
    _rule(journey, "completion = { quiet_seconds = 2 }", "")
    study = receive(journey, tmp_path / "a")
    journey.now = NOW + 1.5
    journey.tick()
    assert journey.ledger.studies.revisions(study)[0].state is StudyState.RECEIVING
    journey.now = NOW + 2.6
    journey.tick()
    assert journey.ledger.studies.revisions(study)[0].reason == "rule 'rule 0' wants a silence of 2 s only"
    jobs = _jobs(journey)
    assert (jobs["rule 0"].state, jobs["rule 1"].state) == (JobState.RUNNING, JobState.QUEUED)
    assert jobs["rule 1"].not_before == NOW + 30


def test_a_rules_shorter_silence_is_none_while_nobody_listened(journey: Journey, tmp_path: Path) -> None:
    """As that of node.toml."""
    _rule(journey, "completion = { quiet_seconds = 2 }")
    study = receive(journey, tmp_path / "a")
    journey.flow._watched_since = NOW + 3600
    for after, state in ((1, StudyState.RECEIVING), (2.1, StudyState.ROUTED)):
        journey.now = NOW + 3600 + after
        journey.tick()
        assert journey.ledger.studies.revisions(study)[0].state is state


def test_a_rule_starts_as_soon_as_the_pacs_counts_no_more(journey: Journey, tmp_path: Path) -> None:
    """The count is asked for while the study is received; one that is not reached is no reason, nor is a lull."""
    _rule(journey, 'completion = { count_from = "pacs" }')
    study = receive(journey, tmp_path / "a")
    for now, count, state in (
        (NOW + 1, None, StudyState.RECEIVING),
        (NOW + 2.1, 4, StudyState.RECEIVING),
        (NOW + 3.2, 3, StudyState.RECEIVING),
        (NOW + 4.9, 3, StudyState.RECEIVING),
        (NOW + 6, 3, StudyState.ROUTED),
    ):
        journey.now = now
        journey.counts.answer(study, "pacs", count, now)
        journey.tick()
        assert journey.ledger.studies.revisions(study)[0].state is state
    assert journey.counts.open(NOW + 20) == [(study, "pacs")]
    assert journey.job().state is JobState.RUNNING


def test_a_count_from_before_the_last_image_is_none(journey: Journey, tmp_path: Path) -> None:
    """The PACS had as many as had come then, and both were receiving; it is asked anew."""
    _rule(journey, 'completion = { count_from = "pacs" }')
    study = receive(journey, tmp_path / "a")
    journey.now = NOW + 1
    journey.tick()
    journey.counts.answer(study, "pacs", 3, NOW + 1)
    assert journey.counts.open(NOW + 2) == []
    _series(journey, tmp_path / "b", study, NOW + 4)
    journey.now = NOW + 9.5
    journey.tick()
    assert journey.ledger.studies.revisions(study)[0].state is StudyState.RECEIVING
    assert journey.counts.open(NOW + 9.5) == [(study, "pacs")]
    journey.counts.answer(study, "pacs", 5, NOW + 9.6)
    journey.now = NOW + 10.6
    journey.tick()
    assert journey.ledger.studies.revisions(study)[0].state is StudyState.ROUTED


@pytest.mark.parametrize(("late", "named"), [("rerun", True), ("add", False)])
def test_late_images_supersede_or_add(journey: Journey, tmp_path: Path, late: str, named: bool) -> None:
    """The new report names the one whose place it takes, or none."""
    _rule(journey, f'late_images = "{late}"')
    job = started(journey, tmp_path / "a")
    journey.done(job)
    write_study(tmp_path / "b", slices=5, study=job.study_instance_uid)
    journey.arrive(tmp_path / "b")
    journey.tick(after=31)
    (order,) = journey.hands.taken.values()
    assert (order.products[0].predecessor is not None) is named


@pytest.mark.parametrize("running", [True, False])
def test_what_stands_beside_late_results_is_not_given_up(journey: Journey, tmp_path: Path, running: bool) -> None:
    """The job on the earlier images, which late images found unfinished, is done too."""
    _rule(journey, 'late_images = "add"')
    journey.hands.free = int(running)
    study = receive(journey, tmp_path / "a")
    journey.tick(after=31)
    _more(journey, tmp_path / "b", study)
    journey.tick(after=31)
    state = JobState.RUNNING if running else JobState.QUEUED
    assert [(job.revision, job.state) for job in journey.ledger.jobs.latest(9)] == [(2, JobState.QUEUED), (1, state)]


def test_what_only_waited_gives_way_though_results_stand_beside(journey: Journey, tmp_path: Path) -> None:
    """It was to start only if nothing more came."""
    _rule(journey, 'late_images = "add"\ncompletion = { quiet_seconds = 100 }')
    study = receive(journey, tmp_path / "a")
    journey.tick(after=31)
    _more(journey, tmp_path / "b", study)
    journey.tick(after=31)
    assert [job.state for job in journey.ledger.jobs.latest(9)] == [JobState.QUEUED, JobState.CANCELLED]


def test_a_dry_run_is_stored_and_sent_to_nobody(journey: Journey, tmp_path: Path) -> None:
    """Built as it would be for its destination, with the reason on the job."""
    _rule(journey, "dry_run = true")
    job = started(journey, tmp_path / "a")
    assert journey.hands.taken[job.id].products[0].destinations == ("pacs",)
    objects = made(job.study_instance_uid)
    journey.hands.end(
        job, value=Answer(made=objects, recipients={each.sop_instance_uid: ("pacs",) for each in objects})
    )
    journey.flow.collect()
    assert (journey.job().state, journey.job().reason) == (JobState.DONE, "Dry run: stored, and sent to nobody.")
    assert len(journey.ledger.jobs.results(job.id)) == 2
    assert journey.ledger.deliveries.of_job(job.id) == []


def test_the_priority_comes_from_the_images(journey: Journey, tmp_path: Path) -> None:
    """Requested Procedure Priority (0040,1003)."""
    _rule(journey, 'priority = { from = "RequestedProcedurePriority" }')
    write_study(tmp_path / "a", slices=2, RequestedProcedurePriority="STAT")
    journey.arrive(tmp_path / "a", sender("x"))
    journey.tick(after=31)
    assert journey.job().priority == 0


def test_a_rule_may_choose_the_profile_of_a_destination(journey: Journey, tmp_path: Path) -> None:
    """For its own results only."""
    journey.rules[:] = [
        RULE.format(name="rule", extra="").replace('["pacs"]', '[{ name = "pacs", profile = "ohif" }]')
    ]
    job = started(journey, tmp_path / "a")
    (product,) = journey.hands.taken[job.id].products
    assert product.profile.name == "ohif"


def test_a_job_names_the_version_that_made_it(journey: Journey, tmp_path: Path) -> None:
    """That of the rules which were in force when its study was routed."""
    assert started(journey, tmp_path / "a").rules_version == 7
