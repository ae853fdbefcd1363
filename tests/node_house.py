"""A node process with its PACS, and rules that are chosen by Series Description, for the acceptance tests."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from click.testing import Result
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage, SegmentationStorage
from typer.testing import CliRunner

from bench.peers import PLUGIN, NodeProcess, settings_text
from dicom_node.__main__ import app
from dicom_node.demo.pacs import SmallPacs
from dicom_node.demo.scanner import find_study, push
from dicom_node.demo.stored import SUCCESS, free_port, peer
from dicom_node.ledger import Delivery, Job, Ledger, Revision
from dicom_node.lifecycle import ARRIVED, JobState, StudyState

_PATIENCE_SECONDS: Final = 90.0
_PIPELINES: Final = ("segmentation_fault", "endless_loop", "memory_hog", "unforeseen_error", "finds_nothing")


def rule(name: str, pipeline: str = "bright_voxels", to: str = '"pacs"', extra: str = "") -> str:
    """Return a rule for series whose description is the rule's name."""
    return f"""
[[rule]]
name = "{name}"
pipeline = "{pipeline}"
destinations = [{to}]
{extra}
[rule.inputs.t1]
SeriesDescription = "{name}"
NumberOfSlices = {{ at_least = 2 }}
"""


RULES: Final = "".join(
    (
        rule("bright_voxels"),
        *(rule(name, name) for name in _PIPELINES),
        rule("slow", extra="settings = { seconds = 3.0 }"),
        rule("ignores", extra='late_images = "ignore"'),
        rule("choosy", to='"choosy"'),
        rule("both", to='"away", "pacs"'),
    )
)


@dataclass
class Moods:
    """What the PACS answers next to each C-STORE; success once the list is empty."""

    statuses: list[int] = field(default_factory=list)

    def answer(self, _uid: str) -> int:
        """Return the next status."""
        return self.statuses.pop(0) if self.statuses else SUCCESS


@dataclass(frozen=True)
class House:
    """A node, its PACS, one that takes no segmentations, and one that is away."""

    node: NodeProcess
    ledger: Ledger
    pacs: SmallPacs
    choosy: SmallPacs
    away: SmallPacs
    moods: Moods

    def push(self, folder: Path) -> None:
        """Send a folder as the scanner does."""
        push(find_study(folder), self.node.peer, "SCANNER", lambda _: None)

    def job(self, study: str, *states: JobState) -> Job:
        """Wait until the newest job of a study is in one of some states, and return it."""
        wanted = states or (JobState.DONE,)
        return until(lambda: next((j for j in self.ledger.jobs.latest(1, study=study) if j.state in wanted), None))

    def delivered(self, study: str, count: int = 2) -> list[Delivery]:
        """Wait until so many objects of a study are delivered, and return all its deliveries."""

        def enough() -> list[Delivery] | None:
            found = self.ledger.deliveries.of_study(study)
            done = [each for each in found if each.state in ARRIVED]
            return found if len(done) >= count else None

        return until(enough)

    def routed(self, study: str, number: int = 1) -> Revision:
        """Wait until a revision of a study is routed, and return it."""

        def found() -> Revision | None:
            revisions = [r for r in self.ledger.studies.revisions(study) if r.number == number]
            return next((r for r in revisions if r.state is StudyState.ROUTED), None)

        return until(found)

    def run(self, *arguments: str) -> Result:
        """Run a command with the node's settings."""
        return CliRunner().invoke(app, [*arguments, "--config", str(self.node.config)])


def until(found: Callable[[], Any], patience: float = _PATIENCE_SECONDS) -> Any:
    """Return what is found as soon as it is truthy; fail after a while."""
    end = time.monotonic() + patience
    while not (value := found()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return value


def kinds(pacs: SmallPacs, study: str) -> list[str]:
    names = {SegmentationStorage: "SEG", Comprehensive3DSRStorage: "SR", SecondaryCaptureImageStorage: "SC"}
    return sorted(names[one.sop_class_uid] for one in pacs.stored(study))


def settings_of(peers: Mapping[str, Any], port: int, log: str = "", **tables: str) -> str:
    """Return settings_text with its quick defaults replaced by ours."""
    text = settings_text(peers, port, extra=f"[log]\n{log}" if log else "")
    for name, lines in tables.items():
        head, _, rest = text.partition(f"[{name}]\n")
        text = f"{head}[{name}]\n{lines}\n" + rest[rest.index("[") :]
    return text


@contextmanager
def running_house(folder: Path) -> Iterator[House]:
    """Give a running node whose rules are chosen by Series Description."""
    if str(PLUGIN) not in sys.path:
        sys.path.insert(0, str(PLUGIN))  # commands that run in this process know the pipelines too
    moods = Moods()
    pacs = SmallPacs(folder / "pacs", "PACS1", answer=moods.answer)
    choosy = SmallPacs(
        folder / "choosy", "CHOOSY", refused=frozenset({SegmentationStorage, SecondaryCaptureImageStorage})
    )
    away = SmallPacs(folder / "away", "AWAY")
    port = free_port()
    peers = {"pacs": peer(pacs), "choosy": peer(choosy), "away": peer(away)}
    tables = {
        "compute": "workers = 2\nattempts = 2\nretry_wait_seconds = 0.2\n"
        "time_limit_seconds = 10\nmemory_limit_mib = 1000",
        "completion": "quiet_seconds = 3\nrelease_grace_seconds = 0.5",
        "delivery": "first_wait_seconds = 3\nlongest_wait_seconds = 600\necho_seconds = 0.5",
        "log": "level = 'debug'",
    }
    node = NodeProcess(folder / "node", settings_of(peers, port, **tables), RULES, port)
    with pacs, choosy, node, node.ledger() as ledger:
        yield House(node, ledger, pacs, choosy, away, moods)
