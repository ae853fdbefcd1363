"""Attribute values as they were read, without converting what is not needed."""

import math
from collections.abc import Sequence
from typing import Final

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag, Tag

#: Value representations whose bytes are not text (PS3.5 6.2); with an implicit VR only text attributes are asked for.
_BINARY: Final = ("FD", "FL", "US", "UL", "SS", "SL")


def tag_of(keyword: str) -> BaseTag:
    """Return the tag of a keyword; raises ValueError for a word that PS3.6 does not know."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is not a keyword of PS3.6")
    return Tag(tag)


def text(dataset: Dataset, tag: BaseTag) -> str:
    r"""Return a value as text, several values separated by a backslash; empty if absent.

    Values are taken as they were read: converting each to pydicom's types would cost most of the time of loading a
    series, and would warn about decimal strings over 16 characters (PS3.5 6.2) that scanners write all the same.
    """
    if tag not in dataset:
        return ""
    element: DataElement | RawDataElement = dataset.get_item(tag)
    if isinstance(element, RawDataElement) and element.VR not in _BINARY:
        return (element.value or b"").decode("ascii", "replace").strip(" \0")
    value = dataset[tag].value
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return "" if value is None else str(value)
    return "\\".join(map(str, value))


def numbers(dataset: Dataset, tag: BaseTag) -> tuple[float, ...]:
    """Return a value as numbers; none if it is absent or no number."""
    found = text(dataset, tag)
    try:
        return tuple(map(float, found.split("\\"))) if found else ()
    except ValueError:
        return ()


def number(dataset: Dataset, tag: BaseTag, default: float) -> float:
    """Return the first number of a value, or the default if there is no finite one."""
    values = numbers(dataset, tag)
    return values[0] if values and math.isfinite(values[0]) else default
