"""What a report holds of findings of every sort: numbers, answers, places; with a SEG, without one, and in words."""

import math
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.contract import Classification, Findings, KeySlice, Location, Measurement, ReferenceRange
from dicom_node.entities import derived_uid
from dicom_node.results import BuiltObject, Predecessor
from dicom_node.results.objects import Making
from dicom_node.results.report import build_report
from dicom_node.settings import ResultKind
from tests.report_cases import (
    ATTENUATION,
    HU,
    IN_WORDS,
    INTERPRETATION,
    LEFT,
    NO_SEG,
    NORMAL,
    PREDECESSOR,
    SEVERE,
    SEVERITY,
    all_sorts,
    code,
    comments,
    conclusions,
    every,
    first,
    group_of,
    groups,
    location,
    named,
    only_answers,
    only_places,
    report_of,
    walk,
)
from tests.results_cases import ALGORITHM, ML, ROLE, VOLUME, findings, run_context, segment, source_series

RIGHT_HERE = "The ring only marks this place; its size is not that of the finding."
ALL_IMAGES = "These values are about all images of the series; the frame delimits nothing."


def content_of(report: Dataset) -> hd.sr.MeasurementReport:
    """Return a report as highdicom reads it."""
    buffer = BytesIO()
    report.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return hd.sr.srread(buffer).content


def value_of(item: Dataset) -> tuple[float, str]:
    measured = item.MeasuredValueSequence[0]
    return float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue


def points_of(group: Dataset) -> np.ndarray:
    return np.array(first(group, "SCOORD").GraphicData).reshape(-1, 2)


def test_an_answer_about_a_segment_stands_in_its_group_with_how_sure_it_is() -> None:
    """PS3.16 TID 1411 by 1419: a coded answer, whose probability is a property of the answer."""
    report, _ = report_of(all_sorts())
    (group,) = (
        each
        for each in content_of(report).get_volumetric_roi_measurement_groups()
        if each.tracking_identifier == "Brain"
    )
    (answer,) = group.get_qualitative_evaluations(name=SEVERITY)
    assert answer.value == SEVERE
    item = named(group_of(report, "Brain"), SEVERITY.value)
    (sure,) = item.ContentSequence
    assert (code(sure), sure.RelationshipType, value_of(sure)) == ("122157", "HAS PROPERTIES", (75.0, "%"))


def test_modifiers_and_the_reference_range_stay_with_their_number() -> None:
    """PS3.16 TID 1419 rows 7 and 8, TID 312 row 2: how a number was got, and where it lies in healthy people."""
    report, _ = report_of(all_sorts())
    group = group_of(report, "Brain")
    volume, attenuation = named(group, VOLUME.value), named(group, ATTENUATION.value)
    assert [(code(item), item.TextValue) for item in volume.ContentSequence] == [
        ("121407", "0.2 to 0.4 ml, women of 60 to 70 years")
    ]
    assert [(code(item), item.ConceptCodeSequence[0].CodeValue) for item in attenuation.ContentSequence] == [
        ("370129005", "126410"),
        ("121401", "373098007"),
    ]


@pytest.mark.parametrize(
    ("low", "high", "said"), [(-math.inf, 0.4, "up to 0.4 ml, all"), (0.2, math.inf, "from 0.2 ml, all")]
)
def test_a_range_may_have_one_side(low: float, high: float, said: str) -> None:
    """A limit that is not there is not written as a number."""
    endless = replace(findings(segment()), ranges=(ReferenceRange(VOLUME, "Brain", low, high, "all"),))
    report, _ = report_of(endless)
    assert named(report, "121407").TextValue == said
    in_words, _ = report_of(endless, run=run_context(profile=IN_WORDS))
    assert f"Volume of Brain: 0.289 ml; reference range {said}." in conclusions(in_words)


def test_the_side_is_said_of_the_site() -> None:
    """PS3.16 TID 1419 rows 2 and 3: the site is the region where there is one, and has its side."""
    report, _ = report_of(all_sorts())
    of_segment = [each for each in groups(report) if named(each, "112039").TextValue == "Hippocampus"]
    assert len(of_segment) == 3
    for group in (*of_segment, group_of(report, "Mass 1")):
        site = named(group, "363698007")
        assert site.ConceptCodeSequence[0].CodeValue == "12738006"
        assert named(site, "272741003").ConceptCodeSequence[0].CodeValue == LEFT.value


@pytest.mark.parametrize("enhanced", [False, True])
def test_a_location_is_a_ring_around_its_place_on_its_slice(enhanced: bool) -> None:
    """Round in mm, centred on the point, on the nearest slice; what was found there, and how surely."""
    source = source_series(enhanced=enhanced, spacing=(1.2, 1.0, 0.5))
    report, seg = report_of(replace(only_places(), locations=(location(point=(3.2, 8.0, 11.5)),)), source)
    assert seg is None
    (group,) = groups(report)
    points = points_of(group)
    assert points[:-1].mean(axis=0) == pytest.approx((12.0, 8.5), abs=0.01)
    assert np.hypot(*((points - (12.0, 8.5)) * (0.5, 1.0)).T) == pytest.approx(4.0, abs=0.01)
    reference = first(group, "SCOORD").ContentSequence[0].ReferencedSOPSequence[0]
    if enhanced:
        assert reference.ReferencedFrameNumber == 4
    else:
        assert reference.ReferencedSOPInstanceUID == source.datasets[3].SOPInstanceUID
    assert value_of(named(group, "122157")) == (87.0, "%")
    assert named(group, "121071").ConceptCodeSequence[0].CodeMeaning == "Mass"
    assert named(group, SEVERITY.value).ConceptCodeSequence[0].CodeValue == SEVERE.value
    assert named(group, "121106").TextValue == RIGHT_HERE


@pytest.mark.parametrize("point", [(-0.5, -0.5, -0.5), (5.49, 19.5, 23.5)])
def test_a_ring_at_the_edge_stays_in_the_image(point: tuple[float, float, float]) -> None:
    """Outside of the image there is nothing to point at: the ring is cut, and still closed and long enough."""
    report, _ = report_of(replace(only_places(), locations=(location(point=point),)))
    points = points_of(groups(report)[0])
    assert points.min() >= 0
    assert (points <= (24, 20)).all()
    assert len(points) == 17


def test_a_ring_is_never_too_small_to_be_seen() -> None:
    """On large pixels 4 mm would be a dot: at least three pixels."""
    report, _ = report_of(only_places(), source_series(spacing=(5.0, 4.0, 4.0)))
    points = points_of(groups(report)[0])
    assert np.ptp(points[:, 0]) == pytest.approx(6.0, abs=0.01)


def test_each_location_is_tracked_by_itself() -> None:
    """Viewers put groups with one Tracking UID together: two places are two findings."""
    two = replace(findings(), locations=(location("Mass 1"), location("Mass 2", (1, 5, 5))))
    report, _ = report_of(two)
    assert len({named(each, "112040").UID for each in groups(report)}) == 2


def test_numbers_about_all_images_have_a_frame_that_says_so() -> None:
    """PS3.16 TID 1501: about no region, so its outline lies along the border of an image and says that it is none."""
    source = source_series()
    report, _ = report_of(all_sorts(), source)
    (group,) = content_of(report).get_image_measurement_groups()
    (number,) = group.get_measurements(name=ATTENUATION)
    assert (number.value, number.unit) == (12.25, HU)
    (item,) = groups(report, "1501")
    assert points_of(item).min(axis=0) == pytest.approx((0.4, 0.4), abs=1e-3)
    assert points_of(item).max(axis=0) == pytest.approx((23.6, 19.6), abs=1e-3)
    assert len(points_of(item)) == 9
    assert named(item, INTERPRETATION.value).ConceptCodeSequence[0].CodeValue == NORMAL.value
    series = named(item, "112002").UID
    assert series == source.datasets[0].SeriesInstanceUID
    assert named(item, "121106").TextValue == ALL_IMAGES


@pytest.mark.parametrize(("key_slices", "index"), [((), 3), ((KeySlice(1, "here"), KeySlice(2, "there")), 1)])
def test_the_frame_lies_on_the_first_key_slice_or_the_middle(key_slices: tuple[KeySlice, ...], index: int) -> None:
    """A reader opens the image that the pipeline points at."""
    source = source_series()
    report, _ = report_of(replace(only_answers(), key_slices=key_slices), source)
    reference = first(groups(report)[0], "IMAGE").ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == source.datasets[index].SOPInstanceUID


def test_without_a_seg_the_outlines_have_the_numbers() -> None:
    """A profile without SEG: no reference to one, and every number still there, once."""
    report, seg = report_of(all_sorts(), run=run_context(profile=NO_SEG))
    assert seg is None
    assert groups(report, "1411") == every(report, "121191") == []
    with_seg, _ = report_of(all_sorts())
    assert sorted(map(value_of, numbers(report))) == sorted(map(value_of, numbers(with_seg)))
    (group,) = (
        each
        for each in groups(report)
        if any(code(item) == VOLUME.value for item in each.ContentSequence)
        and named(each, "112039").TextValue == "Brain"
    )
    assert {code(item) for item in group.ContentSequence if item.ValueType == "NUM"} == {
        "42798000",
        VOLUME.value,
        ATTENUATION.value,
    }


def numbers(report: Dataset) -> list[Dataset]:
    return [item for item in walk(report) if item.ValueType == "NUM"]


def test_an_answer_about_what_was_not_found_is_kept_in_words() -> None:
    """So is a number: neither has a place in the images."""
    absent = replace(
        all_sorts(),
        segments=(segment(), segment("Lesion", np.zeros((6, 20, 24), np.bool_))),
        measurements=(Measurement(VOLUME, 0.0, ML, "Lesion"),),
        ranges=(),
        classifications=(Classification(SEVERITY, SEVERE, 0.125, of="Lesion"),),
    )
    report, _ = report_of(absent)
    assert comments(report)[3:] == [
        "Volume of Lesion: 0 ml (not found in these images).",
        "Severity of Lesion: Severe (probability 12.5 %) (not found in these images).",
    ]


def test_in_words_nothing_is_left_out() -> None:
    """TID 2000: each number, answer and place is a sentence, with its unit, side, image and certainty."""
    report, seg = report_of(all_sorts(), run=run_context(profile=IN_WORDS))
    assert seg is not None
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "2000"
    assert conclusions(report) == [
        "Checked.",
        "Found in these images: Brain, Hippocampus.",
        "Volume of Brain: 0.289 ml; reference range 0.2 to 0.4 ml, women of 60 to 70 years.",
        "Volume of Hippocampus: 0.289 ml.",
        "Attenuation Coefficient (Mean, SUV body weight calculation method) of Brain: 31.5 [hnsf'U].",
        "Attenuation Coefficient of the images as a whole: 12.25 [hnsf'U].",
        "Volume of Lesion: 0 ml (not found in these images).",
        "Severity of Brain: Severe (probability 75 %).",
        "Severity of Mass 1: Severe.",
        "Has interpretation of the images as a whole: Normal (probability 50 %).",
        "Mass 1: Mass (Brain, Left) (probability 87 %), on image 4 of series 5, column 16, row 9.",
        f"Made beside this report: series {seg.SeriesNumber} ({seg.SeriesDescription}).",
    ]


def test_in_words_a_frame_is_called_a_frame() -> None:
    """An Enhanced image has one Instance Number for all its slices: the frame is what a reader finds."""
    report, _ = report_of(only_places(), source_series(enhanced=True), run_context(profile=IN_WORDS))
    assert "on frame 4 of series 5" in "".join(conclusions(report))


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (1234567.0, Code("mm3", "UCUM", "cubic millimeter"), "1234567 mm3"),
        (0.00002, Code("1", "UCUM", "no units"), "0.00002"),
        (3, Code("{lesions}", "UCUM", "lesions"), "3"),
        (0.1 + 0.2, ML, "0.3 ml"),
    ],
)
def test_numbers_in_words_are_plain(value: float, unit: Code, said: str) -> None:
    """No powers of ten, no binary fractions, and a unit only where there is one."""
    found = replace(findings(), measurements=(Measurement(VOLUME, value, unit, ""),))
    report, _ = report_of(found, run=run_context(profile=IN_WORDS))
    assert f"Volume of the images as a whole: {said}." in conclusions(report)


@pytest.mark.parametrize("profile", [None, IN_WORDS])
def test_the_report_that_it_supersedes_is_named(profile: object) -> None:
    """PS3.3 C.17.2: Predecessor Documents Sequence, and a sentence; without a predecessor neither."""
    source = source_series()
    earlier = replace(PREDECESSOR, study_instance_uid=source.datasets[0].StudyInstanceUID)
    context = run_context(predecessor=earlier, **({"profile": profile} if profile else {}))
    report, _ = report_of(all_sorts(), source, context)
    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (document,) = series.ReferencedSOPSequence
    named_there = Predecessor(
        study.StudyInstanceUID,
        series.SeriesInstanceUID,
        document.ReferencedSOPClassUID,
        document.ReferencedSOPInstanceUID,
    )
    assert named_there == earlier
    assert [text for text in comments(report) if text.startswith("Supersedes the report 2.25.13,")]
    without, _ = report_of(all_sorts(), source)
    assert "PredecessorDocumentsSequence" not in without
    assert "Supersedes" not in "".join(comments(without))


def beside(kind: ResultKind, number: int, source: Dataset) -> BuiltObject:
    """Return as much of another result as a report says of it."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = derived_uid(f"{kind} class"), derived_uid(kind)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = source.StudyInstanceUID, derived_uid(f"{kind} series")
    dataset.SeriesNumber, dataset.SeriesDescription = number, f"Brain {kind}"
    return BuiltObject(kind, dataset)


def test_what_was_made_beside_it_is_evidence_and_told() -> None:
    """Maps, pictures and images that show what was found; never what only points at it or repeats it."""
    source = source_series()
    built = tuple(beside(kind, number, source.datasets[0]) for number, kind in enumerate(ResultKind, 7))
    kept = tuple(each for each in built if each.kind not in (ResultKind.REPORT, ResultKind.SEGMENTATION))
    (made,) = build_report(Making(only_answers(), {ROLE: source}, run_context(), frozenset(), kept))
    evidence = {
        str(reference.ReferencedSOPInstanceUID)
        for series in made.dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    shown = {derived_uid(kind) for kind in ("PM", "SC", "IMG")}
    assert evidence == shown | {str(image.SOPInstanceUID) for image in source.datasets}
    assert comments(made.dataset)[-1] == (
        "Made beside this report: series 9 (Brain PM), series 10 (Brain SC), series 14 (Brain IMG)."
    )


@pytest.mark.parametrize("found", [all_sorts, only_places, only_answers])
@pytest.mark.parametrize("run", [run_context(), run_context(profile=NO_SEG), run_context(profile=IN_WORDS)])
def test_the_same_findings_give_the_same_report(found: Callable[[], Findings], run: object) -> None:
    """Same job, same bytes: nothing in a report comes from the clock, from chance, or from the order of a set."""
    assert report_of(found(), run=run)[0] == report_of(found(), run=run)[0]  # type: ignore[arg-type]


def test_a_place_between_two_images_is_on_one_of_them() -> None:
    """The nearest slice, and never one beyond the last."""
    for at, image in ((-0.5, 1), (0.4, 1), (2.6, 4), (5.49, 6)):
        found = replace(findings(), locations=(replace(location(), point=(at, 4.0, 4.0)),))
        report, _ = report_of(found, run=run_context(profile=IN_WORDS))
        assert f"on image {image} of" in "".join(conclusions(report))


def test_a_site_needs_a_region_or_a_side() -> None:
    """A mass is no anatomic site: without region and side none is claimed."""
    plain = Location("Mass 1", (3, 8, 15), location().category, location().type)
    report, _ = report_of(replace(findings(), locations=(plain,)))
    assert every(report, "363698007") == []
    assert report.ContentSequence  # and it is a whole report all the same
    assert ALGORITHM.name in [item.TextValue for item in every(report, "111001")]
