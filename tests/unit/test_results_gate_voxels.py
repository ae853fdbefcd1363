"""The gate compares what a viewer will draw with what was found, voxel by voxel, in every form of segmentation."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.contract import Findings, LabelMask, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, build, check
from tests.gate_cases import refusal
from tests.results_cases import ANATOMY, BRAIN, ROLE, blob, findings, profile, run_context, segment, source_series

LABELS = np.where(blob(), 7, 0).astype(np.uint8)
LABELS[1:3, 14:18, 1:4] = 9
#: 24 x 20 voxels are whole bytes, 21 x 19 are not.
SHAPES = [(6, 20, 24), (6, 19, 21)]


def organs(labels: NDArray[np.uint8] = LABELS) -> Findings:
    """Return two structures, and one without a voxel between them, of one volume of labels."""
    segments = (
        Segment(f"organ {value}", LabelMask(labels, value), ANATOMY, BRAIN, (60.0, 40.0, 30.0)) for value in (7, 8, 9)
    )
    return replace(findings(), segments=tuple(segments))


def judged(found: Findings, other: Findings, source: SourceSeries, **changes: object) -> str:
    """Return what the gate says of objects of other findings; they are what they claim to be."""
    objects: Sequence[BuiltObject] = build(other, {ROLE: source}, run_context(profile=profile(**changes)))
    check(objects, {ROLE: source}, other)
    return refusal(objects, {ROLE: source}, lambda built, sources: check(built, sources, found))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["binary", "labelmap"])
@pytest.mark.parametrize("empty_frames", [False, True])
def test_what_was_found_passes(shape: tuple[int, int, int], form: str, empty_frames: bool) -> None:
    """Whole bytes or not, empty frames or not, bits or labels, structures without a voxel: all is as found."""
    source, labels = source_series(shape), LABELS[:, : shape[1], : shape[2]]
    for found in (organs(labels), findings(segment(mask=blob(shape)))):
        changes = {"segmentation": form, "empty_frames": empty_frames}
        objects = build(found, {ROLE: source}, run_context(profile=profile(**changes)))
        check(objects, {ROLE: source}, found)


@pytest.mark.parametrize("form", ["binary", "labelmap"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda labels: np.roll(labels, 1, axis=0), "as it was found on its slice"),
        (lambda labels: labels[..., ::-1], "as it was found on its slice"),
        (lambda labels: np.where(labels == 7, 9, np.where(labels == 9, 7, 0)).astype(np.uint8), "as it was found"),
        (lambda labels: np.where(np.arange(6)[:, None, None] < 3, labels, 0), "voxels, but"),
    ],
    ids=["next slice", "mirrored", "exchanged", "half"],
)
def test_another_mask_is_refused(
    form: str, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], said: str
) -> None:
    """A slice further, the other side, the other organ, a part of it: an object in perfect form, and wrong."""
    other = organs(np.ascontiguousarray(change(LABELS)))
    assert said in judged(organs(), other, source_series(), segmentation=form)
