"""Bytes on disk: a temporary name, fsync, rename, fsync of the folders. What `keep` returns is on disk.

Folders under the root, all on one file system: `incoming/` (unfinished, swept at start), `journal/` (received, on the
way to files), `instances/` (received), `results/` (made by jobs), `quarantine/` (refused, with the reason beside it).
Nothing here deletes what was kept.
"""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from dicom_node import MANUFACTURER
from dicom_node.entities import Association, InstanceRef
from dicom_node.errors import OutOfResources, Refusal, SopClassMismatch
from dicom_node.instance_store.identity import Identity, identity_of, is_uid
from dicom_node.instance_store.incoming import HELD, Incoming, disk_trouble, file_meta, rename_new, sync_folder
from dicom_node.instance_store.journal import Entry, Journal, Place, Segment, forget, left_behind, segment_paths
from dicom_node.instance_store.moving import Movers

__all__ = [
    "HELD",
    "Entry",
    "Incoming",
    "InstanceStore",
    "Journal",
    "Movers",
    "Place",
    "Received",
    "Segment",
    "disk_free",
    "forget",
    "is_uid",
    "left_behind",
    "segment_paths",
]

log = structlog.get_logger(__name__)

_MIB: Final = 2**20
#: Folders known to be durable; forgetting them costs one more fsync each.
_REMEMBERED_FOLDERS: Final = 10_000


def disk_free(root: Path) -> int:
    """Return the bytes free for this process on the disk that holds a folder."""
    return shutil.disk_usage(root).free


@dataclass(frozen=True, slots=True)
class Received:
    """One object whose last byte has come, and what the C-STORE request says it is (PS3.7 9.1.1.1)."""

    part: Incoming
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Placed:
    """One object under its final name; `new` are the folders whose entries are not yet known to be on disk."""

    part: Incoming
    instance: InstanceRef
    target: Path
    new: Sequence[Path]


class InstanceStore:
    """The folder that holds every received instance and every result.

    Parameters
    ----------
    root : Path
        Made if it is missing.
    free_space_floor : int
        Bytes that must stay free on the disk.
    free_bytes : callable
        Returns the bytes free on the disk of a folder.

    Raises
    ------
    OSError
        If the folders cannot be made.
    """

    def __init__(self, root: Path, free_space_floor: int, free_bytes: Callable[[Path], int] = disk_free) -> None:
        self.root = root
        self._floor = free_space_floor
        self._free_bytes = free_bytes
        self.receive_folder = root / "incoming"
        self.journal_folder = root / "journal"
        for folder in (self.receive_folder, root / "instances", root / "results", root / "quarantine"):
            folder.mkdir(parents=True, exist_ok=True)
        sync_folder(root)
        self._durable: set[Path] = set()

    def ensure_space(self) -> None:
        """Return if there is room.

        Raises
        ------
        OutOfResources
            If less than the floor is free.
        """
        try:
            free = self._free_bytes(self.root)
        except OSError as error:
            raise disk_trouble(self.root, error) from error
        if free < self._floor:
            raise OutOfResources(
                f"{free // _MIB} MiB free, {self._floor // _MIB} MiB wanted on the disk of {self.root}: "
                "make room there, or lower reception.free_space_floor_mib"
            )

    def path_of(self, relative: str) -> Path:
        """Return where an instance or result is, from the path that the ledger keeps."""
        return self.root / relative

    def holds(self, relative: str, size: int) -> bool:
        """Return whether a kept instance is here, with as many bytes as it had.

        Raises
        ------
        OSError
            If the disk does not say.
        """
        try:
            return self.path_of(relative).stat().st_size == size
        except FileNotFoundError:
            return False

    def incoming(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, sender: str) -> Incoming:
        """Return a new temporary Part 10 file for one object; below the free-space floor it is refused already."""
        head = file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid, sender)
        part = Incoming(self.receive_folder, head, transfer_syntax_uid)
        try:
            self.ensure_space()
        except OutOfResources as refusal:
            part.refuse(refusal)
        return part

    def keep(self, part: Incoming, sop_class_uid: str, sop_instance_uid: str) -> InstanceRef:
        """Keep one received object for good: `keep_all` of a batch of one.

        Raises
        ------
        Refusal
            If it is not kept.
        """
        (kept,) = self.keep_all([Received(part, sop_class_uid, sop_instance_uid)])
        if isinstance(kept, Refusal):
            raise kept
        return kept

    def keep_all(self, batch: Sequence[Received]) -> list[InstanceRef | Refusal]:
        """Keep received objects for good; when this returns, a power cut does not lose those that were kept.

        The bytes of the whole batch are on their way to the disk before the first is waited for, and each folder is
        synced once. Files get their final names before they are synced: what lies under a final name counts only
        once the ledger knows it. A name that is taken keeps its old bytes until the new ones are on disk.

        Returns
        -------
        list of InstanceRef or Refusal
            In the order of the batch: `CannotUnderstand` if the bytes do not say which instance, series and study
            they are, `SopClassMismatch` if they are not what the request says, `OutOfResources` if they could not be
            written - after a failed sync for every object of the batch, because nobody knows whose bytes are lost.
        """
        placed = [self._placed(each) for each in batch]
        try:
            self._make_durable([each for each in placed if isinstance(each, Placed)])
        except OSError as error:
            refusal = disk_trouble(self.root, error)
            return [self._taken_back(each, refusal) if isinstance(each, Placed) else each for each in placed]
        return [each.instance if isinstance(each, Placed) else each for each in placed]

    def _placed(self, received: Received) -> Placed | Refusal:
        """Give one object its final name, or say why not; its bytes may still be in memory only."""
        part = received.part
        try:
            part.finish()
            return self._named(part, self.identified(received))
        except Refusal as refusal:
            if not isinstance(refusal, OutOfResources):
                part.to_file()
            part.close()
            return refusal
        except OSError as error:
            part.close()
            return disk_trouble(self.root, error)

    def identified(self, received: Received) -> InstanceRef:
        """Return which instance a received object is, and where it belongs; nothing is written.

        Raises
        ------
        Refusal
            What went wrong while it came in; `CannotUnderstand`, `SopClassMismatch` as in `keep_all`.
        """
        part = received.part
        if part.refusal is not None:
            raise part.refusal
        identity = identity_of(part)
        _compare(identity, received.sop_class_uid, received.sop_instance_uid)
        return _reference(part, identity)

    def restore(self, instance: InstanceRef, data: bytes) -> None:
        """Put back the file of an instance that a crash may have cut off, durably; `data` is the whole file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self._write(self.root / instance.path, data)

    def _named(self, part: Incoming, instance: InstanceRef) -> Placed:
        target = self.root / instance.path
        new: list[Path] = []
        if target.parent not in self._durable:
            new = self.missing(target)
        try:
            rename_new(part.path, target)
        except FileNotFoundError:  # somebody has removed a folder that was there
            new = self.missing(target)
            rename_new(part.path, target)
        except FileExistsError:  # what is there may be the only safe copy
            part.sync()
            part.path.replace(target)
        return Placed(part, instance, target, new)

    def _make_durable(self, placed: Sequence[Placed]) -> None:
        for each in placed:
            each.part.sync()
        # a folder's own entry as well, where the folder is new
        folders = {each.target.parent for each in placed} | {new.parent for each in placed for new in each.new}
        for folder in folders:
            sync_folder(folder)
        for each in placed:
            each.part.close()
            self.remember(each.new)

    def _taken_back(self, placed: Placed, refusal: Refusal) -> Refusal:
        """Remove what a failed sync has made doubtful; the ledger never heard of it."""
        placed.part.close()
        with contextlib.suppress(OSError):
            placed.target.unlink(missing_ok=True)
        return refusal

    def quarantine(self, part: Path, reason: str, association: Association | None) -> Path:
        """Move refused bytes aside, with the reason (no patient data) beside them; never raises OSError.

        Returns
        -------
        Path
            Where the bytes are now; their old place if they could not be moved.
        """
        moment = datetime.fromtimestamp(association.opened_at if association else part_time(part), UTC)
        folder = self.root / "quarantine" / moment.strftime("%Y-%m-%d")
        target = folder / f"{uuid.uuid4()}.bin"
        lines = [f"reason: {reason}", f"received: {moment.isoformat(timespec='seconds')}"]
        if association is not None:
            lines += [f"calling: {association.calling}", f"called: {association.called}"]
            lines += [f"address: {association.address}", f"association: {association.id}"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            target.with_suffix(".txt").write_text("\n".join(lines) + "\n", "utf-8")
            self._publish(part, target)
        except OSError as error:
            log.exception("bytes not quarantined", reason=error.strerror, path=str(part))
            return part
        return target

    def keep_result(self, job_id: str, name: str, data: bytes) -> str:
        """Keep one object that a job made, durably; repeating it replaces it.

        Returns
        -------
        str
            Its path relative to the root.

        Raises
        ------
        ValueError
            If the job's id or the name is not a plain file name.
        OutOfResources
            If the bytes could not be written.
        """
        for text in (job_id, name):
            if not text or text.startswith(".") or Path(text).name != text:
                raise ValueError(f"{text!r} is not a plain file name")
        relative = f"results/{job_id}/{name}"
        try:
            self._write(self.root / relative, data)
        except OSError as error:
            raise disk_trouble(self.root, error) from error
        return relative

    def _write(self, target: Path, data: bytes) -> None:
        """Write a whole file durably, in the place of what was there; raises OSError, and then leaves nothing new."""
        part = self.receive_folder / f"{uuid.uuid4()}.part"
        try:
            with part.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                self._publish(part, target)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _publish(self, part: Path, target: Path) -> None:
        """Rename a finished file into place and make every folder entry on the way durable."""
        new = self.missing(target)
        part.replace(target)
        sync_folder(target.parent)
        for folder in new:
            sync_folder(folder.parent)
        self.remember(new)

    def missing(self, target: Path) -> list[Path]:
        """Make the folders of a file; return those whose entries may not be on disk yet."""
        if target.parent in self._durable and target.parent.exists():
            return []
        new = [folder for folder in self._folders(target) if folder not in self._durable or not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        return new

    def remember(self, folders: Sequence[Path]) -> None:
        """Note folders whose entries are on disk."""
        # only now: another thread in the same new folder must not rely on an entry that is not yet on disk
        if len(self._durable) > _REMEMBERED_FOLDERS:
            self._durable.clear()
        self._durable.update(folders)

    def _folders(self, target: Path) -> list[Path]:
        return [folder for folder in target.parents if self.root in folder.parents]

    def sweep(self) -> int:
        """Remove what unfinished receptions of a former run left; return how many files that were."""
        return sum(_removed(part) for part in self.receive_folder.glob("*.part"))


def part_time(part: Path) -> float:
    """Return when a file was last written (UTC seconds), 0 if it is gone."""
    try:
        return part.stat().st_mtime
    except OSError:
        return 0.0


def _removed(part: Path) -> bool:
    try:
        with part.open("rb") as file:
            # whoever still writes it holds the lock; the lock of a killed process is gone with it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
    except OSError:
        return False
    return True


def _reference(part: Incoming, identity: Identity) -> InstanceRef:
    name = f"{identity.sop_instance_uid}-{part.sha256[:12]}.dcm"
    return InstanceRef(
        identity.sop_instance_uid,
        identity.sop_class_uid,
        part.transfer_syntax_uid,
        identity.series_instance_uid,
        identity.study_instance_uid,
        f"instances/{identity.study_instance_uid}/{identity.series_instance_uid}/{name}",
        part.sha256,
        part.size,
        own=identity.manufacturer == MANUFACTURER,
    )


def _compare(identity: Identity, sop_class_uid: str, sop_instance_uid: str) -> None:
    if identity.sop_class_uid != sop_class_uid:
        raise SopClassMismatch("SOP Class UID of data set and request differ")
    if identity.sop_instance_uid != sop_instance_uid:
        raise SopClassMismatch("SOP Instance UID of data set and request differ")
