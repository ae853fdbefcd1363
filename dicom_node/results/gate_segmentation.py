"""What the gate looks at in a Segmentation: a mask on the wrong slice or grid is a wrong result."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from dicom_node.results.gate_case import Case, Check, items
from dicom_node.results.source_images import is_multiframe, plane_of, position_of, source_of

#: mm for positions and spacing, and for the direction cosines (viewers compare with the same).
TOLERANCE: Final = 1e-3
#: A frame may lie this share of the slice spacing off the regular grid of the volume, as the source may.
_GRID_SHARE: Final = 0.25
_LAB_VALUES: Final = 3


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.8.20.2: the one form that every viewer draws."""
    wanted = {
        "SOPClassUID": SegmentationStorage,
        "SegmentationType": "BINARY",
        "BitsAllocated": 1,
        "BitsStored": 1,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
    }
    for keyword, value in wanted.items():
        if case.dataset.get(keyword) != value:
            yield f"{keyword} is not {value}"


def _pixels(case: Case) -> Iterator[str]:
    dataset = case.dataset
    frames = len(items(dataset, "PerFrameFunctionalGroupsSequence"))
    if dataset.NumberOfFrames != frames or not frames:
        yield f"NumberOfFrames is {dataset.NumberOfFrames}, functional groups describe {frames}"
    octets = math.ceil(int(dataset.NumberOfFrames) * dataset.Rows * dataset.Columns / 8)
    if len(dataset.PixelData) != octets + octets % 2:
        yield f"PixelData has {len(dataset.PixelData)} bytes, not {octets + octets % 2}"


def _frame_of_reference(case: Case) -> Iterator[str]:
    uid = case.dataset.get("FrameOfReferenceUID")
    if not uid or any(image.get("FrameOfReferenceUID") != uid for image in case.source.datasets):
        yield "FrameOfReferenceUID is not that of every source image"


def _referenced_series(case: Case) -> Iterator[str]:
    """Viewers take the first referenced series for the source, so there is exactly one."""
    series = items(case.dataset, "ReferencedSeriesSequence")
    if len(series) != 1:
        yield f"ReferencedSeriesSequence has {len(series)} items, not one"
        return
    if series[0].SeriesInstanceUID != case.source.datasets[0].SeriesInstanceUID:
        yield "ReferencedSeriesSequence names another series"
    named = {str(item.ReferencedSOPInstanceUID) for item in series[0].ReferencedInstanceSequence}
    if named != {str(image.SOPInstanceUID) for image in case.source.datasets}:
        yield "ReferencedSeriesSequence does not name exactly the source images"


def _grid(case: Case) -> Iterator[str]:
    image = case.source.datasets[0]
    if (case.dataset.Rows, case.dataset.Columns) != (image.Rows, image.Columns):
        yield "Rows and Columns are not those of the source"
    shared = case.dataset.SharedFunctionalGroupsSequence[0]
    plane = plane_of(*source_of(case.source, 0))
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    if not _near(orientation, plane.orientation.value):
        yield "ImageOrientationPatient is not that of the source"
    if not _near(shared.PixelMeasuresSequence[0].PixelSpacing, plane.spacing.value):
        yield "PixelSpacing is not that of the source"
    affine = case.source.volume.affine
    directions = affine[:3, [2, 1]] / np.linalg.norm(affine[:3, [2, 1]], axis=0)
    if not _near(orientation, directions.T.ravel()):
        yield "ImageOrientationPatient is not that of the volume which was analysed"


def _near(one: ArrayLike, other: ArrayLike) -> bool:
    return np.allclose(np.asarray(one, np.float64), np.asarray(other, np.float64), rtol=0, atol=TOLERANCE)


def _frames(case: Case) -> Iterator[str]:
    """Every frame names its source image, and lies where that image lies (PS3.3 C.7.6.16.2.6)."""
    images = {str(image.SOPInstanceUID): index for index, image in enumerate(case.source.datasets)}
    slices = {(frame.dataset, frame.frame): index for index, frame in enumerate(case.source.frames)}
    for number, groups in enumerate(items(case.dataset, "PerFrameFunctionalGroupsSequence"), 1):
        reference = _source_reference(groups)
        if reference is None:
            yield f"frame {number} does not name its one source image"
            continue
        image_index = images.get(str(reference.ReferencedSOPInstanceUID))
        if image_index is None:
            yield f"frame {number} names an image that is not of the source series"
            continue
        image = case.source.datasets[image_index]
        if reference.ReferencedSOPClassUID != image.SOPClassUID:
            yield f"frame {number} names its source image with another SOP class"
        yield from _placed(case, groups, number, slices.get((image_index, _frame_number(reference, image))))


def _source_reference(groups: Dataset) -> Dataset | None:
    """Return the item that names a frame's source image, if there is exactly one."""
    derivations = items(groups, "DerivationImageSequence")
    references = [item for each in derivations for item in items(each, "SourceImageSequence")]
    return references[0] if len(references) == 1 else None


def _frame_number(reference: Dataset, image: Dataset) -> int:
    """Return the referenced frame; 0, which no frame has, where a needed frame number is absent."""
    return int(reference.get("ReferencedFrameNumber") or 0) if is_multiframe(image) else 1


def _placed(case: Case, groups: Dataset, number: int, index: int | None) -> Iterator[str]:
    if index is None:
        yield f"frame {number} names no frame of the volume"
        return
    source_frame = case.source.frames[index]
    position = groups.PlanePositionSequence[0].ImagePositionPatient
    if not _near(position, position_of(case.source.datasets[source_frame.dataset], source_frame.frame).value):
        yield f"frame {number} does not lie on its source image"
    affine = case.source.volume.affine
    off = np.linalg.norm(np.asarray(position, np.float64) - (affine[:3, 3] + index * affine[:3, 0]))
    if off > max(TOLERANCE, _GRID_SHARE * float(np.linalg.norm(affine[:3, 0]))):
        yield f"frame {number} does not lie on slice {index + 1} of the volume which was analysed"


def _segments(case: Case) -> Iterator[str]:
    """PS3.3 C.8.20.2: numbered 1 to N; each with a label, a colour and at least one frame."""
    segments = items(case.dataset, "SegmentSequence")
    numbers = [int(item.SegmentNumber) for item in segments]
    if numbers != list(range(1, len(numbers) + 1)) or not numbers:
        yield f"segments are numbered {numbers}, not 1 to {len(numbers)}"
    for number, item in enumerate(segments, 1):
        if not str(item.get("SegmentLabel") or "").strip():
            yield f"segment {number} has no label"
        if len(items(item, "RecommendedDisplayCIELabValue")) != _LAB_VALUES:
            yield f"segment {number} has no colour"
    drawn = {
        int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        for groups in items(case.dataset, "PerFrameFunctionalGroupsSequence")
    }
    if drawn != set(numbers):
        yield f"frames show segments {sorted(drawn)}, but {numbers} are described"


SEGMENTATION_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "pixels": _pixels,
    "frame of reference": _frame_of_reference,
    "referenced series": _referenced_series,
    "grid": _grid,
    "frames": _frames,
    "segments": _segments,
}
