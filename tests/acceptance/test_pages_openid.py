"""Log-in by OpenID Connect in Debian's Chromium: there, back from another site into a strict session, and out.

With DICOM_NODE_SCREENSHOTS naming a folder, the log-in page is also written there as a picture, light and dark.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3
from joserfc import jwk
from playwright.sync_api import Page, expect

from bench.browser import CHROMIUM, browser_page
from bench.peers import NodeProcess
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.stored import free_port, peer
from tests.node_house import RULES, settings_of, until
from tests.openid_provider import CLIENT_ID, SECRET, OpenIdProvider, openid_provider
from tests.pages_house import picture


@dataclass(frozen=True)
class Clinic:
    """A running node, the address of its pages, and the provider of another site."""

    address: str
    provider: OpenIdProvider


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory, require_tool: Any) -> Iterator[Clinic]:
    require_tool(CHROMIUM.name, "chromium")
    folder = tmp_path_factory.mktemp("openid")
    pacs = SmallPacs(folder / "pacs", "PACS1")
    port, web = free_port(), free_port()
    peers = {name: peer(pacs) for name in ("pacs", "choosy", "away")}
    secret = folder / "secret"
    secret.write_text(SECRET)
    with openid_provider(time.time, key=jwk.RSAKey.generate_key(2048)) as provider:
        # for a browser, localhost and 127.0.0.1 are two sites
        address = f"http://localhost:{web}"
        openid = f"""port = {web}
[admin.openid]
issuer = "{provider.issuer}"
client_id = "{CLIENT_ID}"
client_secret_file = "{secret}"
redirect_url = "{address}/login/openid/back"
label = "the clinic's account"
roles = {{ radiologists = "viewer" }}
"""
        text = settings_of(peers, port, admin=openid)
        with pacs, NodeProcess(folder / "node", text, RULES, port):
            until(lambda: _answers(address))
            yield Clinic(address, provider)


def _answers(address: str) -> bool:
    try:
        return urllib3.request("GET", f"{address}/health/live", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.fixture
def page(clinic: Clinic) -> Iterator[Page]:
    with browser_page() as browser:
        yield browser


def test_there_and_back_and_out(clinic: Clinic, page: Page) -> None:
    """One click leads by the provider to the overview, as who the provider says; the log-out ends it."""
    page.goto(f"{clinic.address}/studies")
    page.get_by_role("link", name="Log in with the clinic's account").click()
    page.wait_for_url(f"{clinic.address}/")
    expect(page.locator("header")).to_contain_text("ada")
    expect(page.get_by_role("link", name="Audit and users")).to_have_count(0)
    page.goto(f"{clinic.address}/studies")
    expect(page.get_by_role("heading", name="Studies")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{clinic.address}/login")
    page.goto(clinic.address)
    assert page.url == f"{clinic.address}/login"


def test_without_a_group_the_page_says_why(clinic: Clinic, page: Page) -> None:
    """In words, with what to do; the form for accounts with a password is there still."""
    clinic.provider.person |= {"sub": "2", "preferred_username": "eve", "groups": ["cleaners"]}
    page.goto(f"{clinic.address}/login")
    page.get_by_role("link", name="Log in with").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "eve: none of your groups has a role here. Ask the administrator"
    )
    expect(page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize(
    ("dark", "width"), [(False, 1280), (True, 1280), (False, 820)], ids=["light", "dark", "tablet"]
)
def test_the_log_in_page_is_drawn(clinic: Clinic, dark: bool, width: int) -> None:
    """The button is reached by the keyboard before the form, and nothing is wider than the screen."""
    with browser_page(dark=dark, width=width) as page:
        page.goto(f"{clinic.address}/login")
        page.get_by_label("Name").press("Shift+Tab")
        expect(page.get_by_role("link", name="Log in with")).to_be_focused()
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        picture(page, f"login-openid-{width}{'-dark' if dark else ''}")
