"""Orthanc, the sender that research knows, against the node."""

import http.client
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from pydicom import dcmread

from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import peer
from dicom_node.entities import AssociationEnd

_SECONDS: Final = 60


@pytest.fixture
def orthanc(
    node: Any, tmp_path: Path, require_tool: Any, missing: Callable[[str], NoReturn]
) -> Iterator[OrthancPacs]:
    """Give an Orthanc that knows the node."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    with OrthancPacs(tmp_path / "orthanc", modalities={"node": node.peer}) as pacs:
        yield pacs


def _asked(orthanc: OrthancPacs, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
    """Ask Orthanc's REST interface; it answers an operation that has failed with 500."""
    connection = http.client.HTTPConnection("127.0.0.1", orthanc.http_port, timeout=_SECONDS)
    try:
        connection.request(method, path, json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == status, text
        return json.loads(text)
    finally:
        connection.close()


def _sent(orthanc: OrthancPacs, *, status: int = 200) -> Any:
    """Let Orthanc send all that it has to the node, and wait."""
    body = {"Resources": _asked(orthanc, "GET", "/instances"), "Synchronous": True}
    return _asked(orthanc, "POST", "/modalities/node/store", body, status=status)


def test_orthanc_finds_the_node(orthanc: OrthancPacs) -> None:
    """Orthanc's C-ECHO is answered."""
    assert _asked(orthanc, "POST", "/modalities/node/echo", {}) == {}


def test_orthanc_sends(node: Any, orthanc: OrthancPacs, shared_data: Path, eventually: Any) -> None:
    """Objects in several encodings, as Orthanc stored them: all acknowledged, each kept as Orthanc has it."""
    images = find_study(shared_data / "transfer-syntaxes")
    push(images, peer(orthanc), "SCANNER", lambda _: None)
    held = {one.sop_instance_uid for one in orthanc.stored()}
    told = _sent(orthanc)
    assert (told["InstancesCount"], told["FailedInstancesCount"]) == (len(held), 0)
    assert {kept.sop_instance_uid for kept in node.ledger.instances} == held
    assert len({kept.transfer_syntax_uid for kept in node.ledger.instances}) > 3
    for kept in node.ledger.instances:
        theirs = dcmread(BytesIO(orthanc.fetch(kept.sop_instance_uid)))
        assert dcmread(node.store.path_of(kept.path)) == theirs
        assert theirs.file_meta.TransferSyntaxUID == kept.transfer_syntax_uid
    assert eventually(lambda: node.ledger.ends)
    assert {end for _, end in node.ledger.ends} == {AssociationEnd.RELEASED}


@pytest.mark.parametrize("way", ["fast", "pynetdicom"], indirect=True)  # the journal waits for no ledger
def test_orthanc_is_told_when_the_disk_is_full(node: Any, orthanc: OrthancPacs, shared_data: Path) -> None:
    """0xA700 reaches Orthanc as a failure, and is over when there is room again."""
    push(find_study(shared_data / "transfer-syntaxes")[:1], peer(orthanc), "SCANNER", lambda _: None)
    node.ledger.error = OSError(28, "No space left on device")
    assert "A700" in _sent(orthanc, status=500)["Details"].upper()
    node.ledger.error = None
    assert _sent(orthanc)["FailedInstancesCount"] == 0
    assert len(node.ledger.instances) == 1
