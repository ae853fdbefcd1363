"""The pages of a running node in Debian's Chromium: what a person sees and does, from the log-in on.

With DICOM_NODE_SCREENSHOTS naming a folder, every page is also written there as a picture, light and dark.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect
from pydicom import dcmread

from bench.browser import CHROMIUM, browser_page, log_in
from dicom_node.ledger import AccountRole
from dicom_node.ledger.moves import note_event
from tests.node_house import until
from tests.pages_house import PASSWORD, Pages, picture, running_pages
from tests.study_cases import PATIENT, write_study

_PAGES: Final = ("", "studies", "rules", "destinations", "pipelines", "people")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> Iterator[Pages]:
    require_tool(CHROMIUM.name, "chromium")
    with running_pages(tmp_path_factory.mktemp("pages")) as running:
        yield running


@pytest.fixture
def page(pages: Pages) -> Iterator[Page]:
    with browser_page() as browser:
        yield browser
        browser.close()


def test_the_first_log_in(pages: Pages, page: Page) -> None:
    """A stranger sees the log-in and nothing else; with the account of the command line, the overview."""
    page.goto(f"{pages.address}/studies")
    assert page.url == f"{pages.address}/login"
    log_in(page, pages.address, "ada", PASSWORD)
    expect(page.get_by_role("status")).to_contain_text("1 job(s) held")
    page.get_by_role("button", name="Log out").click()
    page.goto(pages.address)
    assert page.url == f"{pages.address}/login"


def test_a_study_appears_while_one_looks(pages: Pages, page: Page, tmp_path: Path) -> None:
    """The list is live: what is pushed now stands in it, with its state, without a reload."""
    log_in(page, pages.address, "vic", PASSWORD)
    page.goto(f"{pages.address}/studies")
    expect(page.locator("tbody tr")).to_have_count(3)
    write_study(tmp_path / "new", "bright_voxels", slices=4, PatientID="JUST-NOW")
    pages.house.push(tmp_path / "new")
    row = page.locator("tbody tr", has_text="JUST-NOW")
    expect(row).to_contain_text("done", timeout=60_000)
    page.get_by_label("Search").fill("just-now")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Search").fill("no such patient")
    expect(page.get_by_text("No study is like that.")).to_be_visible()


def test_a_story_tells_why_not(pages: Pages, page: Page) -> None:
    """For the study that no rule wanted: each condition with the value seen and the value wanted."""
    log_in(page, pages.address, "vic", PASSWORD)
    page.goto(f"{pages.address}/study/{pages.unwanted}")
    expect(page.get_by_text("No rule made a job: below is why.")).to_be_visible()
    answer = "SeriesDescription is 'nothing for anybody', wanted 'bright_voxels'"
    expect(page.locator("pre", has_text=answer)).to_have_count(1)


def test_the_preview_moves(pages: Pages, page: Page) -> None:
    """The slider fetches another slice, and what was marked on it; the opacity is the marks' own."""
    log_in(page, pages.address, "vic", PASSWORD)
    page.goto(f"{pages.address}/study/{pages.ran}")
    viewer = page.locator(".preview[data-shown='4']")
    expect(viewer).to_be_visible()
    before = page.locator(".pictures img").first.get_attribute("src")
    page.get_by_label("Slice").press("ArrowRight")
    expect(page.locator(".preview[data-shown='5']")).to_be_visible()
    after = page.locator(".pictures img").first
    assert after.get_attribute("src") != before
    sizes = [
        page.evaluate("image => image.naturalWidth", page.locator(".pictures img").nth(n).element_handle())
        for n in (0, 1)
    ]
    assert sizes[0] == sizes[1] > 0
    page.get_by_label("Marks: opacity").fill("0.2")
    expect(page.locator(".pictures img").nth(1)).to_have_css("opacity", "0.2")


def test_a_jobs_log_and_what_it_used_are_seen(pages: Pages, page: Page) -> None:
    """Of a job that ran and of one that failed: stages, processor and memory, and what was logged, without names."""
    log_in(page, pages.address, "vic", PASSWORD)
    page.goto(f"{pages.address}/study/{pages.ran}")
    run = page.locator("details.run", has_text="run 1, ended")
    expect(run.locator("summary")).to_contain_text("of CPU")
    run.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(run.locator("pre")).to_contain_text("thresholding")
    expect(run.get_by_role("table", name="Stages of run 1")).to_contain_text("computing (run)")
    sent = page.locator("details.run", has_text="in its history").first
    sent.locator("summary").click()
    expect(sent.get_by_role("table", name="Attempts")).to_contain_text("delivered")
    page.goto(f"{pages.address}/study/{pages.held}")
    failed = page.locator("details.run", has_text="run 1, ended")
    failed.locator("summary").click()
    expect(failed.locator("pre")).to_contain_text("ValueError at")
    expect(failed.locator("pre")).not_to_contain_text("Doe")
    picture(page, "study-log")


def test_what_somebody_unfolded_stays_unfolded(pages: Pages, page: Page) -> None:
    """The page renews itself while something happens to the study; a log that is being read stays where it is."""
    log_in(page, pages.address, "vic", PASSWORD)
    page.goto(f"{pages.address}/study/{pages.ran}")
    run = page.locator("details.run", has_text="run 1, ended")
    run.locator("summary").click()
    expect(run.locator("pre")).to_be_visible()
    page.evaluate("document.querySelector('details.run').marked = true")
    with pages.house.ledger.engine.begin() as connection:
        note_event(connection, "test", "the study goes on", time.time(), study_instance_uid=pages.ran)
    page.wait_for_function("document.querySelector('details.run').marked !== true")
    expect(run.locator("pre")).to_be_visible()


def test_headers_of_source_and_result_side_by_side(pages: Pages, page: Page) -> None:
    """Both are read from the store, with what lies in their sequences, and searched together."""
    log_in(page, pages.address, "vic", PASSWORD)
    page.goto(f"{pages.address}/study/{pages.ran}")
    page.get_by_text("Of a received image and of a result").click()
    page.get_by_label("Source", exact=True).click()
    page.get_by_role("option").first.click()
    page.get_by_label("Result", exact=True).click()
    page.get_by_role("option", name="SEG").click()
    source, made = (page.get_by_role("region", name=f"{side} header") for side in ("Source", "Result"))
    expect(made).to_contain_text("SegmentSequence")
    page.get_by_label("Search in both").fill("sopclassuid")
    expect(made).to_contain_text("Segmentation Storage")
    expect(source).to_contain_text("MR Image Storage")
    expect(made).not_to_contain_text("SegmentSequence")
    page.get_by_label("Search in both").fill("")
    expect(made).to_contain_text("SegmentSequence")
    picture(page, "study-headers")


def test_measured_values_and_marks_are_named(pages: Pages, page: Page) -> None:
    """The number of the report with its unit; the legend names what is marked; another view can be chosen."""
    log_in(page, pages.address, "vic", PASSWORD)
    page.goto(f"{pages.address}/study/{pages.ran}")
    values = page.get_by_role("table", name="Measured values")
    expect(values.locator("tr", has_text="Volume")).to_contain_text("ml")
    expect(page.locator(".preview .legend")).to_contain_text("Bright")
    expect(page.get_by_label("Window width")).to_be_visible()
    page.get_by_label("Looked at").click()
    page.get_by_role("option", name="without marks").click()
    expect(page.locator(".preview .legend")).to_have_text("")
    expect(page.locator(".preview[data-shown='4']")).to_be_visible()


def test_the_story_does_not_wait_for_images(pages: Pages, page: Page, tmp_path: Path) -> None:
    """While a series is decoded the story is read; then the images come, or why they do not."""
    log_in(page, pages.address, "vic", PASSWORD)
    study = write_study(tmp_path / "slow", "nothing at all", slices=4)
    pages.house.push(tmp_path / "slow")
    pages.house.routed(study)
    series = str(dcmread(tmp_path / "slow" / "0000.dcm").SeriesInstanceUID)
    file = pages.house.node.store / pages.house.ledger.studies.series_paths(study, series)[0]
    content = file.read_bytes()
    file.unlink()
    os.mkfifo(file)  # whoever reads it waits
    page.goto(f"{pages.address}/study/{study}")
    expect(page.get_by_text("No rule made a job: below is why.")).to_be_visible()
    images = page.locator("section", has=page.get_by_role("heading", name="Images"))
    expect(images.get_by_role("status")).to_contain_text("are made ready")
    other = page.context.new_page()
    other.goto(f"{pages.address}/study/{pages.ran}")
    expect(other.locator(".preview[data-shown='4']")).to_be_visible()
    picture(page, "study-images-wait")
    pipe = file.rename(file.with_suffix(".pipe"))
    with pipe.open("wb"):
        pass
    expect(images.locator(".said")).to_contain_text("cannot be shown slice by slice")
    file.write_bytes(content)
    page.goto(f"{pages.address}/study/{study}")
    expect(page.locator(".preview[data-shown='2']")).to_be_visible()


def test_the_overview_tells_of_the_last_echo_and_pipelines_of_their_settings(pages: Pages, page: Page) -> None:
    """A destination that is there has answered a C-ECHO, one that is away has not; a setting has its default."""
    log_in(page, pages.address, "vic", PASSWORD)
    page.goto(pages.address)
    table = page.get_by_role("table", name="Destinations")
    expect(table.locator("tr", has=page.get_by_text("pacs", exact=True))).to_contain_text("answered")
    expect(table.locator("tr", has=page.get_by_text("away", exact=True))).to_contain_text("no answer")
    page.goto(f"{pages.address}/pipelines")
    bright = page.locator('section[aria-label="Bright voxels"]').first
    bright.locator("summary").click()
    expect(bright.get_by_role("table").filter(has_text="factor")).to_contain_text(
        "brighter than this multiple of the mean"
    )
    failing = page.locator("section", has=page.get_by_text("unforeseen_error", exact=True))
    expect(failing.first).to_contain_text("Latest failures")


def test_many_studies_are_acted_on_by_keyboard(pages: Pages, page: Page) -> None:
    """Tick one with the space bar, press the button with the enter key; or take all that the filters find."""
    log_in(page, pages.address, "olga", PASSWORD)
    page.goto(f"{pages.address}/studies")
    row = page.locator("tbody tr", has=page.locator(f'a[href$="{pages.unwanted}"]'))
    row.get_by_role("checkbox").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Route again").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Route again: 1 changed")).to_be_visible()
    page.get_by_label("Search").fill(pages.ran)
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("All that are found").click()
    page.get_by_role("button", name="Send again").click()
    page.get_by_role("button", name="Send again all").click()
    expect(page.get_by_text("Send again: ")).to_be_visible()
    until(lambda: any(act.action == "send again" for act in _acts(pages)), 30)


def test_a_viewer_sees_no_action(pages: Pages, page: Page) -> None:
    """What a role may not do is not drawn, and the page of users is no page of hers."""
    log_in(page, pages.address, "vic", PASSWORD)
    for path in ("studies", f"study/{pages.held}", "destinations"):
        page.goto(f"{pages.address}/{path}")
        page.wait_for_selector("main h1")
        for name in ("Run again", "Cancel", "Test", "Pause", "Retry held", "Ask the rules again"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
    page.goto(f"{pages.address}/people")
    expect(page.get_by_text("This page is for administrators.")).to_be_visible()
    expect(page.get_by_role("link", name="Audit and users")).to_have_count(0)


def test_an_operator_retries_and_it_is_recorded(pages: Pages, page: Page) -> None:
    """A held job runs again at the press of a button; who pressed it stands in the trail."""
    log_in(page, pages.address, "olga", PASSWORD)
    page.goto(f"{pages.address}/study/{pages.held}")
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("is queued")).to_be_visible()
    until(lambda: any(act.action == "retry job" and act.who == "olga" for act in _acts(pages)), 30)
    assert any(act.action == "view study" and act.study_instance_uid == pages.held for act in _acts(pages))


def test_a_new_password_changes_no_role(pages: Pages, page: Page) -> None:
    """What was not chosen stays as it is: the role, and that an account is disabled, until it is let in again."""
    accounts = pages.house.ledger.accounts
    log_in(page, pages.address, "ada", PASSWORD)
    page.goto(f"{pages.address}/people")
    section = page.locator("section", has=page.get_by_role("heading", name="Accounts"))
    row = section.locator("tbody tr", has_text="olga")

    def press(button: str, password: str = "") -> None:
        section.get_by_label("Name").fill("olga")
        section.get_by_label("Password").fill(password)
        section.get_by_role("button", name=button).click()

    press("Change role or password")
    expect(page.get_by_text("Choose another role, or type a new password")).to_be_visible()
    press("Disable")
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("disabled")
    press("Change role or password", PASSWORD)
    expect(page.get_by_text("olga is changed")).to_be_visible()
    known = accounts.get("olga")
    assert known is not None
    assert (known.role, known.disabled) == (AccountRole.OPERATOR, True)
    press("Let in again")
    expect(row).to_contain_text("active")
    known = accounts.get("olga")
    assert known is not None
    assert (known.role, known.disabled) == (AccountRole.OPERATOR, False)
    page.reload()
    for change in ("now password: changed", "disabled: true, now disabled: false"):
        expect(page.get_by_role("cell", name=change, exact=True)).to_be_visible()


def _acts(pages: Pages) -> list[Any]:
    return pages.house.ledger.trail.page(0, 100)[1]


def test_a_pipeline_runs_on_a_chosen_study_without_sending(pages: Pages, page: Page) -> None:
    """Its results are there to be looked at, and no destination gets them."""
    log_in(page, pages.address, "olga", PASSWORD)
    page.goto(f"{pages.address}/study/{pages.unwanted}")
    page.get_by_label("Pipeline").click()
    page.get_by_role("option", name="bright_voxels").click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("its results are sent nowhere")).to_be_visible()
    job = pages.house.job(pages.unwanted)
    assert (job.rule, job.destinations) == ("without sending 1", ())
    assert pages.house.ledger.deliveries.of_study(pages.unwanted) == []
    expect(page.get_by_text("rule without sending 1")).to_be_visible()


def test_a_destination_is_tested_and_paused(pages: Pages, page: Page) -> None:
    """The test says in words what is accepted; a pause is seen, and ended."""
    log_in(page, pages.address, "olga", PASSWORD)
    page.goto(f"{pages.address}/destinations")
    choosy = page.locator("section", has=page.get_by_role("heading", name="choosy"))
    choosy.get_by_role("button", name="Test").click()
    expect(choosy.get_by_text("It answers")).to_be_visible()
    choosy.get_by_role("button", name="Pause").click()
    expect(choosy.get_by_text("by olga")).to_be_visible()
    choosy.get_by_role("button", name="Resume").click()
    expect(choosy.get_by_text("by olga")).to_have_count(0)


def test_no_patient_in_titles_addresses_and_log(pages: Pages, page: Page) -> None:
    """Titles and addresses end up in histories and logs of proxies: they name no patient."""
    log_in(page, pages.address, "vic", PASSWORD)
    for path in (*_PAGES, f"study/{pages.ran}"):
        page.goto(f"{pages.address}/{path}")
        page.wait_for_selector("main h1")
        assert not any(part in page.title() + page.url for part in (*PATIENT, *PATIENT[0].split("^")))
    log = pages.house.node.log.read_text()
    assert not any(part in log for part in PATIENT)


@pytest.mark.parametrize(
    ("dark", "width"), [(False, 1280), (True, 1280), (False, 820)], ids=["light", "dark", "tablet"]
)
def test_every_page_is_drawn_without_an_error(pages: Pages, dark: bool, width: int) -> None:
    """No page has a script with an error, and none is wider than the screen; a picture of each, if asked for."""
    errors: list[str] = []
    with browser_page(dark=dark, width=width) as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        log_in(page, pages.address, "ada", PASSWORD)
        for path in (*_PAGES, f"study/{pages.ran}", f"study/{pages.held}"):
            page.goto(f"{pages.address}/{path}")
            page.wait_for_selector("main h1")
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, path
            name = path.split("/")[0] or "overview"
            which = "-held" if path.endswith(pages.held) else ""
            picture(page, f"{name}{which}-{width}{'-dark' if dark else ''}")
    assert errors == []
