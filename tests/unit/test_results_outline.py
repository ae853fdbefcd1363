"""Outlines follow pixel borders, in image coordinates, with as many points as viewers want."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.results.outline import FEWEST_POINTS, MOST_POINTS, outlines

Mask = NDArray[np.bool_]


def drawn(*boxes: tuple[int, int, int, int], holes: tuple[tuple[int, int, int, int], ...] = ()) -> Mask:
    """Return a one-slice mask of 40 x 50 pixels from (top, bottom, left, right) boxes."""
    mask = np.zeros((1, 40, 50), dtype=np.bool_)
    for top, bottom, left, right in boxes:
        mask[0, top:bottom, left:right] = True
    for top, bottom, left, right in holes:
        mask[0, top:bottom, left:right] = False
    return mask


def test_one_pixel_has_an_outline_around_it() -> None:
    """The smallest finding gets its pixel's own border, with enough points for viewers."""
    outline, _ = outlines(drawn((7, 8, 3, 4)))
    assert outline.area() == 1
    assert outline.points.min(axis=0).tolist() == [3, 7]
    assert outline.points.max(axis=0).tolist() == [4, 8]
    assert len(outline.points) >= FEWEST_POINTS


def test_holes_are_inside_and_smaller_components_are_left_out() -> None:
    """Only the outer border of the largest component is drawn."""
    outline, _ = outlines(drawn((2, 12, 2, 12), (20, 30, 2, 9), holes=((4, 6, 4, 6),)))
    assert outline.area() == pytest.approx(100 - 0.5)
    assert outline.points[:, 1].max() == 12


def test_components_that_touch_at_a_corner_are_two() -> None:
    """A diagonal contact does not make an outline that crosses itself."""
    outline, _ = outlines(drawn((2, 6, 2, 6), (6, 12, 6, 12)))
    assert outline.area() == pytest.approx(36 - 0.5)
    assert outline.points.min() == 6


def test_a_ragged_border_is_simplified() -> None:
    """More than 100 points would become bulk data in some archives."""
    mask = np.random.default_rng(3).random((1, 200, 200)) < 0.7
    outline, _ = outlines(mask)
    assert FEWEST_POINTS <= len(outline.points) <= MOST_POINTS
    assert outline.points[0].tolist() == outline.points[-1].tolist()


def test_a_circle_keeps_its_area_when_simplified() -> None:
    """Simplifying a smooth outline changes its area by less than 1 %."""
    rows, columns = np.ogrid[:256, :256]
    mask = ((rows - 120) ** 2 + (columns - 130) ** 2 < 90**2)[None]
    outline, _ = outlines(mask)
    assert outline.area() == pytest.approx(mask.sum(), rel=0.01)


def test_outlines_lie_on_the_largest_and_on_another_slice() -> None:
    """The first outline is on the slice with most pixels; the second elsewhere, if there is an elsewhere."""
    mask = np.concatenate([drawn((2, 6, 2, 6)), drawn((2, 9, 2, 9)), drawn((2, 5, 2, 5)), drawn()])
    assert [outline.slice_index for outline in outlines(mask)] == [1, 2]
    assert [outline.slice_index for outline in outlines(drawn((2, 6, 2, 6)))] == [0, 0]


def test_an_empty_mask_has_none() -> None:
    """Asking for the outline of nothing is an error, not an empty list."""
    with pytest.raises(ValueError, match="empty mask"):
        outlines(drawn())
