"""QIDO-RS: what a DICOMweb server says that it has, and whose; deliveries are checked and proven by it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydicom import dcmwrite

from dicom_node.commitment import Request as CommitmentRequest
from dicom_node.delivering import Delivering
from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.dicom_web import QidoRs, Service
from dicom_node.entities import Peer
from dicom_node.errors import Failure, PeerRefused, PeerUnreachable, ServiceNotOffered
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.lifecycle import DeliveryState
from dicom_node.settings import BasicAuth, DeliverySettings, DicomWebDestination, PatientCheck, Settings
from tests.ledger_cases import NOW, STUDY, finished
from tests.web_server import Reply, Request, Server
from tests.wire.test_proving import result_file

_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
_KEYS = ("PatientID", "IssuerOfPatientID", "PatientName")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give an empty ledger."""
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server on loopback."""
    started = Server()
    yield started
    started.stop()


def _qido(server: Server, path: str = "/studies") -> QidoRs:
    destination = DicomWebDestination(
        name="web", protocol="dicomweb", url=server.url + path, timeout_seconds=5, check_patient=PatientCheck.REQUIRED
    )
    return QidoRs(Service(destination.web, lambda: 0.0))


def _json(*matches: dict[str, object]) -> Reply:
    return Reply(200, {"Content-Type": "application/dicom+json"}, json.dumps(matches).encode())


def _study(uid: str, **values: object) -> dict[str, object]:
    tags = {"PatientID": "00100020", "IssuerOfPatientID": "00100021", "PatientName": "00100010"}
    found: dict[str, object] = {"0020000D": {"vr": "UI", "Value": [uid]}}
    return found | {tags[key]: {"vr": "LO", "Value": [value]} for key, value in values.items()}


def test_whose_a_study_is(server: Server) -> None:
    """The study is the key, what is compared are return keys; values of every form come back as text."""
    found = _study("1.2", PatientID="P-1", PatientName={"Alphabetic": "Doe^Jane"})
    server.answering = lambda _: _json(found, _study("1.3", PatientID="P-2"))
    matches = _qido(server, "/studies?key=1").find_studies(["1.2"], _KEYS)
    assert matches == {"1.2": [{"PatientID": "P-1", "IssuerOfPatientID": "", "PatientName": "Doe^Jane"}]}
    (request,) = server.requests
    parts = urlsplit(request.path)
    assert (request.method, parts.path) == ("GET", "/studies")
    asked = [("key", "1"), ("StudyInstanceUID", "1.2"), *(("includefield", key) for key in _KEYS)]
    assert parse_qsl(parts.query) == asked
    assert request.headers["accept"] == "application/dicom+json"


@pytest.mark.parametrize("reply", [Reply(204), Reply(200, {}, b"[]"), _json(_study("1.3", PatientID="P-2"))])
def test_a_study_that_is_not_there(server: Server, reply: Reply) -> None:
    """No match is an answer, in each of its forms; a server that ignores the key has not answered with this study."""
    server.answering = lambda _: reply
    assert _qido(server).find_studies(["1.2"], _KEYS) == {"1.2": []}


@pytest.mark.parametrize(
    ("reply", "failure", "words"),
    [
        (Reply(404), ServiceNotOffered, "no searches"),
        (Reply(405), ServiceNotOffered, "no searches"),
        (Reply(501), ServiceNotOffered, "no searches"),
        (Reply(400, {}, b"DOE^JOHN"), PeerRefused, "HTTP 400"),
        (Reply(401), PeerUnreachable, "[destination.auth]"),
        (Reply(403), PeerUnreachable, "allow it"),
        (Reply(302, {"Location": "http://elsewhere.invalid/"}), PeerUnreachable, "correct url"),
        (Reply(503, {"Retry-After": "60"}), PeerUnreachable, "busy"),
        (Reply(None), PeerUnreachable, "does not answer"),
        (Reply(200, {}, b"<html>DOE^JOHN</html>"), PeerRefused, "DICOM JSON"),
        (Reply(200, {}, b'{"0020000D": 1}'), PeerRefused, "DICOM JSON"),
        (Reply(200, {}, b'["DOE^JOHN"]'), PeerRefused, "DICOM JSON"),
    ],
)
def test_what_is_no_answer(server: Server, reply: Reply, failure: type[Failure], words: str) -> None:
    """Not offered, not now and refused are told apart, in words of our own."""
    server.answering = lambda _: reply
    with pytest.raises(failure) as caught:
        _qido(server).find_studies(["1.2"], _KEYS)
    assert words in str(caught.value)
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize("element", [3, {"Value": 3}, {"Value": [None]}, {"Value": [{}]}, {}, None])
def test_odd_elements_are_empty(server: Server, element: object) -> None:
    """What does not follow PS3.18 Annex F has no value, and breaks nothing."""
    server.answering = lambda _: _json(_study("1.2") | {"00100020": element})
    assert _qido(server).find_studies(["1.2"], ["PatientID"]) == {"1.2": [{"PatientID": ""}]}


def test_a_series_that_is_not_there_is_no_missing_service(server: Server) -> None:
    """A server that answers 404 for what it has lost is believed, if it answers other searches."""
    server.answering = lambda request: Reply(404) if "/series/" in request.path else _json(_study("1.2"))
    assert _qido(server).find_instances("1.2", {"1.2.3": ["1.2.3.4"]}) == frozenset()
    server.answering = lambda _: Reply(404)
    with pytest.raises(ServiceNotOffered):
        _qido(server).find_instances("1.2", {"1.2.3": ["1.2.3.4"]})


def test_there_is_no_commitment(server: Server) -> None:
    """Storage commitment is a service of DIMSE: nobody asks for it here."""
    with pytest.raises(ServiceNotOffered):
        _qido(server).request_commitment(CommitmentRequest("1.2", ()), 1, lambda _: None)
    assert server.requests == []


def _paged(uids: list[str], size: int, *, ignores_offset: bool = False) -> Callable[[Request], Reply]:
    def answer(request: Request) -> Reply:
        offset = 0 if ignores_offset else int(dict(parse_qsl(urlsplit(request.path).query)).get("offset", 0))
        return _json(*({"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids[offset : offset + size]))

    return answer


def test_instances_are_looked_for_page_by_page(server: Server) -> None:
    """A server that gives some at a time is asked on; one that does not turn the page is not asked for ever."""
    uids = [f"1.2.{number}" for number in range(25)]
    server.answering = _paged(uids, 10)
    wanted = {"1.9": [*uids, "1.2.99"]}
    assert _qido(server).find_instances("1.8", wanted) == set(uids)
    assert [urlsplit(each.path).path for each in server.requests] == ["/studies/1.8/series/1.9/instances"] * 4
    server.answering = _paged(uids, 10, ignores_offset=True)
    assert _qido(server).find_instances("1.8", wanted) == set(uids[:10])


def test_one_instance_is_asked_for_by_name(server: Server) -> None:
    """Most series of results have one instance."""
    server.answering = _paged(["1.2.1"], 10)
    assert _qido(server, "/studies/").find_instances("1.8", {"1.9": ["1.2.1"]}) == {"1.2.1"}
    assert [each.path for each in server.requests] == ["/studies/1.8/series/1.9/instances?SOPInstanceUID=1.2.1"]


@pytest.fixture
def orthanc(tmp_path: Path, require_tool: Any, missing: Callable[[str], NoReturn]) -> Iterator[OrthancPacs]:
    """Give an Orthanc with DICOMweb, for one user."""
    require_tool("Orthanc", "orthanc")
    if not Path(_PLUGIN).exists():
        missing("the DICOMweb plugin of Orthanc is missing: `make setup-test` installs orthanc-dicomweb")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`, or `make test PYTEST=...`")
    options = {
        "Plugins": [_PLUGIN],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"node": "geheim"},
    }
    with OrthancPacs(tmp_path / "orthanc", options=options) as pacs:
        yield pacs


def test_orthanc_is_asked_by_qido_rs(orthanc: OrthancPacs, ledger: Ledger, tmp_path: Path) -> None:
    """Results wait for their study, go to it, are proven, and do not go to another patient's."""
    (tmp_path / "password").write_text("geheim")
    web = DicomWebDestination(
        name="pacs",
        protocol="dicomweb",
        url=f"http://127.0.0.1:{orthanc.http_port}/dicom-web/studies",
        auth=BasicAuth(user="node", password_file=tmp_path / "password"),
    )
    waits = DeliverySettings(first_wait_seconds=0.1, longest_wait_seconds=0.2, confirm_after_seconds=0)
    now = [NOW + 60]
    store = InstanceStore(tmp_path / "store", 0)
    delivering = Delivering(Settings(destinations=(web,), delivery=waits), ledger, store, lambda: now[0])
    finished(ledger)
    seg, report = ledger.deliveries.of_study(STUDY)
    for each in (seg, report):
        path = store.path_of(each.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        patient = "P-1" if each is seg else "P-2"
        dcmwrite(path, result_file(each, PatientID=patient), enforce_file_format=True)
    delivering.deliver(web)
    waiting = ledger.deliveries.of_study(STUDY)
    assert {(each.state, "does not have the study yet" in each.reason) for each in waiting} == {
        (DeliveryState.WAITING, True)
    }
    image = result_file(seg, PatientID="P-1")
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    (tmp_path / "images").mkdir()
    dcmwrite(tmp_path / "images" / "1.dcm", image, enforce_file_format=True)
    push(find_study(tmp_path / "images"), Peer.parse("ORTHANC", "127.0.0.1", orthanc.port), "MR1", lambda _: None)
    now[0] += 10
    ledger.deliveries.bring_back("pacs", now[0], every=True)
    delivering.deliver(web)
    delivering.prove(web)
    seg, report = ledger.deliveries.of_study(STUDY)
    assert (seg.state, seg.proof) == (DeliveryState.CONFIRMED, f"found by QIDO-RS at {web.url}")
    assert (report.state, "under another patient (PatientID)" in report.reason) == (DeliveryState.HELD, True)
    assert len(orthanc.stored()) == 2
