"""From a head in RAS order to the voxels of its brain, by deepbet's recipe.

The networks were trained on images prepared in one way, so every step here keeps to it: nearest-exact resizing,
quantiles of the small image, the margin around the box. What differs is only how it is written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn.functional import interpolate

from pipelines.deepbet_weights import Network, Networks

_SMALL: Final = (128, 128, 128)
_BOXED: Final = (256, 256, 256)
_QUANTILES: Final = (0.005, 0.995)
#: Mean and standard deviation that the networks expect of their input.
_MEAN: Final = 0.449
_DEVIATION: Final = 0.226
#: A plane belongs to the box if more than this share of it is brain.
_PLANE_SHARE: Final = 0.02
#: The box grows by this share of its size on each side.
_MARGIN: Final = 0.1
_LOCATE_THRESHOLD: Final = 0.5

_Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Outline:
    """What the networks say of one image.

    Parameters
    ----------
    probability : float32 array, (x, y, z) of the box
    box : three slices
        Where the box lies in the image.
    """

    probability: NDArray[np.float32]
    box: Box


def outline(networks: Networks, image: NDArray[np.float32], found: Callable[[], None]) -> Outline | None:
    """Return the brain's probability, or None where nothing in the image looks like a brain.

    Parameters
    ----------
    image : float32, (x, y, z) in RAS order, any units
    found : callable
        Called once the brain has been located, before the long part.
    """
    with torch.inference_mode():
        head = torch.nan_to_num(torch.from_numpy(image).to(networks.device))
        small = _resized(head, _SMALL)
        low, high = small.quantile(torch.tensor(_QUANTILES, device=networks.device)).tolist()
        if high <= low:  # an empty image has no contrast to scale
            return None
        box = _box(_probability(networks.locate, _scaled(small, low, high)), image.shape)
        if box is None:
            return None
        found()
        boxed = _probability(networks.outline, _scaled(_resized(head[box], _BOXED), low, high))
        return Outline(_resized(boxed, tuple(head[box].shape)).cpu().numpy(), box)


def _resized(image: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return interpolate(image[None, None], shape, mode="nearest-exact")[0, 0]


def _scaled(image: torch.Tensor, low: float, high: float) -> torch.Tensor:
    clipped = ((image - low) / (high - low)).clamp(0, 1)
    return (clipped - clipped.mean()) / clipped.std() * _DEVIATION + _MEAN


def _probability(network: Network, image: torch.Tensor) -> torch.Tensor:
    probability: torch.Tensor = network(image[None, None])[0, 1]
    return probability


def _box(probability: torch.Tensor, shape: tuple[int, ...]) -> Box | None:
    """Return the box around the largest piece, with its margin, in voxels of the whole image."""
    piece = largest_piece((probability > _LOCATE_THRESHOLD).cpu().numpy())
    sides = [_side(piece, axis, shape[axis]) for axis in range(3)]
    if any(side is None for side in sides):
        return None
    x, y, z = (side for side in sides if side is not None)
    return x, y, z


def _side(piece: _Mask, axis: int, length: int) -> slice | None:
    others = tuple(other for other in range(3) if other != axis)
    planes = np.flatnonzero(piece.mean(axis=others) > _PLANE_SHARE)
    if not planes.size:
        return None
    scale = length / piece.shape[axis]
    centre = round(scale * (planes[-1] + 1 + planes[0]) / 2)
    size = round(scale * (planes[-1] + 1 - planes[0]) * (1 + 2 * _MARGIN))
    return slice(max(0, int(centre - size / 2)), min(length, int(centre + size / 2)))


def largest_piece(mask: _Mask) -> _Mask:
    """Return the largest connected piece (corners touch: 26 neighbours); an empty mask stays empty."""
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    piece: _Mask = labels == sizes.argmax()
    return piece


def filled(mask: _Mask) -> _Mask:
    """Return the mask with every hole filled that no face-connected path joins to the array's border."""
    labels, _ = ndimage.label(~mask)
    border = np.unique(np.concatenate([np.take(labels, end, axis).ravel() for axis in range(3) for end in (0, -1)]))
    outside = np.zeros(labels.max() + 1, np.bool_)
    outside[border] = True
    outside[0] = False
    whole: _Mask = ~outside[labels]
    return whole


def brain_mask(found: Outline, shape: tuple[int, ...], threshold: float) -> _Mask:
    """Return the brain's voxels, bool (x, y, z) of the whole image: the largest piece, its holes filled."""
    mask = np.zeros(shape, np.bool_)
    mask[found.box] = filled(largest_piece(found.probability > threshold))
    return mask
