"""The STOW-RS half of `bench.delivery`: the node and curl posting the same objects to an Orthanc.

curl has less to do than any STOW-RS client: its bodies lie ready in files, of as many objects as the node's, it keeps
one connection, and it does not look at the answers. Its start is in its time (about 10 ms).
"""

import subprocess
import time
from pathlib import Path
from typing import Final

from bench.outgoing_loads import Load
from bench.receivers import Running
from dicom_node.dicom_web import BATCH_BYTES, BATCH_OBJECTS
from dicom_node.outgoing import OutgoingObject, Verdict
from dicom_node.senders import Senders
from dicom_node.settings import DicomWebDestination

CURL: Final = "/usr/bin/curl"
_MOST_SECONDS: Final = 300
_BOUNDARY: Final = b"0123456789abcdef0123456789abcdef"
_TYPE: Final = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY.decode()}'


def ours(running: Running, load: Load, _: Path) -> float:
    """Return the seconds that the node takes to post a load."""
    destination = DicomWebDestination(name="pacs", protocol="dicomweb", url=running.url, timeout_seconds=60)
    sender = Senders("DICOM_NODE", time.time).of(destination)
    objects = load.objects()
    started = time.perf_counter()
    outcomes = list(sender.store(objects))
    seconds = time.perf_counter() - started
    assert all(outcome.verdict is Verdict.ACCEPTED for outcome in outcomes), outcomes[0]
    return seconds


def theirs(running: Running, load: Load, scratch: Path) -> float:
    """Return the seconds that curl takes to post the bodies that are made beforehand."""
    bodies = scratch / "bodies"
    bodies.mkdir()
    requests = [
        f'url = "{running.url}"\nrequest = "POST"\nupload-file = "{path}"\nheader = "Expect:"\nfail\n'
        'header = "Accept: application/dicom+json"\noutput = "/dev/null"\n'
        f'header = "Content-Type: {_quoted(_TYPE)}"\n'
        for path in _written(bodies, load)
    ]
    (bodies / "requests").write_text("next\n".join(requests))
    command = [CURL, "--silent", "--show-error", "--config", str(bodies / "requests")]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=_MOST_SECONDS)
    return time.perf_counter() - started


def _quoted(text: str) -> str:
    return text.replace('"', r"\"")


def _written(folder: Path, load: Load) -> list[Path]:
    """Write the bodies; return them."""
    paths = []
    for number, batch in enumerate(_batches(load)):
        paths.append(folder / f"{number:04}")
        with paths[-1].open("wb") as file:
            for item in batch:
                head = b"--" + _BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
                file.write(head + item.path.read_bytes() + b"\r\n")
            file.write(b"--" + _BOUNDARY + b"--\r\n")
    return paths


def _batches(load: Load) -> list[list[OutgoingObject]]:
    batches: list[list[OutgoingObject]] = [[]]
    total = 0
    for item in load.objects():
        size = item.path.stat().st_size
        if batches[-1] and (len(batches[-1]) == BATCH_OBJECTS or total + size > BATCH_BYTES):
            batches.append([])
            total = 0
        batches[-1].append(item)
        total += size
    return batches
