"""Which attributes a rule may ask about, and what their values are (PS3.6, the data dictionary)."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_dict, tag_for_keyword

from dicom_node.routing.codes import is_code_sequence
from dicom_node.routing.facts import SERIES_FACTS, STUDY_FACTS
from dicom_node.routing.headers import IS_NUMBER
from dicom_node.routing.private import private_name, private_vr, split_path

#: Attributes that identify a person: an answer says that a value is there, never which (besides all names, VR PN).
IDENTIFYING: Final = frozenset(
    {
        "AccessionNumber",
        "AdditionalPatientHistory",
        "MilitaryRank",
        "OtherPatientIDs",
        "PatientAddress",
        "PatientBirthDate",
        "PatientBirthTime",
        "PatientComments",
        "PatientID",
        "PatientInsurancePlanCodeSequence",
        "PatientTelephoneNumbers",
        "RegionOfResidence",
    }
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """What is known of a dotted keyword path.

    Parameters
    ----------
    number : bool or None
        True if its values are numbers; ages (VR AS) are numbers of years. None: nobody knows (private attributes).
    several : bool
        True if one image by itself may hold several texts: a value multiplicity above 1, or items of a sequence.
    private : bool
        True if its values identify a person and are not shown.
    study_only : bool
        True if it belongs to the study's journey and not to any series.
    vr : str
        Value representation (PS3.5 6.2); blank where there is none.
    code : bool
        True if its values are codes, written `SCT:69536005`.
    """

    number: bool | None
    several: bool = False
    private: bool = False
    study_only: bool = False
    vr: str = ""
    code: bool = False


class UnknownAttribute(ValueError):
    """A dotted path does not name an attribute that rules can compare; the text says what would be right.

    Attributes
    ----------
    keyword : str
        A keyword that nobody knows, for which `closest_keyword` may find what was meant; else blank.
    """

    def __init__(self, what: str, keyword: str = "") -> None:
        super().__init__(what)
        self.keyword = keyword


@cache
def attribute(path: str) -> Attribute:
    """Return what is known of a dotted keyword path.

    Raises
    ------
    UnknownAttribute
        If a keyword is unknown, the path leads through what is no sequence, or its values cannot be compared.
    """
    if path in SERIES_FACTS:
        return _of_fact(SERIES_FACTS[path])
    if path in STUDY_FACTS:
        return _of_fact(STUDY_FACTS[path], study_only=True)
    *sequences, keyword = split_path(path)
    for name in sequences:
        if _vr(name) != "SQ":
            raise UnknownAttribute(f"{name} is not a sequence, so nothing stands inside it; write {name} alone")
    if keyword.startswith("("):
        return _private(keyword, several=bool(sequences))
    vr = _vr(keyword)
    if vr == "SQ" and is_code_sequence(keyword):
        return Attribute(number=False, several=True, private=not IDENTIFYING.isdisjoint(sequences), code=True)
    if vr == "SQ":
        raise UnknownAttribute(f"{keyword} is a sequence; name an attribute inside it, as in '{path}.CodeValue'")
    if vr not in IS_NUMBER:
        raise UnknownAttribute(f"{keyword} holds binary data (VR {vr}), which rules cannot compare")
    number = IS_NUMBER[vr]
    several = bool(sequences) or (not number and dictionary_VM(keyword) != "1")
    private = vr == "PN" or not IDENTIFYING.isdisjoint((*sequences, keyword))
    return Attribute(number, several, private, vr=vr)


def normal_path(path: str) -> str:
    """Return a path as facts have it: the name of a private attribute in one spelling."""
    *sequences, last = split_path(path)
    return ".".join([*sequences, private_name(last) or last])


def _of_fact(vr: str, *, study_only: bool = False) -> Attribute:
    return Attribute(IS_NUMBER[vr], study_only=study_only, vr="" if IS_NUMBER[vr] else vr)


def _private(name: str, *, several: bool) -> Attribute:
    if not private_name(name):
        raise UnknownAttribute(f"{name!r} is no private attribute; write it as in '(0019,xx0C) SIEMENS MR HEADER'")
    vr = private_vr(private_name(name))
    if vr and vr not in IS_NUMBER:
        raise UnknownAttribute(f"{name} holds binary data (VR {vr}), which rules cannot compare")
    number = IS_NUMBER[vr] if vr else None
    return Attribute(number, several or not number, vr=vr)


def closest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to one that is not known, or nothing."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[found[0]]!r}?" if found else ""


def _vr(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise UnknownAttribute(f"unknown DICOM keyword {keyword!r}", keyword)
    return dictionary_VR(tag)


@lru_cache(maxsize=64)
def closest_keyword(keyword: str) -> str:
    """Return "; did you mean 'SeriesDescription'?", or nothing; takes a tenth of a second."""
    return closest(keyword, [*keyword_dict, *SERIES_FACTS, *STUDY_FACTS])
