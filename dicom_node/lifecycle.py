"""The states of a study revision, a job, a delivery and a fetch, and the one table of allowed transitions.

Read each line aloud: "a RUNNING job that FAILED_FOR_NOW is QUEUED". A missing key *is* the error. The ledger
repeats the guard in its WHERE clauses, so two processes can never both make the same transition.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final

from dicom_node.errors import TransitionForbidden

#: How long a row belongs to a node that gives no sign of life.
LEASE_SECONDS: Final = 60.0


class StudyState(StrEnum):
    """Where one revision of a study is."""

    RECEIVING = "receiving"
    COMPLETE = "complete"  # frozen: a later instance opens the next revision
    ROUTED = "routed"  # every rule has given its verdict
    PRIOR = "prior"  # came only as prior of another study: no rule is asked, until a scanner sends it


class StudyEvent(StrEnum):
    """What can happen to a revision of a study."""

    CLOSED = "closed"
    VERDICTS_RECORDED = "verdicts recorded"
    KEPT_AS_PRIOR = "kept as prior"
    SENT_TOO = "sent too"  # what was known as prior arrives as any study does


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
    DELIVERED = "delivered"  # the destination said so
    CONFIRMED = "confirmed"  # and it was asked again, and still has it
    HELD = "held"
    CANCELLED = "cancelled"


#: The destination has it, as far as is known.
ARRIVED: Final = frozenset({DeliveryState.DELIVERED, DeliveryState.CONFIRMED})
#: The destination has it not, and does not get it just now.
UNDELIVERED: Final = (DeliveryState.WAITING, DeliveryState.HELD)
#: Jobs that are not over.
OPEN_JOBS: Final = (JobState.HELD, JobState.QUEUED, JobState.RUNNING)


class ResultsState(StrEnum):
    """How far all the results of one revision of a study are: as far as the last of them."""

    NONE = ""  # no rule asked for any
    HELD = "held"  # a person must look at one of them
    BEING_MADE = "being made"
    WAITING = "waiting"
    DELIVERED = "delivered"
    CONFIRMED = "confirmed"


def results_state(jobs: Collection[JobState], objects: Collection[DeliveryState]) -> ResultsState:
    """Return how far a revision is by its jobs and by their objects' deliveries; what was cancelled counts not."""
    if JobState.HELD in jobs or DeliveryState.HELD in objects:
        return ResultsState.HELD
    if JobState.QUEUED in jobs or JobState.RUNNING in jobs:
        return ResultsState.BEING_MADE
    if DeliveryState.WAITING in objects or DeliveryState.SENDING in objects:
        return ResultsState.WAITING
    if DeliveryState.DELIVERED in objects:
        return ResultsState.DELIVERED
    return ResultsState.CONFIRMED if DeliveryState.CONFIRMED in objects else ResultsState.NONE


class DeliveryEvent(StrEnum):
    """What can happen to a delivery."""

    STARTED = "started"
    INTERRUPTED = "interrupted"
    ACCEPTED = "accepted"
    PROVEN = "proven"  # storage commitment, or a query, shows that it is there
    FOUND_MISSING = "found missing"
    GIVEN_UP = "given up"  # found missing too often
    FAILED_FOR_NOW = "failed for now"
    FAILED_FOR_GOOD = "failed for good"
    RETRY_ASKED = "retry asked"
    RESEND_ASKED = "resend asked"  # of what arrived: somebody lost it there, or it is to go once more
    CANCEL_ASKED = "cancel asked"


class FetchState(StrEnum):
    """Where one question to an archive is: for priors, or for what is missing of a study."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"  # what it brought, and what not, is in the row
    GIVEN_UP = "given up"  # its job or study goes on with what there is; the reason is in the row


#: Somebody waits for its end.
FETCHING: Final = frozenset({FetchState.WAITING, FetchState.RUNNING})


class FetchEvent(StrEnum):
    """What can happen to a fetch."""

    STARTED = "started"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED_FOR_NOW = "failed for now"
    FAILED_FOR_GOOD = "failed for good"
    TIMED_OUT = "timed out"


State = StudyState | JobState | DeliveryState | FetchState
Event = StudyEvent | JobEvent | DeliveryEvent | FetchEvent

# One table for each machine: a held job and a held delivery are the same word, and so would be the same key.
STUDY_TRANSITIONS: Final[Mapping[tuple[StudyState, StudyEvent], StudyState]] = {
    (StudyState.RECEIVING, StudyEvent.CLOSED): StudyState.COMPLETE,
    (StudyState.COMPLETE, StudyEvent.VERDICTS_RECORDED): StudyState.ROUTED,
    (StudyState.COMPLETE, StudyEvent.KEPT_AS_PRIOR): StudyState.PRIOR,
    (StudyState.PRIOR, StudyEvent.SENT_TOO): StudyState.RECEIVING,
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
    (DeliveryState.DELIVERED, DeliveryEvent.PROVEN): DeliveryState.CONFIRMED,
    (DeliveryState.DELIVERED, DeliveryEvent.FOUND_MISSING): DeliveryState.WAITING,
    (DeliveryState.DELIVERED, DeliveryEvent.GIVEN_UP): DeliveryState.HELD,
    (DeliveryState.DELIVERED, DeliveryEvent.RESEND_ASKED): DeliveryState.WAITING,
    (DeliveryState.CONFIRMED, DeliveryEvent.RESEND_ASKED): DeliveryState.WAITING,
    (DeliveryState.SENDING, DeliveryEvent.INTERRUPTED): DeliveryState.WAITING,
    (DeliveryState.SENDING, DeliveryEvent.FAILED_FOR_NOW): DeliveryState.WAITING,
    (DeliveryState.SENDING, DeliveryEvent.FAILED_FOR_GOOD): DeliveryState.HELD,
    (DeliveryState.HELD, DeliveryEvent.RETRY_ASKED): DeliveryState.WAITING,
    (DeliveryState.HELD, DeliveryEvent.CANCEL_ASKED): DeliveryState.CANCELLED,
    (DeliveryState.CANCELLED, DeliveryEvent.RETRY_ASKED): DeliveryState.WAITING,
}
FETCH_TRANSITIONS: Final[Mapping[tuple[FetchState, FetchEvent], FetchState]] = {
    (FetchState.WAITING, FetchEvent.STARTED): FetchState.RUNNING,
    (FetchState.WAITING, FetchEvent.TIMED_OUT): FetchState.GIVEN_UP,
    (FetchState.RUNNING, FetchEvent.FINISHED): FetchState.DONE,
    (FetchState.RUNNING, FetchEvent.INTERRUPTED): FetchState.WAITING,
    (FetchState.RUNNING, FetchEvent.FAILED_FOR_NOW): FetchState.WAITING,
    (FetchState.RUNNING, FetchEvent.FAILED_FOR_GOOD): FetchState.GIVEN_UP,
}
_TRANSITIONS: Final[Mapping[type[State] | type[Event], Mapping[tuple[Any, Any], State]]] = {
    StudyState: STUDY_TRANSITIONS,
    StudyEvent: STUDY_TRANSITIONS,
    JobState: JOB_TRANSITIONS,
    JobEvent: JOB_TRANSITIONS,
    DeliveryState: DELIVERY_TRANSITIONS,
    DeliveryEvent: DELIVERY_TRANSITIONS,
    FetchState: FETCH_TRANSITIONS,
    FetchEvent: FETCH_TRANSITIONS,
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
