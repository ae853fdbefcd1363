"""An SR says in TID 1500 what was measured, where, and by what; in TID 2000 that nothing was found."""

from collections.abc import Iterator
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node import MANUFACTURER
from dicom_node.contract import Findings, Measurement
from dicom_node.entities import derived_uid
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results import RunContext, build, check, encode
from dicom_node.settings import ResultSettings
from tests.results_cases import ALGORITHM, ML, ROLE, VOLUME, findings, run_context, segment, source_series


def report_of(
    found: Findings | None = None, source: SourceSeries | None = None, run: RunContext | None = None
) -> tuple[Dataset, Dataset | None]:
    """Build, pass the gate, encode and read again: the SR, and the SEG if there is one."""
    source = source or source_series()
    objects = build(found or findings(segment()), {ROLE: source}, run or run_context())
    check(objects, {ROLE: source})
    read = {built.kind: dcmread(BytesIO(encode(built))) for built in objects}
    return read["SR"], read.get("SEG")


def walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from walk(child)


def comments(report: Dataset) -> list[str]:
    return sentences(report, "121106")


def sentences(report: Dataset, code: str) -> list[str]:
    """Return every text under one concept name."""
    return [item.TextValue for item in walk(report) if item.ConceptNameCodeSequence[0].CodeValue == code]


def test_an_independent_reader_finds_the_volume_and_its_segment() -> None:
    """Highdicom reads one volumetric group: its volume in ml, its finding, and the segment it measured."""
    report, seg = report_of()
    content = hd.sr.srread(BytesIO(encode_again(report))).content
    (group,) = content.get_volumetric_roi_measurement_groups()
    (volume,) = group.get_measurements(name=VOLUME)
    assert (volume.value, volume.unit) == (pytest.approx(0.289), ML)
    assert group.finding_type.value == "12738006"
    assert [site.value.value for site in group.finding_sites] == ["12738006"]
    assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
    assert group.tracking_uid == seg.SegmentSequence[0].TrackingUID


def encode_again(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("enhanced", [False, True])
def test_each_volumetric_group_has_outlines_with_its_tracking_uid(enhanced: bool) -> None:
    """Viewers that need coordinates find them: closed, on the slice where the mask is largest, and on another."""
    source = source_series(enhanced=enhanced)
    report, _ = report_of(source=source)
    content = hd.sr.srread(BytesIO(encode_again(report))).content
    (volumetric,) = content.get_volumetric_roi_measurement_groups()
    planar = content.get_planar_roi_measurement_groups()
    assert {group.tracking_uid for group in planar} == {volumetric.tracking_uid}
    regions = [group.roi for group in planar]
    assert all(np.array_equal(region.value[0], region.value[-1]) for region in regions)
    references = [region.ContentSequence[0].ReferencedSOPSequence[0] for region in regions]
    if enhanced:
        assert [item.ReferencedFrameNumber for item in references] == [3, 4]
    else:
        assert [item.ReferencedSOPInstanceUID for item in references] == [
            source.datasets[index].SOPInstanceUID for index in (2, 3)
        ]
    (area,) = planar[0].get_measurements()
    # 8 x 12 + 3 x 3 pixels, less the cut corners, of 1.0 x 0.9 mm
    assert area.value == pytest.approx((96 + 9 - 0.5) * 0.9)


def test_the_device_and_the_algorithm_are_named() -> None:
    """PS3.16 TID 1004 and 4019: which node, which software, which weights."""
    report, _ = report_of()
    texts = [item.TextValue for item in walk(report) if item.ValueType == "TEXT"]
    for text in ("node1", MANUFACTURER, "Brain extraction (example 1.0.2)", "example", f"weights_sha256={'ab' * 32}"):
        assert text in texts


def test_it_is_complete_unverified_and_preliminary() -> None:
    """PS3.3 C.17.2: nobody has reviewed what a machine found."""
    report, _ = report_of()
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )


def test_evidence_names_every_image_that_was_analysed_and_the_seg() -> None:
    """PS3.3 C.17.2.3: source images of every role, and the SEG, each in its own series."""
    source = source_series()
    report, seg = report_of(source=source)
    series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    named = {item.ReferencedSOPInstanceUID for each in series for item in each.ReferencedSOPSequence}
    assert named == {image.SOPInstanceUID for image in source.datasets} | {seg.SOPInstanceUID}


def test_several_roles_are_all_evidence() -> None:
    """A second series of the study, and one of a prior study, are named as what the findings rest on."""
    t1, flair, prior = source_series(), another_series("flair"), another_series("prior")
    for image in flair.datasets:
        image.PatientWeight = "70"  # headers of one study need not agree in everything
    for image in prior.datasets:
        image.StudyInstanceUID = derived_uid("prior study")
    sources = {"prior": prior, "flair": flair, ROLE: t1}
    for found in (findings(segment()), Findings(ROLE, ALGORITHM)):
        objects = build(found, sources, run_context())
        check(objects, sources)
        report = objects[-1].dataset
        (current,) = report.CurrentRequestedProcedureEvidenceSequence
        (other,) = report.PertinentOtherEvidenceSequence
        series = {item.SeriesInstanceUID for item in current.ReferencedSeriesSequence}
        assert {t1.datasets[0].SeriesInstanceUID, flair.datasets[0].SeriesInstanceUID} <= series
        assert other.StudyInstanceUID == derived_uid("prior study")


def test_roles_of_two_patients_are_refused() -> None:
    """A prior of somebody else would be the worst of mix-ups."""
    prior = another_series("prior")
    for image in prior.datasets:
        image.PatientID = "P-2"
    sources = {ROLE: source_series(), "prior": prior}
    with pytest.raises(WrongObject, match="the source images disagree on PatientID"):
        check(build(findings(segment()), sources, run_context()), sources)


def another_series(name: str) -> SourceSeries:
    """Return a series with its own UIDs and a larger matrix than the first one's."""
    source = source_series((6, 40, 48))
    for index, image in enumerate(source.datasets):
        image.SeriesInstanceUID, image.SOPInstanceUID = derived_uid(name), derived_uid(f"{name} {index}")
    return source


def test_notice_and_remarks_are_comments() -> None:
    """The radiologist reads the notice and what the pipeline says in the report itself."""
    report, _ = report_of()
    assert comments(report) == [ResultSettings().notice, "Checked."]


def test_nothing_found_is_said_in_words() -> None:
    """An empty mask gives no SEG, and a report in words: the notice, what was not found, how it was looked for."""
    nothing = segment(mask=np.zeros((6, 20, 24), dtype=np.bool_))
    report, seg = report_of(findings(nothing, remarks=("No brain was found in these images.",)))
    assert seg is None
    assert comments(report) == [ResultSettings().notice]
    assert sentences(report, "121077") == [
        "No brain was found in these images.",
        "Volume of Brain: 0 ml (not found in these images).",
    ]
    assert sentences(report, "121065") == [
        (
            "Brain extraction by example 1.0.2, automatic, not reviewed by a person. Looked for: Brain. "
            "Analysed: series 5 (6 slices)."
        )
    ]
    assert [sentences(report, code)[0] for code in ("111001", "111003", "111002")] == [
        "example",
        "1.0.2",
        f"weights_sha256={'ab' * 32}",
    ]


def test_nothing_found_is_a_text_for_viewers() -> None:
    """TID 2000, neither title nor content of a measurement report, and a line for each item: OHIF shows it."""
    report, _ = report_of(Findings(ROLE, ALGORITHM, remarks=("No brain was found in these images.",)))
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "2000"
    assert report.ConceptNameCodeSequence[0].CodeValue == "18748-4"
    value_types = {item.ValueType for item in walk(report)}
    assert value_types == {"CODE", "CONTAINER", "TEXT", "UIDREF"}
    containers = [report, *(item for item in walk(report) if item.ValueType == "CONTAINER")]
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}


@pytest.mark.parametrize("enhanced", [False, True])
def test_nothing_found_says_in_which_series(enhanced: bool) -> None:
    """The conclusion is inferred from each series that was analysed; the evidence names their images."""
    source, flair = source_series(enhanced=enhanced), another_series("flair")
    del flair.datasets[0].SeriesNumber
    sources = {ROLE: source, "flair": flair}
    (built,) = build(Findings(ROLE, ALGORITHM), sources, run_context())
    check([built], sources)
    (conclusion,) = (item for item in walk(built.dataset) if item.ConceptNameCodeSequence[0].CodeValue == "121077")
    assert [(item.RelationshipType, item.UID) for item in conclusion.ContentSequence] == [
        ("INFERRED FROM", each.datasets[0].SeriesInstanceUID) for each in sources.values()
    ]
    assert sentences(built.dataset, "121065")[0].endswith(
        "Analysed: series 5 (6 slices), a series without number (6 slices)."
    )


def test_both_kinds_of_report_are_filed_alike() -> None:
    """Whose they are, who made them, when, and what they are worth: the same with and without findings."""
    with_findings, _ = report_of()
    without, _ = report_of(Findings(ROLE, ALGORITHM))
    content = {
        "ConceptNameCodeSequence", "ContentSequence", "ContentTemplateSequence", "ContinuityOfContent",
        "CurrentRequestedProcedureEvidenceSequence",
    }  # fmt: skip
    for report in (with_findings, without):
        for keyword in content:
            delattr(report, keyword)
    assert with_findings == without


def test_a_pipeline_without_words_still_reports() -> None:
    """Findings without segments, measurements and remarks give a report that says that nothing was found."""
    report, _ = report_of(Findings(ROLE, ALGORITHM))
    assert sentences(report, "121077") == ["Brain extraction found nothing in these images."]


def test_a_measurement_of_what_was_not_found_is_kept_in_words() -> None:
    """A number is never dropped because its segment is empty."""
    found = findings(segment())
    more = Findings(ROLE, ALGORITHM, found.segments, (*found.measurements, Measurement(VOLUME, 0.0, ML, "Lesion")))
    report, _ = report_of(more)
    assert "Volume of Lesion: 0 ml (not found in these images)." in comments(report)
