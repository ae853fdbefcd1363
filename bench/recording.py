"""Real material to damage: associations of DCMTK recorded on their way to a node, and data sets of two makers."""

import shutil
import socket
import socketserver
import subprocess
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydicom
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from bench.upper_layer import EXPLICIT_LITTLE, MR_STORAGE
from dicom_node.demo.stored import LOOPBACK
from dicom_node.entities import Peer
from dicom_node.instance_store.incoming import file_meta

_CALLING: Final = "STORESCU"
_MOST_BYTES: Final = 200_000
#: DCMTK program and options -> a data set written its way (undefined lengths, other byte order, deflated, RLE).
_CONVERSIONS: Final = (
    ("dcmconv", "+te"),
    ("dcmconv", "+ti"),
    ("dcmconv", "+tb"),
    ("dcmconv", "+td"),
    ("dcmconv", "+te", "-e", "-p"),
    ("dcmcrle",),
    ("dcmcjpls",),
)


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set as bytes, and what it says that it is."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes


@contextmanager
def relay(peer: Peer) -> Iterator[tuple[int, list[bytearray]]]:
    """Pass connections on to a peer; give the port, and what each caller has sent so far."""
    streams: list[bytearray] = []

    class PassOn(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            streams.append(bytearray())
            with socket.create_connection((peer.host, peer.port)) as called:
                back = threading.Thread(target=_pass_on, args=(called, self.request, bytearray()))
                back.start()
                _pass_on(self.request, called, streams[-1])
                back.join()

    with socketserver.ThreadingTCPServer((LOOPBACK, 0), PassOn) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,)).start()
        yield server.server_address[1], streams
        server.shutdown()


def _pass_on(source: socket.socket, sink: socket.socket, heard: bytearray) -> None:
    try:
        while data := source.recv(65536):
            heard += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one of the two has hung up
        return


def recorded(peer: Peer, files: Sequence[Path]) -> list[bytes]:
    """Return what DCMTK's echoscu and storescu send to a node: one stream of bytes an association."""
    with relay(peer) as (port, streams):
        address = ["-aet", _CALLING, "-aec", str(peer.ae_title), LOOPBACK, str(port)]
        _dcmtk("echoscu", *address)
        for file in files:
            _dcmtk("storescu", "-R", *address, str(file))
        _dcmtk("storescu", "--abort", *address, str(files[0]))
        _dcmtk("storescu", "--propose-lossless", *address, *map(str, files[:2]))
    return [bytes(stream) for stream in streams if stream]


def _dcmtk(program: str, *arguments: str) -> bool:
    # pynetdicom puts programs with DCMTK's names beside Python
    found = shutil.which(program, path="/usr/bin:/usr/local/bin")
    if found is None:
        raise SystemExit(f"{program} is missing: `make setup-test` installs DCMTK")
    return subprocess.run([found, *arguments], capture_output=True, timeout=60, check=False).returncode == 0


def dcmtk_made(folder: Path, images: Sequence[Path]) -> list[Path]:
    """Return files that DCMTK has written, in every encoding that its programs know."""
    made = []
    for image in images:
        for number, (program, *options) in enumerate(_CONVERSIONS):
            target = folder / f"{image.stem}-{number}.dcm"
            if _dcmtk(program, *options, str(image), str(target)):
                made.append(target)
    return made


def pydicom_test_files() -> list[Path]:
    """Return the small files of pydicom's own test set: every encoding, and many a broken one."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return sorted(path for path in folder.rglob("*.dcm") if path.stat().st_size <= _MOST_BYTES)


def data_sets(files: Sequence[Path]) -> list[DataSet]:
    """Return the data sets of Part 10 files; files that do not say what they are count as MR images."""
    return [found for path in files if (found := _data_set(path)) is not None]


def _data_set(path: Path) -> DataSet | None:
    raw = path.read_bytes()
    try:
        with warnings.catch_warnings():  # that these files are odd is what they are for
            warnings.simplefilter("ignore")
            meta = dcmread(path, stop_before_pixels=True).file_meta
    except (InvalidDicomError, OSError, ValueError, KeyError, AttributeError):
        return None
    if raw[128:132] != b"DICM" or "FileMetaInformationGroupLength" not in meta:
        return None
    data = raw[144 + int(meta.FileMetaInformationGroupLength) :]
    return DataSet(
        str(meta.get("MediaStorageSOPClassUID") or MR_STORAGE),
        str(meta.get("MediaStorageSOPInstanceUID") or "2.25.1"),
        str(meta.get("TransferSyntaxUID") or EXPLICIT_LITTLE),
        data,
    )


def part10(sop_instance_uid: str, data: bytes) -> bytes:
    """Return an MR image in Explicit VR Little Endian as a file (PS3.10 7.1)."""
    return file_meta(MR_STORAGE, sop_instance_uid, EXPLICIT_LITTLE, "SCANNER") + data
