"""Findings to a Comprehensive 3D SR (PS3.3 A.35.13) by TID 1500 "Measurement Report" (PS3.16).

For each segment two groups share one Tracking UID: TID 1411, which refers to the SEG, and TID 1410 with an outline
on the source image, because some viewers fail on a group without coordinates. Remarks and the notice stand as
comments under "Qualitative Evaluations" (TID 1500 row 12). Where nothing was found the report is a text
(`text_report`).
"""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final

import numpy as np
from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.contract import Algorithm, Findings, Measurement, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results.objects import BuiltObject, RunContext
from dicom_node.results.outline import Outline, outlines
from dicom_node.results.provenance import new_object, own_text, series_number
from dicom_node.results.report_parts import (
    algorithm_identification,
    comment,
    container,
    language,
    observer,
    procedure,
    unfound,
)
from dicom_node.results.segmentation import found, tracking_uid
from dicom_node.results.source_images import image_reference, is_multiframe, plane_of, source_of
from dicom_node.results.text_report import text_content

_TITLE: Final = Code("126000", "DCM", "Imaging Measurement Report")
_QUALITATIVE: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")
_MEASUREMENTS: Final = Code("126010", "DCM", "Imaging Measurements")
_REGION: Final = Code("111030", "DCM", "Image Region")
_AREA: Final = Code("42798000", "SCT", "Area")
_SQUARE_MM: Final = Code("mm2", "UCUM", "square millimeter")
_LO_LENGTH: Final = 64
_DECIMALS: Final = 3


def build_report(
    findings: Findings,
    sources: Mapping[str, SourceSeries],
    run: RunContext,
    segmentation: BuiltObject | None,
    taken: frozenset[int],
) -> BuiltObject:
    """Return the SR.

    Parameters
    ----------
    segmentation : BuiltObject or None
        The SEG of the same findings; None where nothing was found.
    taken : frozenset of int
        Series numbers that the study is known to have.
    """
    source = sources[findings.role]
    dataset = new_object("SR", Comprehensive3DSRStorage, source.datasets[0], run, findings.algorithm)
    dataset.SeriesNumber = series_number("SR", run, taken)
    dataset.SeriesDescription = own_text(f"{run.pipeline_title} report (AI, not reviewed)", dataset)[:_LO_LENGTH]
    _add_document(dataset, [image for each in sources.values() for image in each.datasets], segmentation)
    content = (
        text_content(findings, sources, run, dataset)
        if segmentation is None
        else _content(findings, source, run, segmentation, dataset)
    )
    for element in content:
        dataset.add(element)
    return BuiltObject("SR", dataset)


def _add_document(dataset: Dataset, images: Iterable[Dataset], segmentation: BuiltObject | None) -> None:
    """Add SR Document Series and General (PS3.3 C.17.1, C.17.2): complete, unverified, preliminary; its evidence."""
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PreliminaryFlag = "PRELIMINARY"
    evidence = [*images, *([segmentation.dataset] if segmentation else [])]
    current = [item for item in evidence if item.StudyInstanceUID == dataset.StudyInstanceUID]
    other = [item for item in evidence if item.StudyInstanceUID != dataset.StudyInstanceUID]
    dataset.CurrentRequestedProcedureEvidenceSequence = _hierarchy(current)
    if other:
        dataset.PertinentOtherEvidenceSequence = _hierarchy(other)


def _hierarchy(evidence: Iterable[Dataset]) -> list[Dataset]:
    """Return Hierarchical SOP Instance Reference items (PS3.3 Table C.17-3)."""
    ordered = sorted(evidence, key=lambda item: (str(item.StudyInstanceUID), str(item.SeriesInstanceUID)))
    studies = []
    for study_uid, of_study in groupby(ordered, key=lambda item: str(item.StudyInstanceUID)):
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = []
        for series_uid, of_series in groupby(of_study, key=lambda item: str(item.SeriesInstanceUID)):
            series = Dataset()
            series.SeriesInstanceUID = series_uid
            series.ReferencedSOPSequence = [image_reference(item) for item in of_series]
            study.ReferencedSeriesSequence.append(series)
        studies.append(study)
    return studies


def _content(
    findings: Findings, source: SourceSeries, run: RunContext, segmentation: BuiltObject, dataset: Dataset
) -> sr.ContainerContentItem:
    """Return the root of the content tree (TID 1500)."""
    root = sr.ContainerContentItem(name=_TITLE, template_id="1500")
    content = sr.ContentSequence()
    content.extend(language())
    content.extend(observer(findings.algorithm, run, dataset))
    content.append(procedure(source))
    content.append(container(_MEASUREMENTS, _groups(findings, source, run, segmentation)))
    comments = [text for text in (run.settings.notice, *findings.remarks, *unfound(findings)) if text]
    if comments:
        content.append(container(_QUALITATIVE, [comment(text, dataset) for text in comments]))
    root.ContentSequence = content
    return root


def _groups(findings: Findings, source: SourceSeries, run: RunContext, segmentation: BuiltObject) -> list[Dataset]:
    groups: list[Dataset] = []
    for number, segment in enumerate(found(findings), 1):
        common = _common_of_groups(number, segment, findings.algorithm, run, segmentation.dataset)
        measured = [item for item in findings.measurements if item.segment == segment.label]
        groups += sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=_referenced_segment(number, source, segmentation),
            measurements=[_measurement(item) for item in measured],
            **common,
        )
        largest, second = outlines(segment.mask)
        groups += _planar(largest, source, [_area(largest, source)], common)
        groups += _planar(second, source, [], common)
    return groups


def _planar(
    outline: Outline, source: SourceSeries, measurements: list[sr.Measurement], common: dict[str, object]
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=_region(outline, source), measurements=measurements, **common
    )


def _common_of_groups(
    number: int, segment: Segment, algorithm: Algorithm, run: RunContext, dataset: Dataset
) -> dict[str, object]:
    """Return what both groups of a segment say: tracking, finding, site, algorithm (TID 4108, 1419, 4019)."""
    return {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=tracking_uid(number, run), identifier=own_text(segment.label, dataset)
        ),
        "finding_type": segment.type,
        "finding_category": segment.category,
        "finding_sites": [sr.FindingSite(anatomic_location=segment.region or segment.type)],
        "algorithm_id": algorithm_identification(algorithm, dataset),
    }


def _referenced_segment(number: int, source: SourceSeries, segmentation: BuiltObject) -> sr.ReferencedSegment:
    return sr.ReferencedSegment(
        sop_class_uid=segmentation.sop_class_uid,
        sop_instance_uid=segmentation.sop_instance_uid,
        segment_number=number,
        source_series=sr.SourceSeriesForSegmentation(str(source.datasets[0].SeriesInstanceUID)),
    )


def _measurement(item: Measurement) -> sr.Measurement:
    return sr.Measurement(
        name=item.name, value=item.value, unit=item.unit, derivation=item.derivation, method=item.method
    )


def _region(outline: Outline, source: SourceSeries) -> sr.ImageRegion:
    """Return the SCOORD item (TID 1410 row 5).

    Made from its parts, because the constructor of `ImageRegion` loads tables of the whole standard (0.4 s).
    """
    image, frame = source_of(source, outline.slice_index)
    item = sr.ScoordContentItem(
        name=_REGION,
        graphic_type=sr.GraphicTypeValues.POLYLINE,
        graphic_data=outline.points,
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )
    item.ContentSequence = [
        sr.SourceImageForRegion(
            str(image.SOPClassUID), str(image.SOPInstanceUID), [frame] if is_multiframe(image) else None
        )
    ]
    return sr.ImageRegion.from_dataset(item, copy=False)


def _area(outline: Outline, source: SourceSeries) -> sr.Measurement:
    """Return the area that the outline encloses, in mm2."""
    spacing = plane_of(*source_of(source, outline.slice_index)).spacing.value
    area = outline.area() * float(np.prod([float(value) for value in spacing]))
    return sr.Measurement(name=_AREA, value=round(area, _DECIMALS), unit=_SQUARE_MM)
