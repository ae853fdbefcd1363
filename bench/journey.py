"""How long a radiologist waits: from the last C-STORE response to the SR in the PACS, split by stage.

    python -m bench.journey [--studies 10] [--series ../shared/data/t1-siemens-prisma]

A real node process, a real PACS (Orthanc), a real whole-head T1 of 192 slices, `brain_extraction`. The overhead is
everything but the completion wait and the pipeline's own compute ("model" and "run"): ticks, ledger, loading the
images, building and checking SEG and SR, delivery.
"""

import argparse
import statistics
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.peers import NodeProcess, clone_study, rule_text
from dicom_node.demo import loopback
from dicom_node.demo.pacs import OrthancPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.ledger import Ledger
from dicom_node.lifecycle import ARRIVED, JobState

_PATIENCE_SECONDS = 300
_GOAL_SECONDS = 1.0
_WARM_GOAL_SECONDS = 2.0


@dataclass(frozen=True)
class Timing:
    """One study's seconds, stage by stage."""

    total: float
    wait: float
    route: float
    queue: float
    load: float
    model: float
    run: float
    build: float
    store: float
    collect: float
    deliver: float

    @property
    def overhead(self) -> float:
        """All that is neither the completion wait nor the pipeline's own compute."""
        return self.total - self.wait - self.model - self.run

    @property
    def job(self) -> float:
        """The job from its start to its end: the first in a worker imports and loads, a later one finds all warm."""
        return self.load + self.model + self.run + self.build + self.store + self.collect


def main() -> int:
    """Run and print; 1 if a goal is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--studies", type=int, default=10)
    arguments.add_argument("--series", type=Path, default=Path("../shared/data/t1-siemens-prisma"))
    options = arguments.parse_args()
    if not loopback.inside():
        loopback.enter()
    with tempfile.TemporaryDirectory(prefix="bench-journey-") as scratch:
        timings = measure(Path(scratch), options.series, options.studies)
    return report(timings)


def measure(scratch: Path, series: Path, count: int) -> list[Timing]:
    """Push `count` studies one after the other, each when the one before has arrived in the PACS."""
    source = scratch / "source"
    with zipfile.ZipFile(next(iter(series.glob("*.zip")))) as archive:
        archive.extractall(source)
    with (
        OrthancPacs(scratch / "pacs") as pacs,
        NodeProcess.beside(scratch / "node", pacs, rule_text("brain_extraction")) as node,
        node.ledger() as ledger,
    ):
        return [_one(node, ledger, pacs, source, scratch / f"study{i}") for i in range(count)]


def _one(node: NodeProcess, ledger: Ledger, pacs: OrthancPacs, source: Path, folder: Path) -> Timing:
    study = clone_study(source, folder)
    push(find_study(folder), node.peer, "SCANNER", lambda _: None)
    answered_at = ledger.studies.revisions(study)[-1].last_arrival_at
    arrived_at = _sr_in_pacs(ledger, pacs, study)
    revision = ledger.studies.revisions(study)[-1]
    (job,) = ledger.jobs.latest(5, study=study)
    return Timing(
        total=arrived_at - answered_at,
        wait=revision.closed_at - answered_at,
        route=revision.routed_at - revision.closed_at,
        queue=job.started_at - revision.routed_at,
        collect=job.ended_at - job.started_at - sum(job.seconds.values()),
        deliver=arrived_at - job.ended_at,
        **job.seconds,
    )


def _sr_in_pacs(ledger: Ledger, pacs: OrthancPacs, study: str) -> float:
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        job = next(iter(ledger.jobs.latest(1, study=study)), None)
        if job is not None and job.state is JobState.HELD:
            raise RuntimeError(f"the job is held: {job.reason}")
        deliveries = ledger.deliveries.of_study(study)
        if len(deliveries) == 2 and all(one.state in ARRIVED for one in deliveries):
            assert len(pacs.stored(study)) == 2, "the ledger says delivered, the PACS does not have them"
            return max(one.delivered_at or 0.0 for one in deliveries)
        time.sleep(0.02)
    raise TimeoutError("no SR in the PACS")


def report(timings: list[Timing]) -> int:
    """Print every study and the goals."""
    console = Console(width=140)
    names = [*Timing.__dataclass_fields__, "overhead"]
    table = Table("study", *names, title="seconds from the last C-STORE response to the SR in the PACS")
    for number, timing in enumerate(timings, start=1):
        table.add_row(str(number), *(f"{getattr(timing, name):.2f}" for name in names))
    medians = [statistics.median(getattr(timing, name) for timing in timings) for name in names]
    table.add_row("median", *(f"{value:.2f}" for value in medians), style="bold")
    console.print(table)
    overhead = medians[-1]
    first, second = (timing.job for timing in timings[:2])
    console.print(f"overhead: median {overhead:.2f} s (goal <= {_GOAL_SECONDS} s)")
    console.print(f"a job, start to end: first {first:.2f} s, second (warm) {second:.2f} s")
    console.print(f"warm gain: {first - second:.2f} s (goal >= {_WARM_GOAL_SECONDS} s)")
    return int(overhead > _GOAL_SECONDS or first - second < _WARM_GOAL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
