"""A folder of DICOM files read as the studies that they are."""

import hashlib
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node import MANUFACTURER
from dicom_node.study_folder import FolderUnusable, one_study, read_folder
from tests.study_cases import write_study


def test_studies_are_told_apart(tmp_path: Path) -> None:
    """By Study Instance UID, wherever the files lie; what is no DICOM file is passed over."""
    first = write_study(tmp_path / "a" / "b", slices=3)
    second = write_study(tmp_path / "c", slices=2)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty").touch()
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "c" / "0000.dcm").read_bytes()[:200])
    found = read_folder(tmp_path)
    assert {uid: len(study.instances) for uid, study in found.items()} == {first: 3, second: 2}
    assert found[first].facts.series[0].values["NumberOfSlices"] == (3,)


def test_the_digest_is_that_of_a_received_instance(tmp_path: Path) -> None:
    """SHA-256 of the data set without File Meta Information: the same job key as over the network."""
    write_study(tmp_path, slices=1)
    (ref,) = one_study(tmp_path).instances.values()
    content = Path(ref.path).read_bytes()
    meta = dcmread(ref.path).file_meta
    start = 128 + 4 + 12 + meta.FileMetaInformationGroupLength
    assert ref.sha256 == hashlib.sha256(content[start:]).hexdigest()
    assert ref.size == len(content)


def test_own_objects_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    """As a running node leaves them out; `send` takes them too."""
    study = write_study(tmp_path / "images", slices=2)
    write_study(tmp_path / "own", slices=1, study=study, Manufacturer=MANUFACTURER)
    assert len(read_folder(tmp_path)[study].instances) == 2
    assert len(read_folder(tmp_path, own=True)[study].instances) == 3


def test_one_study_is_chosen(tmp_path: Path) -> None:
    """Of several, the one that is named; without a name they are listed."""
    first, second = (write_study(tmp_path / name, slices=1) for name in "ab")
    assert one_study(tmp_path, second).facts.study_instance_uid == second
    with pytest.raises(FolderUnusable, match=f"2 studies in .*: choose with --study .*{min(first, second)}"):
        one_study(tmp_path)
    with pytest.raises(FolderUnusable, match=r"no study 1\.2\.3 in"):
        one_study(tmp_path, "1.2.3")


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    """It says so, with the folder's name."""
    with pytest.raises(FolderUnusable, match=f"no DICOM file .* at or below {tmp_path}"):
        read_folder(tmp_path)


def test_refs_are_those_of_the_paths(tmp_path: Path) -> None:
    """What a rule chose by path is found again."""
    write_study(tmp_path, slices=3)
    study = one_study(tmp_path)
    (series,) = study.facts.series
    assert [ref.path for ref in study.refs(series.paths)] == list(series.paths)


def test_a_file_without_group_length_is_taken(tmp_path: Path) -> None:
    """File Meta Information Group Length is required (PS3.10 7.1), and left out by some writers all the same."""
    study = write_study(tmp_path, slices=2)
    path = tmp_path / "0000.dcm"
    content = path.read_bytes()
    expected = read_folder(tmp_path)[study].instances[str(path)].sha256
    path.write_bytes(content[:132] + content[144:])
    found = read_folder(tmp_path)[study].instances
    assert len(found) == 2
    assert found[str(path)].sha256 == expected
