"""A received series as it is looked at: decoded once, without its headers, and not if it is too large."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.errors import GeometryUnusable
from dicom_node.geometry import read_series
from dicom_node.results.slice_view import Turn, turn_of
from dicom_node.results.source_window import Window, windows

#: Of one series, decoded: 1024 slices of 512 x 512. The node's own process has other work.
LARGEST: Final = 2**30
_SIZES: Final = ["Rows", "Columns", "NumberOfFrames"]
_BYTES_A_VOXEL: Final = 4
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Looked:
    """A series, decoded.

    Parameters
    ----------
    array : float32, (slice, row, column), modality units
    affine : float64, 4 x 4, index to LPS mm
    windows : tuple of Window
        One a slice.
    darkest, brightest : float
        Of all voxels.
    """

    array: NDArray[np.float32]
    affine: NDArray[np.float64]
    turn: Turn
    windows: tuple[Window, ...]
    darkest: float
    brightest: float

    @property
    def nbytes(self) -> int:
        """The bytes of its voxels."""
        return self.array.nbytes


def read_looked(paths: Sequence[Path], largest: int = LARGEST) -> Looked:
    """Decode a series.

    Parameters
    ----------
    largest : int
        Bytes; what would take more is not read.

    Raises
    ------
    GeometryUnusable
        If it is no volume, is too large, or its files are not in the store.
    """
    try:
        _require_fits(paths, largest)
        source = read_series(paths)
    except OSError as error:
        raise GeometryUnusable("its files are not in the store") from error
    array = source.volume.array
    of_slices = windows(source, range(len(array)))
    return Looked(
        array,
        source.volume.affine,
        turn_of(source),
        tuple(of_slices[index] for index in range(len(array))),
        float(array.min()),
        float(array.max()),
    )


def _require_fits(paths: Sequence[Path], largest: int) -> None:
    """Check the size by one header and by the sizes of the files; that all are alike is seen before decoding."""
    try:
        first = dcmread(paths[0], stop_before_pixels=True, specific_tags=_SIZES)
    except InvalidDicomError:
        return  # which file it is, is told by who reads them all
    frames = len(paths) * max(1, int(first.get("NumberOfFrames") or 1))
    rows, columns = int(first.get("Rows") or 0), int(first.get("Columns") or 0)
    decoded = frames * rows * columns * _BYTES_A_VOXEL
    needed = max(decoded, sum(path.stat().st_size for path in paths))
    if needed > largest:
        raise GeometryUnusable(
            f"its {frames} images of {rows} x {columns} would take {needed / _MIB:,.0f} MiB of memory here, and "
            f"at most {largest / _MIB:,.0f} MiB are shown here; look at the series in the PACS"
        )
