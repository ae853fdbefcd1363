"""DICOMweb servers that are strict, slow, broken or wrong: what comes is kept, and the rest told in words."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicom_node.errors import PeerRefused, PeerUnreachable, ServiceNotOffered
from dicom_node.settings import Archive, BasicAuth, BearerToken
from tests.fetching_cases import FetchingNode, fetching_node
from tests.study_cases import write_study

_HEAD = b"\r\nContent-Type: application/dicom\r\n\r\n"


class _Server(ThreadingHTTPServer):
    """Answers every request by one function; remembers paths and headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[Any], None] = lambda handler: handler.send_error(404)
        self.asked: list[tuple[str, str]] = []

    def handle_error(self, *_: Any) -> None:
        """Clients of these tests hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        self.server.answer(self)

    def reply(self, body: bytes, kind: str = "application/dicom+json", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[_Server]:
    running = _Server()
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def node(tmp_path: Path, server: _Server) -> Iterator[FetchingNode]:
    with fetching_node(tmp_path / "node") as running:
        yield running.with_archive(_archive(server))


def _archive(server: _Server, **more: Any) -> Archive:
    url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    return Archive(name="pacs", url=url, **{"timeout_seconds": 2, **more})


def _files(folder: Path) -> tuple[str, str, list[bytes]]:
    """Return study and series of a new study, and its files."""
    study = write_study(folder, slices=3)
    series = dcmread(folder / "0000.dcm").SeriesInstanceUID
    return study, series, [path.read_bytes() for path in sorted(folder.iterdir())]


def _multipart(files: list[bytes]) -> bytes:
    return b"".join(b"--B" + _HEAD + file + b"\r\n" for file in files) + b"--B--"


_TYPE = 'multipart/related; type="application/dicom"; boundary=B'


def test_an_answer_that_breaks_off_keeps_what_was_whole(node: FetchingNode, server: _Server, tmp_path: Path) -> None:
    """Two objects and a half: two are in the ledger, nothing is left over on disk."""
    study, series, files = _files(tmp_path / "a")
    body = _multipart(files)
    server.answer = lambda handler: handler.reply(body[: -len(files[2]) // 2], _TYPE)
    with pytest.raises(PeerUnreachable, match="ends in the middle"):
        node.pull_series(study, series)
    (revision,) = node.ledger.studies.revisions(study)
    assert revision.instances == 2
    assert list((node.store.root / "incoming").iterdir()) == []


def test_what_is_no_object_is_not_kept(node: FetchingNode, server: _Server, tmp_path: Path) -> None:
    """A part that is no DICOM file is counted; the good one beside it stays."""
    study, series, files = _files(tmp_path / "a")
    server.answer = lambda handler: handler.reply(_multipart([b"nonsense", files[0]]), _TYPE)
    keeper = node.pull_series(study, series)
    assert (len(keeper.kept), keeper.refused) == (1, 1)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, PeerRefused, r"check \[archive.auth\]"),
        (403, PeerRefused, r"check \[archive.auth\]"),
        (404, ServiceNotOffered, "check url"),
        (503, PeerUnreachable, "answers 503"),
        (302, PeerUnreachable, "answers 302"),
    ],
)
def test_a_status_is_told_without_the_question(
    node: FetchingNode, server: _Server, status: int, error: type[Exception], words: str
) -> None:
    """What was asked about identifies a patient: it is in no text."""
    server.answer = lambda handler: handler.reply(b"", status=status, Location="http://elsewhere/")
    with pytest.raises(error, match=words) as told:
        node.speaker().studies({"PatientID": "GEHEIM"})
    assert "GEHEIM" not in str(told.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b'{"a": 1}', b"[1, 2]", b""])
def test_an_answer_that_is_no_dicom_json(node: FetchingNode, server: _Server, body: bytes) -> None:
    """It is told; an empty answer is that nothing was found."""
    server.answer = lambda handler: handler.reply(body)
    if body:
        with pytest.raises(PeerUnreachable, match="something else than DICOM JSON"):
            node.speaker().studies({"PatientID": "1"})
    else:
        assert node.speaker().studies({"PatientID": "1"}) == []


def test_nothing_found_is_nothing(node: FetchingNode, server: _Server) -> None:
    """204 has no body."""
    server.answer = lambda handler: handler.reply(b"", status=204)
    assert node.speaker().studies({"PatientID": "1"}) == []


def test_a_server_that_answers_in_pages_is_asked_for_all(node: FetchingNode, server: _Server) -> None:
    """It says by a warning that there is more."""

    def answer(handler: Any) -> None:
        offset = int(handler.path.partition("offset=")[2] or 0)
        found = [{"0020000D": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(offset, min(offset + 2, 5))]
        more = {"Warning": '299 h "more"'} if offset + 2 < 5 else {}
        handler.reply(json.dumps(found).encode(), **more)

    server.answer = answer
    assert [each["StudyInstanceUID"] for each in node.speaker().studies({})] == [f"1.{n}" for n in range(5)]
    assert len(server.asked) == 3


@pytest.mark.parametrize("way", ["basic", "token"])
def test_secrets_are_read_from_their_files(node: FetchingNode, server: _Server, tmp_path: Path, way: str) -> None:
    """HTTP Basic or a bearer token, read anew each time; a file that is gone is told by its name."""
    file = tmp_path / "secret"
    file.write_text("geheim\n")
    auth = BasicAuth(user="u", password_file=file) if way == "basic" else BearerToken(token_file=file)
    server.answer = lambda handler: handler.reply(b"[]")
    known = node.with_archive(_archive(server, auth=auth))
    known.speaker().studies({"PatientID": "1"})
    wanted = f"Basic {base64.b64encode(b'u:geheim').decode()}" if way == "basic" else "Bearer geheim"
    assert server.asked[-1][1] == wanted
    file.unlink()
    with pytest.raises(PeerRefused, match="secret cannot be read"):
        known.speaker().studies({"PatientID": "1"})


def test_a_server_that_does_not_end_is_left(node: FetchingNode, server: _Server, tmp_path: Path) -> None:
    """Bytes that trickle for ever end at the deadline, silence at the timeout."""
    study, series, files = _files(tmp_path / "a")

    def trickle(handler: Any) -> None:
        handler.reply(b"--B" + _HEAD + files[0][:200], _TYPE)
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.1)

    server.answer = trickle
    started = time.monotonic()
    with pytest.raises(PeerUnreachable, match="in time"):
        node.pull_series(study, series, seconds=1.0)
    server.answer = lambda _: time.sleep(5)
    with pytest.raises(PeerUnreachable, match="did not answer in time"):
        node.speaker().studies({"PatientID": "1"})
    assert time.monotonic() - started < 8
