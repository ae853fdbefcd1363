"""A synthetic MR series and structures on it, as every maker of Segmentations wants them: arrays, NRRD, JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from dicom_node.entities import derived_uid

SOURCE: Final = "source"
LABELS: Final = "labels.npy"
NRRD: Final = "labels.nrrd"
METADATA: Final = "segments.json"
SPACING_MM: Final = 1.0
#: Half axes of a structure, in shares of the volume's edge.
_SMALLEST, _LARGEST = 0.06, 0.16
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be made.

    Parameters
    ----------
    shape : (slices, rows, columns)
    segments : int
        Labels 1 to this, none of them empty.
    """

    title: str
    shape: tuple[int, int, int]
    segments: int


def write_case(case: Case, folder: Path) -> None:
    """Write source images, labels (uint8, (slice, row, column)), the same as NRRD, and dcmqi's metadata."""
    (folder / SOURCE).mkdir(parents=True)
    labels = structures(case)
    np.save(folder / LABELS, labels)
    _write_nrrd(folder / NRRD, labels)
    (folder / METADATA).write_text(json.dumps(_metadata(case)))
    pixels = np.random.default_rng(_SEED).integers(0, 1000, case.shape[1:], dtype=np.uint16)
    for index in range(case.shape[0]):
        _image(case, index, pixels).save_as(folder / SOURCE / f"{index:04}.dcm", enforce_file_format=True)


def structures(case: Case) -> NDArray[np.uint8]:
    """Return labels, uint8, (slice, row, column): ellipsoids at random places, each with a core of its own."""
    random = np.random.default_rng(_SEED)
    labels = np.zeros(case.shape, dtype=np.uint8)
    axes = np.ogrid[tuple(slice(size) for size in case.shape)]
    sizes = np.array(case.shape)
    centres = [random.uniform(0.2, 0.8, 3) * sizes for _ in range(case.segments)]
    for number, centre in enumerate(centres, 1):
        half = random.uniform(_SMALLEST, _LARGEST, 3) * sizes
        inside = sum(((axis - at) / size) ** 2 for axis, at, size in zip(axes, centre, half, strict=True)) < 1
        labels[inside] = number
    for number, centre in enumerate(centres, 1):
        labels[tuple(centre.astype(int))] = number
    return labels


def files(folder: Path) -> list[Path]:
    """Return the source images in the order of the slices of the labels."""
    return sorted((folder / SOURCE).iterdir())


def _position(case: Case, index: int) -> tuple[float, float, float]:
    """Return LPS mm of the first voxel: axial, from the head to the feet, as slices of the node's volumes run."""
    return (-100.0, -100.0, (case.shape[0] - 1 - index) * SPACING_MM)


def _image(case: Case, index: int, pixels: NDArray[np.uint16]) -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, UID(derived_uid(f"bench/{case.title}/{index}"))
    image.StudyInstanceUID = derived_uid(f"bench/{case.title}/study")
    image.SeriesInstanceUID = derived_uid(f"bench/{case.title}/series")
    image.FrameOfReferenceUID = derived_uid(f"bench/{case.title}/frame of reference")
    image.PatientName, image.PatientID = "Bench^Results", "BENCH"
    image.PatientBirthDate = image.PatientSex = image.ReferringPhysicianName = ""
    image.StudyDate, image.StudyTime = "20261123", "120000"
    image.StudyID, image.AccessionNumber = "1", "1"
    image.Modality, image.Manufacturer = "MR", "bench"
    image.PositionReferenceIndicator = ""
    image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    image.SeriesNumber, image.InstanceNumber = 1, index + 1
    image.ImagePositionPatient = list(_position(case, index))
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing = [SPACING_MM, SPACING_MM]
    image.SliceThickness = SPACING_MM
    image.Rows, image.Columns = case.shape[1:]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.PixelData = pixels.tobytes()
    image["PixelData"].VR = "OW"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _write_nrrd(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write labels with the slice nearest to the feet first, as ITK's directions want it."""
    head = (
        "NRRD0004",
        "type: uchar",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(size) for size in labels.shape[::-1])}",
        "space directions: " + " ".join(f"({','.join(str(x) for x in row)})" for row in np.eye(3) * SPACING_MM),
        "kinds: domain domain domain",
        "encoding: raw",
        "space origin: (-100.0,-100.0,0.0)",
    )
    path.write_bytes("\n".join(head).encode() + b"\n\n" + labels[::-1].tobytes())


def _metadata(case: Case) -> dict[str, object]:
    anatomy = {"CodeValue": "123037004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
    organ = {"CodeValue": "113343008", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Organ"}
    return {
        "ContentCreatorName": "bench",
        "SeriesDescription": "bench",
        "SeriesNumber": "100",
        "InstanceNumber": "1",
        "ContentLabel": "BENCH",
        "ContentDescription": "bench",
        "BodyPartExamined": "",
        "segmentAttributes": [
            [
                {
                    "labelID": number,
                    "SegmentDescription": f"Organ {number}",
                    "SegmentLabel": f"Organ {number}",
                    "SegmentAlgorithmType": "AUTOMATIC",
                    "SegmentAlgorithmName": "bench",
                    "SegmentedPropertyCategoryCodeSequence": anatomy,
                    "SegmentedPropertyTypeCodeSequence": organ,
                    "recommendedDisplayRGBValue": [200, number % 200, 100],
                }
                for number in range(1, case.segments + 1)
            ]
        ],
    }
