"""Receivers taken through their rows in turn, round after round."""

import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.light_senders import SendersFailed, send_light
from bench.receivers import RECEIVERS, Running
from bench.reception_rows import Row, Section
from bench.response_times import response_times
from bench.senders import SHORT_AT_ONCE, Files, Template, send
from bench.watch import Watch, wait_until_idle
from dicom_node.entities import Peer

_SWITCH: Final = "TCP_NODELAY"


@dataclass(frozen=True)
class Run:
    """One receiver under one load: instances and MB a second, CPU seconds for 1000 instances, memory in MB."""

    rate: float
    megabytes: float
    cpu: float
    peak: float
    swing: float


def rate(instances: float) -> str:
    """Return instances a second as text."""
    return f"{instances:.0f}" if instances >= 10 else f"{instances:.2f}"


@dataclass
class Results:
    """Every run of one row, by receiver and round; None where the receiver failed."""

    row: Row
    runs: dict[str, list[Run | None]] = field(default_factory=dict)

    def good(self, receiver: str) -> list[Run]:
        """Return the runs in which everything was taken."""
        return [run for run in self.runs.get(receiver, []) if run]

    def ratio(self, peer: str) -> float | None:
        """Return the median, over the rounds, of how many times as fast as a peer the node was."""
        pairs = zip(self.runs["node"], self.runs[peer], strict=True)
        ratios = [ours.rate / theirs.rate for ours, theirs in pairs if ours and theirs]
        return statistics.median(ratios) if ratios else None


class Stage:
    """Where receivers appear one at a time, each in a fresh folder; one leaves while the next one starts.

    Parameters
    ----------
    scratch : Path
        A folder on the disk to measure.
    say : callable
        Told how it goes.
    """

    def __init__(self, series: Path, scratch: Path, say: Callable[[str], None]) -> None:
        self._series = series
        self._scratch = scratch
        self._say = say
        self._pool = ThreadPoolExecutor(1)
        self._leaving: Future[None] = self._pool.submit(lambda: None)

    def section(self, section: Section, repeats: int) -> list[Results]:
        """Run every receiver through the rows of a section, `repeats` times."""
        found = [Results(row) for row in section.rows]
        names = ["node", *section.peers]
        with _switched(section.nagle), self._sources(section) as sources:
            for number in range(1, repeats + 1):
                # the order turns, so that no receiver always follows the same one
                for name in names if number % 2 else reversed(names):
                    self._appear(name, found, sources)
                rates = "; ".join(_told(each) for each in found)
                self._say(f"{section.name}, {number} of {repeats}: {rates}")
            self._leaving.result()
        return found

    def times(self, names: list[str], count: int, size: int) -> dict[str, list[float]]:
        """Return the response times of each receiver under 16 associations."""
        found = {}
        with _switched(nagle=False):
            for name in names:
                self._say(f"response times of {name}")
                with self._started(name) as running:
                    found[name] = response_times(running.peer, count, size)
            self._leaving.result()
        return found

    @contextmanager
    def _sources(self, section: Section) -> Iterator[dict[tuple[Row, int], Files]]:
        with tempfile.TemporaryDirectory(prefix="source-", dir=self._scratch) as folder:
            sources: dict[tuple[Row, int], Files] = {}
            templates = {size: Template(self._series, size) for size in {row.size for row in section.rows}}
            for row in section.rows:
                for count in {row.count_for(name) for name in ("node", *row.peers)}:
                    target = Path(folder) / str(len(sources))
                    sources[row, count] = templates[row.size].write(target, count, row.load.associations)
            yield sources

    @contextmanager
    def _started(self, name: str) -> Iterator[Running]:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self._scratch))
            running = stack.enter_context(RECEIVERS[name](Path(folder)))
            self._leaving.result()
            wait_until_idle(running.process)  # it answers before all of it has started
            yield running
            self._leaving = self._pool.submit(stack.pop_all().close)

    def _appear(self, name: str, found: list[Results], sources: dict[tuple[Row, int], Files]) -> None:
        with self._started(name) as running:
            has = 0
            for results in found:
                if name == "node" or name in results.row.peers:
                    files = sources[results.row, results.row.count_for(name)]
                    run = self._run(running, files, results.row)
                    has, had = running.kept(), has
                    if run and has - had != files.count:
                        self._say(f"{name} has {has - had} of {files.count} instances: {results.row.name}")
                        run = None
                    results.runs.setdefault(name, []).append(run)

    def _run(self, running: Running, files: Files, row: Row) -> Run | None:
        os.sync()  # what the run before has left unwritten is not this one's to wait for
        watch = Watch(running.process)
        cpu = 0.0
        try:
            seconds = _seconds(running.peer, files, row)
        except (subprocess.SubprocessError, SendersFailed) as error:
            self._say(f"a sender to {running.peer.ae_title} failed ({row.name}): {error}")
            return None
        finally:
            cpu = watch.stop()
        return Run(
            files.count / seconds, files.megabytes / seconds, cpu / files.count * 1000, watch.peak, watch.swing
        )


def _seconds(peer: Peer, files: Files, row: Row) -> float:
    if row.load.light:
        return send_light(peer, files.count, row.size, SHORT_AT_ONCE, short=row.load.short).all
    return send(peer, files, row.load)


def _told(results: Results) -> str:
    last = {name: runs[-1] for name, runs in results.runs.items()}
    rates = ", ".join(f"{name} {f'{rate(run.rate)}/s' if run else 'failed'}" for name, run in last.items())
    return f"[{results.row.load.name}] {rates}"


@contextmanager
def _switched(nagle: bool) -> Iterator[None]:
    """DCMTK's own switch, on both sides; the node needs none."""
    before = os.environ.pop(_SWITCH, None)
    if not nagle:
        os.environ[_SWITCH] = "1"
    try:
        yield
    finally:
        os.environ.pop(_SWITCH, None)
        if before is not None:
            os.environ[_SWITCH] = before
