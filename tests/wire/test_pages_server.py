"""The web server against clients that send too much, too slowly, or nonsense: real sockets, no browser."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.admin.app import LARGEST_BODY, make_app
from dicom_node.admin.patience import PatientHttp
from dicom_node.admin.server import WebServer
from dicom_node.demo.stored import free_port
from dicom_node.ledger import AccountRole
from dicom_node.settings import AdminSettings
from tests.admin_cases import ADMINISTRATOR, Bench, bench


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, port=free_port()) as made:
        yield made


@pytest.fixture
def port(desk: Bench) -> Iterator[int]:
    settings: AdminSettings = desk.office.settings.admin
    server = WebServer(make_app(desk.office), settings)
    server.start()
    yield settings.port
    server.stop()


def _asked(port: int, *pieces: bytes) -> bytes:
    """Return all that a server says to what it is sent, until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        for piece in pieces:
            try:
                line.sendall(piece)
            except OSError:  # it has heard enough
                break
        said = b""
        try:
            while data := line.recv(65536):
                said += data
        except ConnectionResetError:
            pass
        return said


def _post(path: str, length: int | None, *headers: str) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: node", "Connection: close", size, *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_stranger_sends_no_more_than_a_password(port: int) -> None:
    """By its announced length and, where there is none, by what comes: 413, and nothing is kept."""
    form = "Content-Type: application/x-www-form-urlencoded"
    assert _asked(port, _post("/login", 2**40, form)).startswith(b"HTTP/1.1 413")
    chunk = b"%x\r\n%b\r\n" % (2**14, b"a" * 2**14)
    assert _asked(port, _post("/login", None, form), chunk, chunk).startswith(b"HTTP/1.1 413")
    assert _asked(port, _post("/api/studies/search", LARGEST_BODY)).startswith(b"HTTP/1.1 401")


def test_a_program_sends_no_more_than_rules(desk: Bench, port: int) -> None:
    """The longest text of rules is taken; what is longer than a text can be is not read."""
    secret = desk.office.actions.add_token(ADMINISTRATOR, "ci", AccountRole.ADMINISTRATOR)
    headers = (f"Authorization: Bearer {secret}", "Content-Type: application/json")
    text = b'{"text": "' + b"#" * 2_000_000 + b'"}'
    assert _asked(port, _post("/api/rules/check", len(text), *headers), text).startswith(b"HTTP/1.1 200")
    assert _asked(port, _post("/api/rules/check", LARGEST_BODY + 1, *headers)).startswith(b"HTTP/1.1 413")


def test_headers_have_an_end(port: int) -> None:
    """Whoever sends a header without an end is told so, long before memory ends."""
    assert _asked(port, b"GET / HTTP/1.1\r\nHost: node\r\n", *[b"X: " + b"a" * 2**16] * 16).startswith(
        b"HTTP/1.1 400"
    )


def test_no_answer_is_split(port: int) -> None:
    """A line's end in a path, a cookie or a query is no line's end in an answer."""
    for path in ("/studies%0d%0aX-Evil:%20yes", "/login/openid/back?state=%0d%0aX-Evil:%20yes", "/%0aX-Evil:yes/api"):
        said = _asked(port, f"GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 303")
        assert b"x-evil" not in said.lower()


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: node\r\nX-Slow: ", _post("/login", 100) + b"name=a"]
)
def test_who_is_too_slow_is_hung_up_on(desk: Bench, port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Nothing, half a line, half a header, half a body: after its time a connection is free for others."""
    monkeypatch.setattr(PatientHttp, "slowest_seconds", 0.2)
    assert b"200 OK" not in _asked(port, sent)


def test_who_takes_their_time_between_requests_is_not(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time runs for one request: a connection that is used again and again lives longer."""
    monkeypatch.setattr(PatientHttp, "slowest_seconds", 0.5)
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        for _ in range(5):
            line.sendall(b"GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n")
            said = b""
            while b'{"live":true}' not in said:
                piece = line.recv(65536)
                assert piece
                said += piece
            line.settimeout(0.2)
            with pytest.raises(TimeoutError):
                line.recv(1)
            line.settimeout(20)
