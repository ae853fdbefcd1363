"""Is it well? What the first page, /api/overview and /metrics say: of ledger, disk and the running node."""

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_node import __version__
from dicom_node.admin.office import Office
from dicom_node.admin.queries.counts import Queue
from dicom_node.admin.queries.silence import Habit
from dicom_node.admin.vitals import Disk, Reach, Vitals, disk_of
from dicom_node.echoes import Echo
from dicom_node.gpus import Gpu
from dicom_node.ledger import Pause
from dicom_node.presentation import sop_class_name


@dataclass(frozen=True, slots=True)
class DestinationState:
    """One destination; times are UTC seconds.

    Parameters
    ----------
    down_since : float or None
        None while it answers, as far as is known.
    refuses : tuple of str
        SOP classes of its profile that it does not accept.
    echo : Echo or None
        The last C-ECHO, and what came of it.
    """

    name: str
    protocol: str
    profile: str
    down_since: float | None
    reason: str
    refuses: tuple[str, ...]
    asked: bool
    paused_by: str
    paused_at: float | None
    waiting: int
    sending: int
    held: int
    oldest_at: float | None
    delivered_at: float | None
    echo: Echo | None

    @property
    def away(self) -> tuple[float, str] | None:
        """Since when it does not answer, deliveries or C-ECHO, and why; None while it does, as far as is known."""
        found = []
        if self.down_since is not None:
            found.append((self.down_since, self.reason))
        if self.echo is not None and self.echo.silent_since is not None:
            found.append((self.echo.silent_since, self.echo.reason))
        return min(found, default=None)


@dataclass(frozen=True, slots=True)
class Overview:
    """A node, now; times are UTC seconds.

    Parameters
    ----------
    troubles : tuple of str
        What a person should look at, in words; empty if all is well.
    """

    node: str
    version: str
    now: float
    started_at: float
    troubles: tuple[str, ...]
    receivers: int
    receivers_wanted: int
    workers: int
    free_workers: int
    device: str
    gpus: tuple[Gpu, ...]
    disk: Disk
    studies_today: Mapping[str, int]
    jobs: Mapping[str, int]
    destinations: tuple[DestinationState, ...]
    senders: tuple[Habit, ...]


def overview_of(office: Office) -> Overview:
    """Return how the node is."""
    settings, now, vitals = office.settings, office.clock(), office.vitals()
    destinations = destination_states(office, vitals)
    disk = disk_of(settings.node.data, settings.reception.free_space_floor_mib)
    habits, jobs = _habits(office, now), office.counts.jobs()
    troubles = [
        *_troubles_of_parts(vitals.receivers, vitals.receivers_wanted, vitals.workers, disk),
        *_troubles_of_destinations(destinations),
        *([f"{jobs['held']} job(s) held: each waits for a decision"] if jobs["held"] else []),
        *(f"{habit.sender} has fallen silent" for habit in habits if habit.silent),
    ]
    return Overview(
        node=settings.node.name,
        version=__version__,
        now=now,
        started_at=vitals.started_at,
        troubles=tuple(troubles),
        receivers=vitals.receivers,
        receivers_wanted=vitals.receivers_wanted,
        workers=vitals.workers,
        free_workers=vitals.free_workers,
        device=vitals.device,
        gpus=vitals.gpus(),
        disk=disk,
        studies_today=office.counts.studies(office.midnight()),
        jobs=jobs,
        destinations=destinations,
        senders=habits,
    )


def _habits(office: Office, now: float) -> tuple[Habit, ...]:
    """Return the habits of those who may send: of somebody who was taken out of `node.toml` nothing is awaited."""
    sources = office.settings.sources
    habits = office.habits.every(now, office.local)
    return tuple(habit for habit in habits if any(source.is_called(habit.sender) for source in sources))


def destination_states(office: Office, vitals: Vitals | None = None) -> tuple[DestinationState, ...]:
    """Return how each destination of `node.toml` is, by the node's vitals if they were asked for already."""
    known = (vitals or office.vitals()).destinations
    queues, pauses = office.counts.queues(), office.ledger.trail.pauses()
    found = []
    for destination in office.settings.destinations:
        name = destination.name
        found.append(
            _state(
                (name, destination.protocol, destination.profile),
                known.get(name, Reach()),
                queues.get(name, Queue()),
                pauses.get(name),
            )
        )
    return tuple(found)


def _state(who: tuple[str, str, str], reach: Reach, queue: Queue, pause: Pause | None) -> DestinationState:
    accepts = reach.accepts or {}
    return DestinationState(
        *who,
        down_since=reach.down_since,
        reason=reach.reason,
        refuses=tuple(sop_class_name(uid) for uid, yes in accepts.items() if yes is False),
        asked=bool(accepts),
        paused_by=pause.who if pause else "",
        paused_at=pause.at if pause else None,
        waiting=queue.waiting,
        sending=queue.sending,
        held=queue.held,
        oldest_at=queue.oldest_at,
        delivered_at=queue.delivered_at,
        echo=reach.echo,
    )


def _troubles_of_parts(receivers: int, wanted: int, workers: int, disk: Disk) -> list[str]:
    told = []
    if receivers < wanted:
        told.append(f"{wanted - receivers} of {wanted} receivers are down: nothing may be received")
    if not workers:
        told.append("no worker process is there: jobs wait")
    if disk.full:
        told.append(f"the disk is full: {disk.free_mib} MiB free, nothing more is accepted (0xA700)")
    elif disk.low:
        told.append(f"the disk is low: {disk.free_mib} MiB free, reception stops at {disk.floor_mib} MiB")
    return told


def _troubles_of_destinations(destinations: tuple[DestinationState, ...]) -> list[str]:
    told = []
    for each in destinations:
        if each.down_since is not None:
            told.append(f"{each.name} does not answer: {each.reason}")
        elif each.echo is not None and not each.echo.answered:
            told.append(f"{each.name} did not answer when it was last asked (C-ECHO): {each.echo.reason}")
        if each.paused_at is not None:
            told.append(f"{each.name} is paused by {each.paused_by}")
        if each.held:
            told.append(f"{each.held} object(s) for {each.name} are held: each waits for a decision")
    return told
