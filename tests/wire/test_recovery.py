"""Objects that were answered out of the journal, and a process that dies before they are moved."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import MRImageStorage
from sqlalchemy import select

from bench.repeating_senders import judge, new_image, new_uid
from bench.upper_layer import EXPLICIT_LITTLE, RawAssociation
from dicom_node.entities import AssociationEnd, Peer, SameUidPolicy
from dicom_node.instance_store import InstanceStore, Journal
from dicom_node.ledger import Ledger, database, migrating, open_ledger
from dicom_node.ledger.schema import associations, instances
from dicom_node.settings import ReceptionSettings, Source
from dicom_node.storage_scp import StorageSCP, commits, moves
from dicom_node.storage_scp.recovery import journal_name

_EVERYBODY = Source(name="everybody", ae_titles=("*",), addresses=("*",))


@dataclass
class Node:
    """A node on a folder; on the same folder again it is the node after a crash."""

    scp: StorageSCP
    store: InstanceStore
    ledger: Ledger

    def send(self, count: int) -> dict[str, str]:
        """Send instances on one association; return those that were acknowledged."""
        acknowledged = {}
        study, series = new_uid(), new_uid()
        with RawAssociation(
            Peer.parse("NODE", "127.0.0.1", self.scp.port), "SCANNER", [(MRImageStorage, EXPLICIT_LITTLE)]
        ) as association:
            for _ in range(count):
                image = new_image(study, series, bytes(1024))
                if association.store(1, MRImageStorage, image.uid, image.data) == 0:
                    acknowledged[image.uid] = ""
        return acknowledged

    def rows(self) -> int:
        with self.ledger.engine.connect() as connection:
            return len(connection.execute(select(instances.c.id)).all())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    with ExitStack() as after:

        def start_one(**changes: Any) -> Node:
            store = InstanceStore(tmp_path / "store", 0)
            ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
            settings = ReceptionSettings().model_copy(update={"port": 0, "journal_mib": 2, **changes})
            scp = StorageSCP(settings, "NODE", (_EVERYBODY,), store, ledger.arrivals, time.time)
            scp.start()
            after.callback(ledger.close)
            after.callback(scp.stop, 1)
            return Node(scp, store, ledger)

        yield start_one


@pytest.fixture
def nothing_moves(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Keep everything in the journal, as if the process died at once after each answer."""
    with monkeypatch.context() as patch:
        patch.setattr(moves.Moves, "_move", lambda _: None)
        patch.setattr(moves.Moves, "close", lambda _: False)
        patch.setattr(commits, "_IDLE_SECONDS", 60.0)
        yield patch


def test_what_was_answered_is_recovered(start: Any, nothing_moves: Any) -> None:
    """After a crash, before anybody is received: files and rows are there, byte for byte; the journal is empty."""
    node = start()
    acknowledged = node.send(20)
    assert len(acknowledged) == 20
    assert node.rows() == 0
    node.scp.stop(1)
    nothing_moves.undo()
    again = start()
    assert again.rows() == 20
    assert judge(again.ledger, again.store.root, acknowledged.items()).wrong == 0
    again.scp.stop(1)
    journal = Journal(again.store.journal_folder, journal_name("node", 0), 2)
    assert [list(segment.entries()) for segment in journal.segments] == [[], []]
    journal.close(forget=True)


def test_associations_of_what_is_recovered_are_lost(start: Any, nothing_moves: Any) -> None:
    """Nobody knows how they ended; the study does not wait for them."""
    node = start()
    node.send(1)
    node.scp.stop(1)
    nothing_moves.undo()
    again = start()
    with again.ledger.engine.connect() as connection:
        assert connection.execute(select(associations.c.ended)).scalars().all() == [str(AssociationEnd.LOST)]


def test_recovery_repeats_nothing(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What had been moved before the crash is known, and stays one instance."""
    node = start()
    acknowledged = node.send(5)
    assert node.scp.all_settled(10)
    with monkeypatch.context() as patch:
        patch.setattr(moves.Moves, "close", lambda _: False)
        node.scp.stop(1)
    again = start()
    assert again.rows() == 5
    assert judge(again.ledger, again.store.root, acknowledged.items()).wrong == 0


def test_a_journal_that_cannot_be_recovered_stays(
    start: Any, nothing_moves: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is locked at the start: the node receives without the journal, whose objects the next start has."""
    node = start()
    acknowledged = node.send(3)
    node.scp.stop(1)
    nothing_moves.undo()
    monkeypatch.setattr(database, "_BUSY_MILLISECONDS", 100)
    monkeypatch.setattr(migrating, "migrate", lambda _: None)
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    locked = start()
    other.execute("ROLLBACK")
    other.close()
    assert locked.rows() == 0
    acknowledged |= locked.send(2)
    assert locked.rows() == 2
    locked.scp.stop(1)
    again = start()
    assert again.rows() == 5
    assert judge(again.ledger, again.store.root, acknowledged.items()).wrong == 0


def test_more_than_the_journal_holds(start: Any) -> None:
    """Both segments are used, cleared, and used again, several times over; every instance has its row and bytes."""
    node = start()
    acknowledged = node.send(800)  # some 6 MB, through 2 MiB
    assert len(acknowledged) == 800
    assert node.scp.all_settled(20)
    assert judge(node.ledger, node.store.root, acknowledged.items()).wrong == 0
    assert node.rows() == 800


def test_where_the_ledger_decides_nothing_is_answered_before(start: Any) -> None:
    """With `same_uid_other_bytes = "refuse"` the answer depends on the ledger: the journal is not used."""
    node = start(same_uid_other_bytes=SameUidPolicy.REFUSE)
    assert len(node.send(3)) == 3
    assert node.rows() == 3
