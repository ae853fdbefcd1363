"""Rules by the API: checked, tried, saved, looked back at and taken back, each by who may."""

from dicom_node import catalogue
from dicom_node.ledger import AccountRole
from tests.admin_cases import Bench

_RULE = """
[[rule]]
name = "{name}"
pipeline = "brain_extraction"
destinations = ["pacs"]
[rule.inputs.t1]
Modality = "MR"
"""
_FIRST, _SECOND = _RULE.format(name="first"), _RULE.format(name="second")
_NEEDS_ADMINISTRATOR = (AccountRole.VIEWER, AccountRole.OPERATOR)


def _save(desk: Bench, text: str, **more: object) -> object:
    client = desk.program(AccountRole.ADMINISTRATOR)
    answer = client.put("/api/rules", json={"text": text, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_faults_have_lines(desk: Bench) -> None:
    """As `dicom-node rules check` says it; nothing is saved."""
    viewer = desk.program(AccountRole.VIEWER)
    assert viewer.get("/api/rules").json()["version"] == 0
    wrong = _FIRST.replace("extraction", "extractio")
    told = viewer.post("/api/rules/check", json={"text": wrong}).json()
    assert [fault["line"] for fault in told["faults"]] == [4]
    assert "brain_extraction" in told["faults"][0]["what"]
    assert viewer.post("/api/rules/check", json={"text": _FIRST}).json() == {"rules": 1, "faults": []}
    assert viewer.get("/api/rules").json()["version"] == 0


def test_saving_makes_a_version_with_its_author(desk: Bench) -> None:
    """Who saved, when and why stands in the version and in the audit trail."""
    made = _save(desk, _FIRST, reason="to begin with")
    whole = desk.program(AccountRole.VIEWER).get("/api/rules").json()
    assert whole == made | {"text": _FIRST}
    assert (whole["version"], whole["reason"], whole["at"]) == (1, "to begin with", desk.clock())
    act = next(act for act in desk.ledger.trail.page(0, 10)[1] if act.action == "save rules")
    assert (act.who, act.before, act.after) == (
        whole["author"],
        {"version": 0},
        {"version": 1, "reason": "to begin with"},
    )


def test_what_has_faults_is_not_saved(desk: Bench) -> None:
    """The answer lists every fault with its line, and the former rules stay in force."""
    _save(desk, _FIRST)
    administrator = desk.program(AccountRole.ADMINISTRATOR)
    answer = administrator.put("/api/rules", json={"text": _FIRST.replace("Modality", "Modalty")})
    assert answer.status_code == 400
    assert "7: " in answer.json()["detail"]
    assert "Modality" in answer.json()["detail"]
    assert administrator.get("/api/rules").json()["text"] == _FIRST


def test_nobody_overwrites_what_they_have_not_seen(desk: Bench) -> None:
    """An edit names the version that it began with; another one since is a conflict."""
    _save(desk, _FIRST)
    _save(desk, _SECOND, after=1)
    late = desk.program(AccountRole.ADMINISTRATOR).put("/api/rules", json={"text": _FIRST + "# mine", "after": 1})
    assert late.status_code == 409
    assert "version 2" in late.json()["detail"]


def test_history_difference_and_the_way_back(desk: Bench) -> None:
    """Versions are listed newest first; going back is a version too."""
    _save(desk, _FIRST)
    _save(desk, _SECOND)
    client = desk.program(AccountRole.ADMINISTRATOR)
    assert [version["version"] for version in client.get("/api/rules/versions").json()] == [2, 1]
    assert client.get("/api/rules/versions/1").json()["text"] == _FIRST
    difference = client.get("/api/rules/versions/2/difference", params={"old": 1}).json()["difference"]
    assert '-name = "first"' in difference
    assert '+name = "second"' in difference
    back = client.post("/api/rules/versions/1/roll-back", json={"reason": "it was wrong"}).json()
    assert (back["version"], back["reason"]) == (3, "it was wrong")
    assert client.get("/api/rules").json()["text"] == _FIRST
    assert client.get("/api/rules/versions/9").status_code == 404
    assert client.post("/api/rules/versions/9/roll-back", json={}).status_code == 404


def test_a_trial_changes_nothing(desk: Bench) -> None:
    """Of a node without studies it says so; a faulty text is not tried. Who tried is in the audit trail."""
    _save(desk, _FIRST)
    operator = desk.program(AccountRole.OPERATOR)
    told = operator.post("/api/rules/try", json={"text": _SECOND, "days": 7})
    assert told.json() == {"studies": 0, "differing": 0, "counts": [], "differences": []}
    act = desk.ledger.trail.page()[1][0]
    assert (act.action, act.subject) == ("try rules", "0 studies of 7 days")
    assert operator.post("/api/rules/try", json={"text": "[[rule]"}).status_code == 400
    assert operator.get("/api/rules").json()["version"] == 1


def test_editors_get_the_schema_with_the_names_of_this_node(desk: Bench) -> None:
    """So that they complete destinations and pipelines."""
    schema = desk.program(AccountRole.VIEWER).get("/api/rules/schema").json()
    rule = schema["properties"]["rule"]["items"]["properties"]
    assert rule["pipeline"] == {"enum": sorted(catalogue.roles())}
    assert {"enum": ["pacs"]} in rule["destinations"]["items"]["anyOf"]


def test_each_role_may_what_it_may(desk: Bench) -> None:
    """Looking is for everybody, trying for operators, changing for administrators."""
    _save(desk, _FIRST)
    for role in _NEEDS_ADMINISTRATOR:
        client = desk.program(role)
        assert client.put("/api/rules", json={"text": _SECOND}).status_code == 403
        assert client.post("/api/rules/versions/1/roll-back", json={}).status_code == 403
    assert desk.program(AccountRole.VIEWER).post("/api/rules/try", json={"text": _SECOND}).status_code == 403
    assert desk.ledger.rules.latest_number() == 1
