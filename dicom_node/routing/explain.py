"""A verdict in sentences and as JSON: page, log and command line show the same words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_node.routing.answers import Answer, Found
from dicom_node.routing.judging import RoleAnswers
from dicom_node.routing.rules import Priority, Rule
from dicom_node.routing.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one rule and one study: also of a rule that is long gone.

    Parameters
    ----------
    words : mapping
        What is told of the rule whatever the study, by `words_of`.
    """

    words: Mapping[str, Any]
    fires: bool
    matched: bool
    reason: str
    priority: str
    study: tuple[Found, ...] = ()
    roles: tuple[RoleAnswers, ...] = ()


def explain_lines(verdict: Verdict) -> tuple[str, ...]:
    """Return a verdict as plain sentences, one a line, indented below the rule that they belong to."""
    return tuple(Teller().lines(_told(verdict)))


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain JSON values; its `lines` are those of `explain_lines`."""
    return Teller().json(_told(verdict))


def _told(verdict: Verdict) -> Told:
    words = words_of(verdict.rule)
    return Told(
        words,
        verdict.fires,
        verdict.matched,
        verdict.reason,
        verdict.priority.value,
        verdict.study,
        verdict.roles,
    )


def words_of(rule: Rule) -> dict[str, Any]:
    """Return what is told of a rule whatever the study, as plain JSON values."""
    seconds = rule.priors.time_limit_seconds if rule.priors else 0
    return {
        "rule": rule.name,
        "do_not_run": rule.do_not_run,
        "pipeline": rule.pipeline,
        "settings": dict(rule.settings),
        "destinations": list(rule.destinations),
        "priority": rule.priority.value if rule.enabled else Priority.ROUTINE.value,
        "late_images": rule.late_images.value,
        "fallback": rule.fallback,
        "priors": str(rule.priors) if rule.priors else "",
        "waits": f"Priors: {rule.priors}; the job waits for them up to {seconds:g} s" if rule.priors else "",
        "dry_run": rule.dry_run,
        "profiles": dict(rule.profiles),
        "schedule": [str(window) for window in rule.schedule],
    }


class Teller:
    """Tells verdicts on one study; the words of an answer that many rules got are made once."""

    def __init__(self) -> None:
        # by identity, so what was told is kept: (answer, its lines) and (answer, its JSON)
        self._lines: dict[int, tuple[Found, list[str]]] = {}
        self._json: dict[int, tuple[Found, dict[str, Any]]] = {}

    def json(self, told: Told) -> dict[str, Any]:
        """Return what is told as plain JSON values; equal parts may be one object."""
        words = told.words
        chosen = {role.role: role.chosen.series_instance_uid for role in told.roles if role.chosen is not None}
        return {
            "rule": words["rule"],
            "fires": told.fires,
            "matched": told.matched,
            "recognised": words["do_not_run"] if told.matched else "",
            "reason": told.reason,
            "pipeline": words["pipeline"],
            "settings": words["settings"],
            "destinations": words["destinations"],
            "priority": told.priority,
            "late_images": words["late_images"],
            "fallback": words["fallback"],
            "priors": words["priors"],
            "dry_run": words["dry_run"],
            "profiles": words["profiles"],
            "schedule": words["schedule"],
            "inputs": chosen if len(chosen) == len(told.roles) else {},
            "study": self._answers(told.study),
            "roles": [self._role(role) for role in told.roles],
            "lines": list(self.lines(told)),
        }

    def lines(self, told: Told) -> Iterator[str]:
        """Yield what is told as sentences, one a line."""
        yield f"Rule '{told.words['rule']}' {told.reason}"
        if told.study:
            yield "  The study:"
            yield from self._indented(told.study, "    ")
        if told.words["waits"]:
            yield f"  {told.words['waits']}"
        for role in told.roles:
            yield f"  Input '{role.role}': {role.reason}"
            for series in role.series:
                yield f"    Series {series.series_instance_uid} {'fits' if series.fits else 'does not fit'}:"
                yield from self._indented(series.answers, "      ")

    def _indented(self, answers: Sequence[Found], indent: str) -> list[str]:
        return [f"{indent}{line}" for answer in answers for line in self._lines_of(answer)]

    def _lines_of(self, answer: Found) -> list[str]:
        """Return the sentence of an answer; below a group's, its alternatives, numbered."""
        known = self._lines.get(id(answer))
        if known is None:
            lines = [answer.sentence]
            if not isinstance(answer, Answer):
                for number, branch in enumerate(answer.branches, 1):
                    lines += [f"  Alternative {number}:", *self._indented(branch, "    ")]
            known = self._lines[id(answer)] = (answer, lines)
        return known[1]

    def _answers(self, answers: Sequence[Found]) -> list[dict[str, Any]]:
        return [self._answer(answer) for answer in answers]

    def _answer(self, answer: Found) -> dict[str, Any]:
        known = self._json.get(id(answer))
        if known is None:
            known = self._json[id(answer)] = (answer, self._answer_json(answer))
        return known[1]

    def _answer_json(self, answer: Found) -> dict[str, Any]:
        if not isinstance(answer, Answer):
            return {
                "group": answer.kind.value,
                "outcome": answer.outcome.value,
                "sentence": answer.sentence,
                "alternatives": [self._answers(branch) for branch in answer.branches],
            }
        return {
            "keyword": answer.keyword,
            "wanted": answer.wanted,
            "seen": answer.seen,
            "outcome": answer.outcome.value,
            "sentence": answer.sentence,
        }

    def _role(self, role: RoleAnswers) -> dict[str, Any]:
        return {
            "role": role.role,
            "chosen": role.chosen.series_instance_uid if role.chosen else None,
            "reason": role.reason,
            "series": [
                {
                    "series_instance_uid": series.series_instance_uid,
                    "fits": series.fits,
                    "answers": self._answers(series.answers),
                }
                for series in role.series
            ],
        }
