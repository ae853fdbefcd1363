"""The gate refuses every kind of wrong object: for each check there is one that it stops."""

from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from dicom_node.entities import derived_uid
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, build, check
from dicom_node.results.gate import CHECKS
from dicom_node.results.gate_report import REPORT_CHECKS
from dicom_node.results.gate_voxels import MASK_CHECKS
from dicom_node.settings import ResultKind
from tests.gate_cases import Corrupt, copies, put, refusal, without
from tests.report_cases import first
from tests.results_cases import ROLE, findings, run_context, segment, source_series


def built(source: SourceSeries) -> tuple[BuiltObject, ...]:
    """Build SEG and SR, whose data sets may be changed without touching the source."""
    objects = build(findings(segment(), segment("Inside")), {ROLE: source}, run_context())
    return copies(objects)


def frame(dataset: Dataset, number: int = 1) -> Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[number - 1]


def source_reference(dataset: Dataset) -> Dataset:
    return frame(dataset).DerivationImageSequence[0].SourceImageSequence[0]


def _meta(dataset: Dataset, _: SourceSeries) -> None:
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian


def _other_frame_meta(dataset: Dataset, _: SourceSeries) -> None:
    dataset.file_meta.MediaStorageSOPInstanceUID = derived_uid("other")


def _source_instance_uid(dataset: Dataset, source: SourceSeries) -> None:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = source.datasets[0].SOPInstanceUID


def _source_series_uid(dataset: Dataset, source: SourceSeries) -> None:
    dataset.SeriesInstanceUID = source.datasets[0].SeriesInstanceUID


def _next_image(dataset: Dataset, source: SourceSeries) -> None:
    """The frame says that it was made from the next image: what a viewer would draw on the wrong slice."""
    reference = source_reference(dataset)
    uids = [image.SOPInstanceUID for image in source.datasets]
    reference.ReferencedSOPInstanceUID = uids[uids.index(reference.ReferencedSOPInstanceUID) + 1]


def _moved(dataset: Dataset, _: SourceSeries) -> None:
    position = frame(dataset).PlanePositionSequence[0]
    position.ImagePositionPatient = [
        float(position.ImagePositionPatient[0]) + 0.002,
        *position.ImagePositionPatient[1:],
    ]


def _turned(dataset: Dataset, _: SourceSeries) -> None:
    item = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def _scaled(dataset: Dataset, _: SourceSeries) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.0, 1.0]


def _no_segment_label(dataset: Dataset, _: SourceSeries) -> None:
    dataset.SegmentSequence[0].SegmentLabel = " "


def _no_colour(dataset: Dataset, _: SourceSeries) -> None:
    del dataset.SegmentSequence[0].RecommendedDisplayCIELabValue


def _gap(dataset: Dataset, _: SourceSeries) -> None:
    dataset.SegmentSequence[1].SegmentNumber = 3


def _undrawn(dataset: Dataset, _: SourceSeries) -> None:
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1


def _two_series(dataset: Dataset, _: SourceSeries) -> None:
    dataset.ReferencedSeriesSequence.append(deepcopy(dataset.ReferencedSeriesSequence[0]))


def _instance_left_out(dataset: Dataset, _: SourceSeries) -> None:
    del dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]


#: (kind, check, change, words of the refusal)
CASES: tuple[tuple[str, str, Corrupt, str], ...] = (
    *(
        (kind, name, change, said)
        for kind in ("SEG", "SR")
        for name, change, said in (
            ("patient and study", put(PatientID="P-2"), "PatientID is not"),
            ("patient and study", put(PatientName="Other^Name"), "PatientName is not"),
            ("patient and study", put(StudyInstanceUID=derived_uid("other")), "StudyInstanceUID is not"),
            ("patient and study", without("IssuerOfPatientID"), "IssuerOfPatientID is not"),
            ("patient and study", put(AccessionNumber="A2"), "AccessionNumber is not"),
            ("patient and study", put(PatientComments="new"), "PatientComments is not"),
            ("character set", put(SpecificCharacterSet="ISO_IR 101"), "neither that of the source nor ISO_IR 192"),
            ("encoding", _meta, "not Explicit or Implicit VR Little Endian"),
            ("encoding", _other_frame_meta, "another SOP Instance UID"),
            ("maker", put(Manufacturer="Scanner maker"), "Manufacturer is not"),
            ("UIDs", _source_instance_uid, "that of a source image"),
            ("own series", _source_series_uid, "that of a source series"),
            ("own series", put(Modality="MR"), "Modality is not"),
        )
    ),
    ("SEG", "form", put(SegmentationType="FRACTIONAL"), "SegmentationType is not BINARY"),
    ("SEG", "form", put(BitsAllocated=8), "BitsAllocated is not 1"),
    ("SEG", "pixels", put(PixelData=b"\0\0"), "PixelData has 2 bytes"),
    ("SEG", "pixels", put(NumberOfFrames=5), "NumberOfFrames is 5"),
    ("SEG", "frame of reference", put(FrameOfReferenceUID=derived_uid("other")), "FrameOfReferenceUID is not"),
    ("SEG", "place", put(Laterality="L"), "Laterality is not that of the source"),
    ("SEG", "place", put(BodyPartExamined="HAND"), "BodyPartExamined is not that of the source"),
    ("SEG", "referenced series", _two_series, "has 2 items"),
    ("SEG", "referenced series", _instance_left_out, "not name exactly"),
    ("SEG", "grid", put(Rows=24, Columns=20), "Rows and Columns"),
    ("SEG", "grid", _turned, "ImageOrientationPatient is not that of the source"),
    ("SEG", "grid", _scaled, "PixelSpacing is not"),
    ("SEG", "frames", lambda d, _: frame(d).__delattr__("DerivationImageSequence"), "does not name its one source"),
    ("SEG", "frames", _next_image, "frame 1 does not lie on its source image"),
    ("SEG", "frames", _moved, "frame 1 does not lie on its source image"),
    (
        "SEG",
        "frames",
        lambda d, _: setattr(source_reference(d), "ReferencedSOPInstanceUID", derived_uid("x")),
        "not of the source series",
    ),
    ("SEG", "frames", lambda d, _: setattr(source_reference(d), "ReferencedSOPClassUID", "1.2"), "another SOP class"),
    ("SEG", "frames", lambda d, _: frame(d).__delattr__("PlanePositionSequence"), "cannot be read"),
    ("SEG", "segments", _no_segment_label, "segment 1 has no label"),
    ("SEG", "segments", _no_colour, "segment 1 has no colour"),
    ("SEG", "segments", _gap, "not 1 to 2"),
    ("SEG", "segments", _undrawn, "frames show segments"),
    ("SEG", "overlap", put(SegmentsOverlap="NO"), "a voxel is in two segments"),
)


@pytest.mark.parametrize(("kind", "name", "change", "said"), CASES)
def test_a_corrupted_object_is_refused_with_its_reason(kind: str, name: str, change: Corrupt, said: str) -> None:
    """One fault, and the object stays here; the sentence names the check and what is wrong."""
    source = source_series()
    objects = built(source)
    check(objects, {ROLE: source})
    change(next(each.dataset for each in objects if each.kind == kind), source)
    said_by_gate = refusal(objects, {ROLE: source})
    assert f"{kind}, {name}: " in said_by_gate
    assert said in said_by_gate


def test_every_check_has_an_object_that_it_refuses() -> None:
    """A check that nothing fails proves nothing."""
    tried = {(kind, name) for kind, name, _, _ in CASES}
    # test_results_gate_report.py, test_results_gate_voxels.py
    elsewhere = {*(("SR", name) for name in REPORT_CHECKS), *(("SEG", name) for name in MASK_CHECKS)}
    assert tried | elsewhere == {(kind, name) for kind in ("SEG", "SR") for name in CHECKS[ResultKind(kind)]}


def test_refusals_hold_no_patient_data() -> None:
    """Which attribute differs is logged; what it holds never is."""
    source = source_series()
    objects = built(source)
    for each in objects:
        each.dataset.PatientName, each.dataset.PatientID = "Secret^Name", "Secret-ID"
    said = refusal(objects, {ROLE: source})
    assert "PatientName" in said
    assert not any(secret in said for secret in ("Secret", "Müller", "P-1"))


def test_an_enhanced_source_needs_frame_numbers() -> None:
    """PS3.3 Table 10-3: a reference to a multi-frame image without its frame could mean any slice."""
    source = source_series(enhanced=True)
    objects = built(source)
    del source_reference(objects[0].dataset).ReferencedFrameNumber
    assert "names no frame of the volume" in refusal(objects, {ROLE: source})
    objects = built(source)
    del first(first(objects[1].dataset, "SCOORD"), "IMAGE").ReferencedSOPSequence[0].ReferencedFrameNumber
    assert "that it does not have" in refusal(objects, {ROLE: source})


def test_two_results_never_share_a_series_or_uid() -> None:
    """Viewers show only the last object of a series; an archive keeps only one of a UID."""
    source = source_series()
    seg, report = built(source)
    report.dataset.SeriesInstanceUID = seg.dataset.SeriesInstanceUID
    assert "SeriesInstanceUID is that of another result" in refusal((seg, report), {ROLE: source})
    seg, report = built(source)
    assert "SOPInstanceUID is that of another result" in refusal((seg, seg, report), {ROLE: source})


def test_uids_must_be_uids() -> None:
    """PS3.5 9.1: no leading zeros, at most 64 characters."""
    source = source_series()
    objects = built(source)
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        objects[0].dataset.SOPInstanceUID = "1.2.03"
    assert "is not a UID" in refusal(objects, {ROLE: source})


def test_source_images_of_two_patients_are_refused() -> None:
    """A series into which another patient's image strayed gives no result at all."""
    source = source_series()
    objects = built(source)
    source.datasets[3].PatientID = "P-2"
    assert "the source images disagree on PatientID" in refusal(objects, {ROLE: source})


def test_source_images_of_two_studies_are_refused() -> None:
    """So does a series whose images belong to two studies."""
    source = source_series()
    objects = built(source)
    source.datasets[3].StudyInstanceUID = derived_uid("other")
    assert f"the images of {ROLE} belong to several studies" in refusal(objects, {ROLE: source})


def test_a_mask_from_another_volume_is_refused() -> None:
    """The frames must lie on the volume that was analysed, not only on the images that they name."""
    source = source_series()
    objects = built(source)
    other = source_series(origin=(-50.0, -110.5, 120.25))
    assert "of the volume which was analysed" in refusal(objects, {ROLE: replace(source, volume=other.volume)})


def test_an_object_of_an_unknown_series_is_refused() -> None:
    """What does not even name a series that it was made from cannot be judged, so it stays here."""
    source = source_series()
    objects = built(source)
    del objects[0].dataset.ReferencedSeriesSequence
    assert "SEG: refers to no series that it was made from" in refusal(objects, {ROLE: source})


def test_nothing_is_not_a_result() -> None:
    """An empty list of objects is a fault of the builder, not a clean bill."""
    assert "nothing was built" in refusal((), {ROLE: source_series()})


def test_the_transfer_syntax_is_as_built() -> None:
    """PS3.5 A.2: both objects are Explicit VR Little Endian, as viewers and archives want SEG."""
    assert {each.transfer_syntax_uid for each in built(source_series())} == {ExplicitVRLittleEndian}
