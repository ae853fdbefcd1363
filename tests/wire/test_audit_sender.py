"""DICOM audit messages (PS3.15 A.5) at a collector: over TLS, framed by RFC 5425, each once though it was away."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from dicom_node.admin.audit_sender import AuditSender
from dicom_node.demo.stored import free_port
from dicom_node.errors import PeerUnreachable
from dicom_node.ledger import AccountRole
from dicom_node.settings import AuditSettings
from tests.admin_cases import ADMINISTRATOR, bench, study
from tests.tls_papers import Papers

_STUDY: Final = "1.2.3"


@dataclass
class Collector:
    """Takes syslog over TLS."""

    context: ssl.SSLContext
    port: int
    received: bytes = b""

    @contextmanager
    def listening(self) -> Iterator[None]:
        with socket.create_server(("127.0.0.1", self.port)) as server:
            thread = threading.Thread(target=self._take, args=(server,))
            thread.start()
            yield
            thread.join(20)

    def _take(self, server: socket.socket) -> None:
        plain, _ = server.accept()
        with self.context.wrap_socket(plain, server_side=True) as line:
            while data := line.recv(65536):
                self.received += data

    def messages(self) -> list[ET.Element]:
        """Return the messages, each as long as its frame says."""
        found, rest = [], self.received
        while rest:
            length, _, rest = rest.partition(b" ")
            line, rest = rest[: int(length)], rest[int(length) :]
            head, _, body = line.partition(b"\xef\xbb\xbf")
            assert re.fullmatch(rb"<85>1 \d{4}-\d\d-\d\dT[\d:.]+\+00:00 \S+ dicom_node \d+ DICOM\+RFC3881 - ", head)
            found.append(ET.fromstring(body))  # noqa: S314 - ours
        return found


def test_a_collector_gets_what_it_missed_once(tmp_path: Path, papers: Papers) -> None:
    """Log-in, look and change as the events of the standard; not lost while the collector is away, not sent twice."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate("node"), papers.key("node"))
    collector = Collector(context, free_port())
    settings = AuditSettings(host="127.0.0.1", port=collector.port, ca=papers.certificate("ca"))
    with bench(tmp_path) as desk:
        study(desk.ledger, _STUDY, {"PatientID": ["P&1"], "Modality": ["MR"]})
        desk.person(AccountRole.VIEWER, "ada").get(f"/api/studies/{_STUDY}")
        desk.office.actions.add_account(ADMINISTRATOR, "bob", AccountRole.VIEWER, "a long password")
        sender = AuditSender(desk.ledger, settings, "node1")
        with pytest.raises(PeerUnreachable, match="does not answer"):
            sender.tick()
        with collector.listening():
            assert sender.tick() == 3
        assert sender.tick() == 0
    log_in, look, change = collector.messages()
    assert [_event(each) for each in (log_in, look, change)] == [("110114", "E"), ("110103", "R"), ("110113", "E")]
    person = look.find("ActiveParticipant")
    assert person is not None
    assert (person.get("UserID"), person.get("UserIsRequestor")) == ("ada", "true")
    objects = {
        each.get("ParticipantObjectTypeCodeRole"): each for each in look.iter("ParticipantObjectIdentification")
    }
    assert [objects[role].get("ParticipantObjectID") for role in ("3", "1")] == [_STUDY, "P&1"]
    (sop_class,) = objects["3"].iter("SOPClass")
    assert sop_class.get("NumberOfInstances") == "1"
    assert b"password" not in collector.received


def _event(message: ET.Element) -> tuple[str | None, str | None]:
    identification = message.find("EventIdentification")
    assert identification is not None
    event = identification.find("EventID")
    assert event is not None
    return event.get("csd-code"), identification.get("EventActionCode")


def test_a_wrong_certificate_is_said(tmp_path: Path, papers: Papers) -> None:
    """A collector whose certificate another CA signed is told nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate("stranger"), papers.key("stranger"))
    port = free_port()
    settings = AuditSettings(host="127.0.0.1", port=port, ca=papers.certificate("ca"))
    with bench(tmp_path) as desk, socket.create_server(("127.0.0.1", port)) as server:

        def take() -> None:
            plain, _ = server.accept()
            with plain, pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_side=True)

        thread = threading.Thread(target=take)
        thread.start()
        desk.office.actions.add_account(ADMINISTRATOR, "bob", AccountRole.VIEWER, "a long password")
        with pytest.raises(PeerUnreachable, match="ends TLS"):
            AuditSender(desk.ledger, settings, "node1").tick()
        thread.join(20)
