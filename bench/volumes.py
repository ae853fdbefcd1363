"""Is our brain the same as deepbet's own? `python -m bench.volumes`: every shared T1, our mask against theirs.

Ours comes from the installed command, `dicom-node process`: its SEG, and the volume that it reports. The reference is
independent of us from the first byte: dcm2niix converts the DICOM series, and deepbet's own command, in a virtual
environment of its own, outlines the brain. Masks are compared in patient space, through both affines.
Ends with 1 if a volume differs by more than 3 %, a Dice is below 0.99, or a series that must give no volume gives
one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from highdicom.seg import segread
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.nifti import read_nifti

_PROJECT: Final = Path(__file__).resolve().parents[1]
_LARGEST_DIFFERENCE: Final = 0.03
_SMALLEST_DICE: Final = 0.99
_HALF: Final = 0.5
_PROGRAM: Final = Path(sys.executable).with_name("dicom-node")


@dataclass(frozen=True)
class Outlined:
    """One brain: bool (i, j, k), affine index to LPS mm, ml; and the seconds that the command took."""

    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]
    millilitres: float
    seconds: float


class NoVolume(Exception):
    """The series gave no volume, with the reason in words."""


def ours(files: list[Path]) -> Outlined:
    """Return our outline of one series, as `dicom-node process` writes it: mask from the SEG, volume as reported.

    Raises
    ------
    NoVolume
        If the series is refused, or nothing in it is plausible as a brain.
    """
    with tempfile.TemporaryDirectory() as scratch:
        series, out = _linked(files, Path(scratch) / "series"), Path(scratch) / "out"
        command = [_PROGRAM, "process", series, "--pipeline", "brain_extraction", "--out", out, "--json"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise NoVolume(" ".join(done.stderr.split()))
        told = json.loads(done.stdout)
        if not told["measurements"]:
            raise NoVolume(" ".join(told["remarks"]))
        found = segread(out / "seg.dcm").get_volume(combine_segments=True)
    return Outlined(found.array > 0, found.affine, told["measurements"][0]["value"], seconds)


def _linked(files: list[Path], folder: Path) -> Path:
    folder.mkdir()
    for index, file in enumerate(files):
        (folder / f"{index:04d}.dcm").symlink_to(file.resolve())
    return folder


@dataclass(frozen=True)
class Case:
    """One series of the shared data: where it lies, and whether it must give a volume."""

    title: str
    folder: str
    pattern: str
    gives_volume: bool = True


_CASES: Final = (
    Case("Siemens Prisma", "t1-siemens-prisma", "dicom/*.dcm"),
    Case("Philips Elition", "t1-philips-elition", "dicom/*.dcm"),
    Case("Enhanced MR, series 5", "t1-enhanced-multiframe-xa30", "5_*.dcm"),
    Case("Enhanced MR, series 6", "t1-enhanced-multiframe-xa30", "6_*.dcm"),
    Case("nifti2dicom, defaced", "t1-nifti2dicom-defaced", "dicom/*.dcm"),
    Case("supine (HFS)", "t1-patient-positions", "HFS/*.dcm"),
    Case("prone (HFP)", "t1-patient-positions", "HFP/*.dcm"),
    Case("MS, first visit", "ms-longitudinal-patient12", "dicom/study1/02_T1W_*.dcm"),
    Case("MS, second visit", "ms-longitudinal-patient12", "dicom/study2/02_T1W_*.dcm"),
    Case("tumour, 26 slices", "tumour-tcga-fg-6692", "dicom/02_T1_*.dcm", gives_volume=False),
    Case("bottle, JPEG 2000", "not-a-brain", "bottle-phantom-j2k/*.dcm", gives_volume=False),
    Case("bottle, JPEG Lossless", "not-a-brain", "bottle-phantom-jpegll/*.dcm", gives_volume=False),
)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    case: Case
    ours: Outlined | None = None
    theirs: Outlined | None = None
    dice: float = 0.0
    reason: str = ""

    def difference(self) -> float:
        """Return our volume's relative difference from theirs."""
        if self.ours is None or self.theirs is None:
            return 0.0
        return self.ours.millilitres / self.theirs.millilitres - 1

    def good(self) -> bool:
        """Return True if the series gave what it must give."""
        if not self.case.gives_volume or self.ours is None:
            return self.case.gives_volume == (self.ours is not None)
        return abs(self.difference()) <= _LARGEST_DIFFERENCE and self.dice >= _SMALLEST_DICE


def main() -> int:
    """Print the table; return 1 if a line is not good."""
    arguments = _arguments()
    cli = arguments.reference or _reference(_PROJECT / ".venv-deepbet")
    with tempfile.TemporaryDirectory() as scratch:
        rows = []
        for case in _CASES:
            rows.append(_compare(case, arguments.data, cli, Path(scratch)))
            print(f"{case.title}: {'good' if rows[-1].good() else 'NOT GOOD'}", file=sys.stderr)
    console = Console(width=max(Console().width, 150))
    console.print(_table(rows))
    for row in rows:
        if row.reason:
            console.print(f"{row.case.title}: {row.reason}")
    return 0 if all(row.good() for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.volumes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=_PROJECT.parent / "shared" / "data", help="the shared data")
    parser.add_argument("--reference", type=Path, help="deepbet-cli, with dcm2niix beside it (default: made once)")
    return parser.parse_args()


def _reference(folder: Path) -> Path:
    """Return deepbet's own command, installed into a virtual environment of its own if it is not there yet."""
    cli = folder / "bin" / "deepbet-cli"
    if not (cli.exists() and (folder / "bin" / "dcm2niix").exists()):
        print(f"installing deepbet and dcm2niix into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        pins = str(_PROJECT / "constraints.txt")
        subprocess.run([folder / "bin" / "pip", "install", "-q", "-c", pins, "deepbet", "dcm2niix"], check=True)
    return cli


def _compare(case: Case, data: Path, cli: Path, scratch: Path) -> Row:
    files = sorted(_unpacked(data / case.folder, scratch).glob(case.pattern))
    if not files:
        sys.exit(f"{data / case.folder} holds no {case.pattern}; name the shared data folder with --data")
    try:
        mine = ours(files)
    except NoVolume as error:
        return Row(case, reason=str(error))
    theirs = _deepbet(files, cli)
    return Row(case, mine, theirs, _dice(mine, theirs))


def _unpacked(source: Path, scratch: Path) -> Path:
    """Return the data folder, or a copy of it with its archives unpacked under their stems."""
    archives = sorted(source.glob("*.zip"))
    target = scratch / source.name
    for archive in archives:
        if not (target / archive.stem).exists():
            with zipfile.ZipFile(archive) as members:
                members.extractall(target / archive.stem)
    return target if archives else source


def _deepbet(files: list[Path], cli: Path) -> Outlined:
    """Return the outline of deepbet's own command on dcm2niix's conversion."""
    with tempfile.TemporaryDirectory() as scratch:
        series = _linked(files, Path(scratch) / "series")
        _quietly([cli.with_name("dcm2niix"), "-z", "n", "-b", "n", "-f", "head", "-o", scratch, series])
        mask, start = Path(scratch) / "mask.nii.gz", time.perf_counter()
        brain = Path(scratch) / "brain.nii.gz"
        _quietly([cli, "-i", Path(scratch) / "head.nii", "-o", brain, "-m", mask, "--no_gpu"])
        seconds = time.perf_counter() - start
        values, affine = read_nifti(mask)
    inside = values > _HALF
    voxel = abs(float(np.linalg.det(affine[:3, :3])))
    return Outlined(inside, affine, np.count_nonzero(inside) * voxel / 1000, seconds)


def _quietly(command: list[Path | str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "2"}
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _dice(mine: Outlined, theirs: Outlined) -> float:
    """Return the overlap of two masks; theirs is looked up at the place of each of our voxels."""
    to_theirs = np.linalg.inv(theirs.affine) @ mine.affine
    places = np.rint(np.argwhere(mine.mask) @ to_theirs[:3, :3].T + to_theirs[:3, 3]).astype(int)
    there = places[((places >= 0) & (places < theirs.mask.shape)).all(axis=1)]
    both = np.count_nonzero(theirs.mask[tuple(there.T)])
    return 2 * both / (np.count_nonzero(mine.mask) + np.count_nonzero(theirs.mask))


def _table(rows: list[Row]) -> Table:
    table = Table(title="Brain volume: ours and deepbet's own command")
    for heading in ("series", "ours ml", "deepbet ml", "difference", "Dice", "ours s", "deepbet s", ""):
        table.add_column(heading, justify="left" if heading in ("series", "") else "right")
    for row in rows:
        table.add_row(row.case.title, *_cells(row), "good" if row.good() else "NOT GOOD")
    return table


def _cells(row: Row) -> Iterator[str]:
    if row.ours is None or row.theirs is None:
        yield from ("no volume", "", "", "", "", "")
    else:
        yield from (f"{row.ours.millilitres:.2f}", f"{row.theirs.millilitres:.2f}", f"{row.difference():+.4%}")
        yield from (f"{row.dice:.6f}", f"{row.ours.seconds:.1f}", f"{row.theirs.seconds:.1f}")


if __name__ == "__main__":
    sys.exit(main())
