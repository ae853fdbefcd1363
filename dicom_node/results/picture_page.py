"""One picture as a PACS shows it: a slice with what was found on it, or words; the warning, and below it the notice.

The warning stands above and below: viewers lay their own controls over a picture, OHIF its film player over the top.

Every picture has the same size, so that a series of them can be leafed through. No patient's name is drawn: the
viewer shows whose picture it is from the data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from dicom_node.results.drawing import BLACK, WHITE, Colour, Panel, add_scale_bar, drawn
from dicom_node.results.lettering import cut, font, shown, wrapped
from dicom_node.results.statements import Line
from dicom_node.results.words import Words

WIDTH: Final = 1024
HEIGHT: Final = 768
_BANNER: Final = 44
_BANNER_INK: Final[Colour] = (255, 214, 10)
_BANNER_GROUND: Final[Colour] = (64, 46, 0)
_FOOT_INK: Final[Colour] = (190, 190, 190)
_QUIET: Final[Colour] = (205, 205, 205)
_MARGIN: Final = 14
_GAP: Final = 18
_COLUMN: Final = 344  # of words beside a slice
_TITLE: Final = 22
_TEXT: Final = 17
_FOOT: Final = 14
_MOST_FOOT: Final = 9  # rows
_MOST_HEADING: Final = 300  # characters
_LEADING: Final = 6
_SWATCH: Final = 14
_INDENT: Final = 24


@dataclass(frozen=True, slots=True)
class Frame:
    """What is the same on every picture of a series."""

    title: str
    foot: tuple[str, ...]
    words: Words


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of text as it fits; of a statement in several rows only the first has the swatch."""

    text: str
    swatch: Colour | None
    indent: int


def slice_picture(
    frame: Frame, panel: Panel, colours: Sequence[Colour], heading: Sequence[str], lines: Sequence[Line]
) -> tuple[Image.Image, float, bool]:
    """Return a slice with words beside it, the mm per pixel of the slice, and whether all words had room."""
    picture, top, bottom = _framed(frame)
    width, height = WIDTH - _COLUMN - 2 * _MARGIN - _GAP, bottom - top
    mm_per_pixel = max(panel.width_mm / width, panel.height_mm / height)
    plane = drawn(panel, colours, mm_per_pixel)
    add_scale_bar(plane, mm_per_pixel)
    picture.paste(plane, (_MARGIN + (width - plane.width) // 2, top + (height - plane.height) // 2))
    left = WIDTH - _COLUMN - _MARGIN
    y = _write_heading(picture, left, top, frame.title, heading, _COLUMN)
    rows = _rows(lines, _COLUMN)
    room = (bottom - y) // (_TEXT + _LEADING)
    complete = len(rows) <= room
    if not complete:
        more = [_Row(text, None, 0) for text in wrapped(frame.words.more, font(_TEXT), _COLUMN)]
        rows = [*rows[: max(0, room - len(more))], *more]
    _write(picture, left, y, rows)
    return picture, mm_per_pixel, complete


def word_pictures(frame: Frame, heading: Sequence[str], lines: Sequence[Line]) -> list[Image.Image]:
    """Return as many pictures as all words need."""
    rows = _rows(lines, WIDTH - 2 * _MARGIN)
    pictures: list[Image.Image] = []
    while rows or not pictures:
        picture, top, bottom = _framed(frame)
        y = _write_heading(picture, _MARGIN, top, frame.title, heading, WIDTH - 2 * _MARGIN)
        room = max(1, (bottom - y) // (_TEXT + _LEADING))
        _write(picture, _MARGIN, y, rows[:room])
        rows = rows[room:]
        pictures.append(picture)
    return pictures


def _framed(frame: Frame) -> tuple[Image.Image, int, int]:
    """Return a picture with its banner and foot, and the rows of pixels between which it is free."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), BLACK)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, WIDTH, _BANNER - 1), fill=_BANNER_GROUND)
    pen.text((WIDTH // 2, _BANNER // 2), frame.words.warning, _BANNER_INK, _banner_font(frame.words), anchor="mm")
    width = WIDTH - 2 * _MARGIN
    rows = [(row, _BANNER_INK) for row in wrapped(frame.words.warning, font(_FOOT), width)]
    rows += [(row, _FOOT_INK) for text in frame.foot for row in wrapped(text, font(_FOOT), width)]
    del rows[_MOST_FOOT:]
    top = HEIGHT - _MARGIN // 2 - len(rows) * (_FOOT + _LEADING)
    for number, (row, ink) in enumerate(rows):
        pen.text((_MARGIN, top + number * (_FOOT + _LEADING)), row, ink, font(_FOOT))
    return picture, _BANNER + _MARGIN, top - _MARGIN


def _banner_font(words: Words) -> ImageFont.FreeTypeFont:
    """Return the largest font in which the whole warning stands in one line."""
    sizes = (font(size, bold=True) for size in range(_TITLE, 1, -1))
    return next(each for each in sizes if each.getlength(words.warning) <= WIDTH - 2 * _MARGIN)


def _write_heading(picture: Image.Image, left: int, top: int, title: str, heading: Sequence[str], width: int) -> int:
    """Write the title and what the picture shows; return where the next words may stand."""
    pen, y = ImageDraw.Draw(picture), top
    for row in wrapped(cut(title, _MOST_HEADING), font(_TITLE, bold=True), width):
        pen.text((left, y), row, WHITE, font(_TITLE, bold=True))
        y += _TITLE + _LEADING
    for text in heading:
        for row in wrapped(cut(text, _MOST_HEADING), font(_TEXT), width):
            pen.text((left, y), row, _QUIET, font(_TEXT))
            y += _TEXT + _LEADING
    return y + _GAP


def _rows(lines: Sequence[Line], width: int) -> list[_Row]:
    """Return lines as they fit; a free row parts what is drawn from what is only said."""
    rows: list[_Row] = []
    for before, line in zip((None, *lines), lines, strict=False):
        if before is not None and (before.indented or before.swatch) and not (line.indented or line.swatch):
            rows.append(_Row("", None, 0))
        indent = _INDENT if line.indented or line.swatch else 0
        for number, text in enumerate(wrapped(line.text, font(_TEXT), width - indent)):
            rows.append(_Row(text, line.swatch if number == 0 else None, indent))
    return rows


def _write(picture: Image.Image, left: int, top: int, rows: Sequence[_Row]) -> None:
    pen = ImageDraw.Draw(picture)
    for number, row in enumerate(rows):
        y = top + number * (_TEXT + _LEADING)
        if row.swatch is not None:
            square = (left, y + 3, left + _SWATCH, y + 3 + _SWATCH)
            pen.rectangle(square, fill=row.swatch)
        pen.text((left + row.indent, y), shown(row.text), WHITE, font(_TEXT))
