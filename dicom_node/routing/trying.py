"""What an edited set of rules would have done: old and new on the same studies, and where they differ."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from dicom_node.entities import StudyFacts
from dicom_node.routing.deciding import Decider, Decision
from dicom_node.routing.differing import Side, why, why_not, why_otherwise
from dicom_node.routing.rules import CompletionPolicy, Rule, RuleSet

#: Differences that are explained one by one; the others are counted.
MOST_EXPLAINED: Final = 200
_REPORT_EVERY: Final = 1000


class Change(StrEnum):
    """What becomes of one rule on one study."""

    NEWLY_RUN = "newly run"
    NO_LONGER_RUN = "no longer run"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One rule that does something else with one study.

    Parameters
    ----------
    what : tuple of str
        Of a changed job, what is other: "pipeline: 'a', now 'b'".
    decided : tuple of str
        The conditions that decided, as sentences; for what the rule itself says otherwise, there is none.
    """

    study_instance_uid: str
    rule: str
    change: Change
    what: tuple[str, ...]
    decided: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What trying brought.

    Parameters
    ----------
    studies, differing : int
        Studies that were asked about, and those of which one rule at least does something else.
    counts : mapping
        (rule, change) -> in how many studies.
    differences : tuple of Difference
        The first ones, explained.
    """

    studies: int
    differing: int
    counts: Mapping[tuple[str, Change], int]
    differences: tuple[Difference, ...]


def try_rules(
    old: RuleSet,
    new: RuleSet,
    studies: Iterable[StudyFacts],
    most_explained: int = MOST_EXPLAINED,
    progress: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Return how two sets of rules differ on studies.

    Parameters
    ----------
    progress : callable
        Called now and then with the number of studies done.
    """
    decider = Decider(old.rules, new.rules)
    counts: Counter[tuple[str, Change]] = Counter()
    differences: list[Difference] = []
    done = differing = 0
    for facts in studies:
        before, after = decider.decide(facts)
        changes = list(_changes(before, after))
        counts.update((rule, change) for rule, change, _ in changes)
        differing += bool(changes)
        if changes and len(differences) < most_explained:
            differences += _explained(facts, Side(old, before), Side(new, after), changes)
        done += 1
        if done % _REPORT_EVERY == 0:
            progress(done)
    progress(done)
    return Trial(done, differing, dict(counts), tuple(differences[:most_explained]))


def trial_to_json(trial: Trial) -> dict[str, Any]:
    """Return a trial as plain JSON values."""
    return {
        "studies": trial.studies,
        "differing": trial.differing,
        "counts": [
            {"rule": rule, "change": str(change), "studies": count} for (rule, change), count in trial.counts.items()
        ],
        "differences": [
            {
                "study": each.study_instance_uid,
                "rule": each.rule,
                "change": str(each.change),
                "what": list(each.what),
                "decided": list(each.decided),
            }
            for each in trial.differences
        ],
    }


def _changes(
    before: Mapping[str, Decision], after: Mapping[str, Decision]
) -> Iterator[tuple[str, Change, tuple[str, ...]]]:
    """Yield rule, change and what is other, for every rule that does something else."""
    if not before and not after:
        return
    did = {name: one for name, one in before.items() if one.fires}
    does = {name: one for name, one in after.items() if one.fires}
    for name in dict.fromkeys((*did, *does)):
        if name not in does:
            yield name, Change.NO_LONGER_RUN, ()
        elif name not in did:
            yield name, Change.NEWLY_RUN, ()
        elif what := tuple(_other(did[name], does[name])):
            yield name, Change.CHANGED, what


def _other(before: Decision, after: Decision) -> Iterator[str]:
    if before is after:  # an equal rule was asked once
        return
    now = _told(after)
    for what, value in _told(before).items():
        if value != now[what]:
            yield f"{what}: {value}, now {now[what]}"


def _told(decision: Decision) -> dict[str, Any]:
    rule = decision.rule
    inputs = {role: f"series {series.series_instance_uid}" for role, series in decision.inputs.items()}
    return {
        "pipeline": rule.pipeline,
        "inputs": _listed(inputs),
        "destinations": ", ".join(_destination(rule, name) for name in rule.destinations),
        "settings": _listed(rule.settings),
        "priority": str(decision.priority),
        "late images": str(rule.late_images),
        "priors": str(rule.priors) if rule.priors else "none",
        "dry run": "yes" if rule.dry_run else "no",
        "schedule": ", ".join(map(str, rule.schedule)) or "any time",
        "completion": str(rule.completion or CompletionPolicy()),
    }


def _destination(rule: Rule, name: str) -> str:
    return f"{name} ({rule.profiles[name]})" if name in rule.profiles else name


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in sorted(values.items())) or "none"


def _explained(
    facts: StudyFacts, before: Side, after: Side, changes: Sequence[tuple[str, Change, tuple[str, ...]]]
) -> Iterator[Difference]:
    for name, change, what in changes:
        if change is Change.NEWLY_RUN:
            decided = why_not(facts, name, before) or ("the rule is new", *why(facts, name, after))
        elif change is Change.NO_LONGER_RUN:
            decided = why_not(facts, name, after) or ("the rule is gone",)
        else:
            decided = why_otherwise(facts, name, before, after)
        yield Difference(facts.study_instance_uid, name, change, what, decided)
