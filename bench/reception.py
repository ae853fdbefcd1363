"""How fast the node receives, beside DCMTK's storescp, Orthanc and plain pynetdicom.

    python -m bench.reception [--groups sizes short sustained big nagle times] [--sizes 131072 8192 520000]
                              [--loads 1 4 16] [--peers storescp orthanc pynetdicom] [--repeats 5] [--count N]
                              [--sustained 3000] [--times 1600]

The node is the whole node, and an instance counts when it is durable: synced in its journal with what the ledger is
to know of it, or as file and row; that all of them are in the ledger is seen before the next row. storescp and
pynetdicom do not sync. Senders are DCMTK's storescu with TCP_NODELAY=1 (storescp too); in group "nagle" both are as
Debian ships them, and the node is sent more than its peers, as else the start of its senders would be most of
its time. pynetdicom is sent a quarter of what the others are.

In each round every receiver starts in an empty folder, is waited for until it is idle, and takes the rows of a
section one after the other, idle before each; rounds turn the order of the receivers, so that whatever else the
machine does falls on all of them. A ratio is the median of the ratios of a round's neighbours. CPU time is that of
all processes of a receiver until it is idle again; memory is that of the largest process that receives. MB: 10^6
bytes. "receivers" among the peers is the node's reception alone, without the flow that reads headers and looks for
work. Group "short" is one association for each instance, four at once: by storescu, whose own start takes most of the
time (how fast it starts when nobody listens is printed too), and by light senders that are running already. Group
"times" draws response times under 16 associations, see `bench.response_times`.

Goals that are missed are listed at the end; then it exits with 1.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.receivers import RECEIVERS
from bench.reception_rows import GROUPS, LOADS, MAIN_SIZE, PEERS, SIZES, plan
from bench.reception_runs import Results, Stage
from bench.reception_table import memory, missed, table
from bench.response_times import histogram
from bench.senders import starts_a_second
from dicom_node.demo import loopback

#: Where the shared data lies unless `DICOM_NODE_SHARED` says otherwise: beside the repository.
_BESIDE: Final = Path(__file__).resolve().parents[2] / "shared"
_SERIES: Final = Path("data", "t1-siemens-prisma")
_WIDTH: Final = 140
_STARTS: Final = 100


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    shared = Path(os.environ.get("DICOM_NODE_SHARED", _BESIDE))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--groups", nargs="+", default=GROUPS, choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS)
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="BYTES", help="of pixels, an instance")
    parser.add_argument("--loads", nargs="+", type=int, default=LOADS, metavar="ASSOCIATIONS", help="at once")
    others = [name for name in RECEIVERS if name != "node"]
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=others, metavar="PEER", help=", ".join(others))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, help="instances, where it is not the big or the sustained row")
    parser.add_argument("--sustained", type=int, default=3000, help="instances over 4 associations")
    parser.add_argument("--times", type=int, default=1600, help="instances whose response is timed")
    parser.add_argument("--series", type=Path, default=shared / _SERIES, help="whose first image is the template")
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 1 if a goal is missed."""
    given = options(arguments)
    if "orthanc" in given.peers:
        loopback.enter()  # Orthanc listens on every interface there is
    console = Console(width=_WIDTH, highlight=False)
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - started:5.0f} s  {text}", markup=False, soft_wrap=True)

    sections = plan(given.groups, given.sizes, given.loads, given.peers, count=given.count, sustained=given.sustained)
    results: list[Results] = []
    with tempfile.TemporaryDirectory(prefix="bench-reception-", dir=given.folder) as scratch:
        stage = Stage(given.series, Path(scratch), say)
        for section in sections:
            results += stage.section(section, given.repeats)
        names = ["node", *given.peers] if "times" in given.groups else []
        times = stage.times(names, given.times, MAIN_SIZE)
    if results:
        console.print(table(results, given.repeats))
    if "short" in given.groups:
        console.print(f"storescu alone, one for each instance: {starts_a_second(_STARTS):.0f} starts a second")
    for line in memory(results):
        console.print(line)
    for name, seconds in times.items():
        console.print(f"\nresponse times under 16 associations, {MAIN_SIZE / 1e3:.0f} kB, {histogram(name, seconds)}")
    failures = missed(results)
    console.print(f"\n{len(failures)} goals missed" if failures else "\nno goal missed", style="bold")
    for line in failures:
        console.print(f"  {line}", markup=False)
    say("done")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
