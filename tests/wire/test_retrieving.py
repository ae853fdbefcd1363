"""Archives asked and fetched from: Orthanc by C-GET, C-MOVE and WADO-RS, DCMTK's dcmqrscp by C-GET and C-MOVE."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydicom import dcmread

from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.stored import free_port, peer
from dicom_node.entities import Peer
from dicom_node.errors import PeerRefused, PeerUnreachable, ServiceNotOffered
from dicom_node.fetching import Fetching
from dicom_node.lifecycle import FetchState
from dicom_node.retrieving import Keeper, Wanted
from dicom_node.settings import Retrieve
from tests.fetching_cases import (
    FetchingNode,
    dcmqrscp,
    dicom_archive,
    fetching_node,
    fill,
    orthanc_with_web,
    until_true,
    web_archive,
)
from tests.peculiar_archive import PeculiarArchive
from tests.study_cases import PATIENT, write_study

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_WAYS = ["orthanc C-GET", "orthanc C-MOVE", "orthanc WADO-RS", "dcmqrscp C-GET", "dcmqrscp C-MOVE"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FetchingNode]:
    with fetching_node(tmp_path / "node") as running:
        yield running


@pytest.fixture
def orthanc(
    node: FetchingNode, tmp_path: Path, require_tool: Any, missing: Callable[[str], NoReturn]
) -> Iterator[OrthancPacs]:
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    with orthanc_with_web(tmp_path / "orthanc", node.peer) as running:
        yield running


@pytest.fixture
def fetcher(request: pytest.FixtureRequest, node: FetchingNode, tmp_path: Path, require_tool: Any) -> Iterator[Any]:
    """Give (node with an archive, where to send what the archive is to have, how it fetches)."""
    name, _, how = request.param.partition(" ")
    if name == "dcmqrscp":
        with dcmqrscp(require_tool("dcmqrscp", "dcmtk"), tmp_path / "dcmqrscp", node.peer) as archive:
            yield node.with_archive(dicom_archive(archive, Retrieve(how))), archive, how
        return
    orthanc = request.getfixturevalue("orthanc")
    settings = web_archive(orthanc) if how == "WADO-RS" else dicom_archive(peer(orthanc), Retrieve(how))
    yield node.with_archive(settings), peer(orthanc), how


@pytest.mark.parametrize("fetcher", _WAYS, indirect=True)
def test_a_study_comes_whole_and_as_it_is(fetcher: Any, tmp_path: Path) -> None:
    """Found by patient, accession and UID; every instance is in the ledger and on disk, equal to what is archived."""
    node, archive, how = fetcher
    study = write_study(tmp_path / "a", slices=5, AccessionNumber="ACC1")
    other = write_study(tmp_path / "b", slices=2, PatientID="PID-9", AccessionNumber="ACC2")
    fill(archive, tmp_path / "a")
    fill(archive, tmp_path / "b")
    for keys in ({"PatientID": PATIENT[1]}, {"AccessionNumber": "ACC1"}, {"StudyInstanceUID": study}):
        (found,) = until_true(lambda keys=keys: node.speaker().studies(keys))
        assert (found["StudyInstanceUID"], found["PatientID"], found["StudyDate"]) == (study, PATIENT[1], "20260101")
    assert node.speaker().studies({"PatientID": "PID"}) == []
    pulled = node.pull(study)
    assert (pulled.wanted, pulled.came, pulled.complete) == (5, 5, True)
    assert f"by {how}" in str(pulled)
    (revision,) = node.ledger.studies.revisions(study)
    assert revision.instances == 5
    sent = {dcmread(path).SOPInstanceUID: dcmread(path) for path in (tmp_path / "a").iterdir()}
    kept = [dcmread(path) for path in (node.store.root / "instances" / study).rglob("*.dcm")]
    assert {each.SOPInstanceUID for each in kept} == set(sent)
    assert all(each == sent[each.SOPInstanceUID] for each in kept)
    assert node.ledger.studies.revisions(other) == []
    again = node.pull(study)
    assert (again.wanted, str(again)) == (0, "the node had everything")


@pytest.mark.parametrize("fetcher", _WAYS, indirect=True)
def test_only_what_is_lacking_comes(fetcher: Any, tmp_path: Path) -> None:
    """Of a series of which the node has two instances the others come; a whole series that it lacks comes too."""
    node, archive, _ = fetcher
    study = write_study(tmp_path / "a", slices=6)
    write_study(tmp_path / "b", "T2", slices=3, study=study)
    for part in ("a", "b"):
        fill(archive, tmp_path / part)
    fill(node.peer, tmp_path / "a", 2)
    until_true(lambda: node.ledger.studies.revisions(study))
    uids = [dcmread(path).SOPInstanceUID for part in ("a", "b") for path in (tmp_path / part).iterdir()]
    until_true(lambda: len(node.ledger.fetches.known(uids)) == 2)
    pulled = node.pull(study)
    assert (pulled.wanted, pulled.came) == (7, 7)
    assert node.ledger.fetches.known(uids) == set(uids)


@pytest.mark.parametrize("fetcher", ["orthanc C-GET", "orthanc WADO-RS"], indirect=True)
def test_compressed_objects_come_as_they_are(fetcher: Any, shared_data: Path) -> None:
    """JPEG, JPEG 2000, RLE and the like are neither refused nor decompressed on the way."""
    node, archive, _ = fetcher
    fill(archive, shared_data / "transfer-syntaxes")
    files = [dcmread(path, force=False) for path in sorted((shared_data / "transfer-syntaxes").rglob("*.dcm"))]
    held = {}
    for file in files:
        contents = node.speaker().contents(file.StudyInstanceUID)
        if any(file.SOPInstanceUID in images for images in contents.values()):
            held[file.SOPInstanceUID] = file
    assert len({file.file_meta.TransferSyntaxUID for file in held.values()}) > 3
    for study in {file.StudyInstanceUID for file in held.values()}:
        node.pull(study)
    kept = {
        read.SOPInstanceUID: read.file_meta.TransferSyntaxUID
        for read in map(dcmread, (node.store.root / "instances").rglob("*.dcm"))
    }
    assert set(held) <= set(kept)
    compressed = {uid for uid, file in held.items() if file.file_meta.TransferSyntaxUID.is_compressed}
    assert compressed
    assert all(kept[uid] == held[uid].file_meta.TransferSyntaxUID for uid in compressed)


@pytest.mark.parametrize("fetcher", ["orthanc C-GET", "orthanc WADO-RS"], indirect=True)
def test_another_study_than_asked_is_not_kept(fetcher: Any, tmp_path: Path) -> None:
    """An archive that sends what nobody asked for changes nothing in the ledger."""
    node, archive, _ = fetcher
    study = write_study(tmp_path / "a", slices=2)
    fill(archive, tmp_path / "a")
    contents = until_true(lambda: node.speaker().contents(study))
    asked = node.puller.archive("pacs")
    pulled = node.puller.pull(asked, {study: contents}, {study: contents}, time.monotonic() + 20)
    assert pulled.came == 2
    other = write_study(tmp_path / "b", slices=2)
    fill(archive, tmp_path / "b")
    (series,) = until_true(lambda: node.speaker().contents(other))
    keeper = Keeper(
        node.store,
        node.ledger.arrivals,
        node.puller.settings.reception.same_uid_other_bytes,
        "PACS",
        "NODE",
        [study],
        time.time,
    )
    with contextlib.suppress(PeerUnreachable):  # Orthanc is told of each refusal, and calls all of it failed
        node.speaker().fetch([Wanted(other, series)], [], keeper, time.monotonic() + 20, lambda: None)
    assert (keeper.kept, keeper.refused) == ([], 2)
    assert node.ledger.studies.revisions(other) == []


@pytest.mark.parametrize("way", ["dicom", "web"])
def test_an_archive_that_is_down_is_told_in_words(node: FetchingNode, way: str) -> None:
    """Nobody listens: PeerUnreachable, with what to check, and no patient data."""
    away = Peer.parse("AWAY", "127.0.0.1", free_port())
    settings = dicom_archive(away)
    if way == "web":
        settings = settings.model_copy(update={"url": f"http://127.0.0.1:{away.port}/dicom-web"})
    with pytest.raises(PeerUnreachable, match="check that it runs") as failure:
        node.with_archive(settings).speaker().studies({"PatientID": PATIENT[1]})
    assert PATIENT[1] not in str(failure.value)


def test_an_archive_that_does_not_know_the_node_says_so(
    orthanc: OrthancPacs, node: FetchingNode, tmp_path: Path
) -> None:
    """A C-MOVE to an AE title that the archive does not know fails with what to do."""
    study = write_study(tmp_path / "a", slices=2)
    fill(peer(orthanc), tmp_path / "a")
    orthanc.stop()
    orthanc._modalities.clear()
    orthanc.start()
    stranger = node.with_archive(dicom_archive(peer(orthanc), Retrieve.MOVE))
    with pytest.raises((PeerRefused, PeerUnreachable), match=r"add this node there|does it know NODE"):
        stranger.pull(study)


def _images(folder: Path, slices: int = 5) -> tuple[str, list[Any]]:
    study = write_study(folder, slices=slices)
    return study, [dcmread(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("silent", [False, True])
def test_what_came_before_an_association_broke_is_kept(node: FetchingNode, tmp_path: Path, silent: bool) -> None:
    """Aborted, or silent for longer than the timeout, after two of five: two are safe, and the rest comes later."""
    study, images = _images(tmp_path / "a")
    archive = PeculiarArchive(images, 2, silent=silent)
    try:
        broken = node.with_archive(dicom_archive(archive.start(), Retrieve.GET, timeout_seconds=1.5))
        with pytest.raises(PeerUnreachable, match="ended the association, or did not answer"):
            broken.pull(study)
        uids = [image.SOPInstanceUID for image in images]
        assert len(node.ledger.fetches.known(uids)) == 2
        assert list((node.store.root / "incoming").iterdir()) == []
        archive.after = 99
        again = broken.pull(study)
        assert (again.wanted, again.came) == (3, 3)
    finally:
        archive.stop()


def test_a_retrieval_ends_at_its_deadline(node: FetchingNode, tmp_path: Path) -> None:
    """An archive that would go on for minutes is left when the time is over."""
    study, images = _images(tmp_path / "a")
    archive = PeculiarArchive(images, 1, silent=True)
    try:
        slow = node.with_archive(dicom_archive(archive.start(), Retrieve.GET, timeout_seconds=60))
        started = time.monotonic()
        with pytest.raises(PeerUnreachable):
            slow.pull(study, seconds=1.0)
        assert time.monotonic() - started < 5
    finally:
        archive.stop()


def test_an_archive_without_c_get_is_asked_for_a_c_move(node: FetchingNode, tmp_path: Path) -> None:
    """With retrieve = "auto"; where it offers neither, the words say so. With "C-GET" nothing else is tried."""
    study, images = _images(tmp_path / "a")
    archive = PeculiarArchive(images, 99)
    try:
        peer = archive.start(get=False)
        with pytest.raises(ServiceNotOffered, match="C-GET or C-MOVE"):
            node.with_archive(dicom_archive(peer)).pull(study)
        with pytest.raises(ServiceNotOffered, match="C-GET"):
            node.with_archive(dicom_archive(peer, Retrieve.GET)).pull(study)
    finally:
        archive.stop()


@pytest.mark.parametrize("who", ["pull", "stage"])
def test_a_node_that_ends_waits_for_no_archive(node: FetchingNode, tmp_path: Path, who: str) -> None:
    """In the middle of a C-GET whose archive is silent: let go within a moment, and asked again at the next start."""
    study, images = _images(tmp_path / "a")
    archive = PeculiarArchive(images, 1, silent=True)
    try:
        known = node.with_archive(dicom_archive(archive.start(), Retrieve.GET, timeout_seconds=60))
        fetching = Fetching(known.puller.settings, known.ledger, known.store, known.clock)
        started = time.monotonic()
        if who == "pull":
            threading.Timer(0.5, known.puller.stopping.set).start()
            with pytest.raises(PeerUnreachable):
                known.pull(study)
        else:
            threading.Timer(0.5, fetching.stop).start()
            known.ledger.fetches.ask_missing(study, 1, "pacs", known.clock(), known.clock() + 60)
            fetching.fetch(known.puller.settings.archives[0])
            (fetch,) = known.ledger.fetches.of_study(study)
            assert fetch.state is FetchState.RUNNING
            assert known.ledger.fetches.take_back("node1", known.clock(), starting=True) == 1
        assert time.monotonic() - started < 5
    finally:
        archive.stop()
