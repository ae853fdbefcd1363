"""What an attacker tries at the door: paths, other sites, names, cookies, spreadsheets, and looks unrecorded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from dicom_node.admin.api.studies import csv_lines
from dicom_node.admin.people import LogInRefused
from dicom_node.admin.queries.studies import Wanted
from dicom_node.ledger import AccountRole
from dicom_node.ledger.admin_schema import accounts, sessions, tokens
from tests.admin_cases import PASSWORD, Bench, bench, log_in, study

VIEWER, OPERATOR, ROOT = AccountRole


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, lock_after=3) as made:
        yield made


@pytest.mark.parametrize("path", ["/healthy", "/loginx", "/metrics2", "/staticx/node.css", "/HEALTH", "//health"])
def test_what_only_begins_like_an_open_path_is_none(desk: Bench, path: str) -> None:
    """Open is what is named, and what is below it."""
    assert desk.client().get(path).headers["location"] == "/login"


@pytest.mark.parametrize("given", ["/dicom-node", ""])
def test_a_proxy_may_hand_on_its_path_or_not(tmp_path: Path, given: str) -> None:
    """Pages, their styles, the log-in and the API are there, and guarded, both ways."""
    with bench(tmp_path, root_path="/dicom-node") as desk:
        client = desk.client()
        assert client.get(f"{given}/static/node.css").status_code == 200
        assert client.get(f"{given}/studies").headers["location"] == "/dicom-node/login"
        assert '<form method="post" action="/dicom-node/login"' in client.get(f"{given}/login").text
        assert client.get(f"{given}/health/live").status_code == 200
        assert client.get(f"{given}/api/me").status_code == 401
        assert desk.program(VIEWER).get(f"{given}/api/me").status_code == 200
        assert client.get("/dicom-nodex/health").status_code == 303


@pytest.mark.parametrize("origin", ["null", "http://[", "http://node.evil.example", "http://node:81", "file://", ""])
def test_an_origin_that_is_not_ours_is_another_site(desk: Bench, origin: str) -> None:
    """Whatever a browser says, and though it is no address: 403, never an error of ours."""
    program = desk.program(OPERATOR)
    assert program.post("/api/destinations/pacs/pause", headers={"origin": origin}).status_code == 403
    assert program.post("/api/destinations/pacs/pause", headers={"origin": "http://node"}).status_code == 204


def test_a_name_that_there_is_not_costs_what_a_wrong_password_costs(desk: Bench) -> None:
    """As many hashes, and as many writes to the disk: how long the answer takes tells nothing. Locked ones, too."""
    desk.person(VIEWER, "ada").close()
    people, commits, hashes = desk.office.people, [0], [0]
    event.listen(desk.ledger.engine, "commit", lambda _: commits.__setitem__(0, commits[0] + 1))
    verify = people._verify

    def counted(hashed: str, password: str) -> bool:
        hashes[0] += 1
        return verify(hashed, password)

    people._verify = counted  # type: ignore[method-assign]

    def cost(name: str) -> tuple[int, int, int]:
        commits[0] = hashes[0] = 0
        before = desk.ledger.engine.pool.checkedout()  # type: ignore[attr-defined]  # a QueuePool
        with pytest.raises(LogInRefused):
            people.log_in(name, "wrong", "10.0.0.1")
        return commits[0], hashes[0], before

    costs = {cost("ada"), cost("nobody"), cost("ada"), cost("ada"), cost("ada"), cost("nobody")}
    assert len(costs) == 1
    account = desk.ledger.accounts.get("ada")
    assert account is not None
    assert account.locked_until is not None


def test_guesses_at_the_same_time_are_counted_one_by_one(desk: Bench) -> None:
    """Twenty guesses at once are no way round the lock: the right one among the last is refused."""
    desk.person(VIEWER, "ada").close()

    def guess(number: int) -> bool:
        try:
            desk.office.people.log_in("ada", f"wrong {number}", "10.0.0.1")
        except LogInRefused:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert not any(pool.map(guess, range(20)))
    with pytest.raises(LogInRefused):
        desk.office.people.log_in("ada", PASSWORD, "10.0.0.1")
    assert desk.ledger.trail.page(action="log-in refused", who="ada")[0] > 2


def test_a_session_is_a_new_one_at_each_log_in(desk: Bench) -> None:
    """A secret that somebody planted is not taken over, and the one before is over."""
    client = desk.person(VIEWER, "ada")
    first = client.cookies["dicom_node_session"]
    log_in(client, "ada")
    second = client.cookies["dicom_node_session"]
    assert first != second
    client.cookies.set("dicom_node_session", first)
    assert desk.office.people.of_session(first, "") is None
    assert desk.office.people.of_session(second, "") is not None
    planted = desk.client()
    planted.cookies.set("dicom_node_session", "planted")
    answer = log_in(planted, "ada")
    assert "dicom_node_session=planted" not in answer.headers["set-cookie"]


def test_cookies_over_https_stay_there(desk: Bench) -> None:
    """Secure over TLS, or behind a proxy that is trusted to say so; not over plain loopback."""
    desk.person(VIEWER, "ada").close()
    for base, expected in (("https://node", True), ("http://node", False)):
        client = desk.client()
        client.base_url = base  # type: ignore[assignment]  # httpx takes a text
        answer = log_in(client, "ada")
        assert ("Secure" in answer.headers["set-cookie"]) is expected


def test_secrets_are_kept_as_digests(desk: Bench) -> None:
    """Who reads the ledger can neither use a token nor a session, nor read a password."""
    client = desk.person(ROOT, "ada")
    program = desk.program(VIEWER)
    secrets = {client.cookies["dicom_node_session"], program.headers["authorization"].removeprefix("Bearer ")}
    with desk.ledger.engine.connect() as connection:
        kept = [str(row) for table in (accounts, sessions, tokens) for row in connection.execute(select(table))]
    assert len(kept) == 3
    assert not any(secret in row for secret in (*secrets, PASSWORD) for row in kept)
    assert any("$argon2id$" in row for row in kept)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1+1", "\u00a0=1", "\uff1d1+1", "=cmd|' /C calc'!A0"],
)
def test_no_cell_of_an_export_is_a_formula(desk: Bench, text: str) -> None:
    """What a spreadsheet would take for one begins with an apostrophe, blanks or wide letters before it or not."""
    study(desk.ledger, "1.2.1", {"PatientID": ["P"], "StudyDescription": ["x"]})
    (row,) = desk.office.studies.every(Wanted())
    (_, line, *_) = "".join(csv_lines(desk.office, iter([_with(row, text)]))).split("\r\n", 1)
    assert f"'{text}".replace('"', '""') in line


def _with(row: Any, text: str) -> Any:
    values = {name: getattr(row, name) for name in type(row).__dataclass_fields__}
    return type(row)(**(values | {"study_description": text}))


def test_a_search_by_name_is_recorded_and_the_list_is_not(desk: Bench) -> None:
    """Who looks for a patient is known afterwards; a page that renews its list fills no trail."""
    viewer = desk.program(VIEWER)
    viewer.post("/api/studies/search", json={"modality": "MR"})
    assert desk.ledger.trail.page(action="search studies")[0] == 0
    viewer.post("/api/studies/search", json={"search": "doe", "modality": "MR"})
    (act,) = desk.ledger.trail.page(action="search studies")[1]
    assert act.after == {"search": "doe", "modality": "MR"}
    viewer.post("/api/studies/export", json={"sender": "MR1"})
    assert desk.ledger.trail.page(action="export list")[1][0].after == {"sender": "MR1"}


def test_slices_are_one_look_and_never_none(desk: Bench) -> None:
    """Who fetches slices past the preview is recorded: once in ten minutes for each study and person."""
    actions, clock = desk.office.actions, desk.clock
    ada, bob = (
        desk.office.people.of_session(desk.person(VIEWER, name).cookies["dicom_node_session"], "10.0.0.1")
        for name in ("ada", "bob")
    )
    assert ada is not None
    assert bob is not None

    def count() -> int:
        return desk.ledger.trail.page(action="view images")[0]

    for person, uid in ((ada, "1.2.1"), (ada, "1.2.1"), (bob, "1.2.1"), (ada, "1.2.2")):
        actions.looks_on(person, uid)
    assert count() == 3
    clock.now += 601
    actions.looks_on(ada, "1.2.1")
    assert count() == 4
