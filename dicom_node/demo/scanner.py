"""The demo's scanner: pushes a folder of DICOM files by C-STORE, as they are, without using any part of the node."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import AE
from pynetdicom.presentation import build_context

from dicom_node.entities import Peer
from dicom_node.errors import DemoUnavailable, PeerUnreachable
from dicom_node.requestor import leave_answers

_SUCCESS: Final = 0x0000
_IDENTITY: Final = ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "Modality"]


@dataclass(frozen=True, slots=True)
class Image:
    """One DICOM file to push."""

    path: Path
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str


def find_study(folder: Path) -> tuple[Image, ...]:
    """Return every DICOM instance under a folder, in the order of the files' paths.

    Raises
    ------
    DemoUnavailable
        If there is none, or the instances are of more than one study.
    """
    images = tuple(_images(folder))
    studies = {image.study_instance_uid for image in images}
    if not images:
        raise DemoUnavailable(f"{folder} holds no DICOM file: give the folder of one MR study")
    if len(studies) > 1:
        raise DemoUnavailable(f"{folder} holds {len(studies)} studies: give the folder of one")
    return images


def push(images: Sequence[Image], to: Peer, calling: str, sent: Callable[[int], None]) -> None:
    """Send all images in one association (PS3.4 B), calling `sent` with the count after each.

    Raises
    ------
    PeerUnreachable
        If there is no association, or an instance is not answered with success; the text has the status.
    """
    entity = AE(ae_title=calling)
    pairs = sorted({(image.sop_class_uid, image.transfer_syntax_uid) for image in images})
    association = entity.associate(
        to.host, to.port, [build_context(sop_class, syntax) for sop_class, syntax in pairs], ae_title=str(to.ae_title)
    )
    if not association.is_established:
        raise PeerUnreachable(f"{to} did not accept an association from {calling}")
    leave_answers(association)
    try:
        for count, image in enumerate(images, start=1):
            status = association.send_c_store(image.path).get("Status")
            if status != _SUCCESS:
                answer = "nothing" if status is None else f"status 0x{status:04X}"
                raise PeerUnreachable(f"{to} answered {answer} to instance {count} of {len(images)}")
            sent(count)
    finally:
        association.release()


def _images(folder: Path) -> Iterator[Image]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        header = _header(path)
        if header is not None and all(keyword in header for keyword in _IDENTITY[:3]):
            syntax = str(header.file_meta.TransferSyntaxUID)
            yield Image(path, str(header.SOPClassUID), syntax, str(header.StudyInstanceUID))


def _header(path: Path) -> Dataset | None:
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=_IDENTITY)
    except InvalidDicomError:
        return None
    # a DICOMDIR lists instances and is none itself
    return header if "TransferSyntaxUID" in header.file_meta else None
