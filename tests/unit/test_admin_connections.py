"""Destinations and senders by the API: added, changed, removed, allowed; in the file, in force, and in the trail."""

from pathlib import Path
from typing import Any

import pytest

from dicom_node.ledger import AccountRole
from dicom_node.lifecycle import DeliveryState
from dicom_node.settings import Settings, Source
from tests.admin_cases import NODE_TOML, Bench
from tests.ledger_cases import NOW, STUDY, finished

VIEWER, OPERATOR, ROOT = AccountRole
_ARCHIVE = {"ae_title": "ARCHIVE", "host": "10.0.0.7", "port": 104}
_RULES = '[[rule]]\nname = "heads"\npipeline = "p"\ndestinations = ["pacs"]\n[rule.inputs.t1]\nModality = "MR"\n'
_NOT_ALLOWED = "calling AE title is in no [[source]]"


@pytest.fixture
def file(tmp_path: Path, desk: Bench) -> Path:
    assert desk.office.settings.destinations
    return tmp_path / "node.toml"


def _names(desk: Bench) -> list[str]:
    return [each.name for each in desk.office.settings.destinations]


def test_a_destination_is_added_and_in_force_at_once(desk: Bench, file: Path) -> None:
    """It stands in the file below the others, in the node's settings, in what actions know, and in the trail."""
    taken: list[Settings] = []
    desk.office.live.watch(taken.append)
    root = desk.program(ROOT)
    assert root.put("/api/destinations/archive", json={"values": _ARCHIVE}).status_code == 201
    assert file.read_text() == NODE_TOML.replace(
        "port = 1\n",
        'port = 1\n\n[[destination]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "10.0.0.7"\nport = 104\n',
    )
    assert [each.name for each in taken[0].destinations] == _names(desk) == ["pacs", "archive"]
    assert "archive" in [each["name"] for each in root.get("/api/destinations").json()]
    assert root.post("/api/destinations/archive/pause").status_code == 204
    act = desk.ledger.trail.page()[1][1]
    assert (act.action, act.subject, act.before, act.after) == (
        "add destination",
        "archive",
        None,
        {"name": "archive", **_ARCHIVE},
    )


def test_a_change_keeps_comments_and_tells_before_and_after(desk: Bench, file: Path) -> None:
    """One line of the file changes; whoever looks at the trail sees what it was."""
    root = desk.program(ROOT)
    was = root.get("/api/destinations/pacs").json()
    assert was["values"] == {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 1}
    new = {"values": was["values"] | {"port": 2}, "after": was["digest"]}
    assert root.put("/api/destinations/pacs", json=new).status_code == 204
    assert file.read_text() == NODE_TOML.replace("port = 1", "port = 2")
    act = desk.ledger.trail.page()[1][0]
    assert act.before is not None
    assert act.after is not None
    assert (act.action, act.before["port"], act.after["port"]) == ("change destination", 1, 2)
    again = root.put("/api/destinations/pacs", json=new)
    assert (again.status_code, "changed meanwhile" in again.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (_ARCHIVE | {"port": 70000}, "[[destination]] 'archive': port 70000 is not 1..65535"),
        (_ARCHIVE | {"prot": "dicom"}, "unknown key 'prot'; did you mean 'port'?"),
        (_ARCHIVE | {"profile": "ohiff"}, "did you mean 'ohif'?"),
        ({"ae_title": "ARCHIVE"}, "host is missing"),
        (_ARCHIVE | {"name": "other"}, "the name stays"),
        (_ARCHIVE | {"ae_title": "MUCH TOO LONG A TITLE"}, "ae_title"),
        (_ARCHIVE | {"protocol": "dicomweb"}, "belongs to protocol dicom"),
        ({"protocol": "folder", "path": "a\0b"}, "paths"),
        ({"protocol": "folder", "path": "~nobody-here/x"}, "paths"),
    ],
)
def test_a_faulty_destination_changes_nothing(desk: Bench, file: Path, values: Any, told: str) -> None:
    """What is wrong and what would be right is said, without a line of a file that does not exist."""
    answer = desk.program(ROOT).put("/api/destinations/archive", json={"values": values})
    assert answer.status_code == (409 if "name" in values else 400)
    assert told in answer.json()["detail"]
    assert "node.toml:" not in answer.json()["detail"]
    assert (file.read_text(), _names(desk)) == (NODE_TOML, ["pacs"])
    assert "add destination" not in {act.action for act in desk.ledger.trail.page()[1]}


def test_a_destination_that_a_rule_names_stays(desk: Bench, file: Path) -> None:
    """The rule is named; once it is changed the destination can go."""
    root = desk.program(ROOT)
    desk.ledger.rules.add(_RULES, "digest", "ada", "", NOW)
    answer = root.delete("/api/destinations/pacs")
    assert (answer.status_code, "'heads'" in answer.json()["detail"]) == (409, True)
    assert file.read_text() == NODE_TOML
    desk.ledger.rules.add("", "digest", "ada", "", NOW)
    assert root.delete("/api/destinations/pacs").status_code == 204
    assert _names(desk) == []
    assert "# nobody may send yet" in file.read_text()
    assert root.delete("/api/destinations/pacs").status_code == 404


def test_what_is_not_delivered_keeps_a_destination_or_is_cancelled(desk: Bench) -> None:
    """Objects on their way are never forgotten silently: they are counted, or cancelled on demand."""
    finished(desk.ledger)
    root = desk.program(ROOT)
    answer = root.delete("/api/destinations/pacs")
    assert answer.status_code == 409
    assert "2 object(s): 2 waiting, 0 held" in answer.json()["detail"]
    assert root.delete("/api/destinations/pacs", params={"cancel_deliveries": True}).status_code == 204
    assert desk.office.counts.queues() == {} or desk.office.counts.queues()["pacs"].waiting == 0
    assert desk.ledger.trail.page()[1][0].after == {"cancelled": 2}


def test_a_job_that_ends_while_its_destination_is_removed_loses_nothing(desk: Bench) -> None:
    """Only what somebody asked to be cancelled is."""
    root = desk.program(ROOT)
    desk.office.live.watch(lambda _: finished(desk.ledger))
    assert root.delete("/api/destinations/pacs").status_code == 204
    assert {one.state for one in desk.ledger.deliveries.of_study(STUDY)} == {DeliveryState.WAITING}


def test_senders_are_added_changed_and_removed(desk: Bench, file: Path) -> None:
    """As destinations; the file is as it was in the end."""
    root = desk.program(ROOT)
    values: dict[str, Any] = {"ae_titles": ["MR1"], "addresses": ["10.1.0.0/16"]}
    assert root.put("/api/senders/MR 1", json={"values": values}).status_code == 201
    assert [each["name"] for each in root.get("/api/senders").json()] == ["MR 1"]
    wrong = root.put("/api/senders/MR 1", json={"values": values | {"addresses": ["10.1.2.3/16"]}})
    assert "did you mean '10.1.0.0/16'?" in wrong.json()["detail"]
    assert root.put("/api/senders/MR 1", json={"values": values | {"ae_titles": ["*"]}}).status_code == 204
    assert desk.office.settings.sources[0].ae_titles == ("*",)
    assert root.delete("/api/senders/MR 1").status_code == 204
    assert (file.read_text(), desk.office.settings.sources) == (NODE_TOML, ())


def _refuse(desk: Bench, calling: str = "MR1", address: str = "10.1.2.3", called: str = "DICOM_NODE") -> None:
    desk.ledger.arrivals.note_refused_sender(calling, called, address, _NOT_ALLOWED, NOW)


def test_a_refused_sender_is_allowed(desk: Bench) -> None:
    """Its AE title from its address, and nothing more; from another address it is the same sender."""
    root = desk.program(ROOT)
    _refuse(desk)
    asked = {"calling": "MR1", "address": "10.1.2.3"}
    assert root.post("/api/refused-senders/allow", json=asked).json() == {"sender": "MR1"}
    (source,) = desk.office.settings.sources
    assert source == Source(name="MR1", ae_titles=("MR1",), addresses=("10.1.2.3",))
    act = desk.ledger.trail.page()[1][0]
    assert (act.action, act.subject, act.before) == ("allow sender", "MR1 from 10.1.2.3", None)
    again = root.post("/api/refused-senders/allow", json=asked)
    assert (again.status_code, "allowed already" in again.json()["detail"]) == (409, True)
    _refuse(desk, address="10.1.2.4")
    assert root.post("/api/refused-senders/allow", json=asked | {"address": "10.1.2.4"}).json()["sender"] == "MR1"
    assert desk.office.settings.sources[0].addresses == ("10.1.2.3", "10.1.2.4")


def test_what_allowing_cannot_mend_is_said(desk: Bench) -> None:
    """A wrong called AE title, a missing certificate, nobody at all."""
    root = desk.program(ROOT)
    _refuse(desk, called="ELSEWHERE")
    answer = root.post("/api/refused-senders/allow", json={"calling": "MR1", "address": "10.1.2.3"})
    assert "not an AE title of this node (DICOM_NODE)" in answer.json()["detail"]
    assert root.post("/api/refused-senders/allow", json={"calling": "X", "address": "10.1.2.3"}).status_code == 404
    values = {"ae_titles": ["MR2"], "addresses": ["10.1.2.3"], "certificates": ["CN=mr2"]}
    root.put("/api/senders/mr2", json={"values": values})
    _refuse(desk, "MR2")
    answer = root.post("/api/refused-senders/allow", json={"calling": "MR2", "address": "10.1.2.3"})
    assert "certificate" in answer.json()["detail"]


@pytest.mark.parametrize("role", [VIEWER, OPERATOR])
def test_only_an_administrator_may(desk: Bench, file: Path, role: AccountRole) -> None:
    """Others are refused at every door, and nothing changes."""
    _refuse(desk)
    program = desk.program(role)
    answers = [
        program.get("/api/destinations/pacs"),
        program.put("/api/destinations/archive", json={"values": _ARCHIVE}),
        program.delete("/api/destinations/pacs"),
        program.get("/api/senders/MR1"),
        program.put("/api/senders/MR1", json={"values": {"ae_titles": ["A"], "addresses": ["*"]}}),
        program.delete("/api/senders/MR1"),
        program.post("/api/refused-senders/allow", json={"calling": "MR1", "address": "10.1.2.3"}),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert file.read_text() == NODE_TOML


def test_a_secret_in_an_address_is_not_in_the_trail(desk: Bench) -> None:
    """What stands after a question mark may be a key."""
    values = {"protocol": "dicomweb", "url": "https://pacs.example.org/studies?key=secret"}
    assert desk.program(ROOT).put("/api/destinations/web", json={"values": values}).status_code == 201
    assert "secret" not in str(desk.ledger.trail.page()[1])


@pytest.mark.parametrize("name", ["/etc/shadow", "../elsewhere", "node.toml", "secrets/../../x"])
def test_no_file_of_the_node_is_sent_away_as_a_password(desk: Bench, file: Path, name: str) -> None:
    """From a page only files in the settings' own folder can be named as secrets, and not the settings."""
    values = {"protocol": "dicomweb", "url": "https://pacs.example.org/studies"}
    auth = {"user": "node", "password_file": name}
    root = desk.program(ROOT)
    answer = root.put("/api/destinations/web", json={"values": values | {"auth": auth}})
    assert (answer.status_code, "in the folder of node.toml" in answer.json()["detail"]) == (409, True)
    assert file.read_text() == NODE_TOML
    right = values | {"auth": auth | {"password_file": "secrets/web"}}
    assert root.put("/api/destinations/web", json={"values": right}).status_code == 201


def test_a_file_that_cannot_be_written_is_said(desk: Bench, file: Path) -> None:
    """Such as in a container that mounts it read-only; nothing is in force that is not in the file."""
    # a name too long for its temporary neighbour: root ignores the rights of folders
    longest = file.with_name("n" * 250)
    file.rename(longest)
    desk.office.live._path = longest
    answer = desk.program(ROOT).put("/api/destinations/archive", json={"values": _ARCHIVE})
    assert answer.status_code == 409
    assert "cannot be written here" in answer.json()["detail"]
    assert _names(desk) == ["pacs"]


def test_a_file_edited_by_hand_is_taken(desk: Bench, file: Path) -> None:
    """With a fault, or without what a rule needs, it is not, and that is noted once."""
    live = desk.office.live
    desk.ledger.rules.add(_RULES, "digest", "ada", "", NOW)
    live.refresh()
    file.write_text(NODE_TOML.replace("port = 1", "port = 7"))
    live.refresh()
    live.refresh()
    assert getattr(live.now.destinations[0], "port", 0) == 7
    for wrong in (NODE_TOML.replace("port = 1", "port = 0"), NODE_TOML.replace('name = "pacs"', 'name = "other"')):
        file.write_text(wrong)
        for _ in range(4):
            live.refresh()
        assert (_names(desk), getattr(live.now.destinations[0], "port", 0)) == (["pacs"], 7)
    with desk.ledger.engine.connect() as connection:
        told = connection.exec_driver_sql("SELECT text FROM events WHERE kind = 'settings not taken'").fetchall()
    assert len(told) == 2
    assert "'heads'" in told[1][0]
