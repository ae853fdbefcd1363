"""Codes (PS3.3 8.8): the value of a code sequence is what each of its items says, written `SCT:69536005`."""

from collections.abc import Iterator
from functools import cache
from typing import Final

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.sr.coding import snomed_mapping  # type: ignore[attr-defined]  # public by name, not by __all__

#: Sequences of codes whose keyword does not say so.
_OTHERS: Final = frozenset(
    {
        "AnatomicRegionModifierSequence",
        "AnatomicRegionSequence",
        "ContrastBolusAdministrationRouteSequence",
        "ContrastBolusAgentSequence",
        "PrimaryAnatomicStructureModifierSequence",
        "PrimaryAnatomicStructureSequence",
    }
)
_VALUES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")


@cache
def is_code_sequence(keyword: str) -> bool:
    """Return whether the items of a sequence are codes."""
    tag = keyword_dict.get(keyword)
    return tag is not None and dictionary_VR(tag) == "SQ" and (keyword.endswith("CodeSequence") or keyword in _OTHERS)


def code_text(scheme: str, value: str) -> str:
    """Return a code as facts have it; a SNOMED RT code becomes its SNOMED CT concept, as PS3.16 8.1.1 has it."""
    scheme, value = scheme.strip(), value.strip()
    if scheme in ("SRT", "SNM3", "99SDM"):
        concept = snomed_mapping["SRT"].get(value)
        return f"SCT:{concept}" if concept else f"{scheme}:{value}"
    return f"{scheme}:{value}"


def codes_of(items: Iterator[Dataset]) -> Iterator[str]:
    """Yield the codes of a sequence's items."""
    for item in items:
        scheme = item.get("CodingSchemeDesignator")
        value = next((str(item.get(name)) for name in _VALUES if item.get(name)), "")
        if scheme and value:
            yield code_text(str(scheme), value)
        elif value:
            yield value  # a URN says by itself who coined it


def written_code(text: str) -> str:
    """Return a wanted code as facts have it, or nothing if it is not written as one."""
    scheme, colon, value = text.partition(":")
    return code_text(scheme, value) if colon and scheme.strip() and value.strip() else ""
