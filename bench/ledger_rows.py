"""Does a long ledger slow reception? Batches of arrivals noted in an empty and in a filled ledger, in turn.

    python -m bench.ledger_rows [--rows 1000000] [--batches 300] [--repeats 5]

Of each batch of 8 instances, CPU time and wall time are taken; wall time holds the sync of the commit.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Final

from dicom_node.entities import Association, InstanceRef, SameUidPolicy
from dicom_node.ledger import Ledger, open_ledger

_BATCH: Final = 8
_STUDY: Final = 200
_MR, _SYNTAX = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1"
_GOAL: Final = 1.10


def instances(count: int) -> list[InstanceRef]:
    """Return instances of a new study, with UIDs as scanners make them: one root, rising numbers."""
    study = f"1.3.12.2.1107.5.2.19.45152.{time.time_ns()}"
    return [
        InstanceRef(
            f"{study}.2.{n}",
            _MR,
            _SYNTAX,
            f"{study}.1",
            study,
            f"instances/{study}/{n}.dcm",
            uuid.uuid4().hex * 2,
            131_072,
        )
        for n in range(count)
    ]


def fill(ledger: Ledger, rows: int) -> None:
    """Note so many instances, in studies of 200."""
    for _ in range(rows // _STUDY):
        association = Association(uuid.uuid4().hex, "SCANNER", "NODE", "127.0.0.1", time.time())
        batch = [(each, association, time.time()) for each in instances(_STUDY)]
        ledger.arrivals.note_arrivals(batch, SameUidPolicy.KEEP_FIRST)


def measure(ledger: Ledger, batches: int) -> tuple[float, float]:
    """Return the median wall and CPU milliseconds of a batch."""
    association = Association(uuid.uuid4().hex, "SCANNER", "NODE", "127.0.0.1", time.time())
    walls, cpus = [], []
    received = instances(batches * _BATCH)
    for number in range(batches):
        batch = [(each, association, time.time()) for each in received[number * _BATCH : (number + 1) * _BATCH]]
        wall, cpu = time.perf_counter(), time.process_time()
        ledger.arrivals.note_arrivals(batch, SameUidPolicy.KEEP_FIRST)
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    return statistics.median(walls), statistics.median(cpus)


def main() -> int:
    """Run and print; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description="Does a long ledger slow reception?")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-ledger-"))
    try:
        return _compare(folder, options)
    finally:
        shutil.rmtree(folder)


def _compare(folder: Path, options: argparse.Namespace) -> int:
    short, long = (open_ledger(f"sqlite:///{folder / name}.sqlite") for name in ("short", "long"))
    fill(long, options.rows)
    pairs = [(measure(short, options.batches), measure(long, options.batches)) for _ in range(options.repeats)]
    for name, which in (("wall", 0), ("CPU", 1)):
        ours = [(few[which], many[which]) for few, many in pairs]
        ratio = statistics.median(many / few for few, many in ours)
        few, many = (statistics.median(values) for values in zip(*ours, strict=True))
        print(f"{name}: {few:.2f} ms a batch of {_BATCH} in a short ledger,", end=" ")
        print(f"{many:.2f} ms at {options.rows} rows: x{ratio:.2f}")
    short.close()
    long.close()
    return int(ratio > _GOAL)


if __name__ == "__main__":
    sys.exit(main())
