"""A picture for people who have no viewer at hand: three planes through the finding, with outlines and the notice.

It carries no patient data and is never sent to a PACS.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Final

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicom_node.contract import Findings, Segment
from dicom_node.geometry import SourceSeries
from dicom_node.results.segmentation import found
from dicom_node.settings import ResultSettings

_PANEL_HEIGHT: Final = 420  # pixels of the tallest panel
_MARGIN: Final = 12
_LINE: Final = 20
_DARKEST, _BRIGHTEST = 1.0, 99.5  # percentiles
_FLAT: Final = 1e-6  # an image of one grey value has no window
_WHITE: Final = (255, 255, 255)
_YELLOW: Final = (255, 215, 80)

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Panel:
    """One plane as it is looked at: `edges` names its left, right, top and bottom by patient directions."""

    name: str
    edges: str
    image: Grey
    masks: tuple[Mask, ...]
    height_mm: float
    width_mm: float


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
    scale = _PANEL_HEIGHT / max(panel.height_mm for panel in panels)
    pictures = [_drawn(panel, segments, scale) for panel in panels]
    text = ResultSettings().notice if notice is None else notice
    lines = [*_sentences(findings), *([text] if text else [])]
    _mosaic(pictures, [panel.name for panel in panels], lines).save(path, format="PNG")


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


def _panels(segments: Sequence[Segment], source: SourceSeries) -> tuple[_Panel, ...]:
    axes, flips, steps = _anatomical(source)
    voxels = source.volume.array.transpose(axes)[flips]
    masks = [segment.mask.transpose(axes)[flips] for segment in segments]
    k, j, i = _centre(masks, voxels.shape)
    low, high = np.percentile(voxels[::2, ::2, ::2], [_DARKEST, _BRIGHTEST])
    rows, columns = np.s_[::-1], np.s_[:]
    cuts = (
        ("axial", "RLAP", np.s_[k, columns, columns], steps[1], steps[2]),
        ("coronal", "RLHF", np.s_[rows, j, columns], steps[0], steps[2]),
        ("sagittal", "APHF", np.s_[rows, columns, i], steps[0], steps[1]),
    )
    return tuple(
        _Panel(
            name,
            edges,
            (np.clip((voxels[cut] - low) / max(high - low, _FLAT), 0, 1) * 255).astype(np.uint8),
            tuple(mask[cut] for mask in masks),
            voxels[cut].shape[0] * row_mm,
            voxels[cut].shape[1] * column_mm,
        )
        for name, edges, cut, row_mm, column_mm in cuts
    )


def _centre(masks: Sequence[Mask], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the voxel at the centre of everything found, or of the volume."""
    if not masks:
        return tuple(size // 2 for size in shape)
    together = np.logical_or.reduce(masks)
    profiles = (together.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
    return tuple(round(float(np.average(np.arange(len(profile)), weights=profile))) for profile in profiles)


def _drawn(panel: _Panel, segments: Sequence[Segment], scale: float) -> Image.Image:
    size = (max(1, round(panel.width_mm * scale)), max(1, round(panel.height_mm * scale)))
    picture = Image.fromarray(panel.image).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    pixels = np.array(picture)
    for segment, mask in zip(segments, panel.masks, strict=True):
        enlarged = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        pixels[_border(enlarged)] = hd.color.CIELabColor(*segment.colour_lab).to_rgb()
    picture = Image.fromarray(pixels)
    _name_edges(picture, panel.edges)
    return picture


def _border(mask: Mask) -> Mask:
    """Return the pixels of a mask that have a neighbour outside of it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _name_edges(picture: Image.Image, edges: str) -> None:
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_LINE - 4)
    width, height = picture.size
    places = (
        ((3, height // 2), "lm"),
        ((width - 3, height // 2), "rm"),
        ((width // 2, 3), "mt"),
        ((width // 2, height - 3), "mb"),
    )
    for letter, (place, anchor) in zip(edges, places, strict=True):
        draw.text(place, letter, fill=_WHITE, font=font, anchor=anchor)


def _mosaic(pictures: Sequence[Image.Image], names: Sequence[str], lines: Sequence[str]) -> Image.Image:
    font = ImageFont.load_default(_LINE - 6)
    width = sum(picture.width + _MARGIN for picture in pictures) + _MARGIN
    width = max(width, *(round(font.getlength(line)) + 2 * _MARGIN for line in lines))
    tallest = max(picture.height for picture in pictures)
    mosaic = Image.new("RGB", (width, tallest + _LINE * (len(lines) + 2) + _MARGIN))
    draw = ImageDraw.Draw(mosaic)
    x = _MARGIN
    for picture, name in zip(pictures, names, strict=True):
        draw.text((x, 2), name, fill=_WHITE, font=font)
        mosaic.paste(picture, (x, _LINE))
        x += picture.width + _MARGIN
    for number, line in enumerate(lines):
        draw.text((_MARGIN, tallest + _LINE * (number + 1) + _MARGIN // 2), line, fill=_YELLOW, font=font)
    return mosaic
