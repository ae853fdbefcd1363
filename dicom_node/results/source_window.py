"""In which grey values the source is looked at: its own window (PS3.3 C.11.2.1.2), or one chosen from the volume."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dicom_node.geometry import SourceSeries
from dicom_node.results.display import centred, image_range
from dicom_node.results.source_images import frame_numbers, source_of


@dataclass(frozen=True, slots=True)
class Window:
    """Which values are black and white.

    Parameters
    ----------
    centre, width : float
        Window Center (0028,1050) and Window Width (0028,1051), in modality units; the width is never 0.
    inverse : bool
        The lowest value is white (MONOCHROME1).
    """

    centre: float
    width: float
    inverse: bool = False

    @property
    def darkest(self) -> float:
        """Return the value that is black, white if inverse (PS3.3 C.11.2.1.3.2, exact)."""
        return self.centre - self.width / 2

    @property
    def brightest(self) -> float:
        """Return the value that is white, black if inverse."""
        return self.centre + self.width / 2


def windows(source: SourceSeries, slices: Iterable[int]) -> dict[int, Window]:
    """Return the window of each slice: the source's first one, or else one that shows most of the volume."""
    chosen = {index: _own(source, index) for index in slices}
    if all(window is not None for window in chosen.values()):
        return {index: window for index, window in chosen.items() if window is not None}
    fallback = _of_volume(source)
    return {index: window or fallback for index, window in chosen.items()}


def _own(source: SourceSeries, index: int) -> Window | None:
    dataset, frame = source_of(source, index)
    centre = frame_numbers(dataset, frame, "FrameVOILUTSequence", "WindowCenter")
    width = frame_numbers(dataset, frame, "FrameVOILUTSequence", "WindowWidth")
    if not centre or not width or not np.isfinite([centre[0], width[0]]).all() or width[0] <= 0:
        return None
    return Window(centre[0], width[0], _inverse(source))


def _of_volume(source: SourceSeries) -> Window:
    return Window(*centred(image_range(source.volume.array)), _inverse(source))


def _inverse(source: SourceSeries) -> bool:
    return source.datasets[0].get("PhotometricInterpretation") == "MONOCHROME1"
