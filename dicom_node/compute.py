"""Runs one job at a time on each worker process: time and memory limits, crash isolation, warm models.

The engine is Dask `distributed`: a LocalCluster inside the node by default, or an existing scheduler by address. It
holds nothing that matters: only as many jobs are submitted as there are free workers, and what it forgets the ledger
submits again. Results are collected by asking (`collect`), so that nothing of ours runs in the engine's own threads
except the noting of progress.
"""

import logging
import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dask
import structlog
from distributed import Client, Future, LocalCluster, get_worker
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from dicom_node.errors import ComputeUnavailable, Failure, MemoryLimitExceeded, TimeLimitExceeded, WorkerDied
from dicom_node.settings import ComputeSettings

log = structlog.get_logger(__name__)

_PROGRESS_TOPIC: Final = "dicom-node-progress"
_LOG_TOPIC: Final = "dicom-node-job-log"
_MEMORY_TOPIC: Final = "worker-restart-memory"  # published by Dask's nanny, with the pid it ended
_RESTART_SECONDS: Final = 30
_PLACING_SECONDS: Final = 5
#: How long the cause of a death is waited for; another computer's worker tells none.
_CAUSE_SECONDS: Final = 2.0
#: Lines of the log of a job, for when its worker dies.
_LINES_KEPT: Final = 200
_DEATH: Final = re.compile(r"Worker process (\d+) was killed by signal (\d+)")  # the nanny's own words
_ENGINE: Final[dict[str, Any]] = {
    # the ledger decides on retries, so a job that took its worker down is never run again by the engine
    "distributed.scheduler.allowed-failures": 0,
    # past the limit a worker is ended at once; spilling and pausing are for data, and we keep none there
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.0,
    "distributed.comm.timeouts.connect": "10s",
    # so long after a worker's death the cluster looks whether it is back, and gives it up for good if it is away - be
    # it because it died a second time: never, each nanny brings its worker back
    "distributed.deploy.lost-worker-timeout": "3650 days",
    "distributed.admin.tick.limit": "60s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How one job ended: the step's value, or the failure.

    Parameters
    ----------
    said : tuple of str
        The last lines of its log that came here while it ran; the value has them all, if there is one.
    """

    job_id: int
    value: Any
    failure: Failure | None
    said: tuple[str, ...] = ()


@dataclass(slots=True)
class _Running:
    future: Future
    deadline: float
    said: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))


class Compute:
    """Worker processes, one job each.

    Parameters
    ----------
    scratch : Path
        A folder for the engine's own temporary files.
    on_progress : callable (job id, share done 0 to 1, words)
        Called in a thread of the engine; must be quick.
    on_end : callable
        Called, in a thread of the engine, when a job ended: `collect` then has it.
    preload : str
        A module that every worker process imports when it starts, so that its first job need not.
    """

    def __init__(
        self,
        settings: ComputeSettings,
        scratch: Path,
        on_progress: Callable[[int, float, str], None],
        on_end: Callable[[], None] = lambda: None,
        preload: str = "",
    ) -> None:
        self._on_end = on_end
        self._preload = [preload] if preload else []
        self._settings = settings
        self._scratch = scratch
        self._on_progress = on_progress
        self._client: Client | None = None
        self._cluster: LocalCluster | None = None
        self._running: dict[int, _Running] = {}
        #: Jobs whose worker is to be ended and not known yet, and the addresses of workers that are being ended.
        self._unplaced = 0
        self._ending: set[str] = set()
        self._over_memory: set[int] = set()
        self._deaths = _Deaths()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Bring the workers up.

        Raises
        ------
        ComputeUnavailable
            If the scheduler at the configured address does not answer.
        """
        dask.config.set(_ENGINE | {"distributed.nanny.pre-spawn-environ": self._worker_environment()})
        self._deaths.listen()
        if not self._settings.scheduler:
            self._cluster = LocalCluster(**self._local())
        try:
            self._client = Client(self._cluster or self._settings.scheduler, timeout="20s", set_as_default=False)
        except OSError as error:
            said = f"no Dask scheduler answers at {self._settings.scheduler}"
            raise ComputeUnavailable(f"{said}: start it, or leave [compute] scheduler empty") from error
        self._client.subscribe_topic(_PROGRESS_TOPIC, self._note_progress)
        self._client.subscribe_topic(_LOG_TOPIC, self._note_line)
        self._client.subscribe_topic(_MEMORY_TOPIC, self._note_memory)

    def _local(self) -> dict[str, Any]:
        return {
            "n_workers": self._settings.workers,
            "threads_per_worker": 1,
            "processes": True,
            "memory_limit": self._settings.memory_limit_mib * 2**20,
            "host": "127.0.0.1",
            # the engine's HTTP server cannot be left out: any free port of loopback, and nothing to be read there
            "scheduler_kwargs": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            "worker_dashboard_address": None,
            "silence_logs": False,
            "local_directory": str(self._scratch),
            "preload": self._preload,
        }

    def _worker_environment(self) -> dict[str, str]:
        threads = str(self._settings.threads_per_job or max(1, (os.cpu_count() or 1) // self._settings.workers))
        libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        # a worker's standard error is the node's, and warnings of the DICOM libraries may quote the values they meet
        quiet = {"DASK_LOGGING__DISTRIBUTED": "error", "PYTHONWARNINGS": "ignore"}
        return dict.fromkeys(libraries, threads) | quiet

    def stop(self) -> None:
        """End the workers; what they were running is taken back by the ledger at the next start."""
        if self._client is not None:
            self._client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close(timeout=10)

    def workers(self) -> int:
        """Return how many workers there are, busy or not."""
        return 0 if self._client is None else len(self._client.scheduler_info(n_workers=-1)["workers"])

    def free_slots(self) -> int:
        """Return how many jobs can start now."""
        if self._client is None:
            return 0
        workers = set(self._client.scheduler_info(n_workers=-1)["workers"])
        with self._lock:
            return max(0, len(workers - self._ending) - len(self._running) - self._unplaced)

    def submit(self, job_id: int, step: Callable[..., Any], *arguments: Any) -> None:
        """Start one job on a free worker; `step` must be importable there.

        Raises
        ------
        ComputeUnavailable
            If the engine is not up.
        """
        if self._client is None:
            raise ComputeUnavailable("the compute engine is not started")
        # pure=False: the engine must never answer from memory
        future = self._client.submit(
            step, *arguments, pure=False, retries=0, key=f"job-{job_id}-{time.monotonic_ns()}"
        )
        with self._lock:
            self._running[job_id] = _Running(future, time.monotonic() + self._settings.time_limit_seconds)
        future.add_done_callback(lambda _: self._on_end())

    def running(self) -> set[int]:
        """Return the ids of the jobs that were submitted and not collected."""
        with self._lock:
            return set(self._running)

    def collect(self) -> list[Ended]:
        """Return the jobs that ended since the last call; those over their time are stopped and among them."""
        with self._lock:
            items = list(self._running.items())
        done = [self._ended(job_id, item) for job_id, item in items if item.future.done()]
        late = [item for item in items if not item[1].future.done() and time.monotonic() > item[1].deadline]
        for job_id, item in late:
            self.cancel(job_id)
            limit = f"{self._settings.time_limit_seconds:g} s, the time limit ([compute] time_limit_seconds)"
            done.append(Ended(job_id, None, TimeLimitExceeded(f"stopped after {limit}"), tuple(item.said)))
        return done

    def said(self, job_id: int) -> tuple[str, ...]:
        """Return the last lines of the log of a job that runs."""
        with self._lock:
            item = self._running.get(job_id)
            return tuple(item.said) if item else ()

    def cancel(self, job_id: int) -> None:
        """Stop a job by ending its worker process, even one that is stuck in C code; a new worker takes its place."""
        with self._lock:
            item = self._running.pop(job_id, None)
            if item is None or self._client is None:
                return
            self._unplaced += 1
        threading.Thread(target=self._end_worker, args=(self._client, item.future), daemon=True).start()

    def _end_worker(self, client: Client, future: Future) -> None:
        workers: list[str] = []
        try:
            workers = _workers_of(client, future)
        finally:
            with self._lock:
                self._unplaced -= 1
                self._ending.update(workers)
        try:
            future.cancel(force=True)
            if workers:
                client.restart_workers(workers, timeout=_RESTART_SECONDS, raise_for_error=False)
        except (OSError, TimeoutError, FutureCancelledError, KeyError) as error:
            # KeyError: the worker has died meanwhile, and its nanny brings it back without being asked
            log.warning("worker could not be restarted", exc_info=error)
        finally:
            with self._lock:
                self._ending.difference_update(workers)

    def _ended(self, job_id: int, item: _Running) -> Ended:
        with self._lock:
            self._running.pop(job_id, None)
        error = item.future.exception()
        if error is not None:
            return Ended(job_id, None, self._failure(error), tuple(item.said))
        if item.future.status != "finished":
            # cancelled or lost, not by us: the connection to the scheduler broke, or it was started anew
            forgotten = ComputeUnavailable("the compute engine has forgotten the job")
            return Ended(job_id, None, forgotten, tuple(item.said))
        return Ended(job_id, item.future.result(), None)

    def _failure(self, error: BaseException) -> Failure:
        if isinstance(error, Failure):
            return error
        if isinstance(error, KilledWorker):
            return self._death(error)
        # the step itself answers with values; anything else is the engine's own trouble, which passes
        return ComputeUnavailable(f"the compute engine lost the job ({type(error).__name__})")

    def _death(self, error: KilledWorker) -> Failure:
        if error.last_worker.pid in self._over_memory:
            limit = self._settings.memory_limit_mib
            return MemoryLimitExceeded(f"used more than {limit} MiB, the memory limit ([compute] memory_limit_mib)")
        return WorkerDied(
            f"the worker process ended while running the job: {self._deaths.cause(error.last_worker.pid)}"
        )

    def _note_progress(self, event: Any) -> None:
        _, message = event
        self._on_progress(message["job"], message["share"], message["step"])

    def _note_line(self, event: Any) -> None:
        _, message = event
        with self._lock:
            item = self._running.get(message["job"])
            if item is not None:
                item.said.append(message["line"])

    def _note_memory(self, event: Any) -> None:
        _, message = event
        self._over_memory.add(message["pid"])


def _workers_of(client: Client, future: Future) -> list[str]:
    """Return the address of the worker that has a job, none if it is over or has found no worker."""
    # a job that was submitted just now may not have reached the scheduler; cancelled there unseen, it would run on
    until = time.monotonic() + _PLACING_SECONDS
    while not future.done() and time.monotonic() < until:
        workers = [address for address, keys in client.processing().items() if future.key in keys]
        if workers:
            return workers
        time.sleep(0.05)
    return []


class _Deaths(logging.Handler):
    """Remembers by which signal a worker process ended; the engine says so in its log only."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._signals: dict[int, int] = {}
        self._heard = threading.Condition()

    def listen(self) -> None:
        """Read the engine's log lines; from WARNING up they go on to the node's own log."""
        for name in ("distributed", "distributed.client", "bokeh", "tornado"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.WARNING)
        nanny = logging.getLogger("distributed.nanny")
        nanny.setLevel(logging.INFO)
        nanny.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note one death."""
        found = _DEATH.search(record.getMessage())
        if found:
            with self._heard:
                self._signals[int(found[1])] = int(found[2])
                self._heard.notify_all()

    def cause(self, pid: int) -> str:
        """Return why a process ended, in words; the scheduler may know that it did before the nanny knows why."""
        with self._heard:
            self._heard.wait_for(lambda: pid in self._signals, _CAUSE_SECONDS)
            number = self._signals.get(pid)
        if number == signal.SIGKILL:
            return "killed (signal 9), by a person or because the machine ran out of memory"
        if number is None:
            return "it crashed, was killed, or the machine ran out of memory"
        return f"{signal.strsignal(number) or 'ended'} (signal {number})"


def report_progress(job_id: int, share: float, step: str) -> None:
    """Called on a worker: tell the node how far a job is."""
    get_worker().log_event(_PROGRESS_TOPIC, {"job": job_id, "share": share, "step": step})


def report_line(job_id: int, line: str) -> None:
    """Called on a worker: tell the node a line of a job's log."""
    get_worker().log_event(_LOG_TOPIC, {"job": job_id, "line": line})
