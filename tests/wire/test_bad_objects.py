"""Every bad input: its status, its words, where the bytes go, and that the node goes on."""

from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)
from pynetdicom import build_context

# pydicom, on both sides of the wire, warns about the UIDs that these tests get wrong on purpose
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")


def _refused(node: Any, answer: Dataset, status: int, words: str) -> None:
    """Check one refusal: status, comment, nothing kept, bytes and reason in quarantine, noted, and life goes on."""
    assert answer.Status == status
    assert words in answer.ErrorComment
    assert len(answer.ErrorComment) <= 64
    assert node.ledger.instances == []
    assert node.files("instances") == []
    assert node.files("incoming") == []
    reason, bytes_ = sorted(node.files("quarantine"), key=lambda path: path.suffix, reverse=True)
    assert words in reason.read_text()
    assert f"0x{status:04X}" in reason.read_text()
    assert "SCANNER" in reason.read_text()
    ((_, noted, text, path),) = node.ledger.quarantined
    assert (noted, path) == (status, str(bytes_))
    assert words in text
    assert node.still_serves()


def test_bytes_that_are_no_data_set(node: Any) -> None:
    """Noise is answered 0xC000, cannot understand (PS3.4 B.2.3); the noise is kept for a person to look at."""
    noise = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
    with node.line() as line:
        answer = line.store(noise, MRImageStorage, "2.25.1")
    _refused(node, answer, 0xC000, "")
    (kept,) = [path for path in node.files("quarantine") if path.suffix == ".bin"]
    assert kept.read_bytes().endswith(noise)


def test_a_request_without_data_set(node: Any) -> None:
    """A C-STORE without a data set is 0xC000; there are no bytes to put aside."""
    with node.line() as line:
        answer = line.store(None, MRImageStorage, "2.25.1")
    assert (answer.Status, answer.ErrorComment) == (0xC000, "the request has no data set")
    assert node.files("quarantine") == []
    assert node.still_serves()


def test_an_empty_data_set(node: Any) -> None:
    """A data set of one element that identifies nothing is 0xC000."""
    with node.line() as line:
        answer = line.store(bytes.fromhex("08006000435302004d52"), MRImageStorage, "2.25.1")
    _refused(node, answer, 0xC000, "no SOP Class UID in the data set")


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("SOPClassUID", "no SOP Class UID"),
        ("SOPInstanceUID", "no SOP Instance UID"),
        ("StudyInstanceUID", "no Study Instance UID"),
        ("SeriesInstanceUID", "no Series Instance UID"),
    ],
)
def test_an_object_without_a_uid(node: Any, mr_image: Any, encoded: Any, keyword: str, words: str) -> None:
    """An object that does not say which instance, series or study it is cannot be kept: 0xC000."""
    with node.line() as line:
        answer = line.store(encoded(mr_image(**{keyword: None})), MRImageStorage, "2.25.1")
    _refused(node, answer, 0xC000, words)


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("StudyInstanceUID", "../../../etc", "Study Instance UID in the data set is not a UID"),
        ("SeriesInstanceUID", "/etc/x", "Series Instance UID in the data set is not a UID"),
        ("SeriesInstanceUID", "1.2..3", "Series Instance UID in the data set is not a UID"),
        ("StudyInstanceUID", "1.2.\x00.3", "Study Instance UID in the data set is not a UID"),
        ("StudyInstanceUID", "1." * 32 + "1", "Study Instance UID in the data set is not a UID"),
        ("StudyInstanceUID", "1.2\\1.3", "Study Instance UID in the data set is not a UID"),
    ],
)
def test_a_uid_that_is_a_path(node: Any, mr_image: Any, encoded: Any, keyword: str, value: str, words: str) -> None:
    """UIDs become folder names, so only digits and dots pass (PS3.5 9.1); nothing is written elsewhere."""
    good = encoded(mr_image(**{keyword: "1.2.3.4.5.6.7"}, SOPInstanceUID="2.25.1"))
    raw = value.encode() + b"\0" * (len(value) % 2)
    data = good.replace(b"UI\x0e\x001.2.3.4.5.6.7\0", b"UI" + len(raw).to_bytes(2, "little") + raw)
    assert data != good
    with node.line() as line:
        answer = line.store(data, MRImageStorage, "2.25.1")
    _refused(node, answer, 0xC000, words)


@pytest.mark.parametrize("value", ["../../../../tmp/evil", "1.2.abc", "1." * 32 + "1", ""])
def test_a_request_whose_instance_uid_is_none(node: Any, mr_image: Any, encoded: Any, value: str) -> None:
    """An Affected SOP Instance UID that is no UID, is too long or is missing: 0xC000, not an abort."""
    with node.line() as line:
        answer = line.store(encoded(mr_image()), MRImageStorage, value)
    _refused(node, answer, 0xC000, "Affected SOP Instance UID")


def test_an_instance_uid_other_than_the_requests(node: Any, mr_image: Any, encoded: Any) -> None:
    """Request and data set must name the same instance: 0xA900 (PS3.4 B.2.3)."""
    with node.line() as line:
        answer = line.store(encoded(mr_image(SOPInstanceUID="2.25.2")), MRImageStorage, "2.25.1")
    _refused(node, answer, 0xA900, "SOP Instance UID of data set and request differ")


def test_a_sop_class_other_than_the_requests(node: Any, mr_image: Any, encoded: Any) -> None:
    """Request and data set must name the same SOP class: 0xA900."""
    data = encoded(mr_image(SOPInstanceUID="2.25.1", SOPClassUID=CTImageStorage))
    with node.line() as line:
        answer = line.store(data, MRImageStorage, "2.25.1")
    _refused(node, answer, 0xA900, "SOP Class UID of data set and request differ")


@pytest.mark.parametrize("claimed", [CTImageStorage, "1.2.840.10008.5.1.4.1.2.1.1", "9.9.9", ""])
def test_a_sop_class_other_than_the_contexts(node: Any, mr_image: Any, encoded: Any, claimed: str) -> None:
    """A request under a presentation context of another SOP class: 0xA900, whatever it claims."""
    data = encoded(mr_image(SOPInstanceUID="2.25.1"))
    with node.line() as line:
        answer = line.store(data, claimed, "2.25.1")
    _refused(node, answer, 0xA900, "SOP class of request and presentation context differ")


def test_a_data_set_cut_short(node: Any, mr_image: Any, encoded: Any) -> None:
    """Pixel data shorter than its length says: 0xC000, not a silently damaged image."""
    with node.line() as line:
        answer = line.store(encoded(mr_image(SOPInstanceUID="2.25.1"))[:-100], MRImageStorage, "2.25.1")
    _refused(node, answer, 0xC000, "ends in the middle")


def test_encapsulated_pixels_cut_short(node: Any, mr_image: Any, encoded: Any) -> None:
    """Fragments without their Sequence Delimitation Item (PS3.5 A.4): 0xC000."""
    image = mr_image(SOPInstanceUID="2.25.1", PixelData=None)
    pixels = bytes.fromhex("e07f10004f420000fffffffffeff00e000000000feff00e010000000") + bytes(16)
    contexts = [build_context(MRImageStorage, JPEG2000Lossless)]
    with node.line(contexts=contexts) as line:
        answer = line.store(encoded(image) + pixels, MRImageStorage, "2.25.1")
        _refused(node, answer, 0xC000, "ends in the middle of a fragment")
        whole = encoded(image) + pixels + bytes.fromhex("feffdde000000000")
        assert line.store(whole, MRImageStorage, "2.25.1").Status == 0x0000


def test_a_deflated_data_set_that_is_not(node: Any) -> None:
    """Bytes that do not inflate (PS3.5 A.5): 0xC000."""
    contexts = [build_context(MRImageStorage, DeflatedExplicitVRLittleEndian)]
    with node.line(contexts=contexts) as line:
        answer = line.store(b"\xff" * 100, MRImageStorage, "2.25.1")
    _refused(node, answer, 0xC000, "not a DICOM data set")


def test_below_the_free_space_floor(start_node: Any) -> None:
    """The disk fills up during an association: 0xA700 with figures, nothing deleted; then space again."""
    node = start_node(floor=2**30)
    with node.line() as line:
        assert line.object().Status == 0x0000
        assert len(node.ledger.instances) == 1  # moved out of the journal, too
        node.free[0] = 2**29
        answer = line.object()
        assert answer.Status == 0xA700
        assert answer.ErrorComment.startswith("512 MiB free, 1024 MiB wanted")
        assert len(node.files("instances")) == 1
        assert node.files("incoming") == node.files("quarantine") == []
        node.free[0] = 2**31
        assert line.object().Status == 0x0000
    assert node.still_serves()


def test_bad_bytes_do_not_end_their_association(node: Any, mr_image: Any, encoded: Any) -> None:
    """Good instances before and after a bad one, on one association, are kept."""
    with node.line() as line:
        assert line.object().Status == 0x0000
        assert line.store(b"garbage that is no data set", MRImageStorage, "2.25.1").Status == 0xC000
        assert line.object().Status == 0x0000
    assert len(node.ledger.instances) == 2


def test_the_quarantine_that_cannot_be_written_changes_no_answer(node: Any) -> None:
    """If even the quarantine fails, the status is the same and the node goes on."""
    folder = node.store.root / "quarantine"
    folder.rmdir()
    folder.write_text("not a folder")
    with node.line() as line:
        assert line.store(b"garbage that is no data set", MRImageStorage, "2.25.1").Status == 0xC000
    assert node.still_serves()


def test_a_sent_file_meta_group_is_no_data_set(node: Any, mr_image: Any, tmp_path: Any) -> None:
    """A sender that sends the whole file, preamble and all, as its data set: 0xC000."""
    image = mr_image(SOPInstanceUID="2.25.1")
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    with node.line() as line:
        answer = line.store((tmp_path / "whole.dcm").read_bytes(), MRImageStorage, "2.25.1")
    _refused(node, answer, 0xC000, "")
