"""DICOMweb archives behind tokens, redirects, proxies and pauses, as destinations are: one user agent for both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicom_node.errors import PeerRefused, PeerUnreachable
from dicom_node.settings import Archive, BearerToken, OAuth2
from tests.fetching_cases import FetchingNode, fetching_node
from tests.study_cases import write_study
from tests.web_server import Reply, Request, Server

_NOTHING = Reply(200, {}, b"[]")
_TYPE = 'multipart/related; type="application/dicom"; boundary=B'


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server on loopback."""
    started = Server()
    yield started
    started.stop()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FetchingNode]:
    with fetching_node(tmp_path / "node") as running:
        yield running


def _archive(url: str, **more: Any) -> Archive:
    return Archive(name="pacs", url=url + "/dicom-web", **{"timeout_seconds": 5, **more})


def _series(folder: Path) -> tuple[str, str, Reply]:
    """Return study and series of a new study, and the answer of WADO-RS that brings it."""
    study = write_study(folder, slices=3)
    series = dcmread(folder / "0000.dcm").SeriesInstanceUID
    head = b"--B\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + path.read_bytes() + b"\r\n" for path in sorted(folder.iterdir())) + b"--B--"
    return study, series, Reply(200, {"Content-Type": _TYPE}, body)


def test_a_token_is_fetched_for_an_archive(node: FetchingNode, server: Server, tmp_path: Path) -> None:
    """OAuth 2.0: a token that is no longer good is fetched again once, and the objects come."""
    study, series, objects = _series(tmp_path / "a")
    issued: list[str] = []

    def answer(request: Request) -> Reply:
        if request.path == "/token":
            issued.append(f"t{len(issued)}")
            return Reply(200, {}, f'{{"access_token": "{issued[-1]}", "expires_in": 3600}}'.encode())
        return objects if request.headers["authorization"] == "Bearer t1" else Reply(401)

    server.answering = answer
    (tmp_path / "secret").write_text("geheim")
    auth = OAuth2(token_url=server.url + "/token", client_id="i", client_secret_file=tmp_path / "secret")
    known = node.with_archive(_archive(server.url, auth=auth))
    assert len(known.pull_series(study, series).kept) == 3
    assert issued == ["t0", "t1"]
    server.answering = lambda request: answer(request) if request.path == "/token" else Reply(401)
    with pytest.raises(PeerRefused, match=r"\[archive.auth\]"):
        known.pull_series(study, series)


def test_the_same_server_may_move_a_retrieval(node: FetchingNode, server: Server, tmp_path: Path) -> None:
    """A redirect is followed where it stays on the server; to another one nothing goes."""
    study, series, objects = _series(tmp_path / "a")
    known = node.with_archive(_archive(server.url))
    server.answering = lambda request: (
        objects if request.path.startswith("/new") else Reply(307, {"Location": "/new" + request.path})
    )
    assert len(known.pull_series(study, series).kept) == 3
    server.answering = lambda _: Reply(307, {"Location": "http://elsewhere.invalid/"})
    with pytest.raises(PeerUnreachable, match="answers 307: it sends the node elsewhere"):
        known.pull_series(study, series)


def test_an_archive_that_wants_to_be_left_alone_is(node: FetchingNode, server: Server) -> None:
    """Retry-After holds for the next retrieval, too; what is asked is in no text."""
    server.answering = lambda _: Reply(503, {"Retry-After": "60"})
    known = node.with_archive(_archive(server.url))
    for words in ("answers 503: it is busy", "left alone"):
        with pytest.raises(PeerUnreachable, match=words) as told:
            known.speaker().studies({"PatientID": "GEHEIM"})
        assert "GEHEIM" not in str(told.value)
    assert len(server.requests) == 1


def test_an_archive_is_asked_through_a_proxy(node: FetchingNode, server: Server) -> None:
    """The proxy is asked for the whole address."""
    server.answering = lambda _: _NOTHING
    known = node.with_archive(_archive("http://pacs.invalid", proxy=server.url))
    assert known.speaker().studies({"PatientID": "1"}) == []
    (request,) = server.requests
    assert request.path.startswith("http://pacs.invalid/dicom-web/studies?")


@pytest.mark.parametrize("content", ["ge\nheim", "ge heim", "gehéim"])
def test_what_is_no_token_is_not_repeated(node: FetchingNode, server: Server, tmp_path: Path, content: str) -> None:
    """A header cannot hold it: its file is named, and nothing is asked."""
    (tmp_path / "token").write_text(content, encoding="utf-8")
    known = node.with_archive(_archive(server.url, auth=BearerToken(token_file=tmp_path / "token")))
    with pytest.raises(PeerRefused, match=r"token holds no token .* \[archive.auth\]") as told:
        known.speaker().studies({"PatientID": "1"})
    assert "heim" not in str(told.value)
    assert server.requests == []


def test_pages_of_a_server_that_does_not_turn_them_have_an_end(node: FetchingNode, server: Server) -> None:
    """A server that always says that there is more, and gives the same, is asked twice; each match counts once."""
    body = b'[{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]'
    server.answering = lambda _: Reply(200, {"Warning": '299 h "more"'}, body)
    found = node.with_archive(_archive(server.url)).speaker().studies({})
    assert [each["StudyInstanceUID"] for each in found] == ["1.2"]
    assert len(server.requests) == 2
