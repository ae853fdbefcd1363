"""Real peers, each found on this machine or the test ends for want of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

import pytest

from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs


class RequireTool(Protocol):
    """Find an external program, or end the test with the package that brings it."""

    def __call__(self, name: str, package: str) -> Path:
        """Return the path of program `name`, which `package` installs."""


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
    """Return DCMTK's storescu."""
    return require_tool("storescu", "dcmtk")
