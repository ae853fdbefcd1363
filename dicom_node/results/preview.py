"""A picture for people who have no viewer at hand: three planes through the finding, with outlines and the notice.

It carries no patient data and is never sent to a PACS.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicom_node.contract import Findings, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results.drawing import WHITE, Panel, colour_of, drawn, grey_values
from dicom_node.results.lettering import font, shown
from dicom_node.results.outline import borders
from dicom_node.results.segmentation import found
from dicom_node.settings import ResultSettings

_PANEL_HEIGHT: Final = 420  # pixels of the tallest panel
_MARGIN: Final = 12
_LINE: Final = 20
_DARKEST, _BRIGHTEST = 1.0, 99.5  # percentiles
_YELLOW: Final = (255, 215, 80)
_NAMES: Final = ("axial", "coronal", "sagittal")

Mask = NDArray[np.bool_]


def preview_png(findings: Findings, source: SourceSeries, path: Path, notice: str | None = None) -> None:
    """Write a mosaic of the axial, coronal and sagittal planes through the centre of what was found.

    Planes are those of the volume nearest to the anatomical ones, seen as a radiologist sees them (the patient's
    right on the left); sizes are true to mm.

    Parameters
    ----------
    notice : str or None
        Burnt in below the picture; None for the notice that settings have by default.
    """
    segments = found(findings)
    panels = _panels(segments, source)
    mm_per_pixel = max(panel.height_mm for panel in panels) / _PANEL_HEIGHT
    colours = [colour_of(segment) for segment in segments]
    pictures = [drawn(panel, colours, mm_per_pixel) for panel in panels]
    text = ResultSettings().notice if notice is None else notice
    lines = [*_sentences(findings), *([text] if text else [])]
    _mosaic(pictures, [shown(line) for line in lines]).save(path, format="PNG")


def _sentences(findings: Findings) -> list[str]:
    values = [
        f"{item.segment}: {item.name.meaning} {item.value:.1f} {item.unit.value}" for item in findings.measurements
    ]
    algorithm = findings.algorithm
    return [*values, *findings.remarks, f"{algorithm.name} {algorithm.version}"]


def _anatomical(source: SourceSeries) -> tuple[tuple[int, ...], tuple[slice, ...], tuple[float, ...]]:
    """Return how to turn the volume to (feet to head, front to back, right to left): axes, flips, mm per step."""
    affine = source.volume.affine[:3, :3]
    spacing = np.linalg.norm(affine, axis=0)
    cosines = affine / spacing
    axes = max(permutations(range(3)), key=lambda order: sum(abs(cosines[2 - i, order[i]]) for i in range(3)))
    flips = tuple(slice(None, None, -1 if cosines[2 - i, axis] < 0 else 1) for i, axis in enumerate(axes))
    return axes, flips, tuple(float(spacing[axis]) for axis in axes)


def _panels(segments: Sequence[Segment], source: SourceSeries) -> tuple[Panel, ...]:
    axes, flips, steps = _anatomical(source)
    voxels = source.volume.array.transpose(axes)[flips]

    def masks() -> Iterator[Mask]:
        return (segment.mask.transpose(axes)[flips] for segment in segments)

    k, j, i = _centre(masks(), voxels.shape)
    low, high = np.percentile(voxels[::2, ::2, ::2], [_DARKEST, _BRIGHTEST])
    rows, columns = np.s_[::-1], np.s_[:]
    cuts = (
        (("R", "L", "A", "P"), np.s_[k, columns, columns], steps[1], steps[2]),
        (("R", "L", "H", "F"), np.s_[rows, j, columns], steps[0], steps[2]),
        (("A", "P", "H", "F"), np.s_[rows, columns, i], steps[0], steps[1]),
    )
    # one mask at a time: a hundred of them do not fit into memory
    outlines = [[tuple(borders(mask[cut])) for _, cut, _, _ in cuts] for mask in masks()]
    return tuple(
        Panel(
            np.ascontiguousarray(grey_values(voxels[cut], float(low), float(high))),
            tuple(planes[number] for planes in outlines),
            edges,
            voxels[cut].shape[0] * row_mm,
            voxels[cut].shape[1] * column_mm,
        )
        for number, (edges, cut, row_mm, column_mm) in enumerate(cuts)
    )


def _centre(masks: Iterable[Mask], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the voxel at the centre of everything found, or of the volume."""
    together = np.zeros(shape, dtype=np.bool_)
    for mask in masks:
        together |= mask
    if not together.any():
        return tuple(size // 2 for size in shape)
    profiles = (together.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
    return tuple(round(float(np.average(np.arange(len(profile)), weights=profile))) for profile in profiles)


def _mosaic(pictures: Sequence[Image.Image], lines: Sequence[str]) -> Image.Image:
    letters = font(_LINE - 6)
    width = sum(picture.width + _MARGIN for picture in pictures) + _MARGIN
    width = max(width, *(round(letters.getlength(line)) + 2 * _MARGIN for line in lines))
    tallest = max(picture.height for picture in pictures)
    mosaic = Image.new("RGB", (width, tallest + _LINE * (len(lines) + 2) + _MARGIN))
    draw = ImageDraw.Draw(mosaic)
    x = _MARGIN
    for picture, name in zip(pictures, _NAMES, strict=True):
        draw.text((x, 2), name, fill=WHITE, font=letters)
        mosaic.paste(picture, (x, _LINE))
        x += picture.width + _MARGIN
    for number, line in enumerate(lines):
        draw.text((_MARGIN, tallest + _LINE * (number + 1) + _MARGIN // 2), line, fill=_YELLOW, font=letters)
    return mosaic
