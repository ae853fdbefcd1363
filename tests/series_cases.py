"""Synthetic MR series, classic and Enhanced, that lie anywhere in space, for the tests of `dicom_node.geometry`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_node.entities import derived_uid

Floats = NDArray[np.float64]


def decimal_strings(values: Sequence[float] | Floats) -> list[str]:
    """Return numbers as scanners write them: at most 16 characters (PS3.5 6.2, VR DS)."""
    return [format_number_as_ds(float(value)) for value in values]


@dataclass(frozen=True)
class Stack:
    """A stack of slices: where it lies, and its stored values.

    Parameters
    ----------
    stored : uint16, (slice, row, column)
    rotation : float64, 3 x 3
        Columns: direction along a row, along a column, from slice to slice; right-handed, LPS.
    """

    stored: NDArray[np.uint16]
    rotation: Floats
    origin: Floats
    spacing: tuple[float, float, float] = (2.0, 1.5, 1.25)

    @classmethod
    def of(cls, slices: int = 5, rows: int = 4, columns: int = 3, **changes: object) -> Self:
        """Return an axial stack, each voxel with its own stored value."""
        stored = np.arange(slices * rows * columns, dtype=np.uint16).reshape(slices, rows, columns)
        return replace(cls(stored, np.eye(3), np.array([-10.0, -20.0, 30.0])), **changes)

    def position(self, index: float) -> Floats:
        """Return Image Position (Patient) of a slice."""
        place: Floats = self.origin + index * self.spacing[0] * self.rotation[:, 2]
        return place

    def orientation(self) -> list[str]:
        """Return Image Orientation (Patient)."""
        return decimal_strings([*self.rotation[:, 0], *self.rotation[:, 1]])


def reread(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """Return a data set as it is after being stored and read: values undecoded."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return dcmread(BytesIO(buffer.getvalue()))


def _image(stack: Stack, name: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPInstanceUID = derived_uid(name)
    dataset.SeriesInstanceUID = derived_uid("series")
    dataset.FrameOfReferenceUID = derived_uid("frame of reference")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    _, dataset.Rows, dataset.Columns = stack.stored.shape
    return dataset


def classic(stack: Stack) -> list[Dataset]:
    """Return one single-frame data set per slice, not yet stored, so that a test may still spoil it."""
    return [_classic(stack, index) for index in range(len(stack.stored))]


def _classic(stack: Stack, index: int) -> Dataset:
    dataset = _image(stack, f"image {index}")
    dataset.SOPClassUID = MRImageStorage
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = decimal_strings(stack.position(index))
    dataset.ImageOrientationPatient = stack.orientation()
    dataset.PixelSpacing = decimal_strings(stack.spacing[1:])
    dataset.EchoTime = "2.41"
    dataset.PixelData = stack.stored[index].tobytes()
    return dataset


def enhanced(stack: Stack, order: Sequence[int]) -> Dataset:
    """Return one multi-frame data set, not yet stored, whose frames lie in the file in the order given."""
    dataset = _image(stack, "enhanced")
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(order)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=decimal_strings(stack.spacing[1:]))]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=stack.orientation())]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame(stack, index) for index in order]
    dataset.PixelData = stack.stored[list(order)].tobytes()
    return dataset


def _item(**values: object) -> Dataset:
    item = Dataset()
    item.update(values)
    return item


def _frame(stack: Stack, index: int) -> Dataset:
    frame = Dataset()
    frame.PlanePositionSequence = [_item(ImagePositionPatient=decimal_strings(stack.position(index)))]
    frame.FrameContentSequence = [_item(StackID="1", TemporalPositionIndex=1)]
    frame.MREchoSequence = [_item(EffectiveEchoTime=2.41)]
    frame.PixelValueTransformationSequence = [_item(RescaleSlope=str(index + 1), RescaleIntercept="-3")]
    return frame
