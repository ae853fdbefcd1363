"""Rules and facts -> one verdict per rule, which keeps every answer: value seen, value wanted, yes, no or missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dicom_node.entities import FactValue, Header, SeriesFacts, StudyFacts
from dicom_node.routing.attributes import attribute
from dicom_node.routing.conditions import Outcome, judge
from dicom_node.routing.rules import RankBy, RoleRule, Rule, RuleSet, Where

#: Values shown in an answer; a series may hold thousands.
_MOST_SHOWN: Final = 6
_LONGEST_SHOWN: Final = 80
#: What every role asks first: only images have rows (PS3.3 C.7.6.3); reports are not asked any further.
_HAS_IMAGES: Final = "Rows"


class Answer(NamedTuple):
    """What one condition found; a tuple, as a study may get thousands of them.

    Attributes
    ----------
    keyword : str
        The dotted path that was asked about.
    wanted, seen : str
        In words; `seen` is blank if there is no value, and never shows what identifies a person.
    """

    keyword: str
    wanted: str
    seen: str
    outcome: Outcome

    @property
    def sentence(self) -> str:
        """Return "yes: Modality is 'MR', wanted 'MR'"."""
        seen = f"{self.keyword} is {self.seen}" if self.seen else f"{self.keyword} is missing"
        return f"{self.outcome}: {seen}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class SeriesAnswers:
    """What the conditions of one role found in one series."""

    series_instance_uid: str
    answers: tuple[Answer, ...]

    @property
    def fits(self) -> bool:
        """True if every condition holds."""
        return _all_yes(self.answers)


@dataclass(frozen=True, slots=True)
class RoleAnswers:
    """Which series fills one role, and why; `chosen` is None if none does."""

    role: str
    series: tuple[SeriesAnswers, ...]
    chosen: SeriesFacts | None
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule makes of one study.

    Parameters
    ----------
    fires : bool
        True if a job is to be made.
    reason : str
        One sentence; of attributes it shows only numbers and texts that a ranking compared, so any log may hold it.
    """

    rule: Rule
    fires: bool
    reason: str
    study: tuple[Answer, ...] = ()
    roles: tuple[RoleAnswers, ...] = ()

    @property
    def inputs(self) -> Mapping[str, SeriesFacts]:
        """The series that fills each role; empty unless every role is filled."""
        chosen = {role.role: role.chosen for role in self.roles if role.chosen is not None}
        return chosen if len(chosen) == len(self.roles) else {}


def route(facts: StudyFacts, rules: RuleSet) -> tuple[Verdict, ...]:
    """Return one verdict per rule, in the order of the rules; every rule that matches fires.

    Which came first - of instances, series or rules - changes no verdict, except that the roles of a rule are
    filled in the order in which they are written.
    """
    judge_of = _Judge(facts)
    verdicts = [judge_of.verdict(rule) for rule in rules.rules]
    fired = [verdict.rule.name for verdict in verdicts if verdict.fires and not verdict.rule.fallback]
    return tuple(_as_fallback(verdict, fired) if verdict.rule.fallback else verdict for verdict in verdicts)


def _as_fallback(verdict: Verdict, fired: Sequence[str]) -> Verdict:
    if not verdict.fires or not fired:
        return verdict
    reason = f"does not fire: it is a fallback, and {_listed(fired)} fired"
    return Verdict(verdict.rule, fires=False, reason=reason, study=verdict.study, roles=verdict.roles)


class _Judge:
    """Judges rules on one study; remembers how each value was shown."""

    def __init__(self, facts: StudyFacts) -> None:
        self._facts = facts
        self._series = sorted(facts.series, key=lambda one: one.series_instance_uid)
        self._shown: dict[tuple[str, str], str] = {}

    def verdict(self, rule: Rule) -> Verdict:
        if not rule.enabled:
            return Verdict(rule, fires=False, reason="does not fire: the rule is switched off (enabled = false)")
        study = tuple(self._answer(where, "", self._facts.values, of_study=True) for where in rule.when)
        roles = self._roles(rule.inputs)
        fires = _all_yes(study) and all(role.chosen is not None for role in roles)
        return Verdict(rule, fires, _reason(study, roles, fires=fires), study, roles)

    def _roles(self, inputs: Mapping[str, RoleRule]) -> tuple[RoleAnswers, ...]:
        answers = {role: self._candidates(wanted) for role, wanted in inputs.items()}
        ranked = {role: _ranked(self._fitting(answers[role]), wanted.rank) for role, wanted in inputs.items()}
        chosen = _assigned(ranked)
        return tuple(
            RoleAnswers(role, answers[role], chosen.get(role), _choice(ranked[role], chosen.get(role), wanted.rank))
            for role, wanted in inputs.items()
        )

    def _candidates(self, wanted: RoleRule) -> tuple[SeriesAnswers, ...]:
        return tuple(
            SeriesAnswers(series.series_instance_uid, self._series_answers(series, wanted)) for series in self._series
        )

    def _series_answers(self, series: SeriesFacts, wanted: RoleRule) -> tuple[Answer, ...]:
        uid, values = series.series_instance_uid, series.values
        if _HAS_IMAGES not in values:
            return (Answer(_HAS_IMAGES, "images", "", Outcome.MISSING),)
        return tuple([self._answer(where, uid, values) for where in wanted.where])

    def _fitting(self, candidates: Sequence[SeriesAnswers]) -> list[SeriesFacts]:
        return [series for series, one in zip(self._series, candidates, strict=True) if one.fits]

    def _answer(self, where: Where, of: str, values: Header, *, of_study: bool = False) -> Answer:
        seen = values.get(where.keyword, ())
        every = not (of_study or where.attribute.several)
        return Answer(
            where.keyword, where.wanted, self._show(of, where, seen), judge(where.condition, seen, every=every)
        )

    def _show(self, of: str, where: Where, seen: tuple[FactValue, ...]) -> str:
        if not seen:
            return ""
        if where.attribute.private:
            return "present (not shown)"
        shown = self._shown.get((of, where.keyword))
        if shown is None:
            shown = self._shown[of, where.keyword] = shown_values(seen)
        return shown


def shown_values(values: Sequence[FactValue]) -> str:
    """Return the first few values, in an order that arrival does not change."""
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    shown = ", ".join(map(_shown, ordered[:_MOST_SHOWN]))
    more = len(values) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _shown(value: FactValue) -> str:
    if not isinstance(value, str):
        return f"{value:.10g}"
    return f"'{value}'" if len(value) <= _LONGEST_SHOWN else f"'{value[:_LONGEST_SHOWN]}...'"


def _all_yes(answers: Sequence[Answer]) -> bool:
    return all(answer.outcome is Outcome.YES for answer in answers)


def _ranked(series: Sequence[SeriesFacts], rank: Sequence[RankBy]) -> list[SeriesFacts]:
    """Return the series best first; equals stay in order of Series Instance UID."""
    ranked = list(series)
    for step in reversed(rank):
        known = [one for one in ranked if _rank_value(one, step) is not None]
        missing = [one for one in ranked if _rank_value(one, step) is None]
        known.sort(key=lambda one: _rank_value(one, step) or (), reverse=step.descending)
        ranked = known + missing
    return ranked


def _rank_value(series: SeriesFacts, step: RankBy) -> tuple[bool, FactValue] | None:
    """Return the value a series is ranked by, its best if it has several; numbers come before texts."""
    values = [(isinstance(value, str), value) for value in series.values.get(step.keyword, ())]
    return (max if step.descending else min)(values) if values else None


def _assigned(ranked: Mapping[str, Sequence[SeriesFacts]]) -> Mapping[str, SeriesFacts]:
    """Return a series for each role, the best for the first role, and so on; no series fills two roles.

    If not every role can be filled, each gets its best, so that the verdict can say which is the one that lacks.
    """
    count = len(ranked)
    shortened = {role: series[:count] for role, series in ranked.items()}  # the others can take only count - 1
    full = next(_assignments(list(shortened), shortened, {}), None)
    if full is not None:
        return full
    partial: dict[str, SeriesFacts] = {}
    for role, series in shortened.items():
        free = [one for one in series if all(one is not taken for taken in partial.values())]
        if free:
            partial[role] = free[0]
    return partial


def _assignments(
    roles: Sequence[str], ranked: Mapping[str, Sequence[SeriesFacts]], taken: Mapping[str, SeriesFacts]
) -> Iterator[Mapping[str, SeriesFacts]]:
    if not roles:
        yield taken
        return
    for series in ranked[roles[0]]:
        if all(series is not other for other in taken.values()):
            yield from _assignments(roles[1:], ranked, {**taken, roles[0]: series})


def _choice(ranked: Sequence[SeriesFacts], chosen: SeriesFacts | None, rank: Sequence[RankBy]) -> str:
    if chosen is None:
        return "every series that fits fills another input" if ranked else "no series fits"
    uid = chosen.series_instance_uid
    if len(ranked) == 1:
        return f"series {uid}, the only one that fits"
    fitting = f"series {uid}, of {len(ranked)} that fit"
    if ranked[0] is not chosen:
        return f"{fitting}: the best one that no other input takes"
    return f"{fitting}: {_decided_by(chosen, ranked[1], rank)}"


def _decided_by(best: SeriesFacts, second: SeriesFacts, rank: Sequence[RankBy]) -> str:
    """Return the first step of the ranking that sets the best apart from the next."""
    for step in rank:
        ours, theirs = _rank_value(best, step), _rank_value(second, step)
        if ours != theirs:
            words = "larger" if step.descending else "smaller"
            return f"{words} {step.keyword}, {_ranked_by(ours, step)} against {_ranked_by(theirs, step)}"
    return "equal in all that the ranking asks, so the first by Series Instance UID"


def _ranked_by(value: tuple[bool, FactValue] | None, step: RankBy) -> str:
    if value is None:
        return "missing"
    return "a value not shown" if attribute(step.keyword).private else _shown(value[1])


def _reason(study: Sequence[Answer], roles: Sequence[RoleAnswers], *, fires: bool) -> str:
    if fires:
        chosen = "; ".join(f"{role.role}: {role.reason}" for role in roles)
        return f"fires: {chosen}" if chosen else "fires"
    failed = [
        f"{answer.keyword} of the study ({_failure(answer)})" for answer in study if answer.outcome != Outcome.YES
    ]
    failed += [f"input {role.role}: {role.reason}{_nearest(role)}" for role in roles if role.chosen is None]
    return f"does not fire: {'; '.join(failed)}"


def _failure(answer: Answer) -> str:
    return "missing" if answer.outcome is Outcome.MISSING else "not what is wanted"


def _nearest(role: RoleAnswers) -> str:
    """Return what keeps the nearest series from filling a role."""
    unfit = [one for one in role.series if not one.fits]
    if not unfit or len(unfit) < len(role.series):
        return ""
    nearest = max(unfit, key=lambda one: sum(answer.outcome is Outcome.YES for answer in one.answers))
    lacks = [f"{one.keyword} ({_failure(one)})" for one in nearest.answers if one.outcome is not Outcome.YES]
    return f"; nearest is series {nearest.series_instance_uid}, which fails in {', '.join(lacks)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
