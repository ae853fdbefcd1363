"""A pipeline that gave no result, and the images that it was asked about: what a notice is made from.

Images that are no regular volume have no `SourceSeries`, so a notice needs their headers only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import highdicom as hd
import numpy as np
from pydicom import Dataset

from dicom_node.contract import Algorithm
from dicom_node.geometry import SourceFrame, SourceSeries
from dicom_node.results.objects import RunContext

_NO_VOLUME: Final = np.zeros((1, 1, 1), np.float32)


@dataclass(frozen=True, slots=True)
class NotRun:
    """Why there is no result.

    Parameters
    ----------
    reason : str
        The sentence of the refusal, written for a radiographer.
    headers : mapping of role to SourceSeries
        As `headers_only` returns them.
    run : RunContext
        Its key holds the reason too: another reason is another notice.
    """

    reason: str
    headers: Mapping[str, SourceSeries]
    algorithm: Algorithm
    run: RunContext

    @property
    def role(self) -> str:
        """Return the role whose study the notice belongs to: the first that has images."""
        return next(iter(self.headers))

    @property
    def sentence(self) -> str:
        """Return what a radiologist is told."""
        return f"{self.run.pipeline_title} did not run: {self.reason}"


def headers_only(images: Sequence[Dataset]) -> SourceSeries:
    """Return images of which nothing but their headers is known, in an order that does not depend on the given one.

    The volume is a single voxel that means nothing: a notice shows no place, and its gate looks at none.
    """
    ordered = tuple(sorted(images, key=lambda image: str(image.SOPInstanceUID)))
    volume = hd.Volume(_NO_VOLUME, np.eye(4), coordinate_system="PATIENT")
    return SourceSeries(volume, ordered, tuple(SourceFrame(index, 1) for index in range(len(ordered))))
