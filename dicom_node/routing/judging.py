"""The questions of a rule, asked of one study: every answer is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dicom_node.entities import FactValue, Header, SeriesFacts, StudyFacts
from dicom_node.routing.answers import Answer, Found, grouped, shown_seen
from dicom_node.routing.conditions import Outcome, judge
from dicom_node.routing.questions import Question, Where
from dicom_node.routing.ranking import assigned, choice, ranked
from dicom_node.routing.rules import RoleRule

#: What every role asks first: only images have rows (PS3.3 C.7.6.3); reports are not asked any further.
HAS_IMAGES: Final = "Rows"
NO_IMAGES: Final = Answer(HAS_IMAGES, "images", "", Outcome.MISSING)


@dataclass(frozen=True, slots=True)
class SeriesAnswers:
    """What the conditions of one role found in one series; `fits`, if every one holds."""

    series_instance_uid: str
    answers: tuple[Found, ...]
    fits: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Look once whether every condition holds: it is asked for again and again."""
        for answer in self.answers:
            if answer.outcome is not Outcome.YES:
                object.__setattr__(self, "fits", False)
                return
        object.__setattr__(self, "fits", True)


@dataclass(frozen=True, slots=True)
class RoleAnswers:
    """Which series fills one role, and why; `chosen` is None if none does."""

    role: str
    series: tuple[SeriesAnswers, ...]
    chosen: SeriesFacts | None
    reason: str

    @property
    def nearest(self) -> SeriesAnswers | None:
        """The images that come nearest to what is wanted, by their answers that are yes; None if some series fits."""
        if not self.series or any(one.fits for one in self.series):
            return None
        return max(self.series, key=_nearness)

    def answers_of(self, series_instance_uid: str) -> tuple[Found, ...]:
        """Return what the conditions found in one series."""
        found = (one.answers for one in self.series if one.series_instance_uid == series_instance_uid)
        return next(found, ())


def _nearness(series: SeriesAnswers) -> tuple[bool, int]:
    outcomes = [answer.outcome for answer in series.answers]
    return series.answers != (NO_IMAGES,), outcomes.count(Outcome.YES)


def with_images(facts: StudyFacts) -> list[SeriesFacts]:
    """Return the series that roles are asked about, in order of Series Instance UID."""
    found = [one for one in facts.series if one.values.get(HAS_IMAGES)]
    return sorted(found, key=lambda one: one.series_instance_uid)


class Judge:
    """Asks about one study; remembers how each value was shown."""

    def __init__(self, facts: StudyFacts) -> None:
        self._facts = facts
        self._series = sorted(facts.series, key=lambda one: one.series_instance_uid)
        self._shown: dict[tuple[str, str], str] = {}
        # series -> what its questions found, by identity: equal conditions of rules read together are one object
        self._known: dict[str, dict[int, Found]] = {"": {}, **{one.series_instance_uid: {} for one in self._series}}

    def study(self, questions: Sequence[Question]) -> tuple[Found, ...]:
        """Return what questions about the study found."""
        return self._found(questions, "", self._facts.values, of_study=True)

    def roles(self, inputs: Mapping[str, RoleRule]) -> tuple[RoleAnswers, ...]:
        """Return which series fills each role."""
        answers = {role: self._candidates(wanted) for role, wanted in inputs.items()}
        best_first = {role: ranked(self._fitting(answers[role]), wanted.rank) for role, wanted in inputs.items()}
        chosen = assigned(best_first)
        reasons = {role: choice(best_first[role], chosen.get(role), wanted.rank) for role, wanted in inputs.items()}
        return tuple(RoleAnswers(role, answers[role], chosen.get(role), reasons[role]) for role in inputs)

    def _candidates(self, wanted: RoleRule) -> tuple[SeriesAnswers, ...]:
        return tuple(
            SeriesAnswers(series.series_instance_uid, self._series_answers(series, wanted)) for series in self._series
        )

    def _series_answers(self, series: SeriesFacts, wanted: RoleRule) -> tuple[Found, ...]:
        if not series.values.get(HAS_IMAGES):
            return (NO_IMAGES,)
        return self._found(wanted.where, series.series_instance_uid, series.values, of_study=False)

    def _fitting(self, candidates: Sequence[SeriesAnswers]) -> list[SeriesFacts]:
        return [series for series, one in zip(self._series, candidates, strict=True) if one.fits]

    def _found(self, questions: Sequence[Question], of: str, values: Header, *, of_study: bool) -> tuple[Found, ...]:
        known = self._known[of]
        return tuple([known.get(id(each)) or self._ask(each, of, values, of_study=of_study) for each in questions])

    def _ask(self, question: Question, of: str, values: Header, *, of_study: bool) -> Found:
        found = self._known[of][id(question)] = (
            self._answer(question, of, values, of_study=of_study)
            if isinstance(question, Where)
            else grouped(
                question.kind,
                tuple(self._found(branch, of, values, of_study=of_study) for branch in question.branches),
            )
        )
        return found

    def _answer(self, where: Where, of: str, values: Header, *, of_study: bool) -> Answer:
        seen = values.get(where.keyword, ())
        every = not (of_study or where.attribute.several)
        outcome = judge(where.condition, seen, every=every)
        return Answer(where.keyword, where.wanted, self._show(of, where, seen), outcome)

    def _show(self, of: str, where: Where, seen: tuple[FactValue, ...]) -> str:
        shown = self._shown.get((of, where.keyword))
        if shown is None:
            shown = self._shown[of, where.keyword] = shown_seen(where.attribute, seen)
        return shown
