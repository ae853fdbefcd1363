"""Real peers and independent judges of our objects, each found on this machine or the test ends for want of it."""

import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NoReturn, Protocol

import pytest

from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs

_PIXELMED: Final = Path("/usr/share/java/pixelmed.jar")
#: Three limits of the JDK's XPath, too low for the validator's templates.
_NO_XPATH_LIMITS: Final = tuple(f"-Djdk.xml.xpath{limit}Limit=0" for limit in ("ExprOp", "TotalOp", "ExprGrp"))
_VERDICT: Final = "Root Template Validation Complete"
_SECONDS: Final = 120


class RequireTool(Protocol):
    """Find an external program, or end the test with the package that brings it."""

    def __call__(self, name: str, package: str) -> Path:
        """Return the path of program `name`, which `package` installs."""


#: File -> the lines that a judge complains with.
Judge = Callable[[Path], list[str]]


@pytest.fixture
def orthanc(tmp_path: Path, require_tool: RequireTool, missing: Callable[[str], NoReturn]) -> Iterator[OrthancPacs]:
    """Give a fresh, running Orthanc that answers as ORTHANC."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    with OrthancPacs(tmp_path / "orthanc") as pacs:
        yield pacs


@pytest.fixture(scope="session")
def storescu(require_tool: RequireTool) -> Path:
    """Return DCMTK's storescu; pynetdicom installs a program of that name too."""
    return require_tool("dcmdump", "dcmtk").with_name("storescu")


@pytest.fixture(scope="session")
def dciodvfy(require_tool: RequireTool) -> Judge:
    """Return a judge of one object against its IOD: lines that start with Error or Warning."""
    program = require_tool("dciodvfy", "the Python package dicom3tools")
    # its exit status is 0 whatever it finds
    return lambda path: _complaints([str(program), "-new", str(path)], ("Abort", "Error", "Warning"))


@pytest.fixture(scope="session")
def dcentvfy(require_tool: RequireTool) -> Callable[[Iterable[Path]], list[str]]:
    """Return a judge of a set of objects: patient, study and series agree, and references resolve."""
    program = require_tool("dcentvfy", "the Python package dicom3tools")
    return lambda paths: _complaints([str(program), *map(str, paths)], ("Abort", "Error"))


@pytest.fixture(scope="session")
def pixelmed(require_tool: RequireTool, missing: Callable[[str], NoReturn]) -> Judge:
    """Return IHE's judge of structured reports (AI Results): lines that start with Error."""
    java = require_tool("java", "default-jre-headless")
    if not _PIXELMED.exists():
        missing(f"{_PIXELMED} is missing: `make setup-test` installs libpixelmed-java")
    program = [str(java), *_NO_XPATH_LIMITS, "-cp", str(_PIXELMED), "com.pixelmed.validate.DicomSRValidator"]
    return lambda path: _complaints([*program, "-checktemplateid", str(path)], ("Error",), must_say=_VERDICT)


def _complaints(command: list[str], starts: tuple[str, ...], must_say: str = "") -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    # a judge that did not start has no complaints either
    assert any(must_say in line for line in lines) or not must_say, f"{command[0]} gave no verdict: {lines[:5]}"
    return [line for line in lines if line.startswith(starts)]
