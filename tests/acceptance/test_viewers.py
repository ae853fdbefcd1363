"""OHIF, in a real browser and in front of Orthanc, shows what we send: right places, colours, numbers and words.

Sources are real scanner data, classic and Enhanced; results are those of the profile `ohif`, through the gate.
Screenshots and measured figures go to the folder that the environment variable `VIEWERS_OUT` names.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np
import pytest
from pydicom.pixels import pixel_array

from dicom_node.contract import Segment
from dicom_node.demo import loopback
from dicom_node.settings import ResultKind
from tests.acceptance.viewers.browser import PAPER, Picture, Reader, reading
from tests.acceptance.viewers.overlay import (
    alike,
    away_from_edges,
    colour_over,
    coloured,
    dice,
    pixels_under,
    rgb_of_lab,
    seen,
    voxels_under,
)
from tests.acceptance.viewers.peers import DICOM_WEB, OHIF, Viewer, running_viewer
from tests.acceptance.viewers.studies import REFUSAL, STUDIES, Shown, shown_study

# two cores at half load take 10 s a test
pytestmark = pytest.mark.timeout(600)

Note = Callable[[str], None]
_ENOUGH_PIXELS = 1000
#: Mean of a picture that shows something, of 255.
_DARK = 15
#: OHIF colours numbers from here on, of a map from 0 to 1.
_SMALL = 0.05


class RequireTool(Protocol):
    """Find an external program, or end the test with the package that brings it."""

    def __call__(self, name: str, package: str) -> Path:
        """Return the path of program `name`, which Debian package `package` installs."""


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of screenshots and figures."""
    folder = os.environ.get("VIEWERS_OUT")
    path = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    (path / "figures.txt").write_text("", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def note(screenshots: Path) -> Note:
    """Return a function that writes one measured line."""

    def write(line: str) -> None:
        with (screenshots / "figures.txt").open("a", encoding="utf-8") as figures:
            figures.write(f"{line}\n")

    return write


@pytest.fixture(scope="module")
def viewer(
    tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool, missing: Callable[[str], NoReturn]
) -> Iterator[Viewer]:
    """Give a running Orthanc with OHIF in front of it."""
    require_tool("Orthanc", "orthanc")
    nginx = require_tool("nginx", "nginx-light")
    for path, what in ((DICOM_WEB, "Debian's orthanc-dicomweb"), (OHIF, "the npm package @ohif/app, where npm is")):
        if not path.exists():
            missing(f"{path} is missing: `make setup-test` installs {what}")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: `make test`, or `python -m tests.acceptance.viewers`")
    with running_viewer(tmp_path_factory.mktemp("viewer"), nginx) as running:
        yield running


@pytest.fixture(scope="module")
def browser(
    viewer: Viewer, tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool, screenshots: Path
) -> Iterator[Reader]:
    """Give a browser with an empty profile."""
    chromium = require_tool("chromium", "chromium")
    with reading(chromium, tmp_path_factory.mktemp("profile"), screenshots) as reader:
        yield reader


@pytest.fixture(scope="module", params=STUDIES)
def shown(
    request: pytest.FixtureRequest,
    viewer: Viewer,
    shared_data: Path,
    unpacked: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Shown:
    """Give a study that the archive has, images and results."""
    study = shown_study(request.param, shared_data, unpacked, tmp_path_factory.mktemp(request.param))
    viewer.store(sorted(study.folder.iterdir()))
    return study


@pytest.fixture
def reader(browser: Reader, viewer: Viewer, shown: Shown) -> Iterator[Reader]:
    """Give a reader who has just opened the study; afterwards the viewer must have had nothing to complain of."""
    browser.open(viewer.address, shown.study_instance_uid)
    yield browser
    assert browser.complaints == []


def _slices(shown: Shown) -> list[int]:
    """Return the slice at the edge of the masks, the middle ones of the smaller two, and one beyond at each end."""
    filled = np.flatnonzero(shown.anywhere.any(axis=(1, 2)))
    middles = (np.median(np.flatnonzero(each.mask.any(axis=(1, 2)))) for each in shown.findings.segments[1:])
    return sorted({int(filled[0]) - 1, int(filled[0]) + 1, *map(int, middles), int(filled[-1]) + 1})


def _pictures(reader: Reader, shown: Shown, slices: Sequence[int], name: str = "") -> dict[int, Picture]:
    pictures = {}
    for index in slices:
        reader.turn_to(shown.middle(index))
        assert reader.image().endswith(shown.image(index))
        pictures[index] = reader.picture()
        if name:
            reader.photograph(f"{shown.name}-{name}-{index:03}")
    return pictures


def test_segments_lie_where_their_masks_are_in_their_colours(reader: Reader, shown: Shown, note: Note) -> None:
    """On each slice the coloured pixels are those above voxels of the masks, none beside or beyond them.

    The grey ones are those of that very slice. Mirrored, neither holds. Each segment has its CIELab colour.
    """
    slices = _slices(shown)
    before = _pictures(reader, shown, slices)
    reader.choose(shown.only(ResultKind.SEGMENTATION).series_instance_uid)
    reader.agree_to_open_segmentation()
    after = _pictures(reader, shown, slices, "seg")
    for index in slices:
        _lies_right(shown, index, before[index], after[index], note)
    for segment in shown.findings.segments:
        _has_its_colour(shown, segment, before, after, note)


def _lies_right(shown: Shown, index: int, before: Picture, after: Picture, note: Note) -> None:
    voxels = voxels_under(after, shown.source.volume.affine)
    assert set(np.unique(voxels[..., 0])) == {index}
    image, wanted, found = seen(shown.source.volume.array, voxels), seen(shown.anywhere, voxels), coloured(after)
    note(
        f"{shown.name}, SEG, slice {index}: {int(found.sum())} coloured pixels of {int(wanted.sum())}, "
        f"Dice {dice(wanted, found):.4f}; grey pixels: correlation {alike(before, image):.3f}"
    )
    assert not coloured(before).any()
    assert dice(wanted, found) > 0.99
    assert alike(before, image) > 0.95 > alike(before, image[:, ::-1])
    assert not wanted.any() or dice(wanted[:, ::-1], found) < 0.95


def _has_its_colour(
    shown: Shown, segment: Segment, before: dict[int, Picture], after: dict[int, Picture], note: Note
) -> None:
    """Where it is alone; where another lies over it too, the colour is that of neither, so both are to be seen."""
    others = np.any([each.mask for each in shown.findings.segments if each is not segment], axis=0)
    wanted, measured = rgb_of_lab(segment.colour_lab), 0
    for index, picture in after.items():
        voxels = voxels_under(picture, shown.source.volume.affine)
        mine, shared = seen(segment.mask, voxels), seen(others, voxels)
        for alone, part in ((True, mine & ~shared), (False, mine & shared)):
            inner = away_from_edges(part)
            if inner.sum() < _ENOUGH_PIXELS:
                continue
            colour, opacity = colour_over(before[index].pixels[inner], picture.pixels[inner])
            away = float(np.abs(colour - wanted).max())
            note(
                f"{shown.name}, SEG, slice {index}, {segment.label} {'alone' if alone else 'with another'}: "
                f"colour {colour.round()}, its own {wanted.round()}, opacity {opacity:.2f}"
            )
            assert away < 10 if alone else away > 30
            measured += 1
    assert measured > 0


def test_volumes_can_be_read_in_the_report(reader: Reader, shown: Shown) -> None:
    """Beside the outline of each segment, in turn, stands its volume; the pictures below are not black.

    OHIF 3.13.2 now and then opens a report without drawing its first outline; README says that turning draws it.
    """
    reader.choose(shown.only(ResultKind.REPORT).series_instance_uid)
    reader.turn_away_and_back()
    for number, each in enumerate(shown.findings.measurements):
        if number:
            reader.next_measurement()
        reader.wait_for_words(f"Volume: {each.value:.2f} ml")
        reader.photograph(f"{shown.name}-sr-{number}")
        assert reader.picture().pixels.mean() > _DARK


def test_the_map_lies_where_its_numbers_are(reader: Reader, shown: Shown, note: Note) -> None:
    """On each slice, coloured pixels are those above numbers that are not small; mirrored, that does not hold."""
    reader.choose(shown.only(ResultKind.PARAMETRIC_MAP).series_instance_uid)
    for index, picture in _pictures(reader, shown, _slices(shown)[::2], "pm").items():
        voxels = voxels_under(picture, shown.source.volume.affine)
        assert set(np.unique(voxels[..., 0])) == {index}
        wanted, found = seen(shown.findings.maps[0].values, voxels) > _SMALL, coloured(picture)
        note(f"{shown.name}, PM, slice {index}: {int(found.sum())} coloured pixels, Dice {dice(wanted, found):.4f}")
        assert dice(wanted, found) > 0.95
        assert not wanted.any() or dice(wanted[:, ::-1], found) < 0.9


def test_a_map_leaves_its_colours_until_the_view_is_reset(reader: Reader, shown: Shown, note: Note) -> None:
    """What is opened after a map, in its place, OHIF 3.13.2 draws in the map's colours; README says how to end it."""
    middle = shown.middle(_slices(shown)[2])
    reader.choose(shown.only(ResultKind.PARAMETRIC_MAP).series_instance_uid)
    reader.turn_to(middle)
    reader.choose(shown.source_series)
    reader.turn_to(middle)
    reader.photograph(f"{shown.name}-after-pm")
    note(f"{shown.name}, images after PM: {coloured(reader.picture()).mean():.0%} of the pixels are coloured")
    assert coloured(reader.picture()).mean() > 0.5
    reader.reset_view()
    reader.photograph(f"{shown.name}-after-reset")
    picture = reader.picture()
    assert not coloured(picture).any()
    values = seen(shown.source.volume.array, voxels_under(picture, shown.source.volume.affine))
    assert alike(picture, values) > 0.95


def test_derived_images_show_their_values(reader: Reader, shown: Shown, note: Note) -> None:
    """A series of its own; its grey pixels are the values that were derived, where they were."""
    made = shown.of_kind(ResultKind.IMAGES)
    reader.choose(made[0].series_instance_uid)
    reader.wait_for_image(made[0].sop_instance_uid)
    index = _slices(shown)[2]
    reader.turn_to(shown.middle(index))
    reader.photograph(f"{shown.name}-img")
    picture = reader.picture()
    voxels = voxels_under(picture, shown.source.volume.affine)
    values = seen(shown.findings.images[0].values, voxels)
    note(f"{shown.name}, IMG, slice {index}: correlation {alike(picture, values):.3f}")
    assert set(np.unique(voxels[..., 0])) == {index}
    assert alike(picture, values) > 0.95 > alike(picture, values[:, ::-1])


def test_pictures_are_shown_pixel_by_pixel(reader: Reader, shown: Shown, note: Note) -> None:
    """The first Secondary Capture, in its colours, with what is burnt in."""
    made = shown.of_kind(ResultKind.PICTURE)[0]
    reader.choose(made.series_instance_uid)
    reader.wait_for_image(made.sop_instance_uid)
    reader.photograph(f"{shown.name}-sc")
    picture = reader.picture()
    wanted, inside = pixels_under(picture, pixel_array(made.dataset), made.dataset.PixelSpacing)
    away = float(np.abs(picture.pixels[inside].astype(np.float64) - wanted[inside]).mean())
    note(f"{shown.name}, SC: pixels are {away:.1f} of 255 away, {wanted[inside].mean():.0f} bright, on average")
    assert inside.mean() > 0.5
    assert away < 4 < _DARK < wanted[inside].mean()


def test_the_document_is_shown(reader: Reader, shown: Shown, note: Note) -> None:
    """The browser's own PDF viewer has our very document, and shows white paper."""
    made = shown.only(ResultKind.DOCUMENT)
    reader.choose(made.series_instance_uid)
    assert reader.document().rstrip(b"\0") == made.dataset.EncapsulatedDocument.rstrip(b"\0")
    white = reader.white_paper(f"{shown.name}-pdf")
    note(f"{shown.name}, PDF: {white:.0%} of the window are white")
    assert white > PAPER


def test_a_notice_can_be_read(reader: Reader, shown: Shown) -> None:
    """A pipeline that did not run says so, and why, in sentences."""
    reader.choose(shown.notice.series_instance_uid)
    reader.wait_for_words("NOT RUN: Another pipeline did not run")
    reader.wait_for_words(REFUSAL)
    reader.photograph(f"{shown.name}-notice")
