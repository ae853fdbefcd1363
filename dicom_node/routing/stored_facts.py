"""The facts of a study in few bytes, of which those that rules ask about are read back quickly.

Rules are tried on tens of thousands of studies at once: what all series have in common is written once, an attribute
with another value in every image is left out, as hardly any rule asks about it, and what is not asked is skipped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dicom_node.entities import FactValue, Header, SeriesFacts, StudyFacts
from dicom_node.routing.facts import STUDY_FACTS
from dicom_node.routing.judging import HAS_IMAGES
from dicom_node.routing.questions import wheres_of
from dicom_node.routing.rules import Rule

#: An attribute with more values in one series is left out.
MOST_VALUES: Final = 32

_Values = tuple[FactValue, ...]


def facts_to_bytes(facts: StudyFacts) -> bytes:
    """Return the facts of a study as JSON: `j` its journey, `c` common to all series, `s` each, `m` left out."""
    series = sorted(facts.series, key=lambda one: one.series_instance_uid)
    many = {key for one in series for key, values in one.values.items() if len(values) > MOST_VALUES}
    first = series[0].values if series else {}
    common = {
        key: values
        for key, values in first.items()
        if key not in many and all(one.values.get(key) == values for one in series)
    }
    written = {
        "j": {key: facts.values[key] for key in STUDY_FACTS if key in facts.values},
        "c": common,
        "s": [(one.series_instance_uid, _own(one.values, common, many)) for one in series],
        "m": sorted(many),
    }
    # not by msgspec: values are any text and any number that a sender may write
    return json.dumps(written, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def _own(values: Header, common: Mapping[str, _Values], many: set[str]) -> dict[str, _Values]:
    return {key: found for key, found in values.items() if key not in common and key not in many}


@dataclass(frozen=True, slots=True)
class AskedKeywords:
    """What rules ask of a study as a whole, and of its series."""

    study: tuple[str, ...]
    series: tuple[str, ...]


def asked_keywords(rules: Iterable[Rule]) -> AskedKeywords:
    """Return every keyword that rules ask about, rank by, or take a priority from."""
    study: dict[str, None] = {}
    series: dict[str, None] = {HAS_IMAGES: None}
    for rule in rules:
        study.update((where.keyword, None) for where in wheres_of(rule.when))
        if rule.priority_from is not None:
            study[rule.priority_from.keyword] = None
        for role in rule.inputs.values():
            series.update((where.keyword, None) for where in wheres_of(role.where))
            series.update((step.keyword, None) for step in role.rank)
    return AskedKeywords(tuple(study), tuple(series))


class FactsReader:
    """Reads back the facts that some rules ask about, and skips the rest."""

    def __init__(self, asked: AskedKeywords) -> None:
        self._keywords = tuple(dict.fromkeys((*asked.series, *asked.study)))
        self._of_study = [(self._keywords.index(keyword), keyword) for keyword in asked.study]
        self._fields = [f"f{number}" for number in range(len(self._keywords))]
        values: Any = msgspec.defstruct(
            "Values",
            [(field, _Values, ()) for field in self._fields],
            rename=dict(zip(self._fields, self._keywords, strict=True)),
            gc=False,
        )
        study: Any = msgspec.defstruct(
            "Study", [("j", values), ("c", values), ("s", list[tuple[str, values]]), ("m", list[str], [])], gc=False
        )
        self._decode = msgspec.json.Decoder(study).decode

    def read(self, study_instance_uid: str, written: bytes) -> StudyFacts | None:
        """Return what was asked for; None if some of it is to be had from the headers only."""
        try:
            study = self._decode(written)
        except msgspec.DecodeError:
            return None  # a number that no computer counts to
        if study.m and not set(self._keywords).isdisjoint(study.m):
            return None
        common = msgspec.structs.astuple(study.c)
        series = tuple([SeriesFacts(uid, self._header(msgspec.structs.astuple(own), common)) for uid, own in study.s])
        journey = msgspec.structs.astuple(study.j)
        values = {
            keyword: journey[place] or common[place] or _union(keyword, series) for place, keyword in self._of_study
        }
        return StudyFacts(study_instance_uid, values, series)

    def _header(self, own: Sequence[_Values], common: Sequence[_Values]) -> dict[str, _Values]:
        """Return the values of a series; empty ones stand for those that are missing."""
        return dict(zip(self._keywords, [one or other for one, other in zip(own, common, strict=True)], strict=True))


def _union(keyword: str, series: Sequence[SeriesFacts]) -> _Values:
    """Return the values of an attribute in a study: those of its series, one after the other, each once."""
    return tuple(dict.fromkeys([value for one in series for value in one.values[keyword]]))
