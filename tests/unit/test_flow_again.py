"""Studies that are asked about again: late images, a person who routes again, and errors that nobody foresaw."""

from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node import flow
from dicom_node.flow.pauses import Pauses
from dicom_node.lifecycle import JobState, StudyState
from dicom_node.routing import told_verdicts
from tests.flow_cases import RULE, Journey, receive, sender, started
from tests.ledger_cases import NOW
from tests.study_cases import write_study


def _rule(journey: Journey, destinations: str = '["pacs"]', extra: str = "") -> None:
    text = RULE.format(name="rule", extra=extra)
    journey.rules[:] = [text.replace('["pacs"]', destinations)]


def _again(journey: Journey, study: str) -> str:
    """Route a study again; return why no job was made."""
    assert journey.ledger.studies.route_again(study, "ada", journey.now)
    journey.tick()
    (told,) = told_verdicts(journey.ledger.studies.revisions(study)[-1].verdicts or "[]")
    return str(told.get("late_images_reason", ""))


def _sent(journey: Journey, study: str) -> Counter[str]:
    return Counter(each.destination for each in journey.ledger.deliveries.of_study(study))


def _late(journey: Journey, folder: Path, study: str, series: str = "", first: int = 0) -> None:
    """Receive more images of a study, of the series of its first images or of another; then silence."""
    more = {"SeriesInstanceUID": series} if series else {}
    write_study(folder, numbers=range(first, first + 5), study=study, **more)
    journey.arrive(folder, sender(folder.name, journey.now))
    journey.tick(after=31)


def _jobs(journey: Journey) -> list[tuple[int, JobState]]:
    return [(job.revision, job.state) for job in journey.ledger.jobs.latest(9)]


def test_a_destination_that_was_added_is_sent_what_the_others_have(journey: Journey, tmp_path: Path) -> None:
    """By a job for it alone: the same objects, and nothing goes twice to where it is; once more, nothing is new."""
    _rule(journey)
    first = started(journey, tmp_path / "a")
    study = first.study_instance_uid
    journey.done(first)
    _rule(journey, '["pacs", "archive"]')
    assert _again(journey, study) == ""
    second = journey.job()
    assert (second.revision, second.destinations) == (2, ("archive",))
    assert [each.destinations for each in journey.hands.taken[second.id].products] == [("archive",)]
    journey.done(second)
    assert _sent(journey, study) == {"pacs": 2, "archive": 2}
    assert {each.destination for each in journey.ledger.deliveries.of_job(first.id)} == {"pacs"}
    assert _again(journey, study) == (
        "its inputs, pipeline, settings, destinations and the profiles that the rule gives them are the same: "
        "revision 2's job stands"
    )
    assert _jobs(journey) == [(2, JobState.DONE), (1, JobState.DONE)]
    _rule(journey)
    assert "are the same" in _again(journey, study)
    assert _sent(journey, study) == {"pacs": 2, "archive": 2}


def test_a_destination_that_wants_another_profile_is_sent_that(journey: Journey, tmp_path: Path) -> None:
    """The others are not sent anything."""
    _rule(journey, '["pacs", "archive"]')
    first = started(journey, tmp_path / "a")
    journey.done(first)
    _rule(journey, '["pacs", { name = "archive", profile = "ohif" }]')
    for _ in range(2):
        _again(journey, first.study_instance_uid)
    job = journey.job()
    assert (job.revision, job.destinations, dict(job.terms.profiles)) == (2, ("archive",), {"archive": "ohif"})


def test_a_destination_that_is_added_before_the_job_is_done(journey: Journey, tmp_path: Path) -> None:
    """The new job takes the place of the unfinished one, and so it is for all of them."""
    _rule(journey)
    first = started(journey, tmp_path / "a")
    _rule(journey, '["pacs", "archive"]')
    _again(journey, first.study_instance_uid)
    assert _jobs(journey) == [(2, JobState.QUEUED), (1, JobState.CANCELLED)]
    assert journey.job().destinations == ("pacs", "archive")


def test_an_unfinished_job_stands_that_has_every_destination(journey: Journey, tmp_path: Path) -> None:
    """Nothing was edited: it goes on."""
    _rule(journey)
    first = started(journey, tmp_path / "a")
    assert _again(journey, first.study_instance_uid).endswith("revision 1's job stands")
    assert _jobs(journey) == [(1, JobState.RUNNING)]


def test_a_person_is_not_told_of_late_images(journey: Journey, tmp_path: Path) -> None:
    """No image came: what was edited runs, though late images are ignored."""
    _rule(journey, extra='late_images = "ignore"')
    first = started(journey, tmp_path / "a")
    journey.done(first)
    assert _again(journey, first.study_instance_uid).startswith("its inputs, pipeline")
    _rule(journey, extra='late_images = "ignore"\n[rule.settings]\nfactor = 3')
    assert _again(journey, first.study_instance_uid) == ""
    assert (journey.job().revision, journey.job().settings["factor"]) == (3, 3)


def test_a_result_on_part_of_a_series_does_not_stay_the_last(journey: Journey, tmp_path: Path) -> None:
    """Late images are ignored, but its rule took the study for whole too soon; and only in the series used."""
    _rule(journey, extra='late_images = "ignore"\ncompletion = { quiet_seconds = 2 }')
    study = receive(journey, tmp_path / "a")
    journey.tick(after=2.6)
    first = journey.job()
    assert (first.state, first.terms.early) == (JobState.RUNNING, True)
    journey.done(first)
    _late(journey, tmp_path / "other", study)
    assert _jobs(journey) == [(1, JobState.DONE)]
    series = str(dcmread(tmp_path / "a" / "0000.dcm").SeriesInstanceUID)
    _late(journey, tmp_path / "same", study, series, first=3)
    second = journey.job()
    assert (second.revision, len(second.inputs["t1"]), second.terms.early) == (3, 8, False)
    journey.done(second)
    _late(journey, tmp_path / "more", study, series, first=8)
    assert journey.job() == journey.ledger.jobs.get(second.id)


def test_late_images_of_a_whole_study_are_ignored_in_every_series(journey: Journey, tmp_path: Path) -> None:
    """The study was complete as node.toml says: that is what the rule asks for."""
    _rule(journey, extra='late_images = "ignore"')
    first = started(journey, tmp_path / "a")
    journey.done(first)
    series = str(dcmread(tmp_path / "a" / "0000.dcm").SeriesInstanceUID)
    _late(journey, tmp_path / "same", first.study_instance_uid, series)
    assert _jobs(journey) == [(1, JobState.DONE)]


def test_a_study_that_cannot_be_routed_is_tried_after_growing_pauses(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not ten times a second; and at once when the rules were edited."""
    study = receive(journey, tmp_path / "a")
    gathered: list[float] = []

    def stumbles(*_: object) -> None:
        gathered.append(journey.now - NOW)
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(flow, "study_facts", stumbles)
    for tenths in range(300, 400):
        journey.now = NOW + tenths / 10
        journey.tick()
    assert gathered == [30.0, 31.0, 33.0, 37.0]
    journey.rules[:] = [RULE.format(name="edited", extra="")]
    journey.tick()
    assert len(gathered) == 5
    monkeypatch.undo()
    journey.tick(after=1)
    assert journey.ledger.studies.revisions(study)[0].state is StudyState.ROUTED


def test_pauses_grow_to_five_minutes() -> None:
    """And are forgotten with what they were for."""
    pauses, key, now = Pauses(), ("1.2.3", 1), NOW
    waits = []
    for _ in range(11):
        pauses.longer(key, "rules", now)
        waits.append(next(seconds for seconds in range(999) if pauses.over(key, "rules", now + seconds)))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert pauses.over(key, "others", now - 1)
    pauses.longer(key, "others", now)
    assert pauses.over(key, "others", now + 1)
    assert not pauses.over(key, "others", now)
    pauses.only([key])
    assert not pauses.over(key, "others", now)
    pauses.only([])
    assert pauses.over(key, "others", now)
