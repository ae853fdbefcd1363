"""A rule that fires -> the job that it asks for: what, for whom, how urgent, and when it may start. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from dicom_node.ledger import AskedPriors, JobTerms, NewJob
from dicom_node.routing import Decision, LateImages, Priority, RuleSet, Window, opens_at, print_rules
from dicom_node.settings import Settings
from dicom_node.settling import Arrived, own_reasons

_PRIORITIES: Final = tuple(Priority)


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known when a study is routed; times are UTC seconds.

    Parameters
    ----------
    complete_at : float
        When the study is, or was, complete by `[completion]` if nothing more comes.
    closed_early : bool
        Whether a rule wanted it sooner than that.
    count_of : callable
        Destination -> how many instances it says that the study has, asked after the last came; None: nobody knows.
    """

    now: float
    complete_at: float
    closed_early: bool
    arrived: Arrived
    count_of: Callable[[str], int | None]


def wanted_job(decision: Decision, moment: Moment, settings: Settings) -> NewJob:
    """Return the job of a rule that fires."""
    rule = decision.rule
    own_time = settles_at(decision, moment, settings)
    settled_at = max(moment.now, own_time)
    start = opens_at(rule.schedule, settled_at, zone_of(settings))
    terms = JobTerms(
        profiles=rule.profiles,
        windows=tuple(map(str, rule.schedule)),
        dry_run=rule.dry_run,
        beside=rule.late_images is LateImages.ADD,
        settling=settled_at > moment.now,
        early=moment.closed_early and own_time < moment.complete_at,
    )
    return NewJob(
        rule=rule.name,
        pipeline=rule.pipeline,
        inputs={role: series.paths for role, series in decision.inputs.items()},
        destinations=rule.destinations,
        priority=_PRIORITIES.index(decision.priority),
        settings={**settings.pipelines.get(rule.pipeline, {}), **rule.settings},
        priors=_asked(decision, moment.now),
        terms=terms,
        not_before=start,
        reason=_why_later(terms, moment.now, start),
    )


def _asked(decision: Decision, now: float) -> AskedPriors | None:
    priors = decision.rule.priors
    if priors is None:
        return None
    return AskedPriors(priors.archive, print_rules(RuleSet((decision.rule,))), now + priors.time_limit_seconds)


def settles_at(decision: Decision, moment: Moment, settings: Settings) -> float:
    """Return when a rule takes its study for whole if nothing more comes (UTC seconds)."""
    own = decision.rule.completion
    times = [at for at, _ in own_reasons(decision, moment.arrived, settings.completion, moment.count_of)]
    return min(times if own is not None and own.quiet_seconds is not None else (*times, moment.complete_at))


def opens_again(terms: JobTerms, now: float, settings: Settings) -> float:
    """Return when a job may start by its schedule, from a time on (UTC seconds)."""
    windows = [window for text in terms.windows if (window := Window.read(text)) is not None]
    return opens_at(windows, now, zone_of(settings))


def waits_for_schedule(terms: JobTerms) -> str:
    """Return why a job waits outside of its windows, in words."""
    return f"waits for its schedule: {', '.join(terms.windows)}"


def zone_of(settings: Settings) -> tzinfo | None:
    """Return the time zone of the site; None: that of this computer."""
    return ZoneInfo(settings.node.time_zone) if settings.node.time_zone else None


def local_offset_minutes(at: float) -> int:
    """Return how far this computer's local time is ahead of UTC at a time (UTC seconds)."""
    offset = datetime.fromtimestamp(at, UTC).astimezone().utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


def _why_later(terms: JobTerms, now: float, start: float) -> str:
    if terms.settling:
        return "waits for its study to be whole, as the rule's completion says"
    return waits_for_schedule(terms) if start > now else ""
