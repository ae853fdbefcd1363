"""Stored pixel values of one data set, whatever its transfer syntax."""

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.errors import GeometryUnusable

_PLAIN: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
_PIXEL_DATA: Final = 0x7FE00010
#: What decoders raise for bytes that they cannot read; each library has its own habits.
DECODER_ERRORS: Final = (RuntimeError, ValueError, NotImplementedError, AttributeError, KeyError, struct.error)


def stored_values(dataset: Dataset, name: str) -> NDArray[np.generic]:
    """Return the stored values.

    Parameters
    ----------
    name : str
        How a person finds the image ("image 12"), for the error.

    Returns
    -------
    ndarray of integer, (frame, row, column)

    Raises
    ------
    GeometryUnusable
        If the pixel data is cut short, damaged, or in a transfer syntax for which no decoder is installed.
    """
    shape = int(dataset.get("NumberOfFrames") or 1), int(dataset.Rows), int(dataset.Columns)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ExplicitVRLittleEndian)
    if syntax in _PLAIN:
        return _plain(dataset, shape, name)
    try:
        return pixel_array(dataset).reshape(shape)
    except DECODER_ERRORS as error:
        raise GeometryUnusable(
            f"the pixels of {name} cannot be decoded (transfer syntax {syntax.name}); send the series again, "
            "uncompressed if possible"
        ) from error


def _plain(dataset: Dataset, shape: tuple[int, int, int], name: str) -> NDArray[np.generic]:
    """Return uncompressed little endian values straight from the bytes (PS3.5 8.2), without copying."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    high = int(dataset.get("HighBit", stored - 1))
    kind = np.dtype(f"<{'i' if dataset.get('PixelRepresentation') else 'u'}{allocated // 8}")
    content = dataset.get_item(_PIXEL_DATA).value or b""
    if len(content) < int(np.prod(shape)) * kind.itemsize:
        raise GeometryUnusable(f"the pixel data of {name} is cut short; send the series again")
    values = np.frombuffer(content, kind, int(np.prod(shape))).reshape(shape)
    # bits outside the stored ones are not pixel value: retired overlays lie there (PS3.5 8.1.1)
    if stored < allocated:
        values = np.right_shift(np.left_shift(values, allocated - 1 - high), allocated - stored)
    return values
