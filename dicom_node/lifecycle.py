"""The states of a study revision, a job and a delivery, and the one table of allowed transitions.

Read each line aloud: "a RUNNING job that FAILED_FOR_NOW is QUEUED". A missing key *is* the error. The ledger
repeats the guard in its WHERE clauses, so two processes can never both make the same transition.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from dicom_node.errors import TransitionForbidden


class StudyState(StrEnum):
    """Where one revision of a study is."""

    RECEIVING = "receiving"
    COMPLETE = "complete"  # frozen: a later instance opens the next revision
    ROUTED = "routed"  # every rule has given its verdict


class StudyEvent(StrEnum):
    """What can happen to a revision of a study."""

    CLOSED = "closed"
    VERDICTS_RECORDED = "verdicts recorded"


class JobState(StrEnum):
    """Where one job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    HELD = "held"  # waits for a person; the reason is in the row
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """What can happen to a job."""

    STARTED = "started"
    INTERRUPTED = "interrupted"  # its node went away: the lease is taken back
    FAILED_FOR_NOW = "failed for now"
    FAILED_FOR_GOOD = "failed for good"
    FINISHED = "finished"
    RETRY_ASKED = "retry asked"
    CANCEL_ASKED = "cancel asked"


class DeliveryState(StrEnum):
    """Where one object is on its way to one destination."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    HELD = "held"
    CANCELLED = "cancelled"


class DeliveryEvent(StrEnum):
    """What can happen to a delivery."""

    STARTED = "started"
    INTERRUPTED = "interrupted"
    ACCEPTED = "accepted"
    FAILED_FOR_NOW = "failed for now"
    FAILED_FOR_GOOD = "failed for good"
    RETRY_ASKED = "retry asked"
    CANCEL_ASKED = "cancel asked"


State = StudyState | JobState | DeliveryState
Event = StudyEvent | JobEvent | DeliveryEvent

# One table for each machine: a held job and a held delivery are the same word, and so would be the same key.
STUDY_TRANSITIONS: Final[Mapping[tuple[StudyState, StudyEvent], StudyState]] = {
    (StudyState.RECEIVING, StudyEvent.CLOSED): StudyState.COMPLETE,
    (StudyState.COMPLETE, StudyEvent.VERDICTS_RECORDED): StudyState.ROUTED,
}
JOB_TRANSITIONS: Final[Mapping[tuple[JobState, JobEvent], JobState]] = {
    (JobState.QUEUED, JobEvent.STARTED): JobState.RUNNING,
    (JobState.QUEUED, JobEvent.CANCEL_ASKED): JobState.CANCELLED,
    (JobState.RUNNING, JobEvent.FINISHED): JobState.DONE,
    (JobState.RUNNING, JobEvent.INTERRUPTED): JobState.QUEUED,
    (JobState.RUNNING, JobEvent.FAILED_FOR_NOW): JobState.QUEUED,
    (JobState.RUNNING, JobEvent.FAILED_FOR_GOOD): JobState.HELD,
    (JobState.RUNNING, JobEvent.CANCEL_ASKED): JobState.CANCELLED,
    (JobState.HELD, JobEvent.RETRY_ASKED): JobState.QUEUED,
    (JobState.HELD, JobEvent.CANCEL_ASKED): JobState.CANCELLED,
    (JobState.CANCELLED, JobEvent.RETRY_ASKED): JobState.QUEUED,
}
DELIVERY_TRANSITIONS: Final[Mapping[tuple[DeliveryState, DeliveryEvent], DeliveryState]] = {
    (DeliveryState.WAITING, DeliveryEvent.STARTED): DeliveryState.SENDING,
    (DeliveryState.WAITING, DeliveryEvent.RETRY_ASKED): DeliveryState.WAITING,
    (DeliveryState.WAITING, DeliveryEvent.CANCEL_ASKED): DeliveryState.CANCELLED,
    (DeliveryState.SENDING, DeliveryEvent.ACCEPTED): DeliveryState.DELIVERED,
    (DeliveryState.SENDING, DeliveryEvent.INTERRUPTED): DeliveryState.WAITING,
    (DeliveryState.SENDING, DeliveryEvent.FAILED_FOR_NOW): DeliveryState.WAITING,
    (DeliveryState.SENDING, DeliveryEvent.FAILED_FOR_GOOD): DeliveryState.HELD,
    (DeliveryState.HELD, DeliveryEvent.RETRY_ASKED): DeliveryState.WAITING,
    (DeliveryState.HELD, DeliveryEvent.CANCEL_ASKED): DeliveryState.CANCELLED,
    (DeliveryState.CANCELLED, DeliveryEvent.RETRY_ASKED): DeliveryState.WAITING,
}
_TRANSITIONS: Final[Mapping[type[State] | type[Event], Mapping[tuple[Any, Any], State]]] = {
    StudyState: STUDY_TRANSITIONS,
    StudyEvent: STUDY_TRANSITIONS,
    JobState: JOB_TRANSITIONS,
    JobEvent: JOB_TRANSITIONS,
    DeliveryState: DELIVERY_TRANSITIONS,
    DeliveryEvent: DELIVERY_TRANSITIONS,
}


def after(state: State, event: Event) -> State:
    """Return the state that follows.

    Raises
    ------
    TransitionForbidden
        If the table has no line for it.
    """
    table = _TRANSITIONS[type(state)]
    if table is not _TRANSITIONS[type(event)] or (state, event) not in table:
        raise TransitionForbidden(f"'{event}' cannot happen to what is {state}")
    return table[state, event]


def before(event: Event) -> tuple[State, ...]:
    """Return every state in which an event may happen: the guard for a WHERE clause."""
    return tuple(state for state, happened in _TRANSITIONS[type(event)] if happened is event)
