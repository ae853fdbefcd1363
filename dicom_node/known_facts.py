"""What the ledger holds of a study, as the facts that rules ask about."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from dicom_node import routing
from dicom_node.entities import StudyFacts
from dicom_node.ledger import Received


def study_facts(study_instance_uid: str, received: Sequence[Received], zone: tzinfo | None) -> StudyFacts:
    """Return what rules may ask about a study; `zone` is that of the site, None that of this computer."""
    headers = [
        routing.ReceivedHeader(
            each.ref, routing.header_from_json(each.header), each.calling, each.called, each.address, each.received_at
        )
        for each in received
    ]
    return routing.gather(study_instance_uid, headers, zone)


def last_arrivals(received: Sequence[Received]) -> Mapping[str, float]:
    """Return Series Instance UID -> when the last instance of it came (UTC seconds)."""
    last: dict[str, float] = {}
    for each in received:
        uid = each.ref.series_instance_uid
        last[uid] = max(last.get(uid, 0.0), each.received_at or 0.0)
    return last
