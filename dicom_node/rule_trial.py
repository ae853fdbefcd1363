"""What edited rules would have done with the studies of the last days: old and new rules on their facts."""

from collections.abc import Callable, Iterator
from datetime import tzinfo

from dicom_node.entities import StudyFacts
from dicom_node.known_facts import study_facts
from dicom_node.ledger import Ledger
from dicom_node.routing import FactsReader, RuleSet, Trial, asked_keywords, try_rules
from dicom_node.routing.trying import MOST_EXPLAINED


def try_on_history(
    ledger: Ledger,
    old: RuleSet,
    new: RuleSet,
    since: float,
    *,
    zone: tzinfo | None,
    most_explained: int = MOST_EXPLAINED,
    progress: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Return how two sets of rules differ on the last revision of every study received since (UTC seconds).

    Nothing is changed, and nothing runs. Of what the ledger keeps no facts, the headers are gathered, which is slow.

    Parameters
    ----------
    zone : tzinfo or None
        Time zone of the site; None: that of this computer.
    """
    return try_rules(old, new, _studies(ledger, old, new, since, zone), most_explained, progress)


def _studies(ledger: Ledger, old: RuleSet, new: RuleSet, since: float, zone: tzinfo | None) -> Iterator[StudyFacts]:
    reader = FactsReader(asked_keywords((*old.rules, *new.rules)))
    for uid, revision, written in ledger.facts.since(since):
        facts = reader.read(uid, written) or _gathered(ledger, uid, revision, zone)
        if facts is not None:
            yield facts
    for uid, revision in ledger.facts.missing_since(since):
        facts = _gathered(ledger, uid, revision, zone)
        if facts is not None:
            yield facts


def _gathered(ledger: Ledger, study_instance_uid: str, revision: int, zone: tzinfo | None) -> StudyFacts | None:
    received = ledger.studies.received(study_instance_uid, revision)
    return study_facts(study_instance_uid, received, zone) if received else None
