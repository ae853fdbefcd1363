"""What was decoded is kept within bounds of bytes and age; nobody waits for another's series."""

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.admin.kept import Kept
from dicom_node.admin.looked import read_looked
from dicom_node.errors import GeometryUnusable
from tests.ledger_cases import Clock
from tests.study_cases import write_study


@dataclass(frozen=True)
class _Weight:
    nbytes: int


def _kept(clock: Clock) -> Kept[str, _Weight]:
    return Kept(100, clock, unused_seconds=600)


def test_bytes_are_bounded_and_not_numbers() -> None:
    """Many small ones stay, the longest unused goes for a large one; what is too large by itself is not kept."""
    kept = _kept(Clock())
    for name in "abcdefghij":
        kept.of(name, lambda: _Weight(10))
    assert kept.nbytes == 100
    same = kept.of("a", lambda: _Weight(10))
    assert kept.of("big", lambda: _Weight(90)).nbytes == 90
    assert kept.nbytes == 100
    assert kept.of("a", lambda: _Weight(1)) is same
    assert kept.of("huge", lambda: _Weight(101)).nbytes == 101
    assert kept.nbytes == 100


def test_what_nobody_uses_is_let_go() -> None:
    """Ten minutes after the last use, without anybody asking for anything."""
    clock = Clock()
    kept = _kept(clock)
    kept.of("a", lambda: _Weight(10))
    clock.now += 500
    kept.of("a", lambda: _Weight(10))
    clock.now += 500
    kept.forget_old()
    assert kept.nbytes == 10
    clock.now += 200
    kept.forget_old()
    assert kept.nbytes == 0


def test_one_that_is_made_keeps_nobody_else_waiting() -> None:
    """While one is made, another is given; who asks for the same gets that one, made once."""
    kept, begun, go_on = _kept(Clock()), threading.Event(), threading.Event()
    made: list[_Weight] = []

    def slow() -> _Weight:
        begun.set()
        assert go_on.wait(60)
        made.append(_Weight(1))
        return made[-1]

    threads = [threading.Thread(target=kept.of, args=("slow", slow)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    assert kept.of("quick", lambda: _Weight(2)).nbytes == 2
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1


def test_one_that_could_not_be_made_is_tried_again() -> None:
    """Its failure is told to who asked, and not kept."""
    kept = _kept(Clock())

    def fails() -> _Weight:
        raise GeometryUnusable("no volume")

    with pytest.raises(GeometryUnusable):
        kept.of("a", fails)
    assert kept.of("a", lambda: _Weight(3)).nbytes == 3


def test_a_series_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """By its matrix or by the size of its files: in words that say how large it is and where else to look."""
    write_study(tmp_path, slices=4)
    paths = sorted(tmp_path.iterdir())
    decoded = 4 * 24 * 24 * 4
    assert read_looked(paths, decoded).nbytes == decoded
    with pytest.raises(GeometryUnusable, match=r"4 images of 24 x 24 would take .* look at the series in the PACS"):
        read_looked(paths, decoded - 1)
    with paths[-1].open("ab") as file:
        file.truncate(2**30)  # of zeros that take no place on disk
    with pytest.raises(GeometryUnusable, match="would take 1,024 MiB"):
        read_looked(paths, 2**29)
    paths[0].unlink()
    with pytest.raises(GeometryUnusable, match="not in the store"):
        read_looked(paths)


def test_frames_of_one_object_count(tmp_path: Path) -> None:
    """A header that announces many frames is enough to refuse."""
    write_study(tmp_path, slices=1)
    (path,) = tmp_path.iterdir()
    image = dcmread(path)
    image.NumberOfFrames = 2_000_000
    image.save_as(path)
    with pytest.raises(GeometryUnusable, match="2000000 images"):
        read_looked([path])
