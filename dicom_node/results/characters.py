"""Which texts a Specific Character Set (0008,0005) can hold, and what is written in place of one that it cannot.

A character that simply vanished would change what is said: a minus, the dash of "60-70", a raised 6.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from pydicom.charset import convert_encodings, default_encoding

#: What pydicom calls JIS X 0201, whose every character is one byte, and JIS X 0212.
_ONE_BYTE: Final = "shift_jis"
_JIS_X_0212: Final = "iso2022_jp_2"
#: Two names of GB 2312; pydicom 3.0 writes no escape sequence to it, without which nobody reads it.
_UNREACHABLE: Final = ("iso_ir_58", "GB2312")
#: Of the sets that the codec of Python can switch to, DICOM has these two under that name (PS3.3 Table C.12-4).
_SWITCHES: Final = frozenset({b"\x1b$(D", b"\x1b(B"})
_SWITCH: Final = re.compile(rb"\x1b[^0-~]*[0-~]")
#: Of the control characters a text may hold tabulator, line feed, form feed and carriage return only (PS3.5 6.1.3).
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_RAISED: Final = re.compile("[⁰¹²³⁴-⁹⁺⁻]+")
#: What stands for a character that has no equal in ASCII.
UNKNOWN: Final = "?"
#: Unicode general categories of what has no width of its own: marks, and characters that only format.
_NO_WIDTH: Final = frozenset({"Mn", "Me", "Cf"})
#: Dashes, quotation marks, signs and letters by their numbers: many look like others.
_IN_ASCII: Final = {
    **dict.fromkeys(range(0x2010, 0x2016), "-"),
    **dict.fromkeys((0x2212, 0x207B), "-"),
    **dict.fromkeys((*range(0x2018, 0x201C), 0x2032), "'"),
    **dict.fromkeys((*range(0x201C, 0x2020), 0xAB, 0xBB, 0x2033), '"'),
    **dict.fromkeys((0x2044, 0x2215, 0xF7), "/"),
    **dict.fromkeys((0xB5, 0x3BC), "u"),
    0x2264: "<=",
    0x2265: ">=",
    0x2260: "!=",
    0x2248: "~",
    0xB1: "+/-",
    0xD7: "x",
    0xB7: ".",
    0x2022: "*",
    0x2026: "...",
    0x2192: "->",
    0x2190: "<-",
    0xB0: "deg",
    0x2030: " per mille",
    **{
        ord(letter): said
        for letter, said in zip(
            "ßẞæÆœŒøØłŁđĐðÐ",
            ["ss", "SS", "ae", "AE", "oe", "OE", "o", "O", "l", "L", "d", "D", "d", "D"],
            strict=True,
        )
    },
    0xFE: "th",
    0xDE: "Th",
    0x131: "i",
}

CharacterSet = str | Sequence[str] | None


def fits(text: str, character_set: CharacterSet) -> bool:
    """Return True if a text can be written in a Specific Character Set; without one it is ASCII (PS3.5 6.1.2)."""
    if text.isascii():
        return True
    if not character_set:
        return False
    encodings = convert_encodings(character_set if isinstance(character_set, str) else list(character_set))
    if default_encoding in encodings and any("\x80" <= character <= "\xff" for character in text):
        return False  # pydicom takes Latin-1 for the default repertoire, whose upper half DICOM leaves undefined
    return any(_holds(encoding, text) for encoding in encodings)


def _holds(encoding: str, text: str) -> bool:
    if encoding in (default_encoding, *_UNREACHABLE):
        return text.isascii()
    try:
        encoded = text.encode(encoding)
    except UnicodeError:
        return False
    if encoding == _ONE_BYTE:
        return len(encoded) == len(text)
    return encoding != _JIS_X_0212 or _SWITCHES.issuperset(_SWITCH.findall(encoded))


def written(text: str, character_set: CharacterSet) -> str:
    """Return a text as it is written in a Specific Character Set: other characters as ASCII says them, or as "?".

    A backslash would separate two values (PS3.5 6.2), an escape would change the character set.
    """
    text = _CONTROLS.sub(" ", text.replace("\\", "/"))
    if fits(text, character_set):
        return text
    text = unicodedata.normalize("NFC", text)
    text = _RAISED.sub(lambda run: run.group() if fits(run.group(), character_set) else _raised(run.group()), text)
    near = "".join(character if fits(character, character_set) else _plain(character) for character in text)
    return near if fits(near, character_set) else "".join(map(_plain, near))


def _raised(text: str) -> str:
    return f"^{unicodedata.normalize('NFKD', text).translate(_IN_ASCII)}"


def _plain(character: str) -> str:
    """Return what ASCII says for a character: itself, its base letters, a name for it, or a question mark."""
    if character.isascii():
        return character
    if unicodedata.category(character) in _NO_WIDTH:
        return ""
    apart = unicodedata.normalize("NFKD", character.translate(_IN_ASCII))
    base = "".join(part for part in apart if not unicodedata.combining(part)).translate(_IN_ASCII)
    if not base.isascii() or not base:
        return UNKNOWN
    return f" {base}" if unicodedata.decomposition(character).startswith("<fraction>") else base
