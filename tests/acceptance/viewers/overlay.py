"""What should be on the screen, worked out from masks and affines alone, and how near to it the pixels are."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from tests.acceptance.viewers.browser import Picture

#: Channels of a pixel that lie further apart than this are a colour, not a grey.
_COLOUR: Final = 20
#: Pixels from the edge of a region that its outline may cover.
_LINE: Final = 6


def voxels_under(picture: Picture, affine: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the voxel (slice, row, column) below the middle of each pixel: int, (row, column, 3)."""
    rows, columns = picture.pixels.shape[:2]
    down, right = np.mgrid[:rows, :columns] + 0.5
    points = np.stack([right, down, np.zeros_like(right), np.ones_like(right)], axis=-1)
    voxels = points @ (np.linalg.inv(affine) @ picture.to_patient).T
    return np.rint(voxels[..., :3]).astype(np.int64)


def seen(values: NDArray[np.generic], voxels: NDArray[np.int64]) -> NDArray[np.generic]:
    """Return the value (slice, row, column) below each pixel, 0 outside the volume: (row, column)."""
    inside = np.all((voxels >= 0) & (voxels < values.shape), axis=-1)
    found = np.zeros(voxels.shape[:2], values.dtype)
    found[inside] = values[tuple(voxels[inside].T)]
    return found


def coloured(picture: Picture) -> NDArray[np.bool_]:
    """Return True where a pixel has a colour: bool, (row, column)."""
    channels = picture.pixels.astype(np.int16)
    return np.asarray(channels.max(axis=-1) - channels.min(axis=-1) > _COLOUR)


def pixels_under(
    picture: Picture, image: NDArray[np.uint8], spacing: Sequence[float]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the pixel that should lie below each pixel, and where one does, for an image without a place in space.

    The viewer lays such an image out with its first pixel at (0, 0); spacing is that of rows and columns in mm.
    """
    rows, columns = picture.pixels.shape[:2]
    down, right = np.mgrid[:rows, :columns] + 0.5
    points = np.stack([right, down, np.zeros_like(right), np.ones_like(right)], axis=-1) @ picture.to_patient.T
    column, row = (np.rint(points[..., axis] / spacing[1 - axis]).astype(int) for axis in (0, 1))
    inside = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
    wanted = np.zeros_like(picture.pixels)
    wanted[inside] = image[row[inside], column[inside]]
    return wanted, inside


def away_from_edges(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the region without a border, where viewers draw a line."""
    return np.asarray(minimum_filter(region.astype(np.uint8), size=2 * _LINE + 1) > 0)


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return twice the common part over the sum; 1 where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def alike(picture: Picture, values: NDArray[np.float32]) -> float:
    """Return the correlation of a grey picture with the values that should be below its pixels."""
    grey = picture.pixels.mean(axis=-1)
    low, high = np.quantile(values, (0.02, 0.98))
    return float(np.corrcoef(grey.ravel(), np.clip(values, low, high).ravel())[0, 1])


def colour_over(grey: NDArray[np.uint8], mixed: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
    """Return the RGB colour and the opacity that turn grey pixels (pixel, RGB) into mixed ones (least squares).

    A pixel is drawn as opacity * colour + (1 - opacity) * grey; the slope over many greys gives the opacity.
    """
    x, y = grey.mean(axis=-1), mixed.astype(np.float64)
    slope = float(np.mean([np.polyfit(x, y[:, channel], 1)[0] for channel in range(3)]))
    offset = (y - slope * x[:, None]).mean(axis=0)
    return np.clip(offset / (1 - slope), 0, 255), 1 - slope


def rgb_of_lab(lab: Sequence[float]) -> NDArray[np.float64]:
    """Return sRGB, 0 to 255, of a CIELab colour, with the white point of the screen (D65)."""
    lightness, red_green, yellow_blue = lab
    middle = (lightness + 16) / 116
    cubes = np.array([middle + red_green / 500, middle, middle - yellow_blue / 200])
    linear_xyz = np.where(cubes > 6 / 29, cubes**3, 3 * (6 / 29) ** 2 * (cubes - 4 / 29)) * (0.95047, 1.0, 1.08883)
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    linear = np.clip(to_rgb @ linear_xyz, 0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
