"""Every operation of the API, asked by everybody: what its description says of roles is what is true of it."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from dicom_node.admin.api.asking import ROLE_KEY
from dicom_node.ledger import AccountRole
from tests.admin_cases import Bench, bench
from tests.ledger_cases import STUDY, finished

VIEWER, OPERATOR, ROOT = AccountRole
#: What supervisors and Prometheus ask without an account.
_OPEN: Final = {("get", "/health"), ("get", "/health/live"), ("get", "/health/ready"), ("get", "/metrics")}
#: Operations that only look, though they are posted: what is looked for must not stand in an address.
_POSTED_LOOKS: Final = {"/api/studies/search", "/api/studies/export", "/api/rules/check", "/api/rules/try"}
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_FEWEST: Final = 30


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("roles")) as made:
        finished(made.ledger)
        yield made


def _operations(desk: Bench) -> dict[tuple[str, str], str | None]:
    """Return every operation of the description, and the role that it says that it needs."""
    described = desk.program(VIEWER).get("/api/openapi.json").json()
    return {
        (method, path): operation.get(ROLE_KEY)
        for path, ways in described["paths"].items()
        for method, operation in ways.items()
        if method in _METHODS
    }


def _ask(client: TestClient, method: str, path: str) -> int:
    """Ask with a body that is none, so that nothing is changed by whoever may."""
    filled = re.sub(r"{\w+}", "1", path.replace("{study}", STUDY).replace("{span}", "hour"))
    return client.request(method, filled, json=None if method in ("get", "delete") else {"odd": 1}).status_code


def test_every_operation_declares_a_role(desk: Bench) -> None:
    """None is open but those of health, and what changes something is not for viewers."""
    operations = _operations(desk)
    assert len(operations) >= _FEWEST
    assert {each for each, role in operations.items() if role is None} == _OPEN
    changing = {
        path: role for (method, path), role in operations.items() if method != "get" and path not in _POSTED_LOOKS
    }
    assert [path for path, role in changing.items() if role == VIEWER] == []


def test_no_route_is_left_out_of_the_description(desk: Bench) -> None:
    """What is under /api and not described would be asked by nobody here."""
    client = desk.client()
    routes = set(_routes(client.app.routes))  # type: ignore[attr-defined]  # a FastAPI
    assert {"/api/overview", "/api/studies/{study}"} <= routes
    hidden = {path for path in routes if path.startswith("/api")} - {path for _, path in _operations(desk)}
    assert hidden == {"/api/openapi.json"}
    assert client.get("/api/openapi.json").status_code == 401


def _routes(routes: list[Any]) -> Iterator[str]:
    for route in routes:
        if inner := getattr(getattr(route, "original_router", None), "routes", None):
            yield from _routes(inner)
        elif path := getattr(route, "path", None):
            yield path


@pytest.mark.parametrize("role", [None, *AccountRole])
def test_each_role_may_what_is_declared(desk: Bench, role: AccountRole | None) -> None:
    """401 without a log-in, 403 below the declared role, and neither with it."""
    client = desk.client() if role is None else desk.program(role)
    for (method, path), needed in _operations(desk).items():
        status = _ask(client, method, path)
        if needed is None:
            assert status == 200, (method, path)
        elif role is None:
            assert status == 401, (method, path)
        elif not role.covers(AccountRole(needed)):
            assert status == 403, (method, path)
        else:
            assert status not in (401, 403), (method, path, status)


def test_a_session_asks_as_a_token_does(desk: Bench) -> None:
    """A person's role is asked for at the same places; without the CSRF token nothing is changed at all."""
    client = desk.person(ROOT)
    changing = [(method, path) for method, path in _operations(desk) if method != "get"]
    assert {_ask(client, method, path) for method, path in changing} == {403}
