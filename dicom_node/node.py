"""The composition root: builds everything once, starts it in order, stops it in the opposite order."""

import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from sqlalchemy import URL

from dicom_node import __version__, task
from dicom_node.admin.vitals import Reach, Vitals
from dicom_node.compute import Compute
from dicom_node.counting import Counting
from dicom_node.counts import Counts
from dicom_node.delivering import Delivering
from dicom_node.errors import Failure, PagesUnavailable
from dicom_node.fetching import Fetching
from dicom_node.flow import SECONDS_A_DAY, Flow
from dicom_node.gpus import Gpus
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.live_settings import LiveSettings
from dicom_node.offers import Offers
from dicom_node.rulebook import RuleBook, Rules
from dicom_node.settings import Settings
from dicom_node.storage_scp import CommitmentDesk, ReceiverProcesses, Setup, StorageSCP
from dicom_node.ticks import SEVERAL, Ticks

log = structlog.get_logger(__name__)

_MIB: Final = 2**20


class NodeBusy(Failure):
    """Another node works with the same data folder."""


def ledger_url(settings: Settings) -> str:
    """Return the database URL: that of the settings, or SQLite in the data folder."""
    # made by parts: a folder's name may hold what means something in a URL (#, ?, %)
    return settings.ledger.url or str(URL.create("sqlite", database=str(settings.node.data / "ledger.sqlite")))


class Node:
    """One running node.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    config : Path or None
        The file of the settings: its destinations and sources may change while the node runs.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.time, config: Path | None = None
    ) -> None:
        self._settings = settings
        self._config = config
        self._clock = clock
        self._rules: Rules | None = None
        self._book: RuleBook | None = None
        self._lock: TextIO | None = None
        self._parts: list[Any] = []
        self._pages: Any = None
        self._scp: StorageSCP | ReceiverProcesses | None = None
        self._ledger: Ledger | None = None
        self._ticks: Ticks | None = None
        self._gpus = Gpus()

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

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        if self._rules is None:
            raise NodeBusy("the node is not started")
        return self._rules

    @property
    def book(self) -> RuleBook:
        """The versions of the rules."""
        if self._book is None:
            raise NodeBusy("the node is not started")
        return self._book

    def start(self) -> None:
        """Start everything; when this returns the node receives.

        Raises
        ------
        NodeBusy
            If another node has the data folder.
        OSError
            If the port cannot be bound.
        SettingsInvalid
            If there are no rules that can be used.
        """
        settings = self._settings
        settings.node.data.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(settings.node.data / "node.lock")
        store = InstanceStore(settings.node.data / "store", settings.reception.free_space_floor_mib * _MIB)
        swept = store.sweep()
        self._ledger = open_ledger(ledger_url(settings))
        live = LiveSettings(settings, self._config, self._ledger, self._clock)
        self._book = RuleBook(settings, self._ledger, self._clock)
        try:
            self._rules = self._book.start()
        except BaseException:
            self.stop()
            raise
        scratch = settings.node.data / "scratch"
        compute = Compute(
            settings.compute,
            scratch,
            self._ledger.jobs.note_progress,
            on_end=self._wake,
            preload=task.__name__,
        )
        offers, counts = Offers(), Counts()
        flow = Flow(settings, self._ledger, store, compute, lambda: self.rules, self._clock, offers, counts)
        flow.take_back(starting=True)
        delivering = Delivering(settings, self._ledger, store, self._clock, offers)
        fetching = Fetching(settings, self._ledger, store, self._clock)
        self._scp = self._reception(store, self._ledger)
        try:
            self._scp.start()
            compute.start()
            counting = Counting(settings, counts, self._clock)
            self._ticks = Ticks(
                settings,
                flow,
                delivering,
                fetching,
                counting,
                self.reload_rules,
                live.refresh,
                self._scp.all_settled,
            )
            scp = self._scp
            live.watch(lambda settings: scp.admit(settings.sources))
            for part in (self._book, flow, delivering, counting, self._ticks):
                live.watch(part.take)
            self._parts = [fetching, self._ticks, compute]
            self._ticks.start()
            self._serve_pages(live, store, delivering, compute, offers)
        except BaseException:
            self.stop()
            raise
        log.info("node started", node=settings.node.name, version=__version__, port=self.scp_port, count=swept)

    def _serve_pages(
        self, live: LiveSettings, store: InstanceStore, delivering: Delivering, compute: Compute, known: Offers
    ) -> None:
        """Serve the pages, if they are wanted; without them the node receives all the same."""
        if not self._settings.admin.enabled:
            return
        # a second and 50 MB, which a node without pages, and every command, can do without
        from dicom_node.admin.house import make_pages  # noqa: PLC0415

        started_at = self._clock()

        def vitals() -> Vitals:
            return self._vitals(started_at, live.now, delivering, compute, known)

        pages = make_pages(live, self.ledger, store.root, self._clock, vitals)
        self._pages = pages
        try:
            pages.start()
        except PagesUnavailable as failure:
            log.exception("pages are not served", reason=str(failure))
        else:
            log.info("pages served", address=pages.url)

    def _vitals(
        self, started_at: float, settings: Settings, delivering: Delivering, compute: Compute, known: Offers
    ) -> Vitals:
        scp = self._scp
        receivers = (len(scp.pids), settings.reception.processes) if isinstance(scp, ReceiverProcesses) else (1, 1)
        reaches = {}
        for destination in settings.destinations:
            outage = delivering.outage(destination)
            since, reason = (None, "") if outage is None else (outage.since, outage.reason)
            reaches[destination.name] = Reach(since, reason, known.of(destination.name), delivering.echo(destination))
        return Vitals(
            started_at,
            *receivers,
            compute.workers(),
            compute.free_slots(),
            settings.compute.device,
            reaches,
            self._gpus.now,
        )

    def _reception(self, store: InstanceStore, ledger: Ledger) -> StorageSCP | ReceiverProcesses:
        settings = self._settings
        reception, ae_title = settings.reception, settings.node.ae_title
        desk = self._desk(store, ledger)
        scp = StorageSCP(
            reception, ae_title, settings.sources, store, ledger.arrivals, self._clock, desk, ledger.records.note_all
        )
        only_tls = reception.tls is not None and reception.tls.only
        if reception.processes < SEVERAL or only_tls:
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
        """Stop the pages, then receiving, the ticks, the workers; unfinished work is taken up at the next start."""
        if self._pages is not None:
            self._pages.stop()
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
        """Take the rules that were saved or edited since; with a fault, what was in force stays in force."""
        self._rules = self.book.refreshed(self.rules)


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
