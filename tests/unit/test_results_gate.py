"""The gate refuses every kind of wrong object: for each check there is one that it stops."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.contract import Findings
from dicom_node.entities import derived_uid
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, build, check
from dicom_node.results.gate import CHECKS
from tests.results_cases import ALGORITHM, ROLE, findings, run_context, segment, source_series

Corrupt = Callable[[Dataset, SourceSeries], object]


def built(source: SourceSeries) -> tuple[BuiltObject, ...]:
    """Build SEG and SR, whose data sets may be changed without touching the source."""
    objects = build(findings(segment(), segment("Inside")), {ROLE: source}, run_context())
    return tuple(replace(each, dataset=deepcopy(each.dataset)) for each in objects)


def frame(dataset: Dataset, number: int = 1) -> Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[number - 1]


def source_reference(dataset: Dataset) -> Dataset:
    return frame(dataset).DerivationImageSequence[0].SourceImageSequence[0]


def walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from walk(child)


def first(dataset: Dataset, value_type: str) -> Dataset:
    return next(item for item in walk(dataset) if item.ValueType == value_type)


def group(dataset: Dataset, template: str) -> Dataset:
    """Return the first measurement group by a template."""
    return next(
        item
        for item in walk(dataset)
        if "ContentTemplateSequence" in item and item.ContentTemplateSequence[0].TemplateIdentifier == template
    )


def drop(item: Dataset, *codes: str) -> None:
    """Take the children with these concept names out of a content item."""
    item.ContentSequence = [
        child for child in item.ContentSequence if child.ConceptNameCodeSequence[0].CodeValue not in codes
    ]


def put(**values: object) -> Corrupt:
    """Return a change of root attributes."""

    def change(dataset: Dataset, _: SourceSeries) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def without(keyword: str) -> Corrupt:
    return lambda dataset, _: delattr(dataset, keyword)


def _meta(dataset: Dataset, _: SourceSeries) -> None:
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


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


def _dangling(dataset: Dataset, _: SourceSeries) -> None:
    first(dataset, "IMAGE").ReferencedSOPSequence[0].ReferencedSOPInstanceUID = derived_uid("nowhere")


def _unknown_segment(dataset: Dataset, _: SourceSeries) -> None:
    first(dataset, "IMAGE").ReferencedSOPSequence[0].ReferencedSegmentNumber = 7


def _wrong_class(dataset: Dataset, _: SourceSeries) -> None:
    first(dataset, "IMAGE").ReferencedSOPSequence[0].ReferencedSOPClassUID = derived_uid("class")


def _no_evidence(dataset: Dataset, _: SourceSeries) -> None:
    for series in dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence:
        del series.ReferencedSOPSequence[:]


def _foreign_evidence(dataset: Dataset, _: SourceSeries) -> None:
    series = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = derived_uid("foreign")


def _other_source_series(dataset: Dataset, _: SourceSeries) -> None:
    next(item for item in walk(dataset) if item.ConceptNameCodeSequence[0].CodeValue == "121232").UID = derived_uid(
        "other"
    )


def _no_outlines(dataset: Dataset, _: SourceSeries) -> None:
    for item in walk(dataset):
        if "ContentTemplateSequence" in item and item.ContentTemplateSequence[0].TemplateIdentifier == "1410":
            drop(item, "111030")


def _untracked(dataset: Dataset, _: SourceSeries) -> None:
    drop(group(dataset, "1410"), "112040")


def _open_outline(dataset: Dataset, _: SourceSeries) -> None:
    item = first(dataset, "SCOORD")
    item.GraphicData = item.GraphicData[:-2]


def _short_outline(dataset: Dataset, _: SourceSeries) -> None:
    first(dataset, "SCOORD").GraphicData = [1, 1, 2, 1, 2, 2, 1, 1]


def _outline_outside(dataset: Dataset, _: SourceSeries) -> None:
    item = first(dataset, "SCOORD")
    item.GraphicData = [value + 100 for value in item.GraphicData]


def _outline_on_nothing(dataset: Dataset, _: SourceSeries) -> None:
    del first(dataset, "SCOORD").ContentSequence


def _segment_not_reported(dataset: Dataset, _: SourceSeries) -> None:
    drop(group(dataset, "1411"), "121191", "121232")


def in_words(source: SourceSeries) -> tuple[BuiltObject, ...]:
    """Build the SR of a run that found nothing."""
    (report,) = build(Findings(ROLE, ALGORITHM, remarks=("No brain was found.",)), {ROLE: source}, run_context())
    return (replace(report, dataset=deepcopy(report.dataset)),)


def named(dataset: Dataset, code: str) -> Dataset:
    return next(item for item in walk(dataset) if item.ConceptNameCodeSequence[0].CodeValue == code)


def _measurement_title(dataset: Dataset, _: SourceSeries) -> None:
    """The title under which viewers look for measurements, and fail."""
    dataset.ConceptNameCodeSequence[0].CodeValue = "126000"
    dataset.ConceptNameCodeSequence[0].CodingSchemeDesignator = "DCM"


def _measurement_template(dataset: Dataset, source: SourceSeries) -> None:
    _measurement_title(dataset, source)
    dataset.ContentTemplateSequence[0].TemplateIdentifier = "1500"


def _text_title(dataset: Dataset, _: SourceSeries) -> None:
    dataset.ConceptNameCodeSequence[0].CodeValue = "18748-4"


def _speechless(dataset: Dataset, _: SourceSeries) -> None:
    drop(named(dataset, "55110-1"), "121077")


def _no_heading(dataset: Dataset, _: SourceSeries) -> None:
    drop(dataset, "55110-1")


def _blank(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, "121077").TextValue = " "


def _about_nothing(dataset: Dataset, _: SourceSeries) -> None:
    del named(dataset, "121077").ContentSequence


def _about_another_series(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, "112002").UID = derived_uid("other")


def _measured(dataset: Dataset, source: SourceSeries) -> None:
    """A number that no segment supports: taken over from a report that has one."""
    (_, report) = built(source)
    dataset.ContentSequence.append(first(report.dataset, "NUM"))


#: (check, change, words of the refusal) of a report without a SEG
CASES_IN_WORDS: tuple[tuple[str, Corrupt, str], ...] = (
    ("patient and study", put(PatientID="P-2"), "PatientID is not"),
    ("own series", _source_series_uid, "that of a source series"),
    ("maker", put(Manufacturer="Scanner maker"), "Manufacturer is not"),
    ("form", put(CompletionFlag="PARTIAL"), "CompletionFlag is not COMPLETE"),
    ("form", _measurement_title, "the title is not that of a report by template 2000"),
    ("form", _measurement_template, "the root is not by template 2000"),
    ("references", _foreign_evidence, "listed as evidence are unknown"),
    ("source series", _about_another_series, "not one of the sources"),
    ("words", _speechless, "not a word"),
    ("words", _no_heading, "not a word"),
    ("words", _blank, "sentence 1 is empty"),
    ("words", _about_nothing, "which series it is about"),
    ("words", _measured, "but a measurement"),
)
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
            ("character set", put(SpecificCharacterSet="ISO_IR 192"), "SpecificCharacterSet is not"),
            ("encoding", _meta, "not Explicit VR Little Endian"),
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
    ("SR", "form", put(VerificationFlag="VERIFIED"), "VerificationFlag is not UNVERIFIED"),
    ("SR", "form", without("ContentTemplateSequence"), "template 1500"),
    ("SR", "form", _text_title, "the title is not that of a report by template 1500"),
    ("SR", "references", _dangling, "leads nowhere"),
    ("SR", "references", _unknown_segment, "that it does not have"),
    ("SR", "references", _wrong_class, "another SOP class"),
    ("SR", "references", _no_evidence, "not listed as evidence"),
    ("SR", "references", _foreign_evidence, "listed as evidence are unknown"),
    ("SR", "source series", _other_source_series, "not one of the sources"),
    ("SR", "tracking", _no_outlines, "have no outline"),
    ("SR", "tracking", _untracked, "no tracking identifier and UID"),
    ("SR", "outlines", _open_outline, "not a closed POLYLINE"),
    ("SR", "outlines", _short_outline, "has 4 points"),
    ("SR", "outlines", _outline_outside, "leaves the image"),
    ("SR", "outlines", _outline_on_nothing, "which image it lies on"),
    ("SR", "segments", _segment_not_reported, "not those of the SEG"),
)


def refusal(objects: tuple[BuiltObject, ...], source: SourceSeries) -> str:
    with pytest.raises(WrongObject) as caught:
        check(objects, {ROLE: source})
    return str(caught.value)


@pytest.mark.parametrize(("kind", "name", "change", "said"), CASES)
def test_a_corrupted_object_is_refused_with_its_reason(kind: str, name: str, change: Corrupt, said: str) -> None:
    """One fault, and the object stays here; the sentence names the check and what is wrong."""
    source = source_series()
    objects = built(source)
    check(objects, {ROLE: source})
    change(next(each.dataset for each in objects if each.kind == kind), source)
    said_by_gate = refusal(objects, source)
    assert f"{kind}, {name}: " in said_by_gate
    assert said in said_by_gate


@pytest.mark.parametrize(("name", "change", "said"), CASES_IN_WORDS)
def test_a_corrupted_report_in_words_is_refused_with_its_reason(name: str, change: Corrupt, said: str) -> None:
    """So is a report that found nothing, if it could be silent, misfiled, or crash a viewer."""
    source = source_series()
    objects = in_words(source)
    check(objects, {ROLE: source})
    change(objects[0].dataset, source)
    said_by_gate = refusal(objects, source)
    assert f"SR, {name}: " in said_by_gate
    assert said in said_by_gate


def test_a_report_in_words_does_not_go_with_a_segmentation() -> None:
    """Words instead of the numbers of a SEG are refused, and so are numbers without their SEG."""
    source = source_series()
    seg, report = built(source)
    assert "the root is not by template 1500" in refusal((seg, *in_words(source)), source)
    assert "the root is not by template 2000" in refusal((report,), source)


def test_every_check_has_an_object_that_it_refuses() -> None:
    """A check that nothing fails proves nothing."""
    tried = {(kind, name) for kind, name, _, _ in CASES} | {("SR", name) for name, _, _ in CASES_IN_WORDS}
    assert tried == {(kind, name) for kind, checks in CHECKS.items() for name in checks}


def test_refusals_hold_no_patient_data() -> None:
    """Which attribute differs is logged; what it holds never is."""
    source = source_series()
    objects = built(source)
    for each in objects:
        each.dataset.PatientName, each.dataset.PatientID = "Secret^Name", "Secret-ID"
    said = refusal(objects, source)
    assert "PatientName" in said
    assert not any(secret in said for secret in ("Secret", "Müller", "P-1"))


def test_an_enhanced_source_needs_frame_numbers() -> None:
    """PS3.3 Table 10-3: a reference to a multi-frame image without its frame could mean any slice."""
    source = source_series(enhanced=True)
    objects = built(source)
    del source_reference(objects[0].dataset).ReferencedFrameNumber
    assert "names no frame of the volume" in refusal(objects, source)
    objects = built(source)
    del first(first(objects[1].dataset, "SCOORD"), "IMAGE").ReferencedSOPSequence[0].ReferencedFrameNumber
    assert "that it does not have" in refusal(objects, source)


def test_two_results_never_share_a_series_or_uid() -> None:
    """Viewers show only the last object of a series; an archive keeps only one of a UID."""
    source = source_series()
    seg, report = built(source)
    report.dataset.SeriesInstanceUID = seg.dataset.SeriesInstanceUID
    assert "SeriesInstanceUID is that of another result" in refusal((seg, report), source)
    seg, report = built(source)
    assert "SOPInstanceUID is that of another result" in refusal((seg, seg, report), source)


def test_uids_must_be_uids() -> None:
    """PS3.5 9.1: no leading zeros, at most 64 characters."""
    source = source_series()
    objects = built(source)
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        objects[0].dataset.SOPInstanceUID = "1.2.03"
    assert "is not a UID" in refusal(objects, source)


def test_source_images_of_two_patients_are_refused() -> None:
    """A series into which another patient's image strayed gives no result at all."""
    source = source_series()
    objects = built(source)
    source.datasets[3].PatientID = "P-2"
    assert "the source images disagree on PatientID" in refusal(objects, source)


def test_source_images_of_two_studies_are_refused() -> None:
    """So does a series whose images belong to two studies."""
    source = source_series()
    objects = built(source)
    source.datasets[3].StudyInstanceUID = derived_uid("other")
    assert f"the images of {ROLE} belong to several studies" in refusal(objects, source)


def test_a_mask_from_another_volume_is_refused() -> None:
    """The frames must lie on the volume that was analysed, not only on the images that they name."""
    source = source_series()
    objects = built(source)
    other = source_series(origin=(-50.0, -110.5, 120.25))
    assert "of the volume which was analysed" in refusal(objects, replace(source, volume=other.volume))


def test_an_object_of_an_unknown_series_is_refused() -> None:
    """What does not even name a series that it was made from cannot be judged, so it stays here."""
    source = source_series()
    objects = built(source)
    del objects[0].dataset.ReferencedSeriesSequence
    assert "SEG: refers to no series that it was made from" in refusal(objects, source)


def test_nothing_is_not_a_result() -> None:
    """An empty list of objects is a fault of the builder, not a clean bill."""
    assert "nothing was built" in refusal((), source_series())


def test_the_transfer_syntax_is_as_built() -> None:
    """PS3.5 A.2: both objects are Explicit VR Little Endian, as viewers and archives want SEG."""
    assert {each.transfer_syntax_uid for each in built(source_series())} == {ExplicitVRLittleEndian}
