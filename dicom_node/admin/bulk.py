"""What can be done with many studies at once: for page and API the same, each study with its own audit lines."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from dicom_node.admin.actions import Actions
from dicom_node.admin.people import Person
from dicom_node.errors import DicomNodeError
from dicom_node.ledger import AccountRole, Ledger
from dicom_node.lifecycle import ARRIVED, OPEN_JOBS, UNDELIVERED, DeliveryState, JobState

_MOST_JOBS: Final = 200
_Move = Callable[[Actions, Person, int], None]
_Each = Callable[[Actions, Ledger, Person, str], int]


class BulkAction(StrEnum):
    """What to do with each study."""

    RETRY = "retry"  # what is held of it: jobs and deliveries
    CANCEL = "cancel"  # its jobs that are not over, and its deliveries that wait or are held
    ROUTE = "route"  # ask the rules in force once more
    RESEND = "resend"  # what its destinations have already


@dataclass(frozen=True, slots=True)
class BulkDone:
    """How many jobs, deliveries or studies were changed, and for how many studies it was not possible, and why."""

    changed: int
    refused: int
    reasons: tuple[str, ...] = ()


def do_all(
    office: tuple[Actions, Ledger],
    person: Person,
    action: BulkAction,
    studies: Sequence[str],
    tell: Callable[[int], None] = lambda _: None,
) -> BulkDone:
    """Do something with each study; what is not possible for one does not stop the others.

    Parameters
    ----------
    tell : callable
        Is told after each study how many are done.
    """
    person.need(AccountRole.OPERATOR)
    changed, refused = 0, 0
    reasons: dict[str, None] = {}
    for number, study in enumerate(studies, 1):
        try:
            changed += _EACH[action](*office, person, study)
        except DicomNodeError as error:
            refused += 1
            reasons[str(error)] = None
        tell(number)
    return BulkDone(changed, refused, tuple(reasons)[:5])


def _move(
    job_states: Collection[JobState],
    delivery_states: Collection[DeliveryState],
    moves: tuple[_Move, _Move],
    actions: Actions,
    ledger: Ledger,
    person: Person,
    study: str,
) -> int:
    """Move a study's jobs and deliveries that are in some states; return how many."""
    jobs = [job for job in ledger.jobs.latest(_MOST_JOBS, study=study) if job.state in job_states]
    rows = [one for one in ledger.deliveries.of_study(study) if one.state in delivery_states]
    move_job, move_delivery = moves
    for job in jobs:
        move_job(actions, person, job.id)
    for row in rows:
        move_delivery(actions, person, row.id)
    return len(jobs) + len(rows)


def _route(actions: Actions, _ledger: Ledger, person: Person, study: str) -> int:
    actions.route_again(person, study)
    return 1


_RETRY: Final = Actions.retry_job, Actions.retry_delivery
_CANCEL: Final = Actions.cancel_job, Actions.cancel_delivery
_EACH: Final[Mapping[BulkAction, _Each]] = {
    BulkAction.RETRY: partial(_move, {JobState.HELD}, {DeliveryState.HELD}, _RETRY),
    BulkAction.CANCEL: partial(_move, OPEN_JOBS, UNDELIVERED, _CANCEL),
    BulkAction.ROUTE: _route,
    BulkAction.RESEND: partial(_move, (), ARRIVED, _RETRY),
}
