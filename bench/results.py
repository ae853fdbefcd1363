"""What a Segmentation costs: this node beside highdicom and dcmqi, from the same labels and the same source.

    python -m bench.results [--runs 3] [--only binary]

Two masks on synthetic classic MR series: 104 organs on 256 x 256 x 256, and 2 segments on 192 slices. Every maker
works in a process of its own, which loads source and labels, and writes a file. "whole" is that process from start to
end, and its peak of resident memory; "make" is from labels in memory to the bytes of the file, without the gate that
only this node has. dcmqi is a program: of it only "whole" is known.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import dcmread
from rich.console import Console
from rich.table import Table

from bench import measured
from bench.results_case import METADATA, NRRD, SOURCE, Case, write_case

CASES: Final = (
    Case("104 organs, 256 x 256 x 256", (256, 256, 256), 104),
    Case("2 segments, 192 x 256 x 256", (192, 256, 256), 2),
)
MAKERS: Final = ("dicom_node", "highdicom", "dcmqi")
FORMS: Final = ("binary", "labelmap")
#: Of 104 organs, BINARY, with this node.
_GOAL_SECONDS: Final = 5.0
_GOAL_MB: Final = 1500.0
_MB: Final = 10**6
#: The makers' modules are found from here.
_ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of one maker: seconds, and megabytes (10^6 bytes).

    Parameters
    ----------
    steps : mapping
        Seconds of "build", "gate" and "encode", as far as the maker tells them apart.
    """

    whole: float
    peak: float
    size: float
    frames: int
    steps: dict[str, float]

    @property
    def make(self) -> float | None:
        """From labels in memory to the bytes of the file, without the gate."""
        return self.steps["build"] + self.steps["encode"] if self.steps else None


def main() -> int:
    """Run and print; 1 if this node misses a goal."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=3, help="of which the medians are shown")
    arguments.add_argument("--only", choices=FORMS, help="leave the other form out")
    options = arguments.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="bench-results-") as scratch:
        for case in CASES:
            folder = Path(scratch) / str(case.segments)
            write_case(case, folder)
            for form in FORMS if options.only is None else (options.only,):
                costs = {maker: _median(_runs(maker, form, folder, options.runs)) for maker in MAKERS}
                _print(f"{case.title}, {form}", costs)
                if case is CASES[0] and form == FORMS[0]:
                    missed = _goals(costs[MAKERS[0]])
    return missed


def _runs(maker: str, form: str, folder: Path, count: int) -> Iterator[Cost]:
    for _ in range(count):
        yield _run(maker, form, folder, folder / f"{maker}-{form}.dcm")


def _run(maker: str, form: str, folder: Path, target: Path) -> Cost:
    target.unlink(missing_ok=True)
    command = [sys.executable, "-I", measured.__file__, *_command(maker, form, folder, target)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=_ROOT)
    *said, usage = done.stdout.splitlines()
    if done.returncode or not target.exists():
        raise RuntimeError(f"{maker} made nothing: {done.stderr.splitlines()[-3:]}")
    header = dcmread(target, specific_tags=["NumberOfFrames"], stop_before_pixels=True)
    return Cost(
        whole=json.loads(usage)["seconds"],
        peak=json.loads(usage)["peak_bytes"] / _MB,
        size=target.stat().st_size / _MB,
        frames=int(header.NumberOfFrames),
        steps=json.loads(said[-1]) if maker != "dcmqi" else {},
    )


def _command(maker: str, form: str, folder: Path, target: Path) -> list[str | Path]:
    if maker != "dcmqi":
        return [sys.executable, "-m", "bench.results_makers", maker, form, folder, target]
    program = shutil.which("itkimage2segimage", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        raise RuntimeError("itkimage2segimage is missing: install the Python package dcmqi")
    files: list[str | Path] = [
        "--inputImageList",
        folder / NRRD,
        "--inputMetadata",
        folder / METADATA,
        "--outputDICOM",
        target,
    ]
    return [program, *files, "--inputDICOMDirectory", folder / SOURCE, "--segmentationType", form]


def _median(costs: Iterator[Cost]) -> Cost:
    runs = list(costs)
    return Cost(
        whole=statistics.median(run.whole for run in runs),
        peak=statistics.median(run.peak for run in runs),
        size=runs[0].size,
        frames=runs[0].frames,
        steps={step: statistics.median(run.steps[step] for run in runs) for step in runs[0].steps},
    )


def _print(title: str, costs: dict[str, Cost]) -> None:
    names = ("make s", "build s", "gate s", "encode s", "whole s", "peak MB", "file MB", "frames")
    table = Table("", *names, "times whole", "times peak", title=title, title_justify="left")
    ours = costs[MAKERS[0]]
    for maker, cost in costs.items():
        steps = (cost.make, *(cost.steps.get(step) or None for step in ("build", "gate", "encode")), cost.whole)
        shown = ["-" if step is None else f"{step:.2f}" for step in steps]
        sizes = (f"{cost.peak:.0f}", f"{cost.size:.1f}", str(cost.frames))
        table.add_row(maker, *shown, *sizes, f"{cost.whole / ours.whole:.1f}", f"{cost.peak / ours.peak:.1f}")
    Console(width=140).print(table)


def _goals(ours: Cost) -> int:
    made = ours.make or 0.0
    print(f"built and encoded: {made:.2f} s (goal <= {_GOAL_SECONDS} s)")
    print(f"peak of the process: {ours.peak:.0f} MB (goal <= {_GOAL_MB:.0f} MB)")
    return int(made > _GOAL_SECONDS or ours.peak > _GOAL_MB)


if __name__ == "__main__":
    sys.exit(main())
