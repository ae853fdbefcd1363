"""Where each picture of a series lies, and what it shows: read from classic and Enhanced headers alike."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dicom_node.errors import GeometryUnusable
from dicom_node.geometry.attributes import number, numbers, tag_of, text
from dicom_node.geometry.traits import TRAITS, Trait

#: A row and column direction that is off by more is not rounding but a wrong header (cosines, no unit).
COSINE_TOLERANCE: Final = 1e-3


_CLASSIC_TRAITS: Final = tuple(tag_of(trait.classic) if trait.classic else None for trait in TRAITS)
_IMAGE_TYPE: Final = tag_of("ImageType")
_INSTANCE_NUMBER: Final = tag_of("InstanceNumber")
_POSITION: Final = tag_of("ImagePositionPatient")
_ORIENTATION: Final = tag_of("ImageOrientationPatient")
_SPACING: Final = tag_of("PixelSpacing")
_SLOPE: Final = tag_of("RescaleSlope")
_INTERCEPT: Final = tag_of("RescaleIntercept")

_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_WHOLE_BYTES: Final = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class Slice:
    """One picture of the series.

    Parameters
    ----------
    dataset : int
        Index of its data set, in the order given.
    frame : int
        Frame number, from 1.
    name : str
        How a person finds it: "image 12" (Instance Number) or "frame 12".
    position : (float, float, float)
        Image Position (Patient), centre of the first voxel, LPS mm (PS3.3 C.7.6.2.1.1).
    orientation : tuple of 6 float
        Image Orientation (Patient): cosines of the row, then of the column.
    spacing : (float, float)
        Pixel Spacing: between rows, between columns, mm.
    slope, intercept : float
        Stored value to modality units.
    traits : tuple of str
        One text per `TRAITS`, empty where the header is silent.
    """

    dataset: int
    frame: int
    name: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    rows: int
    columns: int
    slope: float
    intercept: float
    traits: tuple[str, ...]

    def place(self) -> str:
        """Return where the slice is, as scanner consoles write it: "R94.4 (image 4)"."""
        row, column = self.orientation[:3], self.orientation[3:]
        normal = [row[i - 2] * column[i - 1] - row[i - 1] * column[i - 2] for i in range(3)]
        axis = max(range(3), key=lambda i: abs(normal[i]))
        value = self.position[axis]
        letter = ("LPH" if value >= 0 else "RAF")[axis]
        return f"{letter}{abs(value):.1f} ({self.name})"


def slices_of(datasets: Sequence[Dataset]) -> list[Slice]:
    """Return every picture of a series, in the order given.

    Raises
    ------
    GeometryUnusable
        If an object is no greyscale image, is a mosaic, or does not say where its pictures lie.
    """
    _require_images(datasets)
    _require_one_source(datasets)
    return [part for index, dataset in enumerate(datasets) for part in _parts(dataset, index)]


def _require_images(datasets: Sequence[Dataset]) -> None:
    others = [dataset for dataset in datasets if "PixelData" not in dataset or "Rows" not in dataset]
    if others:
        kinds = ", ".join(sorted({_kind(dataset) for dataset in others}))
        raise GeometryUnusable(
            f"{len(others)} of {len(datasets)} objects in the series are not images ({kinds}); "
            "send the image series alone"
        )
    for dataset in datasets:
        _require_grey(dataset)


def _kind(dataset: Dataset) -> str:
    uid = dataset.get("SOPClassUID")
    return UID(uid).name if uid else "unknown object"


def _require_grey(dataset: Dataset) -> None:
    samples, colour = dataset.get("SamplesPerPixel", 1), dataset.get("PhotometricInterpretation", _GREY[1])
    if samples != 1 or colour not in _GREY or dataset.get("BitsAllocated") not in _WHOLE_BYTES:
        raise GeometryUnusable(
            f"the images are not plain greyscale ({colour}, {samples} samples per pixel, "
            f"{dataset.get('BitsAllocated')} bits); send the original series, not a colour map or a screen capture"
        )


def _require_one_source(datasets: Sequence[Dataset]) -> None:
    for keyword, words in (("SeriesInstanceUID", "series"), ("FrameOfReferenceUID", "frames of reference")):
        count = len({dataset.get(keyword) for dataset in datasets})
        if count > 1:
            raise GeometryUnusable(f"the images belong to {count} different {words}; send one series at a time")
    if not datasets[0].get("FrameOfReferenceUID"):
        raise GeometryUnusable(
            "the images name no frame of reference (Frame of Reference UID is missing), so a result could not be "
            "laid over them safely; send the original images from the scanner"
        )
    multiframe = sum(is_multiframe(dataset) for dataset in datasets)
    if multiframe and len(datasets) > 1:
        raise GeometryUnusable(
            f"the series holds {multiframe} multi-frame objects among {len(datasets)}; send one multi-frame object, "
            "or one series of single images"
        )


def is_multiframe(dataset: Dataset) -> bool:
    """Return True for an Enhanced image: its geometry stands in functional groups (PS3.3 C.7.6.16)."""
    return "PerFrameFunctionalGroupsSequence" in dataset or "SharedFunctionalGroupsSequence" in dataset


def _parts(dataset: Dataset, index: int) -> Iterator[Slice]:
    if is_multiframe(dataset):
        yield from _enhanced(dataset, index)
    elif int(dataset.get("NumberOfFrames") or 1) > 1:
        raise GeometryUnusable(
            "the multi-frame object does not say where each frame lies; send an Enhanced MR series or single images"
        )
    else:
        yield _classic(dataset, index)


def _classic(dataset: Dataset, index: int) -> Slice:
    image_type = text(dataset, _IMAGE_TYPE)
    name = f"image {text(dataset, _INSTANCE_NUMBER) or index + 1}"
    if "MOSAIC" in image_type:
        raise GeometryUnusable(f"{name} is a mosaic of many slices; send the series as single slices or Enhanced MR")
    return Slice(
        dataset=index,
        frame=1,
        name=name,
        position=_vector(dataset, _POSITION, 3, name),
        orientation=_orientation(dataset, name),
        spacing=_vector(dataset, _SPACING, 2, name),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        slope=number(dataset, _SLOPE, 1.0),
        intercept=number(dataset, _INTERCEPT, 0.0),
        traits=tuple(text(dataset, tag) if tag else "" for tag in _CLASSIC_TRAITS),
    )


def _enhanced(dataset: Dataset, index: int) -> Iterator[Slice]:
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    frames = int(dataset.get("NumberOfFrames") or 1)
    if len(per_frame) != frames:
        raise GeometryUnusable(
            f"the multi-frame object holds {frames} frames but describes {len(per_frame)}; send the series again"
        )
    for position, own in enumerate(per_frame, start=1):
        yield _frame(dataset, index, position, (own, shared[0]))


def _frame(dataset: Dataset, index: int, frame: int, groups: tuple[Dataset, Dataset]) -> Slice:
    name = f"frame {frame}"
    values = _group(groups, "PixelValueTransformationSequence")
    return Slice(
        dataset=index,
        frame=frame,
        name=name,
        position=_vector(_group(groups, "PlanePositionSequence"), _POSITION, 3, name),
        orientation=_orientation(_group(groups, "PlaneOrientationSequence"), name),
        spacing=_vector(_group(groups, "PixelMeasuresSequence"), _SPACING, 2, name),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        slope=number(values, _SLOPE, 1.0),
        intercept=number(values, _INTERCEPT, 0.0),
        traits=tuple(_enhanced_trait(groups, trait) for trait in TRAITS),
    )


def _group(groups: tuple[Dataset, Dataset], keyword: str) -> Dataset:
    """Return the item of a functional group: the frame's own, else the shared one, else an empty one."""
    for group in groups:
        items = group.get(keyword)
        if items:
            item: Dataset = items[0]
            return item
    return Dataset()


def _enhanced_trait(groups: tuple[Dataset, Dataset], trait: Trait) -> str:
    group, keyword = trait.enhanced
    return str(_group(groups, group).get(keyword, "")) if group else ""


def _vector(dataset: Dataset, tag: BaseTag, length: int, name: str) -> tuple[float, ...]:
    values = numbers(dataset, tag)
    if len(values) != length or not all(map(math.isfinite, values)):
        words = {_POSITION: "position", _ORIENTATION: "orientation", _SPACING: "pixel spacing"}[tag]
        raise GeometryUnusable(f"{name} does not state its {words}; send the original images from the scanner")
    if tag == _SPACING and min(values) <= 0:
        raise GeometryUnusable(f"{name} states a pixel spacing of zero; send the original images from the scanner")
    return values


def _orientation(dataset: Dataset, name: str) -> tuple[float, ...]:
    """Return the six cosines made exactly orthonormal, so that rounding in the header does not skew the volume."""
    values = _vector(dataset, _ORIENTATION, 6, name)
    row, column = values[:3], values[3:]
    skew = abs(sum(a * b for a, b in zip(row, column, strict=True)))
    lengths = [abs(math.hypot(*part) - 1) for part in (row, column)]
    if max(skew, *lengths) > COSINE_TOLERANCE:
        raise GeometryUnusable(
            f"the orientation of {name} is not that of a rectangular picture; "
            "send the original images from the scanner"
        )
    return _orthonormal(row, column)


def _orthonormal(row: tuple[float, ...], column: tuple[float, ...]) -> tuple[float, ...]:
    row = tuple(value / math.hypot(*row) for value in row)
    overlap = sum(a * b for a, b in zip(row, column, strict=True))
    column = tuple(b - overlap * a for a, b in zip(row, column, strict=True))
    return row + tuple(value / math.hypot(*column) for value in column)
