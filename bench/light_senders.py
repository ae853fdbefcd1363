"""Senders in Python (`bench.timed_sender`), a process each, all of which start at once when the last one is ready.

Being processes, none waits for another's interpreter lock; being ready, their own start is not timed, as it is with
a storescu for each association: that program needs longer to start than a receiver needs for the association.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from dicom_node.entities import Peer


class SendersFailed(Exception):
    """A sender was refused, or not answered with success."""


class Timed(NamedTuple):
    """Seconds in all, and of each instance."""

    all: float
    each: list[float]


def send_light(peer: Peer, count: int, size: int, senders: int, *, short: bool) -> Timed:
    """Send `count` instances of `size` bytes of pixels; `short`: over an association for each.

    Raises
    ------
    SendersFailed
        If not every instance was answered with success.
    """
    command = [sys.executable, "-m", "bench.timed_sender", peer.host, str(peer.port), str(peer.ae_title)]
    command += [str(size), "short" if short else "long"]
    shares = [count // senders + (number < count % senders) for number in range(senders)]
    with ExitStack() as stack:
        processes = [stack.enter_context(_started([*command, str(share)])) for share in shares]
        if any(each.stdout is None or each.stdout.readline() != "ready\n" for each in processes):
            _kill(processes)
            raise SendersFailed(f"{peer.ae_title} accepted no association")
        started = time.perf_counter()
        for each in processes:
            if each.stdin is not None:
                each.stdin.write("go\n")
                each.stdin.flush()
        said = [each.communicate()[0] for each in processes]
        seconds = time.perf_counter() - started
    if any(each.returncode for each in processes):
        raise SendersFailed(f"{peer.ae_title} did not answer every instance with success")
    return Timed(seconds, [value for text in said for value in json.loads(text)])


def _started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _kill(processes: Sequence[subprocess.Popen[str]]) -> None:
    for each in processes:
        each.kill()
