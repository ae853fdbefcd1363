"""A real node as a process of its own, and studies to push at it: for benchmarks and acceptance tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import psutil
from pydicom import dcmread
from pydicom.uid import generate_uid

from bench.upper_layer import answers_echo
from dicom_node.demo.stored import LOOPBACK, Pacs, free_port, peer
from dicom_node.entities import Peer
from dicom_node.ledger import Ledger, open_ledger

PLUGIN: Final = Path(__file__).resolve().parent / "plugin"
_SCANNER: Final = "SCANNER"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 90.0


#: In the command lines of a node's other processes.
_NO_WORKERS: Final = ("resource_tracker", "receiver_process")


def settings_text(pacs: Mapping[str, Peer], port: int, extra: str = "", **tables: str) -> str:
    """Return a node.toml for loopback with quick completion; `tables` adds lines to the table of that name."""
    destinations = "".join(
        f'[[destination]]\nname = "{name}"\nae_title = "{each.ae_title}"\nhost = "{each.host}"\nport = {each.port}\n'
        'check_patient = "if there"\n'
        f"{tables.get('destination', '')}\n"
        for name, each in pacs.items()
    )
    return f"""
[node]
ae_title = "NODE"
data = "data"
rules = "rules.toml"
{tables.get("node", "")}
[reception]
port = {port}
free_space_floor_mib = 64
{tables.get("reception", "")}
[completion]
quiet_seconds = 5
release_grace_seconds = 1
{tables.get("completion", "")}
[delivery]
first_wait_seconds = 1
longest_wait_seconds = 5
echo_seconds = 2
{tables.get("delivery", "")}
[compute]
retry_wait_seconds = 0.5
{tables.get("compute", "")}
[admin]
{tables.get("admin", "enabled = false")}
[[source]]
name = "scanner"
ae_titles = ["{_SCANNER}", "STORESCU"]
addresses = ["127.0.0.1"]
{destinations}
{extra}
"""


def rule_text(pipeline: str, destinations: Sequence[str] = ("pacs",), extra: str = "") -> str:
    """Return one rule that runs a pipeline on every MR series of at least two slices."""
    names = ", ".join(f'"{name}"' for name in destinations)
    return f"""
[[rule]]
name = "{pipeline}"
pipeline = "{pipeline}"
destinations = [{names}]
{extra}
[rule.inputs.t1]
Modality = "MR"
NumberOfSlices = {{ at_least = 2 }}
"""


class NodeProcess:
    """`dicom-node serve` as its own process, with settings in a folder; can be killed and started again.

    Parameters
    ----------
    settings : str
        Text of node.toml; its port is `port`.
    """

    def __init__(self, folder: Path, settings: str, rules: str, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port
        self.config = folder / "node.toml"
        self.config.write_text(settings, encoding="utf-8")
        (folder / "rules.toml").write_text(rules, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def beside(cls, folder: Path, pacs: Pacs, rules: str, **tables: str) -> Self:
        """Return a node that delivers to one PACS, called "pacs" in its rules."""
        port = free_port()
        return cls(folder, settings_text({"pacs": peer(pacs)}, port, **tables), rules, port)

    @classmethod
    def alone(cls, folder: Path, rules: str = "", **tables: str) -> Self:
        """Return a node that only receives: without destinations, and without rules unless some are given."""
        port = free_port()
        return cls(folder, settings_text({}, port, **tables), rules, port)

    @property
    def store(self) -> Path:
        """The root of its instance store."""
        return self.folder / "data" / "store"

    @property
    def log(self) -> Path:
        """The node's log lines."""
        return self.folder / "node.log"

    @property
    def peer(self) -> Peer:
        """Where the node listens."""
        return Peer.parse("NODE", LOOPBACK, self.port)

    @property
    def pid(self) -> int:
        """The node's process id; raises RuntimeError if it is not running."""
        if self._process is None:
            raise RuntimeError("the node is not running")
        return self._process.pid

    def workers(self) -> list[int]:
        """Return the process ids of the processes that run its jobs; its receivers are none."""
        children = psutil.Process(self.pid).children(recursive=True)
        commands = {child.pid: _command(child) for child in children}
        return [pid for pid, text in commands.items() if text and not any(word in text for word in _NO_WORKERS)]

    def receivers(self) -> list[int]:
        """Return the process ids of those of its processes that listen on its port; none while it starts."""
        node = psutil.Process(self.pid)
        return [each.pid for each in (node, *node.children(recursive=True)) if self._listens(each)]

    def _listens(self, process: psutil.Process) -> bool:
        try:
            lines = process.net_connections(kind="tcp")
        except psutil.Error:  # it has just ended
            return False
        return any(line.status == psutil.CONN_LISTEN and line.laddr.port == self.port for line in lines)

    def start(self, *, wait: bool = True) -> None:
        """Start it; returns when a C-ECHO is answered."""
        with self.log.open("ab") as log:
            path = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dicom_node", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
            )
        if wait:
            try:
                self.wait_for_echo()
            except BaseException:
                self.stop()
                raise

    def wait_for_echo(self) -> None:
        """Return when the node answers a C-ECHO; raises TimeoutError, with its last log lines, if it does not."""
        until = time.monotonic() + _START_SECONDS
        while not answers_echo(self.peer, _SCANNER):
            if time.monotonic() > until or self._process is None or self._process.poll() is not None:
                lines = self.log.read_text(errors="replace").splitlines()[-20:]
                raise TimeoutError("the node did not start:\n" + "\n".join(lines))
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """End it as an administrator would: SIGTERM, and wait."""
        if self._process is not None:
            self._process.terminate()
            self._wait()

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(_STOP_SECONDS)
            self._process = None

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Open the node's ledger to look."""
        ledger = open_ledger(f"sqlite:///{self.folder / 'data' / 'ledger.sqlite'}", create=False)
        try:
            yield ledger
        finally:
            ledger.close()

    def __enter__(self) -> Self:
        """Start and return the node."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the node."""
        self.stop()


def _command(process: psutil.Process) -> str:
    """Return a process's command line; empty if it has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def clone_study(source: Path, target: Path, limit: int | None = None) -> str:
    """Copy a folder of DICOM files as a new study (new study, series and SOP Instance UIDs); return its study UID."""
    target.mkdir(parents=True, exist_ok=True)
    study, series = generate_uid(), {}
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())[:limit]):
        dataset = dcmread(path)
        dataset.StudyInstanceUID = study
        dataset.SeriesInstanceUID = series.setdefault(dataset.SeriesInstanceUID, generate_uid())
        dataset.SOPInstanceUID = generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(target / f"{number:04}.dcm")
    return str(study)
