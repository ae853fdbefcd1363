"""What is told of a computer and of a pipeline's weights: real files, real programs."""

import hashlib
import os
from pathlib import Path

import pytest

from dicom_node.contract import Pipeline
from dicom_node.declarations import WeightDigests, outputs_of
from dicom_node.gpus import Gpu, Gpus
from pipelines.brain_extraction import BrainExtraction
from pipelines.deepbet_files import WEIGHTS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(WEIGHTS):
        (tmp_path / name).write_bytes(b"%d" % number * 10)
    return tmp_path


def test_weights_are_digested_as_they_are_loaded(folder: Path) -> None:
    """SHA-256 over all files in their order; once, and again when a file is another one."""
    pipeline: Pipeline = BrainExtraction(folder)
    digests = WeightDigests()
    first = digests.of(pipeline)
    assert first is not None
    assert first.sha256 == hashlib.sha256(b"0" * 10 + b"1" * 10).hexdigest()
    assert (first.files, first.size, first.fault) == (tuple(WEIGHTS), 20, "")
    assert digests.of(pipeline) is first
    path = folder / next(iter(WEIGHTS))
    path.write_bytes(b"other data")
    os.utime(path, (1, 1))
    second = digests.of(pipeline)
    assert second is not None
    assert second.sha256 != first.sha256
    path.unlink()
    gone = digests.of(pipeline)
    assert gone is not None
    assert "is missing" in gone.fault
    assert "Brain" in outputs_of(pipeline)


def test_gpus_are_what_the_tool_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a GPU; what a driver does not tell is unknown, and without the tool there is none."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 431, 81559, 7'\necho 'NVIDIA, of a kind, 1, 2, [N/A]'\n"
        "echo 'No devices were found'\n",
        encoding="ascii",
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert Gpus().now() == (Gpu("NVIDIA H100 80GB HBM3", 431, 81559, 7), Gpu("NVIDIA, of a kind", 1, 2, None))
    assert Gpus("no-such-tool").now() == ()
    tool.write_text("#!/bin/sh\nexit 9\n", encoding="ascii")
    assert Gpus().now() == ()
