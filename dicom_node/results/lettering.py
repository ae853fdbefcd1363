"""The one font of our pictures and documents, and what becomes of a text that it cannot show.

DejaVu Sans holds the Latin, Greek and Cyrillic letters in which patients' and structures' names are written. It comes
with matplotlib, of which nothing else is used: a font of the machine would make other bytes on another machine.
"""

import unicodedata
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from PIL import ImageFont
from reportlab.pdfbase.ttfonts import TTFontFile

_FOLDER: Final = Path(str(distribution("matplotlib").locate_file("matplotlib/mpl-data/fonts/ttf")))
FONT_FILE: Final = _FOLDER / "DejaVuSans.ttf"
BOLD_FONT_FILE: Final = _FOLDER / "DejaVuSans-Bold.ttf"
#: What stands for a character that cannot be shown.
MISSING: Final = "\N{WHITE SQUARE}"
#: Scripts that run from right to left need more than a row of letters.
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font at a size in pixels; laid out letter by letter, so that every machine draws the same."""
    file = BOLD_FONT_FILE if bold else FONT_FILE
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _letters() -> frozenset[int]:
    """Return what both weights hold: bold lacks some rare letters."""
    plain, bold = (frozenset(TTFontFile(str(file)).charToGlyph) for file in (FONT_FILE, BOLD_FONT_FILE))
    return plain & bold


def is_shown(text: str) -> bool:
    """Return True if every character of a text can be shown as it is."""
    return all(_has(character) for character in unicodedata.normalize("NFC", text))


def _has(character: str) -> bool:
    if unicodedata.bidirectional(character) in _RIGHT_TO_LEFT:
        return False
    return character.isprintable() and ord(character) in _letters()


def shown(text: str) -> str:
    """Return a text in characters that the font has: others lose their accents or their width, or become a box."""
    spaced = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(character if _has(character) else _nearest(character) for character in spaced)


def _nearest(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character)
    return "".join(part for part in plain if _has(part) and not unicodedata.combining(part)) or MISSING


def cut(text: str, most: int) -> str:
    """Return a text of at most so many characters; an ellipsis says that there was more."""
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def wrapped(text: str, letters: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Return a text, as it can be shown, in lines that are no wider than `width` pixels in a font."""
    lines = [""]
    for word in shown(text).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if letters.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines += _broken(word, letters, width)
    return [line for line in lines if line]


def _broken(word: str, letters: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Return a word in pieces that fit; most words are one piece."""
    pieces = [""]
    for character in word:
        if letters.getlength(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces
