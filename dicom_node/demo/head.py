"""A real head to push: Colin27, the average of 27 scans of one man, as a classic MR series.

Debian's package mricron-data carries it as `ch2.nii.gz` (1 mm, whole head, BSD-3-Clause); what is said of its making
is from Holmes et al., J Comput Assist Tomogr 22 (1998) 324. The demo writes it as a scanner would: sagittal slices,
one instance each. Times that nobody stated stay empty, and the identity is plainly not a patient's.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.demo.nifti import Image, read_nifti
from dicom_node.entities import derived_uid
from dicom_node.errors import DemoUnavailable

_PACKAGE: Final = "mricron-data"
_INSTALLED: Final = Path("/usr/share/mricron/templates/ch2.nii.gz")
_APT_SECONDS: Final = 300
#: Largest stored value: 12 bits, as scanners use.
_BRIGHTEST: Final = 4095
_BITS: Final = 12
#: Keeps an image of one single value from dividing by zero.
_SMALLEST_RANGE: Final = 1e-30
#: Largest cosine between two axes that still counts as a right angle.
_SKEW: Final = 1e-3
_RAS_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Wanted LPS directions of (slice, row, column): to the right, to the feet, to the back.
_SAGITTAL: Final = ((0, -1), (2, -1), (1, 1))
_DATE: Final = "20000101"
_TIME: Final = "120000"


@dataclass(frozen=True, slots=True)
class Slices:
    """A volume as slices.

    Parameters
    ----------
    array : uint16, (slice, row, column), arbitrary units
    affine : float64, 4 x 4, index (slice, row, column) to LPS mm
    """

    array: NDArray[np.uint16]
    affine: NDArray[np.float64]


def find_head(cache: Path) -> Path:
    """Return the whole-head image of mricron-data: installed, in the cache, or downloaded into it by apt-get.

    Raises
    ------
    DemoUnavailable
        If it is none of these; the text asks for a study of one's own.
    """
    unpacked = cache / _INSTALLED.relative_to("/")
    for path in (_INSTALLED, unpacked):
        if path.exists():
            return path
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise DemoUnavailable(_wanted("there is no apt-get here to fetch it with"))
    cache.mkdir(parents=True, exist_ok=True)
    _download(cache)
    if not unpacked.exists():
        raise DemoUnavailable(_wanted("the package holds no ch2.nii.gz"))
    return unpacked


def write_series(nifti: Path, folder: Path) -> list[Path]:
    """Write a NIfTI-1 head as a sagittal MR series (PS3.3 A.4), Explicit VR Little Endian, without resampling.

    The same image gives the same UIDs and the same bytes.

    Returns
    -------
    list of Path
        One file per slice, from the patient's left to the right.

    Raises
    ------
    DemoUnavailable
        If the file cannot be read as one image with axes at right angles.
    """
    slices = sagittal(read_nifti(nifti))
    folder.mkdir(parents=True, exist_ok=True)
    seed = hashlib.sha256(nifti.read_bytes()).hexdigest()
    paths = []
    for number, dataset in enumerate(_instances(slices, seed), start=1):
        paths.append(folder / f"{number:04}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def sagittal(image: Image) -> Slices:
    """Return an image as sagittal slices: axes reordered and flipped, no value moved in space.

    Raises
    ------
    DemoUnavailable
        If the image's axes are not at right angles.
    """
    affine = _RAS_TO_LPS @ image.affine
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(cosines.T @ cosines, np.eye(3), atol=_SKEW):
        raise DemoUnavailable("the image's axes are not at right angles: it cannot be written as a series")
    order = _axis_order(cosines)
    array = image.array.transpose(order)
    affine = affine[:, [*order, 3]]
    for axis, (direction, sign) in enumerate(_SAGITTAL):
        if affine[direction, axis] * sign < 0:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Slices(_stored_values(array), affine)


def _axis_order(cosines: NDArray[np.float64]) -> tuple[int, ...]:
    """Return which image axis becomes the slice, the row and the column axis."""
    left = np.abs(cosines)
    order = {}
    # the clearest match first, so that an oblique image gives each axis away once
    for _ in _SAGITTAL:
        direction, axis = np.unravel_index(np.argmax(left), left.shape)
        order[int(direction)] = int(axis)
        left[direction, :] = -1
        left[:, axis] = -1
    return tuple(order[direction] for direction, _ in _SAGITTAL)


def _stored_values(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    low, high = float(array.min()), float(array.max())
    whole = low >= 0 and high <= _BRIGHTEST and bool(np.all(array == np.rint(array)))
    if not whole:
        array = (array - low) * (_BRIGHTEST / max(high - low, _SMALLEST_RANGE))
    return np.rint(array).astype(np.uint16)


def _wanted(reason: str) -> str:
    missing = f"no head to push: Debian's {_PACKAGE} is not installed and {reason}"
    return f"{missing}; give your own with `make demo STUDY=folder`"


def _download(cache: Path) -> None:
    if not _ran(["apt-get", "download", "-qq", _PACKAGE], cache):
        # a fresh machine has no package lists yet; only root may fetch them
        refreshed = os.geteuid() == 0 and _ran(["apt-get", "update", "-qq"], cache)
        if not refreshed or not _ran(["apt-get", "download", "-qq", _PACKAGE], cache):
            raise DemoUnavailable(_wanted("apt-get could not download it"))
    for package in cache.glob(f"{_PACKAGE}_*.deb"):
        if not _ran(["dpkg-deb", "-x", package.name, "."], cache):
            raise DemoUnavailable(_wanted(f"{package} could not be unpacked"))
        package.unlink()


def _ran(command: Sequence[str], folder: Path) -> bool:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_APT_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _instances(slices: Slices, seed: str) -> Iterator[Dataset]:
    for index in range(len(slices.array)):
        dataset = Dataset()
        uid = UID(derived_uid(f"demo/{seed}/{index}"))
        _patient_and_study(dataset, seed)
        _series(dataset, seed)
        _acquisition(dataset, slices)
        _image(dataset, slices, index)
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, uid
        dataset.file_meta = _file_meta(uid)
        yield dataset


def _patient_and_study(dataset: Dataset, seed: str) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Colin27^Demo"
    dataset.PatientID = "DEMO-COLIN27"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.StudyInstanceUID = derived_uid(f"demo/{seed}/study")
    dataset.StudyDate, dataset.StudyTime = _DATE, _TIME
    dataset.StudyID = "DEMO"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Demonstration, not a patient"


def _series(dataset: Dataset, seed: str) -> None:
    dataset.Modality = "MR"
    dataset.SeriesInstanceUID = derived_uid(f"demo/{seed}/series")
    dataset.FrameOfReferenceUID = derived_uid(f"demo/{seed}/frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.SeriesNumber = "1"
    dataset.SeriesDate, dataset.SeriesTime = _DATE, _TIME
    dataset.SeriesDescription = "T1 whole head"
    dataset.BodyPartExamined = "HEAD"
    dataset.PatientPosition = "HFS"
    dataset.Manufacturer = "MRIcron"
    dataset.ManufacturerModelName = "ch2 (Colin27)"


def _acquisition(dataset: Dataset, slices: Slices) -> None:
    """Fill the MR Image Module (PS3.3 C.8.3.1); echo and repetition time are not stated by the source."""
    thickness, height, width = np.linalg.norm(slices.affine[:3, :3], axis=0)
    dataset.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
    dataset.DerivationDescription = "Average of 27 scans of one head, resampled to 1 mm"
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = "SP"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "3D"
    dataset.EchoTime = None
    dataset.RepetitionTime = None
    dataset.EchoTrainLength = None
    dataset.SliceThickness = format_number_as_ds(float(thickness))
    dataset.SpacingBetweenSlices = format_number_as_ds(float(thickness))
    dataset.PixelSpacing = _decimals((height, width))
    dataset.ImageOrientationPatient = _decimals((*slices.affine[:3, 2] / width, *slices.affine[:3, 1] / height))


def _image(dataset: Dataset, slices: Slices, index: int) -> None:
    pixels = slices.array[index]
    dataset.InstanceNumber = str(index + 1)
    dataset.AcquisitionNumber = "1"
    dataset.ContentDate, dataset.ContentTime = _DATE, _TIME
    dataset.ImagePositionPatient = _decimals(slices.affine[:3, 3] + index * slices.affine[:3, 0])
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, _BITS, _BITS - 1
    dataset.PixelRepresentation = 0
    brightest = int(slices.array.max())
    dataset.WindowCenter, dataset.WindowWidth = str(max(brightest // 2, 1)), str(max(brightest, 1))
    dataset.PixelData = pixels.astype("<u2").tobytes()


def _decimals(values: Sequence[float] | NDArray[np.float64]) -> list[str]:
    # + 0.0 turns -0.0 into 0.0
    return [format_number_as_ds(float(value) + 0.0) for value in values]


def _file_meta(uid: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
