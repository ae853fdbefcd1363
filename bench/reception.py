"""How fast the node receives, beside DCMTK's storescp, Orthanc and plain pynetdicom.

    python -m bench.reception [--count 400] [--repeats 5] [--size 131072] [--loads 1 4 16 short] [--nagle]
                              [--peers receivers storescp orthanc pynetdicom] [--big]

The node is the whole node, and an instance counts when it is durable: bytes and row synced. storescp and pynetdicom
do not sync. Each receiver starts fresh for each run; runs alternate between the receivers, so that whatever else the
machine does falls on all of them, and a ratio is the median of the ratios of neighbours. Senders are DCMTK's storescu
with TCP_NODELAY=1, with `--nagle` as Debian ships it. "receivers" is reception alone, without the flow that reads
headers and looks for work meanwhile.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.receivers import RECEIVERS, Watch
from bench.senders import Load, Template, send
from dicom_node.demo import loopback

_GOALS: Final = {("storescp", "1"): 1.0, ("storescp", "4"): 1.5, ("storescp", "16"): 1.5}
_ORTHANC_GOAL: Final = 3.0
_NAGLE_GOAL: Final = 20.0
_MEMORY_GOAL_MIB: Final = 120
_BIG: Final = 500_000_000
_LOADS: Final = {"1": Load("1", 1), "4": Load("4", 4), "16": Load("16", 16), "short": Load("short", 1, short=True)}


@dataclass(frozen=True)
class Run:
    """One receiver under one load."""

    rate: float
    megabytes: float
    cpu: float
    peak: float


def one_run(name: str, scratch: Path, template: Template, load: Load, count: int) -> Run:
    """Start a receiver, send to it, and see that it has everything."""
    files = template.write(scratch / "source", count, load.associations)
    os.sync()  # what the run before has left unwritten is not this one's to wait for
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=scratch) as folder:
        receiver: Any = RECEIVERS[name](Path(folder))
        with receiver as running:
            watch = Watch(running.process)
            try:
                seconds = send(running.peer, files, load)
            finally:
                cpu = watch.stop()
            kept = running.kept()
            assert kept == count, f"{name} has {kept} of {count}"
    return Run(count / seconds, files.megabytes / seconds, cpu / count * 1000, watch.peak_mib)


def measure(options: argparse.Namespace, scratch: Path, load: Load) -> dict[str, list[Run]]:
    """Run all receivers under one load, in turn, as often as asked for."""
    names = ["node", *options.peers]
    template = Template(options.series, _BIG if options.big else options.size)
    count = min(options.count, 200) if load.short else options.count
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for repeat in range(options.repeats):
        # the order turns, so that no receiver always follows the same one
        for name in names if repeat % 2 == 0 else reversed(names):
            runs[name].append(one_run(name, scratch, template, load, count))
    return runs


def ratio(runs: dict[str, list[Run]], us: str, peer: str) -> float:
    """Return the median, over the repeats, of how many times as fast as a peer we were."""
    pairs = zip(runs[us], runs[peer], strict=True)
    return statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)


def goal(peer: str, load: Load, *, nagle: bool) -> float | None:
    """Return the goal for a ratio, None where there is none."""
    if peer in {"pynetdicom", "receivers"}:
        return None
    if nagle:
        return _NAGLE_GOAL
    return _ORTHANC_GOAL if peer == "orthanc" else _GOALS.get((peer, load.name))


def row(table: Table, load: Load, name: str, runs: dict[str, list[Run]], *, nagle: bool) -> bool:
    """Add one receiver's line; return whether a goal is missed."""
    figures = zip(*((run.rate, run.megabytes, run.cpu, run.peak) for run in runs[name]), strict=True)
    medians = [statistics.median(values) for values in figures]
    spread = f"{min(run.rate for run in runs[name]):.0f}-{max(run.rate for run in runs[name]):.0f}"
    text, missed = "", False
    if name != "node":
        times, wanted = ratio(runs, "node", name), goal(name, load, nagle=nagle)
        missed = wanted is not None and times < wanted
        alone = f" alone {ratio(runs, 'receivers', name):.2f}" if "receivers" in runs and name != "receivers" else ""
        text = (
            f"{times:.2f}" + ("" if wanted is None else f" (goal {wanted:g}{', missed' if missed else ''})") + alone
        )
    rate, megabytes, cpu, peak = medians
    table.add_row(load.name, name, f"{rate:.0f}", spread, f"{megabytes:.0f}", f"{cpu:.2f}", f"{peak:.0f}", text)
    return missed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=131072)
    parser.add_argument("--loads", nargs="+", default=list(_LOADS), choices=list(_LOADS))
    parser.add_argument(
        "--peers", nargs="*", default=["receivers", "storescp", "orthanc", "pynetdicom"], choices=list(RECEIVERS)
    )
    parser.add_argument("--nagle", action="store_true", help="senders as Debian ships them")
    parser.add_argument("--big", action="store_true", help="one multi-frame object of 500 MB in each association")
    parser.add_argument("--series", type=Path, default=Path("../shared/data/t1-siemens-prisma"))
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure")
    options = parser.parse_args(arguments)
    if "orthanc" in options.peers:
        loopback.enter()  # Orthanc listens on every interface there is
    # DCMTK's own switch, on both sides; the node needs none
    os.environ.pop("TCP_NODELAY", None)
    if not options.nagle:
        os.environ["TCP_NODELAY"] = "1"
    console = Console(width=140)
    columns = (
        "associations",
        "receiver",
        "instances/s",
        "from-to",
        "MB/s",
        "CPU s/1000",
        "peak MiB",
        "node is times as fast",
    )
    senders = "Nagle on, as Debian ships them" if options.nagle else "TCP_NODELAY=1"
    size = _BIG if options.big else options.size
    title = f"{size} bytes of pixels an instance; senders: {senders}; median of {options.repeats}"
    table = Table(*columns, title=title)
    missed = False
    with tempfile.TemporaryDirectory(prefix="bench-reception-", dir=options.folder) as scratch:
        for name in options.loads:
            runs = measure(options, Path(scratch), _LOADS[name])
            for receiver in runs:
                missed |= row(table, _LOADS[name], receiver, runs, nagle=options.nagle)
            missed |= max(run.peak for run in runs["node"]) > _MEMORY_GOAL_MIB
            console.print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
