"""What the gate looks at in a Parametric Map: a number on the wrong voxel, or of another unit, is a wrong result."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ParametricMapStorage

from dicom_node.results.gate_case import Case, Check, items, other_than
from dicom_node.results.gate_segmentation import SEGMENTATION_CHECKS

_BYTES: Final = 4
_NARROWEST_LINEAR: Final = 2


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.7.6.24, C.8.32.2: one float a voxel, of an object that says it is for research."""
    wanted = {
        "SOPClassUID": ParametricMapStorage,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 * _BYTES,
        "ContentQualification": "RESEARCH",
        "PresentationLUTShape": "IDENTITY",
    }
    yield from other_than(case.dataset, wanted)
    if next(iter(case.dataset.ImageType)) != "DERIVED":
        yield "ImageType is not DERIVED"
    if "PixelData" in case.dataset or "DoubleFloatPixelData" in case.dataset:
        yield "there are pixels beside FloatPixelData"
    if case.source.datasets[0].get("LossyImageCompression") == "01" != case.dataset.get("LossyImageCompression"):
        yield "LossyImageCompression of the source is forgotten"


def _numbers(dataset: Dataset) -> NDArray[np.float32]:
    return np.frombuffer(dataset.FloatPixelData, "<f4")


def _pixels(case: Case) -> Iterator[str]:
    """Every slice has its frame, every voxel its number."""
    dataset = case.dataset
    frames, slices = len(items(dataset, "PerFrameFunctionalGroupsSequence")), len(case.source.frames)
    if not dataset.NumberOfFrames == frames == slices:
        yield f"NumberOfFrames is {dataset.NumberOfFrames}, functional groups describe {frames}, slices are {slices}"
    expected = slices * dataset.Rows * dataset.Columns * _BYTES
    if len(dataset.FloatPixelData) != expected:
        yield f"FloatPixelData has {len(dataset.FloatPixelData)} bytes, not {expected}"
    elif not np.isfinite(_numbers(dataset)).all():
        yield "FloatPixelData holds values that are no numbers"
    named = {_named(groups) for groups in items(dataset, "PerFrameFunctionalGroupsSequence")}
    if len(named) != frames:
        yield "two frames are of the same source image"


def _named(groups: Dataset) -> tuple[str, int]:
    reference = groups.DerivationImageSequence[0].SourceImageSequence[0]
    return str(reference.ReferencedSOPInstanceUID), int(reference.get("ReferencedFrameNumber") or 1)


def _order(case: Case) -> Iterator[str]:
    """Readers that lay frames out in the order of the file (dcmqi) expect them along row x column."""
    frames = items(case.dataset, "PerFrameFunctionalGroupsSequence")
    places = np.array([groups.PlanePositionSequence[0].ImagePositionPatient for groups in frames], np.float64)
    shared = case.dataset.SharedFunctionalGroupsSequence[0]
    turned = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, np.float64)
    if (np.diff(places @ np.cross(turned[:3], turned[3:])) <= 0).any():
        yield "frames do not follow one another along the normal of their planes"


def _meaning(case: Case) -> Iterator[str]:
    """PS3.3 C.7.6.16.2.11: the stored values are the real ones, each has a unit, and nothing changes them before."""
    shared = case.dataset.SharedFunctionalGroupsSequence[0]
    mappings = items(shared, "RealWorldValueMappingSequence")
    if len(mappings) != 1:
        yield f"RealWorldValueMappingSequence has {len(mappings)} items, not one"
        return
    mapping, transformation = mappings[0], shared.PixelValueTransformationSequence[0]
    if (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) != (1.0, 0.0):
        yield "the mapping changes the values"
    if (transformation.RescaleSlope, transformation.RescaleIntercept) != (1.0, 0.0):
        yield "the rescaling changes the values"
    values = _numbers(case.dataset)
    low, high = (mapping[f"DoubleFloatRealWorldValue{end}ValueMapped"].value for end in ("First", "Last"))
    if values.min() < low or values.max() > high:
        yield "values lie outside of the range that is mapped"
    for keyword in ("MeasurementUnitsCodeSequence", "QuantityDefinitionSequence"):
        if len(items(mapping, keyword)) != 1:
            yield f"{keyword} does not say what the values are"


def _display(case: Case) -> Iterator[str]:
    """PS3.3 C.11.2.1.3: with LINEAR a window narrower than whole numbers would show black and white only."""
    (window,) = case.dataset.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    if not window.WindowWidth > 0:
        yield "WindowWidth is not above 0"
    elif window.WindowWidth <= _NARROWEST_LINEAR and window.get("VOILUTFunction") != "LINEAR_EXACT":
        yield "a narrow window is not LINEAR_EXACT"


_AS_OF_A_MASK: Final = ("frame of reference", "place", "referenced series", "grid", "frames")
PARAMETRIC_MAP_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "pixels": _pixels,
    "order": _order,
    "meaning": _meaning,
    "display": _display,
    # a map lies on its source as a mask does
    **{name: SEGMENTATION_CHECKS[name] for name in _AS_OF_A_MASK},
}
