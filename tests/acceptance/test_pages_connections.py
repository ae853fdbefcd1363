"""Destinations and senders changed on the page of a running node: what is saved holds at once, without a restart.

With DICOM_NODE_SCREENSHOTS naming a folder, the page and its forms are also written there as pictures.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from bench.browser import CHROMIUM, browser_page, log_in
from bench.peers import NodeProcess, settings_text
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.stored import free_port, peer
from dicom_node.ledger import Ledger
from tests.node_house import rule, until
from tests.pages_house import PASSWORD, add_people, picture
from tests.study_cases import write_study

_COMMENT: Final = "# the hospital's own remark, which stays\n"


@dataclass(frozen=True)
class Site:
    """A running node with one destination, and a PACS that it does not know yet."""

    node: NodeProcess
    ledger: Ledger
    address: str
    archive: SmallPacs


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> Iterator[Site]:
    require_tool(CHROMIUM.name, "chromium")
    require_tool("storescu", "dcmtk")
    folder = tmp_path_factory.mktemp("connections")
    pacs, archive = SmallPacs(folder / "pacs", "PACS1"), SmallPacs(folder / "archive", "ARCHIVE")
    port, web = free_port(), free_port()
    text = settings_text({"pacs": peer(pacs)}, port, admin=f"port = {web}")
    node = NodeProcess(folder / "node", _COMMENT + text, rule("bright_voxels"), port)
    with pacs, archive, node, node.ledger() as ledger:
        add_people(node)
        yield Site(node, ledger, f"http://127.0.0.1:{web}", archive)


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with browser_page() as browser:
        log_in(browser, site.address, "ada", PASSWORD)
        yield browser
        browser.close()


def _storescu(site: Site, folder: Path, calling: str) -> int:
    """Send a folder as another scanner does; return the exit status."""
    files = sorted(map(str, folder.glob("*.dcm")))
    command = ["storescu", "-aet", calling, "-aec", "NODE", "127.0.0.1", str(site.node.port), *files]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode


def test_a_destination_is_added_tested_and_gets_results(site: Site, page: Page, tmp_path: Path) -> None:
    """A faulty value is refused with what would be right; then it is tested step by step, and a rule sends there."""
    page.goto(f"{site.address}/destinations")
    page.get_by_role("button", name="Add destination").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name").fill("archive")
    form.get_by_label("AE title").fill("MUCH TOO LONG A TITLE")
    form.get_by_label("Host").fill("127.0.0.1")
    form.get_by_label("Port").fill(str(site.archive.port))
    form.get_by_label("Other keys").fill('check_patient = "of"')
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("alert").last).to_contain_text("check_patient")
    picture(page, "form-of-a-destination")
    assert "archive" not in site.node.config.read_text()
    form.get_by_label("Other keys").fill('check_patient = "off"')
    form.get_by_label("AE title").fill("ARCHIVE")
    form.get_by_role("button", name="Save").click()
    section = page.locator("section", has=page.get_by_role("heading", name="archive"))
    section.get_by_role("button", name="Test").click()
    expect(section.get_by_text("It answers")).to_be_visible()
    expect(section.get_by_role("list", name="Steps of the test")).to_contain_text("C-ECHO")
    expect(section.get_by_role("list", name="Steps of the test")).to_contain_text("TCP")
    picture(page, "a-destination-tested")
    assert site.node.config.read_text().startswith(_COMMENT)
    rules = rule("bright_voxels", to='"archive"')
    (site.node.folder / "rules.toml").write_text(rules)
    until(lambda: (latest := site.ledger.rules.latest()) and latest.text == rules)
    study = write_study(tmp_path / "study", "bright_voxels", slices=8)
    assert _storescu(site, tmp_path / "study", "STORESCU") == 0
    until(lambda: len(site.archive.stored(study)) == 2)


def test_an_edit_keeps_what_the_form_does_not_show(site: Site, page: Page) -> None:
    """A key without a field of its own stands as TOML, and is still there after another one was changed."""
    page.goto(f"{site.address}/destinations")
    page.get_by_role("button", name="Edit archive").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Other keys")).to_have_value('check_patient = "off"')
    form.get_by_label("Host").fill("localhost")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"ARCHIVE@localhost:{site.archive.port}")).to_be_visible()
    text = site.node.config.read_text()
    assert f'host = "localhost"\nport = {site.archive.port}\ncheck_patient = "off"\n' in text
    assert text.startswith(_COMMENT)


def test_a_refused_sender_is_allowed_and_its_study_appears(site: Site, page: Page, tmp_path: Path) -> None:
    """Turned away, seen on the page, allowed after a question, and received; who allowed it is in the trail."""
    study = write_study(tmp_path / "study", "nothing for anybody", slices=2)
    assert _storescu(site, tmp_path / "study", "MR_NEW") != 0
    page.goto(f"{site.address}/destinations")
    picture(page, "refused")
    page.get_by_role("button", name="Allow this sender: MR_NEW").click()
    expect(page.get_by_role("dialog")).to_contain_text("MR_NEW")
    page.get_by_role("dialog").get_by_role("button", name="Allow").click()
    expect(page.get_by_role("table", name="Senders", exact=True)).to_contain_text("MR_NEW")
    expect(page.get_by_role("table", name="Refused senders")).to_contain_text("allowed now")
    picture(page, "senders")
    until(lambda: _storescu(site, tmp_path / "study", "MR_NEW") == 0, 10)
    until(lambda: site.ledger.studies.revisions(study))
    act = next(each for each in site.ledger.trail.page(0, 100)[1] if each.action == "allow sender")
    assert (act.who, act.subject) == ("ada", "MR_NEW from 127.0.0.1")
    page.get_by_role("button", name="Remove MR_NEW").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("button", name="Allow this sender: MR_NEW")).to_be_visible()
    until(lambda: _storescu(site, tmp_path / "study", "MR_NEW") != 0, 10)


def test_a_destination_that_a_rule_names_is_not_removed(site: Site, page: Page) -> None:
    """The page says which rule; what no rule names goes, after a question."""
    (site.node.folder / "rules.toml").write_text(rule("bright_voxels"))
    until(lambda: (latest := site.ledger.rules.latest()) and latest.text == rule("bright_voxels"))
    page.goto(f"{site.address}/destinations")
    page.get_by_role("button", name="Remove pacs").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("is named by the rule 'bright_voxels'")).to_be_visible()
    expect(page.get_by_role("heading", name="pacs")).to_be_visible()
    page.get_by_role("button", name="Remove archive").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="archive")).to_have_count(0)
    assert '"archive"' not in site.node.config.read_text()
    assert "stage failed" not in site.node.log.read_text()


@pytest.mark.parametrize("name", ["vic", "olga"])
def test_nobody_else_sees_these_actions(site: Site, name: str) -> None:
    """Neither a viewer nor an operator is shown what an administrator may do."""
    with browser_page() as page:
        log_in(page, site.address, name, PASSWORD)
        page.goto(f"{site.address}/destinations")
        page.get_by_role("heading", name="Turned away").wait_for()
        assert bool(page.get_by_role("button", name="Test").count()) is (name == "olga")
        for action in ("Add", "Edit", "Remove", "Allow"):
            expect(page.get_by_role("button", name=action)).to_have_count(0)


@pytest.mark.parametrize(("dark", "width"), [(True, 1280), (False, 820)], ids=["dark", "tablet"])
def test_the_page_fits(site: Site, dark: bool, width: int) -> None:
    """With forms and tables of an administrator it is as wide as the screen, on a tablet too."""
    with browser_page(dark=dark, width=width) as page:
        log_in(page, site.address, "ada", PASSWORD)
        page.goto(f"{site.address}/destinations")
        page.get_by_role("heading", name="Turned away").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        picture(page, f"destinations-of-an-administrator-{width}")
        page.get_by_role("button", name="Add destination").click()
        page.get_by_role("dialog").get_by_label("Name").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        picture(page, f"form-{width}")
