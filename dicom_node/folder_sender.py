"""A folder as destination, such as a share that another system reads: STUDY/SERIES/INSTANCE.dcm, as stored (PS3.10).

A file is there whole or not at all: a temporary name, fsync, rename, fsync of the folders. The folder itself is never
made: where a share is not mounted, nothing may end up on the disk below it.
"""

import errno
import filecmp
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from dicom_node.errors import PeerUnreachable
from dicom_node.instance_store.incoming import sync_folder
from dicom_node.outgoing import SUCCESS, Outcome, OutgoingObject, Verdict
from dicom_node.pace import Pace

log = structlog.get_logger(__name__)

_PIECE: Final = 2**18
_NAMES: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
#: What a file system answers that cannot sync a folder (some shares); its entries are safe as soon as it says.
_CANNOT_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})


class _Unusable(Exception):
    """The stored file is damaged, or names no place."""


class FolderSender:
    """Copies objects into a folder that is there."""

    def __init__(self, root: Path, pace: Pace) -> None:
        self._root = root
        self._pace = pace

    def __str__(self) -> str:
        """Return the folder."""
        return str(self._root)

    def echo(self) -> None:
        """Return if the folder is there and this process may write into it.

        Raises
        ------
        PeerUnreachable
            If not.
        """
        if not self._root.is_dir():
            raise PeerUnreachable(f"{self._root} is not there: is the share mounted? The node does not make it")
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise PeerUnreachable(f"{self._root} may not be written by the node's user: allow it")

    def accepted(self, sop_class_uids: Sequence[str], _transfer_syntax_uid: str) -> Mapping[str, bool | None]:
        """Return that a folder takes everything."""
        return dict.fromkeys(sop_class_uids, True)

    def store(self, objects: Sequence[OutgoingObject]) -> Iterator[Outcome]:
        """Copy objects; yield one outcome for each, in order.

        What is there already with the same bytes counts as stored; with others it is left alone.
        """
        for item in objects:
            outcome = self._stored(item)
            log.info(
                "object sent",
                path=str(self._root),
                sop_instance_uid=item.sop_instance_uid,
                outcome=outcome.verdict,
                reason=outcome.reason,
            )
            yield outcome

    def _stored(self, item: OutgoingObject) -> Outcome:
        try:
            self.echo()
            target = self._root / _place(item.path)
            if target.exists():
                return _known(item, target)
            self._write(item.path, target)
        except _Unusable as unusable:
            return item.unreadable(unusable.__cause__ or unusable)
        except PeerUnreachable as failure:
            return item.postponed(str(failure))
        except OSError as error:
            return item.postponed(f"{self._root} cannot be written: {error.strerror or type(error).__name__}")
        return Outcome(item.sop_instance_uid, Verdict.ACCEPTED, SUCCESS, "stored")

    def _write(self, source: Path, target: Path) -> None:
        new = _made(target.parent, self._root)
        # always the same name: what a killed process left half written, the next attempt writes over
        part = target.parent / f".{target.stem}.part"
        try:
            with part.open("wb") as file:
                for piece in _pieces(source):
                    self._pace.spend(len(piece))
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        for folder in (target.parent, *(each.parent for each in new)):
            _synced(folder)


def _place(path: Path) -> Path:
    """Return where an object goes, below the root; raises _Unusable."""
    try:
        header = dcmread(path, specific_tags=list(_NAMES), stop_before_pixels=True)
        study, series, instance = (UID(str(header.get(name, ""))) for name in _NAMES)
    except (OSError, ValueError, AttributeError, InvalidDicomError, EOFError) as error:
        raise _Unusable from error
    # a UID is digits and dots (PS3.5 9.1), but one that is none could lead out of the folder
    if not (study.is_valid and series.is_valid and instance.is_valid):
        raise _Unusable
    return Path(study, series, f"{instance}.dcm")


def _known(item: OutgoingObject, target: Path) -> Outcome:
    if filecmp.cmp(item.path, target, shallow=False):
        return Outcome(item.sop_instance_uid, Verdict.ACCEPTED, SUCCESS, "already stored there")
    reason = f"{target} is another object with the same SOP Instance UID; it is left alone: look at who wrote it"
    return Outcome(item.sop_instance_uid, Verdict.PERMANENT, None, reason)


def _pieces(source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise _Unusable from error


def _made(folder: Path, root: Path) -> list[Path]:
    """Make the folders below the root that are missing; return them, innermost first."""
    missing = [each for each in (folder, *folder.parents) if root in each.parents and not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
    return missing


def _synced(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
