"""STOW-RS (PS3.18 10.5) to Orthanc, and to servers that do what servers do: refuse, redirect, tire, and go away."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from pydicom import dcmread

from dicom_node.demo import loopback
from dicom_node.demo.orthanc import OrthancPacs
from dicom_node.dicom_web import Service, StowRsSender
from dicom_node.dicom_web import stow_rs as sending
from dicom_node.errors import Failure, PeerRefused, PeerUnreachable
from dicom_node.outgoing import Outcome, Verdict
from dicom_node.pace import Pace
from dicom_node.settings import BasicAuth, ClientTlsSettings, DicomWebDestination, OAuth2
from tests.tls_papers import Papers
from tests.web_server import Reply, Request, Server, stored_reply

_PLUGIN: Final = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
_SECRET: Final = "geheim+&=%"  # noqa: S105 - what a secret may hold


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(context))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """Give a server on loopback."""
    return start_server()


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _sender(url: str, clock: Callable[[], float] = time.time, **settings: Any) -> StowRsSender:
    settings = {"timeout_seconds": 5, **settings}
    destination = DicomWebDestination(name="web", protocol="dicomweb", url=url, **settings)
    service = Service(destination.web, clock)
    return StowRsSender(service, destination.timeout_seconds, Pace(destination.maximum_mib_per_second))


def _verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]


def _store(sender: StowRsSender, objects: Sequence[Any]) -> list[Outcome]:
    outcomes = list(sender.store(objects))
    assert [outcome.sop_instance_uid for outcome in outcomes] == [item.sop_instance_uid for item in objects]
    return outcomes


A, T, P = Verdict.ACCEPTED, Verdict.TEMPORARY, Verdict.PERMANENT


def test_objects_arrive_as_they_are_stored(server: Server, stored: Any) -> None:
    """One request, each file a part of its own, one outcome each (PS3.18 10.5.1)."""
    objects = [stored() for _ in range(3)]
    assert _verdicts(_store(_sender(server.url + "/studies"), objects)) == [A] * 3
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/studies")
    assert request.headers["accept"] == "application/dicom+json"
    assert request.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert request.uids() == [item.sop_instance_uid for item in objects]
    for item in objects:
        assert item.path.read_bytes() in request.body


def test_batches_are_bounded(server: Server, stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By count and by bytes; an object that is larger than a batch goes alone."""
    monkeypatch.setattr(sending, "BATCH_OBJECTS", 3)
    monkeypatch.setattr(sending, "BATCH_BYTES", 20_000)
    objects = [stored() for _ in range(4)] + [stored(PixelData=bytes(30_000)), stored()]
    assert _verdicts(_store(_sender(server.url), objects)) == [A] * 6
    assert [len(request.uids()) for request in server.requests] == [3, 1, 1, 1]


def test_a_part_of_a_batch_fails(server: Server, stored: Any) -> None:
    """409 and 202 say of each instance what became of it; the statuses are those of C-STORE."""
    objects = [stored() for _ in range(3)]
    bad = [objects[1].sop_instance_uid]
    for status, reason, verdict in ((202, 0xA900, P), (409, 0xA700, T), (200, 0x0122, P)):
        server.answering = lambda request, r=reason, s=status: stored_reply(request, bad, r, s)  # type: ignore[misc]
        outcomes = _store(_sender(server.url), objects)
        assert _verdicts(outcomes) == [A, verdict, A]
        assert outcomes[1].status == reason
        assert f"answered 0x{reason:04X}" in outcomes[1].reason


def test_too_large_a_request_is_sent_one_by_one(server: Server, stored: Any) -> None:
    """413 for a batch: each object alone; 413 for one object is for a person, who is told what to raise."""
    small, large = [stored() for _ in range(3)], stored(PixelData=bytes(50_000))

    def answering(request: Request) -> Reply:
        too_large = len(request.uids()) > 1 or len(request.body) > 20_000
        return Reply(413) if too_large else stored_reply(request)

    server.answering = answering
    outcomes = _store(_sender(server.url), [*small, large])
    assert _verdicts(outcomes) == [A, A, A, P]
    assert "raise the limit" in outcomes[3].reason
    assert len(server.requests) == 5


@pytest.mark.parametrize("status", [400, 409, 415])
def test_one_object_that_is_refused_without_a_word_holds_up_no_other(
    server: Server, stored: Any, status: int
) -> None:
    """A server that answers a whole request with one refusal is asked about each object alone."""
    objects = [stored() for _ in range(4)]
    bad = objects[2].sop_instance_uid
    server.answering = lambda request: Reply(status) if bad in request.uids() else stored_reply(request)
    assert _verdicts(_store(_sender(server.url), objects)) == [A, A, P, A]


def test_too_large_is_heard_before_all_is_sent(server: Server, stored: Any) -> None:
    """A server that answers 413 in the middle of a body is understood, though it hangs up."""
    server.early = lambda _: Reply(413, stop_reading_at=100_000)  # type: ignore[method-assign]
    (outcome,) = _store(_sender(server.url), [stored(PixelData=bytes(1_000_000))])
    assert outcome.verdict in (P, T)  # T where the connection was reset before the answer could be read
    assert "413" in outcome.reason or "ended the connection" in outcome.reason


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_left_alone(server: Server, stored: Any, clock: Clock, status: int) -> None:
    """Retry-After: no request, not even a question, until then; afterwards everything goes."""
    server.answering = lambda _: Reply(status, {"Retry-After": "120"})
    sender = _sender(server.url, clock)
    assert _verdicts(_store(sender, [stored()])) == [T]
    clock.now += 100
    (outcome,) = _store(sender, [stored()])
    assert (outcome.verdict, len(server.requests)) == (T, 1)
    assert "another 20 s (Retry-After)" in outcome.reason
    with pytest.raises(PeerUnreachable, match="left alone"):
        sender.echo()
    assert len(server.requests) == 1
    clock.now += 21
    server.answering = stored_reply
    assert _verdicts(_store(sender, [stored()])) == [A]


def test_a_server_that_goes_away_in_the_middle(server: Server, stored: Any) -> None:
    """No answer, half an answer, or a body that is not taken: all is tried again, nothing counts as stored."""
    for early, reply in ((None, Reply(None)), (None, None), (Reply(None, stop_reading_at=1000), None)):
        if early is not None:
            server.early = lambda _, r=early: r  # type: ignore[method-assign,misc]
        if reply is not None:
            server.answering = lambda _, r=reply: r  # type: ignore[misc]
        else:
            server.answering = lambda request: Reply(200, {}, stored_reply(request).body, cut=True)
        outcomes = _store(_sender(server.url), [stored(), stored(PixelData=bytes(3_000_000))])
        assert _verdicts(outcomes) == [T, T]


def test_a_server_that_says_nothing(stored: Any) -> None:
    """A server that takes everything and never answers is given up after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = _sender(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=1)
        started = time.monotonic()
        (outcome,) = _store(sender, [stored()])
        assert time.monotonic() - started < 8
    assert outcome.verdict is T
    assert "did not answer" in outcome.reason


def test_nobody_there_and_no_such_host(stored: Any) -> None:
    """What to check is said: url, firewall, DNS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (outcome,) = _store(_sender(f"http://127.0.0.1:{port}/studies"), [stored()])
    assert (outcome.verdict, "firewall" in outcome.reason) == (T, True)
    (outcome,) = _store(_sender("http://no-such-host.invalid/studies"), [stored()])
    assert (outcome.verdict, "DNS" in outcome.reason) == (T, True)


def test_objects_do_not_follow_to_another_server(
    server: Server, start_server: Callable[..., Server], stored: Any, tmp_path: Path
) -> None:
    """A redirect to another host is refused: neither objects nor password go there."""
    other = start_server()
    (tmp_path / "password").write_text(_SECRET)
    auth = BasicAuth(user="node", password_file=tmp_path / "password")
    for status in (301, 302, 303, 307, 308):
        server.answering = lambda _, s=status: Reply(s, {"Location": other.url + "/studies"})  # type: ignore[misc]
        (outcome,) = _store(_sender(server.url, auth=auth), [stored()])
        assert outcome.verdict is T
        assert "correct url" in outcome.reason
    assert other.requests == []


def test_the_same_server_may_move_a_request(server: Server, stored: Any) -> None:
    """307 and 308 within a server are followed once, with the whole body; no circle goes on."""
    server.answering = lambda request: (
        stored_reply(request) if request.path == "/new" else Reply(308, {"Location": "/new"})
    )
    assert _verdicts(_store(_sender(server.url + "/old"), [stored()])) == [A]
    server.requests.clear()
    server.answering = lambda request: Reply(307, {"Location": request.path + "x"})
    assert _verdicts(_store(_sender(server.url + "/old"), [stored()])) == [T]
    assert len(server.requests) == 2


def test_a_page_to_log_in_is_no_success(server: Server, stored: Any) -> None:
    """200 with something else than a Store Instances Response is not taken for one."""
    server.answering = lambda _: Reply(200, {"Content-Type": "text/html"}, b"<html><p>Log in</p></html>")
    (outcome,) = _store(_sender(server.url), [stored()])
    assert outcome.verdict is T


def test_a_missing_file_is_for_a_person(server: Server, stored: Any) -> None:
    """What is gone or damaged is permanent and not sent; the others of the batch go, in order."""
    gone, first, damaged, second = stored(), stored(), stored(), stored()
    gone.path.unlink()
    damaged.path.write_bytes(b"not a DICOM file")
    assert _verdicts(_store(_sender(server.url), [gone, first, damaged, second])) == [P, A, P, A]
    assert server.requests[0].uids() == [first.sop_instance_uid, second.sop_instance_uid]


def test_basic_authorisation(server: Server, stored: Any, tmp_path: Path) -> None:
    """User and password of the file, without the end of its line; a wrong one says where to look."""
    (tmp_path / "password").write_text(_SECRET + "\n")
    sender = _sender(server.url, auth=BasicAuth(user="node", password_file=tmp_path / "password"))
    assert _verdicts(_store(sender, [stored()])) == [A]
    assert server.requests[0].headers["authorization"] == "Basic bm9kZTpnZWhlaW0rJj0l"
    server.answering = lambda _: Reply(401)
    (outcome,) = _store(sender, [stored()])
    assert (outcome.verdict, "[destination.auth]" in outcome.reason) == (T, True)
    with pytest.raises(Failure, match=r"destination\.auth"):
        sender.echo()


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secret_that_is_not_there(server: Server, stored: Any, tmp_path: Path, content: str | None) -> None:
    """Nothing is asked without the secret, and the file is named; mended, it goes by itself."""
    path = tmp_path / "password"
    if content is not None:
        path.write_text(content)
    sender = _sender(server.url, auth=BasicAuth(user="node", password_file=path))
    (outcome,) = _store(sender, [stored()])
    assert outcome.verdict is T
    assert str(path) in outcome.reason
    assert server.requests == []
    path.write_text(_SECRET)
    assert _verdicts(_store(sender, [stored()])) == [A]


@dataclass
class Tokens:
    """A server for tokens and objects at once."""

    issued: int = 0
    good: set[str] = field(default_factory=set)
    lifetime: object = 3600
    refuse: bytes | None = None
    asked: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            self.asked.append(request)
            if self.refuse is not None:
                return Reply(400, {}, self.refuse)
            self.issued += 1
            self.good.add(f"t{self.issued}")
            told = {"access_token": f"t{self.issued}", "token_type": "Bearer", "expires_in": self.lifetime}
            return Reply(200, {}, json.dumps(told).encode())
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return stored_reply(request) if token in self.good else Reply(401)


@pytest.fixture
def tokens(server: Server) -> Tokens:
    server.answering = Tokens()
    return server.answering


def _with_token(server: Server, tmp_path: Path, clock: Callable[[], float] = time.time) -> StowRsSender:
    (tmp_path / "secret").write_text(_SECRET)
    auth = OAuth2(
        token_url=server.url + "/token", client_id="node 1", client_secret_file=tmp_path / "secret", scope="a b"
    )
    return _sender(server.url + "/studies", clock, auth=auth)


def test_a_token_is_fetched_and_kept(
    server: Server, tokens: Tokens, stored: Any, tmp_path: Path, clock: Clock
) -> None:
    """Client credentials (RFC 6749 4.4, 2.3.1): one token for many requests, another shortly before its end."""
    sender = _with_token(server, tmp_path, clock)
    for _ in range(3):
        assert _verdicts(_store(sender, [stored()])) == [A]
    (asked,) = tokens.asked
    assert asked.body == b"grant_type=client_credentials&scope=a+b"
    assert asked.headers["authorization"] == "Basic bm9kZSsxOmdlaGVpbSUyQiUyNiUzRCUyNQ=="
    clock.now += 3600 - 29
    assert _verdicts(_store(sender, [stored()])) == [A]
    assert tokens.issued == 2


def test_a_token_that_is_no_longer_good_is_fetched_again_once(
    server: Server, tokens: Tokens, stored: Any, tmp_path: Path
) -> None:
    """401: one other token, the whole body again; if that is not good either, the delivery waits."""
    sender = _with_token(server, tmp_path)
    assert _verdicts(_store(sender, [stored()])) == [A]
    tokens.good.clear()
    assert _verdicts(_store(sender, [stored(), stored()])) == [A, A]
    assert tokens.issued == 2
    server.answering = lambda request: tokens(request) if request.path == "/token" else Reply(401)
    posts = len(server.posts)
    assert _verdicts(_store(sender, [stored()])) == [T]
    assert len(server.posts) - posts == 3  # refused, another token, refused


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (b'{"error": "invalid_client", "error_description": "DOE^JOHN"}', "invalid_client"),
        (b'{"error": "DOE^JOHN"}', "HTTP 400)"),
        (b'{"error": ["invalid_client"]}', "HTTP 400)"),
        (b"DOE^JOHN", "HTTP 400)"),
    ],
)
def test_a_refused_token_says_what_to_check(
    server: Server, tokens: Tokens, stored: Any, tmp_path: Path, refusal: bytes, words: str
) -> None:
    """The error code of RFC 6749 5.2 is shown, no other word of the server, and never the secret."""
    tokens.refuse = refusal
    sender = _with_token(server, tmp_path)
    (outcome,) = _store(sender, [stored()])
    assert outcome.verdict is T
    assert words in outcome.reason
    assert "client_secret_file" in outcome.reason
    assert "DOE" not in outcome.reason
    assert _SECRET not in outcome.reason
    with pytest.raises(PeerRefused):
        sender.echo()


@pytest.mark.parametrize("answer", [b"{}", b'{"access_token": "a\\r\\nb"}', b'{"access_token": 3}', b"[]"])
def test_a_token_that_is_none(server: Server, stored: Any, tmp_path: Path, answer: bytes) -> None:
    """What cannot be a token never becomes a header."""
    server.answering = lambda _: Reply(200, {}, answer)
    (outcome,) = _store(_with_token(server, tmp_path), [stored()])
    assert outcome.verdict is T
    assert "gives no token" in outcome.reason


@pytest.mark.parametrize("lifetime", ["3600", None, "soon", -1, 10**400, float("inf"), float("nan")])
def test_a_token_of_odd_lifetime_is_used(
    server: Server, tokens: Tokens, stored: Any, tmp_path: Path, lifetime: object
) -> None:
    """Whatever a server says of its end, a token is good for the request that it was fetched for."""
    tokens.lifetime = lifetime
    assert _verdicts(_store(_with_token(server, tmp_path), [stored()])) == [A]


def test_a_proxy_is_used(server: Server, stored: Any) -> None:
    """What goes through a proxy is asked of the proxy."""
    sender = _sender("http://pacs.invalid/studies", proxy=server.url)
    assert _verdicts(_store(sender, [stored()])) == [A]
    assert server.requests[0].path == "http://pacs.invalid/studies"
    secure = _sender("https://pacs.invalid/studies", proxy=server.url)
    server.answering = lambda _: Reply(403)
    (outcome,) = _store(secure, [stored()])
    assert (outcome.verdict, "proxy" in outcome.reason) == (T, True)
    assert (server.requests[-1].method, server.requests[-1].path) == ("CONNECT", "pacs.invalid:443")


def _tls_server(start_server: Callable[..., Server], papers: Papers, name: str) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate(name), papers.key(name))
    context.load_verify_locations(papers.certificate("ca"))
    context.verify_mode = ssl.CERT_REQUIRED
    server: Server = start_server(context)
    return server


def test_https_with_certificates(start_server: Callable[..., Server], papers: Papers, stored: Any) -> None:
    """The server's certificate is checked against `ca` and its host; ours is presented."""
    own = {"certificate": papers.certificate("mr1"), "private_key": papers.key("mr1")}
    ca, other = papers.certificate("ca"), papers.certificate("other")
    here, elsewhere = (_tls_server(start_server, papers, name) for name in ("node", "elsewhere"))
    for server, tls, verdict, words in (
        (here, ClientTlsSettings(ca=ca, **own), A, "stored"),
        (here, ClientTlsSettings(ca=other, **own), T, "check ca"),
        (here, None, T, "check ca"),
        (here, ClientTlsSettings(ca=ca), T, ""),
        (elsewhere, ClientTlsSettings(ca=ca, **own), T, "mismatch"),
        (elsewhere, ClientTlsSettings(ca=ca, check_host_name=False, **own), A, "stored"),
        (elsewhere, ClientTlsSettings(ca=other, check_host_name=False, **own), T, "check ca"),
    ):
        (outcome,) = _store(_sender(server.url, tls=tls), [stored()])
        assert (outcome.verdict, words in outcome.reason) == (verdict, True), outcome.reason


def test_the_pace_is_kept(server: Server, stored: Any) -> None:
    """3 MB at 2 MiB a second take more than a second."""
    sender = _sender(server.url, maximum_mib_per_second=2)
    started = time.monotonic()
    assert _verdicts(_store(sender, [stored(PixelData=bytes(3_000_000))])) == [A]
    assert time.monotonic() - started > 1.2


def test_what_a_server_takes_is_not_known_beforehand(server: Server) -> None:
    """STOW-RS has no negotiation: `accepted` says that nobody knows, `echo` that somebody is there."""
    sender = _sender(server.url + "/studies?key=1")
    assert sender.accepted(["1"], "1.2.840.10008.1.2.1") == {"1": None}
    server.answering = lambda _: Reply(405)
    sender.echo()
    assert server.requests[0].method == "OPTIONS"
    assert str(sender) == server.url + "/studies"
    server.answering = lambda request: Reply(404 if request.method == "OPTIONS" else 204)
    sender.echo()  # a server that does not know OPTIONS is asked for a study that nobody has
    assert server.requests[-1].path.startswith("/studies?key=1&StudyInstanceUID=2.25.")
    server.answering = lambda _: Reply(404)
    with pytest.raises(PeerUnreachable, match="STOW-RS endpoint"):
        sender.echo()


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
        "RegisteredUsers": {"node": _SECRET},
    }
    with OrthancPacs(tmp_path / "orthanc", options=options) as pacs:
        yield pacs


def test_orthanc_by_stow_rs(orthanc: OrthancPacs, stored: Any, tmp_path: Path) -> None:
    """Orthanc has every object as it was stored; sending again is harmless; with a wrong password it has nothing."""
    url = f"http://127.0.0.1:{orthanc.http_port}/dicom-web/studies"
    (tmp_path / "password").write_text(_SECRET)
    sender = _sender(url, auth=BasicAuth(user="node", password_file=tmp_path / "password"), timeout_seconds=30)
    objects = [stored(PatientID="1") for _ in range(60)]
    sender.echo()
    for _ in range(2):
        assert _verdicts(_store(sender, objects)) == [A] * 60
    assert {one.sop_instance_uid for one in orthanc.stored()} == {item.sop_instance_uid for item in objects}
    for item in objects[:3]:
        assert dcmread(BytesIO(orthanc.fetch(item.sop_instance_uid))) == dcmread(item.path)
    (tmp_path / "wrong").write_text("wrong")
    for auth in (BasicAuth(user="node", password_file=tmp_path / "wrong"), None):
        stranger = _sender(url, auth=auth)
        (outcome,) = _store(stranger, [stored(PatientID="2")])
        assert (outcome.verdict, "[destination.auth]" in outcome.reason) == (T, True)
        with pytest.raises(PeerUnreachable):
            stranger.echo()
    assert len(orthanc.stored()) == 60


def test_orthanc_refuses_what_it_cannot_store(orthanc: OrthancPacs, stored: Any, tmp_path: Path) -> None:
    """A damaged object beside good ones: they are stored, it is not reported as stored."""
    url = f"http://127.0.0.1:{orthanc.http_port}/dicom-web/studies"
    (tmp_path / "password").write_text(_SECRET)
    sender = _sender(url, auth=BasicAuth(user="node", password_file=tmp_path / "password"), timeout_seconds=30)
    good, damaged = stored(PatientID="1"), stored(PatientID="1")
    damaged.path.write_bytes(bytes(128) + b"DICM" + b"nonsense" * 20)
    outcomes = _store(sender, [good, damaged])
    held = {one.sop_instance_uid for one in orthanc.stored()}
    for outcome in outcomes:
        assert (outcome.verdict is A) == (outcome.sop_instance_uid in held), outcome.reason
