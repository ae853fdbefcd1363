"""What the gate looks at in a picture: what it says it is, of which slice, and that nobody takes it for a scan."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.results.gate_case import Case, Check, items, other_than, same_place
from dicom_node.results.gate_references import astray, references, slice_finder
from dicom_node.settings import ResultKind

_SAMPLES: Final = 3
#: The warning stands in the uppermost rows, light on dark: a share of their pixels is light.
_BANNER_ROWS: Final = 40
_LIGHT: Final = 180
_LEAST_LIGHT: Final = 0.001
_MM: Final = 1e-6


def _form(case: Case) -> Iterator[str]:
    """PS3.3 A.8.1: colour that every viewer shows, and that says that words are burnt in."""
    wanted = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "ConversionType": "WSD",
        "BurnedInAnnotation": "YES",
        "SamplesPerPixel": _SAMPLES,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }
    yield from other_than(case.dataset, wanted)
    if list(case.dataset.get("ImageType") or ()) != ["DERIVED", "SECONDARY"]:
        yield "ImageType is not DERIVED, SECONDARY"


def _pixels(case: Case) -> Iterator[str]:
    dataset = case.dataset
    octets = dataset.Rows * dataset.Columns * _SAMPLES
    octets += octets % 2
    if len(dataset.PixelData) != octets:
        yield f"PixelData has {len(dataset.PixelData)} bytes, not {octets}"
    spacing = [float(value) for value in items(dataset, "PixelSpacing")]
    if spacing and abs(spacing[0] - spacing[-1]) > _MM:
        yield "PixelSpacing is not that of square pixels"


def _warning(case: Case) -> Iterator[str]:
    """The uppermost rows hold light letters on a dark ground."""
    octets = np.frombuffer(case.dataset.PixelData[: _BANNER_ROWS * case.dataset.Columns * _SAMPLES], np.uint8)
    if not _LEAST_LIGHT < (octets > _LIGHT).mean() < 1 / 2:
        yield "no warning is burnt in above the picture"


def _sources(case: Case) -> Iterator[str]:
    """Each picture names the slice that it shows, or, if it holds words alone, every image of the series."""
    yield from astray(case, "SourceImageSequence", "ReferencedSeriesSequence")
    named = list(references(case.dataset, "SourceImageSequence"))
    listed = {str(item.ReferencedSOPInstanceUID) for item in references(case.dataset, "ReferencedSeriesSequence")}
    if not named:
        yield "SourceImageSequence names no image"
    if {str(item.ReferencedSOPInstanceUID) for item in named} != listed:
        yield "SourceImageSequence and ReferencedSeriesSequence name different images"
    slices = slice_finder(case)
    if case.dataset.get("PixelSpacing") and [len(slices(item)) for item in named] != [1]:
        yield "it shows a slice, but does not name exactly one"


def _numbers(case: Case) -> Iterator[str]:
    """The pictures of a series are numbered from 1, so that viewers leaf through them in order."""
    together = [
        int(built.dataset.InstanceNumber)
        for built in case.objects
        if built.kind is ResultKind.PICTURE and built.series == case.built.series
    ]
    if sorted(together) != list(range(1, len(together) + 1)):
        yield f"pictures are numbered {sorted(together)}, not 1 to {len(together)}"


PICTURE_CHECKS: Final[Mapping[str, Check]] = {
    "form": _form,
    "pixels": _pixels,
    "warning": _warning,
    "sources": _sources,
    "place": same_place,
    "numbers": _numbers,
}
