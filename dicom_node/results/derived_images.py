"""New images made of a series, as a series of the same SOP class: one image per slice, or one multi-frame image.

They lie where their source lies, by its own elements, and say that they are derived, of what and how (PS3.3
C.7.6.1.1.2, C.7.6.1.1.3, C.7.6.1.1.4).
"""

from typing import Final

from pydicom import Dataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, EnhancedMRImageStorage, MRImageStorage

from dicom_node.contract import DerivedImages
from dicom_node.errors import WrongObject
from dicom_node.results.derived_frames import Derivation
from dicom_node.results.derived_multiframe import add_frames
from dicom_node.results.display import add_window, centred, image_range
from dicom_node.results.image_attributes import KEPT
from dicom_node.results.item_copies import element_copy
from dicom_node.results.objects import BuiltObject, Making
from dicom_node.results.pixel_encoding import Encoded, add_pixels, encode_pixels
from dicom_node.results.provenance import (
    copy_compression,
    new_object,
    own_text,
    series_description,
    series_number,
)
from dicom_node.results.source_images import plane_of, source_of
from dicom_node.settings import ResultKind

_KIND: Final = ResultKind.IMAGES
_ENHANCED: Final = (EnhancedMRImageStorage, EnhancedCTImageStorage)
#: Of Image Type value 3; MR has a term for what is no raw image, CT has none (C.8.3.1.1.1, C.8.2.1.1.1).
_MR_FLAVOUR: Final = "OTHER"
_CT_FLAVOURS: Final = ("AXIAL", "LOCALIZER")


def build_images(making: Making) -> tuple[BuiltObject, ...]:
    """Return every derived series, image by image.

    Raises
    ------
    WrongObject
        If the source is of a SOP class of which no derived images are made.
    """
    if not making.findings.images:
        return ()
    sop_class = str(making.source.datasets[0].SOPClassUID)
    if sop_class not in KEPT:
        known = ", ".join(UID(uid).name for uid in KEPT)
        raise WrongObject(f"derived images are made of {known}, not of {UID(sop_class).name}")
    build = _multiframe if sop_class in _ENHANCED else _single_frames
    return tuple(
        built for series, each in enumerate(making.findings.images, 1) for built in build(making, each, series)
    )


def _single_frames(making: Making, each: DerivedImages, series: int) -> tuple[BuiltObject, ...]:
    """Return one image for each slice."""
    is_mr = making.source.datasets[0].SOPClassUID == MRImageStorage
    encoded, window = encode_pixels(each.values, unscaled=is_mr), _window(each)
    derivation = Derivation(each.derivation, each.description)
    built = []
    for index in range(len(each.values)):
        image, frame = source_of(making.source, index)
        dataset = _new(making, each, series, image, index + 1)
        dataset.ImageType = ["DERIVED", "SECONDARY", _flavour(image)]
        plane = plane_of(image, frame)
        for element in (plane.position, plane.orientation, plane.spacing):
            dataset.add(element)
        derivation.describe(dataset, dataset)
        dataset.SourceImageSequence = [derivation.reference(image, frame)]
        _add_scale(dataset, encoded)
        add_window(dataset, window)
        add_pixels(dataset, encoded.pixels[index])
        built.append(BuiltObject(_KIND, dataset, series))
    return tuple(built)


def _multiframe(making: Making, each: DerivedImages, series: int) -> tuple[BuiltObject, ...]:
    """Return one multi-frame image, its frames in the order of the source's."""
    image = making.source.datasets[0]
    dataset = _new(making, each, series, image, 1)
    dimensions = making.run.key.uid(f"img{series}.dimensions")
    add_frames(dataset, making.source, encode_pixels(each.values), _window(each), each, dimensions)
    return (BuiltObject(_KIND, dataset, series),)


def _window(each: DerivedImages) -> tuple[float, float]:
    return each.window or centred(image_range(each.values))


def _new(making: Making, each: DerivedImages, series: int, image: Dataset, instance: int) -> Dataset:
    """Return an image without its pixels: patient, study, equipment, and what it keeps of its source image."""
    run, algorithm = making.run, making.findings.algorithm
    # the study is that of the whole series, whatever one of its images may say
    first = making.source.datasets[0]
    dataset = new_object(_KIND, str(image.SOPClassUID), first, run, algorithm, series=series, instance=instance)
    dataset.SeriesNumber = series_number(_KIND, run, making.taken, series)
    dataset.SeriesDescription = series_description(_KIND, run, algorithm, dataset, each.label)
    own_character_sets = run.profile.character_set == "source"
    for keyword in KEPT[str(image.SOPClassUID)]:
        if keyword in image:
            dataset.add(element_copy(image[keyword], private=False, own_character_sets=own_character_sets))
    dataset.PositionReferenceIndicator = image.get("PositionReferenceIndicator", "")
    dataset.PhotometricInterpretation = image.get("PhotometricInterpretation", "MONOCHROME2")
    dataset.BurnedInAnnotation = "NO"
    copy_compression(image, dataset)
    if run.notice:
        dataset.ImageComments = own_text(run.notice, dataset)
    return dataset


def _flavour(image: Dataset) -> str:
    if image.SOPClassUID != CTImageStorage:
        return _MR_FLAVOUR
    named = [value for value in image.get("ImageType") or () if value in _CT_FLAVOURS]
    return str(named[0]) if named else _CT_FLAVOURS[0]


def _add_scale(dataset: Dataset, encoded: Encoded) -> None:
    """Add what makes values of pixels again (PS3.3 C.8.2.1.1.2).

    The MR Image IOD has none: there it makes a Standard Extended SOP Class (PS3.2 3.11.3), where it is needed at all.
    """
    if dataset.SOPClassUID == MRImageStorage and (encoded.slope, encoded.intercept) == ("1", "0"):
        return
    dataset.RescaleSlope, dataset.RescaleIntercept = encoded.slope, encoded.intercept
    if "RescaleType" not in dataset:
        dataset.RescaleType = "HU" if dataset.SOPClassUID == CTImageStorage else "US"
