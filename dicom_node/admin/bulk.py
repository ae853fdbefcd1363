"""What can be done with many studies at once: for page and API the same, each study with its own audit lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dicom_node.admin.actions import Actions
from dicom_node.admin.people import Person
from dicom_node.errors import DicomNodeError
from dicom_node.ledger import AccountRole, Ledger
from dicom_node.lifecycle import ARRIVED, DeliveryState, JobState

_MOST_JOBS: Final = 200
_OPEN_JOBS: Final = (JobState.HELD, JobState.QUEUED, JobState.RUNNING)
_OPEN_DELIVERIES: Final = (DeliveryState.WAITING, DeliveryState.HELD)
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


def _retry(actions: Actions, ledger: Ledger, person: Person, study: str) -> int:
    jobs = [job for job in ledger.jobs.latest(_MOST_JOBS, study=study) if job.state is JobState.HELD]
    rows = [one for one in ledger.deliveries.of_study(study) if one.state is DeliveryState.HELD]
    for job in jobs:
        actions.retry_job(person, job.id)
    for row in rows:
        actions.retry_delivery(person, row.id)
    return len(jobs) + len(rows)


def _cancel(actions: Actions, ledger: Ledger, person: Person, study: str) -> int:
    jobs = [job for job in ledger.jobs.latest(_MOST_JOBS, study=study) if job.state in _OPEN_JOBS]
    rows = [one for one in ledger.deliveries.of_study(study) if one.state in _OPEN_DELIVERIES]
    for job in jobs:
        actions.cancel_job(person, job.id)
    for row in rows:
        actions.cancel_delivery(person, row.id)
    return len(jobs) + len(rows)


def _route(actions: Actions, _ledger: Ledger, person: Person, study: str) -> int:
    actions.route_again(person, study)
    return 1


def _resend(actions: Actions, ledger: Ledger, person: Person, study: str) -> int:
    rows = [one for one in ledger.deliveries.of_study(study) if one.state in ARRIVED]
    for row in rows:
        actions.retry_delivery(person, row.id)
    return len(rows)


_EACH: Final[Mapping[BulkAction, _Each]] = {
    BulkAction.RETRY: _retry,
    BulkAction.CANCEL: _cancel,
    BulkAction.ROUTE: _route,
    BulkAction.RESEND: _resend,
}
