"""The measurement groups of a report: for each segment, for each location, and for the images as a whole.

For each segment in a SEG a group (TID 1411) refers to it, and two more (TID 1410) with the same Tracking UID have an
outline on the source images, because some viewers fail on a group without coordinates. Without a SEG the group of the
first outline has the numbers. A location is a TID 1410 group with a ring around it, the images as a whole a TID 1501
group with a frame; both say that their outline delimits nothing.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.contract import Findings, Location, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results.answers import measurements_of, probability, qualities_of
from dicom_node.results.marks import frame, ring
from dicom_node.results.objects import BuiltObject, Making
from dicom_node.results.outline import Outline, outlines
from dicom_node.results.provenance import own_text
from dicom_node.results.report_parts import algorithm_identification, comment, series_reference
from dicom_node.results.segmentation import found, tracking_uid
from dicom_node.results.source_images import is_multiframe, plane_of, source_of
from dicom_node.settings import ResultKind

_REGION: Final = Code("111030", "DCM", "Image Region")
_AREA: Final = Code("42798000", "SCT", "Area")
_SQUARE_MM: Final = Code("mm2", "UCUM", "square millimeter")
_DECIMALS: Final = 3
_ALL_IMAGES: Final = "Images as a whole"
_ABOUT_RING: Final = "The ring only marks this place; its size is not that of the finding."
_ABOUT_FRAME: Final = "These values are about all images of the series; the frame delimits nothing."

#: Content items of one group, or all of a finding's groups.
_Items = list[Dataset]


def has_groups(findings: Findings) -> bool:
    """Return whether there is anything that a measurement group can be made of."""
    return bool(found(findings) or findings.locations or _is_about_all(findings))


def _is_about_all(findings: Findings) -> bool:
    return any(not item.segment for item in findings.measurements) or any(
        not answer.of for answer in findings.classifications
    )


def measurement_groups(making: Making, dataset: Dataset) -> Iterator[Dataset]:
    """Yield the groups: of every segment, of every location, of the images as a whole."""
    for number, segment in enumerate(found(making.findings), 1):
        yield from _of_segment(number, segment, making, dataset)
    for number, location in enumerate(making.findings.locations, 1):
        yield from _of_location(number, location, making, dataset)
    if _is_about_all(making.findings):
        yield from _of_images(making, dataset)


def _of_segment(number: int, segment: Segment, making: Making, dataset: Dataset) -> _Items:
    source = making.source
    uid = tracking_uid(number, making.run)
    common = _common(uid, segment, segment.region or segment.type, making, dataset)
    values = _values(segment.label, making, dataset)
    largest, second = outlines(segment.mask)
    area = _area(largest, source)
    segmentation = next(iter(making.of_kind(ResultKind.SEGMENTATION)), None)
    if segmentation is None:
        values["measurements"].insert(0, area)
        return [*_planar(largest, source, common | values), *_planar(second, source, common)]
    volumetric = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=_referenced_segment(number, source, segmentation), **common, **values
    )
    return [
        *volumetric,
        *_planar(largest, source, common | {"measurements": [area]}),
        *_planar(second, source, common),
    ]


def _of_location(number: int, location: Location, making: Making, dataset: Dataset) -> _Items:
    uid = making.run.key.uid(f"tracking.location.{number}")
    site = location.region or (location.type if location.laterality else None)
    values = _values(location.label, making, dataset)
    if location.probability is not None:
        values["measurements"].insert(0, sr.Measurement(**probability(location.probability)))
    common = _common(uid, location, site, making, dataset)
    (group,) = _planar(ring(location, making.source), making.source, common | values)
    group.ContentSequence.append(comment(_ABOUT_RING, dataset))
    return [group]


def _of_images(making: Making, dataset: Dataset) -> _Items:
    """Return the group of what is about the images as a whole (TID 1501)."""
    (group,) = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(making.run.key.uid("tracking.images"), _ALL_IMAGES, dataset),
        algorithm_id=algorithm_identification(making.findings.algorithm, dataset),
        **_values("", making, dataset),
    )
    image = making.source.datasets[0]
    group.ContentSequence.extend(
        [
            _region(frame(making.findings, making.source), making.source),
            series_reference(image, sr.RelationshipTypeValues.CONTAINS),
            comment(_ABOUT_FRAME, dataset),
        ]
    )
    return [group]


def _values(label: str, making: Making, dataset: Dataset) -> dict[str, list[Any]]:
    """Return the numbers and the answers in words about one thing."""
    return {
        "measurements": measurements_of(label, making.findings, dataset),
        "qualitative_evaluations": qualities_of(label, making.findings),
    }


def _common(
    uid: str, finding: Segment | Location, site: Code | None, making: Making, dataset: Dataset
) -> dict[str, Any]:
    """Return what all groups of a finding say: tracking, finding, site, algorithm (TID 4108, 1419, 4019)."""
    sites = [] if site is None else [sr.FindingSite(anatomic_location=site, laterality=finding.laterality)]
    return {
        "tracking_identifier": _tracking(uid, finding.label, dataset),
        "finding_type": finding.type,
        "finding_category": finding.category,
        "finding_sites": sites,
        "algorithm_id": algorithm_identification(making.findings.algorithm, dataset),
    }


def _tracking(uid: str, label: str, dataset: Dataset) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid=uid, identifier=own_text(label, dataset))


def _planar(outline: Outline, source: SourceSeries, content: dict[str, Any]) -> _Items:
    return list(
        sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=_region(outline, source), **content)
    )


def _referenced_segment(number: int, source: SourceSeries, segmentation: BuiltObject) -> sr.ReferencedSegment:
    return sr.ReferencedSegment(
        sop_class_uid=segmentation.sop_class_uid,
        sop_instance_uid=segmentation.sop_instance_uid,
        segment_number=number,
        source_series=sr.SourceSeriesForSegmentation(str(source.datasets[0].SeriesInstanceUID)),
    )


def _region(outline: Outline, source: SourceSeries) -> sr.ImageRegion:
    """Return the SCOORD item (TID 1410 row 5).

    Made from its parts, because the constructor of `ImageRegion` loads tables of the whole standard (0.4 s).
    """
    image, number = source_of(source, outline.slice_index)
    item = sr.ScoordContentItem(
        name=_REGION,
        graphic_type=sr.GraphicTypeValues.POLYLINE,
        graphic_data=outline.points,
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )
    item.ContentSequence = [
        sr.SourceImageForRegion(
            str(image.SOPClassUID), str(image.SOPInstanceUID), [number] if is_multiframe(image) else None
        )
    ]
    return sr.ImageRegion.from_dataset(item, copy=False)


def _area(outline: Outline, source: SourceSeries) -> sr.Measurement:
    """Return the area that the outline encloses, in mm2."""
    spacing = plane_of(*source_of(source, outline.slice_index)).spacing.value
    area = outline.area() * float(np.prod([float(value) for value in spacing]))
    return sr.Measurement(name=_AREA, value=round(area, _DECIMALS), unit=_SQUARE_MM)
