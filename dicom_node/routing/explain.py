"""A verdict in sentences and as JSON: page, log and command line show the same words."""

from collections.abc import Iterator
from typing import Any

from dicom_node.routing.verdicts import Answer, RoleAnswers, Verdict


def explain_lines(verdict: Verdict) -> tuple[str, ...]:
    """Return a verdict as plain sentences, one a line, indented below the rule that they belong to."""
    return tuple(_lines(verdict))


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain JSON values, for the ledger and for `explain --json`.

    Its `lines` are those of `explain_lines`, so that an old verdict can be shown when its rule is long gone.
    """
    rule = verdict.rule
    return {
        "rule": rule.name,
        "fires": verdict.fires,
        "reason": verdict.reason,
        "pipeline": rule.pipeline,
        "settings": dict(rule.settings),
        "destinations": list(rule.destinations),
        "priority": rule.priority.value,
        "late_images": rule.late_images.value,
        "fallback": rule.fallback,
        "priors": str(rule.priors) if rule.priors else "",
        "inputs": {role: series.series_instance_uid for role, series in verdict.inputs.items()},
        "study": [_answer_json(answer) for answer in verdict.study],
        "roles": [_role_json(role) for role in verdict.roles],
        "lines": list(explain_lines(verdict)),
    }


def _lines(verdict: Verdict) -> Iterator[str]:
    yield f"Rule '{verdict.rule.name}' {verdict.reason}"
    if verdict.study:
        yield "  The study:"
        yield from (f"    {answer.sentence}" for answer in verdict.study)
    if verdict.rule.priors is not None:
        seconds = verdict.rule.priors.time_limit_seconds
        yield f"  Priors: {verdict.rule.priors}; the job waits for them up to {seconds:g} s"
    for role in verdict.roles:
        yield f"  Input '{role.role}': {role.reason}"
        for series in role.series:
            yield f"    Series {series.series_instance_uid} {'fits' if series.fits else 'does not fit'}:"
            yield from (f"      {answer.sentence}" for answer in series.answers)


def _answer_json(answer: Answer) -> dict[str, str]:
    return {
        "keyword": answer.keyword,
        "wanted": answer.wanted,
        "seen": answer.seen,
        "outcome": answer.outcome.value,
        "sentence": answer.sentence,
    }


def _role_json(role: RoleAnswers) -> dict[str, Any]:
    return {
        "role": role.role,
        "chosen": role.chosen.series_instance_uid if role.chosen else None,
        "reason": role.reason,
        "series": [
            {
                "series_instance_uid": series.series_instance_uid,
                "fits": series.fits,
                "answers": [_answer_json(answer) for answer in series.answers],
            }
            for series in role.series
        ],
    }
