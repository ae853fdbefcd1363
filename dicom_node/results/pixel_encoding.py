"""Float values as 16-bit pixels with rescale slope and intercept (PS3.3 C.7.6.3, C.11.1)."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.valuerep import format_number_as_ds

_BITS: Final = 16
_LARGEST: Final = 2**_BITS - 1
#: Steps used of those that 16 bits have; the rest is room for the rounding of slope and intercept to 16 characters.
_STEPS: Final = 65_000
#: A range that whole numbers divide as finely as a scanner does.
_FINE: Final = 1024
_SMALLEST_PIXEL: Final = 0x00280106
_LARGEST_PIXEL: Final = 0x00280107


@dataclass(frozen=True, slots=True)
class Encoded:
    """Pixels: a value is slope * pixel + intercept, off by half a slope at most.

    Parameters
    ----------
    pixels : uint16 array, (slice, row, column)
    slope, intercept : str
        As VR DS holds them.
    """

    pixels: NDArray[np.uint16] = field(repr=False)
    slope: str
    intercept: str


def encode_pixels(values: NDArray[np.float32], *, unscaled: bool = False) -> Encoded:
    """Return values as pixels: whole numbers unchanged where they fit, else in steps as fine as 16 bits allow.

    All slices get one slope and intercept, so that a viewer's window shows them alike. A value of 0 stays exactly 0
    where the values lie on both sides of it.

    Parameters
    ----------
    unscaled : bool
        Round to whole numbers where 0 to the largest value is a range of over 1000, as scanners do: the pixels are
        then the values.
    """
    slope, intercept = ("1", "0") if unscaled and _fine(values) else _scale(values)
    pixels = np.empty(values.shape, np.uint16)
    for index, one in enumerate(values):
        steps = np.rint((one.astype(np.float64) - float(intercept)) / float(slope))
        pixels[index] = np.clip(steps, 0, _LARGEST)
    return Encoded(pixels, slope, intercept)


def _fine(values: NDArray[np.float32]) -> bool:
    return bool(values.min() >= 0 and _FINE <= values.max() <= _LARGEST)


def _scale(values: NDArray[np.float32]) -> tuple[str, str]:
    low, high = float(values.min()), float(values.max())
    lowest = low if low < 0 or high > _LARGEST else 0.0
    if high - lowest <= _LARGEST and np.array_equal(values, np.rint(values)):
        return "1", format_number_as_ds(lowest)
    if high == low:
        return "1", format_number_as_ds(low)
    slope = format_number_as_ds((high - low) / _STEPS)
    aligned = -math.ceil(-low / float(slope)) * float(slope) if low < 0 < high else low
    return slope, format_number_as_ds(aligned)


def add_pixels(dataset: Dataset, pixels: NDArray[np.uint16]) -> None:
    """Add Image Pixel (PS3.3 C.7.6.3); one frame or several."""
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = _BITS
    dataset.HighBit = _BITS - 1
    dataset.PixelRepresentation = 0
    dataset.add(DataElement(_SMALLEST_PIXEL, "US", int(pixels.min())))
    dataset.add(DataElement(_LARGEST_PIXEL, "US", int(pixels.max())))
    dataset.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
