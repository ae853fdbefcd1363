"""An HTTP server for tests of STOW-RS that answers, hangs up and stops reading as it is told."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from pydicom import dcmread


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def uids(self) -> list[str]:
        """SOP Instance UIDs of a STOW-RS request."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + self.body)
        boundary = f"--{message.get_boundary()}".encode()
        parts = [piece.partition(b"\r\n\r\n")[2][:-2] for piece in self.body.split(boundary)[1:-1]]
        return [str(dcmread(BytesIO(part)).SOPInstanceUID) for part in parts]


@dataclass
class Reply:
    """What a server says: `None` as status hangs up; a body that is cut ends before its announced length."""

    status: int | None = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: bool = False
    stop_reading_at: int | None = None


Answering = Callable[[Request], Reply]


def stored_reply(request: Request, failed: Sequence[str] = (), reason: int = 0xA900, status: int = 200) -> Reply:
    """Return an answer that says of each instance that it is stored, or why not."""
    uids = request.uids()
    good = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids if uid not in failed]
    bad = [
        {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
        for uid in uids
        if uid in failed
    ]
    data_set = {"00081199": {"vr": "SQ", "Value": good}, "00081198": {"vr": "SQ", "Value": bad}}
    return Reply(status, {"Content-Type": "application/dicom+json"}, json.dumps(data_set).encode())


class Server:
    """An HTTP server that answers as it is told."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.answering: Answering = stored_reply
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                outer.serve(self)

            do_POST = do_OPTIONS = do_GET = do_CONNECT = _serve  # noqa: N815 - named by http.server

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up here
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if context is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        length = int(headers.get("content-length", 0))
        early = self.early(headers)
        if early is not None:
            handler.rfile.read(min(early.stop_reading_at or 0, length))
            self.say(handler, early)
            handler.close_connection = True
            return
        request = Request(handler.command, handler.path, headers, handler.rfile.read(length))
        self.requests.append(request)
        self.say(handler, self.answering(request))

    def early(self, headers: dict[str, str]) -> Reply | None:
        """What is answered before the body is read; None to read it."""
        return None

    def say(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.status is None:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        body = reply.body or b""
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if reply.cut else body)
        if reply.cut:
            handler.close_connection = True

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
