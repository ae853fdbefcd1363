"""Is this study complete? Pure: what arrived, the policy and the time give an answer and its reason in words.

DICOM has no message that says "this was the whole study", so a node can only judge by silence. Two silences count:
a long one (`quiet_seconds`), or a short one (`release_grace_seconds`) after every association that carried the
study was released - the sender's way to say that it meant to stop (PS3.8 7.2).
"""

from dataclasses import dataclass
from math import floor

from dicom_node.entities import AssociationEnd
from dicom_node.settings import CompletionSettings


@dataclass(frozen=True, slots=True)
class AssociationState:
    """How one association that carried the study stands.

    Parameters
    ----------
    end : AssociationEnd or None
        None while it is open.
    ended_at : float or None
        UTC seconds.
    """

    end: AssociationEnd | None
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class StudyArrivals:
    """What has arrived of one revision of a study.

    Parameters
    ----------
    last_arrival_at : float
        UTC seconds.
    associations : tuple of AssociationState
        Those that carried at least one instance of it.
    watched_since : float
        When this node process started listening, UTC seconds: silence while nobody listened is no silence.
    """

    instances: int
    last_arrival_at: float
    associations: tuple[AssociationState, ...]
    watched_since: float

    @property
    def quiet_since(self) -> float:
        """Since when nothing came, and somebody listened (UTC seconds)."""
        return max(self.last_arrival_at, self.watched_since)

    @property
    def released_at(self) -> float | None:
        """When the last association was released (UTC seconds); None if one is open, or ended in any other way."""
        if not all(state.end is AssociationEnd.RELEASED for state in self.associations):
            return None
        times = [state.ended_at for state in self.associations if state.ended_at is not None]
        return max(times) if times and len(times) == len(self.associations) else None


@dataclass(frozen=True, slots=True)
class CompletionAnswer:
    """Complete or not, why, and - if not - when the answer can change without another arrival (UTC seconds)."""

    complete: bool
    reason: str
    look_again_at: float


def decide(arrivals: StudyArrivals, policy: CompletionSettings, now: float) -> CompletionAnswer:
    """Return whether a study is complete at a time (UTC seconds), and the reason in words."""
    quiet_since, released_at = arrivals.quiet_since, arrivals.released_at
    quiet_at = quiet_since + policy.quiet_seconds
    if released_at is not None:
        grace_since = max(quiet_since, released_at)
        grace_at = grace_since + policy.release_grace_seconds
        if now >= grace_at:
            silence = _seconds(now - grace_since)
            return _complete(f"{_counted(arrivals)}; every association was released, then quiet for {silence}", now)
        quiet_at = min(quiet_at, grace_at)
    if now >= quiet_at:
        return _complete(f"quiet for {_seconds(now - quiet_since)}, {_counted(arrivals)}{_ends(arrivals)}", now)
    waiting = f"{_counted(arrivals)} so far; complete if nothing arrives for {_seconds(quiet_at - now)} more"
    return CompletionAnswer(complete=False, reason=waiting + _ends(arrivals), look_again_at=quiet_at)


def _complete(reason: str, now: float) -> CompletionAnswer:
    return CompletionAnswer(complete=True, reason=reason, look_again_at=now)


def _counted(arrivals: StudyArrivals) -> str:
    return "1 instance" if arrivals.instances == 1 else f"{arrivals.instances} instances"


def _ends(arrivals: StudyArrivals) -> str:
    """Return "; one association was aborted" and the like: what kept the shorter grace from counting."""
    ends = [state.end for state in arrivals.associations]
    parts = [
        _associations(ends.count(AssociationEnd.ABORTED), "was aborted", "were aborted"),
        _associations(ends.count(AssociationEnd.LOST), "was lost", "were lost"),
        _associations(ends.count(None), "is still open", "are still open"),
    ]
    return "".join(f"; {part}" for part in parts if part)


def _associations(count: int, one: str, several: str) -> str:
    if count == 0:
        return ""
    return f"one association {one}" if count == 1 else f"{count} associations {several}"


def _seconds(duration: float) -> str:
    """Return whole seconds, or tenths below ten, rounded down: never more silence than there was."""
    tenths = floor(duration * 10) / 10
    return f"{floor(duration) if tenths >= 10 else tenths:g} s"  # noqa: PLR2004
