"""The head that the demo pushes: from a NIfTI-1 file to a valid MR series, no voxel out of place."""

import gzip
import itertools
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import MRImageStorage

from dicom_node.demo.head import sagittal, write_series
from dicom_node.demo.nifti import Image, read_nifti
from dicom_node.demo.scanner import find_study
from dicom_node.errors import DemoUnavailable

_SHAPE = (3, 4, 5)
_NAMES = {"u1": 2, "i2": 4, "f4": 16, "u2": 512}


def _nifti(
    array: NDArray[np.generic],
    *,
    order: str = "<",
    affine: NDArray[np.float64] | None = None,
    quaternion: tuple[float, float, float] | None = None,
    pixdim: tuple[float, float, float, float] = (1, 1, 1, 1),
    scale: tuple[float, float] = (1, 0),
) -> bytes:
    """Return a NIfTI-1 file; `affine` gives it a sform, `quaternion` a qform with offset (7, 8, 9)."""
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, *array.shape, 1, 1, 1, 1)
    struct.pack_into(f"{order}2h", header, 70, _NAMES[array.dtype.str[1:]], array.dtype.itemsize * 8)
    struct.pack_into(f"{order}4f", header, 76, *pixdim)
    struct.pack_into(f"{order}3f", header, 108, 352.0, *scale)
    struct.pack_into(f"{order}2h", header, 252, quaternion is not None, affine is not None)
    if quaternion is not None:
        struct.pack_into(f"{order}6f", header, 256, *quaternion, 7, 8, 9)
    if affine is not None:
        struct.pack_into(f"{order}12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header) + array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")


def _numbered(kind: str = "u2") -> NDArray[np.generic]:
    return np.arange(np.prod(_SHAPE)).reshape(_SHAPE).astype(kind)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", sorted(_NAMES))
@pytest.mark.parametrize("packed", [False, True])
def test_nifti_values_survive_byte_order_type_and_gzip(tmp_path: Path, order: str, kind: str, packed: bool) -> None:
    """Every voxel keeps its place and value, whatever wrote the file."""
    path = tmp_path / "image"
    content = _nifti(_numbered(kind), order=order)
    path.write_bytes(gzip.compress(content) if packed else content)
    np.testing.assert_array_equal(read_nifti(path).array, _numbered(kind))


def test_nifti_values_are_scaled(tmp_path: Path) -> None:
    """Values are stored * scl_slope + scl_inter, and a slope of 0 means not scaled (nifti1.h)."""
    path = tmp_path / "image.nii"
    path.write_bytes(_nifti(_numbered(), scale=(0.5, -3)))
    np.testing.assert_array_equal(read_nifti(path).array, _numbered() * 0.5 - 3)
    path.write_bytes(_nifti(_numbered(), scale=(0, 9)))
    np.testing.assert_array_equal(read_nifti(path).array, _numbered())


def test_nifti_sform_comes_before_qform_and_qform_before_pixdim(tmp_path: Path) -> None:
    """Methods 3, 2 and 1 of nifti1.h, in this order."""
    path = tmp_path / "image.nii"
    affine = np.array([[0, 0, 3, -10], [2, 0, 0, -20], [0, 1.5, 0, -30], [0, 0, 0, 1]], float)
    half = np.sqrt(0.5)
    # a quarter turn about z (a = d = sqrt 1/2): i goes to +y, j to -x; qfac -1 turns k to -z
    turned = np.array([[0, -2, 0, 7], [1, 0, 0, 8], [0, 0, -3, 9], [0, 0, 0, 1]], float)
    path.write_bytes(_nifti(_numbered(), affine=affine, quaternion=(0, 0, half), pixdim=(-1, 1, 2, 3)))
    np.testing.assert_allclose(read_nifti(path).affine, affine)
    path.write_bytes(_nifti(_numbered(), quaternion=(0, 0, half), pixdim=(-1, 1, 2, 3)))
    np.testing.assert_allclose(read_nifti(path).affine, turned, atol=1e-6)
    path.write_bytes(_nifti(_numbered(), pixdim=(0, 1, 2, 3)))
    np.testing.assert_allclose(read_nifti(path).affine, np.diag([1, 2, 3, 1]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda whole: b"not an image", "not a NIfTI-1 file"),
        (lambda whole: whole[:-1], "cut short"),
        (lambda whole: gzip.compress(whole)[:-9], "cut short or damaged"),
        (lambda whole: whole[:40] + struct.pack("<8h", 4, *_SHAPE, 2, 1, 1, 1) + whole[56:], "three dimensions"),
        (lambda whole: whole[:70] + struct.pack("<h", 128) + whole[72:], "datatype 128"),
    ],
)
def test_nifti_that_cannot_be_used_says_why(tmp_path: Path, spoil: Callable[[bytes], bytes], words: str) -> None:
    """A bad file is refused in words; it never becomes a wrong image."""
    path = tmp_path / "image.nii"
    path.write_bytes(spoil(_nifti(_numbered())))
    with pytest.raises(DemoUnavailable, match=words):
        read_nifti(path)


def _orientations() -> list[NDArray[np.float64]]:
    axes = [np.eye(3)[list(order)] for order in itertools.permutations(range(3))]
    return [axis * signs for axis in axes for signs in itertools.product((1, -1), repeat=3)]


@pytest.mark.parametrize("directions", _orientations())
def test_every_voxel_keeps_its_place_in_all_48_orientations(directions: NDArray[np.float64]) -> None:
    """Slices, rows and columns run to the right, the feet and the back; each value stays at its RAS point."""
    affine = np.eye(4)
    affine[:3, :3] = directions * (1.0, 2.0, 3.0)
    affine[:3, 3] = (-11, 5, 23)
    image = Image(_numbered("f4").astype(np.float32), affine)
    slices = sagittal(image)
    found = {}
    for index in np.ndindex(slices.array.shape):
        x, y, z = (slices.affine @ (*index, 1))[:3]
        found[round(-x, 6), round(-y, 6), round(z, 6)] = int(slices.array[index])
    for index in np.ndindex(_SHAPE):
        point = tuple(np.round((affine @ (*index, 1))[:3], 6))
        assert found[point] == image.array[index]
    assert np.sign(np.diag(slices.affine[[0, 2, 1]][:, :3])).tolist() == [-1, -1, 1]


def test_oblique_image_keeps_its_angle_and_sheared_image_is_refused() -> None:
    """A series can be oblique (PS3.3 C.7.6.2), but row and column must be at right angles (C.7.6.2.1.1)."""
    angle = np.radians(30)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    slices = sagittal(Image(_numbered("f4").astype(np.float32), affine))
    np.testing.assert_allclose(slices.affine[:3, :3].T @ slices.affine[:3, :3], np.eye(3), atol=1e-9)
    assert slices.affine[0, 0] == pytest.approx(-np.cos(angle))
    affine[0, 1] += 0.1
    with pytest.raises(DemoUnavailable, match="right angles"):
        sagittal(Image(_numbered("f4").astype(np.float32), affine))


def test_values_that_are_not_whole_fill_twelve_bits() -> None:
    """Fractions and negative values are stretched to 0..4095; small whole numbers are stored as they are."""
    whole = sagittal(Image(_numbered("f4").astype(np.float32), np.eye(4)))
    stretched = sagittal(Image(_numbered("f4").astype(np.float32) / 7 - 2, np.eye(4)))
    assert whole.array.max() == np.prod(_SHAPE) - 1
    assert (stretched.array.min(), stretched.array.max()) == (0, 4095)
    assert sagittal(Image(np.full(_SHAPE, -1.5, np.float32), np.eye(4))).array.max() == 0


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """Return a small series made from a NIfTI file."""
    nifti = tmp_path / "head.nii"
    affine = np.array([[-1.25, 0, 0, 1 / 3], [0, 1, 0, 2], [0, 0, 0.7, -3], [0, 0, 0, 1]])
    nifti.write_bytes(_nifti(_numbered(), affine=affine))
    return write_series(nifti, tmp_path / "series")


def test_series_lies_where_the_image_lay(series: list[Path]) -> None:
    """Position, orientation and spacing (PS3.3 C.7.6.2) put each pixel where the NIfTI affine had it."""
    datasets = [dcmread(path) for path in series]
    assert len(datasets) == _SHAPE[0]
    assert {dataset.SOPClassUID for dataset in datasets} == {MRImageStorage}
    first, last = datasets[0], datasets[-1]
    assert [float(value) for value in first.ImageOrientationPatient] == [0, 1, 0, 0, 0, -1]
    assert [float(value) for value in first.PixelSpacing] == pytest.approx([0.7, 1])
    assert [float(value) for value in last.ImagePositionPatient] == pytest.approx(
        [float(first.ImagePositionPatient[0]) - 2 * 1.25, -5, -3 + 4 * 0.7]
    )
    # i = 0 has RAS x = 1/3, so LPS x = -1/3, and i grows towards the patient's left
    assert float(last.ImagePositionPatient[0]) == pytest.approx(-1 / 3)
    np.testing.assert_array_equal(last.pixel_array, _numbered()[0].T[::-1, ::-1])


def test_series_is_a_valid_mr_series(series: list[Path], require_tool: Callable[[str, str], Path]) -> None:
    """The MR Image IOD (PS3.3 A.4) as dciodvfy knows it, without a warning; and one consistent study for dcentvfy."""
    verdicts = [_said(require_tool("dciodvfy", "dicom3tools"), "-new", path) for path in series]
    verdicts.append(_said(require_tool("dcentvfy", "dicom3tools"), *series))
    assert verdicts == ["MRImage\n"] * len(series) + [""]


def _said(program: Path, *arguments: object) -> str:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_same_image_gives_the_same_bytes(series: list[Path], tmp_path: Path) -> None:
    """UIDs and bytes depend on the image alone, so a repeated demo is the same study."""
    again = write_series(tmp_path / "head.nii", tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in series]
    uids = {str(dcmread(path).SOPInstanceUID) for path in series}
    assert len(uids) == len(series)


def test_folder_of_one_study_is_found_and_others_are_refused(series: list[Path], tmp_path: Path) -> None:
    """Files that are not DICOM are passed over; no study or two studies is said in words."""
    folder = series[0].parent
    (folder / "notes.txt").write_text("not DICOM", encoding="ascii")
    assert [image.path for image in find_study(folder)] == series
    other = dcmread(series[0])
    other.StudyInstanceUID = "1.2.3"
    other.save_as(folder / "other.dcm")
    with pytest.raises(DemoUnavailable, match="2 studies"):
        find_study(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DemoUnavailable, match="no DICOM file"):
        find_study(tmp_path / "empty")
