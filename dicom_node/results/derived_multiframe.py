"""The functional groups and pixels of a derived Enhanced image (PS3.3 C.7.6.16): its source's, frame by frame."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.tag import BaseTag
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage

from dicom_node.contract import DerivedImages
from dicom_node.geometry import SourceSeries
from dicom_node.results.derived_frames import Derivation, add_dimension
from dicom_node.results.display import add_window
from dicom_node.results.item_copies import item_copy
from dicom_node.results.pixel_encoding import Encoded, add_pixels
from dicom_node.results.source_images import image_reference

_FRAME_TYPES: Final[Mapping[str, str]] = {
    EnhancedMRImageStorage: "MRImageFrameTypeSequence",
    EnhancedCTImageStorage: "CTImageFrameTypeSequence",
}
#: What speaks of the source's own pixels, and is replaced or no longer true.
_OF_PIXELS: Final = (
    "DerivationImageSequence",
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "RealWorldValueMappingSequence",
)
_GONE: Final = frozenset(tag_for_keyword(keyword) for keyword in _OF_PIXELS)
#: Image Type value 3 where a source has none (PS3.3 C.8.16.1.3).
_FLAVOUR: Final = "VOLUME"


def add_frames(
    dataset: Dataset,
    source: SourceSeries,
    encoded: Encoded,
    window: tuple[float, float],
    each: DerivedImages,
    dimensions: str,
) -> None:
    """Add functional groups, references and pixels to a derived image that has everything else.

    Frames keep the order that they have in the source, so that its frame numbers, stacks and dimensions hold.

    Parameters
    ----------
    dimensions : str
        Dimension Organization UID, for a source whose dimensions do not hold without what stays behind.
    """
    (image,) = source.datasets
    order = sorted(range(len(source.frames)), key=lambda index: source.frames[index].frame)
    derivation = Derivation(each.derivation, each.description)
    own_character_sets = dataset.get("SpecificCharacterSet") == image.get("SpecificCharacterSet")
    dataset.ImageType = _derived(image.get("ImageType"))
    dataset.NumberOfFrames = len(order)
    dataset.ContentQualification = "RESEARCH"
    dataset.PresentationLUTShape = "IDENTITY" if dataset.PhotometricInterpretation == "MONOCHROME2" else "INVERSE"
    dataset.SourceImageEvidenceSequence = [_evidence(image)]
    (groups,) = image.get("SharedFunctionalGroupsSequence") or (Dataset(),)
    shared = _copied(groups, image, own_character_sets=own_character_sets)
    _add_display(shared, image, encoded, window)
    dataset.SharedFunctionalGroupsSequence = [shared]
    per_frame = []
    for index in order:
        number = source.frames[index].frame
        groups = _copied(
            image.PerFrameFunctionalGroupsSequence[number - 1], image, own_character_sets=own_character_sets
        )
        groups.DerivationImageSequence = [derivation.item(image, number, dataset)]
        per_frame.append(groups)
    dataset.PerFrameFunctionalGroupsSequence = per_frame
    if not _dimensions_hold(dataset):
        add_dimension(dataset, dimensions)
        _renumber(per_frame)
    add_pixels(dataset, encoded.pixels[order])


def _dimensions_hold(dataset: Dataset) -> bool:
    """Return True if every dimension points to something that is still there (PS3.3 C.7.6.17)."""
    pointers = [
        BaseTag(item[keyword].value)
        for item in dataset.get("DimensionIndexSequence") or ()
        for keyword in ("DimensionIndexPointer", "FunctionalGroupPointer")
        if keyword in item
    ]
    return bool(pointers) and not any(pointer.is_private or pointer in _GONE for pointer in pointers)


def _renumber(per_frame: Sequence[Dataset]) -> None:
    """Number the frames along the one dimension that there is now: their position, in their order."""
    for number, groups in enumerate(per_frame, 1):
        if not groups.get("FrameContentSequence"):
            groups.FrameContentSequence = [Dataset()]
        groups.FrameContentSequence[0].DimensionIndexValues = [number]


def _copied(groups: Dataset, image: Dataset, *, own_character_sets: bool) -> Dataset:
    """Return functional groups without what speaks of the source's pixels, and derived where a frame type is told."""
    copy = item_copy(groups, private=False, own_character_sets=own_character_sets)
    for keyword in _OF_PIXELS:
        if keyword in copy:
            delattr(copy, keyword)
    for item in copy.get(_FRAME_TYPES[str(image.SOPClassUID)]) or ():
        item.FrameType = _derived(item.get("FrameType"))
    return copy


def _derived(image_type: Sequence[str] | None) -> list[str]:
    """Return Image Type or Frame Type of a derived Enhanced image (PS3.3 C.8.16.1); value 2 of both is PRIMARY."""
    values = [str(value) for value in image_type or ()]
    return ["DERIVED", "PRIMARY", *(values[2:3] or [_FLAVOUR]), "NONE"]


def _add_display(shared: Dataset, image: Dataset, encoded: Encoded, window: tuple[float, float]) -> None:
    """Add Pixel Value Transformation and Frame VOI LUT (PS3.3 C.7.6.16.2.9, .10), one for all frames."""
    transformation, display = Dataset(), Dataset()
    transformation.RescaleIntercept, transformation.RescaleSlope = encoded.intercept, encoded.slope
    transformation.RescaleType = "HU" if image.SOPClassUID == EnhancedCTImageStorage else "US"
    add_window(display, window)
    shared.PixelValueTransformationSequence = [transformation]
    shared.FrameVOILUTSequence = [display]


def _evidence(image: Dataset) -> Dataset:
    """Return the one Source Image Evidence Sequence item (PS3.3 Table C.17-3)."""
    study, series = Dataset(), Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ReferencedSOPSequence = [image_reference(image)]
    study.StudyInstanceUID = image.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    return study
