"""Alerts on the wire: an e-mail by a mail server, a JSON by a webhook; what is away is said in words."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from dicom_node.admin.alerts import Alert
from dicom_node.admin.tellers import TellingFailed, tellers_of
from dicom_node.settings import AlertSettings

_ALERT = Alert("destination down: pacs", "Destination pacs does not answer", 1.8e9)


@contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_webhook_gets_json() -> None:
    """The alert as an object; a refusal is an error in words."""
    got: list[Any] = []
    statuses = [204, 500]

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(statuses.pop(0))
            self.end_headers()

        def log_message(self, *_: object) -> None:  # type: ignore[override]
            pass

    with _served(HTTPServer(("127.0.0.1", 0), Hook)) as port:
        (tell,) = tellers_of(AlertSettings(webhook=f"http://127.0.0.1:{port}/hook"), "node1")
        tell(_ALERT)
        with pytest.raises(TellingFailed, match="answers 500"):
            tell(_ALERT)
    assert got[0] == {"node": "node1", "key": _ALERT.key, "text": _ALERT.text, "since": 1.8e9, "over": False}
    with pytest.raises(TellingFailed, match="does not answer"):
        tell(_ALERT)


def test_a_mail_server_gets_an_e_mail() -> None:
    """To everybody named, with the node and the matter in its subject."""
    got: list[str] = []

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline().decode().lower():
                if line.startswith("data"):
                    self.wfile.write(b"354 go on\r\n")
                    got.append("".join(iter(lambda: self.rfile.readline().decode(), ".\r\n")))
                self.wfile.write(b"221 bye\r\n" if line.startswith("quit") else b"250 ok\r\n")
                if line.startswith("quit"):
                    return

    with _served(socketserver.TCPServer(("127.0.0.1", 0), Mail)) as port:
        (tell,) = tellers_of(AlertSettings(email_to=("a@example.org", "b@example.org"), smtp_port=port), "node1")
        tell(_ALERT)
    assert "Subject: [node1] destination down: pacs" in got[0]
    assert "To: a@example.org, b@example.org" in got[0]
    assert _ALERT.text in got[0]
    with pytest.raises(TellingFailed, match=r"no e-mail by 127\.0\.0\.1"):
        tell(_ALERT)
