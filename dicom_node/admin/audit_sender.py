"""DICOM audit messages to a collector by syslog over TLS (PS3.15 A.6; RFC 5424, RFC 5425), from the ledger's trail.

What was sent is noted in the ledger, so that a collector that was away gets what it missed, once.
"""

import contextlib
import os
import socket
import ssl
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, func, select

from dicom_node.admin.audit_message import Subject, audit_message
from dicom_node.errors import PeerUnreachable
from dicom_node.ledger import Act, Ledger
from dicom_node.ledger.admin_schema import study_cards
from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import instances
from dicom_node.settings import AuditSettings
from dicom_node.tls import client_context

#: Facility 10 (security), severity 5 (notice): RFC 5424 6.2.1, as PS3.15 A.6 asks for.
_PRIORITY: Final = 85
_TIMEOUT_SECONDS: Final = 20.0
_AT_ONCE: Final = 200
#: The message's own encoding (RFC 5424 6.4).
_UTF8: Final = b"\xef\xbb\xbf"


class AuditSender:
    """Sends what the trail has and the collector has not."""

    def __init__(self, ledger: Ledger, settings: AuditSettings, node: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._node = node

    @property
    def _collector(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def tick(self) -> int:
        """Send what is new; return how many messages were. Raises PeerUnreachable, TlsUnusable."""
        if not self._settings.host:
            return 0
        sent = 0
        while batch := self._ledger.trail.unsent(self._collector, _AT_ONCE):
            messages = [frame for _, act in batch if (frame := self._framed(act)) is not None]
            if messages:
                self._send(messages)
            self._ledger.trail.note_sent(self._collector, batch[-1][0])
            sent += len(messages)
        return sent

    def _framed(self, act: Act) -> bytes | None:
        message = audit_message(act, self._node, _subject(self._ledger.engine, act.study_instance_uid))
        if message is None:
            return None
        stamp = datetime.fromtimestamp(act.at, UTC).isoformat(timespec="milliseconds")
        head = f"<{_PRIORITY}>1 {stamp} {socket.gethostname() or '-'} dicom_node {os.getpid()} DICOM+RFC3881 - "
        line = head.encode("ascii", "replace") + _UTF8 + message
        return str(len(line)).encode() + b" " + line

    def _send(self, messages: list[bytes]) -> None:
        settings = self._settings
        context = client_context(settings, "[admin.audit]")
        try:
            with (
                socket.create_connection((settings.host, settings.port), _TIMEOUT_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=settings.host) as line,
            ):
                line.sendall(b"".join(messages))
                # waits for the collector's end: it has read all, unless it resets the connection (an error below)
                with contextlib.suppress(ssl.SSLEOFError):  # some end without saying so in TLS
                    line.unwrap()
        except ssl.SSLError as error:
            said = f"the audit collector {self._collector} ends TLS ({error.reason}): see [admin.audit]"
            raise PeerUnreachable(said) from error
        except OSError as error:
            said = f"the audit collector {self._collector} does not answer ({error.strerror}): see [admin.audit]"
            raise PeerUnreachable(said) from error


def _subject(engine: Engine, study: str | None) -> Subject | None:
    if study is None:
        return None
    counted = (
        select(instances.c.sop_class_uid, func.count())
        .where(instances.c.study_instance_uid == study, instances.c.current.is_(True))
        .group_by(instances.c.sop_class_uid)
    )
    patient = select(study_cards.c.patient_id).where(study_cards.c.study_instance_uid == study)
    with reading(engine).connect() as connection:
        classes = {str(uid): int(count) for uid, count in connection.execute(counted)}
        patient_id = connection.execute(patient).scalar()
    return Subject(study, patient_id or "", classes)
