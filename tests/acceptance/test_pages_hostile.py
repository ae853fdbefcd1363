"""What a sender, a rule, an account or an error brings in as text stays text: Chromium runs none of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect
from pynetdicom import AE
from pynetdicom.sop_class import Verification
from sqlalchemy import update

from bench.browser import CHROMIUM, browser_page, log_in
from bench.peers import NodeProcess
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import free_port, peer
from dicom_node.ledger.moves import note_event
from dicom_node.ledger.schema import jobs
from dicom_node.lifecycle import JobState
from tests.node_house import House, Moods, rule, settings_of, until
from tests.pages_house import PASSWORD, add_account
from tests.study_cases import write_study

#: Each tells if it ran: as HTML, as HTML within 16 letters (an AE title), and as a template of Vue's.
_HTML: Final = "<img src=x onerror=a()>"
_SHORT: Final = "<svg/onload=a()>"
_TEMPLATE: Final = "{{$el.ownerDocument.defaultView.a()}}"
_TOLD: Final = "window.ran = 0; window.a = () => { window.ran += 1; };"


@dataclass(frozen=True)
class Hostile:
    """A running node that was sent markup wherever text is taken, and its one study."""

    house: House
    address: str
    study: str


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> Iterator[Hostile]:
    require_tool(CHROMIUM.name, "chromium")
    folder = tmp_path_factory.mktemp("hostile")
    pacs = SmallPacs(folder / "pacs", "PACS1")
    port, web = free_port(), free_port()
    tables = {"completion": "quiet_seconds = 3\nrelease_grace_seconds = 0.5", "admin": f"port = {web}"}
    text = settings_of({_HTML: peer(pacs)}, port, **tables).replace('"SCANNER"', f'"SCANNER", "{_SHORT}"')
    rules = rule(_HTML, "unforeseen_error", f'"{_HTML}"') + rule(_TEMPLATE, "bright_voxels", f'"{_HTML}"')
    node = NodeProcess(folder / "node", text, rules, port)
    with pacs, node, node.ledger() as ledger:
        house = House(node, ledger, pacs, pacs, pacs, Moods())
        add_account(node, _HTML)
        texts = {"PatientName": _HTML, "PatientID": _HTML, "StudyDescription": _HTML, "AccessionNumber": _SHORT}
        study = write_study(folder / "first", _HTML, slices=4, StationName=_SHORT, **texts)
        write_study(folder / "second", _TEMPLATE, slices=4, study=study, **texts)
        for series in ("first", "second"):
            push(find_study(folder / series), node.peer, _SHORT, lambda _: None)
        _knock(port)
        wanted = {JobState.HELD, JobState.DONE}
        until(lambda: {job.state for job in ledger.jobs.latest(9, study=study)} == wanted)
        with ledger.engine.begin() as connection:  # what others' exceptions and peers say
            connection.execute(update(jobs).where(jobs.c.state == "held").values(reason=_HTML))
            note_event(connection, _SHORT, _HTML, 0.0, study_instance_uid=study)
            note_event(connection, _SHORT, _TEMPLATE, 0.0, study_instance_uid=study)
        yield Hostile(house, f"http://127.0.0.1:{web}", study)


def _knock(port: int) -> None:
    """Be turned away, under a name of markup."""
    caller = AE(ae_title=_SHORT)
    caller.add_requested_context(Verification)
    assert caller.associate("127.0.0.1", port, ae_title="<svg/onload=a()>").is_rejected


@pytest.fixture
def page(hostile: Hostile) -> Iterator[Page]:
    with browser_page() as browser:
        browser.add_init_script(_TOLD)
        log_in(browser, hostile.address, _HTML, PASSWORD)
        yield browser


def _require_harmless(page: Page, shown: str) -> None:
    """The text is there to be read, and none of it is an element or ran."""
    expect(page.locator("#content")).to_contain_text(shown)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.querySelectorAll('[onerror], [onload], img[src=x]').length") == 0
    assert page.evaluate("window.ran") == 0


def test_the_trap_works(page: Page) -> None:
    """What is looked for would be found: as an element, and because it ran."""
    page.evaluate(f"document.body.insertAdjacentHTML('beforeend', '{_HTML}{_SHORT}')")
    page.wait_for_function("window.ran > 0")
    assert page.evaluate("document.querySelectorAll('[onerror], [onload], img[src=x]').length") == 2


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("", _HTML),
        ("studies", _HTML),
        ("studies", _SHORT),
        ("rules", _HTML),
        ("rules", _TEMPLATE),
        ("destinations", _HTML),
        ("destinations", _SHORT),
        ("pipelines", "bright_voxels"),
        ("people", _HTML),
    ],
)
def test_no_page_runs_what_it_shows(hostile: Hostile, page: Page, path: str, shown: str) -> None:
    """Names, descriptions, AE titles, rules, destinations, accounts and the audit trail."""
    page.goto(f"{hostile.address}/{path}")
    _require_harmless(page, shown)


def test_no_story_runs_what_it_tells(hostile: Hostile, page: Page) -> None:
    """Patient, series, verdicts, reasons, events and headers, with everything unfolded."""
    page.goto(f"{hostile.address}/study/{hostile.study}")
    page.wait_for_selector("main h1")
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    page.get_by_text("Of a received image and of a result").click()
    page.get_by_label("Source", exact=True).click()
    page.get_by_role("option", name=_HTML).first.click()
    expect(page.get_by_role("region", name="Source header")).to_contain_text("StudyDescription")
    for shown in (_HTML, _SHORT, _TEMPLATE):
        _require_harmless(page, shown)


def test_no_notice_runs_what_it_says(hostile: Hostile, page: Page) -> None:
    """What pops up after a click, and what a search gives back."""
    page.goto(f"{hostile.address}/destinations")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert").get_by_text(f"{_HTML} waits")).to_be_visible()
    _require_harmless(page, _HTML)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("alert").get_by_text(f"{_HTML} is sent to again")).to_be_visible()
    page.goto(f"{hostile.address}/studies")
    page.get_by_label("Search").fill(_HTML)
    _require_harmless(page, _HTML)
    page.goto(f"{hostile.address}/rules")
    page.get_by_label("Rules as text").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(f"[[rule]]\nname = '{_HTML}'\npipeline = '{_HTML}'\n")
    expect(page.get_by_role("region", name="Text")).to_contain_text(f"rule '{_HTML}'")
    page.get_by_role("button", name="What changes").click()
    expect(page.locator("pre.diff")).to_contain_text(_HTML)
    _require_harmless(page, _HTML)


def test_an_open_page_ends_with_its_session(hostile: Hostile, page: Page) -> None:
    """Who logs out in one window is out in the other, though it stays open: its line to the node is cut."""
    page.goto(f"{hostile.address}/studies")
    page.wait_for_selector("tbody tr")
    cut: list[Any] = []
    other = page.context.new_page()
    other.goto(hostile.address)
    other.wait_for_selector("main h1")
    page.on("framenavigated", lambda frame: cut.append(frame.url))
    other.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login", timeout=40_000)
    assert cut
