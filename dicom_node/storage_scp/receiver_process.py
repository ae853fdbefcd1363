"""One receiver process: `python -m ...receiver_process LISTENER PLACES LINE CHANNEL NUMBER`.

All but the last are descriptors. Started by `processes`, never by hand. It imports what reception needs and nothing
of pipelines or results.
"""

import os
import pickle
import resource
import select
import signal
import socket
import sys
import time
from typing import Any, Final

import structlog

from dicom_node import log as logging
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import open_ledger
from dicom_node.storage_scp.admission import KnownCallers
from dicom_node.storage_scp.channel import Channel
from dicom_node.storage_scp.commitment import CommitmentDesk
from dicom_node.storage_scp.places import Places
from dicom_node.storage_scp.processes import ADMIT, READY, STOP, Setup
from dicom_node.storage_scp.receiver import Receiver
from dicom_node.storage_scp.recovery import journal_name, open_journal
from dicom_node.storage_scp.server import reception

log = structlog.get_logger(__name__)

#: The threads of a receiver hand the interpreter to each other; the default of 5 ms is longer than an object takes.
_SWITCH_SECONDS: Final = 0.0001
_LENGTH: Final = 4


def main(arguments: list[str]) -> None:
    """Receive until the node says stop, or is gone."""
    listener, places, line, told, number = (int(argument) for argument in arguments)
    # the node decides when to stop; a Ctrl-C in a terminal reaches all of its processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_SECONDS)
    _allow_many_connections()
    with socket.socket(fileno=line) as node, socket.socket(fileno=listener) as door:
        setup = _setup(node)
        logging.configure(setup.log.level, form=setup.log.format)
        receive(setup, door, node, socket.socket(fileno=told), places, number)


def _setup(node: socket.socket) -> Setup:
    setup = _content(node)
    assert isinstance(setup, Setup)  # noqa: S101 - the node sends it first
    return setup


def _content(node: socket.socket) -> Any:
    length = int.from_bytes(_exactly(node, _LENGTH), "little")
    # from our own node, over a line that only it holds
    return pickle.loads(_exactly(node, length))  # noqa: S301


def _exactly(node: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = node.recv(size - len(data))
        if not piece:
            raise SystemExit(0)  # the node is gone
        data += piece
    return data


def receive(
    setup: Setup, door: socket.socket, node: socket.socket, told: socket.socket, shared: int, number: int
) -> None:
    """Receive at `door` until told to stop, or the line to the node closes; leave nothing to do for the next."""
    if _is_gone(node):
        return  # before it touches a journal that the next node wants
    places = Places(setup.settings.maximum_associations, shared, number, setup.settings.processes)
    ledger = open_ledger(setup.ledger_url, create=False)
    store = InstanceStore(setup.store, setup.floor)
    mark = f"{os.getpid():x}-"
    desk = CommitmentDesk(ledger.commitments, ledger.proofs, store, setup.owner, setup.give_up_seconds, time.time)
    sources, note_records = setup.sources, ledger.records.note_all
    needs = reception(
        setup.settings,
        setup.ae_title,
        sources,
        store,
        ledger.arrivals,
        time.time,
        places,
        mark,
        desk,
        note_records,
    )
    journal = open_journal(needs, journal_name(setup.owner, number))
    if journal is None:
        told.close()
    channel = None if journal is None else Channel(told, journal)
    receiver = Receiver(door, needs, journal, channel)
    receiver.start()
    receiver.stop(_grace(node, needs.admission.callers))
    ledger.close()


def _is_gone(node: socket.socket) -> bool:
    """Return whether the node has closed its end of the line."""
    readable, _, _ = select.select([node], [], [], 0)
    return bool(readable) and node.recv(1, socket.MSG_PEEK) == b""


def _grace(node: socket.socket, callers: KnownCallers) -> float:
    """Be ready, and let call whom the node says, until told to stop.

    Returns
    -------
    float
        For how many seconds running C-STOREs may go on: not at all if the node is gone.
    """
    try:
        node.sendall(READY)
        while (told := node.recv(1)) == ADMIT:
            callers.replace(_content(node))
        return float(node.recv(64)) if told == STOP else 0.0
    except (OSError, SystemExit):
        return 0.0


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main(sys.argv[1:])
