"""One object on its way in: a Part 10 file under a temporary name, hashed while it is written."""

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final

from dicom_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.errors import OutOfResources, Refusal

_PREAMBLE: Final = b"\0" * 128 + b"DICM"
_BUFFER: Final = 2**16
#: Bytes of a data set that are kept in memory. Most slices are smaller, and sixteen at once are no burden.
HELD: Final = 2**20
#: Bytes between two looks at how much may still come.
METERED: Final = 2**20
#: A big object begins to go to disk while it comes in, so that its sync at the end does not hold up all others.
_WRITE_BACK_EVERY: Final = 2**24
#: Linux; elsewhere the kernel begins when it is told to sync.
_libc: Final = ctypes.CDLL(None, use_errno=True)
_sync_file_range: Final = getattr(_libc, "sync_file_range", None)
_renameat2: Final = getattr(_libc, "renameat2", None)
_HERE, _RENAME_NOREPLACE = -100, 1
#: From file systems that cannot rename without replacing, such as NFS.
_NOT_THERE: Final = frozenset({errno.EINVAL, errno.ENOSYS})
_SYNC_FILE_RANGE_WRITE: Final = 2
_ZERO: Final = ctypes.c_int64(0)


class Incoming:
    """One object on its way in: a Part 10 file (PS3.10 7.1), hashed; in memory while it is small.

    It never raises while bytes come in, because the answer can be given only after the last of them: what went wrong
    is kept in `refusal`, the rest of the bytes are dropped, and `finish` raises it.

    Parameters
    ----------
    folder : Path
        Where the temporary file is made, once there are more than `HELD` bytes, or by `finish`.
    head : bytes
        Preamble and File Meta Information.
    transfer_syntax_uid : str
        The encoding of the data set that follows.
    """

    def __init__(self, folder: Path, head: bytes, transfer_syntax_uid: str) -> None:
        self._folder = folder
        self.head = head
        self.transfer_syntax_uid = transfer_syntax_uid
        self.offset = len(head)
        self.refusal: Refusal | None = None
        self.size = len(head)
        self._held: bytearray | None = bytearray()
        self._hashed = 0  # of what is held
        #: Told how many bytes more have come, and at the end how many fewer; raises OutOfResources to have no more.
        self.meter: Callable[[int], None] | None = None
        self._metered = 0
        self._writing_back = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None

    @cached_property
    def path(self) -> Path:
        """The temporary file, which may not be there yet."""
        return self._folder / f"{uuid.uuid4()}.part"

    @property
    def name(self) -> str:
        """The temporary file's name; pynetdicom asks for it."""
        return str(self.path)

    @property
    def held(self) -> bytearray | None:
        """The bytes of the data set so far, while they are in memory only."""
        return self._held

    @property
    def sha256(self) -> str:
        """Hex digest of the data set's bytes so far."""
        return self.digest.hex()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the data set's bytes so far."""
        if self._held is not None and self._hashed < len(self._held):
            self._digest.update(memoryview(self._held)[self._hashed :])
            self._hashed = len(self._held)
        return self._digest.digest()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._file is None and self._held is None

    def refuse(self, refusal: Refusal) -> None:
        """Note why this object will not be kept; the first reason stands. Where resources are out, its are freed."""
        self.refusal = self.refusal or refusal
        if not isinstance(refusal, OutOfResources):
            return
        if self._held is not None:
            self._held = bytearray()
        if self._file is not None:
            with suppress(OSError):  # it goes with the association at the latest
                os.ftruncate(self._file.fileno(), 0)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the data set; after a failure they are dropped."""
        if self.closed or isinstance(self.refusal, OutOfResources):
            return
        self.size += len(data)
        if self.size - self._metered >= METERED:
            self._count(self.size - self._metered)
        if self._held is not None:
            self._held += data
            if len(self._held) > HELD:
                self._spill()
            return
        self._digest.update(data)
        try:
            if self._file is not None:
                self._file.write(data)
            if self.size - self._writing_back > _WRITE_BACK_EVERY:
                self._write_back()
        except OSError as error:
            self.refuse(disk_trouble(self.path, error))

    def _count(self, size: int) -> None:
        self._metered += size
        try:
            if self.meter is not None:
                self.meter(size)
        except OutOfResources as refusal:
            self.refuse(refusal)

    def _spill(self) -> None:
        """Move what is held to the file."""
        held, hashed, self._held = self._held, self._hashed, None
        if held is None:
            return
        self._digest.update(memoryview(held)[hashed:])
        try:
            # readable, because the identity is read from the same descriptor
            self._file = self.path.open("xb+", buffering=_BUFFER)
            # held until the file is closed: a sweep by another node on the same folder leaves it alone
            fcntl.flock(self._file, fcntl.LOCK_SH)
            self._file.write(self.head)
            self._file.write(held)
        except OSError as error:
            self.refuse(disk_trouble(self.path, error))

    def to_file(self) -> None:
        """Hand every byte to the operating system, even if the object is refused: it may be evidence."""
        self._spill()
        try:
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            self.refuse(disk_trouble(self.path, error))

    def finish(self) -> None:
        """Hand every byte to the operating system, and let it begin to put them on disk.

        Raises
        ------
        Refusal
            The first thing that went wrong.
        """
        if self.refusal is None:
            self.to_file()
        if self.refusal is None:
            self._write_back()
        if self.refusal is not None:
            raise self.refusal

    def sync(self) -> None:
        """Wait until every byte is on disk.

        An error here is final: the system may have dropped the bytes that it could not write, and a second attempt
        would then succeed without them. Hence the file must not be trusted afterwards.

        Raises
        ------
        OSError
            If the bytes may be lost.
        """
        if self._file is None:
            raise OSError(errno.EBADF, "the file is closed")
        os.fdatasync(self._file.fileno())

    @contextmanager
    def contents(self) -> Iterator[tuple[mmap.mmap | bytearray, int]]:
        """Give bytes, and where in them the data set begins; of a file only what is looked at is read.

        Raises
        ------
        OSError
            If they cannot be read.
        """
        if self._held is not None:
            yield self._held, 0
        elif self._file is None:
            raise OSError(errno.EBADF, "the file is closed")
        else:
            self._file.flush()
            with mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ) as data:
                yield data, self.offset

    def _write_back(self) -> None:
        self._writing_back = self.size
        if self._file is not None and _sync_file_range is not None:
            _sync_file_range(self._file.fileno(), _ZERO, _ZERO, _SYNC_FILE_RANGE_WRITE)

    def close(self) -> None:
        """Close the file; what was not yet written may be lost."""
        self._held = None
        self._count(-self._metered)
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except OSError as error:
            self.refuse(disk_trouble(self.path, error))

    def discard(self) -> None:
        """Remove the file if it is still under its temporary name."""
        self.close()
        self.path.unlink(missing_ok=True)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file to a name that must not be taken.

    Raises
    ------
    FileExistsError
        If the name is taken; nothing has changed then.
    OSError
        If the file cannot be renamed.
    """
    if _renameat2 is not None:
        if _renameat2(_HERE, bytes(source), _HERE, bytes(target), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NOT_THERE:
            raise OSError(code, os.strerror(code), str(target))
    os.link(source, target)
    source.unlink()


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk; raises OSError if that fails."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_trouble(path: Path, error: OSError) -> OutOfResources:
    """Return the refusal that stands for a failed write; every OSError means that the bytes are not safe here."""
    return OutOfResources(f"{error.strerror or type(error).__name__}: look at the disk of {path.parent}")


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, sender: str) -> bytes:
    """Return preamble and File Meta Information (PS3.10 7.1), Explicit VR Little Endian.

    Encoded here and not by pydicom, so that what a sender claims is written even where it is wrong: the bytes may
    end in quarantine, and are then evidence.
    """
    body = struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\0\1"
    body += _element(0x02, b"UI", sop_class_uid) + _element(0x03, b"UI", sop_instance_uid)
    body += _element(0x10, b"UI", transfer_syntax_uid) + _element(0x12, b"UI", IMPLEMENTATION_CLASS_UID)
    body += _element(0x13, b"SH", IMPLEMENTATION_VERSION_NAME) + _element(0x16, b"AE", sender)
    return _PREAMBLE + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body


def _element(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value
