"""DICOM JSON (PS3.18 Annex F) as a server sends it: what does not follow it has no value, and breaks nothing."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.datadict import tag_for_keyword

#: A data set: tag as eight hexadecimal digits to {"vr": ..., "Value": [...]}.
DataSet = Mapping[str, Any]


class NotDicomJson(ValueError):
    """A text is no list of data sets."""


def data_sets(body: bytes) -> list[DataSet]:
    """Return the data sets of a list; raises NotDicomJson."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotDicomJson from error
    if not isinstance(told, list) or not all(isinstance(each, Mapping) for each in told):
        raise NotDicomJson
    return told


def values(data_set: DataSet, tag: str) -> list[Any]:
    """Return the values of an attribute (PS3.18 F.2.2); none if it has none."""
    element = data_set.get(tag)
    found = element.get("Value") if isinstance(element, Mapping) else None
    return found if isinstance(found, list) else []


def tag_text(keyword: str) -> str:
    """Return the tag of a keyword as DICOM JSON names it; a keyword that nobody knows as it is."""
    tag = tag_for_keyword(keyword)
    return keyword if tag is None else f"{tag:08X}"


def texts(data_set: DataSet, keyword: str) -> Iterator[str]:
    """Yield the values of an attribute as text; of a person name the alphabetic representation (PS3.18 F.2.2)."""
    for value in values(data_set, tag_text(keyword)):
        plain = value.get("Alphabetic") if isinstance(value, Mapping) else value
        yield str(plain).strip() if isinstance(plain, str | int | float) else ""


def first_text(data_set: DataSet, keyword: str) -> str:
    """Return the first value of an attribute as text; empty if there is none."""
    return next(texts(data_set, keyword), "")
