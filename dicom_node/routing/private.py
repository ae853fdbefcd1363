"""Private attributes (PS3.5 7.8): asked about by group, element and creator, as blocks differ from file to file.

Written as in PS3.15 and in vendors' conformance statements: `(0019,xx0C) SIEMENS MR HEADER`.
"""

import re
from collections.abc import MutableSequence
from functools import lru_cache
from typing import Final

from pydicom.datadict import private_dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement

#: Longer values are protocols and pictures, not facts to route by; in bytes.
LONGEST_PRIVATE: Final = 64
#: Creators stand before it, in (gggg,0010-00FF) (PS3.5 7.8.1).
_FIRST_OF_BLOCKS: Final = 0x1000
_NAME: Final = re.compile(r"\(([0-9A-Fa-f]{3}[13579BDFbdf]),xx([0-9A-Fa-f]{2})\) (\S.*)")
_ANYWHERE: Final = re.compile(r"(?:^|\.)(\(.*)")


def split_path(path: str) -> list[str]:
    """Return the parts of a dotted path; a creator may have dots of its own."""
    found = _ANYWHERE.search(path)
    if found is None:
        return path.split(".")
    before = path[: found.start()]
    return [*(before.split(".") if before else []), found[1]]


def private_name(part: str) -> str:
    """Return a private attribute's name as facts have it, or nothing if the text is not one."""
    found = _NAME.fullmatch(part)
    return _name(int(found[1], 16), int(found[2], 16), found[3].strip()) if found else ""


def private_vr(name: str) -> str:
    """Return the value representation that is known of a private attribute, or nothing."""
    found = _NAME.fullmatch(name)
    return _entry(int(found[1], 16), int(found[2], 16), found[3])[1] if found else ""


@lru_cache(maxsize=4096)
def _entry(group: int, element: int, creator: str) -> tuple[str, str]:
    try:
        vr = private_dictionary_VR((group << 16) | 0x1000 | element, creator)
    except KeyError:
        vr = ""
    return _name(group, element, creator), vr


def _name(group: int, element: int, creator: str) -> str:
    return f"({group:04X},xx{element:02X}) {creator}"


class PrivateBlocks:
    """The private attributes of one data set or sequence item, which are shown to it in the order of their tags."""

    __slots__ = ("_creators",)

    def __init__(self) -> None:
        self._creators: dict[int, str] = {}  # group and block -> who has reserved it

    def named(self, tag: int, element: DataElement | RawDataElement) -> tuple[str, str] | None:
        """Return name and VR of a private attribute; None for creators, and for what nobody can name or read."""
        number = tag & 0xFFFF
        if number < _FIRST_OF_BLOCKS:
            self._creators[(tag >> 16 << 8) | number] = _text(element.value)
            return None
        creator = self._creators.get(tag >> 8)
        if not creator:
            return None
        name, known = _entry(tag >> 16, tag & 0xFF, creator)
        vr = element.VR if element.VR not in (None, "UN") else known
        # of a sequence it is not even looked how long it is: that would write all of it out
        return (name, vr) if vr and vr not in ("PN", "SQ") and _is_short(element) else None


def _text(value: object) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.strip(" \0")


def _is_short(element: DataElement | RawDataElement) -> bool:
    value = element.value
    if isinstance(value, str | bytes):
        return 0 < len(value) <= LONGEST_PRIVATE
    several = isinstance(value, MutableSequence | tuple)
    return (several or isinstance(value, int | float)) and len(str(value)) <= LONGEST_PRIVATE
