"""How our documents look: A4, one embedded font, few sizes and colours; readable in black and white."""

from functools import cache
from html import escape
from typing import Final

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Paragraph, TableStyle

from dicom_node.results.lettering import BOLD_FONT_FILE, FONT_FILE, shown

FONT: Final = "DejaVuSans"
BOLD: Final = "DejaVuSans-Bold"
PAGE: Final = A4
SIDE: Final = 18 * mm
TOP: Final = 24 * mm
BOTTOM: Final = 20 * mm
WIDTH: Final = PAGE[0] - 2 * SIDE

INK: Final = HexColor("#1c2733")
QUIET: Final = HexColor("#5b6773")
RULE: Final = HexColor("#c3cad1")
BAND: Final = HexColor("#eef2f5")
WARNING_INK: Final = HexColor("#6b4a00")
WARNING_GROUND: Final = HexColor("#fff3cd")

TITLE: Final = ParagraphStyle("title", fontName=BOLD, fontSize=17, leading=21, textColor=INK)
HEADING: Final = ParagraphStyle(
    "heading", fontName=BOLD, fontSize=10.5, leading=13, textColor=INK, spaceBefore=9, spaceAfter=3, keepWithNext=1
)
BODY: Final = ParagraphStyle("body", fontName=FONT, fontSize=9, leading=12, textColor=INK)
CELL_RIGHT: Final = ParagraphStyle("right", parent=BODY, alignment=2)
LABEL: Final = ParagraphStyle("label", fontName=FONT, fontSize=7.5, leading=9.5, textColor=QUIET)
LABEL_RIGHT: Final = ParagraphStyle("labelright", parent=LABEL, alignment=2)
CENTRED: Final = ParagraphStyle("centred", parent=LABEL, alignment=1)
WARNING: Final = ParagraphStyle(
    "warning", parent=BODY, fontName=BOLD, fontSize=10.5, leading=14, textColor=WARNING_INK
)
SMALL: Final = ParagraphStyle("small", fontName=FONT, fontSize=7, leading=9, textColor=QUIET)
#: A table sets a font for its cells, whatever they hold: without this one, a font that is not embedded.
PLAIN: Final = TableStyle([("FONTNAME", (0, 0), (-1, -1), FONT)])
#: A table with a quiet head and rules between its rows.
GRID: Final = TableStyle(
    [
        ("BACKGROUND", (0, 0), (-1, 0), BAND),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ],
    parent=PLAIN,
)


@cache
def use_font() -> None:
    """Make both weights known to the library: once in a process."""
    registerFont(TTFont(FONT, str(FONT_FILE)))
    registerFont(TTFont(BOLD, str(BOLD_FONT_FILE)))


def paragraph(text: str, style: ParagraphStyle = BODY) -> Paragraph:
    """Return a text, in characters that the font has, as a paragraph; nothing in it is taken for markup."""
    use_font()
    return Paragraph(escape(shown(text)), style)
