"""What the ledger keeps of a routed study -> one verdict per rule, as `verdict_to_json` gives them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dicom_node.entities import SeriesFacts
from dicom_node.routing.answers import Answer, Found, GroupAnswer
from dicom_node.routing.conditions import Outcome
from dicom_node.routing.explain import Teller, Told
from dicom_node.routing.judging import NO_IMAGES, RoleAnswers, SeriesAnswers
from dicom_node.routing.questions import GroupKind
from dicom_node.routing.ranking import choice
from dicom_node.routing.recording import unpacked_questions
from dicom_node.routing.verdicts import SWITCHED_OFF, reason_hindered, reason_of

#: What a role says that no series fits.
_NONE_FITS: Final = (None, choice([], None, ()))


def told_verdicts(record: str) -> tuple[dict[str, Any], ...]:
    """Return what each rule answered about a study, from what the ledger keeps of it."""
    read = json.loads(record)
    if isinstance(read, list):  # as written before there were records: every verdict in full
        return tuple(read)
    questions = unpacked_questions(read["questions"])
    study = _Subject(questions["study"], read["study"])
    series = {uid: _Subject(questions["series"], kept) if kept else None for uid, kept in read["series"].items()}
    teller, told = Teller(), []
    for rule in questions["rules"]:
        verdict = teller.json(_told(rule, read, study, series))
        late = read["late_images"].get(verdict["rule"])
        told.append(verdict | ({"late_images_reason": late} if late else {}))
    return tuple(told)


class _Subject:
    """A study or series, and what it answered; each answer is made once."""

    def __init__(self, questions: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        self._conditions = questions["conditions"]
        self._groups = questions["groups"]
        self._yes, self._no = int(kept["yes"], 16), int(kept["no"], 16)
        self._seen = kept["seen"]
        self._found: dict[int, Found] = {}

    def found(self, numbers: Sequence[int]) -> tuple[Found, ...]:
        """Return the answers of numbers."""
        return tuple([self._found.get(number) or self._answer(number) for number in numbers])

    def _answer(self, number: int) -> Found:
        place = number - len(self._conditions)
        if place < 0:
            keyword, wanted = self._conditions[number]
            found: Found = Answer(keyword, wanted, self._seen.get(keyword, ""), self._outcome(number))
        else:
            kind, branches = self._groups[place]
            found = GroupAnswer(GroupKind(kind), tuple(map(self.found, branches)), self._outcome(number))
        self._found[number] = found
        return found

    def _outcome(self, number: int) -> Outcome:
        if self._yes >> number & 1:
            return Outcome.YES
        return Outcome.NO if self._no >> number & 1 else Outcome.MISSING


def _told(
    rule: Mapping[str, Any], read: Mapping[str, Any], study: _Subject, series: Mapping[str, _Subject | None]
) -> Told:
    words = rule["words"]
    name = words["rule"]
    if "when" not in rule:
        return Told(words, fires=False, matched=False, reason=SWITCHED_OFF, priority=words["priority"])
    kept = read["inputs"].get(name, [_NONE_FITS] * len(rule["inputs"]))
    answers = study.found(rule["when"])
    roles = tuple(
        RoleAnswers(role, _candidates(numbers, series), None if uid is None else SeriesFacts(uid, {}), reason)
        for (role, numbers), (uid, reason) in zip(rule["inputs"].items(), kept, strict=True)
    )
    hindered = read["matching"].get(name)
    matched = hindered is not None
    reason = reason_of(words["do_not_run"], answers, roles, matched=matched)
    reason = reason_hindered(hindered) if hindered else reason
    fires = matched and not hindered and not words["do_not_run"]
    return Told(words, fires, matched, reason, read["priorities"].get(name, words["priority"]), answers, roles)


def _candidates(numbers: Sequence[int], series: Mapping[str, _Subject | None]) -> tuple[SeriesAnswers, ...]:
    return tuple(
        SeriesAnswers(uid, (NO_IMAGES,) if one is None else one.found(numbers)) for uid, one in series.items()
    )
