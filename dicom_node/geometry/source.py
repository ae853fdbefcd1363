"""A series as a volume, and the way back from each slice to its source image."""

from dataclasses import dataclass

from highdicom import Volume
from pydicom import Dataset


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """Which frame of which data set holds one slice.

    Parameters
    ----------
    dataset : int
        Index into `SourceSeries.datasets`.
    frame : int
        Frame number, from 1; 1 for a single-frame instance.
    """

    dataset: int
    frame: int


@dataclass(frozen=True, slots=True)
class SourceSeries:
    """A series as a volume, and the way back from each slice to its source image.

    Parameters
    ----------
    volume : highdicom.Volume
        float32, (slice, row, column), modality units; affine float64, 4 x 4, index to LPS mm, right-handed.
    datasets : tuple of Dataset
        Without pixel data. Classic: one per slice, in slice order; Enhanced: one.
    frames : tuple of SourceFrame
        One per slice of the volume, in slice order.
    """

    volume: Volume
    datasets: tuple[Dataset, ...]
    frames: tuple[SourceFrame, ...]
