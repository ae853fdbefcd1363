"""Rules and facts -> what every rule does, with every answer, in few bytes: what the ledger keeps of a routed study.

The answers themselves are kept, so that nothing is ever decided again in order to be told. Many rules ask the same of
the same series: a record holds each answer once, and `told_verdicts` gives them back rule by rule, in words.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dicom_node import __version__
from dicom_node.entities import Header, SeriesFacts, StudyFacts
from dicom_node.routing.answers import shown_seen
from dicom_node.routing.asking import Asked, NumberedSet, Questionnaire
from dicom_node.routing.deciding import Decision, settled
from dicom_node.routing.explain import words_of
from dicom_node.routing.judging import HAS_IMAGES
from dicom_node.routing.ranking import assigned, choice, ranked
from dicom_node.routing.rules import RankBy, RuleSet
from dicom_node.routing.verdicts import priority_of


@dataclass(frozen=True, slots=True)
class Record:
    """What the rules answered about one study.

    Parameters
    ----------
    matching : tuple of Decision
        The rules that match, in their order.
    answers : mapping
        Everything that `told_verdicts` reads, as plain JSON values.
    """

    matching: tuple[Decision, ...]
    answers: Mapping[str, Any]

    def text(self, late_images: Mapping[str, str]) -> str:
        """Return what the ledger keeps; `late_images` says why a rule that fires makes no job of late images."""
        written = {**self.answers, "late_images": late_images}
        text = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace").decode()  # values are any text that a sender may write


class _Role(NamedTuple):
    """What one role asks; `ranked_by` is its ranking as a text, as many rules have the same."""

    name: str
    where: NumberedSet
    rank: tuple[RankBy, ...]
    ranked_by: str


#: For each role of a rule its name, its ranking, and the series that fit, as bits.
_Fitting = tuple[tuple[str, str, int], ...]


class _Cast(NamedTuple):
    """Which series fill the roles of a rule; `told` says for each role which one, and why."""

    chosen: Mapping[str, SeriesFacts]
    told: list[tuple[str | None, str]]


class Recorder:
    """Asks some rules about one study after the other, and keeps every answer."""

    def __init__(self, rules: RuleSet) -> None:
        asked = [rule for rule in rules.rules if rule.enabled]
        self._study = Questionnaire([rule.when for rule in asked], of_study=True)
        self._series = Questionnaire([role.where for rule in asked for role in rule.inputs.values()], of_study=False)
        wheres = iter(self._series.sets)
        self._rules = [
            (
                rule,
                when,
                [_Role(name, next(wheres), role.rank, repr(role.rank)) for name, role in rule.inputs.items()],
            )
            for rule, when in zip(asked, self._study.sets, strict=True)
        ]
        self._questions = self._packed_questions(rules)

    def record(self, facts: StudyFacts) -> Record:
        """Return what every rule answers about a study."""
        every = sorted(facts.series, key=lambda one: one.series_instance_uid)
        series = [(one, self._series.ask_all(one.values)) for one in every if one.values.get(HAS_IMAGES)]
        study = self._study.ask_all(facts.values)
        casts: dict[_Fitting, _Cast] = {}
        matching: list[Decision] = []
        inputs: dict[str, list[tuple[str | None, str]]] = {}
        for rule, when, roles in self._rules:
            cast = _cast(roles, series, casts)
            if any(uid for uid, _ in cast.told):
                inputs[rule.name] = cast.told
            if len(cast.chosen) == len(roles) and study.holds(when):
                matching.append(Decision(rule, cast.chosen, priority_of(rule, facts)))
        decisions = settled(matching)
        asked = {one.series_instance_uid: _kept(self._series, answers, one.values) for one, answers in series}
        answers = {
            "software": __version__,
            "questions": self._questions,
            "study": _kept(self._study, study, facts.values),
            "series": {one.series_instance_uid: asked.get(one.series_instance_uid) for one in every},
            "inputs": inputs,
            "matching": {one.rule.name: one.hindered for one in decisions},
            "priorities": {rule.name: priority_of(rule, facts) for rule, _, _ in self._rules if rule.priority_from},
        }
        return Record(decisions, answers)

    def _packed_questions(self, rules: RuleSet) -> str:
        """Return what is the same for every study: the questions, and what is said of each rule."""
        asked = {
            rule.name: {"when": when.numbers, "inputs": {role.name: role.where.numbers for role in roles}}
            for rule, when, roles in self._rules
        }
        questions = {
            "study": _numbered(self._study),
            "series": _numbered(self._series),
            "rules": [{"words": words_of(rule), **asked.get(rule.name, {})} for rule in rules.rules],
        }
        written = json.dumps(questions, ensure_ascii=False, separators=(",", ":")).encode()
        return base64.b64encode(zlib.compress(written, 9)).decode()


def unpacked_questions(packed: str) -> dict[str, Any]:
    """Return what `Recorder` packed."""
    read: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return read


def _numbered(questions: Questionnaire) -> dict[str, Any]:
    return {
        "conditions": [(where.keyword, where.wanted) for where in questions.wheres],
        "groups": [(group.kind, group.branches) for group in questions.groups],
    }


def _kept(questions: Questionnaire, answers: Asked, values: Header) -> dict[str, Any]:
    """Return the numbers that were answered yes and no, as bits in hexadecimal, and the values seen."""
    seen = {key: shown_seen(about, values[key]) for key, about in questions.attributes.items() if values.get(key)}
    return {"yes": f"{answers.yes:x}", "no": f"{answers.no:x}", "seen": seen}


def _cast(roles: Sequence[_Role], series: Sequence[tuple[SeriesFacts, Asked]], known: dict[_Fitting, _Cast]) -> _Cast:
    """Return which series fill the roles of a rule; asked once for rules whose roles the same series fit."""
    fitting = tuple([(role.name, role.ranked_by, _fitting(role.where, series)) for role in roles])
    if fitting not in known:
        best_first = {
            role.name: ranked([one for place, (one, _) in enumerate(series) if fits >> place & 1], role.rank)
            for role, (_, _, fits) in zip(roles, fitting, strict=True)
        }
        chosen = assigned(best_first)
        told = [
            (
                chosen[role.name].series_instance_uid if role.name in chosen else None,
                choice(best_first[role.name], chosen.get(role.name), role.rank),
            )
            for role in roles
        ]
        known[fitting] = _Cast(chosen, told)
    return known[fitting]


def _fitting(where: NumberedSet, series: Sequence[tuple[SeriesFacts, Asked]]) -> int:
    fits = 0
    for place, (_, asked) in enumerate(series):
        if asked.holds(where):
            fits |= 1 << place
    return fits
