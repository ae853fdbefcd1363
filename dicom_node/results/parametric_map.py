"""Numbers for every voxel to DICOM Parametric Maps (PS3.3 A.75, C.8.32): float32, on the source's own grid.

One object in a series of its own for each map. Every slice has its frame, because a missing frame would mean "no
number here", which no pipeline says; every frame names its source image.
"""

from typing import Final

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ParametricMapStorage

from dicom_node.contract import ProbabilityMap
from dicom_node.geometry import SourceSeries
from dicom_node.results.derived_frames import (
    Derivation,
    add_dimension,
    along_normal,
    frame_groups,
    plane_groups,
)
from dicom_node.results.display import add_window, centred, whole_range
from dicom_node.results.frame_anatomy import frame_anatomy
from dicom_node.results.objects import BuiltObject, Making
from dicom_node.results.provenance import (
    content_label,
    copy_compression,
    copy_elements,
    new_object,
    own_text,
    series_description,
    series_number,
)
from dicom_node.results.source_images import series_reference
from dicom_node.settings import ResultKind

_KIND: Final = ResultKind.PARAMETRIC_MAP
#: CID 7203 has no code for what a network computes; this is the one that highdicom uses too.
_CALCULATION: Final = Code("112187", "DCM", "Unspecified method of calculation")
_IMAGE_TYPE: Final = ("DERIVED", "PRIMARY", "VOLUME", "QUANTITY")
_LO_LENGTH: Final = 64
_SH_LENGTH: Final = 16
_FLOAT_BITS: Final = 32


def build_parametric_maps(making: Making) -> tuple[BuiltObject, ...]:
    """Return one object for each map, each in a series of its own."""
    return tuple(_built(making, each, series) for series, each in enumerate(making.findings.maps, 1))


def _built(making: Making, each: ProbabilityMap, series: int) -> BuiltObject:
    source, run, algorithm = making.source, making.run, making.findings.algorithm
    image = source.datasets[0]
    dataset = new_object(_KIND, ParametricMapStorage, image, run, algorithm, series=series)
    dataset.SeriesNumber = series_number(_KIND, run, making.taken, series)
    dataset.SeriesDescription = series_description(_KIND, run, algorithm, dataset, each.label)
    copy_elements(image, dataset, ("BodyPartExamined", "Laterality", "FrameOfReferenceUID"))
    dataset.PositionReferenceIndicator = image.get("PositionReferenceIndicator", "")
    _add_image(dataset, image, each, run.notice)
    dataset.ReferencedSeriesSequence = [series_reference(source.datasets, "ReferencedInstanceSequence")]
    add_dimension(dataset, run.key.uid(f"pm{series}.dimensions"))
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(source, each, dataset)]
    order = along_normal(source)
    derivation = Derivation(_CALCULATION, f"{each.label} by {algorithm.name} {algorithm.version}")
    dataset.PerFrameFunctionalGroupsSequence = [
        frame_groups(source, index, number, derivation, dataset) for number, index in enumerate(order, 1)
    ]
    dataset.FloatPixelData = np.ascontiguousarray(each.values[order], "<f4").tobytes()
    return BuiltObject(_KIND, dataset, series)


def _add_image(dataset: Dataset, image: Dataset, each: ProbabilityMap, notice: str) -> None:
    """Add Floating Point Image Pixel and Parametric Map Image (PS3.3 C.7.6.24, C.8.32.2)."""
    dataset.ImageType = list(_IMAGE_TYPE)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.PixelPresentation = "MONOCHROME"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = each.values.shape
    dataset.BitsAllocated = _FLOAT_BITS
    dataset.ContentQualification = "RESEARCH"
    dataset.BurnedInAnnotation = "NO"
    dataset.RecognizableVisualFeatures = "NO"
    copy_compression(image, dataset)
    dataset.ContentLabel = content_label(each.label)
    dataset.ContentDescription = own_text(each.label, dataset)[:_LO_LENGTH]
    dataset.ContentCreatorName = ""
    dataset.AcquisitionContextSequence = []
    if notice:
        dataset.ImageComments = own_text(notice, dataset)


def _shared_groups(source: SourceSeries, each: ProbabilityMap, dataset: Dataset) -> Dataset:
    """Return what holds for every frame (PS3.3 C.7.6.16.2.8, .9b, .10, .11; C.8.32.3.1)."""
    groups = plane_groups(source)
    identity, window, frame_type = Dataset(), Dataset(), Dataset()
    identity.RescaleSlope, identity.RescaleIntercept, identity.RescaleType = "1", "0", "US"
    add_window(window, centred(_shown(each)))
    frame_type.FrameType = list(_IMAGE_TYPE)
    groups.PixelValueTransformationSequence = [identity]
    groups.FrameAnatomySequence = [frame_anatomy(source.datasets[0])]
    groups.FrameVOILUTSequence = [window]
    groups.ParametricMapFrameTypeSequence = [frame_type]
    groups.RealWorldValueMappingSequence = [_mapping(each, dataset)]
    return groups


def _mapping(each: ProbabilityMap, dataset: Dataset) -> Dataset:
    """Return what the numbers are: quantity and unit, over all values that occur (PS3.3 C.7.6.16.2.11)."""
    return hd.pm.RealWorldValueMapping(
        lut_label=own_text(each.label, dataset)[:_SH_LENGTH],
        lut_explanation=own_text(each.label, dataset)[:_LO_LENGTH],
        unit=each.unit,
        value_range=(float(each.values.min()), float(each.values.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=each.quantity,
    )


def _shown(each: ProbabilityMap) -> tuple[float, float]:
    """Return the window's limits: 0 to 1 for a probability, else all values."""
    low, high = whole_range(each.values)
    return (0.0, 1.0) if each.unit.value == "1" and low >= 0 and high <= 1 else (low, high)
