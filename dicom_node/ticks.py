"""When each stage is called: APScheduler ticks, by the clock and sooner where somebody waits."""

import contextlib
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from dicom_node.counting import Counting
from dicom_node.delivering import Delivering
from dicom_node.fetching import Fetching
from dicom_node.flow import Flow
from dicom_node.settings import Destination, Settings

log = structlog.get_logger(__name__)

#: From so many receivers on, they have processes of their own.
SEVERAL: Final = 2
_NICE: Final = 10
_LEASE_TICK_SECONDS: Final = 10.0
#: A file that was edited is taken at the second look, and within two seconds.
_RULES_TICK_SECONDS: Final = 0.8
_SETTINGS_TICK_SECONDS: Final = 0.8
_COUNT_TICK_SECONDS: Final = 1.0
_PROOF_TICK_SECONDS: Final = 0.5
_FETCH_TICK_SECONDS: Final = 0.5
_SETTLE_SECONDS: Final = 5.0
_COMMITMENT_TICK_SECONDS: Final = 1.0
#: What a destination accepts changes when somebody configures it.
_LEARNING_TICK_SECONDS: Final = 600.0
#: Threads are started when they are needed; so many destinations may be added while the node runs.
_MORE_DESTINATIONS: Final = 32


class Ticks:
    """APScheduler calls the stages; it holds ticks only, never jobs."""

    def __init__(
        self,
        settings: Settings,
        flow: Flow,
        delivering: Delivering,
        fetching: Fetching,
        counting: Counting,
        reload_rules: Callable[[], None],
        reload_settings: Callable[[], None],
        settled: Callable[[float], bool],
    ) -> None:
        tick = settings.node.tick_seconds
        self._settings = settings
        self._destinations: tuple[Destination, ...] = ()
        self._delivering = delivering
        self._counting = counting
        options = {"initializer": _give_way} if settings.reception.processes >= SEVERAL else {}
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(_threads(settings), options)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        self._add("headers", flow.read_headers, tick)
        # in one tick, because a study that is complete should not wait three ticks for its job
        self._add("journey", _each(flow.close_quiet, flow.route, flow.run), tick)
        self._add("collect", self._collect, tick, flow)
        self._add("leases", flow.keep_leases, _LEASE_TICK_SECONDS)
        self._add("commitments", self._report, _COMMITMENT_TICK_SECONDS, delivering, settled)
        self._add("counts", counting.ask, _COUNT_TICK_SECONDS)
        self._add("rules", reload_rules, _RULES_TICK_SECONDS)
        self._add("settings", reload_settings, _SETTINGS_TICK_SECONDS)
        self._add("late fetches", fetching.give_up_late, _FETCH_TICK_SECONDS)
        for archive in settings.archives:
            self._add(f"fetch from {archive.name}", fetching.fetch, _FETCH_TICK_SECONDS, archive)
        self._meet(settings.destinations)

    def take(self, settings: Settings) -> None:
        """Call on the destinations of these settings from now on: new ones at once, others no more."""
        kept = {each for each in self._destinations if each in settings.destinations}
        for destination in self._destinations:
            if destination not in kept:
                for name, _, _ in self._stages(destination):
                    self._scheduler.remove_job(name)
        self._meet(settings.destinations)
        for destination in settings.destinations:
            if destination not in kept:
                self.soon(_learning(destination))
                self.soon(_delivery(destination))

    def _meet(self, destinations: tuple[Destination, ...]) -> None:
        """Add the ticks of the destinations that have none yet."""
        for destination in destinations:
            if destination not in self._destinations:
                for name, stage, seconds in self._stages(destination):
                    self._add(name, stage, seconds, destination)
        self._destinations = destinations

    def _stages(self, destination: Destination) -> tuple[tuple[str, Callable[[Destination], None], float], ...]:
        """Return the ticks of a destination: name, stage, every so many seconds."""
        name, delivering, settings = destination.name, self._delivering, self._settings
        return (
            (_delivery(destination), delivering.deliver, settings.node.tick_seconds),
            (f"probe {name}", delivering.probe, settings.delivery.echo_seconds),
            (_learning(destination), delivering.learn, _LEARNING_TICK_SECONDS),
            (f"prove {name}", delivering.prove, _PROOF_TICK_SECONDS),
        )

    def _collect(self, flow: Flow) -> None:
        if flow.collect():
            for destination in self._destinations:
                self.soon(_delivery(destination))

    def _report(self, delivering: Delivering, settled: Callable[[float], bool]) -> None:
        """Report on commitments, if the ledger has what was answered: else it is not the truth yet."""
        if settled(_SETTLE_SECONDS):
            delivering.report_commitments()

    def soon(self, name: str) -> None:
        """Let a tick happen now instead of at its time."""
        if self._scheduler.running:  # a job may end while the node stops
            with contextlib.suppress(JobLookupError):  # of a destination that has just been removed
                self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def _add(self, name: str, stage: Callable[..., None], seconds: float, *arguments: Any) -> None:
        self._scheduler.add_job(_guarded, "interval", (name, stage, *arguments), seconds=seconds, id=name)

    def start(self) -> None:
        """Begin to tick; what destinations accept is asked for at once."""
        self._scheduler.start()
        for destination in self._destinations:
            self.soon(_learning(destination))

    def stop(self) -> None:
        """End after the running ticks have ended."""
        self._delivering.stop()
        self._counting.stop()
        self._scheduler.shutdown(wait=True)


def _threads(settings: Settings) -> int:
    return 11 + 4 * (len(settings.destinations) + _MORE_DESTINATIONS) + len(settings.archives)


def _delivery(destination: Destination) -> str:
    return f"deliver to {destination.name}"


def _learning(destination: Destination) -> str:
    return f"learn {destination.name}"


def _give_way() -> None:
    """Let receivers go first where the processor is short: a sender waits for its answer, a header can wait.

    For this thread only (Linux), and only if no receiver shares this process and its interpreter.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _each(*stages: Callable[[], None]) -> Callable[[], None]:
    def run_all() -> None:
        for stage in stages:
            stage()

    return run_all


def _guarded(name: str, stage: Callable[..., None], *arguments: Any) -> None:
    """Call a stage; the named boundary: an error is logged, and the next tick tries again from the ledger."""
    try:
        stage(*arguments)
    except Exception:
        log.exception("stage failed", step=name)
