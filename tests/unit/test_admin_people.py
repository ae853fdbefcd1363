"""Who gets in: log-in, lock-out, sessions, CSRF, roles, tokens; and what never leads anywhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.websockets import WebSocketDisconnect

from dicom_node.admin.people import AccountRefused, csrf_of
from dicom_node.ledger import AccountRole
from tests.admin_cases import ADMINISTRATOR, Bench, bench, log_in

VIEWER, OPERATOR, ROOT = AccountRole


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, idle_minutes=10, session_hours=1, lock_after=3, lock_minutes=5) as made:
        yield made


def test_nothing_without_a_log_in(desk: Bench) -> None:
    """A page leads to the log-in, the API answers 401, whatever the path."""
    client = desk.client()
    for path in ("/", "/studies", "/study/1.2.3", "/anything", "/_nicegui/auto/static/x"):
        assert (client.get(path).status_code, client.get(path).headers["location"]) == (303, "/login")
    assert client.get("/api/overview").status_code == 401
    assert client.get("/api/openapi.json").status_code == 401
    assert client.post("/api/studies/search", json={}).status_code == 401


def test_a_log_in_and_out(desk: Bench) -> None:
    """The cookie of a session is out of reach of scripts and other sites, and dead after the log-out."""
    desk.person(VIEWER, "ada").close()
    client = desk.client()
    answer = log_in(client, "ada")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in answer.headers["set-cookie"].split(";")}
    secret = client.cookies["dicom_node_session"]
    assert client.get("/api/me").json() == {"name": "ada", "role": "viewer"}
    client.post("/logout", data={"csrf": csrf_of(secret)})
    client.cookies.set("dicom_node_session", secret)
    assert client.get("/api/me").status_code == 401
    assert [act.action for act in desk.ledger.trail.page(0, 2)[1]] == ["log out", "log in"]


def test_nobody_learns_which_names_there_are(desk: Bench) -> None:
    """A wrong password and an unknown name are answered with the same page."""
    desk.person(VIEWER, "ada").close()
    client = desk.client()
    answers = [log_in(client, "ada", "wrong"), log_in(client, "nobody", "wrong")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert "Name or password is wrong" in answers[0].text
    assert desk.ledger.trail.page()[1][0].who == "(unknown name)"


def test_an_account_is_locked_after_failures(desk: Bench) -> None:
    """After three wrong passwords the right one does not help either, until the time is over."""
    desk.person(VIEWER, "ada").close()
    client = desk.client()
    for _ in range(3):
        assert log_in(client, "ada", "wrong").status_code == 401
    assert log_in(client, "ada").status_code == 401
    desk.clock.now += 5 * 60 + 1
    assert log_in(client, "ada").status_code == 303


def test_sessions_end(desk: Bench) -> None:
    """Without use after ten minutes, with use after an hour."""
    client = desk.person(VIEWER)
    for _ in range(7):
        desk.clock.now += 8 * 60
        last = client.get("/api/me").status_code
    assert last == 200
    desk.clock.now += 8 * 60
    assert client.get("/api/me").status_code == 401
    idle = desk.person(VIEWER, "other")
    desk.clock.now += 10 * 60 + 1
    assert idle.get("/api/me").status_code == 401


def test_a_page_that_renews_itself_keeps_no_session(desk: Bench) -> None:
    """Ten minutes after the last click the session is over, though an open page has looked every minute."""
    client, people = desk.person(VIEWER), desk.office.people
    secret = client.cookies["dicom_node_session"]
    for _ in range(10):
        assert people.of_session(secret, "127.0.0.1", uses=False) is not None
        desk.clock.now += 60
    assert people.of_session(secret, "127.0.0.1", uses=False) is None


def test_a_change_ends_the_sessions_of_an_account(desk: Bench) -> None:
    """Who was an operator is none from this moment on, in no open window."""
    client = desk.person(OPERATOR, "ada")
    desk.office.actions.change_account(ADMINISTRATOR, "ada", role=VIEWER)
    assert client.get("/api/me").status_code == 401
    client = desk.person(VIEWER, "bob")
    desk.office.actions.change_account(ADMINISTRATOR, "bob", disabled=True)
    assert client.get("/api/me").status_code == 401
    assert log_in(client, "bob").status_code == 401


def test_another_site_changes_nothing(desk: Bench) -> None:
    """A session's request must bring its CSRF token, and must not come from another origin; a program's need not."""
    client = desk.person(ROOT)
    new = {"name": "eve", "role": "administrator", "password": "a long password"}
    assert client.post("/api/accounts", json=new).status_code == 403
    token = {"x-csrf-token": csrf_of(client.cookies["dicom_node_session"])}
    foreign = token | {"origin": "http://evil.example"}
    assert client.post("/api/accounts", json=new, headers=foreign).status_code == 403
    assert client.post("/api/accounts", json=new, headers=token | {"origin": "http://node"}).status_code == 201
    assert client.post("/login", data={"name": "eve", "password": "a long password"}).status_code == 403


def test_no_web_socket_without_a_log_in_or_from_another_site(desk: Bench) -> None:
    """The pages' own line to the node is guarded as everything else."""
    for headers, client in (({}, desk.client()), ({"origin": "http://evil.example"}, desk.person(VIEWER))):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_nicegui_ws/socket.io/", headers=headers):
            pass


@pytest.mark.parametrize("role", [VIEWER, OPERATOR])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/accounts"),
        ("POST", "/api/accounts"),
        ("PATCH", "/api/accounts/ada"),
        ("GET", "/api/tokens"),
        ("POST", "/api/tokens"),
        ("DELETE", "/api/tokens/x"),
        ("GET", "/api/audit"),
    ],
)
def test_only_an_administrator_sees_to_people(desk: Bench, role: AccountRole, method: str, path: str) -> None:
    """Roles below are answered 403, before anything is looked up."""
    body = {"name": "eve", "role": "administrator", "password": "a long password"}
    assert desk.program(role).request(method, path, json=body if method == "POST" else {}).status_code in (403, 422)
    assert desk.ledger.accounts.get("eve") is None


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fnode.py",
        "/static/%2fetc/passwd",
        "/static/....//app.py",
        "/api/studies/..%2f..%2fetc",
        "/api/studies/1.2.3/instances/..%2f1/header",
    ],
)
def test_no_path_leads_out(desk: Bench, path: str) -> None:
    """No file but those of `static`, no UID that is none."""
    answer = desk.person(VIEWER).get(path)
    assert answer.status_code in (404, 422)
    assert "import" not in answer.text


def test_a_token_ends(desk: Bench) -> None:
    """A token for a day is none after a day; one that is taken back is none at once."""
    secret = desk.office.actions.add_token(ADMINISTRATOR, "for a day", VIEWER, 1)
    client = desk.client()
    client.headers["authorization"] = f"Bearer {secret}"
    assert client.get("/api/me").json() == {"name": "token for a day", "role": "viewer"}
    desk.clock.now += 86401
    assert client.get("/api/me").status_code == 401
    client.headers["authorization"] = "Bearer nonsense"
    assert client.get("/api/me").status_code == 401


def test_a_token_opens_no_page(desk: Bench) -> None:
    """It is for programs: a page with a patient on it is for somebody who has logged in, and is then in the trail."""
    program = desk.program(ROOT)
    assert program.get("/api/me").status_code == 200
    for path in ("/", "/studies", "/study/1.2.3", "/apix"):
        assert (program.get(path).status_code, program.get(path).headers["location"]) == (303, "/login")


@pytest.mark.parametrize("days", [0, -1, 40_000])
def test_a_token_needs_days_that_can_be(desk: Bench, days: float) -> None:
    """None that is over at once, and none for longer than anybody means."""
    with pytest.raises(AccountRefused, match="more than 0 and at most"):
        desk.office.actions.add_token(ADMINISTRATOR, "program", VIEWER, days)


def test_every_answer_has_the_safe_headers(desk: Bench) -> None:
    """Nobody may frame a page, and no browser keeps patient data."""
    for answer in (desk.client().get("/login"), desk.program(VIEWER).get("/api/me"), desk.client().get("/api/me")):
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
