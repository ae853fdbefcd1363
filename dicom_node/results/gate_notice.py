"""What the gate looks at in a picture that says that there is no result."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.results.gate_case import Case, Check, items, other_than


def _form(case: Case) -> Iterator[str]:
    """PS3.3 C.8.6.2, C.7.6.1: a drawn picture in colour whose text is part of its pixels."""
    wanted = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "PhotometricInterpretation": "RGB",
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BurnedInAnnotation": "YES",
    }
    yield from other_than(case.dataset, wanted)
    if list(case.dataset.ImageType)[:2] != ["DERIVED", "SECONDARY"]:
        yield "ImageType is not DERIVED, SECONDARY"


def _pixels(case: Case) -> Iterator[str]:
    expected = 3 * case.dataset.Rows * case.dataset.Columns
    if len(case.dataset.PixelData) != expected + expected % 2:
        yield f"PixelData has {len(case.dataset.PixelData)} bytes, not {expected + expected % 2}"
    if not any(case.dataset.PixelData):
        yield "the picture is black"


def _about(case: Case) -> Iterator[str]:
    """It says which series it is about, and in words that a reader may search for that there is no result."""
    series = items(case.dataset, "ReferencedSeriesSequence")
    if [item.SeriesInstanceUID for item in series] != [case.source.datasets[0].SeriesInstanceUID]:
        yield "ReferencedSeriesSequence does not name exactly the series that it is about"
        return
    named = {str(item.ReferencedSOPInstanceUID) for item in series[0].ReferencedInstanceSequence}
    if named != {str(image.SOPInstanceUID) for image in case.source.datasets}:
        yield "ReferencedSeriesSequence does not name exactly the source images"
    if "did not run" not in str(case.dataset.get("ImageComments") or ""):
        yield "ImageComments does not say that the pipeline did not run"


NOTICE_PICTURE_CHECKS: Final[Mapping[str, Check]] = {"form": _form, "pixels": _pixels, "series": _about}
