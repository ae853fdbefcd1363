"""Never lost, never twice: a node that is killed at random moments while studies go through it.

    python -m bench.kills [--kills 60] [--studies 24] [--seed N]

A scanner pushes studies (real images under new UIDs) and repeats what was not acknowledged. Meanwhile SIGKILL hits
the node (its receiver processes end with it), one of its receiver processes, one of its workers, or the node and all
workers at once, at random moments. Then the node is left alone until nothing more happens. Printed:

- lost: acknowledged instances (answered 0x0000) whose bytes or row are not there;
- duplicated: objects in the PACS beyond one SEG and one SR per study, or objects whose bytes are not those stored;
- not settled: studies without a finished job, or results not delivered.
"""

import argparse
import hashlib
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from bench.peers import NodeProcess, clone_study, rule_text
from dicom_node.demo import loopback
from dicom_node.demo.pacs import OrthancPacs
from dicom_node.demo.scanner import Image, find_study
from dicom_node.demo.stored import listens
from dicom_node.ledger import Ledger
from dicom_node.lifecycle import ARRIVED, JobState
from dicom_node.requestor import leave_answers

_SETTLE_SECONDS = 300
_PAUSE_SECONDS = (0.2, 3.0)
_IMAGES = 40


@dataclass
class Scanner(threading.Thread):
    """Pushes studies one after the other, in several associations if need be, until all is acknowledged."""

    node: NodeProcess
    studies: list[tuple[Image, ...]]
    acknowledged: dict[str, Path] = field(default_factory=dict)
    pause: float = 0.0

    def __post_init__(self) -> None:
        """Make it a thread."""
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Push every study."""
        for images in self.studies:
            while missing := [image for image in images if str(image.path) not in self._done()]:
                self._push(missing)
                time.sleep(0.2)
            time.sleep(self.pause)

    def _done(self) -> set[str]:
        return {str(path) for path in self.acknowledged.values()}

    def _push(self, images: list[Image]) -> None:
        if not listens(self.node.peer):
            return
        entity = AE(ae_title="SCANNER")
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
        pairs = {(image.sop_class_uid, image.transfer_syntax_uid) for image in images}
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(pairs)]
        lines: list[socket.socket] = []
        association = entity.associate(
            self.node.peer.host,
            self.node.peer.port,
            contexts,
            ae_title="NODE",
            evt_handlers=[(evt.EVT_CONN_OPEN, lambda event: lines.append(event.assoc.dul.socket.socket))],
        )
        leave_answers(association)
        try:
            self._send(association, images)
        finally:
            for line in lines:  # pynetdicom leaves it open when the node is killed under it
                line.close()

    def _send(self, association: Association, images: list[Image]) -> None:
        if not association.is_established:
            return
        for image in images:
            try:
                status = association.send_c_store(image.path).get("Status")
            except RuntimeError:  # the association went with the node
                return
            if status != 0:
                break
            self.acknowledged[str(dcmread(image.path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)] = image.path
        association.release()


def main() -> int:
    """Run and print; 1 unless every count is 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--studies", type=int, default=24)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--series", type=Path, default=Path("../shared/data/t1-patient-positions"))
    options = parser.parse_args()
    if not loopback.inside():
        loopback.enter()
    print(f"seed {options.seed}", flush=True)
    dice = random.Random(options.seed)  # noqa: S311 - guards no secret
    with tempfile.TemporaryDirectory(prefix="bench-kills-") as scratch:
        counts = run(Path(scratch), options.series, options.studies, options.kills, dice, print)
    for name, count in counts.items():
        print(f"{name}: {count}")
    return int(any(counts[name] for name in ("lost", "duplicated at the PACS", "not settled")))


def run(
    scratch: Path, series: Path, studies: int, kills: int, dice: random.Random, say: Callable[[str], None]
) -> dict[str, int]:
    """Push, kill, wait and count."""
    source = scratch / "source"
    with zipfile.ZipFile(next(iter(series.glob("*.zip")))) as archive:
        archive.extractall(source)
    folders = [scratch / f"study{number}" for number in range(studies)]
    uids = [clone_study(source, folder, _IMAGES) for folder in folders]
    with OrthancPacs(scratch / "pacs") as pacs:
        rules = rule_text("bright_voxels", extra="settings = { seconds = 0.3 }")
        node = NodeProcess.beside(scratch / "node", pacs, rules, compute="workers = 2\nattempts = 20")
        node.start()
        # the pause spreads the studies over all the kills
        pause = kills * sum(_PAUSE_SECONDS) / 2 / studies * 0.7
        scanner = Scanner(node, [find_study(folder) for folder in folders], pause=pause)
        scanner.start()
        hit = _kill(node, kills, dice, say)
        scanner.join()
        with node.ledger() as ledger:
            _settle(ledger, uids)
            counts = _count(ledger, pacs, uids, scanner.acknowledged, node.folder / "data" / "store")
        node.stop()
    counts |= {f"killed: {target}": count for target, count in sorted(hit.items())}
    return counts


def _kill(node: NodeProcess, kills: int, dice: random.Random, say: Callable[[str], None]) -> Counter[str]:
    hit: Counter[str] = Counter()
    for number in range(1, kills + 1):
        time.sleep(dice.uniform(*_PAUSE_SECONDS))
        target, victims = _victims(node, dice)
        _end(victims)
        if target.startswith("node"):
            node.kill()
            node.start(wait=dice.random() < 0.5)  # half of the time it may be killed again before it is up
        hit[target] += 1
        say(f"kill {number} of {kills}: {target}")
    node.wait_for_echo()
    return hit


def _victims(node: NodeProcess, dice: random.Random) -> tuple[str, list[int]]:
    """Return what to kill, and its process ids; those of the node itself are left to the caller."""
    workers = node.workers()
    receivers = [pid for pid in node.receivers() if pid != node.pid]
    choices: dict[str, list[int]] = {"node": []}
    if workers:
        choices |= {"worker": [dice.choice(workers)], "node and workers": workers}
    if receivers:
        choices["receiver process"] = [dice.choice(receivers)]
    return dice.choice(list(choices.items()))


def _end(victims: list[int]) -> None:
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it went by itself, with its node
            continue


def _settled(ledger: Ledger, study: str) -> bool:
    jobs = ledger.jobs.latest(20, study=study)
    deliveries = ledger.deliveries.of_study(study)
    done = jobs and all(job.state in {JobState.DONE, JobState.CANCELLED} for job in jobs)
    return bool(done and deliveries and all(one.state in ARRIVED for one in deliveries))


def _settle(ledger: Ledger, uids: list[str]) -> None:
    until = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < until and not all(_settled(ledger, study) for study in uids):
        time.sleep(0.5)


def _count(
    ledger: Ledger, pacs: OrthancPacs, uids: list[str], acknowledged: dict[str, Path], store: Path
) -> dict[str, int]:
    arrivals = Counter(pacs.arrivals())
    wrong = sum(_beyond_one_of_each(ledger, pacs, study) for study in uids)
    differing = sum(not _same_bytes(ledger, pacs, study, store) for study in uids)
    return {
        "studies": len(uids),
        "acknowledged instances": len(acknowledged),
        "lost": _lost(ledger, uids, acknowledged, store),
        "duplicated at the PACS": wrong + differing,
        "not settled": sum(not _settled(ledger, study) for study in uids),
        "objects sent again, harmlessly (same UID, same bytes)": sum(count - 1 for count in arrivals.values()),
        "second revisions (a study judged complete too early)": sum(
            len(ledger.studies.revisions(u)) - 1 for u in uids
        ),
    }


def _lost(ledger: Ledger, uids: list[str], acknowledged: dict[str, Path], store: Path) -> int:
    kept: dict[str, Path] = {}
    for study in uids:
        last = ledger.studies.revisions(study)
        for one in (ledger.studies.received(study, last[-1].number) or []) if last else []:
            kept[one.ref.sop_instance_uid] = store / one.ref.path
    return sum(uid not in kept or _pixels(kept[uid]) != _pixels(path) for uid, path in acknowledged.items())


def _pixels(path: Path) -> str:
    return hashlib.sha256(dcmread(path).PixelData).hexdigest() if path.is_file() else "gone"


def _beyond_one_of_each(ledger: Ledger, pacs: OrthancPacs, study: str) -> int:
    """Count what the PACS holds beyond what one SEG and one SR per finished job explain."""
    expected = {
        one.sop_instance_uid for job in ledger.jobs.latest(20, study=study) for one in ledger.jobs.results(job.id)
    }
    held = [one.sop_instance_uid for one in pacs.stored(study)]
    return len(held) - len(set(held) & expected) + max(0, len(expected) - 2 * len(ledger.studies.revisions(study)))


def _same_bytes(ledger: Ledger, pacs: OrthancPacs, study: str, store: Path) -> bool:
    results = [one for job in ledger.jobs.latest(20, study=study) for one in ledger.jobs.results(job.id)]
    return all(
        _data_set(pacs.fetch(one.sop_instance_uid)) == _data_set((store / one.path).read_bytes()) for one in results
    )


def _data_set(file: bytes) -> bytes:
    """Return the bytes after the File Meta Information, which belongs to whoever wrote the file (PS3.10 7.1)."""
    meta = dcmread(BytesIO(file), stop_before_pixels=True).file_meta
    return file[144 + int(meta.FileMetaInformationGroupLength) :]


if __name__ == "__main__":
    sys.exit(main())
