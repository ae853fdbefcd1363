"""What the gate looks at in a Segmentation: a mask on the wrong slice or grid is a wrong result."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from dicom_node.results.gate_case import Case, Check, items, other_than, same_place
from dicom_node.results.gate_frames import FrameGroups, frame_groups
from dicom_node.results.source_images import is_multiframe, plane_of, position_of, source_of

#: mm for positions and spacing, and for the direction cosines (viewers compare with the same).
TOLERANCE: Final = 1e-3
_LABEL_MAP_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.66.7"
_EITHER_FORM: Final = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}
_BIT_PLANES: Final[Mapping[str, object]] = {
    "SOPClassUID": SegmentationStorage,
    "SegmentationType": "BINARY",
    "BitsAllocated": 1,
    "BitsStored": 1,
    "HighBit": 0,
    **_EITHER_FORM,
}
_LABEL_MAP: Final[Mapping[str, object]] = {
    "SOPClassUID": _LABEL_MAP_STORAGE,
    "SegmentationType": "LABELMAP",
    "SegmentsOverlap": "NO",
    "PixelPaddingValue": 0,
    **_EITHER_FORM,
}
#: Bits Allocated to the type of the pixels of a label map.
_LABELS: Final[Mapping[int, np.dtype[Any]]] = {8: np.dtype("u1"), 16: np.dtype("<u2")}
#: A frame may lie this share of the slice spacing off the regular grid of the volume, as the source may.
_GRID_SHARE: Final = 0.25
_LAB_VALUES: Final = 3
#: (125040, DCM, "Background")
_BACKGROUND: Final = "125040"


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.8.20.2: the form that every viewer draws, or a label map that says everything a reader of one needs."""
    wanted = _LABEL_MAP if is_label_map(case.dataset) else _BIT_PLANES
    yield from other_than(case.dataset, wanted)
    if is_label_map(case.dataset):
        bits = case.dataset.get("BitsAllocated")
        if bits not in _LABELS or (case.dataset.get("BitsStored"), case.dataset.get("HighBit")) != (bits, bits - 1):
            yield "the pixels of the label map are not whole bytes or words"


def is_label_map(dataset: Dataset) -> bool:
    """Return True for a Label Map Segmentation: what it is, is said by its SOP class."""
    return bool(dataset.SOPClassUID == _LABEL_MAP_STORAGE)


def _pixels(case: Case) -> Iterator[str]:
    dataset = case.dataset
    frames = sum(1 for _ in frame_groups(dataset))
    if dataset.NumberOfFrames != frames or not frames:
        yield f"NumberOfFrames is {dataset.NumberOfFrames}, functional groups describe {frames}"
    octets = math.ceil(int(dataset.NumberOfFrames) * dataset.Rows * dataset.Columns * int(dataset.BitsAllocated) / 8)
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
    """Every frame names its source image, lies where that image lies (PS3.3 C.7.6.16.2.6), and is there once."""
    places = _Places(case)
    shown: set[tuple[int | None, int | None]] = set()
    for number, groups in enumerate(frame_groups(case.dataset), 1):
        index, faults = places.of(groups)
        yield from (f"frame {number} {fault}" for fault in faults)
        content = index, segment_number(groups)
        if index is not None and content in shown:
            yield f"frame {number} shows what another frame shows"
        shown.add(content)


def slices_shown(case: Case) -> Iterator[int | None]:
    """Yield for each frame the slice of the volume that it says it lies on, None where it says so of none."""
    places = _Places(case)
    return (places.of(groups)[0] for groups in frame_groups(case.dataset))


#: Slice of the volume, if it is one, and what is wrong.
_Place = tuple[int | None, tuple[str, ...]]


class _Places:
    """Where frames may lie: on the images of the source, and on the slices of the volume."""

    def __init__(self, case: Case) -> None:
        self._source = case.source
        self._images = {str(image.SOPInstanceUID): index for index, image in enumerate(case.source.datasets)}
        self._slices = {(frame.dataset, frame.frame): index for index, frame in enumerate(case.source.frames)}
        self._known: dict[tuple[int, int], _Place] = {}

    def of(self, groups: FrameGroups) -> _Place:
        """Return where a frame lies; that of equal frames is looked for once."""
        key = id(groups.derivation), id(groups.position)
        if key not in self._known:
            self._known[key] = self._looked_for(groups)
        return self._known[key]

    def _looked_for(self, groups: FrameGroups) -> _Place:
        reference = _source_reference(groups)
        if reference is None:
            return None, ("does not name its one source image",)
        image_index = self._images.get(str(reference.ReferencedSOPInstanceUID))
        if image_index is None:
            return None, ("names an image that is not of the source series",)
        image = self._source.datasets[image_index]
        faults = []
        if reference.ReferencedSOPClassUID != image.SOPClassUID:
            faults.append("names its source image with another SOP class")
        index = self._slices.get((image_index, _frame_number(reference, image)))
        if index is None:
            return None, (*faults, "names no frame of the volume")
        return index, (*faults, *self._misplaced(groups.position[0].ImagePositionPatient, index))

    def _misplaced(self, position: ArrayLike, index: int) -> Iterator[str]:
        frame = self._source.frames[index]
        if not _near(position, position_of(self._source.datasets[frame.dataset], frame.frame).value):
            yield "does not lie on its source image"
        affine = self._source.volume.affine
        off = np.linalg.norm(np.asarray(position, np.float64) - (affine[:3, 3] + index * affine[:3, 0]))
        if off > max(TOLERANCE, _GRID_SHARE * float(np.linalg.norm(affine[:3, 0]))):
            yield f"does not lie on slice {index + 1} of the volume which was analysed"


def _source_reference(groups: FrameGroups) -> Dataset | None:
    """Return the item that names a frame's source image, if there is exactly one."""
    references = [item for each in groups.derivation for item in items(each, "SourceImageSequence")]
    return references[0] if len(references) == 1 else None


def _frame_number(reference: Dataset, image: Dataset) -> int:
    """Return the referenced frame; 0, which no frame has, where a needed frame number is absent."""
    return int(reference.get("ReferencedFrameNumber") or 0) if is_multiframe(image) else 1


def segment_number(groups: FrameGroups) -> int | None:
    """Return the segment that a frame shows; None in a label map, whose frames show all."""
    return int(groups.segment[0].ReferencedSegmentNumber) if groups.segment else None


def _segments(case: Case) -> Iterator[str]:
    """PS3.3 C.8.20.2: numbered 1 to N; each with a label, a colour and at least one frame or pixel.

    A label map has a background beside them, whose number is 0.
    """
    segments = items(case.dataset, "SegmentSequence")
    numbers = [int(item.SegmentNumber) for item in segments]
    first = 0 if is_label_map(case.dataset) else 1
    if numbers != list(range(first, first + len(numbers))) or not any(numbers):
        yield f"segments are numbered {numbers}, not {first} to {first + len(numbers) - 1}"
    for number, item in zip(numbers, segments, strict=True):
        if not str(item.get("SegmentLabel") or "").strip():
            yield f"segment {number} has no label"
        if len(items(item, "RecommendedDisplayCIELabValue")) != _LAB_VALUES:
            yield f"segment {number} has no colour"
    if is_label_map(case.dataset) and segments[0].SegmentedPropertyTypeCodeSequence[0].CodeValue != _BACKGROUND:
        yield "segment 0 is not the background"
    named = {segment_number(groups) for groups in frame_groups(case.dataset)}
    if is_label_map(case.dataset):
        if named != {None}:
            yield "frames of a label map name a segment"
        named = _values(case.dataset) | {0}
    if named != set(numbers):
        yield f"frames show segments {sorted(named, key=str)}, but {numbers} are described"


def _values(dataset: Dataset) -> set[int | None]:
    """Return every value that a pixel of a label map has."""
    return set[int | None]().union(*labels_of_frames(dataset))


def labels_of_frames(dataset: Dataset) -> list[set[int]]:
    """Return, for each frame of a label map, every value that a pixel of it has."""
    kind = _LABELS[int(dataset.BitsAllocated)]
    frames = np.array_split(np.frombuffer(dataset.PixelData, kind), int(dataset.NumberOfFrames))
    return [set(np.flatnonzero(np.bincount(frame)).tolist()) for frame in frames]


def _overlap(case: Case) -> Iterator[str]:
    """PS3.3 C.8.20.2: whoever reads "NO" may lay all segments into one volume, and loses the voxels of two."""
    dataset = case.dataset
    if dataset.get("SegmentsOverlap") != "NO" or is_label_map(dataset):
        return
    covered: dict[str, NDArray[np.uint8]] = {}
    for frame, groups in zip(bit_planes(dataset), frame_groups(dataset), strict=True):
        place = repr(groups.position[0].ImagePositionPatient)
        if place not in covered:
            covered[place] = frame.copy()
            continue
        if (covered[place] & frame).any():
            yield "SegmentsOverlap is NO, but a voxel is in two segments"
            return
        covered[place] |= frame


def bit_planes(dataset: Dataset) -> NDArray[np.uint8]:
    """Return the frames, a row each: eight voxels in a byte, or one where frames do not begin with a byte."""
    count, voxels = int(dataset.NumberOfFrames), int(dataset.Rows) * int(dataset.Columns)
    bits = np.frombuffer(dataset.PixelData, np.uint8)
    if voxels % 8:
        return np.unpackbits(bits, count=count * voxels, bitorder="little").reshape(count, voxels)
    return bits[: count * voxels // 8].reshape(count, -1)


SEGMENTATION_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "pixels": _pixels,
    "frame of reference": _frame_of_reference,
    "place": same_place,
    "referenced series": _referenced_series,
    "grid": _grid,
    "frames": _frames,
    "segments": _segments,
    "overlap": _overlap,
}
