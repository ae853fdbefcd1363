"""What the gate looks at in derived images: each lies on its source, says so, and claims nothing that is stale."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset

from dicom_node.results.gate_case import Case, Check, items, other_than
from dicom_node.results.gate_segmentation import TOLERANCE
from dicom_node.results.source_images import is_multiframe, plane_of

#: Of the source's pixels or for its pixels: true for no others.
_STALE: Final = (
    "PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "VOILUTSequence", "IconImageSequence",
    "RealWorldValueMappingSequence", "SmallestPixelValueInSeries", "LargestPixelValueInSeries",
)  # fmt: skip
_OVERLAYS: Final = range(0x6000, 0x6100)
_BITS: Final = 16


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.7.6.1.1.2, C.7.6.3: derived, 16 bits, of the SOP class of its source."""
    image = case.source.datasets[0]
    wanted = {
        "SOPClassUID": image.SOPClassUID,
        "SamplesPerPixel": 1,
        "BitsAllocated": _BITS,
        "BitsStored": _BITS,
        "HighBit": _BITS - 1,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": image.get("PhotometricInterpretation", "MONOCHROME2"),
    }
    yield from other_than(case.dataset, wanted)
    if next(iter(case.dataset.ImageType)) != "DERIVED":
        yield "ImageType is not DERIVED"
    if image.get("LossyImageCompression") == "01" != case.dataset.get("LossyImageCompression"):
        yield "LossyImageCompression of the source is forgotten"


def _pixels(case: Case) -> Iterator[str]:
    dataset = case.dataset
    octets = int(dataset.get("NumberOfFrames") or 1) * dataset.Rows * dataset.Columns * _BITS // 8
    if len(dataset.PixelData) != octets:
        yield f"PixelData has {len(dataset.PixelData)} bytes, not {octets}"
        return
    pixels: NDArray[np.uint16] = np.frombuffer(dataset.PixelData, "<u2")
    limits = (dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue)
    if (int(pixels.min()), int(pixels.max())) != limits:
        yield "SmallestImagePixelValue and LargestImagePixelValue are not those of the pixels"


def _display(case: Case) -> Iterator[str]:
    """PS3.3 C.11.1, C.11.2: pixels become values by one finite scale, values become grey by one window."""
    scale = window = case.dataset
    if is_multiframe(case.dataset):
        shared = case.dataset.SharedFunctionalGroupsSequence[0]
        (scale,), (window,) = shared.PixelValueTransformationSequence, shared.FrameVOILUTSequence
    if not (math.isfinite(scale.get("RescaleIntercept", 0)) and 0 < scale.get("RescaleSlope", 1) < math.inf):
        yield "RescaleSlope and RescaleIntercept do not make values of pixels"
    if not window.WindowWidth > 0:
        yield "WindowWidth is not above 0"


def _stale(case: Case) -> Iterator[str]:
    """Nothing is left that was said of other pixels, and nothing that nobody here understands."""
    for keyword in _STALE:
        if keyword in case.dataset:
            yield f"{keyword} is that of other pixels"
    if any(tag.group in _OVERLAYS for tag in case.dataset.keys()):  # noqa: SIM118 - iterating gives elements
        yield "there is an overlay of other pixels"
    if any(tag.is_private for holder in _holders(case.dataset) for tag in holder.keys()):  # noqa: SIM118 - as above
        yield "there are private elements of the source's maker"


def _holders(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        yield from items(dataset, keyword)


def _derivation(case: Case) -> Iterator[str]:
    """PS3.3 C.7.6.1.1.3: in words and by a code, for the image or for each of its frames."""
    for holder in _derived(case.dataset):
        if not str(holder.get("DerivationDescription") or "").strip():
            yield "DerivationDescription does not say what was done"
        if len(items(holder, "DerivationCodeSequence")) != 1:
            yield "DerivationCodeSequence does not say what was done"


def _derived(dataset: Dataset) -> list[Dataset]:
    """Return what is derived: the image, or the derivation of each of its frames."""
    if not is_multiframe(dataset):
        return [dataset]
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    return [item for groups in frames for item in items(groups, "DerivationImageSequence")]


def _named(holder: Dataset) -> tuple[str, str, int]:
    """Return the one source image that is named: SOP class, SOP instance, frame."""
    (reference,) = items(holder, "SourceImageSequence")
    frame = int(reference.get("ReferencedFrameNumber") or 1)
    return str(reference.ReferencedSOPClassUID), str(reference.ReferencedSOPInstanceUID), frame


def _place(case: Case) -> Iterator[str]:
    """Each image or frame lies exactly where the one image or frame lies that it names as its source."""
    dataset = case.dataset
    if dataset.get("FrameOfReferenceUID") != case.source.datasets[0].FrameOfReferenceUID:
        yield "FrameOfReferenceUID is not that of the source"
    derived = _derived(dataset)
    if len(derived) != int(dataset.get("NumberOfFrames") or 1):
        yield f"{len(derived)} derivations describe {dataset.get('NumberOfFrames') or 1} frames"
    for number, holder in enumerate(derived, 1):
        sop_class, uid, frame = _named(holder)
        image = case.source_images().get(uid)
        if image is None or image.SeriesInstanceUID != case.source.datasets[0].SeriesInstanceUID:
            yield f"frame {number} names no image of the source series"
        elif image.SOPClassUID != sop_class or not 1 <= frame <= int(image.get("NumberOfFrames") or 1):
            yield f"frame {number} names an image or frame that there is not"
        else:
            yield from _differences(dataset, number, image, frame)


def _differences(dataset: Dataset, number: int, image: Dataset, frame: int) -> Iterator[str]:
    ours, theirs = plane_of(dataset, number), plane_of(image, frame)
    for name in ("position", "orientation", "spacing"):
        if not _near(getattr(ours, name).value, getattr(theirs, name).value):
            yield f"the {name} of frame {number} is not that of its source image"
    if (dataset.Rows, dataset.Columns) != (image.Rows, image.Columns):
        yield "Rows and Columns are not those of the source"


def _near(one: ArrayLike, other: ArrayLike) -> bool:
    return np.allclose(np.asarray(one, np.float64), np.asarray(other, np.float64), rtol=0, atol=TOLERANCE)


def _whole(case: Case) -> Iterator[str]:
    """A series is whole: one image or frame for each slice, in order; looked at once, with its first image."""
    mates = [each for each in case.objects if (each.kind, each.series) == (case.built.kind, case.built.series)]
    if mates[0] is not case.built:
        return
    names = [_named(holder) for each in mates for holder in _derived(each.dataset)]
    if len(set(names)) != len(case.source.frames) or len(names) != len(set(names)):
        there = len(case.source.frames)
        yield f"the series has {len(names)} frames of {len(set(names))} source frames; there are {there}"
    numbers: list[Any] = [each.dataset.InstanceNumber for each in mates]
    if numbers != list(range(1, len(mates) + 1)):
        yield f"InstanceNumber does not count from 1 to {len(mates)}"


IMAGES_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "pixels": _pixels,
    "display": _display,
    "stale attributes": _stale,
    "derivation": _derivation,
    "place": _place,
    "whole series": _whole,
}
