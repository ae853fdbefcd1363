"""What `build` needs to know beside the findings, what it returns, and the bytes that are stored and sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Final

from pydicom import Dataset, dcmwrite

from dicom_node.contract import Findings
from dicom_node.entities import JobKey
from dicom_node.geometry import SourceSeries
from dicom_node.settings import ResultKind, ResultProfile

#: Series numbers per kind lie side by side, from the profile's base on.
KINDS: Final = tuple(ResultKind)
#: Timezone Offset From UTC (0008,0201): -1200 to +1400.
_OFFSET: Final = re.compile(r"([+-])(0\d|1[0-4])([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The report that a new one takes the place of (PS3.3 C.17.2, Predecessor Documents Sequence)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class RunContext:
    """The job whose findings become objects; equal contexts and findings give equal bytes.

    Parameters
    ----------
    created_at : float
        UTC seconds; every date and time that the objects carry of their own comes from it.
    profile : ResultProfile
        What is wanted, and in which form; every value filled in (`Settings.profile`).
    pipeline_title : str
        What a radiologist reads in the series list.
    utc_offset_minutes : int
        The hospital's local time; a source with Timezone Offset From UTC (0008,0201) says it itself.
    predecessor : Predecessor or None
        The report of an earlier revision of the same study, for the same destinations; `key` must depend on it.
    """

    key: JobKey
    created_at: float
    node_name: str
    profile: ResultProfile
    pipeline_title: str
    utc_offset_minutes: int = 0
    predecessor: Predecessor | None = None

    @property
    def notice(self) -> str:
        """Return what every result says of itself; may be empty."""
        return self.profile.notice or ""

    def now(self, offset: str = "") -> datetime:
        """Return the time of creation at an offset such as "+0100" (PS3.3 C.12.1.1.8), or at the hospital's.

        An offset that is none, such as "Z", counts as absent: the result is none the worse for it.
        """
        minutes = self.utc_offset_minutes
        if given := _OFFSET.fullmatch(offset.strip()):
            sign, hours, part = given.groups()
            minutes = int(f"{sign}1") * (int(hours) * 60 + int(part))
        return datetime.fromtimestamp(self.created_at, timezone(timedelta(minutes=minutes)))


@dataclass(frozen=True, slots=True)
class BuiltObject:
    """One finished object.

    Parameters
    ----------
    dataset : Dataset
        Complete, with File Meta Information.
    series : int
        From 1: a pipeline may make several series of one kind.
    """

    kind: ResultKind
    dataset: Dataset = field(repr=False)  # its repr holds patient data
    series: int = 1

    @property
    def name(self) -> str:
        """Return a name for its file, unique among the objects of one build: "seg", "sc.3", "img2.17"."""
        series = "" if self.series == 1 else str(self.series)
        instance = int(self.dataset.InstanceNumber)
        return f"{self.kind.lower()}{series}" + ("" if instance == 1 else f".{instance}")

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


@dataclass(frozen=True, slots=True)
class Making:
    """What one builder works from.

    Parameters
    ----------
    sources : mapping of role to SourceSeries
        Every series that the pipeline saw; masks and maps lie on that of `findings.role`.
    taken : frozenset of int
        Series numbers that the study is known to have.
    built : tuple of BuiltObject
        What was built before, in the order of `building.BUILDERS`: reports refer to it.
    """

    findings: Findings
    sources: Mapping[str, SourceSeries]
    run: RunContext
    taken: frozenset[int]
    built: tuple[BuiltObject, ...] = ()

    @property
    def source(self) -> SourceSeries:
        """Return the series on whose grid the findings lie."""
        return self.sources[self.findings.role]

    @property
    def images(self) -> list[Dataset]:
        """Return every source image of every role."""
        return [image for source in self.sources.values() for image in source.datasets]

    def of_kind(self, kind: ResultKind) -> tuple[BuiltObject, ...]:
        """Return what was built before of one kind."""
        return tuple(built for built in self.built if built.kind is kind)


def encode(built: BuiltObject) -> bytes:
    """Return the file (PS3.10 7) of an object; the same object always gives the same bytes."""
    buffer = BytesIO()
    dcmwrite(buffer, built.dataset, enforce_file_format=True)
    return buffer.getvalue()
