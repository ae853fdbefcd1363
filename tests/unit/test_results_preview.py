"""The preview shows the planes as a radiologist sees them."""

from pathlib import Path

import numpy as np
from PIL import Image

from dicom_node.results import preview_png
from tests.results_cases import SAGITTAL, findings, segment, source_series


def outline_box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, right, top, bottom of what is drawn in the segment's red."""
    picture = picture.astype(int)
    red = (picture[..., 0] > picture[..., 1] + 60) & (picture[..., 0] > picture[..., 2] + 60)
    rows, columns = np.nonzero(red)
    return int(columns.min()), int(columns.max()), int(rows.min()), int(rows.max())


def test_planes_are_true_to_mm_and_seen_from_the_feet(tmp_path: Path) -> None:
    """A finding at the patient's right front top is drawn left and up in the axial plane, in mm proportions."""
    # sagittal slices from right to left, columns run to the back, rows to the feet
    source = source_series((30, 20, 24), SAGITTAL, spacing=(2.0, 3.0, 1.0))
    mask = np.zeros((30, 20, 24), dtype=np.bool_)
    mask[2:8, 1:5, 2:8] = True
    path = tmp_path / "preview.png"
    preview_png(findings(segment(mask=mask)), source, path)
    picture = np.array(Image.open(path))
    scale = 420 / 60  # the tallest panel is 20 rows x 3 mm
    axial = picture[20 : 20 + round(24 * scale), 12 : 12 + round(60 * scale)]
    left, right, top, bottom = outline_box(axial)
    assert (right + left) / 2 < axial.shape[1] / 2
    assert (top + bottom) / 2 < axial.shape[0] / 2
    assert abs((right - left + 1) - 12 * scale) <= 2
    assert abs((bottom - top + 1) - 6 * scale) <= 2


def test_a_preview_without_findings_is_drawn_too(tmp_path: Path) -> None:
    """Nothing found is a result: its picture shows the middle of the head and the notice."""
    path = tmp_path / "preview.png"
    preview_png(findings(), source_series(), path, notice="A notice")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert not picture.text
