"""DCMTK, the sender that hospitals know, against the node."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.dsutils import split_dataset

from dicom_node.entities import AssociationEnd


def _run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_echoscu(node: Any, require_tool: Any) -> None:
    """`echoscu` succeeds with the right called AE title, and says why not with a wrong one."""
    echoscu = require_tool("echoscu", "dcmtk")
    port = str(node.scp.port)
    assert _run(echoscu, "-aec", "NODE", "127.0.0.1", port).returncode == 0
    refused = _run(echoscu, "-aec", "WRONG", "127.0.0.1", port)
    assert refused.returncode != 0
    assert "Called AE Title Not Recognized" in refused.stderr


@pytest.mark.parametrize(
    ("name", "option"),
    [("1", "-xi"), ("2", "-xe"), ("3", "-xb"), ("4", "-xs"), ("5", "-xt"), ("6", "-xv"), ("7", "-xr")],
)
def test_storescu_in_its_own_encoding(
    node: Any, require_tool: Any, shared_data: Path, name: str, option: str, eventually: Any
) -> None:
    """Every real encoding that DCMTK sends is acknowledged and kept, and the release noted."""
    files = _by_syntax(shared_data).get(option, [])
    if not files:
        pytest.skip(f"no shared file is encoded for storescu {option}")
    result = _run(require_tool("storescu", "dcmtk"), "-aec", "NODE", option, "127.0.0.1", str(node.scp.port), *files)
    assert result.returncode == 0, result.stderr
    assert len(node.ledger.instances) == len(files)
    assert eventually(lambda: node.ledger.ends)
    assert node.ledger.ends[0][1] is AssociationEnd.RELEASED


_OPTIONS = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.5": "-xr",
}


def _by_syntax(shared_data: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted((shared_data / "transfer-syntaxes" / "dcm_qa_ts").glob("*.dcm")):
        syntax = str(split_dataset(path)[0].TransferSyntaxUID)
        found.setdefault(_OPTIONS.get(syntax, syntax), []).append(str(path))
    return found


def test_storescu_aborting(node: Any, require_tool: Any, shared_data: Path, eventually: Any) -> None:
    """`storescu --abort` is an abort, after an instance that was kept."""
    (file, *_) = _by_syntax(shared_data)["-xe"]
    _run(require_tool("storescu", "dcmtk"), "--abort", "-aec", "NODE", "127.0.0.1", str(node.scp.port), file)
    assert eventually(lambda: node.ledger.ends)
    assert len(node.ledger.instances) == 1
    assert node.ledger.ends[0][1] is AssociationEnd.ABORTED


def test_a_killed_sender_is_lost(node: Any, require_tool: Any, shared_data: Path, eventually: Any) -> None:
    """Kill -9 of the sender in the middle: LOST, what was acknowledged is there, no temporary file stays."""
    (file, *_) = _by_syntax(shared_data)["-xe"]
    arguments = ["--repeat", "500", "-aec", "NODE", "127.0.0.1", str(node.scp.port), file]
    sender = subprocess.Popen([require_tool("storescu", "dcmtk"), *arguments])
    assert eventually(lambda: len(node.ledger.instances) >= 5)
    sender.kill()
    sender.wait(10)
    assert eventually(lambda: node.ledger.ends)
    assert node.ledger.ends[0][1] is AssociationEnd.LOST
    assert eventually(lambda: not node.files("incoming"))
    assert node.still_serves()
