"""The JSON API: what each role may do, what is answered, and what is recorded."""

from pathlib import Path

import pytest

from dicom_node.admin.queries.pipeline_runs import history_of
from dicom_node.admin.vitals import Reach
from dicom_node.echoes import Echo
from dicom_node.ledger import AccountRole, Effort, Resources
from dicom_node.lifecycle import DeliveryState, JobState
from tests.admin_cases import ADMINISTRATOR, Bench, study
from tests.ledger_cases import NOW, STUDY, finished, held, made, new_job, queued

VIEWER, OPERATOR, ROOT = AccountRole


def _fill(desk: Bench, count: int = 3) -> None:
    for number in range(count):
        header = {
            "PatientName": [f"Doe^Jane{number}"],
            "PatientID": [f"P{number}"],
            "Modality": ["MR" if number % 2 else "CT"],
            "StudyDate": ["20260101"],
            "StudyDescription": ["=HEAD"],
        }
        study(desk.ledger, f"1.2.{number + 1}", header, NOW + number)


def test_the_list_is_paged_newest_first(desk: Bench) -> None:
    """A page holds what was asked for, and says how many there are."""
    _fill(desk)
    viewer = desk.program(VIEWER)
    page = viewer.post("/api/studies/search", json={"limit": 2}).json()
    assert (page["total"], [row["study_instance_uid"] for row in page["rows"]]) == (3, ["1.2.3", "1.2.2"])
    rest = viewer.post("/api/studies/search", json={"limit": 2, "offset": 2}).json()
    assert [row["patient_name"] for row in rest["rows"]] == ["Doe^Jane0"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"search": "jane1"}, ["1.2.2"]),
        ({"search": "DOE p2"}, ["1.2.3"]),
        ({"search": "%"}, []),
        ({"search": "1.2.1"}, ["1.2.1"]),
        ({"modality": "MR"}, ["1.2.2"]),
        ({"modality": "R"}, []),
        ({"sender": "SCANNER", "received_from": NOW + 1}, ["1.2.3", "1.2.2"]),
        ({"received_to": NOW + 1}, ["1.2.1"]),
        ({"phase": "receiving"}, ["1.2.3", "1.2.2", "1.2.1"]),
        ({"phase": "held"}, []),
        ({"rule": "nobody's"}, []),
    ],
)
def test_search_and_filters(desk: Bench, asked: dict[str, object], found: list[str]) -> None:
    """Every word must be in name, ID, accession number, description or UID; what is typed is no pattern."""
    _fill(desk)
    page = desk.program(VIEWER).post("/api/studies/search", json=asked).json()
    assert ([row["study_instance_uid"] for row in page["rows"]], page["total"]) == (found, len(found))


def test_phases_follow_a_study(desk: Bench) -> None:
    """Queued, running, delivering, held, done: the list says what its rows say together."""
    ledger, viewer = desk.ledger, desk.program(VIEWER)

    def phase() -> str:
        (row,) = viewer.post("/api/studies/search", json={}).json()["rows"]
        again = viewer.post("/api/studies/search", json={"phase": row["phase"]}).json()
        assert again["total"] == 1
        return str(row["phase"])

    queued(ledger)
    assert phase() == "queued"
    (job,) = ledger.jobs.claim("node1", NOW, NOW + 60, 1)
    assert phase() == "running"
    ledger.jobs.fail(job, "no", NOW, None)
    assert phase() == "held"
    ledger.jobs.cancel(job.id, NOW)
    assert phase() == "cancelled"


def test_a_delivered_study_is_done(desk: Bench) -> None:
    """With its objects under way it is being delivered; once they have arrived it is done."""
    finished(desk.ledger)
    viewer = desk.program(VIEWER)
    assert viewer.post("/api/studies/search", json={"phase": "delivering"}).json()["total"] == 1
    for each in desk.ledger.deliveries.start("pacs", "node1", NOW, NOW + 60, 10):
        desk.ledger.deliveries.accept(each, 0, "", NOW)
    assert viewer.post("/api/studies/search", json={"phase": "done"}).json()["total"] == 1


def test_the_export_is_csv_without_formulas(desk: Bench) -> None:
    """What a sender wrote is text in a spreadsheet, not a formula; the export is recorded."""
    _fill(desk)
    lines = desk.program(VIEWER).post("/api/studies/export", json={}).text.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("study_instance_uid,patient_name,")
    assert "'=HEAD" in lines[1]
    row = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert row["received_at"] == desk.office.local(NOW + 2).isoformat(sep=" ", timespec="seconds")
    assert desk.ledger.trail.page()[1][0].action == "export list"


def test_a_story_is_told_and_its_reading_recorded(desk: Bench) -> None:
    """One study with its series, verdicts, job, results and deliveries; who looked at it stands in the trail."""
    job = finished(desk.ledger)
    told = desk.program(VIEWER).get(f"/api/studies/{STUDY}").json()
    assert [each["id"] for each in told["jobs"]] == [job.id]
    assert {each["destination"] for each in told["deliveries"]} == {"pacs"}
    assert len(told["results"][str(job.id)]) == 2
    assert {"complete", "routed", "job done"} <= {each["kind"] for each in told["happenings"]}
    act = desk.ledger.trail.page(study=STUDY)[1][0]
    assert (act.action, act.who.startswith("token program-viewer")) == ("view study", True)
    assert desk.program(VIEWER).get("/api/studies/9.9").status_code == 404


def test_an_operator_acts_and_a_viewer_does_not(desk: Bench) -> None:
    """Cancel and retry need the role of an operator; before and after are recorded."""
    (job,) = queued(desk.ledger)
    assert desk.program(VIEWER).post(f"/api/jobs/{job.id}/cancel").status_code == 403
    operator = desk.program(OPERATOR)
    assert operator.post(f"/api/jobs/{job.id}/cancel").status_code == 204
    assert operator.post(f"/api/jobs/{job.id}/cancel").status_code == 409
    assert operator.post(f"/api/jobs/{job.id}/retry").status_code == 204
    assert operator.post("/api/jobs/99/retry").status_code == 404
    again = desk.ledger.jobs.get(job.id)
    assert again is not None
    assert again.state is JobState.QUEUED
    last, first = desk.ledger.trail.page(study=STUDY)[1]
    assert (last.action, last.before, last.after) == ("retry job", {"state": "cancelled"}, {"state": "queued"})
    assert first.action == "cancel job"


def test_what_has_arrived_can_be_sent_again(desk: Bench) -> None:
    """Resending puts the same object back into the queue."""
    finished(desk.ledger)
    for each in desk.ledger.deliveries.start("pacs", "node1", NOW, NOW + 60, 10):
        desk.ledger.deliveries.accept(each, 0, "", NOW)
    (first, *_) = desk.ledger.deliveries.of_study(STUDY)
    assert desk.program(OPERATOR).post(f"/api/deliveries/{first.id}/retry").status_code == 204
    again = desk.ledger.deliveries.get(first.id)
    assert again is not None
    assert again.state is DeliveryState.WAITING
    assert desk.ledger.trail.page()[1][0].action == "send again"


def test_a_study_is_routed_again_as_a_new_revision(desk: Bench) -> None:
    """The rules are asked once more; while they are still to be asked, nothing more can be asked for."""
    queued(desk.ledger)
    operator = desk.program(OPERATOR)
    assert operator.post(f"/api/studies/{STUDY}/route").status_code == 204
    assert [each.state for each in desk.ledger.studies.revisions(STUDY)] == ["routed", "complete"]
    assert operator.post(f"/api/studies/{STUDY}/route").status_code == 409
    assert sum(operator.get("/api/overview").json()["studies_today"].values()) == 1
    assert operator.post("/api/studies/9.9/route").status_code == 404


def test_a_paused_destination_is_sent_nothing(desk: Bench) -> None:
    """Deliveries wait until somebody lets them go."""
    finished(desk.ledger)
    operator = desk.program(OPERATOR)
    assert operator.post("/api/destinations/pacs/pause").status_code == 204
    assert desk.ledger.deliveries.start("pacs", "node1", NOW, NOW + 60, 10) == []
    assert operator.post("/api/destinations/pacs/pause").status_code == 409
    assert operator.post("/api/destinations/elsewhere/pause").status_code == 404
    assert operator.post("/api/destinations/pacs/resume").status_code == 204
    assert len(desk.ledger.deliveries.start("pacs", "node1", NOW, NOW + 60, 10)) == 2


def test_a_destination_that_is_away_says_so(desk: Bench) -> None:
    """A test tells in words what happened."""
    told = desk.program(OPERATOR).post("/api/destinations/pacs/test").json()
    assert told["answers"] is False
    assert "127.0.0.1" in told["reason"]


def test_the_overview_names_what_to_look_at(desk: Bench) -> None:
    """A destination that does not answer and a held job are troubles in words; without them there are none."""
    viewer = desk.program(VIEWER)
    assert viewer.get("/api/overview").json()["troubles"] == []
    desk.reaches["pacs"] = Reach(NOW, "nobody answers", {})
    queued(desk.ledger)
    held(desk.ledger)
    told = viewer.get("/api/overview").json()
    assert told["destinations"][0]["echo"] is None
    desk.reaches["pacs"] = Reach(NOW, "nobody answers", {}, Echo(NOW, answered=False, seconds=1.5, reason="no"))
    (state,) = viewer.get("/api/overview").json()["destinations"]
    assert state["echo"] == {"at": NOW, "answered": False, "seconds": 1.5, "reason": "no", "silent_since": None}
    assert told["troubles"] == [
        "pacs does not answer: nobody answers",
        "1 job(s) held: each waits for a decision",
    ]


@pytest.mark.parametrize("span", ["hour", "day", "week"])
def test_times_are_curves(desk: Bench, span: str) -> None:
    """Each bucket counts what came in it."""
    _fill(desk)
    told = desk.program(VIEWER).get(f"/api/times/{span}").json()
    assert sum(told["studies"]["values"]) == 3


def test_health_and_metrics_need_no_log_in_and_hold_no_patient(desk: Bench) -> None:
    """Supervisors and Prometheus ask without an account, so what they get names no patient and no study."""
    _fill(desk)
    client = desk.client()
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").json()["ready"] is True
    text = client.get("/metrics").text
    assert 'dicom_node_studies_today{phase="receiving"}' in text or "dicom_node_studies_today" in text
    assert "dicom_node_instances_received_total 3.0" in text
    assert not any(secret in text for secret in ("Doe", "1.2.1", "P0"))


def test_not_ready_without_its_ledger(desk: Bench, tmp_path: Path) -> None:
    """503 takes the node out of a load balancer's list, and says why."""
    (tmp_path / "ledger.sqlite").rename(tmp_path / "away")
    answer = desk.client().get("/health")
    (tmp_path / "away").rename(tmp_path / "ledger.sqlite")
    assert answer.status_code == 503
    assert answer.json()["faults"] == ["the ledger does not answer"]


def test_pipelines_are_listed(desk: Bench) -> None:
    """The pipeline that comes with the node: what it is for, needs and finds, and its settings in force."""
    told = {each["name"]: each for each in desk.program(VIEWER).get("/api/pipelines").json()}
    brain = told["brain_extraction"]
    assert "research" in brain["intended_use"]
    assert [(each["role"], each["minimum_slices"]) for each in brain["inputs"]] == [("t1", 32)]
    assert "Brain" in brain["outputs"]
    threshold = next(each for each in brain["settings"] if each["name"] == "threshold")
    assert (threshold["value"], threshold["given"], threshold["limits"]) == (0.5, False, "from 0.05 to 0.95")


def test_how_the_jobs_of_a_pipeline_went(desk: Bench) -> None:
    """How many in which state, what failed and why, how long the stages took, what was loaded."""
    queued(desk.ledger, new_job("a"), new_job("b"))
    first, second = desk.ledger.jobs.claim("node1", NOW, NOW + 60, 2)
    used = Effort({"run": 7.0}, Resources(1.0, 100.0, "cpu", 0.0, "abc"))
    desk.ledger.jobs.fail(first, "too dark", NOW + 2, None)
    desk.ledger.jobs.finish(second, made(), {"run": 7.0}, NOW + 8, NOW, effort=used)
    history = history_of(desk.ledger.engine, "pipeline")
    assert history.jobs == {"done": 1, "held": 1}
    assert history.made == {"SEG": 1, "SR": 1}
    assert (history.median_seconds, history.stages, history.last_at) == (8.0, {"run": 7.0}, NOW + 8)
    assert [(each.job, each.outcome, each.reason) for each in history.failures] == [(first.id, "held", "too dark")]
    assert (history.failed_attempts, history.weights, history.device) == (1, "abc", "cpu")
    assert history_of(desk.ledger.engine, "nobody's").jobs == {}


def test_many_studies_at_once(desk: Bench) -> None:
    """What can be done is done, with its lines in the trail; what cannot is counted, with the reason."""
    for number in (1, 2):
        queued(desk.ledger, study=f"1.2.{number}")
        held(desk.ledger)
    asked = {"action": "retry", "studies": ["1.2.1", "1.2.2"]}
    assert desk.program(VIEWER).post("/api/studies/bulk", json=asked).status_code == 403
    operator = desk.program(OPERATOR)
    assert operator.post("/api/studies/bulk", json=asked).json() == {"changed": 2, "refused": 0, "reasons": []}
    assert [act.action for act in desk.ledger.trail.page(0, 2)[1]] == ["retry job", "retry job"]
    assert operator.post("/api/studies/bulk", json=asked | {"action": "cancel"}).json()["changed"] == 2
    told = operator.post("/api/studies/bulk", json={"action": "route", "studies": ["1.2.1", "9.9"]}).json()
    assert told == {"changed": 1, "refused": 1, "reasons": ["there is no such study"]}
    (row, *_) = operator.post("/api/studies/search", json={"search": ""}).json()["rows"]
    assert row["rules"] == ["rule"]


def test_the_last_administrator_stays_one(desk: Bench) -> None:
    """Nobody can lock everybody out."""
    desk.office.actions.add_account(ADMINISTRATOR, "ada", ROOT, "a long password")
    root = desk.program(ROOT)
    assert root.patch("/api/accounts/ada", json={"role": "viewer"}).status_code == 409
    assert root.patch("/api/accounts/ada", json={"disabled": True}).status_code == 409
    new = {"name": "bob", "role": "administrator", "password": "another long one"}
    assert root.post("/api/accounts", json=new).status_code == 201
    assert root.patch("/api/accounts/ada", json={"role": "viewer"}).status_code == 204
    assert [each["role"] for each in root.get("/api/accounts").json()] == ["viewer", "administrator"]
    assert root.post("/api/accounts", json=new | {"name": "eve", "password": "short"}).status_code == 409
    assert "password" not in root.get("/api/accounts").text


def test_no_secret_is_in_the_trail(desk: Bench) -> None:
    """The audit trail tells that there is a new password or token, and not which."""
    root = desk.program(ROOT)
    root.post("/api/accounts", json={"name": "bob", "role": "viewer", "password": "very secret words"})
    secret = root.post("/api/tokens", json={"name": "grafana", "role": "viewer"}).json()["token"]
    text = root.get("/api/audit").text
    assert "add token" in text
    assert not any(each in text for each in ("very secret", secret, "argon2"))
    assert root.delete("/api/tokens/grafana").status_code == 204
    assert root.delete("/api/tokens/grafana").status_code == 404


def test_a_pipeline_runs_on_a_chosen_study_without_sending(desk: Bench) -> None:
    """An operator's own job has no destination; each role needs a series that the study has."""
    queued(desk.ledger)
    operator, path = desk.program(OPERATOR), f"/api/studies/{STUDY}/runs"
    asked = {"pipeline": "brain_extraction", "inputs": {"t1": f"{STUDY}.1"}}
    number = operator.post(path, json=asked).json()["job"]
    again = operator.post(path, json=asked).json()["job"]
    jobs = [desk.ledger.jobs.get(each) for each in (number, again)]
    assert [job and (job.rule, job.destinations, job.state) for job in jobs] == [
        ("without sending 1", (), JobState.QUEUED),
        ("without sending 2", (), JobState.QUEUED),
    ]
    assert operator.post(path, json=asked | {"inputs": {}}).status_code == 409
    assert operator.post(path, json=asked | {"inputs": {"t1": "9.9"}}).status_code == 404
    assert operator.post(path, json=asked | {"pipeline": "nobody's"}).status_code == 404
    assert desk.program(VIEWER).post(path, json=asked).status_code == 403
