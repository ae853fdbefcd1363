"""Is the outlined structure plausible as a brain? The network outlines a bottle or a melon just as readily.

Measured on 18 real heads (T1, T2 and FLAIR; five scanners; supine and prone; defaced; operated; Colin27) and on two
bottle phantoms whose header says BRAIN, noise, and computed ellipsoids, shells and boxes:

================================  =================  ==================================  ======
statistic                         real heads         others                              limit
================================  =================  ==================================  ======
volume (ml)                       1469 to 1957       bottles 2459, 2665; noise 2278      2200
tissue 6 to 20 mm outside (share) 0.45 to 0.79       bottles 0.10, 0.18; shapes <= 0.16  0.30
uncertain voxels (of the outline) 0.019 to 0.026     bottles 0.034, 0.042; noise 0.053   0.045
outline cut by the image's edge   0.000 to 0.032     half a head 0.055, a slab 0.162     0.05
================================  =================  ==================================  ======

The second is the strongest because it asks what a brain cannot be without: a head around it. So images from which the
skull was stripped before are refused too; their brain is known already.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.deepbet_outline import Outline

MINIMUM_SURROUNDINGS: Final = 0.30
MAXIMUM_UNCERTAIN: Final = 0.045
MAXIMUM_CUT: Final = 0.05
#: Scalp, marrow, muscle and fat lie this far outside the brain (mm); nearer lie fluid and bone, dark in T1.
_SURROUNDINGS_MM: Final = (6.0, 20.0)
#: Tissue is brighter than the darkest part of the image by this share of the way to the brain's median.
_TISSUE_SHARE: Final = 0.15
_DARKEST_QUANTILE: Final = 0.005
#: Distances are measured on a grid of about this step (mm), which is fine enough and fast.
_STEP_MM: Final = 2.0
#: Probabilities between these are neither brain nor background.
_UNCERTAIN: Final = (0.05, 0.95)

_Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for or against a brain.

    Parameters
    ----------
    volume_ml : float
    surroundings : float
        Share of the voxels 6 to 20 mm outside the outline that are tissue.
    uncertain : float
        Voxels of probability 0.05 to 0.95, relative to the outline's.
    cut : float
        Share of the outline's surface that lies on the edge of the image.
    """

    volume_ml: float
    surroundings: float
    uncertain: float
    cut: float


def evidence(image: NDArray[np.float32], mask: _Mask, found: Outline, spacing: Spacing) -> Evidence:
    """Return the statistics of one outline.

    Parameters
    ----------
    image : float32, (x, y, z)
    mask : bool, (x, y, z), not empty
    spacing : (float, float, float)
        mm.
    """
    low, high = _UNCERTAIN
    count = int(np.count_nonzero(mask))
    unsure = np.count_nonzero((found.probability > low) & (found.probability < high))
    return Evidence(
        volume_ml=count * float(np.prod(spacing)) / 1000,
        surroundings=_surroundings(image, mask, spacing),
        uncertain=float(unsure / count),
        cut=_cut(mask, spacing),
    )


def _surroundings(image: NDArray[np.float32], mask: _Mask, spacing: Spacing) -> float:
    """Return the share of tissue in the shell around the outline; 0 if the image ends before the shell begins."""
    steps = [max(1, round(_STEP_MM / size)) for size in spacing]
    coarse = tuple(slice(None, None, step) for step in steps)
    values, inside = image[coarse], mask[coarse]
    if not inside.any():
        return 0.0
    sampling = [size * step for size, step in zip(spacing, steps, strict=True)]
    distance = ndimage.distance_transform_edt(~inside, sampling)
    near, far = _SURROUNDINGS_MM
    shell = values[(distance > near) & (distance <= far)]
    darkest = float(np.quantile(values, _DARKEST_QUANTILE))
    tissue = darkest + _TISSUE_SHARE * (float(np.median(values[inside])) - darkest)
    return float(np.mean(shell > tissue)) if shell.size else 0.0


def _cut(mask: _Mask, spacing: Spacing) -> float:
    surface = edge = 0.0
    for axis, size in enumerate(spacing):
        area = float(np.prod(spacing)) / size
        plane = np.moveaxis(mask, axis, 0)
        ends = area * (np.count_nonzero(plane[0]) + np.count_nonzero(plane[-1]))
        surface += area * np.count_nonzero(plane[1:] != plane[:-1]) + ends
        edge += ends
    return float(edge / surface)


def doubts(seen: Evidence, minimum_ml: float, maximum_ml: float) -> list[str]:
    """Return in words what speaks against a brain, nothing if it is plausible."""
    found = []
    if not minimum_ml <= seen.volume_ml <= maximum_ml:
        found.append(f"its volume of {seen.volume_ml:.0f} ml is outside {minimum_ml:.0f} to {maximum_ml:.0f} ml")
    if seen.surroundings < MINIMUM_SURROUNDINGS:
        found.append(
            f"only {seen.surroundings:.0%} of what surrounds it is tissue "
            f"(a head has {MINIMUM_SURROUNDINGS:.0%} or more)"
        )
    if seen.uncertain > MAXIMUM_UNCERTAIN:
        found.append(f"its outline is uncertain ({seen.uncertain:.1%}, at most {MAXIMUM_UNCERTAIN:.1%})")
    if seen.cut > MAXIMUM_CUT:
        found.append(f"the edge of the images cuts through it ({seen.cut:.0%} of its surface)")
    return found
