"""A folder of DICOM files as the studies that they are: for the commands that work without a network or a ledger."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info

from dicom_node import MANUFACTURER, routing
from dicom_node.entities import InstanceRef, StudyFacts
from dicom_node.errors import Failure

#: Preamble, prefix, and the File Meta Information Group Length element itself (PS3.10 7.1).
_PREAMBLE: Final = 128 + 4
_META_START: Final = _PREAMBLE + 12
_IDENTITY: Final = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Manufacturer"]
_BLOCK: Final = 2**20


class FolderUnusable(Failure):
    """A folder does not hold what a command needs."""


@dataclass(frozen=True, slots=True)
class FolderStudy:
    """One study of a folder: what rules may ask about it; paths of its instances are absolute."""

    facts: StudyFacts
    instances: Mapping[str, InstanceRef]  # by path

    def refs(self, paths: tuple[str, ...]) -> tuple[InstanceRef, ...]:
        """Return the instances at some of its paths."""
        return tuple(self.instances[path] for path in paths)


def read_folder(folder: Path, *, own: bool = False) -> Mapping[str, FolderStudy]:
    """Return Study Instance UID -> study for every DICOM file (PS3.10) at or below a folder, or for one file.

    Parameters
    ----------
    own : bool
        Take objects that this software made too; a running node leaves them out.

    Raises
    ------
    FolderUnusable
        If there is none.
    """
    received: dict[str, list[routing.ReceivedHeader]] = defaultdict(list)
    for path, dataset in _datasets(folder):
        ref = _ref(path, dataset)
        if own or not ref.own:
            header = routing.read_header(path)
            received[ref.study_instance_uid].append(routing.ReceivedHeader(ref, header, "", "", ""))
    if not received:
        raise FolderUnusable(f"no DICOM file (PS3.10, with preamble) at or below {folder}")
    return {study: _study(study, headers) for study, headers in received.items()}


def one_study(folder: Path, wanted: str | None = None) -> FolderStudy:
    """Return the only study of a folder, or the one that is wanted.

    Raises
    ------
    FolderUnusable
        If there are several, or not the wanted one; the text lists them.
    """
    studies = read_folder(folder)
    if wanted is None and len(studies) == 1:
        return next(iter(studies.values()))
    if wanted is not None and wanted in studies:
        return studies[wanted]
    listed = ", ".join(sorted(studies))
    said = f"no study {wanted} in {folder}" if wanted else f"{len(studies)} studies in {folder}: choose with --study"
    raise FolderUnusable(f"{said} ({listed})")


def _study(study: str, received: list[routing.ReceivedHeader]) -> FolderStudy:
    return FolderStudy(routing.gather(study, received), {one.ref.path: one.ref for one in received})


def _datasets(folder: Path) -> Iterator[tuple[Path, Dataset]]:
    found = [folder] if folder.is_file() else folder.rglob("*")
    for path in sorted(path for path in found if path.is_file()):
        try:
            dataset = dcmread(path, stop_before_pixels=True, specific_tags=_IDENTITY)
        except InvalidDicomError:
            continue
        if all(keyword in dataset for keyword in _IDENTITY[:4]):
            yield path.resolve(), dataset


def _ref(path: Path, dataset: Dataset) -> InstanceRef:
    return InstanceRef(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        path=str(path),
        sha256=_digest(path, _start(dataset)),
        size=path.stat().st_size,
        own=dataset.get("Manufacturer") == MANUFACTURER,
    )


def _start(dataset: Dataset) -> int:
    """Return where the data set starts in its file, in bytes."""
    length = dataset.file_meta.get("FileMetaInformationGroupLength")
    if length is not None:
        return _META_START + int(length)
    # it is required (PS3.10 7.1), and some writers leave it out all the same
    meta = DicomBytesIO()
    write_file_meta_info(meta, dataset.file_meta, enforce_standard=False)
    return _PREAMBLE + len(meta.getvalue())


def _digest(path: Path, start: int) -> str:
    """Return the SHA-256 of the data set alone: the same as if the instance had been received."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
