"""What `build` needs to know beside the findings, what it returns, and the bytes that are stored and sent."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Final, Literal

from pydicom import Dataset, dcmwrite

from dicom_node.entities import JobKey
from dicom_node.settings import ResultSettings

Kind = Literal["SEG", "SR"]
#: Series numbers per kind lie side by side, from `ResultSettings.series_number_base` on.
KINDS: Final[tuple[Kind, ...]] = ("SEG", "SR")


@dataclass(frozen=True, slots=True)
class RunContext:
    """The job whose findings become objects; equal contexts and findings give equal bytes.

    Parameters
    ----------
    created_at : float
        UTC seconds; every date and time that the objects carry of their own comes from it.
    pipeline_title : str
        What a radiologist reads in the series list.
    empty_frames : bool
        True: the SEG has a frame for every source image of each segment, empty ones too (for old viewers).
    utc_offset_minutes : int
        The hospital's local time; a source with Timezone Offset From UTC (0008,0201) says it itself.
    """

    key: JobKey
    created_at: float
    node_name: str
    settings: ResultSettings
    pipeline_title: str
    empty_frames: bool = False
    utc_offset_minutes: int = 0

    def now(self, offset: str = "") -> datetime:
        """Return the time of creation at an offset such as "+0100" (PS3.3 C.12.1.1.8), or at the hospital's."""
        minutes = self.utc_offset_minutes
        if offset:
            sign = -1 if offset[0] == "-" else 1
            minutes = sign * (int(offset[1:3]) * 60 + int(offset[3:5]))
        return datetime.fromtimestamp(self.created_at, timezone(timedelta(minutes=minutes)))


@dataclass(frozen=True, slots=True)
class BuiltObject:
    """One finished object: a Segmentation or a Comprehensive 3D SR.

    Parameters
    ----------
    dataset : Dataset
        Complete, with File Meta Information; Explicit VR Little Endian.
    """

    kind: Kind
    dataset: Dataset = field(repr=False)  # its repr holds patient data

    @property
    def sop_class_uid(self) -> str:
        """Return the SOP Class UID (0008,0016)."""
        return str(self.dataset.SOPClassUID)

    @property
    def sop_instance_uid(self) -> str:
        """Return the SOP Instance UID (0008,0018)."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def series_instance_uid(self) -> str:
        """Return the Series Instance UID (0020,000E)."""
        return str(self.dataset.SeriesInstanceUID)

    @property
    def study_instance_uid(self) -> str:
        """Return the Study Instance UID (0020,000D), that of the source."""
        return str(self.dataset.StudyInstanceUID)

    @property
    def transfer_syntax_uid(self) -> str:
        """Return the Transfer Syntax UID (0002,0010)."""
        return str(self.dataset.file_meta.TransferSyntaxUID)


def encode(built: BuiltObject) -> bytes:
    """Return the file (PS3.10 7) of an object; the same object always gives the same bytes."""
    buffer = BytesIO()
    dcmwrite(buffer, built.dataset, enforce_file_format=True)
    return buffer.getvalue()
