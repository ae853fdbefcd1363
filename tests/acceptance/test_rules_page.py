"""The Rules page of a running node in Debian's Chromium: edit, try, save, see it work, take it back."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from bench.browser import CHROMIUM, browser_page, log_in
from tests.node_house import rule, until
from tests.pages_house import PASSWORD, Pages, running_pages
from tests.study_cases import write_study


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> Iterator[Pages]:
    require_tool(CHROMIUM.name, "chromium")
    with running_pages(tmp_path_factory.mktemp("rules")) as running:
        yield running


@pytest.fixture
def page(pages: Pages) -> Iterator[Page]:
    with browser_page(width=1400) as browser:
        yield browser


def _open(page: Page, pages: Pages, name: str) -> None:
    log_in(page, pages.address, name, PASSWORD)
    page.goto(f"{pages.address}/rules")
    expect(page.get_by_label("Rules as text")).to_be_visible()


def _write(page: Page, text: str) -> None:
    """Put a text in the place of the one that stands in the editor."""
    page.get_by_label("Rules as text").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def _in_force(pages: Pages) -> str:
    return pages.house.ledger.rules.all(1)[0].text


def test_a_bad_rule_is_refused_with_its_line(pages: Pages, page: Page) -> None:
    """The line is marked, the fault says what would be right, and there is no way to save it."""
    _open(page, pages, "ada")
    before = _in_force(pages)
    _write(page, rule("x").lstrip().replace("SeriesDescription", "SeriesDescripton"))
    expect(page.get_by_text("1 fault(s)")).to_be_visible()
    expect(page.get_by_role("button", name="Line 7")).to_be_visible()
    expect(page.get_by_text("SeriesDescription", exact=False).last).to_be_visible()
    expect(page.locator(".cm-line.fault")).to_have_count(1)
    expect(page.locator(".cm-line.fault")).to_contain_text("SeriesDescripton")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    assert _in_force(pages) == before


def test_a_good_rule_is_tried_saved_works_and_is_taken_back(
    pages: Pages, page: Page, tmp_path: Path, require_tool: Any
) -> None:
    """The whole way of an edit: its difference on the studies of the last days, then in force, then undone."""
    storescu = require_tool("storescu", "dcmtk")
    _open(page, pages, "ada")
    first = pages.house.ledger.rules.latest_number()
    _write(page, _in_force(pages) + rule("nothing for anybody"))
    expect(page.get_by_text("No faults")).to_be_visible()
    page.get_by_role("button", name="Try").click()
    expect(page.get_by_text("1 would be treated otherwise")).to_be_visible()
    told = page.get_by_role("table", name="Changes by study")
    expect(told).to_contain_text(pages.unwanted)
    expect(told).to_contain_text("newly run")
    expect(told).to_contain_text("SeriesDescription is 'nothing for anybody', wanted 'nothing for anybody'")

    page.get_by_label("Why (kept in the history)").fill("somebody wants them")
    page.get_by_role("button", name="What changes").click()
    expect(page.locator("pre.diff .added", has_text="nothing for anybody").first).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(f"Version {first + 1} is in force", exact=True)).to_be_visible()
    newest = page.get_by_role("group", name=f"Version {first + 1}")
    expect(newest).to_contain_text("by ada: somebody wants them")

    study = write_study(tmp_path / "new", "nothing for anybody", slices=4)
    to = pages.house.node.peer
    command = [storescu, "-aet", "SCANNER", "-aec", str(to.ae_title), to.host, str(to.port), "+sd", tmp_path / "new"]
    page.goto(f"{pages.address}/studies")
    before = page.locator("tbody tr").count()
    subprocess.run(command, check=True, timeout=60)
    expect(page.locator("tbody tr")).to_have_count(before + 1)
    expect(page.locator("tbody tr").first).to_contain_text("done", timeout=60_000)
    job = pages.house.job(study)
    assert (job.rule, job.rules_version) == ("nothing for anybody", first + 1)

    page.goto(f"{pages.address}/rules")
    page.get_by_role("group", name=f"Version {first}", exact=True).get_by_role(
        "button", name="Roll back to this"
    ).click()
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.get_by_role("group", name=f"Version {first + 2}")).to_contain_text(f"back to version {first}")
    assert "nothing for anybody" not in _in_force(pages)
    until(lambda: "nothing for anybody" not in (pages.house.node.config.parent / "rules.toml").read_text())
    acts = {act.action: act for act in pages.house.ledger.trail.page(0, 100)[1]}
    assert acts["save rules"].who == acts["roll back rules"].who == "ada"


def test_the_form_writes_the_text(pages: Pages, page: Page) -> None:
    """Who writes no TOML makes a rule by fields; the text beside it says the same at once."""
    _open(page, pages, "ada")
    page.get_by_role("button", name="New rule").click()
    name = page.get_by_label("Name", exact=True)
    expect(name).to_have_value("new rule")
    name.fill("thin slices")
    page.get_by_role("button", name="Add a condition: The series for").click()
    rows = page.get_by_role("group", name="The series for").locator(".condition")
    expect(rows).to_have_count(2)
    row = rows.last
    row.get_by_label("Attribute").fill("SliceSpacing")
    row.get_by_label("Is", exact=True).click()
    page.get_by_role("option", name="is at most").click()
    row.get_by_label("Value").fill("2.5")
    text = page.get_by_label("Rules as text")
    expect(text).to_contain_text("SliceSpacing = {at_most = 2.5}")
    expect(text).to_contain_text('name = "thin slices"')
    expect(page.get_by_text("No faults")).to_be_visible()
    page.get_by_role("button", name="Give up the edit").click()
    page.get_by_role("button", name="Give it up").click()
    expect(text).not_to_contain_text("thin slices")


def test_what_somebody_else_saves_is_not_overwritten(pages: Pages, page: Page) -> None:
    """A page with an edit says that another version came; one without shows it."""
    _open(page, pages, "ada")
    _write(page, _in_force(pages) + "# mine\n")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_enabled()
    (pages.house.node.config.parent / "rules.toml").write_text(_in_force(pages) + "# another's\n", encoding="utf-8")
    expect(page.get_by_role("alert")).to_contain_text("was saved meanwhile")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("look at the difference, then save again")).to_be_visible()
    assert _in_force(pages).endswith("# another's\n")
    page.get_by_role("button", name="Give up my edit, and show it").click()
    expect(page.get_by_label("Rules as text")).to_contain_text("# another's")


@pytest.mark.parametrize(("name", "may_try"), [("vic", False), ("olga", True)])
def test_who_is_no_administrator_cannot_edit(pages: Pages, page: Page, name: str, may_try: bool) -> None:
    """What a role may not do is not drawn; operators may try, which changes nothing."""
    _open(page, pages, name)
    expect(page.get_by_role("button", name="Try")).to_have_count(int(may_try))
    for button in ("Save", "Roll back to this", "New rule"):
        expect(page.get_by_role("button", name=button)).to_have_count(0)
    expect(page.get_by_label("Rules as text")).to_have_attribute("contenteditable", "false")
    expect(page.get_by_role("button", name="What changed").first).to_be_visible()
