"""Bytes on disk: nothing is kept that cannot be identified, nothing kept is lost, nothing is written elsewhere."""

import fcntl
import hashlib
import os
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)

from dicom_node import IMPLEMENTATION_CLASS_UID, MANUFACTURER
from dicom_node.entities import Association
from dicom_node.errors import CannotUnderstand, OutOfResources, SopClassMismatch
from dicom_node.instance_store import HELD, Incoming, InstanceStore, is_uid

SENDER = Association("a1", "SCANNER", "NODE", "10.0.0.1", 1_700_000_000.0)


@pytest.fixture
def store(tmp_path: Path) -> InstanceStore:
    """Return an empty store on an endless disk."""
    return InstanceStore(tmp_path / "store", 2**30, lambda _: 2**40)


def data_set(syntax: UID = ExplicitVRLittleEndian, **changes: str) -> bytes:
    """Return an encoded data set with the identity of an MR image."""
    values = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": "1.2.3",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.1",
        **changes,
    }
    image = Dataset()
    for keyword, value in values.items():
        setattr(image, keyword, value)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    write_dataset(buffer, image)
    return buffer.getvalue()


def received(store: InstanceStore, data: bytes, syntax: str = ExplicitVRLittleEndian) -> Incoming:
    """Return a received object, written in two fragments."""
    part = store.incoming(MRImageStorage, "1.2.3", syntax, "SCANNER")
    part.write(data[:50])
    part.write(data[50:])
    return part


def files(store: InstanceStore) -> set[str]:
    """Every file in the store, relative to its root."""
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def test_a_kept_instance_says_where_and_what_it_is(store: InstanceStore) -> None:
    """The path is made of study, series, instance and digest; the file is PS3.10 with the bytes as received."""
    data = data_set()
    digest = hashlib.sha256(data).hexdigest()
    kept = store.keep(received(store, data), MRImageStorage, "1.2.3")
    assert kept.path == f"instances/1.2/1.2.1/1.2.3-{digest[:12]}.dcm"
    assert (kept.sha256, kept.transfer_syntax_uid, kept.own) == (digest, ExplicitVRLittleEndian, False)
    assert (kept.study_instance_uid, kept.series_instance_uid) == ("1.2", "1.2.1")
    assert files(store) == {kept.path}
    path = store.path_of(kept.path)
    assert kept.size == path.stat().st_size
    assert path.read_bytes().endswith(data)
    meta = dcmread(path).file_meta
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert meta.FileMetaInformationGroupLength == len(path.read_bytes()) - len(data) - 144


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_uncompressed_encoding_is_identified(store: InstanceStore, syntax: UID) -> None:
    """Implicit, explicit, big endian and deflated data sets (PS3.5 Annex A) tell who they are."""
    data = data_set(syntax)
    if syntax.is_deflated:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflater.compress(data) + deflater.flush()
    kept = store.keep(received(store, data, syntax), MRImageStorage, "1.2.3")
    assert kept.sha256 == hashlib.sha256(data).hexdigest()


def test_our_own_objects_are_recognised(store: InstanceStore) -> None:
    """Manufacturer (0008,0070) is the loop guard's mark."""
    part = received(store, data_set(Manufacturer=MANUFACTURER))
    assert store.keep(part, MRImageStorage, "1.2.3").own


def test_the_same_uid_with_other_bytes_is_another_file(store: InstanceStore) -> None:
    """Neither of two different data sets with one UID is lost."""
    one = store.keep(received(store, data_set()), MRImageStorage, "1.2.3")
    two = store.keep(received(store, data_set(Modality="MR")), MRImageStorage, "1.2.3")
    assert files(store) == {one.path, two.path}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"no data set at all, just a sentence", "."),
        (data_set()[:-3], "middle of an element"),
        (data_set(StudyInstanceUID=""), "no Study Instance UID"),
        (data_set(SeriesInstanceUID=""), "no Series Instance UID"),
        (data_set(SOPInstanceUID=""), "no SOP Instance UID"),
    ],
)
def test_what_cannot_be_identified_is_not_kept(store: InstanceStore, data: bytes, words: str) -> None:
    """`CannotUnderstand` (0xC000), and the bytes are still there to be put aside."""
    part = received(store, data)
    with pytest.raises(CannotUnderstand, match=words):
        store.keep(part, MRImageStorage, "1.2.3")
    assert files(store) == {str(part.path.relative_to(store.root))}


def test_what_is_not_what_the_request_says_is_not_kept(store: InstanceStore) -> None:
    """`SopClassMismatch` (0xA900) for class and instance."""
    with pytest.raises(SopClassMismatch, match="SOP Class UID"):
        store.keep(received(store, data_set()), CTImageStorage, "1.2.3")
    with pytest.raises(SopClassMismatch, match="SOP Instance UID"):
        store.keep(received(store, data_set()), MRImageStorage, "1.2.4")


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.1", "0.0", "1.02.3", "1" * 64])
def test_uids(text: str) -> None:
    """Digits and dots, at most 64 characters (PS3.5 9.1); leading zeros exist in the world."""
    assert is_uid(text)


@pytest.mark.parametrize("text", ["", ".", "..", "1.", ".1", "1..2", "1/2", "a", "1.2\n", "1.2 ", "1" * 65, "\u0661"])
def test_not_uids(text: str) -> None:
    """Nothing that could leave its folder is a UID."""
    assert not is_uid(text)


def test_the_floor(tmp_path: Path) -> None:
    """Below the floor, nothing is taken in, and the text says what is free and what to do."""
    free = [2**30]
    store = InstanceStore(tmp_path, 2**30, lambda _: free[0])
    store.ensure_space()
    free[0] -= 1
    with pytest.raises(OutOfResources, match=r"1023 MiB free, 1024 MiB wanted.*free_space_floor_mib"):
        store.ensure_space()
    part = received(store, data_set())
    with pytest.raises(OutOfResources, match="1023 MiB free"):
        store.keep(part, MRImageStorage, "1.2.3")
    assert not part.path.exists()  # the bytes were dropped, not written to a full disk


def test_a_disk_that_refuses_is_out_of_resources(store: InstanceStore) -> None:
    """Every write that fails is 0xA700, with the system's own word for it."""
    store.receive_folder.rmdir()
    part = received(store, data_set())
    with pytest.raises(OutOfResources, match="No such file"):
        store.keep(part, MRImageStorage, "1.2.3")


def test_a_full_disk_is_out_of_resources(tmp_path: Path) -> None:
    """A write that fails for want of space (`/dev/full`) is kept until the end, then raised, once and for all."""
    part = Incoming(tmp_path, b"head", ExplicitVRLittleEndian)
    part.write(bytes(HELD + 1))
    assert part._file is not None
    part._file.close()
    with Path("/dev/full").open("r+b", buffering=0) as part._file:
        part.write(b"x")
        part.write(b"y")
    with pytest.raises(OutOfResources, match="No space left on device"):
        part.finish()


@pytest.mark.parametrize("size", [0, 1, HELD - 1, HELD, HELD + 1, 3 * HELD])
def test_small_objects_stay_in_memory(store: InstanceStore, size: int) -> None:
    """Up to a size there is no file while an object comes in; its bytes and hash are the same either way."""
    data = os.urandom(size)
    part = store.incoming(MRImageStorage, "1.2.3", ExplicitVRLittleEndian, "SCANNER")
    for at in range(0, size, 100_000):
        part.write(memoryview(data)[at : at + 100_000])
    assert part.path.exists() is (size > HELD)
    assert (part.held is None) is (size > HELD)
    assert part.sha256 == hashlib.sha256(data).hexdigest()
    part.finish()
    assert part.path.read_bytes() == part.head + data
    assert part.size == len(part.head) + size
    part.discard()


def test_quarantine(store: InstanceStore) -> None:
    """The bytes lie under the day they came, the reason and the sender beside them."""
    part = received(store, b"rubbish")
    part.to_file()
    part.close()
    aside = store.quarantine(part.path, "0xC000 no Study Instance UID", SENDER)
    assert str(aside.relative_to(store.root)).startswith("quarantine/2023-11-14/")
    assert aside.read_bytes().endswith(b"rubbish")
    reason = aside.with_suffix(".txt").read_text()
    assert "reason: 0xC000 no Study Instance UID" in reason
    assert "calling: SCANNER" in reason
    assert not part.path.exists()


def test_quarantine_never_fails_its_caller(store: InstanceStore) -> None:
    """If the bytes cannot be moved they stay where they are."""
    gone = store.receive_folder / "gone.part"
    assert store.quarantine(gone, "reason", None) == gone


def test_a_result_is_kept_and_replaced(store: InstanceStore) -> None:
    """Repeating a job replaces its result; nothing temporary stays."""
    assert store.keep_result("job1", "seg.dcm", b"one") == "results/job1/seg.dcm"
    assert store.keep_result("job1", "seg.dcm", b"two") == "results/job1/seg.dcm"
    assert store.path_of("results/job1/seg.dcm").read_bytes() == b"two"
    assert files(store) == {"results/job1/seg.dcm"}


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", ".hidden"])
def test_a_result_has_a_plain_name(store: InstanceStore, name: str) -> None:
    """Neither a job's id nor a name may lead out of the folder."""
    with pytest.raises(ValueError, match="plain file name"):
        store.keep_result("job1", name, b"")
    with pytest.raises(ValueError, match="plain file name"):
        store.keep_result(name, "seg.dcm", b"")


def test_the_sweep_removes_what_a_killed_process_left(store: InstanceStore) -> None:
    """A temporary file of a process that was killed goes; one that is still being written stays."""
    alive = received(store, data_set())
    alive.to_file()
    code = (
        "import os, sys; from pathlib import Path; from dicom_node.instance_store import InstanceStore;"
        "store = InstanceStore(Path(sys.argv[1]), 0);"
        "part = store.incoming('1.2', '1.2.3', '1.2.840.10008.1.2', 'X');"
        "part.write(b'x'); part.to_file(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    assert len(list(store.receive_folder.iterdir())) == 2
    assert store.sweep() == 1
    assert list(store.receive_folder.iterdir()) == [alive.path]
    assert store.keep(alive, MRImageStorage, "1.2.3").path in files(store)
    assert store.sweep() == 0


def test_the_lock_is_what_protects(store: InstanceStore) -> None:
    """A received file holds a shared lock until it is closed, so that a sweep elsewhere sees that it lives."""
    part = received(store, data_set())
    part.to_file()
    with part.path.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    part.close()
    with part.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    part.discard()
    assert not part.path.exists()


def test_a_deflated_bomb_does_not_fill_memory(store: InstanceStore) -> None:
    """A data set that inflates to gigabytes is read no further than its identity."""
    bomb = data_set() + bytes.fromhex("42001100") + b"OB\0\0" + (2**31 - 2).to_bytes(4, "little")
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(bomb)
    zeros = bytes(2**20)
    data += b"".join(deflater.compress(zeros) for _ in range(200)) + deflater.flush()
    part = received(store, data, DeflatedExplicitVRLittleEndian)
    tracemalloc.start()
    kept = store.keep(part, MRImageStorage, "1.2.3")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.study_instance_uid == "1.2"
    assert peak < 64 * 2**20
