"""A sheet of paper as PDF: whose it is, the warning, pictures, tables, remarks, and how it was made.

Real text in an embedded font, the creation date of the job, no random identifier: the same sheet, the same bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Final

from PIL import Image
from reportlab.lib.colors import Color
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from dicom_node import MANUFACTURER
from dicom_node.results.drawing import Colour
from dicom_node.results.lettering import cut, shown
from dicom_node.results.paper_style import (
    BODY,
    BOTTOM,
    CELL_RIGHT,
    CENTRED,
    FONT,
    GRID,
    HEADING,
    INK,
    LABEL,
    LABEL_RIGHT,
    PAGE,
    PLAIN,
    QUIET,
    RULE,
    SIDE,
    SMALL,
    TITLE,
    TOP,
    WARNING,
    WARNING_GROUND,
    WIDTH,
    paragraph,
    use_font,
)
from dicom_node.results.range_plot import RangePlot
from dicom_node.results.words import Words

_PICTURE_HEIGHT: Final = 62 * mm
_PICTURE_GAP: Final = 3 * mm
_PLOT: Final = 34 * mm
_VALUES: Final = (40 * mm, 38 * mm, 27 * mm, WIDTH - 143 * mm, 38 * mm)
_ANSWERS: Final = (42 * mm, 46 * mm, WIDTH - 120 * mm, 32 * mm)
_MOST_NOTICE: Final = 2000  # characters
_MOST_IN_CELL: Final = 400  # characters
_FACTS: Final = (40 * mm, WIDTH - 40 * mm)


@dataclass(frozen=True, slots=True)
class Value:
    """One row of the table of measured values.

    Parameters
    ----------
    limits : (float, float) or None
        The reference range; an open end is infinite, and its text empty.
    verdict : str
        Where the value lies.
    """

    of: str
    name: str
    text: str
    value: float
    limits: tuple[float, float] | None = None
    limit_texts: tuple[str, str] = ("", "")
    range_text: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and what it shows."""

    image: Image.Image
    caption: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything that is printed, in words.

    Parameters
    ----------
    identity : str
        One line that says whose result this is.
    populations : tuple of str
        Where the reference ranges come from.
    answers : tuple of (str, str, str, str)
        Subject, question, answer, probability.
    facts : tuple of (str, str)
        How this was made: name and value.
    """

    title: str
    identity: str
    notice: str
    made: datetime
    words: Words
    pictures: tuple[Picture, ...] = ()
    legend: tuple[tuple[str, Colour], ...] = ()
    values: tuple[Value, ...] = ()
    populations: tuple[str, ...] = ()
    answers: tuple[tuple[str, str, str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


def pdf(sheet: Sheet) -> bytes:
    """Return the PDF; most sheets are one page, what does not fit goes on the next."""
    use_font()
    _, pages = _printed(sheet, 0)
    content, _ = _printed(sheet, pages)
    return content


def _printed(sheet: Sheet, pages: int) -> tuple[bytes, int]:
    """Return the PDF, told how many pages it has, and how many it has."""
    buffer = BytesIO()
    template = SimpleDocTemplate(
        buffer,
        pagesize=PAGE,
        leftMargin=SIDE - 6,  # the frame of a page has a padding of its own
        rightMargin=SIDE - 6,
        topMargin=TOP,
        bottomMargin=BOTTOM,
        title=shown(sheet.title),
        author=MANUFACTURER,
        invariant=1,
        pageCompression=1,
        initialFontName=FONT,
    )

    def edges(canvas: Canvas, document: SimpleDocTemplate) -> None:
        _draw_edges(canvas, sheet, document.page, pages)

    template.build(list(_story(sheet)), onFirstPage=edges, onLaterPages=edges)
    return buffer.getvalue(), template.page


def _draw_edges(canvas: Canvas, sheet: Sheet, page: int, pages: int) -> None:
    """Draw what every page has: whose it is above; notice and page number below."""
    made = sheet.made.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ")
    canvas.setDateFormatter(lambda *_: made)
    width, height = PAGE
    canvas.setStrokeColor(RULE)
    canvas.setLineWidth(0.5)
    canvas.line(SIDE, height - 17 * mm, width - SIDE, height - 17 * mm)
    canvas.line(SIDE, 15 * mm, width - SIDE, 15 * mm)
    line = paragraph(sheet.identity, BODY)
    _, used = line.wrap(WIDTH, 12 * mm)
    line.drawOn(canvas, SIDE, height - 16 * mm + (0 if used > BODY.leading else 1.5))
    number = sheet.words.page.format(number=page, count=pages)
    canvas.setFont(FONT, SMALL.fontSize)
    canvas.setFillColor(QUIET)
    canvas.drawRightString(width - SIDE, 14 * mm - SMALL.fontSize, number)
    foot = _cell(f"{sheet.words.warning}. {sheet.notice}", SMALL)
    foot.wrap(WIDTH - 30 * mm, 12 * mm)
    foot.drawOn(canvas, SIDE, 14 * mm - foot.height)


def _story(sheet: Sheet) -> Iterator[Flowable]:
    words = sheet.words
    yield _cell(sheet.title, TITLE)
    yield Spacer(0, 6)
    yield _warning(sheet)
    if sheet.pictures:
        yield Spacer(0, 8)
        yield _pictures(sheet.pictures)
    if sheet.legend:
        yield _legend(sheet.legend)
    if sheet.values:
        yield paragraph(words.measured, HEADING)
        yield _values(sheet)
    yield from (paragraph(text, SMALL) for text in sheet.populations)
    if sheet.answers:
        yield paragraph(words.classified, HEADING)
        yield _answers(sheet)
    if sheet.remarks:
        yield paragraph(words.remarks, HEADING)
        yield from (paragraph(text) for text in sheet.remarks)
    yield paragraph(words.origin, HEADING)
    yield _facts(sheet.facts)


def _warning(sheet: Sheet) -> Flowable:
    rows = [[paragraph(sheet.words.warning, WARNING)]]
    if sheet.notice:
        rows.append([paragraph(cut(sheet.notice, _MOST_NOTICE), LABEL)])
    style = [
        ("BACKGROUND", (0, 0), (-1, -1), WARNING_GROUND),
        ("TOPPADDING", (0, 0), (-1, 0), 5),
        ("BOTTOMPADDING", (0, -1), (-1, -1), 5),
        ("TOPPADDING", (0, 1), (-1, -1), 0),
        ("BOTTOMPADDING", (0, 0), (-1, 0), 2 if sheet.notice else 5),
    ]
    return Table(rows, colWidths=[WIDTH], style=TableStyle(style, parent=PLAIN))


class _Plane(Flowable):
    """A picture at a height, its own proportions kept."""

    def __init__(self, image: Image.Image, height: float) -> None:
        super().__init__()
        self._image = image
        self.width, self.height = image.width / image.height * height, height

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        self.canv.drawImage(ImageReader(self._image), 0, 0, self.width, self.height)


def _pictures(pictures: Sequence[Picture]) -> Flowable:
    """Return the pictures side by side, as high as there is room for, their captions below."""
    gaps = _PICTURE_GAP * len(pictures)
    shares = [each.image.width / each.image.height for each in pictures]
    height = min(_PICTURE_HEIGHT, (WIDTH - gaps) / sum(shares))
    planes = [_Plane(each.image, height) for each in pictures]
    captions = [paragraph(each.caption, CENTRED) for each in pictures]
    style = [
        ("LEFTPADDING", (0, 0), (-1, -1), _PICTURE_GAP / 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), _PICTURE_GAP / 2),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
    ]
    widths = [plane.width + _PICTURE_GAP for plane in planes]
    return Table([planes, captions], colWidths=widths, style=TableStyle(style, parent=PLAIN), hAlign="CENTER")


class _Swatch(Flowable):
    """A square in the colour of a segment, with a rim that shows on white paper."""

    def __init__(self, colour: Colour) -> None:
        super().__init__()
        self._colour = Color(*(value / 255 for value in colour))
        self.width = self.height = 7.0

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        self.canv.setFillColor(self._colour)
        self.canv.setStrokeColor(INK)
        self.canv.setLineWidth(0.3)
        self.canv.rect(0, 0, self.width, self.height, stroke=1, fill=1)


def _legend(legend: Sequence[tuple[str, Colour]], columns: int = 3) -> Flowable:
    cells = [cell for label, colour in legend for cell in (_Swatch(colour), _cell(label, LABEL))]
    step = 2 * min(columns, len(legend))
    cells += [""] * (-len(cells) % step)
    rows = [cells[start : start + step] for start in range(0, len(cells), step)]
    widths = [12.0, WIDTH / columns - 12.0] * (step // 2)
    style = [
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ]
    return Table(rows, colWidths=widths, style=TableStyle(style, parent=PLAIN), hAlign="LEFT")


def _values(sheet: Sheet) -> Flowable:
    words = sheet.words
    heads = (words.structure, words.quantity, words.value, words.range, "")
    head = [paragraph(text, LABEL_RIGHT if text == words.value else LABEL) for text in heads]
    rows = [head, *(_row(each) for each in sheet.values)]
    return Table(rows, colWidths=_VALUES, style=GRID, repeatRows=1)


def _row(each: Value) -> list[Flowable]:
    row = [_cell(each.of), _cell(each.name), _cell(each.text, CELL_RIGHT)]
    if each.limits is None:
        return [*row, paragraph("\N{EN DASH}", LABEL), paragraph("", LABEL)]
    plot = RangePlot(each.value, *each.limits, *each.limit_texts, _PLOT)
    return [*row, paragraph(f"{each.range_text} ({each.verdict})", LABEL), plot]


def _cell(text: str, style: ParagraphStyle = BODY) -> Paragraph:
    """Return a text as a cell: a row of a table never goes on on the next page, so it is not long."""
    return paragraph(cut(text, _MOST_IN_CELL), style)


def _answers(sheet: Sheet) -> Flowable:
    words = sheet.words
    heads = (words.structure, words.question, words.answer, words.probability)
    rows = [[paragraph(text, LABEL) for text in heads], *([_cell(text) for text in row] for row in sheet.answers)]
    return Table(rows, colWidths=_ANSWERS, style=GRID, repeatRows=1)


def _facts(facts: Sequence[tuple[str, str]]) -> Flowable:
    rows = [[paragraph(name, SMALL), _cell(value, SMALL)] for name, value in facts]
    style = [
        ("TOPPADDING", (0, 0), (-1, -1), 0.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 0.5),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    return Table(rows, colWidths=_FACTS, style=TableStyle(style, parent=PLAIN), hAlign="LEFT")
