"""The gate refuses every kind of wrong report: for each check there is one that it stops."""

from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom import Dataset

from dicom_node.entities import derived_uid
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, build, check
from dicom_node.results.gate_case import Case
from dicom_node.results.gate_report import REPORT_CHECKS
from dicom_node.settings import ResultKind
from tests.gate_cases import Corrupt, copies, put, refusal, without
from tests.report_cases import (
    IN_WORDS,
    NO_SEG,
    PREDECESSOR,
    SEVERITY,
    SR,
    all_sorts,
    code,
    drop,
    every,
    first,
    group_of,
    groups,
    named,
)
from tests.results_cases import ROLE, VOLUME, findings, run_context, source_series


def built(source: SourceSeries, **changes: object) -> tuple[BuiltObject, ...]:
    """Build SEG and SR of findings of every sort, whose data sets may be changed without touching the source."""
    earlier = replace(PREDECESSOR, study_instance_uid=source.datasets[0].StudyInstanceUID)
    objects = build(all_sorts(), {ROLE: source}, run_context(predecessor=earlier, **changes))
    return copies(objects)


def in_words(source: SourceSeries) -> tuple[BuiltObject, ...]:
    """Build the same with a report in words."""
    return built(source, profile=IN_WORDS)


def nothing_found(source: SourceSeries) -> tuple[BuiltObject, ...]:
    """Build the SR of a run that found nothing."""
    (report,) = build(findings(remarks=("No brain was found.",)), {ROLE: source}, run_context())
    return (replace(report, dataset=deepcopy(report.dataset)),)


def _title(value: str, scheme: str) -> Corrupt:
    def change(dataset: Dataset, _: SourceSeries) -> None:
        dataset.ConceptNameCodeSequence[0].CodeValue = value
        dataset.ConceptNameCodeSequence[0].CodingSchemeDesignator = scheme

    return change


def _measurement_template(dataset: Dataset, source: SourceSeries) -> None:
    """What viewers look for measurements in, and fail."""
    _title("126000", "DCM")(dataset, source)
    dataset.ContentTemplateSequence[0].TemplateIdentifier = "1500"


def _unknown_template(dataset: Dataset, _: SourceSeries) -> None:
    dataset.ContentTemplateSequence[0].TemplateIdentifier = "1400"


def _no_groups(dataset: Dataset, _: SourceSeries) -> None:
    drop(named(dataset, "126010"), "125007")


def _dangling(dataset: Dataset, _: SourceSeries) -> None:
    first(dataset, "IMAGE").ReferencedSOPSequence[0].ReferencedSOPInstanceUID = derived_uid("nowhere")


def _unknown_segment(dataset: Dataset, _: SourceSeries) -> None:
    first(dataset, "IMAGE").ReferencedSOPSequence[0].ReferencedSegmentNumber = 7


def _wrong_class(dataset: Dataset, _: SourceSeries) -> None:
    first(dataset, "IMAGE").ReferencedSOPSequence[0].ReferencedSOPClassUID = derived_uid("class")


def _no_evidence(dataset: Dataset, _: SourceSeries) -> None:
    for series in dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence:
        del series.ReferencedSOPSequence[:]


def _evidence(dataset: Dataset) -> Dataset:
    series = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    return series.ReferencedSOPSequence[0]


def _foreign_evidence(dataset: Dataset, _: SourceSeries) -> None:
    _evidence(dataset).ReferencedSOPInstanceUID = derived_uid("foreign")


def _own_evidence(dataset: Dataset, _: SourceSeries) -> None:
    _evidence(dataset).ReferencedSOPInstanceUID = dataset.SOPInstanceUID


def _evidence_class(dataset: Dataset, _: SourceSeries) -> None:
    _evidence(dataset).ReferencedSOPClassUID = derived_uid("class")


def _other_source_series(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, "121232").UID = derived_uid("other")


def _other_series_as_a_whole(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, "112002").UID = derived_uid("other")


def _no_outlines(dataset: Dataset, _: SourceSeries) -> None:
    for group in groups(dataset, "1410"):
        drop(group, "111030")


def _images_without_frame(dataset: Dataset, _: SourceSeries) -> None:
    drop(groups(dataset, "1501")[0], "111030")


def _untracked(dataset: Dataset, _: SourceSeries) -> None:
    drop(groups(dataset, "1410")[0], "112040")


def _by_nobody(dataset: Dataset, _: SourceSeries) -> None:
    drop(group_of(dataset, "Mass 1"), "111001")


def _open_outline(dataset: Dataset, _: SourceSeries) -> None:
    item = first(dataset, "SCOORD")
    item.GraphicData = item.GraphicData[:-2]


def _short_outline(dataset: Dataset, _: SourceSeries) -> None:
    first(dataset, "SCOORD").GraphicData = [1, 1, 2, 1, 2, 2, 1, 1]


def _point(dataset: Dataset, _: SourceSeries) -> None:
    item = first(group_of(dataset, "Mass 1"), "SCOORD")
    item.GraphicType, item.GraphicData = "POINT", [8.0, 8.0]


def _outline_outside(dataset: Dataset, _: SourceSeries) -> None:
    item = first(dataset, "SCOORD")
    item.GraphicData = [value + 100 for value in item.GraphicData]


def _outline_on_nothing(dataset: Dataset, _: SourceSeries) -> None:
    del first(dataset, "SCOORD").ContentSequence


def _silent_ring(dataset: Dataset, _: SourceSeries) -> None:
    drop(group_of(dataset, "Mass 1"), "121106")


def _silent_frame(dataset: Dataset, _: SourceSeries) -> None:
    drop(groups(dataset, "1501")[0], "121106")


def _measured_value(dataset: Dataset) -> Dataset:
    return named(dataset, VOLUME.value).MeasuredValueSequence[0]


def _no_value(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, VOLUME.value).MeasuredValueSequence = []


def _home_made_unit(dataset: Dataset, _: SourceSeries) -> None:
    _measured_value(dataset).MeasurementUnitsCodeSequence[0].CodingSchemeDesignator = "99LOCAL"


def _more_than_certain(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, "122157").MeasuredValueSequence[0].NumericValue = "101"


def _share_as_percent(dataset: Dataset, _: SourceSeries) -> None:
    """0.87 with the unit 1 beside others in percent: who would notice it."""
    measured = named(dataset, "122157").MeasuredValueSequence[0]
    measured.NumericValue, measured.MeasurementUnitsCodeSequence[0].CodeValue = "0.87", "1"


def _empty_answer(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, SEVERITY.value).ConceptCodeSequence = []


def _answer_without_scheme(dataset: Dataset, _: SourceSeries) -> None:
    del named(dataset, SEVERITY.value).ConceptCodeSequence[0].CodingSchemeDesignator


def _side_of_a_side(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, "272741003").ConceptCodeSequence[0].CodeValue = "12738006"


def _segment_not_reported(dataset: Dataset, _: SourceSeries) -> None:
    drop(groups(dataset, "1411")[0], "121191", "121232")


def _segment_not_mentioned(dataset: Dataset, _: SourceSeries) -> None:
    for item in every(dataset, "121077"):
        item.TextValue = item.TextValue.replace("Hippocampus", "Something")


def _speechless(dataset: Dataset, _: SourceSeries) -> None:
    drop(named(dataset, "55110-1"), "121077")


def _no_heading(dataset: Dataset, _: SourceSeries) -> None:
    drop(dataset, "55110-1")


def _blank(dataset: Dataset, _: SourceSeries) -> None:
    named(dataset, "121077").TextValue = " "


def _about_nothing(dataset: Dataset, _: SourceSeries) -> None:
    del named(dataset, "121077").ContentSequence


def _measured(dataset: Dataset, source: SourceSeries) -> None:
    """A number taken over from a report of measurements."""
    dataset.ContentSequence.append(first(built(source)[-1].dataset, "NUM"))


def _drawn(dataset: Dataset, source: SourceSeries) -> None:
    """A group of a report of measurements, which viewers would look for a place of."""
    dataset.ContentSequence.append(groups(built(source)[-1].dataset)[0])


def _document(dataset: Dataset) -> Dataset:
    return dataset.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]


def _supersedes_an_image(dataset: Dataset, source: SourceSeries) -> None:
    _document(dataset).ReferencedSOPInstanceUID = source.datasets[0].SOPInstanceUID


def _supersedes_a_seg(dataset: Dataset, _: SourceSeries) -> None:
    _document(dataset).ReferencedSOPClassUID = SR[:-2] + "33"


def _supersedes_another_studys(dataset: Dataset, _: SourceSeries) -> None:
    dataset.PredecessorDocumentsSequence[0].StudyInstanceUID = derived_uid("other study")


def _supersedes_two(dataset: Dataset, _: SourceSeries) -> None:
    dataset.PredecessorDocumentsSequence.append(deepcopy(dataset.PredecessorDocumentsSequence[0]))


def _supersedes_in_silence(dataset: Dataset, _: SourceSeries) -> None:
    for heading in ("C0034375", "55110-1"):
        for item in every(dataset, heading):
            item.ContentSequence = [
                child for child in item.ContentSequence if "Supersedes" not in child.get("TextValue", "")
            ]


#: (check, change, words of the refusal) of any report
CASES_OF_BOTH: tuple[tuple[str, Corrupt, str], ...] = (
    ("form", put(VerificationFlag="VERIFIED"), "VerificationFlag is not UNVERIFIED"),
    ("form", put(CompletionFlag="PARTIAL"), "CompletionFlag is not COMPLETE"),
    ("form", put(PreliminaryFlag="FINAL"), "PreliminaryFlag is not PRELIMINARY"),
    ("form", without("ContentTemplateSequence"), "by none of the templates 1500, 2000"),
    ("form", _unknown_template, "by none of the templates 1500, 2000"),
    ("references", _foreign_evidence, "listed as evidence are unknown"),
    ("references", _own_evidence, "listed as evidence are unknown"),
    ("references", _evidence_class, "listed as evidence with another SOP class"),
    ("source series", _other_series_as_a_whole, "not one of the sources"),
    ("predecessor", _supersedes_an_image, "of what is no earlier report"),
    ("predecessor", _supersedes_a_seg, "of what is no earlier report"),
    ("predecessor", _supersedes_another_studys, "something else than one report of its study"),
    ("predecessor", _supersedes_two, "something else than one report of its study"),
    ("predecessor", _supersedes_in_silence, "does not say in words"),
)
#: of a report in words, with a SEG
CASES_IN_WORDS: tuple[tuple[str, Corrupt, str], ...] = (
    *CASES_OF_BOTH,
    ("form", _title("126000", "DCM"), "the title is not that of a report by template 2000"),
    ("form", _measurement_template, "without a measurement group"),
    ("segments", _segment_not_mentioned, "is not mentioned"),
    ("words", _speechless, "not a word"),
    ("words", _no_heading, "not a word"),
    ("words", _blank, "sentence 1 is empty"),
    ("words", _about_nothing, "which series it is about"),
    ("words", _measured, "but holds a measurement"),
    ("words", _drawn, "but holds a measurement"),
)
#: of a report of measurements, with a SEG or without
CASES_OF_MEASUREMENTS: tuple[tuple[str, Corrupt, str], ...] = (
    *CASES_OF_BOTH,
    ("form", _title("18748-4", "LN"), "the title is not that of a report by template 1500"),
    ("form", _no_groups, "without a measurement group"),
    ("references", _dangling, "leads nowhere"),
    ("references", _wrong_class, "another SOP class"),
    ("references", _no_evidence, "not listed as evidence"),
    ("tracking", _no_outlines, "have no outline"),
    ("tracking", _images_without_frame, "have no outline"),
    ("tracking", _untracked, "no tracking identifier and UID"),
    ("tracking", _by_nobody, "which algorithm it is from"),
    ("outlines", _open_outline, "not a closed POLYLINE"),
    ("outlines", _point, "not a closed POLYLINE"),
    ("outlines", _short_outline, "has 4 points"),
    ("outlines", _outline_outside, "leaves the image"),
    ("outlines", _outline_on_nothing, "which image it lies on"),
    ("marks", _silent_ring, "does not say that it delimits nothing"),
    ("marks", _silent_frame, "does not say that it delimits nothing"),
    ("numbers", _no_value, "has 0 values"),
    ("numbers", _home_made_unit, "is not one of UCUM"),
    ("numbers", _more_than_certain, "not 0 to 100 %"),
    ("numbers", _share_as_percent, "not 0 to 100 %"),
    ("answers", _empty_answer, f"the answer to {SEVERITY.value} is no code"),
    ("answers", _answer_without_scheme, f"the answer to {SEVERITY.value} is no code"),
    ("answers", _side_of_a_side, "a laterality is none"),
)
#: of a report of measurements that refers to a SEG
CASES_WITH_SEG: tuple[tuple[str, Corrupt, str], ...] = (
    ("references", _unknown_segment, "that it does not have"),
    ("source series", _other_source_series, "not one of the sources"),
    ("segments", _segment_not_reported, "not those of the SEG"),
)


def judge(objects: tuple[BuiltObject, ...], source: SourceSeries, name: str, change: Corrupt, said: str) -> None:
    check(objects, {ROLE: source})
    change(objects[-1].dataset, source)
    said_by_gate = refusal(objects, {ROLE: source})
    assert f"SR, {name}: " in said_by_gate
    assert said in said_by_gate


@pytest.mark.parametrize(("name", "change", "said"), CASES_OF_MEASUREMENTS + CASES_WITH_SEG)
def test_a_corrupted_report_is_refused_with_its_reason(name: str, change: Corrupt, said: str) -> None:
    """One fault, and the report stays here; the sentence names the check and what is wrong."""
    source = source_series()
    judge(built(source), source, name, change, said)


@pytest.mark.parametrize(("name", "change", "said"), CASES_OF_MEASUREMENTS)
def test_so_is_one_without_a_seg(name: str, change: Corrupt, said: str) -> None:
    """Without a SEG nothing is judged more mildly."""
    source = source_series()
    judge(built(source, profile=NO_SEG), source, name, change, said)


@pytest.mark.parametrize(("name", "change", "said"), CASES_IN_WORDS)
def test_so_is_one_in_words(name: str, change: Corrupt, said: str) -> None:
    """So is a report in words, if it could be silent, misfiled, incomplete, or crash a viewer."""
    source = source_series()
    judge(in_words(source), source, name, change, said)


@pytest.mark.parametrize(
    ("name", "change", "said"), [case for case in CASES_IN_WORDS if case[0] not in ("predecessor", "segments")]
)
def test_so_is_one_that_found_nothing(name: str, change: Corrupt, said: str) -> None:
    """And one that has nothing but words."""
    source = source_series()
    judge(nothing_found(source), source, name, change, said)


def test_every_check_of_a_report_has_one_that_it_refuses() -> None:
    """A check that nothing fails proves nothing."""
    tried = {name for name, _, _ in (*CASES_OF_MEASUREMENTS, *CASES_WITH_SEG, *CASES_IN_WORDS)}
    assert tried == REPORT_CHECKS.keys()


def test_numbers_without_the_seg_that_they_refer_to_are_refused() -> None:
    """A report goes with the SEG that it was built with, or not at all."""
    source = source_series()
    _, report = built(source)
    assert "leads nowhere" in refusal((report,), {ROLE: source})


def test_words_that_know_nothing_of_a_seg_do_not_go_with_it() -> None:
    """A report that says that nothing was found is not sent beside outlines of something."""
    source = source_series()
    seg, _ = built(source)
    assert "a segment of the SEG is not mentioned" in refusal((seg, *nothing_found(source)), {ROLE: source})


@pytest.mark.parametrize("kind", [ResultKind.DOCUMENT, ResultKind.KEY_OBJECTS, ResultKind.PRESENTATION_STATE])
def test_what_points_at_a_report_is_none_of_its_evidence(kind: ResultKind) -> None:
    """Neither rests on the other, and a reader of either is not led in a circle."""
    source = source_series()
    seg, report = built(source)
    case = Case(report, source, (replace(seg, kind=kind), report), {ROLE: source})
    assert f"a reference leads nowhere ({seg.sop_instance_uid})" in list(REPORT_CHECKS["references"](case))


def test_an_enhanced_source_needs_frame_numbers() -> None:
    """PS3.3 Table 10-3: a ring on a multi-frame image without its frame could be on any slice."""
    source = source_series(enhanced=True)
    objects = built(source)
    region = first(group_of(objects[-1].dataset, "Mass 1"), "SCOORD")
    del first(region, "IMAGE").ReferencedSOPSequence[0].ReferencedFrameNumber
    assert "a frame of" in refusal(objects, {ROLE: source})


def test_a_side_belongs_to_a_site() -> None:
    """PS3.16 TID 1419 row 3: a laterality below anything else would be of nothing."""
    source = source_series()
    objects = built(source)
    site = next(item for item in every(objects[-1].dataset, "363698007") if "ContentSequence" in item)
    site.ConceptNameCodeSequence[0].CodeValue = "121071"
    assert code(site) == "121071"
    assert "a laterality is none, or not of a finding site" in refusal(objects, {ROLE: source})
