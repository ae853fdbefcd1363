"""What pages and figures say of times, queues and lists: true also after a study was routed or sent again."""

import datetime as dt
import time
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import event, select

from dicom_node.admin.alerts import Alerts
from dicom_node.admin.bulk import BulkDone
from dicom_node.admin.pages.bulk import Chosen, first_found
from dicom_node.admin.queries.pipeline_runs import history_of
from dicom_node.admin.queries.studies import Wanted
from dicom_node.ledger import AskedPriors, Delivery, Ledger
from dicom_node.ledger.schema import deliveries
from tests.admin_cases import ADMINISTRATOR, Bench, study
from tests.ledger_cases import NOW, SCANNER, STUDY, arrive, finished, image, new_job, queued, running

_DAY = 86400.0


def _route_again(ledger: Ledger, at: float) -> None:
    assert ledger.studies.route_again(STUDY, "olga", at)
    ledger.studies.record_verdicts(ledger.studies.revisions(STUDY)[-1], "[]", ("digest", 1), [], at + 1)


def _delivered(ledger: Ledger, at: float = NOW) -> Delivery:
    finished(ledger)
    for each in ledger.deliveries.start("pacs", "node1", at, at + 60, 10):
        ledger.deliveries.accept(each, 0, "", at)
    return ledger.deliveries.of_study(STUDY)[0]


def test_a_study_was_received_when_its_first_image_came(desk: Bench) -> None:
    """Also when it is routed again, or grows, weeks later: list, filter, order, export, today and plots."""
    queued(desk.ledger)
    study(desk.ledger, "1.2.9", {"PatientName": ["Other"]}, at=NOW + _DAY)
    later = NOW + 9 * _DAY
    _route_again(desk.ledger, later)
    arrive(desk.ledger, image(2), at=later + 5, association=replace(SCANNER, id="a-2"))
    desk.clock.now = later + 60
    rows = list(desk.office.studies.every(Wanted()))
    assert [(row.study_instance_uid, row.received_at) for row in rows] == [("1.2.9", NOW + _DAY), (STUDY, NOW)]
    assert [row.revision for row in rows] == [1, 3]
    assert desk.office.studies.page(Wanted(received_from=later - _DAY)).total == 0
    assert desk.office.studies.page(Wanted(received_to=NOW + 1)).total == 1
    assert desk.office.counts.studies(desk.office.midnight()) == {}
    assert desk.office.counts.studies(NOW) == {"receiving": 2}
    times = desk.office.times.over("week", desk.clock.now)
    assert sum(value or 0 for value in times.studies.values) == 0


def test_a_study_that_is_routed_again_was_not_slow_to_complete(desk: Bench) -> None:
    """A revision without images tells of no image that was waited for, and its story of none that came late."""
    queued(desk.ledger, at=NOW + 10)
    _route_again(desk.ledger, NOW + 9 * _DAY)
    samples = desk.office.times.samples(NOW)
    assert (samples["complete"], samples["route"]) == ([0.0], [1.0, 0.0])
    told = desk.office.studies.page(Wanted()).rows[0]
    assert told.revision == 2
    happenings = desk.program(ADMINISTRATOR.role).get(f"/api/studies/{STUDY}").json()["happenings"]
    assert "late images" not in {each["kind"] for each in happenings}


@pytest.mark.parametrize("how", ["send again", "retry", "resume"])
def test_what_somebody_asks_for_again_waits_from_then_on(how: str, desk: Bench) -> None:
    """An object of last week that is to go once more is no old queue; an hour later it is."""
    told: list[str] = []
    alerts = Alerts(desk.office, (lambda alert: told.append(alert.key),), desk.clock)
    row = _delivered(desk.ledger)
    desk.clock.now = NOW + 7 * _DAY
    if how == "retry":
        desk.office.actions.retry_delivery(ADMINISTRATOR, row.id)
        (again,) = desk.ledger.deliveries.start("pacs", "node1", desk.clock.now, desk.clock.now + 60, 10)
        desk.ledger.deliveries.hold(again, 0xC000, "no", desk.clock.now)
    if how == "resume":
        desk.office.actions.retry_delivery(ADMINISTRATOR, row.id)
        desk.office.actions.pause(ADMINISTRATOR, "pacs")
    desk.clock.now += _DAY
    if how == "resume":
        desk.office.actions.resume(ADMINISTRATOR, "pacs")
    else:
        desk.office.actions.retry_delivery(ADMINISTRATOR, row.id)
    desk.clock.now += 60
    alerts.tick()
    assert told == []
    assert 'dicom_node_queue_oldest_seconds{destination="pacs"} 60.0' in desk.client().get("/metrics").text
    desk.clock.now += 3600
    alerts.tick()
    assert told == ["queue old: pacs"]


def test_what_is_sent_again_took_no_week_to_deliver(desk: Bench) -> None:
    """Its time counts from when somebody asked for it."""
    row = _delivered(desk.ledger)
    again_at = NOW + 7 * _DAY
    assert desk.ledger.deliveries.resend(row.id, again_at, again_at + _DAY)
    (again,) = desk.ledger.deliveries.start("pacs", "node1", again_at, again_at + 60, 10)
    desk.ledger.deliveries.accept(again, 0, "", again_at + 5)
    assert desk.office.times.samples(NOW + _DAY)["deliver"] == [5.0]


def test_what_is_found_missing_waits_from_then_on(ledger: Ledger) -> None:
    """A destination that lost an object is not one that has not taken it for days."""
    row = _delivered(ledger)
    ledger.proofs.missing({row: "it is not there"}, NOW + 5 * _DAY, NOW + 5 * _DAY + 30)
    with ledger.engine.connect() as connection:
        since = connection.execute(select(deliveries.c.waiting_since).where(deliveries.c.id == row.id)).scalar()
    assert since == NOW + 5 * _DAY


def test_a_job_waits_for_a_worker_only_from_when_it_may_run(desk: Bench) -> None:
    """Not while its window is closed, its priors are fetched, or its pause after a failure lasts."""
    ledger = desk.ledger
    night = replace(new_job("night"), not_before=NOW + 3600)
    priors = replace(new_job("priors"), priors=AskedPriors("pacs", "[[rule]]", NOW + 600))
    queued(ledger, night, priors)
    (fetch,) = ledger.fetches.start("pacs", "node1", NOW, 10)
    ledger.fetches.finish(fetch, "all came", NOW + 120)
    job = running(ledger, at=NOW + 125)
    assert job.rule == "priors"
    ledger.jobs.fail(job, "no", NOW + 130, NOW + 900)
    assert desk.office.times.samples(NOW)["wait"] == []
    again = running(ledger, at=NOW + 904)
    ledger.jobs.fail(again, "no", NOW + 905, None)
    running(ledger, at=NOW + 3602)
    assert desk.office.times.samples(NOW)["wait"] == [2.0, 4.0]


def test_a_job_of_yesterday_that_ran_today_is_told_of_today(desk: Bench) -> None:
    """A job belongs to the span in which it started and ended, not to that in which it was made."""
    queued(desk.ledger)
    job = running(desk.ledger, at=NOW + _DAY)
    desk.ledger.jobs.finish(job, (), {}, NOW + _DAY + 30, NOW + 2 * _DAY)
    samples = desk.office.times.samples(NOW + _DAY - 60)
    assert (samples["wait"], samples["run"]) == ([_DAY], [30.0])


@pytest.mark.parametrize(("day", "midnight"), [("2026-03-29T12:00+02:00", 23), ("2026-10-25T12:00+01:00", 22)])
def test_today_begins_at_midnight_also_when_the_clock_is_changed(
    day: str, midnight: int, desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `time_zone` the computer's own zone holds: midnight was an hour nearer, or farther, than it seems."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        desk.clock.now = dt.datetime.fromisoformat(day).timestamp()
        begun = time.gmtime(desk.office.midnight())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (begun.tm_hour, begun.tm_min) == (midnight, 0)


def test_an_export_tells_each_study_once_while_others_arrive(desk: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some were received in the same second; a study that comes meanwhile pushes none to the next page again."""
    monkeypatch.setattr("dicom_node.admin.queries.studies._AT_ONCE", 2)
    for number in range(6):
        study(desk.ledger, f"1.2.{number}", {"PatientName": [str(number)]}, at=NOW + number // 3)
    told = []
    for row in desk.office.studies.every(Wanted()):
        told.append(row.study_instance_uid)
        study(desk.ledger, f"1.9.{len(told)}", {}, at=NOW + 60)
    assert told == [f"1.2.{number}" for number in (5, 4, 3, 2, 1, 0)]


def test_all_that_are_found_says_how_many_it_leaves_out(desk: Bench) -> None:
    """The question tells of the first ones, and the end how many remain."""
    for number in range(5):
        study(desk.ledger, f"1.2.{number}", {"PatientName": [str(number)]}, at=NOW + number)
    chosen = first_found(desk.office.studies, Wanted(), most=2)
    assert chosen == Chosen(("1.2.4", "1.2.3"), 3)
    assert chosen.question("Route again") == "Route again: the first 2 of 5 studies?"
    assert chosen.said("Route again", BulkDone(2, 0)).endswith(
        "2 changed; 3 of the studies found remain: nothing was done with them"
    )
    every = first_found(desk.office.studies, Wanted())
    assert (len(every.studies), every.question("Cancel")) == (5, "Cancel: 5 studies?")
    assert every.said("Cancel", BulkDone(5, 0)) == "Cancel: 5 changed"


def _plans(ledger: Ledger, action: Any) -> list[str]:
    """Return how SQLite goes about each statement of an action."""
    asked: list[tuple[str, Any]] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
    action()
    found = []
    with ledger.engine.connect() as connection:
        for statement, parameters in asked:
            if statement.startswith("SELECT"):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                found += [str(row.detail) for row in rows]
    return found


@pytest.mark.parametrize("what", ["times", "counts", "history", "habits", "choices"])
def test_no_figure_walks_along_all_jobs(what: str, desk: Bench) -> None:
    """A job's inputs are long: its row is read only where one job is looked at."""
    finished(desk.ledger)
    if desk.ledger.engine.dialect.name != "sqlite":
        pytest.skip("the plan is SQLite's")
    office = desk.office
    actions = {
        "times": lambda: office.times.over("week", desk.clock.now),
        "counts": lambda: (office.counts.studies(NOW), office.counts.jobs(), office.counts.queues()),
        "history": lambda: history_of(desk.ledger.engine, "pipeline"),
        "habits": lambda: office.habits.every(desk.clock.now),
        "choices": office.studies.choices,
    }
    plans = _plans(desk.ledger, actions[what])
    assert plans
    walks = [plan for plan in plans if plan.startswith("SCAN") and "COVERING" not in plan]
    assert [
        plan for plan in walks if any(name in plan for name in ("jobs", "revisions", "deliveries", "cards"))
    ] == []


def test_alerts_look_at_the_latest_jobs_only(desk: Bench) -> None:
    """They ask every few seconds: what is done is not read and sorted each time."""
    finished(desk.ledger)
    if desk.ledger.engine.dialect.name != "sqlite":
        pytest.skip("the plan is SQLite's")
    plans = _plans(desk.ledger, Alerts(desk.office, (), desk.clock).tick)
    assert plans
    assert [plan for plan in plans if plan == "USE TEMP B-TREE FOR ORDER BY"] == []


def test_the_latest_are_told_where_there_are_too_many(desk: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a plot needs: the newest, not any."""
    monkeypatch.setattr("dicom_node.admin.queries.times._MOST_ROWS", 2)
    for number in range(4):
        queued(desk.ledger, study=f"1.2.{number}", at=NOW + number)
        job = running(desk.ledger, at=NOW + number)
        desk.ledger.jobs.finish(job, (), {}, NOW + number + 10.0 * number, NOW + _DAY)
    assert desk.office.times.samples(NOW)["run"] == [30.0, 20.0]


def test_a_ledger_from_before_knows_since_when_it_waits(ledger: Ledger) -> None:
    """The migration counts from when a delivery was made."""
    finished(ledger)
    config = Config()
    config.set_main_option("script_location", str(resources.files("dicom_node.ledger") / "migrations"))
    with ledger.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0008")
        command.upgrade(config, "head")
        rows = connection.execute(select(deliveries.c.waiting_since)).scalars().all()
        connection.commit()
    assert rows == [NOW, NOW]
