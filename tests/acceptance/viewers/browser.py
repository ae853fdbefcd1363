"""One study in OHIF in a headless Chromium: what a reader does, and the pixels and words that come of it."""

import base64
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Response, sync_playwright

#: Chromium as root, without a GPU, and without a word to anyone outside.
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)
_WINDOW: Final = {"width": 1100, "height": 760}
_NO_TOUR: Final = """window.localStorage?.setItem("shownTours", '["basicViewerTour"]')"""
_VIEWPORT: Final = "services.cornerstoneViewportService.getCornerstoneViewport('default')"
_LOADED: Final = "cornerstone.cache.getVolumes().every(volume => volume.loadStatus?.loaded !== false)"
_ALL_THAT_IS_SEEN: Final = """() => [
    ...Array.from(document.querySelectorAll("canvas"), canvas => canvas.toDataURL()), document.body.innerText
].join()"""
_QUIET_SECONDS: Final = 1.2
_TURNED_SECONDS: Final = 0.4
_SECONDS: Final = 60.0
_WHITE: Final = 240
#: Share of the window that is white where a page is shown.
PAPER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Picture:
    """What the viewport draws.

    Parameters
    ----------
    pixels : uint8 array, (row, column, RGB)
    to_patient : float64, 4 x 4
        (column, row, 0, 1) of a pixel to LPS mm, as the viewer has it.
    """

    pixels: NDArray[np.uint8]
    to_patient: NDArray[np.float64]


@dataclass
class Reader:
    """Somebody at the viewer.

    Parameters
    ----------
    complaints : list of str
        Console errors, uncaught exceptions, and requests that failed.
    """

    page: Page
    screenshots: Path
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str, study_instance_uid: str) -> None:
        """Open a study, past complaints forgotten; returns when its first image and its series are shown."""
        self.page.goto("about:blank")  # a page that is left calls the images it was still fetching failed
        self.complaints.clear()
        self.page.goto(f"{address}/viewer?StudyInstanceUIDs={study_instance_uid}", wait_until="domcontentloaded")
        self.page.wait_for_function(f"window.services && {_VIEWPORT}?.getCurrentImageId?.()")
        self.page.get_by_text("(AI", exact=False).first.wait_for()
        self.settle()

    def choose(self, series_instance_uid: str) -> None:
        """Double-click a series in the list."""
        listed = self.page.evaluate(
            """uid => services.displaySetService.getActiveDisplaySets()
                .find(one => one.SeriesInstanceUID === uid).displaySetInstanceUID""",
            series_instance_uid,
        )
        self.page.locator(f'[id="thumbnail-{listed}"]').first.dblclick()
        self.settle()

    def agree_to_open_segmentation(self) -> None:
        """Click "Yes" on what the viewer asks; returns when it has the segments."""
        self.page.get_by_text("Yes", exact=True).click()
        self.page.wait_for_function("services.segmentationService.getSegmentations().length > 0")
        self.settle()

    def turn_to(self, point: Sequence[float]) -> None:
        """Show the image of the series that a point (LPS mm) lies on."""
        self.page.wait_for_function(f"{_VIEWPORT}?.jumpToWorld && {_LOADED}")
        self.page.evaluate(f"point => {{ {_VIEWPORT}.jumpToWorld(point); }}", list(point))
        self.settle(_TURNED_SECONDS)

    def wait_for_image(self, sop_instance_uid: str) -> None:
        """Wait until the viewport shows the series of an instance."""
        known = f"{_VIEWPORT}?.getImageIds?.().some(image => image.includes(`/instances/${{uid}}/`))"
        self.page.wait_for_function(f"uid => {known}", arg=sop_instance_uid)
        self.settle()

    def wait_for_words(self, words: str) -> None:
        """Wait until a text stands in the window; fails if it does not come."""
        self.page.wait_for_function("words => document.body.innerText.includes(words)", arg=words)
        self.settle()

    def turn_away_and_back(self) -> None:
        """Turn the wheel one image on and back, so that the viewport draws again what lies over the image."""
        width, height = _WINDOW["width"], _WINDOW["height"]
        self.page.mouse.move(width / 2, height / 2)
        for turn in (1, -1):
            self.page.mouse.wheel(0, 100 * turn)
            self.settle()

    def image(self) -> str:
        """Return the address of the image in the viewport; it ends in the UID of the instance and the frame."""
        return str(self.page.evaluate(f"{_VIEWPORT}.getCurrentImageId()"))

    def reset_view(self) -> None:
        """Do what "Reset View" of the toolbar does."""
        self.page.evaluate("commandsManager.runCommand('resetViewport')")
        self.settle()

    def next_measurement(self) -> None:
        """Go on to the next measurement of a report."""
        self.page.locator('[data-cy="viewport-action-arrows-right"]').click()
        self.settle()

    def document(self) -> bytes:
        """Return the PDF that is embedded in the window."""
        self.page.wait_for_selector("object[type='application/pdf']")
        text = self.page.evaluate(
            """async () => {
                const address = document.querySelector("object[type='application/pdf']").data;
                const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
                return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
            }"""
        )
        return base64.b64decode(text)

    def white_paper(self, name: str) -> float:
        """Keep a picture of the window once it shows a page; return which share is white, however long that takes.

        The browser draws a PDF in a process of its own, and says to nobody when it is ready.
        """
        until = time.monotonic() + _SECONDS
        while True:
            white = float((self.photograph(name).min(axis=-1) > _WHITE).mean())
            if white > PAPER or time.monotonic() > until:
                return white
            self.page.wait_for_timeout(500)

    def settle(self, quiet: float = _QUIET_SECONDS) -> None:
        """Wait until pictures and words in the window stay the same for so many seconds."""
        until, before = time.monotonic() + _SECONDS, None
        while (now := self.page.evaluate(_ALL_THAT_IS_SEEN)) != before:
            if time.monotonic() > until:
                raise TimeoutError("the viewer does not come to rest")
            before = now
            self.page.wait_for_timeout(1000 * quiet)

    def picture(self) -> Picture:
        """Return what the viewport draws, without the words over it."""
        url, origin, right, down = self.page.evaluate(
            f"""() => {{
                const viewport = {_VIEWPORT};
                const at = point => Array.from(viewport.canvasToWorld(point));
                return [viewport.getCanvas().toDataURL("image/png"), at([0, 0]), at([1, 0]), at([0, 1])];
            }}"""
        )
        image = Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
        to_patient = np.eye(4)
        to_patient[:3, 0] = np.subtract(right, origin)
        to_patient[:3, 1] = np.subtract(down, origin)
        to_patient[:3, 3] = origin
        return Picture(np.asarray(image), to_patient)

    def photograph(self, name: str) -> NDArray[np.uint8]:
        """Keep the whole window as a picture; returns its pixels, (row, column, RGB)."""
        png = self.page.screenshot(path=self.screenshots / f"{name}.png")
        return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


@contextmanager
def reading(chromium: Path, profile: Path, screenshots: Path) -> Iterator[Reader]:
    """Start a browser with an empty profile; it ends with the block."""
    screenshots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, headless=True, args=_ARGUMENTS, viewport=_WINDOW
        )
        try:
            yield _listening(context, screenshots)
        finally:
            context.close()


def _listening(context: BrowserContext, screenshots: Path) -> Reader:
    context.add_init_script(_NO_TOUR)
    context.set_default_timeout(1000 * _SECONDS)
    reader = Reader(context.pages[0], screenshots)

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            reader.complaints.append(f"console: {message.text[:500]}")

    def answer(response: Response) -> None:
        if response.status >= 400:
            reader.complaints.append(f"HTTP {response.status}: {response.url}")

    reader.page.on("console", console)
    reader.page.on("pageerror", lambda error: reader.complaints.append(f"exception: {str(error)[:500]}"))
    reader.page.on("response", answer)
    return reader
