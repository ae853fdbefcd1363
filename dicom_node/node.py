"""The composition root: builds everything once, starts it in order, stops it in the opposite order."""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import URL

from dicom_node import __version__, catalogue, task
from dicom_node.compute import Compute
from dicom_node.delivering import Delivering
from dicom_node.errors import Failure, SettingsInvalid
from dicom_node.fetching import Fetching
from dicom_node.flow import SECONDS_A_DAY, Flow, Rules
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.offers import Offers
from dicom_node.pipeline_settings import check_rule_settings
from dicom_node.routing import parse_rules
from dicom_node.settings import Destination, Settings
from dicom_node.storage_scp import CommitmentDesk, ReceiverProcesses, Setup, StorageSCP

log = structlog.get_logger(__name__)

_MIB: Final = 2**20
_SEVERAL: Final = 2
_NICE: Final = 10
_LEASE_TICK_SECONDS: Final = 10.0
_RULES_TICK_SECONDS: Final = 1.0
_PROOF_TICK_SECONDS: Final = 0.5
_FETCH_TICK_SECONDS: Final = 0.5
_SETTLE_SECONDS: Final = 5.0
_COMMITMENT_TICK_SECONDS: Final = 1.0
#: What a destination accepts changes when somebody configures it.
_LEARNING_TICK_SECONDS: Final = 600.0


class NodeBusy(Failure):
    """Another node works with the same data folder."""


def ledger_url(settings: Settings) -> str:
    """Return the database URL: that of the settings, or SQLite in the data folder."""
    # made by parts: a folder's name may hold what means something in a URL (#, ?, %)
    return settings.ledger.url or str(URL.create("sqlite", database=str(settings.node.data / "ledger.sqlite")))


def read_rules(settings: Settings) -> Rules:
    """Return the rules of `rules.toml`, checked against what is installed and set up.

    Raises
    ------
    SettingsInvalid
        With every fault as "file:line: what is wrong; what would be right".
    """
    path = settings.node.rules
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: cannot be read; [node] rules in node.toml names the file") from error
    destinations = {destination.name for destination in settings.destinations}
    archives = {archive.name for archive in settings.archives}
    rules = parse_rules(text, str(path), catalogue.roles(), destinations, archives)
    check_rule_settings(rules, text, str(path))
    return Rules(rules, text)


class Node:
    """One running node.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._rules = read_rules(settings)
        self._rules_changed_at = _changed_at(settings.node.rules)
        self._lock: TextIO | None = None
        self._parts: list[Any] = []
        self._scp: StorageSCP | ReceiverProcesses | None = None
        self._ledger: Ledger | None = None
        self._ticks: _Ticks | None = None

    @property
    def scp_port(self) -> int:
        """The port that the Storage SCP listens on."""
        if self._scp is None:
            raise NodeBusy("the node is not started")
        return self._scp.port

    @property
    def ledger(self) -> Ledger:
        """The node's ledger."""
        if self._ledger is None:
            raise NodeBusy("the node is not started")
        return self._ledger

    def start(self) -> None:
        """Start everything; when this returns the node receives.

        Raises
        ------
        NodeBusy
            If another node has the data folder.
        OSError
            If the port cannot be bound.
        """
        settings = self._settings
        settings.node.data.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(settings.node.data / "node.lock")
        store = InstanceStore(settings.node.data / "store", settings.reception.free_space_floor_mib * _MIB)
        swept = store.sweep()
        self._ledger = open_ledger(ledger_url(settings))
        scratch = settings.node.data / "scratch"
        compute = Compute(
            settings.compute,
            scratch,
            self._ledger.jobs.note_progress,
            on_end=self._wake,
            preload=task.__name__,
        )
        offers = Offers()
        flow = Flow(settings, self._ledger, store, compute, lambda: self._rules, self._clock, offers)
        flow.take_back(starting=True)
        delivering = Delivering(settings, self._ledger, store, self._clock, offers)
        fetching = Fetching(settings, self._ledger, store, self._clock)
        self._scp = self._reception(store, self._ledger)
        try:
            self._scp.start()
            compute.start()
            self._ticks = _Ticks(settings, flow, delivering, fetching, self.reload_rules, self._scp.all_settled)
            self._parts = [fetching, self._ticks, compute]
            self._ticks.start()
        except BaseException:
            self.stop()
            raise
        log.info("node started", node=settings.node.name, version=__version__, port=self.scp_port, count=swept)

    def _reception(self, store: InstanceStore, ledger: Ledger) -> StorageSCP | ReceiverProcesses:
        settings = self._settings
        reception, ae_title = settings.reception, settings.node.ae_title
        desk = self._desk(store, ledger)
        scp = StorageSCP(
            reception, ae_title, settings.sources, store, ledger.arrivals, self._clock, desk, ledger.records.note_all
        )
        only_tls = reception.tls is not None and reception.tls.only
        if reception.processes < _SEVERAL or only_tls:
            return scp
        setup = Setup(
            reception,
            ae_title,
            settings.sources,
            store.root,
            reception.free_space_floor_mib * _MIB,
            ledger_url(settings),
            settings.log,
            desk.owner,
            desk.give_up_seconds,
        )
        arrivals = ledger.arrivals
        return ReceiverProcesses(
            setup, scp.reception, lose=lambda mark: arrivals.lose_associations(mark, self._clock())
        )

    def _desk(self, store: InstanceStore, ledger: Ledger) -> CommitmentDesk:
        give_up_seconds = self._settings.delivery.give_up_days * SECONDS_A_DAY
        name = self._settings.node.name
        return CommitmentDesk(ledger.commitments, ledger.proofs, store, name, give_up_seconds, self._clock)

    def stop(self) -> None:
        """Stop receiving first, then the ticks, then the workers; unfinished work is taken up at the next start."""
        if self._scp is not None:
            self._scp.stop(grace_seconds=5)
        for part in self._parts:
            part.stop()
        if self._ledger is not None:
            self._ledger.close()
        if self._lock is not None:
            self._lock.close()
        log.info("node stopped", node=self._settings.node.name)

    def _wake(self) -> None:
        if self._ticks is not None:
            self._ticks.soon("collect")

    def reload_rules(self) -> None:
        """Take `rules.toml` when it has changed and has no fault; with a fault, what was in force stays in force."""
        changed_at = _changed_at(self._settings.node.rules)
        if changed_at == self._rules_changed_at:
            return
        self._rules_changed_at = changed_at
        try:
            self._rules = read_rules(self._settings)
        except Failure as error:
            log.warning("rules not taken, the former stay in force", reason=str(error))
        else:
            log.info("rules taken", count=len(self._rules.parsed.rules), version=self._rules.parsed.digest[:12])


class _Ticks:
    """APScheduler calls the stages; it holds ticks only, never jobs."""

    def __init__(
        self,
        settings: Settings,
        flow: Flow,
        delivering: Delivering,
        fetching: Fetching,
        reload_rules: Callable[[], None],
        settled: Callable[[float], bool],
    ) -> None:
        tick = settings.node.tick_seconds
        self._destinations = settings.destinations
        self._delivering = delivering
        options = {"initializer": _give_way} if settings.reception.processes >= _SEVERAL else {}
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(_threads(settings), options)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        self._add("headers", flow.read_headers, tick)
        # in one tick, because a study that is complete should not wait three ticks for its job
        self._add("journey", _each(flow.close_quiet, flow.route, flow.run), tick)
        self._add("collect", self._collect, tick, flow, settings.destinations)
        self._add("leases", flow.keep_leases, _LEASE_TICK_SECONDS)
        self._add("commitments", self._report, _COMMITMENT_TICK_SECONDS, delivering, settled)
        self._add("rules", reload_rules, _RULES_TICK_SECONDS)
        self._add("late fetches", fetching.give_up_late, _FETCH_TICK_SECONDS)
        for archive in settings.archives:
            self._add(f"fetch from {archive.name}", fetching.fetch, _FETCH_TICK_SECONDS, archive)
        for destination in settings.destinations:
            self._add(_delivery(destination), delivering.deliver, tick, destination)
            self._add(f"probe {destination.name}", delivering.probe, settings.delivery.echo_seconds, destination)
            self._add(f"learn {destination.name}", delivering.learn, _LEARNING_TICK_SECONDS, destination)
            self._add(f"prove {destination.name}", delivering.prove, _PROOF_TICK_SECONDS, destination)

    def _collect(self, flow: Flow, destinations: Sequence[Destination]) -> None:
        if flow.collect():
            for destination in destinations:
                self.soon(_delivery(destination))

    def _report(self, delivering: Delivering, settled: Callable[[float], bool]) -> None:
        """Report on commitments, if the ledger has what was answered: else it is not the truth yet."""
        if settled(_SETTLE_SECONDS):
            delivering.report_commitments()

    def soon(self, name: str) -> None:
        """Let a tick happen now instead of at its time."""
        if self._scheduler.running:  # a job may end while the node stops
            self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def _add(self, name: str, stage: Callable[..., None], seconds: float, *arguments: Any) -> None:
        self._scheduler.add_job(_guarded, "interval", (name, stage, *arguments), seconds=seconds, id=name)

    def start(self) -> None:
        """Begin to tick; what destinations accept is asked for at once."""
        self._scheduler.start()
        for destination in self._destinations:
            self.soon(f"learn {destination.name}")

    def stop(self) -> None:
        """End after the running ticks have ended."""
        self._delivering.stop()
        self._scheduler.shutdown(wait=True)


def _threads(settings: Settings) -> int:
    return 9 + 4 * len(settings.destinations) + len(settings.archives)


def _delivery(destination: Destination) -> str:
    return f"deliver to {destination.name}"


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


def _lock(path: Path) -> TextIO:
    file = path.open("w", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise NodeBusy(
            f"another dicom-node works with {path.parent}: stop it, or give this one its own data"
        ) from None
    return file


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
