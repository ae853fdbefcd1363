"""A folder as destination: whole files or none, never another's, never outside."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_node.errors import PeerUnreachable
from dicom_node.folder_sender import FolderSender
from dicom_node.outgoing import OutgoingObject, Verdict
from dicom_node.pace import Pace

_UIDS = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "SOPInstanceUID": "1.2.3.4"}


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., OutgoingObject]:
    """Return a function that makes a stored object with UIDs of choice."""
    (tmp_path / "store").mkdir()

    def make(rows: int = 7, **changes: str) -> OutgoingObject:
        image = Dataset()
        image.SOPClassUID, image.Rows = MRImageStorage, rows
        for keyword, uid in (_UIDS | changes).items():
            image.add_new(keyword, "UI", uid)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = MRImageStorage
        image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        image.preamble = bytes(128)
        path = tmp_path / "store" / f"{len(list((tmp_path / 'store').iterdir()))}.dcm"
        image.save_as(path, enforce_file_format=False)
        return OutgoingObject(path, str(MRImageStorage), image.SOPInstanceUID, str(ExplicitVRLittleEndian))

    return make


@pytest.fixture
def share(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_lies_below_its_study_and_series(stored: Callable[..., OutgoingObject], share: Path) -> None:
    """STUDY/SERIES/INSTANCE.dcm, byte for byte as stored, and nothing else."""
    item, other = stored(), stored(SOPInstanceUID="1.2.3.5")
    outcomes = list(FolderSender(share, Pace(0)).store([item, other]))
    assert [(o.verdict, o.status) for o in outcomes] == [(Verdict.ACCEPTED, 0)] * 2
    assert _files(share) == ["1.2/1.2.3/1.2.3.4.dcm", "1.2/1.2.3/1.2.3.5.dcm"]
    assert (share / "1.2/1.2.3/1.2.3.4.dcm").read_bytes() == item.path.read_bytes()


def test_what_is_there_already_is_stored(stored: Callable[..., OutgoingObject], share: Path) -> None:
    """Sending again is harmless: same UID, same bytes."""
    sender, item = FolderSender(share, Pace(0)), stored()
    list(sender.store([item]))
    (again,) = sender.store([item])
    assert (again.verdict, again.reason) == (Verdict.ACCEPTED, "already stored there")


def test_another_object_with_the_same_uid_is_left_alone(stored: Callable[..., OutgoingObject], share: Path) -> None:
    """Nothing of another system is written over; a person has to look."""
    sender, item = FolderSender(share, Pace(0)), stored()
    list(sender.store([item]))
    (outcome,) = sender.store([stored(rows=8)])
    assert outcome.verdict is Verdict.PERMANENT
    assert (share / "1.2/1.2.3/1.2.3.4.dcm").read_bytes() == item.path.read_bytes()


@pytest.mark.filterwarnings("ignore")  # pydicom's, of the wrong UID
@pytest.mark.parametrize("uid", ["../../escaped", "/etc", "", "..", "1.2\\1.3", "1." * 40])
def test_a_uid_that_is_none_leads_nowhere(stored: Callable[..., OutgoingObject], share: Path, uid: str) -> None:
    """A UID is digits and dots (PS3.5 9.1): what is no UID names no place, least of all one outside."""
    item = stored(StudyInstanceUID=uid)
    (outcome,) = FolderSender(share, Pace(0)).store([item])
    assert outcome.verdict is Verdict.PERMANENT
    assert _files(share.parent) == ["store/0.dcm"]


def test_a_share_that_is_not_mounted_is_not_made(stored: Callable[..., OutgoingObject], tmp_path: Path) -> None:
    """Objects must not end up on the disk below the mount point; they wait, and the reason says so."""
    sender = FolderSender(tmp_path / "away", Pace(0))
    (outcome,) = sender.store([stored()])
    assert outcome.verdict is Verdict.TEMPORARY
    assert "is the share mounted" in outcome.reason
    assert not (tmp_path / "away").exists()
    with pytest.raises(PeerUnreachable):
        sender.echo()


def test_a_disk_that_is_full_leaves_no_half_file(
    stored: Callable[..., OutgoingObject], share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error before the end: tried again later, and nothing that a reader could take for an object."""
    sync, calls = os.fsync, iter([28])

    def full(descriptor: int) -> None:
        for number in calls:
            raise OSError(number, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    sender, item = FolderSender(share, Pace(0)), stored()
    (outcome,) = sender.store([item])
    assert outcome.verdict is Verdict.TEMPORARY
    assert "No space left" in outcome.reason
    assert _files(share) == []
    (again,) = sender.store([item])
    assert again.verdict is Verdict.ACCEPTED


def test_a_killed_process_leaves_nothing_after_the_next_attempt(
    stored: Callable[..., OutgoingObject], share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file that nobody could clean up is written over by whoever sends the object again."""
    item = stored()

    def killed(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(os, "fsync", killed)
        dying.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            list(FolderSender(share, Pace(0)).store([item]))
    assert len(_files(share)) == 1
    monkeypatch.setattr(os, "getpid", lambda: 1)
    (again,) = FolderSender(share, Pace(0)).store([item])
    assert again.verdict is Verdict.ACCEPTED
    assert _files(share) == ["1.2/1.2.3/1.2.3.4.dcm"]


def test_a_damaged_source_is_for_a_person(stored: Callable[..., OutgoingObject], share: Path) -> None:
    """A file of the store that is gone or no DICOM is permanent; the others go."""
    gone, damaged, good = stored(), stored(), stored()
    gone.path.unlink()
    damaged.path.write_bytes(b"not a DICOM file")
    outcomes = list(FolderSender(share, Pace(0)).store([gone, damaged, good]))
    assert [o.verdict for o in outcomes] == [Verdict.PERMANENT, Verdict.PERMANENT, Verdict.ACCEPTED]
    assert "cannot be read" in outcomes[0].reason


def test_a_folder_takes_every_sop_class(share: Path) -> None:
    """There is nobody to refuse one."""
    sender = FolderSender(share, Pace(0))
    sender.echo()
    assert sender.accepted(["1", "2"], ExplicitVRLittleEndian) == {"1": True, "2": True}
    assert str(sender) == str(share)
