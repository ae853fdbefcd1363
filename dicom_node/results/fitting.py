"""Do findings fit the images that they are about, and one another? What a pipeline's author got wrong, in words."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_node.contract import Findings, LabelMask, Segment
from dicom_node.results.fitting_words import is_number, unwritable

#: From the centre of a voxel to its border.
_HALF: Final = 0.5


def misfits(findings: Findings, shape: tuple[int, ...]) -> Iterator[str]:
    """Yield a sentence for everything that contradicts the images or itself.

    Parameters
    ----------
    shape : (slices, rows, columns)
        Of the volume that the findings lie on.
    """
    for segment in findings.segments:
        yield from _mask(segment, shape)
    for each in findings.maps:
        yield from _array(each.label, each.values, np.dtype(np.float32), shape)
    for images in findings.images:
        yield from _array(images.label, images.values, np.dtype(np.float32), shape)
    yield from _labels(findings)
    yield from _places(findings, shape)
    yield from unwritable(findings)


def _mask(segment: Segment, shape: tuple[int, ...]) -> Iterator[str]:
    voxels = segment.voxels
    if not isinstance(voxels, LabelMask):
        yield from _array(segment.label, voxels, np.dtype(np.bool_), shape)
    elif voxels.labels.shape != shape or not np.issubdtype(voxels.labels.dtype, np.integer):
        given = f"{voxels.labels.dtype} {voxels.labels.shape}"
        yield f"{segment.label!r} is a label in {given}, the source is {shape}, and labels are integers"


def _array(
    label: str, values: NDArray[np.generic], wanted: np.dtype[np.generic], shape: tuple[int, ...]
) -> Iterator[str]:
    if values.shape != shape or values.dtype != wanted:
        yield f"{label!r} is {values.dtype} {values.shape}, the source is {wanted} {shape}"
    elif wanted != np.bool_ and not np.isfinite(values).all():
        yield f"{label!r} holds values that are no numbers"


def _labels(findings: Findings) -> Iterator[str]:
    labels = [segment.label for segment in findings.segments] + [each.label for each in findings.locations]
    for label in sorted(set(labels)):
        if labels.count(label) > 1:
            yield f"the label {label!r} is used twice"
    for answer in findings.classifications:
        if answer.of and answer.of not in labels:
            yield f"a classification is of {answer.of!r}, which is no segment and no location"


def _places(findings: Findings, shape: tuple[int, ...]) -> Iterator[str]:
    for location in findings.locations:
        if len(location.point) != len(shape) or not all(
            is_number(at) and -_HALF <= at <= size - _HALF for at, size in zip(location.point, shape, strict=True)
        ):
            yield f"location {location.label!r} lies outside of the images"
    for each in findings.key_slices:
        if not np.issubdtype(type(each.index), np.integer) or not 0 <= each.index < shape[0]:
            yield f"key slice {each.index} does not exist"
