"""What a test PACS answers: what was stored, which bytes, and every C-STORE that arrived."""

import socket
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

from pynetdicom import AE

from dicom_node.entities import AETitle, Peer
from dicom_node.requestor import leave_answers

LOOPBACK: Final = "127.0.0.1"
SUCCESS: Final = 0x0000
VERIFICATION: Final = "1.2.840.10008.1.1"
#: File in a PACS's folder: one SOP Instance UID a line, in order of arrival.
ARRIVALS: Final = "arrivals.txt"


class Stored(NamedTuple):
    """One instance that a test PACS holds."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str


class Pacs(Protocol):
    """What both test PACS can do."""

    ae_title: str
    port: int

    def start(self) -> None:
        """Start listening; returns when a C-ECHO is answered."""
        ...

    def stop(self) -> None:
        """Stop listening; what was stored stays, and `start` continues on the same port."""
        ...

    def stored(self, study_instance_uid: str | None = None) -> tuple[Stored, ...]:
        """Return the instances of a study, or of all studies, sorted by SOP Instance UID."""
        ...

    def fetch(self, sop_instance_uid: str) -> bytes:
        """Return one stored instance as a DICOM file (PS3.10 7); raises KeyError for an unknown one."""
        ...

    def arrivals(self) -> tuple[str, ...]:
        """Return the SOP Instance UID of every C-STORE that arrived, repeats too, in order."""
        ...

    def __enter__(self) -> Self:
        """Start and return the PACS."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop the PACS."""
        ...


def peer(pacs: Pacs) -> Peer:
    """Return a test PACS as a destination."""
    return Peer(AETitle(pacs.ae_title), LOOPBACK, pacs.port)


def free_port() -> int:
    """Return a TCP port of loopback that nothing listens on now."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def answers_echo(called: Peer, calling: str = "ECHO") -> bool:
    """Return True if a peer answers a C-ECHO (PS3.7 9.1.5) with success."""
    if not listens(called):
        return False
    entity = AE(ae_title=calling)
    entity.add_requested_context(VERIFICATION)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = 2
    association = entity.associate(called.host, called.port, ae_title=str(called.ae_title))
    if not association.is_established:
        return False
    leave_answers(association)
    status = association.send_c_echo()
    association.release()
    return status.get("Status") == SUCCESS


def read_arrivals(folder: Path) -> tuple[str, ...]:
    """Return what a PACS noted in its folder: SOP Instance UIDs in order of arrival."""
    record = folder / ARRIVALS
    return tuple(record.read_text(encoding="ascii").split()) if record.exists() else ()


def listens(called: Peer) -> bool:
    """Return whether a port is listened on; pynetdicom 3.0.4 leaves its socket open where none is: ask before."""
    try:
        with socket.create_connection((called.host, called.port), timeout=2):
            return True
    except OSError:
        return False
