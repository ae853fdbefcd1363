"""What `bench.reception` measures: its rows, which receivers take part in each, and the goals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.senders import Load

MAIN_SIZE: Final = 131_072
SIZES: Final = (MAIN_SIZE, 8_192, 520_000)
BIG_SIZE: Final = 500_000_000
LOADS: Final = (1, 4, 16)
PEERS: Final = ("storescp", "orthanc", "pynetdicom")
#: Those of the peers that there is a goal for.
_RIVALS: Final = ("storescp", "orthanc")
GROUPS: Final = ("sizes", "short", "sustained", "big", "nagle", "times")

_STORESCP_GOALS: Final[Mapping[int, float]] = {1: 1.0, 4: 1.5, 16: 1.5}
_ORTHANC_GOAL: Final = 3.0
_NAGLE_GOAL: Final = 20.0
PEAK_GOAL_MB: Final = 120.0
SWING_GOAL_MB: Final = 10.0

_SHORT_COUNT: Final = 200
#: Instances for one association, and how many times as many for more: the start of 16 senders takes its time too.
_COUNT: Final = 400
_BYTES: Final = 80_000_000
_TIMES: Final[Mapping[int, int]] = {4: 2, 16: 2}
#: pynetdicom is so slow that a quarter is enough for a rate; there is no goal for it.
_SLOW_SHARE: Final = 4
#: An association with Nagle on takes peers 40 ms and more for an instance: few are enough for a rate.
_NAGLE_EACH: Final = 20
#: The node is sent more, as else the start of its senders would be most of what is timed.
_NAGLE_MORE: Final = 20


@dataclass(frozen=True)
class Row:
    """One line of the table for each receiver: instances of one size under one load.

    Parameters
    ----------
    size : int
        Bytes of pixels in an instance.
    more : int
        How many times as many instances the node is sent as its peers are.
    """

    size: int
    load: Load
    count: int
    peers: tuple[str, ...]
    nagle: bool = False
    more: int = 1

    @property
    def name(self) -> str:
        """The size, how many associations, and what is special."""
        size = f"{self.size / 1e6:.0f} MB" if self.size > 10**6 else f"{self.size / 1e3:.0f} kB"
        return f"{size}, {self.load.name}{', Nagle on' if self.nagle else ''}"

    def count_for(self, receiver: str) -> int:
        """Return how many instances a receiver is sent."""
        if receiver == "pynetdicom":
            return max(self.count // _SLOW_SHARE, 1)
        return self.count * self.more if receiver in {"node", "receivers"} else self.count

    def goal(self, peer: str) -> float | None:
        """Return how many times as fast as a peer the node should be; None if nothing is asked for."""
        if peer not in _RIVALS:
            return None
        if self.nagle:
            return _NAGLE_GOAL
        if peer == "orthanc":
            return _ORTHANC_GOAL
        return None if self.load.short else _STORESCP_GOALS.get(self.load.associations)


@dataclass(frozen=True)
class Section:
    """Rows that a receiver takes one after the other once it has been started."""

    name: str
    nagle: bool
    rows: tuple[Row, ...]

    @property
    def peers(self) -> tuple[str, ...]:
        """Everybody who takes part in any of its rows."""
        return tuple(dict.fromkeys(peer for row in self.rows for peer in row.peers))


def plan(
    groups: Sequence[str],
    sizes: Sequence[int],
    loads: Sequence[int],
    peers: Sequence[str],
    *,
    count: int | None,
    sustained: int,
) -> list[Section]:
    """Return what to measure; `count` replaces the number of instances of all rows but the big and the sustained."""
    rivals = tuple(peer for peer in peers if peer != "pynetdicom")
    sections = []
    for size in sizes:
        rows: list[Row] = []
        if "sizes" in groups:
            least = min(_COUNT, _BYTES // size)
            rows += [
                Row(size, Load(f"{load} at once", load), count or least * _TIMES.get(load, 1), tuple(peers))
                for load in loads
            ]
        if size == MAIN_SIZE and "short" in groups:
            number = count or _SHORT_COUNT
            rows.append(Row(size, Load("one each", 1, short=True), number, tuple(peers)))
            rows.append(Row(size, Load("one each, light senders", 1, short=True, light=True), number, tuple(peers)))
        if size == MAIN_SIZE and "sustained" in groups:
            rows.append(Row(size, Load(f"4 at once, {sustained} of them", 4), sustained, rivals))
        sections.append(Section(f"{size / 1e3:.0f} kB", nagle=False, rows=tuple(rows)))
    if "big" in groups:
        big = Row(BIG_SIZE, Load("1 at once", 1), 1, tuple(peers))
        sections.append(Section("500 MB", nagle=False, rows=(big,)))
    if "nagle" in groups:
        nagle = [
            Row(MAIN_SIZE, Load(f"{load} at once", load), count or load * _NAGLE_EACH, rivals, nagle=True, more=more)
            for load, more in ((each, max(_NAGLE_MORE // each, 1)) for each in loads)
        ]
        sections.append(Section("131 kB, Nagle on", nagle=True, rows=tuple(nagle)))
    return [section for section in sections if section.rows]
