"""Where the planes of a source series lie, in the words of its own attributes (classic and Enhanced)."""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from pydicom import DataElement, Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import DS

from dicom_node.geometry import SourceSeries

_DS_LENGTH: Final = 16
_REFERENCED_SOP_CLASS_UID: Final = BaseTag(0x00081150)
_REFERENCED_SOP_INSTANCE_UID: Final = BaseTag(0x00081155)


@dataclass(frozen=True, slots=True)
class Plane:
    """One source image plane (PS3.3 C.7.6.2, C.7.6.16.2.3, C.7.6.16.2.4), its elements as the source has them.

    Parameters
    ----------
    position, orientation, spacing : DataElement
        Image Position (Patient), Image Orientation (Patient), Pixel Spacing; mm, LPS.
    thickness : DataElement or None
        Slice Thickness in mm, where the source has a value.
    """

    position: DataElement
    orientation: DataElement
    spacing: DataElement
    thickness: DataElement | None


def plane_of(dataset: Dataset, frame: int) -> Plane:
    """Return the plane of one frame (from 1) of a source data set.

    Raises
    ------
    KeyError
        If the data set says nowhere where the frame lies.
    """
    thickness = _find(dataset, frame, "PixelMeasuresSequence", "SliceThickness")
    return Plane(
        position_of(dataset, frame),
        _need(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient"),
        _need(dataset, frame, "PixelMeasuresSequence", "PixelSpacing"),
        thickness if thickness is not None and thickness.value else None,
    )


def position_of(dataset: Dataset, frame: int) -> DataElement:
    """Return Image Position (Patient) of one frame (from 1); mm, LPS, the centre of its first pixel.

    Raises
    ------
    KeyError
        If the data set says nowhere where the frame lies.
    """
    return _need(dataset, frame, "PlanePositionSequence", "ImagePositionPatient")


def frame_numbers(dataset: Dataset, frame: int, group: str, keyword: str) -> tuple[float, ...]:
    """Return the values of an attribute of one frame (from 1): its functional group's, or the root's; none if absent.

    Parameters
    ----------
    group : str
        Keyword of the functional group sequence that holds the attribute in an Enhanced image.
    """
    for holder in _holders(dataset, frame, group):
        value = holder.get(keyword)
        if value is not None and value != "":
            return tuple(float(each) for each in (value if isinstance(value, MultiValue) else (value,)))
    return ()


def _need(dataset: Dataset, frame: int, group: str, keyword: str) -> DataElement:
    element = _find(dataset, frame, group, keyword)
    if element is None:
        raise KeyError(keyword)
    return element


def _find(dataset: Dataset, frame: int, group: str, keyword: str) -> DataElement | None:
    for holder in _holders(dataset, frame, group):
        if keyword in holder:
            return _valid(holder[keyword])
    return None


def _valid(element: DataElement) -> DataElement:
    """Return a copy, character by character; only numbers too long for VR DS (PS3.5 6.2) are cut, at 1e-10 mm."""
    values = element.value if element.VM > 1 else [element.value]
    if all(len(str(value)) <= _DS_LENGTH for value in values):
        return deepcopy(element)
    fitting = [DS(float(value), auto_format=True) for value in values]
    return DataElement(element.tag, "DS", fitting if element.VM > 1 else fitting[0])


def _holders(dataset: Dataset, frame: int, group: str) -> Iterator[Dataset]:
    """Return the data sets that may describe a frame: its own functional groups, the shared ones, the root."""
    if is_multiframe(dataset):
        per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
        shared = dataset.get("SharedFunctionalGroupsSequence") or []
        for groups in (*per_frame[frame - 1 : frame], *shared[:1]):
            yield from groups.get(group) or []
    yield dataset


def is_multiframe(dataset: Dataset) -> bool:
    """Return True if references to the data set need a frame number."""
    return "PerFrameFunctionalGroupsSequence" in dataset or int(dataset.get("NumberOfFrames") or 1) > 1


def image_reference(dataset: Dataset, frame: int | list[int] | None = None) -> Dataset:
    """Return an Image SOP Instance Reference item (PS3.3 Table 10-3), with frame numbers where they are needed."""
    item = Dataset()
    # hundreds of these are made for a study: values that come from an image need no second validation
    for tag, value in (
        (_REFERENCED_SOP_CLASS_UID, dataset.SOPClassUID),
        (_REFERENCED_SOP_INSTANCE_UID, dataset.SOPInstanceUID),
    ):
        item.add(DataElement(tag, "UI", value, already_converted=True))
    if frame is not None and is_multiframe(dataset):
        item.ReferencedFrameNumber = frame
    return item


def series_reference(datasets: Iterable[Dataset], instances: str) -> Dataset:
    """Return a series item: its UID, and a sequence (keyword `instances`) that names every one of its data sets."""
    items = list(datasets)
    item = Dataset()
    item.SeriesInstanceUID = items[0].SeriesInstanceUID
    setattr(item, instances, [image_reference(dataset) for dataset in items])
    return item


def source_of(source: SourceSeries, slice_index: int) -> tuple[Dataset, int]:
    """Return the data set and the frame number (from 1) that a slice of the volume came from."""
    frame = source.frames[slice_index]
    return source.datasets[frame.dataset], frame.frame
