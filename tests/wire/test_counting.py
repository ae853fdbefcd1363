"""How many instances a study has, by what a PACS answers to C-FIND."""

from pathlib import Path

import pytest

from dicom_node.counting import Counting
from dicom_node.counts import Counts
from dicom_node.demo.stored import free_port
from dicom_node.settings import DicomDestination, FolderDestination, Settings
from tests.wire.test_proving import Archive

_NOW = 1_800_000_000.0


def _settings(port: int) -> Settings:
    pacs = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, timeout_seconds=5)
    return Settings(destinations=(pacs, FolderDestination(name="share", protocol="folder", path=Path("share"))))


@pytest.mark.parametrize(("told", "count"), [("7", 7), ("", None), ("many", None)])
def test_the_count_of_a_pacs(told: str, count: int | None) -> None:
    """Number of Study Related Instances (0020,1208); an archive that does not keep it says nothing."""
    archive = Archive(free_port(), answers=("find",))
    archive.patient = {"NumberOfStudyRelatedInstances": told} if told.isdecimal() else {}
    archive.start()
    try:
        counts = Counts()
        assert counts.of("1.2.3", "pacs", _NOW) is None
        Counting(_settings(archive.port), counts, lambda: _NOW).ask()
        assert counts.of("1.2.3", "pacs", _NOW) == count
        assert archive.asked == ["STUDY"]
        assert counts.open(_NOW + 9) == []
        assert counts.open(_NOW + 10) == [("1.2.3", "pacs")]
    finally:
        archive.stop()


def test_who_cannot_be_asked_holds_up_nobody() -> None:
    """A PACS that is away, a folder, a destination that is gone: no count, and silence decides."""
    counts = Counts()
    for name in ("pacs", "share", "gone"):
        counts.of("1.2.3", name, _NOW)
    Counting(_settings(free_port()), counts, lambda: _NOW).ask()
    assert [counts.of("1.2.3", name, _NOW) for name in ("pacs", "share", "gone")] == [None, None, None]
    assert counts.open(_NOW) == []
    assert counts.open(_NOW + 4000) == []  # nobody asks any more


def test_a_pacs_that_is_away_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each study: the others of this round are asked about in the next, if they are received still."""
    counts = Counts()
    counting = Counting(_settings(free_port()), counts, lambda: _NOW)
    for number in range(3):
        counts.of(f"1.2.{number}", "pacs", _NOW)
    tried: list[str] = []
    archive = counting._senders.archive(counting._destinations["pacs"])
    assert archive is not None
    find = archive.find_studies
    monkeypatch.setattr(archive, "find_studies", lambda uids, keys: (tried.extend(uids), find(uids, keys))[1])
    counting.ask()
    assert (tried, counts.open(_NOW + 1)) == (["1.2.0"], [])
    assert len(counts.open(_NOW + 20)) == 3
    assert counts.open(_NOW + 31) == []
    counts.of("1.2.9", "pacs", _NOW)
    counting.stop()
    counting.ask()
    assert tried == ["1.2.0"]


def test_a_count_is_of_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that comes while the PACS answers is not in its count."""
    counts, now = Counts(), [_NOW]
    counting = Counting(_settings(free_port()), counts, lambda: now[0])
    counts.of("1.2.3", "pacs", _NOW)

    def slow(*_: object) -> int:
        now[0] += 5
        return 7

    monkeypatch.setattr(counting, "_asked", slow)
    counting.ask()
    assert counts.of("1.2.3", "pacs", _NOW + 5, since=_NOW + 3) is None
    assert counts.of("1.2.3", "pacs", _NOW + 5, since=_NOW) == 7
