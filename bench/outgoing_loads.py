"""Files to send for `bench.delivery`: classic images as small as they come, and segmentations of many frames."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage

from bench.senders import Template
from dicom_node.outgoing import OutgoingObject

_MR_BYTES: Final = 131072
_FRAMES: Final = 160


@dataclass(frozen=True)
class Load:
    """Files to send, of one SOP class, in one folder."""

    name: str
    folder: Path
    sop_class_uid: str

    def objects(self) -> list[OutgoingObject]:
        """Return what the node sends; the UIDs are read beforehand, as the ledger has them."""
        return [
            OutgoingObject(path, self.sop_class_uid, _uid(path), str(ExplicitVRLittleEndian))
            for path in sorted(self.folder.iterdir())
        ]

    @property
    def megabytes(self) -> float:
        """10^6 bytes."""
        return sum(path.stat().st_size for path in self.folder.iterdir()) / 1e6


def images(folder: Path, series: Path, count: int) -> Load:
    """Write MR images of 131 kB with UIDs of their own, after the first image of a series."""
    files = Template(series, _MR_BYTES).write(folder / "mr", count, 1)
    return Load("mr", files.folders[0], str(MRImageStorage))


def segmentations(folder: Path, count: int) -> Load:
    """Write data sets of the shape and size of a binary SEG, about 1 MB; no viewer is meant to open them."""
    (folder / "seg").mkdir()
    for number in range(count):
        _segmentation(number).save_as(folder / "seg" / f"{number:03}.dcm", enforce_file_format=True)
    return Load("seg", folder / "seg", str(SegmentationStorage))


def _segmentation(number: int) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = SegmentationStorage, f"2.25.77{time.time_ns()}{number}"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "2.25.77.1", f"2.25.77.2.{number}", "SEG"
    data.PatientID = "BENCH"
    data.Rows = data.Columns = 256
    data.NumberOfFrames, data.SamplesPerPixel = _FRAMES, 1
    data.BitsAllocated = data.BitsStored = 1
    data.HighBit = data.PixelRepresentation = 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PerFrameFunctionalGroupsSequence = Items([_frame(index) for index in range(_FRAMES)])
    data.PixelData = os.urandom(256 * 256 // 8) * _FRAMES
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


def _frame(index: int) -> Dataset:
    position, source, derivation, content, group = (Dataset() for _ in range(5))
    position.ImagePositionPatient = [-120.0, -110.5, float(index)]
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = MRImageStorage, f"2.25.78.{index}"
    derivation.SourceImageSequence = Items([source])
    content.DimensionIndexValues = [1, index + 1]
    group.DerivationImageSequence = Items([derivation])
    group.FrameContentSequence = Items([content])
    group.PlanePositionSequence = Items([position])
    return group


def _uid(path: Path) -> str:
    """Return Media Storage SOP Instance UID (0002,0003), without reading more than the head of a file."""
    with path.open("rb") as file:
        head = file.read(1024)
    at = head.index(b"\x02\x00\x03\x00UI")
    length = int.from_bytes(head[at + 6 : at + 8], "little")
    return head[at + 8 : at + 8 + length].decode().strip("\0 ")
