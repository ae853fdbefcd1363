"""Senders that remember what was acknowledged, and the count of what of it is lost or has other bytes."""

import hashlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from sqlalchemy import select

from bench.upper_layer import EXPLICIT_LITTLE, MR_STORAGE, LineGone, RawAssociation
from dicom_node.entities import Peer
from dicom_node.ledger import Ledger
from dicom_node.ledger.schema import instances

CALLING: Final = "SCANNER"
#: Preamble, prefix and the group length element (PS3.10 7.1).
_META_START: Final = 144
_AN_ASSOCIATION: Final = 40
_PAUSE_SECONDS: Final = 0.05


class Image(NamedTuple):
    """One image to send: its SOP Instance UID, and its data set in Explicit VR Little Endian."""

    uid: str
    data: bytes


def new_uid() -> str:
    """Return a UUID-derived UID (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def new_image(study: str, series: str, pixels: bytes) -> Image:
    """Return an MR image of 16 bit pixels, 128 in a row."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MR_STORAGE, new_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.Modality, image.Rows, image.Columns, image.BitsAllocated = "MR", len(pixels) // 256, 128, 16
    image.PixelData = pixels
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, image)
    return Image(image.SOPInstanceUID, buffer.getvalue())


class Sender(threading.Thread):
    """Sends images one after the other, over and over a new association, and repeats what was not acknowledged.

    Parameters
    ----------
    noise : bytes
        Pixels are cut from it; each image's differ.
    pixels : int
        Bytes of pixels in an image, a multiple of 256.
    """

    def __init__(self, peer: Peer, noise: bytes, pixels: int) -> None:
        super().__init__(daemon=True)
        self._peer = peer
        self._noise = noise
        self._pixels = pixels
        self._stopping = threading.Event()
        #: SOP Instance UID -> SHA-256 of the data set that was acknowledged with 0x0000.
        self.acknowledged: dict[str, str] = {}
        self.repeated = 0
        #: How often no association came about, or one broke.
        self.broken = 0
        self.refused: dict[int, int] = {}
        #: Seconds from the first byte of each acknowledged image to its answer.
        self.seconds: list[float] = []
        self._waiting: Image | None = None

    def stop(self) -> None:
        """End after the image that is under way."""
        self._stopping.set()

    def run(self) -> None:
        """Send until told to stop."""
        while not self._stopping.is_set():
            try:
                with RawAssociation(self._peer, CALLING, [(MR_STORAGE, EXPLICIT_LITTLE)]) as association:
                    self._send_series(association)
            except LineGone:
                self.broken += 1
                time.sleep(_PAUSE_SECONDS)

    def _send_series(self, association: RawAssociation) -> None:
        study, series = new_uid(), new_uid()
        for _ in range(_AN_ASSOCIATION):
            if self._stopping.is_set():
                return
            self.repeated += self._waiting is not None
            image = self._waiting or self._image(study, series)
            self._waiting = image  # until it is acknowledged
            started = time.perf_counter()
            status = association.store(1, MR_STORAGE, image.uid, image.data)
            if status != 0:
                self.refused[status] = self.refused.get(status, 0) + 1
                time.sleep(_PAUSE_SECONDS)
                return
            self.seconds.append(time.perf_counter() - started)
            self.acknowledged[image.uid] = hashlib.sha256(image.data).hexdigest()
            self._waiting = None

    def _image(self, study: str, series: str) -> Image:
        start = (len(self.acknowledged) * 97) % (len(self._noise) - self._pixels)
        return new_image(study, series, self._noise[start : start + self._pixels])


class Sent(NamedTuple):
    """What one sender has done."""

    acknowledged: dict[str, str]
    refused: dict[int, int]
    seconds: list[float]
    not_let_in: int


def send_for(peer: Peer, pixels: int, seconds: float) -> Sent:
    """Send for so long, as a process of its own would; return what was done."""
    sender = Sender(peer, bytes(range(256)) * (pixels // 256 + 4096), pixels)
    sender.start()
    sender.join(seconds)
    sender.stop()
    sender.join()
    return Sent(sender.acknowledged, sender.refused, sender.seconds, sender.broken)


class Count(NamedTuple):
    """What became of the acknowledged instances."""

    acknowledged: int
    without_row: int
    without_file: int
    other_bytes: int

    @property
    def wrong(self) -> int:
        """Acknowledgements that were not true."""
        return self.without_row + self.without_file + self.other_bytes


def judge(ledger: Ledger, store: Path, acknowledged: Iterable[tuple[str, str]]) -> Count:
    """Look for every acknowledged instance: a row with the digest of what was sent, and its bytes in the file.

    Parameters
    ----------
    acknowledged : iterable of (str, str)
        SOP Instance UID and SHA-256 of the data set; empty where the sender does not know what was understood of its
        bytes: then any row of that UID will do, if its file is what the row says.
    """
    rows: dict[str, dict[str, Path]] = {}
    with ledger.engine.connect() as connection:
        for row in connection.execute(select(instances.c.sop_instance_uid, instances.c.sha256, instances.c.path)):
            rows.setdefault(row.sop_instance_uid, {})[row.sha256] = store / row.path
    found = Counter(_fault(rows.get(uid, {}), digest) for uid, digest in acknowledged)
    return Count(found.total(), found["no row"], found["no file"], found["other bytes"])


def _fault(rows: Mapping[str, Path], digest: str) -> str:
    if not rows:
        return "no row"
    if digest and digest not in rows:
        return "other bytes"
    faults = {_file_fault(rows[each], each) for each in ([digest] if digest else rows)}
    return "" if "" in faults else faults.pop()


def _file_fault(path: Path, digest: str) -> str:
    if not path.is_file():
        return "no file"
    return "" if data_set_digest(path) == digest else "other bytes"


def data_set_digest(path: Path) -> str:
    """Return the SHA-256 of a Part 10 file's data set: what follows the File Meta Information (PS3.10 7.1)."""
    with path.open("rb") as file:
        head = file.read(_META_START)
        file.seek(int.from_bytes(head[140:144], "little"), 1)
        return hashlib.file_digest(file, "sha256").hexdigest()
