"""Debian's Chromium, driven by Playwright: for the tests and figures of the pages."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM: Final = Path("/usr/bin/chromium")
#: Nothing leaves this computer; no sandbox, because tests run as root; no GPU, because there is none.
_FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_PATIENCE_MILLISECONDS: Final = 60_000


@contextmanager
def browser_page(*, dark: bool = False, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Give a page of a browser that has never been anywhere."""
    profile = tempfile.mkdtemp(prefix="chromium-")
    try:
        with sync_playwright() as playwright:
            context = playwright.chromium.launch_persistent_context(
                profile,
                executable_path=CHROMIUM,
                args=list(_FLAGS),
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
            )
            page = context.pages[0]
            page.set_default_timeout(_PATIENCE_MILLISECONDS)
            expect.set_options(timeout=_PATIENCE_MILLISECONDS)
            try:
                yield page
            finally:
                context.close()
    finally:
        shutil.rmtree(profile, ignore_errors=True)


def log_in(page: Page, address: str, name: str, password: str) -> None:
    """Log in by the form, and wait for the first page."""
    page.goto(f"{address}/login")
    page.fill("#name", name)
    page.fill("#password", password)
    page.click("button[type=submit]")
    page.wait_for_selector("main h1")
