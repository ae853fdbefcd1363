"""What a value representation can hold (PS3.5 6.2): a rule that asks for anything else would never match."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from dicom_node.entities import FactValue
from dicom_node.routing.moments import READERS

#: Characters that a text may have at most; where several values are allowed, each.
_LONGEST: Final[Mapping[str, int]] = {"AE": 16, "CS": 16, "SH": 16, "LO": 64, "UI": 64, "ST": 1024}
_WHOLE: Final[Mapping[str, tuple[int, int]]] = {
    "IS": (-(2**31), 2**31 - 1),
    "SL": (-(2**31), 2**31 - 1),
    "SS": (-(2**15), 2**15 - 1),
    "SV": (-(2**63), 2**63 - 1),
    "UL": (0, 2**32 - 1),
    "US": (0, 2**16 - 1),
    "UV": (0, 2**64 - 1),
    "US or SS": (-(2**15), 2**16 - 1),
}
_CODE_STRING: Final = re.compile(r"[A-Z0-9_ ]*")
_UID: Final = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_ELSE: Final = "; if a device writes it all the same, ask with { matches = ... }"


def vr_fault(vr: str, value: FactValue) -> str:
    """Return why a VR cannot hold a value, to be read after the value, or nothing."""
    if not isinstance(value, str):
        return _number_fault(vr, value)
    if len(value.strip()) > _LONGEST.get(vr, len(value)):
        return f"can never match: VR {vr} holds at most {_LONGEST[vr]} characters{_ELSE}"
    if vr in READERS and READERS[vr][0](value) is None:
        return f"can never match: VR {vr} holds such as {READERS[vr][1]!r}"
    return _TEXTS[vr](value) if vr in _TEXTS else ""


def _number_fault(vr: str, value: float) -> str:
    if vr not in _WHOLE:
        return ""
    least, most = _WHOLE[vr]
    if value == int(value) and least <= value <= most:
        return ""
    return f"can never match: VR {vr} holds whole numbers from {least} to {most}"


def _code_string(value: str) -> str:
    if _CODE_STRING.fullmatch(value.upper()):
        return ""
    return f"can never match: VR CS holds letters from A to Z, digits, spaces and underscores{_ELSE}"


def _uid(value: str) -> str:
    return "" if _UID.fullmatch(value.strip()) else "can never match: a UID is such as '1.2.840.10008.5.1.4.1.1.4'"


_TEXTS: Final[Mapping[str, Callable[[str], str]]] = {"CS": _code_string, "UI": _uid}
