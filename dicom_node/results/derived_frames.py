"""What derived frames say of the source frames that they lie on: plane, position, source image, order."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import DS

from dicom_node.geometry import SourceSeries
from dicom_node.results.provenance import code_item, own_text
from dicom_node.results.source_images import image_reference, plane_of, position_of, source_of

SOURCE_IMAGE: Final = Code("121322", "DCM", "Source image for image processing operation")
_DERIVATION_CODES: Final = 0x00089215
_PURPOSE_CODES: Final = 0x0040A170
_POSITION: Final = 0x00200032
_POSITION_GROUP: Final = 0x00209113
_ST_LENGTH: Final = 1024


@dataclass(frozen=True, slots=True)
class Derivation:
    """How frames were made of their source frames (PS3.3 C.7.6.16.2.6), its coded elements made once per object.

    Parameters
    ----------
    code : Code
        CID 7203.
    description : str
        What was done, in words; may be empty.
    """

    code: Code
    description: str = ""
    _purpose: DataElement = field(init=False, repr=False)
    _derivation: DataElement = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the elements that all frames share."""
        object.__setattr__(self, "_purpose", DataElement(_PURPOSE_CODES, "SQ", [code_item(SOURCE_IMAGE)]))
        object.__setattr__(self, "_derivation", DataElement(_DERIVATION_CODES, "SQ", [code_item(self.code)]))

    def reference(self, image: Dataset, frame: int) -> Dataset:
        """Return the item that names a source image, and its frame (from 1) if it has several."""
        reference = image_reference(image, frame)
        reference.SpatialLocationsPreserved = "YES"
        reference.add(self._purpose)
        return reference

    def describe(self, holder: Dataset, dataset: Dataset) -> None:
        """Add Derivation Description and Code to an image or a frame of `dataset` (PS3.3 C.7.6.1.1.3)."""
        if self.description:
            holder.DerivationDescription = own_text(self.description, dataset)[:_ST_LENGTH]
        holder.add(self._derivation)

    def item(self, image: Dataset, frame: int, dataset: Dataset) -> Dataset:
        """Return a Derivation Image Sequence item: viewers place the frame by it."""
        item = Dataset()
        self.describe(item, dataset)
        item.SourceImageSequence = [self.reference(image, frame)]
        return item


def along_normal(source: SourceSeries) -> list[int]:
    """Return the slices (from 0) in the order in which they follow one another along row x column.

    dcmqi, and with it 3D Slicer, lays the frames of a Parametric Map out in the order of the file, whatever their
    positions say; in another order it shows them upside down.
    """
    orientation = np.array(plane_of(*source_of(source, 0)).orientation.value, np.float64)
    forward = np.cross(orientation[:3], orientation[3:]) @ source.volume.affine[:3, 0] > 0
    order = range(len(source.frames))
    return list(order if forward else reversed(order))


def frame_groups(source: SourceSeries, index: int, number: int, derivation: Derivation, dataset: Dataset) -> Dataset:
    """Return what the frame on one slice (from 0) has of its own (PS3.3 C.7.6.16.2.2, .3, .6).

    Positions are the source's own elements, character by character.

    Parameters
    ----------
    number : int
        Of the frame, from 1, in the order of the one dimension.
    """
    image, frame = source_of(source, index)
    groups, content, position = Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [number]
    position.add(position_of(image, frame))
    groups.FrameContentSequence = [content]
    groups.PlanePositionSequence = [position]
    groups.DerivationImageSequence = [derivation.item(image, frame, dataset)]
    return groups


def plane_groups(source: SourceSeries) -> Dataset:
    """Return Pixel Measures and Plane Orientation (PS3.3 C.7.6.16.2.1, C.7.6.16.2.4), one for all frames."""
    plane = plane_of(*source_of(source, 0))
    orientation, measures, groups = Dataset(), Dataset(), Dataset()
    orientation.add(plane.orientation)
    measures.add(plane.spacing)
    step = DS(float(source.volume.spacing[0]), auto_format=True)
    measures.SliceThickness = step if plane.thickness is None else plane.thickness.value
    measures.SpacingBetweenSlices = step
    groups.PixelMeasuresSequence = [measures]
    groups.PlaneOrientationSequence = [orientation]
    return groups


def add_dimension(dataset: Dataset, organization_uid: str) -> None:
    """Add Multi-frame Dimension (PS3.3 C.7.6.17): frames are told apart by their position alone."""
    organization, index = Dataset(), Dataset()
    organization.DimensionOrganizationUID = organization_uid
    index.DimensionOrganizationUID = organization_uid
    index.DimensionIndexPointer = _POSITION
    index.FunctionalGroupPointer = _POSITION_GROUP
    index.DimensionDescriptionLabel = "ImagePositionPatient"
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = [index]
