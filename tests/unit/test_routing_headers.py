"""What is read from an instance's header, and how the facts of a study come from all of its instances."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, MRImageStorage

from dicom_node.entities import Header, InstanceRef, StudyFacts
from dicom_node.errors import CannotUnderstand
from dicom_node.routing import (
    ReceivedHeader,
    gather,
    header_from_json,
    header_of,
    header_to_json,
    headers,
    read_header,
)
from dicom_node.routing.facts import orientation
from tests.routing_cases import values_of

_AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def _dataset() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = "1.2.3.1"
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.StudyInstanceUID = "1.2"
    dataset.Modality = "MR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "M"]
    dataset.SeriesDescription = "Schädel T1"
    dataset.StudyDescription = ""
    dataset.EchoTime = "2.98"
    dataset.SeriesNumber = 5
    dataset.PatientAge = "031Y"
    dataset.Rows = 256
    dataset.PixelSpacing = [1.0, 1.0]
    dataset.ImagePositionPatient = [0, -10, 1.5]
    dataset.ImageOrientationPatient = _AXIAL
    dataset.ImageComments = "x" * 1025
    request = Dataset()
    request.RequestedProcedureID = "RP1"
    dataset.RequestAttributesSequence = [request]
    private = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    private.add_new(0x10, "OB", b"\0" * 64)
    private.add_new(0x11, "LT", "secret" * 12)
    private.add_new(0x12, "IS", "1000")
    dataset.PixelData = b"\0\0"
    return dataset


def _saved(dataset: Dataset, path: Path) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(params=["in memory", "from a file"])
def header(request: pytest.FixtureRequest, tmp_path: Path) -> Header:
    """Return the header of the same data set, as Python made it and as a file holds it."""
    dataset = _dataset()
    if request.param == "in memory":
        return header_of(dataset)
    return read_header(_saved(dataset, tmp_path / "one.dcm"))


def test_values_are_typed_by_their_value_representation(header: Header) -> None:
    """DS, IS and US are numbers, ages are years, everything else is text (PS3.5 6.2)."""
    assert header["EchoTime"] == (2.98,)
    assert header["SeriesNumber"] == (5,)
    assert header["Rows"] == (256,)
    assert header["PatientAge"] == (31.0,)
    assert header["Modality"] == ("MR",)


def test_texts_are_decoded_by_their_character_set(header: Header) -> None:
    """Specific Character Set (0008,0005) counts (PS3.3 C.12.1.1.2)."""
    assert header["SeriesDescription"] == ("Schädel T1",)


def test_several_values_are_distinct_values(header: Header) -> None:
    """Each value once, in order of first sight."""
    assert header["ImageType"] == ("ORIGINAL", "PRIMARY", "M")
    assert header["PixelSpacing"] == (1.0,)


def test_vectors_are_kept_in_full(header: Header) -> None:
    """Positions and direction cosines (PS3.3 C.7.6.2) mean nothing when equal parts are dropped."""
    assert header["ImageOrientationPatient"] == tuple(_AXIAL)
    assert header["ImagePositionPatient"] == (0.0, -10.0, 1.5)


def test_what_is_inside_sequences_has_a_dotted_path(header: Header) -> None:
    """A rule can ask about the requested procedure."""
    assert header["RequestAttributesSequence.RequestedProcedureID"] == ("RP1",)


def test_what_is_no_fact_is_left_out(header: Header) -> None:
    """Empty attributes count as missing; binary and very long ones, and long private ones, are no facts."""
    assert not {"StudyDescription", "ImageComments", "PixelData", "", "SpecificCharacterSet."} & set(header)
    assert "secret" not in header_to_json(header)


def test_a_number_that_cannot_be_read_is_kept_as_text(tmp_path: Path) -> None:
    """An explanation can then show what stands there, and no condition on a number takes it."""
    dataset = _dataset()
    path = _saved(dataset, tmp_path / "one.dcm")
    broken = path.read_bytes().replace(b"2.98", b"fast")
    path.write_bytes(broken)
    assert read_header(path)["EchoTime"] == ("fast",)


def test_a_header_survives_json(header: Header) -> None:
    """The ledger keeps headers as JSON text."""
    assert header_from_json(header_to_json(header)) == header


def test_what_is_not_dicom_is_refused_by_its_path(tmp_path: Path) -> None:
    """`explain FOLDER` says which file to remove."""
    path = tmp_path / "notes.txt"
    path.write_text("not DICOM")
    with pytest.raises(CannotUnderstand, match=r"notes\.txt"):
        read_header(path)


@pytest.mark.parametrize(
    ("tilt", "name"),
    [(0, "axial"), (25, "axial"), (29.9, "axial"), (30.1, "oblique"), (45, "oblique"), (80, "coronal")],
)
def test_orientation_is_that_of_the_axis_within_30_degrees(tilt: float, name: str) -> None:
    """A head scan that follows the commissures is still axial."""
    radians = math.radians(tilt)
    assert orientation((0.0, math.sin(radians), math.cos(radians))) == name


def _received(number: int, *, series: str = "1.2.3", **values: object) -> ReceivedHeader:
    ref = InstanceRef(f"{series}.{number}", MRImageStorage, "", series, "1.2", f"{series}/{number}", "", 0)
    return ReceivedHeader(ref, values_of(values), "MR1", "NODE", "10.0.0.1")


def _slice(number: int, z: float, **values: object) -> ReceivedHeader:
    position = (0.0, 0.0, z)
    return _received(number, ImagePositionPatient=position, ImageOrientationPatient=tuple(_AXIAL), **values)


def test_facts_come_from_every_instance() -> None:
    """Two echo times in one series are both seen."""
    facts = gather(
        "1.2", [_slice(1, 0.0, EchoTime=10.0), _slice(2, 0.0, EchoTime=80.0), _slice(3, 2.0, EchoTime=10.0)]
    )
    values = facts.series[0].values
    assert values["EchoTime"] == (10.0, 80.0)
    assert values["NumberOfInstances"] == (3,)
    assert values["NumberOfSlices"] == (2,)
    assert values["SliceSpacing"] == (2.0,)
    assert values["Orientation"] == ("axial",)
    assert values["SOPClassUID"] == (MRImageStorage,)


def test_slice_spacing_is_the_median_distance_along_the_normal() -> None:
    """One missing slice does not change it."""
    facts = gather("1.2", [_slice(number, z) for number, z in enumerate([0.0, 1.5, 3.0, 6.0, 7.5])])
    assert facts.series[0].values["SliceSpacing"] == (1.5,)


def test_a_localizer_has_all_of_its_orientations() -> None:
    """Two planes in one series: both are seen, and slices of one are not measured against those of the other."""
    sagittal = _received(
        3, ImagePositionPatient=(5.0, 0.0, 0.0), ImageOrientationPatient=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    )
    facts = gather("1.2", [_slice(1, 0.0), _slice(2, 10.0), sagittal])
    values = facts.series[0].values
    assert values["Orientation"] == ("axial", "sagittal")
    assert values["NumberOfSlices"] == (3,)
    assert values["SliceSpacing"] == (10.0,)


def test_a_series_without_positions_has_no_geometry() -> None:
    """Missing is its own answer: nothing is made up for a report."""
    values = gather("1.2", [_received(1, Modality="SR")]).series[0].values
    assert not {"Orientation", "SliceSpacing", "NumberOfSlices"} & set(values)


def test_the_study_knows_who_sent_it_and_how_much() -> None:
    """Calling, called, address and the number of instances over all series."""
    facts = gather("1.2", [_slice(1, 0.0, Modality="MR"), _received(1, series="1.2.9", Modality="SR")])
    assert facts.values["CallingAETitle"] == ("MR1",)
    assert facts.values["CalledAETitle"] == ("NODE",)
    assert facts.values["CallingAddress"] == ("10.0.0.1",)
    assert facts.values["NumberOfInstances"] == (2,)
    assert facts.values["Modality"] == ("MR", "SR")


def facts_of(files: list[Path]) -> StudyFacts:
    """Return the facts of files, as if they had been received."""
    received = []
    for path in files:
        header = read_header(path)
        uids = [str(header[f"{level}InstanceUID"][0]) for level in ("SOP", "Series", "Study")]
        ref = InstanceRef(uids[0], str(header["SOPClassUID"][0]), "", uids[1], uids[2], path.name, "", 0)
        received.append(ReceivedHeader(ref, header, "MR1", "NODE", "127.0.0.1"))
    return gather(received[0].ref.study_instance_uid, received)


def test_a_classic_series_of_a_vendor(unpacked: Callable[[str], Path]) -> None:
    """A Siemens MPRAGE: 192 sagittal slices, 1 mm apart; its private blocks are not read."""
    files = sorted(path for path in unpacked("t1-siemens-prisma").rglob("*") if path.is_file())
    (series,) = facts_of(files).series
    assert series.values["NumberOfSlices"] == (192,)
    assert series.values["SliceSpacing"] == (1.0,)
    assert series.values["Orientation"] == ("sagittal",)
    assert series.values["EchoTime"] == (4.11,)
    assert len(series.paths) == 192


def test_header_of_says_what_pydicom_says(unpacked: Callable[[str], Path]) -> None:
    """Our fast decoding and pydicom's agree on every top-level attribute of two vendors' headers."""
    for name in ("t1-siemens-prisma", "t1-philips-elition"):
        path = next(path for path in sorted(unpacked(name).rglob("*")) if path.is_file())
        dataset = dcmread(path, stop_before_pixels=True)
        fast = header_of(dataset)
        for element in dataset:  # converts every element
            _ = element.value
        assert header_of(dataset) == fast
        assert len(fast) > 80


def test_an_enhanced_image_has_plain_keywords(shared_data: Path) -> None:
    """One Enhanced MR instance says what a classic series says (PS3.3 C.7.6.16, C.8.13)."""
    folder = shared_data / "t1-enhanced-multiframe-xa30"
    (series,) = facts_of([folder / "5_anat-T1w_acq-tfl.dcm"]).series
    assert series.values["NumberOfSlices"] == (96,)
    assert series.values["NumberOfInstances"] == (1,)
    assert series.values["SliceSpacing"] == (2.0,)
    assert series.values["Orientation"] == ("sagittal",)
    assert series.values["EchoTime"] == (2.41,)
    assert series.values["RepetitionTime"] == (1800.0,)
    assert series.values["InversionTime"] == (900.0,)
    assert series.values["ScanningSequence"] == ("GR", "IR")
    assert series.values["SharedFunctionalGroupsSequence.MRModifierSequence.InversionTimes"] == (900.0,)


def test_a_deflated_file_that_expands_beyond_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes must not fill the node's memory; a deflated header of common size is read."""
    dataset = _dataset()
    dataset.add_new("PixelData", "OW", bytes(3_000_000))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = tmp_path / "bomb.dcm"
    dataset.save_as(path, enforce_file_format=True)
    assert path.stat().st_size < 20_000
    assert read_header(path)["Modality"] == ("MR",)
    monkeypatch.setattr(headers, "LONGEST_INFLATED", 2_000_000)
    with pytest.raises(CannotUnderstand, match="expands"):
        read_header(path)
