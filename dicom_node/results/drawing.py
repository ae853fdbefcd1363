"""How a plane of the images is drawn: grey in mm proportions, outlines and marks in colour, its edges named."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicom_node.contract import Segment
from dicom_node.results.lettering import font, shown

Grey = NDArray[np.uint8]
Points = NDArray[np.float64]
Colour = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)
BLACK: Final[Colour] = (0, 0, 0)
#: Of a place without an outline.
MARK: Final[Colour] = (255, 235, 60)
#: L* below which a colour is lost on a dark image.
_DARKEST: Final = 50.0
_FLAT: Final = 1e-6  # an image of one grey value has no window
#: Lines are drawn this many times larger and made smaller, so that they are smooth.
_FINER: Final = 3
_LINE: Final = 2
_HALO: Final = 4
_HALO_OPACITY: Final = 140  # of 255
_CROSS: Final = (5, 14)  # pixels from the place itself: where the arms begin and end
_LETTER: Final = 16
#: mm
_BARS: Final = (100, 50, 20, 10, 5, 2, 1)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a plane: column and row in pixels, 0.5 is the centre of the first."""

    label: str
    column: float
    row: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One plane as it is looked at.

    Parameters
    ----------
    grey : uint8, (row, column)
    outlines : tuple of tuple of (n, 2) float64
        For each segment its closed outlines: column and row in pixels of `grey`, 0 is the border of the first.
    edges : (str, str, str, str)
        What lies left, right, top and bottom, in patient directions (PS3.3 C.7.6.1.1.1).
    """

    grey: Grey
    outlines: tuple[tuple[Points, ...], ...]
    edges: tuple[str, str, str, str]
    height_mm: float
    width_mm: float
    marks: tuple[Mark, ...] = ()


def grey_values(values: NDArray[np.floating], darkest: float, brightest: float) -> Grey:
    """Return values as grey, black and white at two of them."""
    share = (values - darkest) / max(brightest - darkest, _FLAT)
    return np.asarray(np.clip(share, 0, 1) * 255).astype(np.uint8)


def colour_of(segment: Segment) -> Colour:
    """Return the colour in which a segment is drawn: its own, or the nearest that a screen has and that is seen."""
    lightness, a, b = segment.colour_lab
    red, green, blue = hd.color.CIELabColor(max(lightness, _DARKEST), a, b).to_rgb(clip=True)
    return int(red), int(green), int(blue)


def drawn(panel: Panel, colours: Sequence[Colour], mm_per_pixel: float) -> Image.Image:
    """Return a panel as an RGB picture, square pixels of a given size."""
    size = max(1, round(panel.width_mm / mm_per_pixel)), max(1, round(panel.height_mm / mm_per_pixel))
    picture = Image.fromarray(panel.grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    scale = np.array(size) / np.array(panel.grey.shape[::-1])
    for colour, outlines in zip(colours, panel.outlines, strict=True):
        _outline(picture, [points * scale for points in outlines], colour)
    for mark in panel.marks:
        _cross(picture, mark.label, mark.column * scale[0], mark.row * scale[1])
    _name_edges(picture, panel.edges)
    return picture


def _outline(picture: Image.Image, outlines: Sequence[Points], colour: Colour) -> None:
    """Draw closed lines, with a dark rim that parts them from bright tissue."""
    if not outlines:
        return
    # each in as little of the picture as its lines need: a picture may hold dozens
    corner = np.maximum(np.floor(np.vstack(outlines).min(axis=0)) - _HALO, 0)
    end = np.minimum(np.ceil(np.vstack(outlines).max(axis=0)) + _HALO, picture.size)
    left, top, width, height = (int(value) for value in (*corner, *(end - corner)))
    for thickness, ink, opacity in ((_HALO, BLACK, _HALO_OPACITY), (_LINE, colour, 255)):
        coverage = Image.new("L", (width * _FINER, height * _FINER))
        pen = ImageDraw.Draw(coverage)
        for points in outlines:
            pen.line(
                ((points - corner) * _FINER).ravel().tolist(), fill=opacity, width=thickness * _FINER, joint="curve"
            )
        picture.paste(ink, (left, top, left + width, top + height), coverage.reduce(_FINER))


def _cross(picture: Image.Image, label: str, x: float, y: float) -> None:
    """Draw a cross that is open where the place is, and its label on the side that has room."""
    pen = ImageDraw.Draw(picture)
    start, end = _CROSS
    for thickness, ink in ((_HALO + 1, BLACK), (_LINE, MARK)):
        for along_x, along_y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            arm = (x + start * along_x, y + start * along_y, x + end * along_x, y + end * along_y)
            pen.line(arm, fill=ink, width=thickness)
    text, letters = shown(label), font(_LETTER)
    right = x + end + 4 + letters.getlength(text) < picture.width
    place = (x + end + 4, y) if right else (x - end - 4, y)
    pen.text(place, text, MARK, letters, anchor="lm" if right else "rm", stroke_width=2, stroke_fill=BLACK)


def _name_edges(picture: Image.Image, edges: Sequence[str]) -> None:
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    places = (
        ((4, height // 2), "lm"),
        ((width - 4, height // 2), "rm"),
        ((width // 2, 4), "mt"),
        ((width // 2, height - 4), "mb"),
    )
    for letters, (place, anchor) in zip(edges, places, strict=True):
        pen.text(place, letters, WHITE, font(_LETTER), anchor=anchor, stroke_width=2, stroke_fill=BLACK)


def add_scale_bar(picture: Image.Image, mm_per_pixel: float) -> None:
    """Draw a bar of round length, at most a quarter of the picture's width, in its lower left corner."""
    longest = picture.width / 4 * mm_per_pixel
    length = next((bar for bar in _BARS if bar <= longest), _BARS[-1])
    pen, left, bottom = ImageDraw.Draw(picture), 10, picture.height - 10
    right = left + length / mm_per_pixel
    for thickness, ink in ((5, BLACK), (2, WHITE)):
        rim = (thickness - 2) // 2
        pen.line((left - rim, bottom, right + rim, bottom), fill=ink, width=thickness)
    pen.text((left, bottom - 6), f"{length} mm", WHITE, font(_LETTER - 2), "ls", stroke_width=2, stroke_fill=BLACK)
