"""The whole journey on one machine: a scanner that pushes a head, a node, a test PACS, and what came back.

Also run as `python -m dicom_node.demo.run STUDY OUT`, by itself, once it is inside a loopback-only network.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from dicom_node import log
from dicom_node.demo import loopback
from dicom_node.demo.head import find_head, write_series
from dicom_node.demo.journey import Snapshot, look, settled, stage_table, stages, succeeded
from dicom_node.demo.pacs import OrthancPacs, best_pacs
from dicom_node.demo.returned import draw, fetch_results, result_table
from dicom_node.demo.scanner import Image, find_study, push
from dicom_node.demo.stored import LOOPBACK, free_port, peer
from dicom_node.demo.throwaway import RULES, SCANNER, demo_settings
from dicom_node.entities import AETitle, Peer
from dicom_node.errors import DicomNodeError
from dicom_node.ledger import Ledger
from dicom_node.node import Node
from dicom_node.settings import Settings

_PACS_AE: Final = "ORTHANC"
_LOOK_SECONDS: Final = 0.2
#: Longer than a job may take; then something is wrong that the stages show.
_PATIENCE_SECONDS: Final = 1200


def run_demo(study: Path | None, out: Path, console: Console) -> int:
    """Run the demo and return an exit code: 0 if a result came back to the PACS.

    Where Orthanc is installed the process goes on in a loopback-only network, if this machine allows one.

    Parameters
    ----------
    study : Path or None
        A folder with the DICOM files of one study; None for the Colin27 head.
    out : Path
        Where results, picture and log are kept; everything else is thrown away.

    Raises
    ------
    DemoUnavailable
        If there is nothing to push; the text says what to do.
    """
    out.mkdir(parents=True, exist_ok=True)
    # before the network is left behind: the head may have to be downloaded
    folder = _colin27(out, console) if study is None else study.resolve()
    images = find_study(folder)
    if OrthancPacs.program() is not None and not loopback.inside():
        _continue_inside(folder, out.resolve())
    return _journey(images, out.resolve(), console)


def _colin27(out: Path, console: Console) -> Path:
    with console.status("fetching the Colin27 head (Debian's mricron-data, 16 MB)"):
        head = find_head(out / "head")
    folder = out / "study"
    write_series(head, folder)
    return folder


def _continue_inside(folder: Path, out: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    enter = [sys.executable, "-m", "dicom_node.demo.loopback", "--if-possible"]
    os.execv(sys.executable, [*enter, sys.executable, "-m", "dicom_node.demo.run", str(folder), str(out)])  # noqa: S606


def _journey(images: Sequence[Image], out: Path, console: Console) -> int:
    study = images[0].study_instance_uid
    with (
        (out / "node.log").open("w", encoding="utf-8") as lines,
        TemporaryDirectory(prefix="run-", dir=out) as scratch,
        best_pacs(Path(scratch) / "pacs", _PACS_AE) as pacs,
    ):
        log.configure("info", stream=lines)
        console.print(f"test PACS: {type(pacs).__name__} at {peer(pacs)}; the node's log: {out / 'node.log'}")
        rules = Path(scratch) / "rules.toml"
        rules.write_text(RULES, encoding="utf-8")
        settings = demo_settings(Path(scratch) / "node", rules, free_port(), peer(pacs))
        with _running(settings) as node:
            # as in a hospital: the images go to the PACS, and to the node
            for to in (peer(pacs), Peer(AETitle(settings.node.ae_title), LOOPBACK, settings.reception.port)):
                _push(images, to, console)
            last = _watched(node.ledger, study, console)
            results = fetch_results(pacs, study, out / "results", {image.sop_class_uid for image in images})
    picture = draw(results, [image.path for image in images], out / "preview.png")
    console.print(result_table(results, picture) if results else "Nothing came back; the stages above say why.")
    return 0 if succeeded(last) else 1


@contextmanager
def _running(settings: Settings) -> Iterator[Node]:
    node = Node(settings)
    node.start()
    try:
        yield node
    finally:
        node.stop()


def _push(images: Sequence[Image], to: Peer, console: Console) -> None:
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress:
        task = progress.add_task(f"{SCANNER} pushes to {to}", total=len(images))
        push(images, to, SCANNER, lambda count: progress.update(task, completed=count))


def _watched(ledger: Ledger, study: str, console: Console) -> Snapshot:
    """Show the stages until nothing more happens; then print them, also where the output is no terminal."""
    until = time.monotonic() + _PATIENCE_SECONDS
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not settled(snapshot := look(ledger, study)) and time.monotonic() < until:
            live.update(_shown(snapshot, study), refresh=True)
            time.sleep(_LOOK_SECONDS)
    console.print(_shown(snapshot, study))
    return snapshot


def _shown(snapshot: Snapshot, study: str) -> Table:
    return stage_table(stages(snapshot), f"Study {study}")


def main(arguments: Sequence[str]) -> int:
    """Run the demo with a study folder and an output folder, in the network as it is."""
    console = Console()
    try:
        return _journey(find_study(Path(arguments[0])), Path(arguments[1]), console)
    except DicomNodeError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
