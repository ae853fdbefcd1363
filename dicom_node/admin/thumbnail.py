"""One image of a series, small: one frame of one file, so that a list is quick, and a series need be no volume."""

import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.errors import GeometryUnusable
from dicom_node.geometry.attributes import number, tag_of
from dicom_node.geometry.pixels import DECODER_ERRORS
from dicom_node.results.display import centred, image_range
from dicom_node.results.drawing import grey_values

#: Pixels of its longer side.
_SIZE: Final = 96
#: Of the image: larger ones are whole slides of a microscope.
_MOST_PIXELS: Final = 2**26
_READ: Final = [
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
]
_SLOPE, _INTERCEPT = tag_of("RescaleSlope"), tag_of("RescaleIntercept")
_CENTRE, _WIDTH = tag_of("WindowCenter"), tag_of("WindowWidth")


def thumbnail(path: Path) -> bytes:
    """Return the middle frame of an image as a small PNG, in the image's own window if it has one.

    Raises
    ------
    GeometryUnusable
        If it is no grey image whose pixels can be decoded.
    """
    header = _header(path)
    photometric = str(header.get("PhotometricInterpretation", ""))
    if not photometric.startswith("MONOCHROME"):
        raise GeometryUnusable("it is no grey image")
    grey = _grey(path, header)
    picture = Image.fromarray(255 - grey if photometric == "MONOCHROME1" else grey)
    picture.thumbnail((_SIZE, _SIZE))
    return png(picture)


def png(picture: Image.Image) -> bytes:
    """Return a picture as a PNG file, quickly rather than small."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _header(path: Path) -> Dataset:
    """Return what a picture needs to know; everything else is stepped over."""
    try:
        if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise GeometryUnusable("it is deflated as a whole, and a small picture is not worth reading all of it")
        return dcmread(path, stop_before_pixels=True, specific_tags=_READ)
    except (InvalidDicomError, OSError) as error:
        raise GeometryUnusable("its file is not in the store, or is no DICOM file") from error


def _middle(path: Path, header: Dataset) -> NDArray[np.float32]:
    """Return the stored values of the middle frame; no other one is read."""
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if rows * columns > _MOST_PIXELS:
        raise GeometryUnusable(f"it has {rows} x {columns} pixels; look at it in the PACS")
    index = int(header.get("NumberOfFrames") or 1) // 2
    try:
        return np.asarray(pixel_array(path, index=index)).astype(np.float32)
    except (OSError, *DECODER_ERRORS) as error:
        raise GeometryUnusable("its pixels are not there, or cannot be decoded") from error


def _grey(path: Path, header: Dataset) -> NDArray[np.uint8]:
    values = _middle(path, header)
    values = values * number(header, _SLOPE, 1.0) + number(header, _INTERCEPT, 0.0)
    centre, width = centred(image_range(values))
    own = number(header, _WIDTH, 0.0)
    if own > 0:
        centre, width = number(header, _CENTRE, centre), own
    return grey_values(values, centre - width / 2, centre + width / 2)
