"""Findings given as labels of one volume, for the tests of label maps."""

import numpy as np
from numpy.typing import NDArray

from dicom_node.contract import LabelMask, Segment
from tests.results_cases import ANATOMY, BRAIN, blob

#: Labels of the volume below: neither consecutive nor in order.
VALUES = (40, 3, 200)


def volume(dtype: type = np.uint8) -> NDArray[np.integer]:
    """Return labels, (6, 20, 24): three structures without symmetry, one of them inside of another."""
    labels = np.zeros((6, 20, 24), dtype=dtype)
    labels[blob()] = VALUES[0]
    labels[2, 5:8, 6:9] = VALUES[1]
    labels[4, 2, 3:7] = VALUES[2]
    return labels


def organs(labels: NDArray[np.integer], values: tuple[int, ...] = VALUES) -> tuple[Segment, ...]:
    """Return a segment for each of some labels, in this order."""
    return tuple(
        Segment(f"Organ {value}", LabelMask(labels, value), ANATOMY, BRAIN, (60.0, 40.0, float(number % 100)))
        for number, value in enumerate(values)
    )
