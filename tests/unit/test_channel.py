"""What receiver and node tell each other about a journal: nothing is lost, nothing changes places, nobody waits."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dicom_node.entities import Association, AssociationEnd, AssociationRecord, InstanceRef
from dicom_node.instance_store import Place
from dicom_node.storage_scp.channel import Channel, FarEnd, pair
from dicom_node.storage_scp.moves import Ended, Event, Journaled, Sealed

_CALLER = Association("1f-a1", "SCANNER", "NODE", "10.0.0.1", 1_700_000_000.25)
_RECORD = AssociationRecord(
    _CALLER,
    AssociationEnd.RELEASED,
    1_700_000_001.5,
    ("1.2.840.10008.5.1.4.1.1.4 1.2.840.10008.1.2.1",),
    ("1.2.3 (result 3)",),
    2,
    1,
    {0xA700: 3},
    1234,
)


def journaled(number: int) -> Journaled:
    """Return an event whose values depend on its number."""
    ref = InstanceRef(f"1.2.{number}", "1.3", "1.4", "1.5", "1.6", f"instances/{number}", "ab" * 32, 17, own=True)
    return Journaled(Place(number % 2, 70 + number % 2, 4096 * number, 17), ref, _CALLER, 1.25)


@dataclass
class SomeJournal:
    """Remembers what was cleared."""

    cleared: list[int] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)

    def clear(self, segment: int) -> None:
        self.cleared.append(segment)

    def close(self, *, forget: bool) -> None:
        self.closed.append(forget)


@dataclass
class Both:
    """Both ends."""

    near: Channel
    far: FarEnd
    journal: SomeJournal

    def heard(self) -> list[Event]:
        return list(self.far.heard(lambda: (70, 71)))


@pytest.fixture
def both() -> Iterator[Both]:
    ours, theirs = pair()
    journal: Any = SomeJournal()
    yield Both(Channel(theirs, journal), FarEnd(ours), journal)
    ours.close()
    theirs.close()


def test_events_arrive_as_they_were(both: Both) -> None:
    """Every value, in order."""
    events = [journaled(1), journaled(2), Sealed(0), Ended(_RECORD), journaled(3)]
    for event in events:
        both.near.put(event)
    assert both.heard() == events


def test_a_node_that_is_busy_makes_nobody_wait(both: Both) -> None:
    """What it does not take is kept, in order, and the receiver is told to bring it later."""
    told = []
    both.near.unsent = lambda: told.append(1)
    started = time.monotonic()
    for number in range(3000):
        both.near.put(journaled(number))
    assert time.monotonic() - started < 5
    assert told
    events: list[Event] = []
    while not both.near.flush() or not events:
        events += both.heard()
    events += both.heard()
    assert events == [journaled(number) for number in range(3000)]


def test_what_cannot_be_unpacked_yet_is_not_lost(both: Both) -> None:
    """The journal's files cannot be opened for a moment: the message stays."""
    both.near.put(journaled(1))

    def fail() -> tuple[int, ...]:
        raise OSError(24, "Too many open files")

    with pytest.raises(OSError, match="open files"):
        list(both.far.heard(fail))
    assert both.heard() == [journaled(1)]


def test_what_the_node_tells(both: Both) -> None:
    """Segments that can be used again, and whether objects can be moved."""
    assert both.near.heard()
    both.far.cleared(1)
    both.far.stuck(True)
    assert both.near.heard()
    assert (both.journal.cleared, both.near.stuck) == ([1], True)
    both.far.stuck(False)
    assert both.near.heard()
    assert not both.near.stuck


def test_a_receiver_that_ends(both: Both) -> None:
    """In order: it says so, and the journal is the node's to clear. Killed: it does not."""
    both.near.put(journaled(1))
    both.near.close()
    assert both.heard() == [journaled(1)]
    assert (both.far.over, both.far.gone) == (True, True)
    assert both.journal.closed == [False]


def test_a_receiver_that_is_killed() -> None:
    """Gone, and not over: its journal may hold more than it could tell."""
    ours, theirs = pair()
    theirs.close()
    far = FarEnd(ours)
    assert list(far.heard(tuple)) == []
    assert (far.over, far.gone) == (False, True)
    far.cleared(0)  # nobody hears it
    far.close()


def test_a_node_that_is_gone(both: Both) -> None:
    """The receiver sees it, and what it tells nobody is no error: it will be told to end."""
    both.far.line.shutdown(socket.SHUT_RDWR)
    both.far.close()
    assert not both.near.heard()
    both.near.put(journaled(1))
