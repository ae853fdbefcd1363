"""A small picture costs one frame, however many the object has and however large it is."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from dicom_node.admin.thumbnail import thumbnail
from dicom_node.errors import GeometryUnusable
from tests.study_cases import write_study

_FRAMES, _SIZE = 121, 192


def _object(folder: Path, *, compressed: bool = False) -> Path:
    """Write an object with many frames: dark, the middle one with a bright half."""
    write_study(folder, slices=1)
    (path,) = folder.iterdir()
    image = dcmread(path)
    frames = np.random.default_rng(1).integers(0, 9, (_FRAMES, _SIZE, _SIZE)).astype(np.uint16)
    frames[_FRAMES // 2, :, _SIZE // 2 :] = 1000
    image.NumberOfFrames = _FRAMES
    image.Rows = image.Columns = _SIZE
    image.PixelData = frames.tobytes()
    if compressed:
        image.compress(RLELossless, generate_instance_uid=False)
    image.save_as(path)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_one_frame_is_read_and_decoded(tmp_path: Path, compressed: bool) -> None:
    """The middle one, in the memory of a few, compressed or not."""
    path = _object(tmp_path, compressed=compressed)
    thumbnail(path)  # decoders are loaded once
    tracemalloc.start()
    try:
        small = np.asarray(Image.open(io.BytesIO(thumbnail(path))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert small[:, 60:].min() > small[:, :40].max()
    assert peak < _FRAMES * _SIZE * _SIZE * 2 / 3


def test_a_whole_slide_is_refused(tmp_path: Path) -> None:
    """By its header, before anything of it is decoded."""
    write_study(tmp_path, slices=1)
    (path,) = tmp_path.iterdir()
    image = dcmread(path)
    image.Rows = image.Columns = 60_000
    image.save_as(path)
    with pytest.raises(GeometryUnusable, match="60000 x 60000 pixels"):
        thumbnail(path)


def test_what_cannot_be_read_in_part_is_refused(tmp_path: Path) -> None:
    """A deflated file (PS3.5 A.5) may be a thousand times as large once inflated."""
    write_study(tmp_path, slices=1)
    (path,) = tmp_path.iterdir()
    image = dcmread(path)
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    image.save_as(path)
    with pytest.raises(GeometryUnusable, match="deflated"):
        thumbnail(path)


def test_pixels_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    """In words, and not with an error of a decoder."""
    write_study(tmp_path, slices=1)
    (path,) = tmp_path.iterdir()
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 100)
    with pytest.raises(GeometryUnusable, match="cannot be decoded"):
        thumbnail(path)
    path.unlink()
    with pytest.raises(GeometryUnusable, match="not in the store"):
        thumbnail(path)
