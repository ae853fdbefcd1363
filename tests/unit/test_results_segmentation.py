"""A SEG says whose mask it is, where it lies, and what made it, as its source does."""

from dataclasses import replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from dicom_node import IMPLEMENTATION_CLASS_UID, MANUFACTURER
from dicom_node.contract import Findings
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results import RunContext, build, check, encode
from dicom_node.settings import ResultSettings
from tests.results_cases import OBLIQUE, ROLE, blob, findings, profile, run_context, segment, source_series


def seg_of(
    source: SourceSeries | None = None, found: Findings | None = None, run: RunContext | None = None
) -> Dataset:
    """Build, pass the gate, encode and read a SEG again."""
    source = source or source_series()
    objects = build(found or findings(segment()), {ROLE: source}, run or run_context())
    check(objects, {ROLE: source})
    return dcmread(BytesIO(encode(objects[0])))


@pytest.mark.parametrize("enhanced", [False, True])
def test_an_independent_reader_finds_our_mask_on_each_source_image(enhanced: bool) -> None:
    """Highdicom, which did not write it, gives back exactly our mask when asked by source image or frame."""
    source = source_series(enhanced=enhanced)
    seg = hd.seg.Segmentation.from_dataset(seg_of(source))
    if enhanced:
        uid = source.datasets[0].SOPInstanceUID
        numbers = [frame.frame for frame in source.frames]
        pixels = seg.get_pixels_by_source_frame(uid, numbers, assert_missing_frames_are_empty=True)
    else:
        uids = [image.SOPInstanceUID for image in source.datasets]
        pixels = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    assert np.array_equal(pixels[..., 0].astype(bool), blob())


def test_positions_are_copied_character_by_character() -> None:
    """Image position, orientation and spacing are the source's own strings: nothing was rounded on the way."""
    source = source_series(orientation=OBLIQUE, origin=(-60.123456789, 1.000001, 2.5))
    seg = seg_of(source)
    image = source.datasets[1]
    shared = seg.SharedFunctionalGroupsSequence[0]
    position = seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    for ours, theirs in (
        (position["ImagePositionPatient"], image["ImagePositionPatient"]),
        (shared.PlaneOrientationSequence[0]["ImageOrientationPatient"], image["ImageOrientationPatient"]),
        (shared.PixelMeasuresSequence[0]["PixelSpacing"], image["PixelSpacing"]),
    ):
        assert [value.original_string for value in ours.value] == [value.original_string for value in theirs.value]


def test_numbers_too_long_for_their_vr_are_cut() -> None:
    """PS3.5 6.2: DS has at most 16 characters; a source that breaks this is not repeated, to well below 1e-9 mm."""
    source = source_series(origin=(-98.0, 1.0, 2.0))
    x, y, z = source.datasets[1].ImagePositionPatient
    with pytest.warns(UserWarning, match="exceeds the maximum length of 16"):
        source.datasets[1].ImagePositionPatient = [f"{x + 0.000404346904700123:.18f}", y, z]
    seg = seg_of(source)
    first = seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[0]
    assert len(str(first)) <= 16
    assert first == pytest.approx(x + 0.000404346904700123, abs=1e-9)


def test_empty_frames_are_left_out_unless_asked_for() -> None:
    """By default only slices with voxels have frames; a destination with an old viewer may get all of them."""
    assert seg_of().NumberOfFrames == 3
    assert seg_of(run=run_context(profile=profile(empty_frames=True))).NumberOfFrames == 6


def test_segments_are_numbered_described_and_tracked() -> None:
    """PS3.3 C.8.20.2: numbers 1..N over what was found, label, colour, property and algorithm of each."""
    small = np.zeros((6, 20, 24), dtype=np.bool_)
    small[4, 2, 3] = True
    nothing = segment("Nothing", np.zeros((6, 20, 24), dtype=np.bool_))
    seg = seg_of(found=findings(segment(), nothing, segment("Lesion", small)))
    assert [item.SegmentNumber for item in seg.SegmentSequence] == [1, 2]
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Brain", "Lesion"]
    assert seg.SegmentsOverlap == "NO"
    first = seg.SegmentSequence[0]
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "12738006"
    assert hd.color.CIELabColor.from_dicom_value(first.RecommendedDisplayCIELabValue).l_star == pytest.approx(
        60, abs=1
    )
    algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("example", "1.0.2")
    assert algorithm.AlgorithmParameters == f"weights_sha256={'ab' * 32},threshold=0.5"
    assert seg.SegmentSequence[1].TrackingUID != first.TrackingUID


LEFT = Code("7771000", "SCT", "Left")
THALAMUS = Code("42695009", "SCT", "Thalamus")


def test_the_side_of_a_region_stands_with_the_region() -> None:
    """PS3.3 10.5: Anatomic Region Modifier Sequence, in the item of the region that it belongs to."""
    lesion = replace(segment("Lesion"), region=THALAMUS, laterality=LEFT)
    (item,) = seg_of(found=findings(lesion)).SegmentSequence
    (region,) = item.AnatomicRegionSequence
    (side,) = region.AnatomicRegionModifierSequence
    assert (region.CodeValue, side.CodeValue, side.CodeMeaning) == ("42695009", "7771000", "Left")
    assert "SegmentedPropertyTypeModifierCodeSequence" not in item.SegmentedPropertyTypeCodeSequence[0]


def test_the_side_of_a_structure_that_is_its_own_region_stands_with_its_type() -> None:
    """PS3.3 C.8.20.4: without a region it is the property type that lies on a side."""
    thalamus = replace(segment("Left thalamus"), type=THALAMUS, laterality=LEFT)
    (item,) = seg_of(found=findings(thalamus)).SegmentSequence
    (kind,) = item.SegmentedPropertyTypeCodeSequence
    (side,) = kind.SegmentedPropertyTypeModifierCodeSequence
    assert (kind.CodeValue, side.CodeValue, side.CodingSchemeDesignator) == ("42695009", "7771000", "SCT")
    assert "AnatomicRegionSequence" not in item


def test_overlapping_segments_are_declared() -> None:
    """Segments Overlap (0062,0013) tells viewers that a pixel may have two colours."""
    assert seg_of(found=findings(segment(), segment("Inside"))).SegmentsOverlap == "YES"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (None, "Doe^John"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "王^小東"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_survive_byte_by_byte(character_set: str | list[str] | None, name: str) -> None:
    """PS3.5 6.1: the character set is the source's, and the name's bytes are those that the scanner wrote."""
    source = source_series(character_set=character_set, name=name)
    raw = source_series(character_set=character_set, name=name).datasets[0].get_item("PatientName").value
    found = findings(segment("Gehirn, größte Fläche"))
    for built in build(found, {ROLE: source}, run_context(pipeline_title="Détection")):
        read = dcmread(BytesIO(encode(built)))
        assert read.get("SpecificCharacterSet") == source.datasets[0].get("SpecificCharacterSet")
        assert read.get_item("PatientName").value == raw
        assert str(read.PatientName) == name


def test_our_own_texts_fit_the_character_set_of_the_source() -> None:
    """A label that the source's character set cannot hold loses its accents, never the character set."""
    ascii_only = seg_of(source_series(character_set=None, name="Doe"), findings(segment("Größe")))
    assert ascii_only.SegmentSequence[0].SegmentLabel == "Grosse"
    assert seg_of(found=findings(segment("Größe"))).SegmentSequence[0].SegmentLabel == "Größe"


def test_identity_is_the_sources_and_equipment_is_ours() -> None:
    """Patient and study are copied, what is absent stays absent, and the loop guard finds its mark."""
    source = source_series()
    seg = seg_of(source)
    image = source.datasets[0]
    for keyword in ("PatientID", "IssuerOfPatientID", "PatientAge", "StudyID", "AccessionNumber", "StudyDescription"):
        assert seg[keyword].value == image[keyword].value
    assert "PatientComments" not in seg
    assert (seg.Manufacturer, seg.DeviceSerialNumber) == (MANUFACTURER, "node1")
    assert seg.ContributingEquipmentSequence[0].Manufacturer == "Scanner maker"
    assert seg.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert (seg.BodyPartExamined, seg.Modality) == ("BRAIN", "SEG")


def test_type_2_attributes_that_the_source_lacks_are_empty() -> None:
    """PS3.3 C.7.1.1, C.7.2.1: a source without a birth date gives a result with an empty one."""
    source = source_series()
    for image in source.datasets:
        del image.PatientBirthDate
    assert seg_of(source).PatientBirthDate == ""


def test_times_come_from_the_run_in_the_sources_time_zone() -> None:
    """Every date of our own is the run's; a source with Timezone Offset From UTC decides what local is."""
    seg = seg_of()
    assert (seg.ContentDate, seg.ContentTime) == ("20260921", "141320.250000")
    assert seg_of(run=run_context(utc_offset_minutes=120)).ContentTime == "161320.250000"
    source = source_series()
    for image in source.datasets:
        image.TimezoneOffsetFromUTC = "-0330"
    assert seg_of(source).ContentTime == "104320.250000"


def test_the_notice_is_in_the_object() -> None:
    """A reader of the SEG sees that it is not a medical device; a hospital may word it, or leave it out."""
    notice = ResultSettings().notice
    seg = seg_of()
    assert (seg.ImageComments, seg.ContentDescription) == (notice, notice)
    assert "ImageComments" not in seg_of(run=run_context(profile=profile(notice="")))


def test_uids_and_numbers_follow_from_the_job() -> None:
    """Same job, same UIDs; another job, others; series numbers avoid those of the source."""
    run = run_context()
    other = run_context(key=replace(run.key, pipeline="other"))
    assert seg_of().SOPInstanceUID == run.key.uid("seg")
    assert seg_of().SeriesInstanceUID != seg_of(run=other).SeriesInstanceUID
    number = seg_of().SeriesNumber
    source = source_series()
    for image in source.datasets:
        image.SeriesNumber = number
    seg, report = build(findings(segment()), {ROLE: source}, run)
    assert number >= 9000
    assert number not in {seg.dataset.SeriesNumber, report.dataset.SeriesNumber}
    assert report.dataset.SeriesNumber == seg.dataset.SeriesNumber + 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (findings(segment(mask=np.ones((6, 24, 20), dtype=np.bool_))), "does not|is bool|the source is"),
        (findings(segment(), segment()), "used twice"),
    ],
)
def test_findings_that_do_not_fit_are_refused(wrong: Findings, said: str) -> None:
    """A mask on another grid, or two segments of one name, never become an object."""
    with pytest.raises(WrongObject, match=said):
        build(wrong, {ROLE: source_series()}, run_context())


@pytest.mark.parametrize(
    ("offset", "time"),
    [
        ("+0530", "194310"),
        ("-0800", "061310"),
        ("", "151310"),
        ("Z", "151310"),
        ("+01:00", "151310"),
        ("+9999", "151310"),
    ],
)
def test_a_time_zone_that_is_none_counts_as_absent(offset: str, time: str) -> None:
    """(0008,0201) as PS3.3 C.12.1.1.8 has it is followed; what else a scanner wrote there costs no result."""
    run = run_context(created_at=1_790_000_000.0 - 10 + 0.25, utc_offset_minutes=60)
    assert run.now(offset).strftime("%H%M%S") == time
