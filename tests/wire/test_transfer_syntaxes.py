"""Every SOP class in every transfer syntax, kept byte for byte."""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSNearLossless, MRImageStorage
from pynetdicom import build_context
from pynetdicom.dsutils import split_dataset

from bench.recording import DataSet, data_sets, pydicom_test_files
from dicom_node.presentation import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, is_storage
from dicom_node.storage_scu import OutgoingObject, StorageSCU, Verdict


def _outgoing(path: Path) -> OutgoingObject:
    meta = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).file_meta
    return OutgoingObject(path, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID)


def _data_set(path: Path) -> bytes:
    return path.read_bytes()[split_dataset(path)[1] :]


def _real_files(shared_data: Path) -> Iterator[Path]:
    yield from sorted((shared_data / "transfer-syntaxes" / "dcm_qa_ts").glob("*.dcm"))
    yield from sorted((shared_data / "seg-sr-examples-dcmqi").glob("*.dcm"))
    yield from sorted((shared_data / "t1-enhanced-multiframe-xa30").glob("*.dcm"))


def test_real_objects_are_kept_byte_for_byte(node: Any, shared_data: Path) -> None:
    """Nine encodings, SEG, label map, SR, RWV, Enhanced MR: what lies in the store is what left the sender."""
    files = list(_real_files(shared_data))
    sent = [_outgoing(path) for path in files]
    outcomes = list(StorageSCU("SCANNER", 20).store(node.peer, sent))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * len(files)
    assert len({item.transfer_syntax_uid for item in sent}) >= 7
    arrived = {kept.sha256: kept for kept in node.ledger.instances}  # big ones may overtake small ones
    assert len(node.ledger.instances) == len(arrived) == len(files)
    for source, item in zip(files, sent, strict=True):
        kept = arrived[hashlib.sha256(_data_set(source)).hexdigest()]
        stored = node.store.path_of(kept.path)
        assert hashlib.sha256(_data_set(stored)).hexdigest() == kept.sha256
        assert kept.transfer_syntax_uid == item.transfer_syntax_uid == split_dataset(stored)[0].TransferSyntaxUID
        assert kept.sop_class_uid == item.sop_class_uid


_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def _sent(node: Any, item: DataSet) -> int:
    """Send one data set under the only context that fits it; check what was kept; return the status."""
    before = len(node.ledger.instances)
    with node.line(contexts=[build_context(item.sop_class_uid, item.transfer_syntax_uid)]) as line:
        status = int(line.store(item.data, item.sop_class_uid, item.sop_instance_uid).Status)
    new = node.ledger.instances[before:]
    assert len(new) == (status == 0)
    for kept in new:
        assert (kept.sop_class_uid, kept.transfer_syntax_uid) == (item.sop_class_uid, item.transfer_syntax_uid)
        assert _data_set(node.store.path_of(kept.path)) == item.data
    return status


def _due(path: Path, item: DataSet) -> int:
    """Return the status that one of pydicom's files deserves (PS3.4 B.2.3)."""
    identity = dcmread(path, specific_tags=list(_IDENTITY))
    if path.stem.endswith("_truncated") or not all(identity.get(keyword) for keyword in _IDENTITY):
        return 0xC000
    return 0x0000 if identity.SOPInstanceUID == item.sop_instance_uid else 0xA900


# these files are odd on purpose, and pydicom says so
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pydicoms_test_files(node: Any, tmp_path: Path) -> None:
    """Every encoding there is in pydicom's test set: kept byte for byte, or refused for what is wrong with a file."""
    files = {path: item for path in pydicom_test_files() for item in data_sets([path])}
    stored = {path: item for path, item in files.items() if is_storage(item.sop_class_uid)}
    assert [path.name for path in files if path not in stored] == ["DICOMDIR-empty.dcm"]
    for path, item in stored.items():
        assert _sent(node, item) == _due(path, item), path.name
    # of this encoding no file says which study it belongs to
    (incomplete, *_) = [path for path, item in stored.items() if item.transfer_syntax_uid == JPEGLSNearLossless]
    assert _sent(node, _with_a_study(incomplete, tmp_path)) == 0
    assert {kept.transfer_syntax_uid for kept in node.ledger.instances} == {
        item.transfer_syntax_uid for item in stored.values()
    }
    assert len(node.ledger.instances) > 40


def _with_a_study(path: Path, folder: Path) -> DataSet:
    image = dcmread(path)
    image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.1", "2.25.1.1"
    image.save_as(folder / path.name)
    (item,) = data_sets([folder / path.name])
    return item


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_every_transfer_syntax_is_accepted_and_kept(node: Any, mr_image: Any, syntax: str) -> None:
    """Each transfer syntax of the table is accepted when it is the only one proposed, and its objects are kept."""
    data = _encoded_in(mr_image(SOPInstanceUID="2.25.1"), UID(syntax))
    with node.line(contexts=[build_context(MRImageStorage, syntax)]) as line:
        assert line.store(data, MRImageStorage, "2.25.1").Status == 0x0000
    (kept,) = node.ledger.instances
    assert kept.transfer_syntax_uid == syntax
    assert node.store.path_of(kept.path).read_bytes().endswith(data)


def _encoded_in(image: Any, syntax: UID) -> bytes:
    if syntax.is_encapsulated:
        del image.PixelData
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    write_dataset(buffer, image)
    data = buffer.getvalue()
    if syntax.is_encapsulated:
        data += bytes.fromhex("e07f10004f420000fffffffffeff00e000000000feff00e004000000ffd8ffd9feffdde000000000")
    if "Deflate" in syntax.name and "Frame" not in syntax.name:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflater.compress(data) + deflater.flush()
    return data


@pytest.mark.parametrize("start", range(0, len(STORAGE_SOP_CLASSES), 120))
def test_every_storage_sop_class_is_accepted(node: Any, start: int) -> None:
    """All Storage SOP classes of the standard, each in Implicit and Explicit VR Little Endian."""
    uids = STORAGE_SOP_CLASSES[start : start + 120]
    contexts = [build_context(uid, [ImplicitVRLittleEndian, ExplicitVRLittleEndian]) for uid in uids]
    association = node.request(contexts=contexts)
    assert {context.abstract_syntax for context in association.accepted_contexts} == set(uids)
    # of several, the encoding that every reader knows
    assert {context.transfer_syntax[0] for context in association.accepted_contexts} == {ExplicitVRLittleEndian}
    association.release()


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.10008.5.1.4.1.1.66",  # Raw Data
        "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image, private
        "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound Image, retired
        "1.2.840.10008.5.1.4.1.1.999.1",  # not yet invented
    ],
)
def test_raw_private_retired_and_future_sop_classes_are_kept(
    node: Any, mr_image: Any, encoded: Any, sop_class: str
) -> None:
    """A node that keeps bytes as received needs not know what they mean."""
    data = encoded(mr_image(SOPClassUID=sop_class, SOPInstanceUID="2.25.1", PixelData=None))
    with node.line(contexts=[build_context(sop_class, ExplicitVRLittleEndian)]) as line:
        assert line.store(data, sop_class, "2.25.1").Status == 0x0000
    assert node.ledger.instances[0].sop_class_uid == sop_class


@pytest.mark.parametrize(
    "abstract_syntax",
    [
        "1.2.840.10008.5.1.4.1.2.2.1",  # Study Root FIND
        "1.2.840.10008.5.1.4.31",  # Modality Worklist
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol Storage: no study to belong to
    ],
)
def test_other_services_are_not_pretended(node: Any, abstract_syntax: str) -> None:
    """What the node does not provide, its negotiation does not promise."""
    assert not is_storage(abstract_syntax)
    association = node.request(
        contexts=[build_context(MRImageStorage), build_context(abstract_syntax, ExplicitVRLittleEndian)]
    )
    assert [context.abstract_syntax for context in association.accepted_contexts] == [MRImageStorage]
    association.release()


def test_an_unknown_transfer_syntax_is_refused(node: Any) -> None:
    """Bytes in an encoding that cannot be read are better refused at the door (PS3.8 9.3.3.2, result 4)."""
    contexts = [build_context(MRImageStorage), build_context(MRImageStorage, "1.2.840.113619.5.2")]
    association = node.request(contexts=contexts)
    assert [context.result for context in association.rejected_contexts] == [4]
    association.release()
