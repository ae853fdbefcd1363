"""Synthetic source series, classic and Enhanced, and findings on them, for the tests of `dicom_node.results`."""

from collections.abc import Sequence
from io import BytesIO

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from dicom_node.contract import Algorithm, Findings, Measurement, Segment
from dicom_node.entities import JobKey, derived_uid
from dicom_node.geometry import SourceFrame, SourceSeries
from dicom_node.results import RunContext
from dicom_node.settings import ResultProfile, Settings

ROLE = "t1"
BRAIN = Code("12738006", "SCT", "Brain")
ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
VOLUME = Code("118565006", "SCT", "Volume")
ML = Code("ml", "UCUM", "milliliter")
ALGORITHM = Algorithm(
    name="example",
    version="1.0.2",
    family=Code("123110", "DCM", "Artificial Intelligence"),
    weights_sha256="ab" * 32,
    parameters={"threshold": 0.5},
)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
#: 30 degrees about two axes
OBLIQUE = (0.75, 0.433013, -0.5, -0.5, 0.866025, 0.0)


def profile(**changes: object) -> ResultProfile:
    """Return the default profile with some values changed."""
    return Settings().profile().model_copy(update=changes)


def run_context(**changes: object) -> RunContext:
    """Return the context of one job; equal arguments, equal context."""
    key = JobKey((("1.2.3", "00"),), "example", "1.0", "ab", "0.1")
    values = {
        "key": key,
        "created_at": 1_790_000_000.25,
        "node_name": "node1",
        "profile": profile(),
        "pipeline_title": "Brain extraction",
    }
    return RunContext(**(values | changes))


def _identified(character_set: str | Sequence[str] | None, name: str) -> Dataset:
    dataset = Dataset()
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set
    dataset.PatientName = name
    dataset.PatientID = "P-1"
    dataset.IssuerOfPatientID = "HOSPITAL"
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "F"
    dataset.PatientAge = "056Y"
    dataset.StudyInstanceUID = derived_uid("study")
    dataset.StudyDate, dataset.StudyTime = "20261123", "101112"
    dataset.StudyID, dataset.AccessionNumber = "S1", "A1"
    dataset.ReferringPhysicianName = "Doe^Jane"
    dataset.StudyDescription = "Head"
    dataset.SeriesInstanceUID = derived_uid("series")
    dataset.SeriesNumber = 5
    dataset.FrameOfReferenceUID = derived_uid("frame of reference")
    dataset.Modality = "MR"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Scanner maker", "Scanner"
    dataset.BodyPartExamined = "BRAIN"
    return dataset


def _reread(dataset: Dataset) -> Dataset:
    """Return a data set as it is after being stored and read: undecoded, with its File Meta Information."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return dcmread(BytesIO(buffer.getvalue()))


def affine_of(orientation: Sequence[float], spacing: Sequence[float], origin: Sequence[float]) -> NDArray[np.float64]:
    """Return float64, 4 x 4, right-handed, (slice, row, column) to LPS mm; spacing is (slice, row, column) in mm."""
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    affine = np.eye(4)
    affine[:3, 0] = np.cross(along_column, along_row) * spacing[0]
    affine[:3, 1] = along_column * spacing[1]
    affine[:3, 2] = along_row * spacing[2]
    affine[:3, 3] = origin
    return affine


def _text(value: float) -> str:
    return f"{value:.12f}"[:16]


def _plane(dataset: Dataset, affine: NDArray[np.float64], index: int) -> None:
    dataset.ImagePositionPatient = [_text(value) for value in affine[:3, 3] + index * affine[:3, 0]]


def source_series(
    shape: tuple[int, int, int] = (6, 20, 24),
    orientation: Sequence[float] = SAGITTAL,
    spacing: Sequence[float] = (1.2, 1.0, 0.9),
    origin: Sequence[float] = (-60.0, -110.5, 120.25),
    *,
    enhanced: bool = False,
    character_set: str | Sequence[str] | None = "ISO_IR 100",
    name: str = "Müller^Jörg",
) -> SourceSeries:
    """Return a source series of a given geometry; spacing is (slice, row, column) in mm."""
    affine = affine_of(orientation, spacing, origin)
    make = _enhanced if enhanced else _classic
    datasets = make(shape, orientation, spacing, affine, _identified(character_set, name))
    frames = [SourceFrame(0, i + 1) if enhanced else SourceFrame(i, 1) for i in range(shape[0])]
    array = np.random.default_rng(1).random(shape, np.float32)
    volume = hd.Volume(array, affine, coordinate_system="PATIENT")
    return SourceSeries(volume, tuple(datasets), tuple(frames))


def _classic(
    shape: tuple[int, int, int],
    orientation: Sequence[float],
    spacing: Sequence[float],
    affine: NDArray[np.float64],
    identity: Dataset,
) -> list[Dataset]:
    datasets = []
    for index in range(shape[0]):
        dataset = Dataset()
        dataset.update(identity)
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, derived_uid(f"image {index}")
        dataset.InstanceNumber = index + 1
        dataset.Rows, dataset.Columns = shape[1:]
        _plane(dataset, affine, index)
        dataset.ImageOrientationPatient = [_text(value) for value in orientation]
        dataset.PixelSpacing = [_text(value) for value in spacing[1:]]
        dataset.SliceThickness = _text(spacing[0])
        datasets.append(_reread(dataset))
    return datasets


def _enhanced(
    shape: tuple[int, int, int],
    orientation: Sequence[float],
    spacing: Sequence[float],
    affine: NDArray[np.float64],
    identity: Dataset,
) -> list[Dataset]:
    dataset, directions, measures, shared = identity, Dataset(), Dataset(), Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedMRImageStorage, derived_uid("enhanced image")
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = *shape[1:], shape[0]
    directions.ImageOrientationPatient = [_text(value) for value in orientation]
    measures.PixelSpacing = [_text(value) for value in spacing[1:]]
    measures.SliceThickness = _text(spacing[0])
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [directions], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for index in range(shape[0]):
        position, groups = Dataset(), Dataset()
        _plane(position, affine, index)
        groups.PlanePositionSequence = [position]
        dataset.PerFrameFunctionalGroupsSequence.append(groups)
    return [_reread(dataset)]


def blob(shape: tuple[int, int, int] = (6, 20, 24)) -> NDArray[np.bool_]:
    """Return a mask without any symmetry, on some of the slices."""
    mask = np.zeros(shape, dtype=np.bool_)
    mask[1:4, 3:11, 5:17] = True
    mask[2, 11:14, 5:8] = True
    mask[3, 3:5, 5:9] = False
    return mask


def segment(label: str = "Brain", mask: NDArray[np.bool_] | None = None) -> Segment:
    """Return one segment."""
    return Segment(label, blob() if mask is None else mask, ANATOMY, BRAIN, (60.0, 40.0, 30.0))


def findings(*segments: Segment, remarks: tuple[str, ...] = ("Checked.",)) -> Findings:
    """Return findings with one volume for each segment."""
    volumes = tuple(Measurement(VOLUME, float(each.mask.sum()) / 1000, ML, each.label) for each in segments)
    return Findings(ROLE, ALGORITHM, segments, volumes, remarks)
