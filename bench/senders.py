"""What senders send: fresh instances of a chosen size, and DCMTK's storescu that sends them."""

import os
import shutil
import subprocess
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian

from dicom_node.entities import Peer

_STORESCU: Final = "/usr/bin/storescu"
SHORT_AT_ONCE: Final = 4
_MOST_SECONDS: Final = 120


@dataclass(frozen=True)
class Load:
    """How many instances go over how many associations at once.

    `short`: one association for each, four at once; `light`: from `bench.light_senders` instead of storescu.
    """

    name: str
    associations: int
    short: bool = False
    light: bool = False


@dataclass(frozen=True)
class Files:
    """Fresh instances, laid out for the associations that will carry them."""

    folders: list[Path]
    count: int
    megabytes: float


class Template:
    """A real MR header with pixels of a chosen size; its UIDs have a fixed length, so new ones are a replacement."""

    def __init__(self, series: Path, size: int) -> None:
        with zipfile.ZipFile(next(iter(sorted(series.glob("*.zip"))))) as archive:
            first = next(name for name in archive.namelist() if not name.endswith("/"))
            image = dcmread(BytesIO(archive.read(first)))
        _resize(image, size)
        self._uids = [_uid(0, kind, 0) for kind in range(3)]
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = self._uids
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = BytesIO()
        image.save_as(buffer, enforce_file_format=True)
        data = buffer.getvalue()
        at = len(data) - len(image.PixelData)
        self._head, self._pixels = data[:at], data[at:]
        self._run = time.time_ns() // 1_000_000

    def write(self, folder: Path, count: int, associations: int) -> Files:
        """Write instances that nobody has seen, one study for each association."""
        shutil.rmtree(folder, ignore_errors=True)
        self._run += 1
        folders = [folder / f"{number:03}" for number in range(associations)]
        for each in folders:
            each.mkdir(parents=True)
        for number in range(count):
            part = number % associations
            with (folders[part] / f"{number:05}.dcm").open("wb") as file:
                file.writelines(self._instance(part, number))
        return Files(folders, count, count * (len(self._head) + len(self._pixels)) / 1e6)

    def _instance(self, study: int, number: int) -> tuple[bytes, bytes]:
        head = self._head
        news = (_uid(self._run, 0, study), _uid(self._run, 1, study), _uid(self._run, 2, number))
        for old, new in zip(self._uids, news, strict=True):
            head = head.replace(old.encode(), new.encode())
        return head, self._pixels


def _resize(image: Dataset, size: int) -> None:
    image.remove_private_tags()  # some scanners write more of them than pixels
    side = 512 if size > 10**6 else int((size / 2) ** 0.5)
    image.Rows = image.Columns = side
    frames = max(size // (side * side * 2), 1)
    if frames > 1:
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
        image.NumberOfFrames = frames
    image.PixelData = os.urandom(side * side * 2) * frames


def _uid(run: int, kind: int, number: int) -> str:
    return f"2.25.9{run:014}{kind}{number:06}"


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_MOST_SECONDS)


def send(peer: Peer, files: Files, load: Load) -> float:
    """Send everything with storescu; return the seconds that it took.

    Raises
    ------
    subprocess.SubprocessError
        If a sender was not answered with success for every instance, or not in time.
    """
    command = [_STORESCU, "-ll", "error", "--max-pdu", "131072", "-aet", "STORESCU", "-aec", str(peer.ae_title)]
    command += [peer.host, str(peer.port)]
    sets = (
        [[str(path)] for folder in files.folders for path in folder.iterdir()]
        if load.short
        else [["+sd", str(folder)] for folder in files.folders]
    )
    # +sd is an option, and options come first
    commands = [[*command[:1], *paths[:-1], *command[1:], paths[-1]] for paths in sets]
    started = time.perf_counter()
    with ThreadPoolExecutor(SHORT_AT_ONCE if load.short else len(commands)) as pool:
        list(pool.map(_run, commands))
    return time.perf_counter() - started


def starts_a_second(count: int) -> float:
    """Return how many storescu a second can start, four at once, find that nobody listens, and end."""
    nobody = [_STORESCU, "-ll", "fatal", "127.0.0.1", "1", __file__]
    started = time.perf_counter()
    with ThreadPoolExecutor(SHORT_AT_ONCE) as pool:
        list(pool.map(lambda _: subprocess.run(nobody, check=False, capture_output=True), range(count)))
    return count / (time.perf_counter() - started)
