"""Studies that are whole enough for a rule sooner than silence tells.

A study that is closed early is closed for every rule; those that want silence let their jobs wait for it, and if more
images come, the next revision decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Final

from dicom_node.completion import StudyArrivals
from dicom_node.counts import Counts
from dicom_node.entities import StudyFacts
from dicom_node.known_facts import last_arrivals, study_facts
from dicom_node.ledger import Revision, Studies
from dicom_node.routing import CompletionPolicy, Decider, RuleSet
from dicom_node.settings import CompletionSettings
from dicom_node.settling import Arrived, own_reasons

#: How often a study is looked at, in seconds: gathering its facts takes time.
_LOOK_EVERY_SECONDS: Final = 1.0
#: A study to which nothing has come for so long is not arriving at full speed any more; its headers are being read.
LULL_SECONDS: Final = 0.5
_MOST_KNOWN: Final = 200


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found at the last look; not the headers, which take megabytes.

    Parameters
    ----------
    received : int
        How many instances.
    last : mapping
        Series Instance UID -> when the last instance of it came (UTC seconds).
    """

    at: float
    instances: int
    facts: StudyFacts
    received: int
    last: Mapping[str, float]


class EarlyLooks:
    """Looks at studies that are being received, for the rules that do not want to wait.

    Parameters
    ----------
    policy : CompletionSettings
        That of `node.toml`, which a rule may want to be quicker than.
    zone : tzinfo or None
        Time zone of the site; None: that of this computer.
    """

    def __init__(self, studies: Studies, counts: Counts, policy: CompletionSettings, zone: tzinfo | None) -> None:
        self._studies = studies
        self._counts = counts
        self._policy = policy
        self._zone = zone
        self._looks: dict[tuple[str, int], _Look] = {}
        self._decider: tuple[RuleSet, Decider] | None = None

    def why(self, revision: Revision, arrivals: StudyArrivals, rules: RuleSet, now: float) -> str:
        """Return why a study may be closed now (UTC seconds), in words; blank if it may not."""
        if revision.last_arrival_at > now - LULL_SECONDS or not any(
            rule.enabled and self._is_early(rule.completion) for rule in rules.rules
        ):
            return ""
        look = self._look(revision, now)
        if look is None:
            return ""
        (decisions,) = self._decider_of(rules).decide(look.facts)
        arrived = Arrived(arrivals, look.received, look.last)
        count_of = self._counts.asked(look.facts.study_instance_uid, revision.last_arrival_at, now)
        firing = (decision for decision in decisions.values() if decision.fires)
        reasons = (each for decision in firing for each in own_reasons(decision, arrived, self._policy, count_of))
        return next((reason for at, reason in reasons if at <= now), "")

    def _is_early(self, own: CompletionPolicy | None) -> bool:
        if own is None:
            return False
        shorter = own.quiet_seconds is not None and own.quiet_seconds < self._policy.quiet_seconds
        return shorter or own.inputs_present or bool(own.count_from)

    def _decider_of(self, rules: RuleSet) -> Decider:
        """Return what decides by rules: made once for those in force, as it remembers answers."""
        if self._decider is None or self._decider[0] is not rules:
            self._decider = (rules, Decider(rules.rules))
        return self._decider[1]

    def _look(self, revision: Revision, now: float) -> _Look | None:
        key = (revision.study_instance_uid, revision.number)
        known = self._looks.get(key)
        if known is not None and now - known.at < _LOOK_EVERY_SECONDS:
            return None
        if known is not None and known.instances == revision.instances:
            self._looks[key] = replace(known, at=now)
            return self._looks[key]
        received = self._studies.received(*key)
        if not received:
            return None
        if len(self._looks) > _MOST_KNOWN:
            self._looks.clear()
        facts = study_facts(revision.study_instance_uid, received, self._zone)
        self._looks[key] = _Look(now, revision.instances, facts, len(received), last_arrivals(received))
        return self._looks[key]
