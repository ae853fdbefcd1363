"""Small synthetic MR studies as files: complete enough to be received, routed, read as a volume and reported on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

#: What identifies the patient of every study here: none of it may be found in a log.
PATIENT: Final = ("Zyx^Wvut", "PID-8642", "19480229")
_SIZE: Final = 24


def write_study(
    folder: Path,
    description: str = "T1",
    slices: int = 6,
    *,
    study: str = "",
    numbers: Sequence[int] = (),
    **more: str,
) -> str:
    """Write one axial MR series, a file a slice, into a folder; return its Study Instance UID.

    Parameters
    ----------
    numbers : sequence of int
        Which slices to write; none given: all of `slices`. Equal folder names and numbers give equal positions.
    more : keyword=value
        Attributes that differ from the usual.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series, frame = generate_uid(), "1.2.826.0.1.3680043.8.498.77"
    study = study or generate_uid()
    for number in numbers or range(slices):
        image = _image(number, study, series, frame)
        image.SeriesDescription = description
        for keyword, value in more.items():
            setattr(image, keyword, value)
        save(image, folder / f"{number:04}.dcm")
    return study


def save(image: Dataset, path: Path) -> None:
    """Write a data set as a DICOM file (PS3.10)."""
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)


def _image(number: int, study: str, series: str, frame: str) -> Dataset:
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.PatientName, image.PatientID, image.PatientBirthDate = PATIENT
    image.PatientSex = "O"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = study, series, generate_uid()
    image.SOPClassUID, image.FrameOfReferenceUID = MRImageStorage, frame
    image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20260101", "101112", "S", ""
    image.ReferringPhysicianName = ""
    image.Modality, image.Manufacturer, image.ManufacturerModelName = "MR", "Scanner maker", "Scanner"
    image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    image.SeriesNumber, image.InstanceNumber = 3, number + 1
    image.PositionReferenceIndicator = ""
    image.ImagePositionPatient = [-10.0, -20.0, 2.0 * number]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [1.0, 1.0], 2.0
    image.Rows = image.Columns = _SIZE
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    pixels = np.random.default_rng(number).integers(0, 100, (_SIZE, _SIZE), np.uint16)
    pixels[6:14, 8:18] += 1500
    image.PixelData = pixels.tobytes()
    image["PixelData"].VR = "OW"
    return image
