"""What takes long has threads of its own: when all of them are taken, everything else goes on."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from dicom_node.admin.crews import Crew, CrewBusy
from dicom_node.admin.guard import COOKIE
from dicom_node.admin.pages.frame import Visit
from dicom_node.ledger import AccountRole
from tests.admin_cases import Bench, bench

_SERIES: Final = "/api/studies/1.2.3/series/1.2.4"
#: By crew, what is asked of it.
_ASKED: Final[dict[str, tuple[str, str, Any]]] = {
    "volumes": ("GET", f"{_SERIES}/preview", None),
    "pictures": ("GET", f"{_SERIES}/thumbnail.png", None),
    "tests": ("POST", "/api/destinations/pacs/test", None),
    "bulk": ("POST", "/api/studies/bulk", {"action": "retry", "studies": ["1.2.3"]}),
    "trials": ("POST", "/api/rules/try", {"text": "", "days": 1}),
}


@contextmanager
def _taken(crew: Crew) -> Iterator[None]:
    """Give a crew more to do than it takes, and let it go on at the end."""
    go_on, loop = threading.Event(), asyncio.new_event_loop()

    async def fill() -> list[asyncio.Task[bool]]:
        tasks: list[asyncio.Task[bool]] = []
        while not any(task.done() for task in tasks):
            tasks.append(loop.create_task(crew.do(go_on.wait, 60)))
            await asyncio.sleep(0)
        return tasks

    tasks = loop.run_until_complete(fill())
    try:
        yield
    finally:
        go_on.set()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()


@pytest.mark.parametrize("name", _ASKED)
def test_a_busy_crew_keeps_nobody_else_waiting(tmp_path: Path, name: str) -> None:
    """Who wants the same is told to try again, at once; the overview and the list of studies are there."""
    method, path, body = _ASKED[name]
    with bench(tmp_path) as desk:
        program = desk.program(AccountRole.OPERATOR)
        with _taken(getattr(desk.office.crews, name)):
            answer = program.request(method, path, json=body)
            assert (answer.status_code, "try again" in answer.json()["detail"]) == (503, True)
            assert program.get("/api/overview").status_code == 200
            assert program.post("/api/studies/search", json={}).status_code == 200
            others = [each for each in _ASKED if each not in (name, "tests", "trials")]
            for each in others:
                other, where, what = _ASKED[each]
                assert program.request(other, where, json=what).status_code != 503
        assert program.request(method, path, json=body).status_code != 503


def test_what_a_page_does_that_takes_long_is_done_by_its_crew(tmp_path: Path) -> None:
    """As whoever the session belongs to; who has no session does nothing."""
    with bench(tmp_path) as desk:
        visit = _visit(desk)
        crew = desk.office.crews.tests
        name = asyncio.run(visit.get(lambda person: f"{person.name} {threading.current_thread().name}", crew))
        assert name is not None
        assert name.startswith("olga tests")


def _visit(desk: Bench) -> Visit:
    secret = desk.person(AccountRole.OPERATOR, "olga").cookies[COOKIE]
    person = desk.office.people.of_session(secret, "testclient")
    assert person is not None
    return Visit(desk.office, secret, person)


def test_who_stops_waiting_gives_the_place_free() -> None:
    """A page that is closed takes no place from others: what had not begun is never done."""
    crew, go_on = Crew("one", 1, most=2), threading.Event()
    done: list[int] = []

    async def ask() -> None:
        first = asyncio.create_task(crew.do(go_on.wait, 60))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(crew.do(done.append, 1))
        await asyncio.sleep(0)
        with pytest.raises(CrewBusy):
            await crew.do(done.append, 2)
        waiting.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        third = asyncio.create_task(crew.do(done.append, 3))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(first, third)

    asyncio.run(ask())
    assert done == [3]
    crew.stop()
    with pytest.raises(CrewBusy, match="stops"):
        asyncio.run(crew.do(done.append, 4))
