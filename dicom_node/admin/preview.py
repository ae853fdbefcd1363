"""Slices of a received series and what a job marked on them, as PNG: for looking only, never sent anywhere."""

import colorsys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Engine, select

from dicom_node.admin.kept import Kept
from dicom_node.admin.looked import LARGEST, Looked, read_looked
from dicom_node.admin.marks import Marks, labels_of, read_marks
from dicom_node.admin.thumbnail import png, thumbnail
from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import instances, results
from dicom_node.results.drawing import grey_values
from dicom_node.settings import ResultKind

#: Of all series that are kept decoded, because a study is looked at slice by slice; the largest one fits.
_SERIES_BYTES: Final = LARGEST
_MARKS_BYTES: Final = 2**25
#: Series that are decoded at the same time: each takes more memory than is kept of it.
_AT_ONCE: Final = 2
_PALETTE: Final = ((255, 214, 64), (64, 200, 255), (255, 110, 110), (140, 230, 120), (220, 140, 255))
#: Steps of the golden ratio lie on a circle as far from one another as they can.
_GOLDEN: Final = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Shown:
    """How a slice is looked at.

    Parameters
    ----------
    centre, width : float or None
        Window in modality units; None for the images' own.
    """

    index: int
    centre: float | None = None
    width: float | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """What a series offers: slices, and the window of its middle one."""

    slices: int
    centre: float
    width: float
    darkest: float
    brightest: float
    segments: tuple[str, ...]


class Previews:
    """Decodes series when they are looked at, and keeps the latest.

    Parameters
    ----------
    store : Path
        Root of the instance store; paths come from the ledger only.
    clock : callable
        Seconds.
    """

    def __init__(self, engine: Engine, store: Path, clock: Callable[[], float]) -> None:
        self._reader = reading(engine)
        self._store = store
        # by what is read, so that late images are seen and what another job marked is never shown
        self._series: Kept[tuple[str, ...], Looked] = Kept(_SERIES_BYTES, clock)
        self._marks: Kept[tuple[tuple[str, ...], Path], Marks] = Kept(_MARKS_BYTES, clock)
        self._decoding = threading.BoundedSemaphore(_AT_ONCE)

    @property
    def nbytes(self) -> int:
        """The bytes of what is kept."""
        return self._series.nbytes + self._marks.nbytes

    def forget_old(self) -> None:
        """Let go what nobody has looked at for a while."""
        self._series.forget_old()
        self._marks.forget_old()

    def extent(self, study: str, series: str, job: int | None) -> Extent | None:
        """Return what there is to look at; None if there is no such series. Raises GeometryUnusable."""
        looked = self._looked(self._paths(study, series))
        if looked is None:
            return None
        file = self._file(study, job)
        labels = () if file is None else labels_of(file)
        count = len(looked.array)
        window = looked.windows[count // 2]
        return Extent(count, window.centre, window.width, looked.darkest, looked.brightest, labels)

    def picture(self, study: str, series: str, shown: Shown) -> bytes | None:
        """Return one slice as PNG, turned as a radiologist looks at it; None if there is none."""
        looked = self._looked(self._paths(study, series))
        if looked is None or shown.index >= len(looked.array):
            return None
        window = looked.windows[shown.index]
        centre = window.centre if shown.centre is None else shown.centre
        width = window.width if shown.width is None else max(shown.width, 1e-6)
        values = looked.turn.array(looked.array[shown.index])
        grey = grey_values(values, centre - width / 2, centre + width / 2)
        return png(_scaled(looked, Image.fromarray(255 - grey if window.inverse else grey)))

    def thumbnail(self, study: str, series: str) -> bytes | None:
        """Return a small picture of one of the images; None if there is none. Raises GeometryUnusable."""
        paths = self._paths(study, series)
        return thumbnail(self._store / paths[len(paths) // 2]) if paths else None

    def overlay(self, study: str, series: str, job: int, index: int) -> bytes | None:
        """Return what a job marked on a slice as PNG, transparent elsewhere; None if there is no such slice."""
        paths = self._paths(study, series)
        looked = self._looked(paths)
        if looked is None or index >= len(looked.array):
            return None
        file = self._file(study, job)
        picture = np.zeros((*looked.turn.array(looked.array[index]).shape, 4), np.uint8)
        for place, mask in () if file is None else self._marked(paths, file, looked).on(index):
            one = looked.turn.array(mask)
            picture[one] = (*_colour(place), 70)
            picture[one & ~_inner(one)] = (*_colour(place), 255)
        return png(_scaled(looked, Image.fromarray(picture), smooth=False))

    def _looked(self, paths: tuple[str, ...]) -> Looked | None:
        def read() -> Looked:
            with self._decoding:
                return read_looked([self._store / path for path in paths])

        return self._series.of(paths, read) if paths else None

    def _marked(self, paths: tuple[str, ...], file: Path, looked: Looked) -> Marks:
        def read() -> Marks:
            with self._decoding:
                return read_marks(file, looked)

        return self._marks.of((paths, file), read)

    def _paths(self, study: str, series: str) -> tuple[str, ...]:
        statement = select(instances.c.path).where(
            instances.c.study_instance_uid == study,
            instances.c.series_instance_uid == series,
            instances.c.current.is_(True),
        )
        with self._reader.connect() as connection:
            return tuple(connection.execute(statement.order_by(instances.c.id)).scalars())

    def _file(self, study: str, job: int | None) -> Path | None:
        """Return the segmentation that a job made; where profiles made several, they hold the same outlines."""
        if job is None:
            return None
        statement = select(results.c.path).where(
            results.c.study_instance_uid == study,
            results.c.job_id == job,
            results.c.kind == str(ResultKind.SEGMENTATION),
        )
        with self._reader.connect() as connection:
            found = connection.execute(statement.order_by(results.c.path).limit(1)).scalar()
        return None if found is None else self._store / found


def _scaled(looked: Looked, picture: Image.Image, *, smooth: bool = True) -> Image.Image:
    """Return a picture with square pixels, as large as its finer side needs."""
    rows, columns = looked.turn.spacing
    finest = min(rows, columns)
    size = (round(picture.width * columns / finest), round(picture.height * rows / finest))
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return picture if size == picture.size else picture.resize(size, how)


def _inner(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask without its border pixels."""
    inner = mask.copy()
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(mask, step, axis)
    return inner


def colours(count: int) -> Sequence[str]:
    """Return the colours of so many segments, for a legend."""
    return ["#{:02x}{:02x}{:02x}".format(*_colour(number)) for number in range(count)]


def _colour(number: int) -> tuple[int, int, int]:
    """Return the colour of a segment: after those that are told apart best, hues that never repeat."""
    if number < len(_PALETTE):
        return _PALETTE[number]
    red, green, blue = colorsys.hls_to_rgb(number * _GOLDEN % 1.0, 0.66, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)
