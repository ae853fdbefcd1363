"""How fast results leave the node, beside tools that send the same files to the same receiver in the same run.

    python -m bench.delivery [--ways c-store stow-rs] [--peers storescp orthanc] [--loads mr seg] [--pairs 5]

"mr": classic MR of 131 kB; "seg": binary segmentations of many frames with their functional groups, about 1.3 MB. In
each pair both send to a receiver that has just started in an empty folder; pairs turn the order.

C-STORE, one association, beside DCMTK's storescu: with TCP_NODELAY=1, as the node sends, and as Debian ships it.
STOW-RS to Orthanc's DICOMweb plugin, beside curl, whose bodies lie ready (`bench.stow`). The start of storescu and of
curl is in their time (about 10 ms); the node is running when a result is due, so only its sending is timed. A ratio
is the median of the pairs' (objects a second of the node) / (of the other). Wanted: 1.0 for C-STORE, 0.9 for STOW-RS,
where the node makes bodies and reads answers and curl does not; else it exits with 1.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench import stow
from bench.outgoing_loads import Load, images, segmentations
from bench.receivers import RECEIVERS, Running, orthanc_web
from dicom_node import log
from dicom_node.demo import loopback
from dicom_node.outgoing import Verdict
from dicom_node.storage_scu import StorageSCU

_BESIDE: Final = Path(__file__).resolve().parents[2] / "shared"
_SERIES: Final = Path("data", "t1-siemens-prisma")
_STORESCU: Final = "/usr/bin/storescu"
_MOST_SECONDS: Final = 300
_C_STORE_GOAL: Final = 1.0
_STOW_GOAL: Final = 0.9

#: Receiver, load and a folder to scribble in; returns seconds.
_Sending = Callable[[Running, Load, Path], float]


@dataclass(frozen=True)
class _Way:
    """A service, a receiver, and with whom the node is compared."""

    service: str
    receiver: str
    start: Callable[[Path], AbstractContextManager[Running]]
    other: str
    ours: _Sending
    theirs: _Sending
    goal: float
    no_delay: str = "1"


def _c_store(running: Running, load: Load, _: Path) -> float:
    objects = load.objects()
    started = time.perf_counter()
    outcomes = list(StorageSCU("STORESCU", 60).store(running.peer, objects))
    seconds = time.perf_counter() - started
    assert all(outcome.verdict is Verdict.ACCEPTED for outcome in outcomes), outcomes[0]
    return seconds


def _storescu(running: Running, load: Load, _: Path) -> float:
    peer = running.peer
    command = [_STORESCU, "-R", "-ll", "error", "--max-pdu", "131072", "-aet", "STORESCU", "-aec", str(peer.ae_title)]
    command += ["+sd", peer.host, str(peer.port), str(load.folder)]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=_MOST_SECONDS)
    return time.perf_counter() - started


def _ways(given: argparse.Namespace) -> Iterator[_Way]:
    for name in given.peers if "c-store" in given.ways else ():
        start = RECEIVERS[name]
        yield _Way("C-STORE", name, start, "storescu, TCP_NODELAY=1", _c_store, _storescu, _C_STORE_GOAL)
        yield _Way("C-STORE", name, start, "storescu as shipped", _c_store, _storescu, _C_STORE_GOAL, no_delay="0")
    if "stow-rs" in given.ways:
        yield _Way("STOW-RS", "orthanc", orthanc_web, "curl", stow.ours, stow.theirs, _STOW_GOAL)


def _pair(way: _Way, load: Load, folder: Path, *, ours_first: bool) -> tuple[float, float]:
    """Return the seconds of the node and of the other."""
    seconds = {}
    for ours in (ours_first, not ours_first):
        with (
            tempfile.TemporaryDirectory(dir=folder) as scratch,
            tempfile.TemporaryDirectory(dir=folder) as aside,
            way.start(Path(scratch)) as running,
        ):
            before = running.kept()
            seconds[ours] = (way.ours if ours else way.theirs)(running, load, Path(aside))
            assert running.kept() - before >= len(load.objects())
    return seconds[True], seconds[False]


def _row(way: _Way, load: Load, folder: Path, pairs: int) -> tuple[list[str], float]:
    # DCMTK's storescp, too, takes it as its environment says
    os.environ["TCP_NODELAY"] = way.no_delay
    taken = [_pair(way, load, folder, ours_first=number % 2 == 0) for number in range(pairs)]
    count = len(load.objects())
    ours, theirs = (statistics.median(seconds) for seconds in zip(*taken, strict=True))
    ratios = [them / us for us, them in taken]
    ratio = statistics.median(ratios)
    name = f"{load.name}, {count} x {load.megabytes / count * 1000:.0f} kB"
    figures = [f"{count / ours:.0f}", f"{load.megabytes / ours:.0f}", f"{count / theirs:.0f}"]
    ratio_text = f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    return [way.service, way.receiver, name, *figures, way.other, ratio_text], ratio


def _given(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = Path(os.environ.get("DICOM_NODE_SHARED", _BESIDE))
    parser.add_argument("--ways", nargs="+", default=["c-store", "stow-rs"], choices=["c-store", "stow-rs"])
    parser.add_argument("--peers", nargs="+", default=["storescp", "orthanc"], choices=list(RECEIVERS))
    parser.add_argument("--loads", nargs="+", default=["mr", "seg"], choices=["mr", "seg"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--count", type=int, default=1000, help="MR images")
    parser.add_argument("--segs", type=int, default=40, help="segmentations")
    parser.add_argument("--series", type=Path, default=shared / _SERIES, help="whose first image is the template")
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 1 if a ratio is below its goal."""
    given = _given(arguments)
    if "orthanc" in given.peers or "stow-rs" in given.ways:
        loopback.enter()  # Orthanc listens on every interface there is
    log.configure("error")
    console = Console(width=140, highlight=False)
    table = Table("service", "receiver", "load", "node /s", "node MB/s", "other /s", "other", "ratio (median, range)")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="bench-delivery-", dir=given.folder) as scratch:
        loads = [images(Path(scratch), given.series, given.count)] if "mr" in given.loads else []
        loads += [segmentations(Path(scratch), given.segs)] if "seg" in given.loads else []
        for load in loads:
            for way in _ways(given):
                row, ratio = _row(way, load, Path(scratch), given.pairs)
                table.add_row(*row)
                missed += ratio < way.goal
                console.print(*row, sep="  ", soft_wrap=True)
    console.print(table)
    console.print(f"{missed} goals missed" if missed else "no goal missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
