"""How bright a viewer shows values at first: window centre and width (PS3.3 C.11.2.1.2)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import DS

#: Percentiles of an image that are shown black and white.
_DARKEST, _BRIGHTEST = 1.0, 99.5
#: Percentiles of more values than this cost time and say no more.
_ENOUGH: Final = 1_000_000
#: Below this width the formula of LINEAR, made for whole numbers, shows something else (PS3.3 C.11.2.1.3.2).
_NARROW: Final = 256.0


def image_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the values between which an image is worth looking at."""
    low, high = np.percentile(values.ravel()[:: max(1, values.size // _ENOUGH)], [_DARKEST, _BRIGHTEST])
    return (float(low), float(high)) if high > low else whole_range(values)


def whole_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the smallest and the largest value; one apart, if they are the same."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def centred(limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits as centre and width."""
    low, high = limits
    return (low + high) / 2, high - low


def add_window(holder: Dataset, window: tuple[float, float]) -> None:
    """Add a window, (centre, width) in the unit of the values, to an image or a functional group."""
    centre, width = window
    holder.WindowCenter = DS(centre, auto_format=True)
    holder.WindowWidth = DS(width, auto_format=True)
    if width < _NARROW:
        holder.VOILUTFunction = "LINEAR_EXACT"
