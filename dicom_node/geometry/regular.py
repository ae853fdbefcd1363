"""Are these slices one regular volume? The tolerances, and what is said when they are not.

Tolerances (a slice that is further off would put a result on the wrong tissue):

- same position: closer than 0.02 mm along the stack (scanners round positions to 0.01 mm or finer);
- equal spacing: every gap, and every position against an evenly spaced stack, within 1 % of the spacing or 0.02 mm,
  whichever is larger;
- straight stack: no slice shifted sideways against the first by more than 0.1 mm (this refuses gantry tilt, and lets
  direction cosines pass that were rounded to four digits);
- same orientation: cosines within 1e-3; same pixel spacing within 0.1 %; same matrix exactly.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import GeometryUnusable
from dicom_node.geometry.slices import COSINE_TOLERANCE, Slice
from dicom_node.geometry.traits import TRAITS, Trait

SPACING_TOLERANCE_MM: Final = 0.02
SPACING_TOLERANCE_SHARE: Final = 0.01
SHIFT_TOLERANCE_MM: Final = 0.1
PIXEL_SPACING_TOLERANCE_SHARE: Final = 1e-3
#: A gap this close to a whole number of spacings (in spacings) is missing slices, otherwise uneven spacing.
_WHOLE_NUMBER_TOLERANCE: Final = 0.1
_SHOWN: Final = 4

_Floats = NDArray[np.float64]


def arrange(slices: Sequence[Slice]) -> tuple[list[Slice], float]:
    """Return the slices in order, right-handed with rows and columns, and their spacing in mm.

    Raises
    ------
    GeometryUnusable
        If they are not one stack of evenly spaced, parallel, equal slices, each there once.
    """
    _require_parallel(slices)
    _require_same_grid(slices)
    _require_one_kind(slices)
    if len(slices) == 1:
        raise GeometryUnusable(
            "the series is a single slice, which is no volume; send a series with all slices of the stack"
        )
    # highdicom's volumes are right-handed (slice, row, column), so slices run against row x column
    order = np.argsort(-_distances(slices), kind="stable")
    ordered = [slices[index] for index in order]
    distances = -_distances(ordered)
    _require_each_once(ordered, distances)
    _require_straight(ordered)
    return ordered, _even_spacing(ordered, distances)


def _normal(part: Slice) -> _Floats:
    return np.cross(part.orientation[:3], part.orientation[3:])


def _distances(slices: Sequence[Slice]) -> _Floats:
    return np.array([part.position for part in slices]) @ _normal(slices[0])


def _require_parallel(slices: Sequence[Slice]) -> None:
    planes: list[list[Slice]] = []
    for part in slices:
        plane = next((plane for plane in planes if _same_plane(plane[0], part)), None)
        if plane is None:
            planes.append([part])
        else:
            plane.append(part)
    if len(planes) > 1:
        raise GeometryUnusable(
            f"the slices lie in {len(planes)} different orientations ({_counts(map(len, planes))} slices), as in a "
            "localizer; send a series whose slices are all parallel"
        )


def _same_plane(one: Slice, other: Slice) -> bool:
    if one.orientation == other.orientation:
        return True
    return bool(np.abs(np.subtract(one.orientation, other.orientation)).max() <= COSINE_TOLERANCE)


def _require_same_grid(slices: Sequence[Slice]) -> None:
    sizes = Counter((part.rows, part.columns) for part in slices)
    if len(sizes) > 1:
        listed = _listed(f"{rows} x {columns} ({count} slices)" for (rows, columns), count in sizes.most_common())
        raise GeometryUnusable(f"the slices differ in matrix: {listed}; send a series with one matrix")
    spacings = np.array([part.spacing for part in slices])
    if np.ptp(spacings, axis=0).max() > PIXEL_SPACING_TOLERANCE_SHARE * spacings.min():
        low, high = spacings.min(), spacings.max()
        raise GeometryUnusable(
            f"the slices differ in pixel size ({low:.3f} to {high:.3f} mm); send a series with one pixel size"
        )


def _require_one_kind(slices: Sequence[Slice]) -> None:
    for index, trait in enumerate(TRAITS):
        values = _distinct(slices, index)
        if trait.always and len(values) > 1:
            raise GeometryUnusable(_mixed(trait, values))


def _distinct(slices: Iterable[Slice], index: int) -> list[str]:
    """Return the different values of one trait, in order; numbers within 1 % count as the same."""
    distinct: list[str] = []
    for value in sorted({part.traits[index] for part in slices}, key=_sort_key):
        if not distinct or not _same_value(distinct[-1], value):
            distinct.append(value)
    return distinct


def _sort_key(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("-inf"), text


def _same_value(one: str, other: str) -> bool:
    try:
        return abs(float(one) - float(other)) <= SPACING_TOLERANCE_SHARE * abs(float(one))
    except ValueError:
        return one == other


def _mixed(trait: Trait, values: Sequence[str]) -> str:
    listed = _listed(value or "none" for value in values)
    return f"the series mixes images of {len(values)} {trait.words}: {listed}; send each as a series of its own"


def _require_each_once(ordered: Sequence[Slice], distances: _Floats) -> None:
    starts = np.flatnonzero(np.diff(distances, prepend=-np.inf) > SPACING_TOLERANCE_MM).tolist()
    groups = [ordered[start:end] for start, end in zip(starts, [*starts[1:], len(ordered)], strict=True)]
    repeated = [group for group in groups if len(group) > 1]
    if not repeated:
        return
    for index, trait in enumerate(TRAITS):
        if any(len(_distinct(group, index)) > 1 for group in repeated):
            raise GeometryUnusable(_mixed(trait, _distinct(ordered, index)))
    names = _listed(part.name for part in repeated[0])
    raise GeometryUnusable(
        f"{len(repeated)} of {len(groups)} slice positions hold more than one image, first {repeated[0][0].place()} "
        f"({names}); send every slice once"
    )


def _require_straight(ordered: Sequence[Slice]) -> None:
    positions = np.array([part.position for part in ordered])
    offsets, normal = positions - positions[0], _normal(ordered[0])
    sideways = np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1)
    worst = int(sideways.argmax())
    if sideways[worst] > SHIFT_TOLERANCE_MM:
        raise GeometryUnusable(
            f"the slices are shifted sideways against one another, by {sideways[worst]:.1f} mm at "
            f"{ordered[worst].place()}, as with a tilted gantry or a sheared reconstruction; send a series whose "
            "slices lie straight above one another"
        )


def _even_spacing(ordered: Sequence[Slice], distances: _Floats) -> float:
    gaps = np.diff(distances)
    usual = float(np.median(gaps))
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_SHARE * usual)
    widest = int(np.abs(gaps - usual).argmax())
    if abs(gaps[widest] - usual) > tolerance:
        raise GeometryUnusable(_uneven(ordered, gaps, usual, widest))
    spacing = float(distances[-1] - distances[0]) / len(gaps)
    drift = np.abs(distances - distances[0] - spacing * np.arange(len(distances)))
    if drift.max() > tolerance:
        raise GeometryUnusable(
            f"the slices are unevenly spaced: {gaps.min():.2f} to {gaps.max():.2f} mm apart, farthest from even at "
            f"{ordered[int(drift.argmax())].place()}; send a series with equal spacing"
        )
    return spacing


def _uneven(ordered: Sequence[Slice], gaps: _Floats, usual: float, widest: int) -> str:
    spacings = gaps / usual
    missing = np.where(np.abs(spacings - spacings.round()) < _WHOLE_NUMBER_TOLERANCE, spacings.round() - 1, -1)
    if (missing >= 0).all():
        first = int((missing > 0).argmax())
        return (
            f"{int(missing.sum())} of {len(ordered) + int(missing.sum())} slices are missing, first between "
            f"{ordered[first].place()} and {ordered[first + 1].place()}; send the whole series again"
        )
    return (
        f"the slices are unevenly spaced: mostly {usual:.2f} mm apart, but {gaps[widest]:.2f} mm between "
        f"{ordered[widest].place()} and {ordered[widest + 1].place()}; send a series with equal spacing"
    )


def _counts(numbers: Iterable[int]) -> str:
    return " + ".join(map(str, numbers))


def _listed(words: Iterable[str]) -> str:
    shown = list(words)
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")
