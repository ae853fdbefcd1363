"""Where a study stands, in one word: what its newest revision, its jobs and their deliveries say together."""

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Select, String, and_, case, exists, func, literal, or_, select

from dicom_node.ledger.schema import deliveries, jobs, revisions
from dicom_node.lifecycle import DeliveryState, JobState, StudyState

#: A study's first revision: when that was opened, the study was received, however often it grew or was routed again.
first: Final = revisions.alias("first")


class Phase(StrEnum):
    """Where a study stands; what needs a person comes first."""

    HELD = "held"
    RECEIVING = "receiving"
    WAITING = "waiting"  # complete, and not yet asked of the rules
    RUNNING = "running"
    QUEUED = "queued"
    DELIVERING = "delivering"
    DONE = "done"
    CANCELLED = "cancelled"
    NO_RULE = "no rule"
    PRIOR = "prior"  # fetched for another study: no rule is asked


def phase() -> ColumnElement[str]:
    """Return the phase of a row of `revisions`, as a column.

    The sets are small (what is under way, what is held) and asked for once a statement, so that a list of 100,000
    studies is not walked with a question for each.
    """
    study = revisions.c.study_instance_uid
    any_job = select(jobs.c.id).where(jobs.c.study_instance_uid == study)
    # through a function, or SQLite without statistics would take the index by state and walk all that is done
    done = any_job.where(func.coalesce(jobs.c.state, "") == str(JobState.DONE))
    whens: list[tuple[ColumnElement[bool], ColumnElement[str]]] = [
        (or_(study.in_(_jobs(JobState.HELD)), study.in_(_sent(DeliveryState.HELD))), _word(Phase.HELD)),
        (revisions.c.state == str(StudyState.RECEIVING), _word(Phase.RECEIVING)),
        (revisions.c.state == str(StudyState.COMPLETE), _word(Phase.WAITING)),
        (revisions.c.state == str(StudyState.PRIOR), _word(Phase.PRIOR)),
        (study.in_(_jobs(JobState.RUNNING)), _word(Phase.RUNNING)),
        (study.in_(_jobs(JobState.QUEUED)), _word(Phase.QUEUED)),
        (study.in_(_sent(DeliveryState.WAITING, DeliveryState.SENDING)), _word(Phase.DELIVERING)),
        (exists(done), _word(Phase.DONE)),
        (exists(any_job), _word(Phase.CANCELLED)),
    ]
    return case(*whens, else_=_word(Phase.NO_RULE))


def newest() -> ColumnElement[bool]:
    """Return whether a row of `revisions` is its study's newest one: a study is one line, however often it grew."""
    later = revisions.alias("later")
    follows = and_(
        later.c.study_instance_uid == revisions.c.study_instance_uid, later.c.number == revisions.c.number + 1
    )
    return and_(revisions.c.number > 0, ~exists(select(later.c.number).where(follows)))


def studies() -> FromClause:
    """Return each study's `first` revision joined with its newest one; where `first.c.number` is 1."""
    # an outer join, or SQLite might begin with the newest ones, which no index has in the order of the first
    same = revisions.c.study_instance_uid == first.c.study_instance_uid
    return first.outerjoin(revisions, and_(same, newest()))


def _word(value: Phase) -> ColumnElement[str]:
    return literal(str(value), String)


def _jobs(*states: JobState) -> Select[Any]:
    return select(jobs.c.study_instance_uid).where(jobs.c.state.in_([str(state) for state in states]))


def _sent(*states: DeliveryState) -> Select[Any]:
    return (
        select(jobs.c.study_instance_uid)
        .join(deliveries, deliveries.c.job_id == jobs.c.id)
        .where(deliveries.c.state.in_([str(state) for state in states]))
    )
