"""Which of several series fills a role: the best by its ranking that no other role takes."""

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

from dicom_node.entities import FactValue, SeriesFacts
from dicom_node.routing.answers import shown_value
from dicom_node.routing.attributes import attribute
from dicom_node.routing.conditions import folded_value
from dicom_node.routing.rules import RankBy


def ranked(series: Sequence[SeriesFacts], rank: Sequence[RankBy]) -> list[SeriesFacts]:
    """Return the series best first; equals stay in order of Series Instance UID."""
    found = list(series)
    for step in reversed(rank) if len(found) > 1 else ():
        valued = [(_rank_value(one, step), one) for one in found]
        known = [(value, one) for value, one in valued if value is not None]
        known.sort(key=itemgetter(0), reverse=step.descending)
        found = [one for _, one in known] + [one for value, one in valued if value is None]
    return found


def _rank_value(series: SeriesFacts, step: RankBy) -> tuple[bool, FactValue] | None:
    """Return the value a series is ranked by, its best if it has several; numbers come before texts."""
    if step.preferred:
        return _place_among(series.values.get(step.keyword, ()), step.preferred)
    values = [(isinstance(value, str), value) for value in series.values.get(step.keyword, ())]
    return (max if step.descending else min)(values) if values else None


def _place_among(values: Sequence[FactValue], preferred: Sequence[FactValue]) -> tuple[bool, FactValue] | None:
    """Return the place of the best value among those preferred; what is not among them comes after all of them."""
    folded = [folded_value(one) for one in preferred]
    places = [folded.index(one) if (one := folded_value(value)) in folded else len(folded) for value in values]
    return (False, min(places)) if places else None


def assigned(ranked: Mapping[str, Sequence[SeriesFacts]]) -> Mapping[str, SeriesFacts]:
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


def choice(ranked: Sequence[SeriesFacts], chosen: SeriesFacts | None, rank: Sequence[RankBy]) -> str:
    """Return in words which series was chosen, and what decided."""
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
        if ours != theirs and step.preferred:
            return f"its {step.keyword} comes first of {step}"
        if ours != theirs:
            words = "larger" if step.descending else "smaller"
            return f"{words} {step.keyword}, {_ranked_by(ours, step)} against {_ranked_by(theirs, step)}"
    return "equal in all that the ranking asks, so the first by Series Instance UID"


def _ranked_by(value: tuple[bool, FactValue] | None, step: RankBy) -> str:
    if value is None:
        return "missing"
    return "a value not shown" if attribute(step.keyword).private else shown_value(value[1])
