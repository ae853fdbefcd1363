"""From data sets or files to one volume."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from highdicom import Volume
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.errors import GeometryUnusable
from dicom_node.geometry.pixels import stored_values
from dicom_node.geometry.regular import arrange
from dicom_node.geometry.slices import Slice, is_multiframe, slices_of
from dicom_node.geometry.source import SourceFrame, SourceSeries


def read_series(paths: Sequence[Path]) -> SourceSeries:
    """Return the series that these files hold; their order does not matter.

    Raises
    ------
    GeometryUnusable
        If a file is no DICOM file, or for any reason of `load_series`.
    """
    return load_series([_read(path) for path in paths])


def _read(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except InvalidDicomError as error:
        raise GeometryUnusable(f"{path} is not a DICOM file; give DICOM image files only") from error


def load_series(datasets: Sequence[Dataset]) -> SourceSeries:
    """Return one series as a volume.

    Slices run in right-handed order with rows and columns (as `highdicom.Image.get_volume` orders them). Rescale
    slope and intercept, or each frame's pixel value transformation, are applied (PS3.3 C.11.1, C.7.6.16.2.9).

    Parameters
    ----------
    datasets : sequence of Dataset
        All images of the series, any order. Their pixel data is taken out of them: one copy in memory is enough.

    Raises
    ------
    GeometryUnusable
        If they are not one regular volume: the sentence says what is wrong, where, and what to send instead.
    """
    if not datasets:
        raise GeometryUnusable("the series holds no images; send a series of parallel slices")
    ordered, spacing = arrange(slices_of(datasets))
    volume = Volume.from_attributes(
        array=_modality_values(datasets, ordered),
        image_position=ordered[0].position,
        image_orientation=ordered[0].orientation,
        pixel_spacing=ordered[0].spacing,
        spacing_between_slices=spacing,
        coordinate_system="PATIENT",
        frame_of_reference_uid=datasets[0].FrameOfReferenceUID,
    )
    for dataset in datasets:
        del dataset.PixelData
    return _with_sources(volume, datasets, ordered)


def _with_sources(volume: Volume, datasets: Sequence[Dataset], ordered: Sequence[Slice]) -> SourceSeries:
    if is_multiframe(datasets[0]):
        return SourceSeries(volume, tuple(datasets), tuple(SourceFrame(0, part.frame) for part in ordered))
    sources = tuple(datasets[part.dataset] for part in ordered)
    return SourceSeries(volume, sources, tuple(SourceFrame(index, 1) for index in range(len(ordered))))


def _modality_values(datasets: Sequence[Dataset], ordered: Sequence[Slice]) -> NDArray[np.float32]:
    """Return float32, (slice, row, column), in modality units."""
    array = np.empty((len(ordered), ordered[0].rows, ordered[0].columns), np.float32)
    frames: NDArray[np.generic] | None = None
    for index, part in enumerate(ordered):
        # an Enhanced image is decoded once for all its frames
        if frames is None or not is_multiframe(datasets[part.dataset]):
            frames = stored_values(datasets[part.dataset], part.name)
        array[index] = frames[part.frame - 1]
        if (part.slope, part.intercept) != (1.0, 0.0):
            array[index] *= np.float32(part.slope)
            array[index] += np.float32(part.intercept)
    return array


def require_slices(series: SourceSeries, minimum: int, title: str) -> None:
    """Check that a series has the slices that a pipeline needs.

    Parameters
    ----------
    title : str
        What the series is wanted for, such as "Whole-head T1".

    Raises
    ------
    GeometryUnusable
        If it has fewer.
    """
    count = len(series.frames)
    if count < minimum:
        raise GeometryUnusable(
            f"the series has only {count} slices; {title} needs at least {minimum}: send a series with thinner slices"
        )
