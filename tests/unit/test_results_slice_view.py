"""Slices are looked at as radiologists do, and those are chosen that show what was found."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from dicom_node.contract import Findings, KeySlice
from dicom_node.results.slice_view import key_slices, letters, panels, turn_of
from dicom_node.results.source_window import windows
from tests.picture_cases import rich
from tests.results_cases import ALGORITHM, OBLIQUE, ROLE, SAGITTAL, findings, segment, source_series

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@pytest.mark.parametrize(
    ("orientation", "edges"),
    [
        (AXIAL, ("R", "L", "A", "P")),
        ((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0), ("R", "L", "A", "P")),
        ((0.0, 1.0, 0.0, 1.0, 0.0, 0.0), ("R", "L", "A", "P")),
        (CORONAL, ("R", "L", "H", "F")),
        ((1.0, 0.0, 0.0, 0.0, 0.0, 1.0), ("R", "L", "H", "F")),
        (SAGITTAL, ("A", "P", "H", "F")),
        ((0.0, 0.0, 1.0, 0.0, -1.0, 0.0), ("A", "P", "H", "F")),
    ],
)
def test_every_storage_order_is_seen_the_same_way(
    orientation: tuple[float, ...], edges: tuple[str, str, str, str]
) -> None:
    """Whatever way rows and columns run in the file, the patient's right is on the left, the head or front on top."""
    assert turn_of(source_series(orientation=orientation)).edges == edges


def test_oblique_edges_have_two_letters() -> None:
    """PS3.3 C.7.6.1.1.1: the main direction first, then the one that it leans to."""
    assert letters(np.array([0.8, 0.6, 0.0])) == "LP"
    assert letters(np.array([0.1, 0.0, -0.99])) == "F"
    assert all(edge[0] in "RLAPHF" for edge in turn_of(source_series(orientation=OBLIQUE)).edges)


@pytest.mark.parametrize(
    "orientation", [AXIAL, SAGITTAL, (0.0, 0.0, 1.0, 0.0, -1.0, 0.0), (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)]
)
def test_outlines_turn_with_the_pixels(orientation: tuple[float, ...]) -> None:
    """An outline encloses the pixels of its mask, however the slice was turned."""
    source = source_series(orientation=orientation)
    mask = np.zeros((6, 20, 24), dtype=np.bool_)
    mask[2, 3:8, 15:17] = True
    turn = turn_of(source)
    (panel,) = panels(findings(segment(mask=mask)), source, [KeySlice(2, "")])
    rows, columns = np.nonzero(turn.array(mask[2]))
    ((points,),) = panel.outlines
    assert points.min(axis=0).tolist() == [columns.min(), rows.min()]
    assert points.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]


def test_a_location_is_marked_in_its_voxel() -> None:
    """Whole numbers are the centres of voxels: voxel (3, 12, 4) is marked half a pixel from its border."""
    source = source_series(orientation=AXIAL)
    (panel,) = panels(rich(), source, [KeySlice(3, "")])
    (mark,) = panel.marks
    assert (mark.label, mark.column, mark.row) == ("Spot", 4.5, 12.5)
    (panel,) = panels(rich(), source, [KeySlice(2, "")])
    assert panel.marks == ()


def test_the_pipelines_choice_is_kept() -> None:
    """Key slices of the pipeline are taken as they are, in order, each once."""
    chosen = (KeySlice(4, "b"), KeySlice(1, "a"), KeySlice(4, "c"))
    assert key_slices(rich(key_slices=chosen), source_series()) == (KeySlice(1, "a"), KeySlice(4, "b; c"))


def test_our_choice_is_spread_and_shows_the_largest() -> None:
    """At most six slices, from one end of what was found to the other; a small structure is among them."""
    large = np.zeros((60, 8, 8), dtype=np.bool_)
    for index in range(6, 54):
        large[index, :4, : 1 + (index % 8)] = True
    small = np.zeros_like(large)
    small[33, 1:3, 1:3] = True
    source = source_series((60, 8, 8))
    both = findings(segment("Large", large), segment("Small", small))
    chosen = [each.index for each in key_slices(both, source)]
    assert len(chosen) == 6
    assert 33 in chosen
    assert chosen == sorted(chosen)
    assert max(np.diff(chosen)) <= 16
    assert key_slices(findings(segment("Large", large)), source)[0].index == 7  # the largest of its part


@pytest.mark.parametrize(("at", "index"), [(-0.5, 0), (0.0, 0), (0.4, 0), (0.6, 1), (5.0, 5), (5.5, 5)])
def test_a_location_on_the_border_of_the_volume_has_a_slice(at: float, index: int) -> None:
    """A location may lie anywhere in the voxels, the outer borders included."""
    place = replace(rich().locations[0], point=(at, 0.0, 0.0))
    only = Findings(ROLE, ALGORITHM, locations=(place,))
    assert key_slices(only, source_series()) == (KeySlice(index, ""),)
    (panel,) = panels(only, source_series(), key_slices(only, source_series()))
    assert len(panel.marks) == 1


def test_a_slice_is_chosen_for_a_location_alone() -> None:
    """A place without an outline has its slice too; where nothing was found there is nothing to choose."""
    only = replace(rich(), segments=(), measurements=(), ranges=(), classifications=())
    assert key_slices(only, source_series()) == (KeySlice(3, ""),)
    assert key_slices(findings(), source_series()) == ()


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_window_is_that_of_the_source(enhanced: bool) -> None:
    """Window Center and Width of each image, or frame; without one, of the volume."""
    source = source_series(enhanced=enhanced)
    (fallback,) = windows(source, [2]).values()
    assert 0 < fallback.darkest < fallback.brightest < 1
    holder = source.datasets[0].PerFrameFunctionalGroupsSequence[2] if enhanced else source.datasets[2]
    if enhanced:
        holder.FrameVOILUTSequence = [Dataset()]
        holder = holder.FrameVOILUTSequence[0]
    holder.WindowCenter, holder.WindowWidth = ["40", "400"], ["80", "2000"]
    own = windows(source, [1, 2])
    assert (own[2].centre, own[2].width) == (40, 80)
    assert own[1] == fallback


def test_a_monochrome1_source_is_inverse() -> None:
    """PS3.3 C.7.6.3.1.2: the lowest value is white, in the picture too."""
    source = source_series()
    (normal,) = panels(findings(segment()), source, [KeySlice(2, "")])
    for image in source.datasets:
        image.PhotometricInterpretation = "MONOCHROME1"
    (inverse,) = panels(findings(segment()), source, [KeySlice(2, "")])
    assert (inverse.grey == 255 - normal.grey).all()
