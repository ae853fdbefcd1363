"""Independent judges of our objects as functions: paths in, (errors, warnings) out.

dicom3tools' `dciodvfy` and `dcentvfy`, PixelMed's SR validator (the judge of the IHE AI Results profile), and dcmqi's
readers of SEG and SR. A judge that is missing, or that gave no verdict, never counts as content: the test is skipped
for want of it (and fails under CI=true), or fails.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

PIXELMED: Final = Path("/usr/share/java/pixelmed.jar")
#: Three limits of the JDK's XPath, too low for the validator's templates.
_NO_XPATH_LIMITS: Final = tuple(f"-Djdk.xml.xpath{limit}Limit=0" for limit in ("ExprOp", "TotalOp", "ExprGrp"))
_SECONDS: Final = 600


class Messages(NamedTuple):
    """What a judge complains of."""

    errors: list[str]
    warnings: list[str]


class PatientVolume(NamedTuple):
    """A mask in patient space.

    Parameters
    ----------
    mask : bool array, any three axes
    affine : float64, 4 x 4, index to LPS mm
    """

    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


def dciodvfy(path: Path) -> Messages:
    """Judge one object against its IOD (PS3.3); the program's exit status is 0 whatever it finds."""
    return _judged([_tool("dciodvfy", "the Python package dicom3tools"), "-new", path])


def dcentvfy(paths: Iterable[Path]) -> Messages:
    """Judge a set of objects: patient, study and series agree, references resolve."""
    return _judged([_tool("dcentvfy", "the Python package dicom3tools"), *paths])


def pixelmed_sr(path: Path) -> Messages:
    """Judge a structured report against its templates (PS3.16)."""
    java = _tool("java", "default-jre-headless")
    if not PIXELMED.exists():
        _missing(f"{PIXELMED} is missing: install Debian's libpixelmed-java")
    command = [java, *_NO_XPATH_LIMITS, "-cp", PIXELMED, "com.pixelmed.validate.DicomSRValidator"]
    return _judged([*command, "-checktemplateid", path], verdict="Root Template Validation Complete")


def source_beyond(result: Messages, sources: Iterable[Messages]) -> Messages:
    """Return what a result is blamed for beyond what its source images are blamed for too.

    An attribute that was copied with its fault repeats the source's message; file names in messages do not count.
    """
    known = [*sources]
    errors = {_plain(line) for messages in known for line in messages.errors}
    warnings = {_plain(line) for messages in known for line in messages.warnings}
    return Messages(
        [line for line in result.errors if _plain(line) not in errors],
        [line for line in result.warnings if _plain(line) not in warnings | errors],
    )


def _plain(line: str) -> str:
    return re.sub(r" for file <[^>]*>( versus <[^>]*>)?", "", line)


def segment_volumes(path: Path, folder: Path) -> list[PatientVolume]:
    """Return every segment of a SEG as dcmqi's `segimage2itkimage` reads it, by number; writes to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [_tool("segimage2itkimage", "the Python package dcmqi"), "--inputDICOM", path]
    _run([*command, "--outputDirectory", folder, "--prefix", "segment"], must_succeed=True)
    files = sorted(folder.glob("segment-*.nrrd"), key=lambda file: int(file.stem.rsplit("-", 1)[1]))
    return [_read_nrrd(file) for file in files]


def label_volumes(path: Path, folder: Path) -> dict[int, PatientVolume]:
    """Return every segment of a SEG in either form by its number, as dcmqi merges them; writes to a folder.

    Only for segments that do not overlap.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [_tool("segimage2itkimage", "the Python package dcmqi"), "--inputDICOM", path, "--mergeSegments"]
    _run([*command, "--outputDirectory", folder, "--prefix", "labels"], must_succeed=True)
    (file,) = folder.glob("labels*.nrrd")
    values, affine = _nrrd(file)
    return {int(number): PatientVolume(values == number, affine) for number in np.unique(values) if number}


class NumberVolume(NamedTuple):
    """Numbers in patient space.

    Parameters
    ----------
    values : float32 array, any three axes
    affine : float64, 4 x 4, index to LPS mm
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]


def number_volume(path: Path, folder: Path) -> tuple[NumberVolume, dict[str, Any]]:
    """Return a Parametric Map, and what it is of, as dcmqi's `paramap2itkimage` reads it; writes to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [_tool("paramap2itkimage", "the Python package dcmqi"), "--inputDICOM", path]
    _run([*command, "--outputDirectory", folder, "--prefix", "map"], must_succeed=True)
    values, affine = _nrrd(folder / "map-pmap.nrrd")
    return NumberVolume(values, affine), json.loads((folder / "map-meta.json").read_text())


def _read_nrrd(path: Path) -> PatientVolume:
    values, affine = _nrrd(path)
    return PatientVolume(values > 0, affine)


def _nrrd(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the values, and the affine from index to LPS mm."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(re.findall(r"^([\w ]+): (.*)$", head.decode(), flags=re.MULTILINE))
    assert (fields["space"], fields["encoding"]) == ("left-posterior-superior", "gzip"), fields
    types = {"short": "<i2", "unsigned short": "<u2", "unsigned char": "u1", "uchar": "u1", "float": "<f4"}
    sizes = [int(size) for size in fields["sizes"].split()]
    values = np.frombuffer(gzip.decompress(data), dtype=types[fields["type"]]).reshape(sizes, order="F")
    affine = np.eye(4)
    affine[:3, :3] = np.array([_vector(text) for text in fields["space directions"].split()]).T
    affine[:3, 3] = _vector(fields["space origin"])
    return values, affine


def _vector(text: str) -> list[float]:
    return [float(value) for value in text.strip("()").split(",")]


def same_voxels(one: PatientVolume, other: PatientVolume, tolerance_mm: float = 1e-2) -> bool:
    """Return True if two masks cover exactly the same voxels of patient space, whatever their axes and extents."""
    points = np.argwhere(one.mask) @ one.affine[:3, :3].T + one.affine[:3, 3]
    inverse = np.linalg.inv(other.affine)
    exact = points @ inverse[:3, :3].T + inverse[:3, 3]
    indices = np.rint(exact).astype(int)
    off = np.abs((exact - indices) @ other.affine[:3, :3].T)
    inside = ((indices >= 0) & (indices < other.mask.shape)).all()
    if len(points) != other.mask.sum() or not inside or off.max(initial=0) > tolerance_mm:
        return False
    return bool(other.mask[tuple(indices.T)].all()) and len(np.unique(indices, axis=0)) == len(points)


def tid1500(path: Path, folder: Path) -> dict[str, Any]:
    """Return a TID 1500 report as dcmqi's `tid1500reader` reads it; writes to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "report.json"
    command = [_tool("tid1500reader", "the Python package dcmqi"), "--inputDICOM", path, "--outputMetadata", target]
    _run(command, must_succeed=True)
    return json.loads(target.read_text())


def measured(report: dict[str, Any]) -> dict[tuple[str, str, str], float]:
    """Return (tracking identifier, quantity, unit) to value for every measurement of a report that dcmqi read."""
    return {
        (group["TrackingIdentifier"], item["quantity"]["CodeMeaning"], item["units"]["CodeValue"]): float(
            item["value"]
        )
        for group in report["Measurements"]
        for item in group.get("measurementItems", [])
    }


def _judged(command: Sequence[object], verdict: str = "") -> Messages:
    lines = _run(command)
    # a judge that did not start has no complaints either
    assert not verdict or verdict in lines, f"{command[0]} gave no verdict: {lines[:5]}"
    return Messages(
        [line for line in lines if line.startswith(("Error", "Abort"))],
        [line for line in lines if line.startswith("Warning")],
    )


def _run(command: Sequence[object], *, must_succeed: bool = False) -> list[str]:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 0 or not must_succeed, f"{words[0]} failed: {lines[-5:]}"
    return lines


def _tool(name: str, package: str) -> Path:
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join((beside_python, os.environ.get("PATH", os.defpath))))
    return Path(found) if found else _missing(f"the program {name} is missing: install {package}")


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)
