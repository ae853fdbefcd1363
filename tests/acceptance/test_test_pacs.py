"""The test PACS themselves: what the acceptance tests and benchmarks rely on when they count objects there."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest
from pydicom import dcmread

from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.scanner import Image, find_study, push
from dicom_node.demo.stored import Pacs, answers_echo, peer
from dicom_node.entities import AETitle, Peer
from dicom_node.errors import DemoUnavailable, PeerUnreachable

_MR: Final = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(params=["orthanc", "small"])
def pacs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pacs]:
    """Give each kind of test PACS, running."""
    if request.param == "orthanc":
        yield request.getfixturevalue("orthanc")
        return
    with SmallPacs(tmp_path / "small") as small:
        yield small


@pytest.fixture(scope="session")
def images(shared_data: Path) -> tuple[Image, ...]:
    """Return three real MR instances in three transfer syntaxes."""
    return find_study(shared_data / "transfer-syntaxes")[:3]


def _push(images: tuple[Image, ...], to: Pacs) -> int:
    counts: list[int] = []
    push(images, peer(to), "SCANNER", counts.append)
    return len(counts)


def test_every_arrival_is_counted_and_the_first_object_stays(pacs: Pacs, images: tuple[Image, ...]) -> None:
    """An object sent twice is stored once and noted twice: the difference is what "delivered once" is judged by."""
    assert _push(images, pacs) + _push(images[:1], pacs) == 4
    uids = [str(dcmread(image.path, stop_before_pixels=True).SOPInstanceUID) for image in images]
    assert pacs.arrivals() == (*uids, uids[0])
    assert [one.sop_instance_uid for one in pacs.stored(images[0].study_instance_uid)] == sorted(uids)
    assert {one.sop_class_uid for one in pacs.stored()} == {_MR}
    assert pacs.stored("1.2.3") == ()


def test_stored_objects_can_be_fetched_and_survive_a_restart(pacs: Pacs, images: tuple[Image, ...]) -> None:
    """What comes back is the data set that was sent; a PACS that was down has lost nothing and kept its port."""
    _push(images, pacs)
    source = dcmread(images[0].path)
    pacs.stop()
    assert not answers_echo(peer(pacs))
    pacs.start()
    assert dcmread(BytesIO(pacs.fetch(str(source.SOPInstanceUID)))) == source
    assert len(pacs.stored()) == len(pacs.arrivals()) == len(images)
    with pytest.raises(KeyError):
        pacs.fetch("1.2.3")


def test_wrong_called_ae_title_is_rejected(pacs: Pacs) -> None:
    """A test PACS answers to its own name only (PS3.8 9.3.4, called AE title not recognized)."""
    assert answers_echo(peer(pacs))
    assert not answers_echo(Peer(AETitle("SOMEONE_ELSE"), "127.0.0.1", pacs.port))


def test_small_pacs_answers_and_refuses_as_told(tmp_path: Path, images: tuple[Image, ...]) -> None:
    """A refused SOP class and a failure status reach the sender, and nothing is kept."""
    with SmallPacs(tmp_path / "full", answer=lambda _: 0xA700) as full, pytest.raises(PeerUnreachable, match="A700"):
        _push(images, full)
    assert (len(full.arrivals()), full.stored()) == (1, ())
    with SmallPacs(tmp_path / "picky", refused=frozenset({_MR})) as picky, pytest.raises(PeerUnreachable):
        _push(images, picky)
    assert picky.arrivals() == ()


def test_orthanc_does_not_start_where_others_could_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str, str], Path]
) -> None:
    """Orthanc binds every address, so a network with more than loopback is refused before it starts."""
    require_tool("Orthanc", "orthanc")
    monkeypatch.setattr(loopback, "inside", lambda: False)
    with pytest.raises(DemoUnavailable, match="loopback-only"):
        OrthancPacs(tmp_path).start()


def test_command_runs_in_a_network_of_its_own(missing: Callable[[str], None]) -> None:
    """Inside, loopback works and every other address is unreachable, whoever the user is."""
    code = (
        "import socket; from dicom_node.demo import loopback; assert loopback.inside();"
        "server = socket.create_server(('127.0.0.1', 0)); socket.create_connection(server.getsockname()).close();"
        "probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "raise SystemExit(9 if probe.connect_ex(('192.0.2.1', 9)) else 0)"
    )
    command = [sys.executable, "-m", "dicom_node.demo.loopback", sys.executable, "-c", code]
    status = subprocess.run(command, timeout=60, check=False).returncode
    if status == os.EX_UNAVAILABLE:
        missing("this machine does not allow network namespaces")
    assert status == 9
