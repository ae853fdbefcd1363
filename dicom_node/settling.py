"""When a rule takes its study for whole by its own `completion`, sooner or later than silence tells. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dicom_node.completion import StudyArrivals
from dicom_node.routing import CompletionPolicy, Decision
from dicom_node.settings import CompletionSettings


@dataclass(frozen=True, slots=True)
class Arrived:
    """What has arrived of a study by now.

    Parameters
    ----------
    study : StudyArrivals
        Of the revision: when, and on which associations.
    received : int
        How many instances of the study there are, over all revisions.
    last : mapping
        Series Instance UID -> when the last instance of it came (UTC seconds).
    """

    study: StudyArrivals
    received: int
    last: Mapping[str, float]


def own_reasons(
    decision: Decision, arrived: Arrived, policy: CompletionSettings, count_of: Callable[[str], int | None]
) -> list[tuple[float, str]]:
    """Return (UTC seconds, why in words) for each way in which a rule takes its study for whole if no more comes.

    Parameters
    ----------
    count_of : callable
        Destination -> how many instances it says that the study has, asked after the last arrival; None: not known.
    """
    own, name = decision.rule.completion or CompletionPolicy(), decision.rule.name
    since, found = arrived.study.quiet_since, []
    if own.quiet_seconds is not None:
        found.append((since + own.quiet_seconds, f"rule {name!r} wants a silence of {own.quiet_seconds:g} s only"))
    if own.inputs_present:
        chosen = (arrived.last[series.series_instance_uid] for series in decision.inputs.values())
        last = max((*chosen, arrived.study.watched_since))
        said = f"rule {name!r} has all of its inputs, and nothing more came for them"
        found.append((last + _series_silence(arrived.study, policy), said))
    count = count_of(own.count_from) if own.count_from else None
    if count is not None and arrived.received >= count > 0:
        # the destination may be receiving the study at this moment, as this node is
        said = f"rule {name!r}: all {count} instances that {own.count_from} counts are there"
        found.append((since + policy.release_grace_seconds, said))
    return found


def _series_silence(study: StudyArrivals, policy: CompletionSettings) -> float:
    """Return after how long a silence a series has ended: on an open or broken association it may only pause."""
    return policy.quiet_seconds if study.released_at is None else policy.release_grace_seconds
