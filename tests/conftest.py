"""Fixtures that every test may use: the shared real data and weights, unpacked once a session, and required programs.

What is missing here skips a test with words that say what to get. Under CI (`CI=true`) it fails the test instead, so
that a green CI run means that every test ran.
"""

import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, Protocol

import pytest

#: Where the shared data lies unless `DICOM_NODE_SHARED` says otherwise: beside the repository.
_BESIDE: Final = Path(__file__).resolve().parents[2] / "shared"


class RequireTool(Protocol):
    """Find an external program, or end the test with the package that brings it."""

    def __call__(self, name: str, package: str) -> Path:
        """Return the path of program `name`, which Debian package `package` installs."""


def _missing(what: str) -> NoReturn:
    """Skip the test for want of something; fail it under CI, where everything must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def _shared(folder: str) -> Path:
    path = Path(os.environ.get("DICOM_NODE_SHARED", _BESIDE)) / folder
    if not path.is_dir():
        _missing(f"{path} is missing: lay the shared folder beside the repository, or name it in DICOM_NODE_SHARED")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data sets."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Return the folder of real model weights."""
    return _shared("models")


@pytest.fixture(scope="session")
def unpacked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: name of a data set -> folder that holds each of its zips, unpacked once, under its stem.

    `unpacked("t1-patient-positions")` holds `HFP/` and `HFS/`.
    """
    done: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if name not in done:
            done[name] = _unpack_all(shared_data / name, tmp_path_factory.mktemp(name))
        return done[name]

    return unpack


def _unpack_all(source: Path, target: Path) -> Path:
    archives = sorted(source.glob("*.zip"))
    if not archives:
        _missing(f"{source} holds no zip file")
    for archive in archives:
        with zipfile.ZipFile(archive) as members:
            members.extractall(target / archive.stem)
    return target


@pytest.fixture(scope="session")
def require_tool() -> RequireTool:
    """Return a function that finds an external program, on the PATH or beside this Python, or ends the test."""
    return _find_tool


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Return a function that ends the test for want of something that it names."""
    return _missing


def _find_tool(name: str, package: str) -> Path:
    """Return the path of an external program; a test without it is skipped, and fails under CI."""
    ours = str(Path(sys.executable).parent)
    others = [place for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if place != ours]
    # pynetdicom puts programs with DCMTK's names beside Python; dicom3tools puts newer ones there than Debian has
    places = [*others, "/usr/sbin"] if package == "dcmtk" else [ours, *others, "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        _missing(f"the program {name} is missing: `make setup-test` installs {package}")
    return Path(found)
