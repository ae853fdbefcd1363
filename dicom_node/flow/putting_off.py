"""Which due jobs may start now: the others wait for their schedule, or for a study that grows to be whole."""

from collections.abc import Callable, Mapping
from typing import Final

from dicom_node.ledger import JobTerms, Ledger

#: How long a job waits before it is looked at again, whose study is growing.
_GROWING_WAIT_SECONDS: Final = 1.0
_GROWING: Final = "more images are coming: the next revision of the study decides"
#: After a night's wait there may be tens of thousands of due jobs: looked at are those whose turn is next, and of
#: those that have to wait so many at a time. The others follow at the next ticks.
_A_PAGE: Final = 200
_MOST_PAGES: Final = 10


def startable(
    ledger: Ledger, now: float, free: int, opens: Callable[[JobTerms], float], says: Callable[[JobTerms], str]
) -> list[int]:
    """Return the ids of the next due jobs that may start at once, at most `free`; the others on the way are put off.

    Parameters
    ----------
    free : int
        How many workers are free.
    opens : callable
        The terms of a job -> when its schedule lets it start (UTC seconds), from `now` on.
    says : callable
        The terms of a job -> what it waits for by its schedule, in words.
    """
    opens_at: dict[tuple[str, ...], float] = {}
    found: list[int] = []
    for _ in range(_MOST_PAGES):
        page = ledger.jobs.due(now, _A_PAGE + free)
        growing = ledger.studies.growing({job.study_instance_uid for job in page if job.terms.settling})
        waiting: dict[tuple[float, str], list[int]] = {}
        for job in page:
            windows = job.terms.windows
            if windows not in opens_at:
                opens_at[windows] = opens(job.terms) if windows else now
            if opens_at[windows] > now:
                waiting.setdefault((opens_at[windows], says(job.terms)), []).append(job.id)
            elif job.terms.settling and job.study_instance_uid in growing:
                waiting.setdefault((now + _GROWING_WAIT_SECONDS, _GROWING), []).append(job.id)
        _put_off(ledger, waiting)
        late = {number for numbers in waiting.values() for number in numbers}
        found = [job.id for job in page if job.id not in late][:free]
        if len(found) == free or not late:
            break
    return found


def _put_off(ledger: Ledger, waiting: Mapping[tuple[float, str], list[int]]) -> None:
    for (until, reason), numbers in waiting.items():
        ledger.jobs.put_off(numbers, until, reason)
