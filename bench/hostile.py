"""A node among malformed, slow and hostile peers, while a normal sender works.

    python -m bench.hostile [--seconds 300] [--seed N] [--attackers 6] [--inputs FIRST LAST]

Attackers send damaged bytes, PDUs, association requests, command sets and data sets (made of associations of DCMTK
that are recorded first, of pydicom's test files, and of files that DCMTK wrote), break off in the middle of objects,
open and close the port; slow ones send a byte a second; now and then 500 connect at once. Each input has a number,
and the seed and the number make the same input again (`--inputs`). Printed at the end:

- inputs tried, by kind;
- crashes: the node's process gone, a stage failed, or an error in its log that nobody foresaw; with the numbers of
  the inputs that were under way;
- leaked: descriptors, threads and temporary files more than before, once all has settled;
- wrong acknowledgements: a 0x0000 without a row in the ledger whose file holds the bytes that were sent;
- how much slower the normal sender was, which shares this computer with the attackers.

Exits with 1 unless crashes, leaks and wrong acknowledgements are 0.
"""

import argparse
import hashlib
import json
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from bench import recording
from bench.attackers import Attackers
from bench.mutations import Corpus
from bench.peers import NodeProcess
from bench.repeating_senders import Count, Sent, judge, new_image, new_uid, send_for
from dicom_node.entities import Peer
from dicom_node.ledger.database import POOLED

_PIXELS: Final = 32768
_BASELINE_SECONDS: Final = 8.0
_SETTLE_SECONDS: Final = 60.0
_WARM_SENDERS: Final = 60
_WARM_SECONDS: Final = 4.0
_POOLED_FILES: Final = ("ledger.sqlite", "ledger.sqlite-wal")
#: Waits so short that what the slow peers hold is seen to be given back.
_RECEPTION: Final = """
acse_timeout_seconds = 5
dimse_timeout_seconds = 10
network_timeout_seconds = 10
maximum_associations_per_caller = 64
"""
_JSON_LOG: Final = '[log]\nformat = "json"\n'


class Footprint(NamedTuple):
    """What a node holds on to: open descriptors, threads, temporary files; and memory in MB, which is only told.

    Connections to the ledger are pooled: as many as a process may keep are no leak, and not counted; more are.
    """

    descriptors: int
    threads: int
    temporary_files: int
    resident_mb: int
    open_files: Mapping[str, int]

    @classmethod
    def of(cls, node: NodeProcess) -> "Footprint":
        """Measure a node: its process, and what else of it listens on its port."""
        processes = [psutil.Process(pid) for pid in {node.pid, *node.receivers()}]
        names = Counter(name for each in processes for name in _open_files(each, node.port))
        pooled = sum(min(names[name], POOLED * len(processes)) for name in _POOLED_FILES)
        return cls(
            names.total() - pooled,
            sum(each.num_threads() for each in processes),
            len(list((node.store / "incoming").iterdir())),
            round(sum(each.memory_info().rss for each in processes) / 1e6),
            names,
        )

    @property
    def numbers(self) -> dict[str, int]:
        """Return all but the names."""
        return {name: value for name, value in self._asdict().items() if isinstance(value, int)}

    def beyond(self, before: "Footprint") -> dict[str, int]:
        """Return what is held now and was not before."""
        return {
            name.replace("_", " "): max(0, getattr(self, name) - getattr(before, name)) for name in self._fields[:3]
        }


def _open_files(process: psutil.Process, port: int) -> Iterable[str]:
    """Yield what each descriptor is; the sockets between the node and its own workers, which come and go, are not."""
    yield from (f"socket {line.status}" for line in process.net_connections("tcp") if line.laddr.port == port)
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            name = entry.readlink().name
        except OSError:  # closed since
            continue
        if not name.startswith("socket:"):
            yield re.sub(r"[\[\]\d]+", "#", name)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run found."""

    inputs: Counter[str]
    crashes: list[str]
    leaked: dict[str, int]
    claims: Count
    normal: Count
    before: Footprint
    after: Footprint
    longest_hold: float
    not_closed: int
    baseline: Sent
    under_attack: Sent
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong, and the test was one."""
        wrong = self.claims.wrong + self.normal.wrong + sum(self.leaked.values()) + len(self.crashes)
        return wrong == 0 and self.normal.acknowledged > 0 and self.inputs.total() > 0


def main() -> int:
    """Run and print; 1 unless all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--attackers", type=int, default=6)
    parser.add_argument("--inputs", type=int, nargs=2, help="only these numbers, and no slow peers or crowds")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    numbers = None if options.inputs is None else range(options.inputs[0], options.inputs[1] + 1)
    with tempfile.TemporaryDirectory(prefix="bench-hostile-") as scratch:
        found = run(Path(scratch), options.seconds, options.seed, options.attackers, numbers, print)
    for line in told(found):
        print(line)
    return int(not found.clean)


def told(found: Findings) -> Iterable[str]:
    """Yield what was found, line by line."""
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.inputs.items()))
    yield f"inputs tried: {found.inputs.total()} in {found.seconds:.0f} s ({kinds})"
    yield f"crashes: {len(found.crashes)}"
    yield from (f"  {count} x {line}" for line, count in Counter(found.crashes).most_common(20))
    yield "leaked: " + ", ".join(f"{name} {count}" for name, count in found.leaked.items())
    for when, held in (("before", found.before), ("after", found.after)):
        yield f"  {when}: " + ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in held.numbers.items())
    for name in sorted(found.after.open_files):
        if found.after.open_files[name] > found.before.open_files.get(name, 0):
            yield f"  more of {name}: {found.before.open_files.get(name, 0)} -> {found.after.open_files[name]}"
    yield (
        f"wrong acknowledgements: {found.claims.wrong + found.normal.wrong} "
        f"(of {found.claims.acknowledged} to attackers, {found.normal.acknowledged} to the normal sender)"
    )
    yield f"connections that the node had not closed: {found.not_closed}"
    yield f"longest that a slow peer was listened to: {found.longest_hold:.1f} s"
    yield from _slow_down(found.baseline, found.under_attack, found.seconds)


def _slow_down(baseline: Sent, attacked: Sent, seconds: float) -> Iterable[str]:
    rates = len(baseline.seconds) / _BASELINE_SECONDS, len(attacked.seconds) / seconds
    medians = [1000 * statistics.median(sent.seconds or [float("nan")]) for sent in (baseline, attacked)]
    yield (
        f"normal sender: {rates[0]:.0f} -> {rates[1]:.0f} images/s, median {medians[0]:.1f} -> {medians[1]:.1f} ms, "
        f"longest {1000 * max(attacked.seconds, default=float('nan')):.0f} ms, "
        f"not let in {attacked.not_let_in} times, refused {attacked.refused}"
    )


def run(
    scratch: Path,
    seconds: float,
    seed: int,
    attackers: int,
    numbers: Sequence[int] | None,
    say: Callable[[str], None],
) -> Findings:
    """Record, attack, let settle, and judge."""
    node = NodeProcess.alone(scratch / "node", reception=_RECEPTION, extra=_JSON_LOG)
    node.start()
    pid = node.pid
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with pool:
        try:
            corpus = _corpus(scratch, node.peer)
            say(f"{len(corpus.streams)} recorded associations, {len(corpus.data_sets)} data sets")
            _warm(node.peer)
            baseline = pool.submit(send_for, node.peer, _PIXELS, _BASELINE_SECONDS).result()
            before = _settled(node, None)
            started = time.monotonic()
            normal = pool.submit(send_for, node.peer, _PIXELS, seconds)
            party = Attackers(node.peer, corpus, seed, attackers, numbers)
            crashes = _attack(party, node, pid, seconds, say)
            lasted = time.monotonic() - started
            attacked = normal.result()
            after = _settled(node, before)
        finally:
            node.stop()
    with node.ledger() as ledger:
        claims = judge(ledger, node.store, {(uid, _digest(data)) for uid, data in party.claims})
        normal_count = judge(ledger, node.store, [*baseline.acknowledged.items(), *attacked.acknowledged.items()])
    return Findings(
        party.tried,
        crashes,
        after.beyond(before),
        claims,
        normal_count,
        before,
        after,
        party.longest_hold,
        party.not_closed,
        baseline,
        attacked,
        lasted,
    )


def _digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()


def _corpus(scratch: Path, peer: Peer) -> Corpus:
    folder = scratch / "made"
    folder.mkdir()
    originals = []
    for number in range(2):
        image = new_image(new_uid(), new_uid(), bytes(range(256)) * 16)
        originals.append(folder / f"{number}.dcm")
        originals[-1].write_bytes(recording.part10(image.uid, image.data))
    made = recording.dcmtk_made(folder, originals)
    ours = recording.data_sets([*originals, *made])
    return Corpus(recording.recorded(peer, originals), ours * 3 + recording.data_sets(recording.pydicom_test_files()))


def _warm(peer: Peer) -> None:
    """Let the node fill its pools of threads and database connections, which are no leaks."""
    with ThreadPoolExecutor(_WARM_SENDERS) as pool:
        list(pool.map(lambda _: send_for(peer, 256, _WARM_SECONDS), range(_WARM_SENDERS)))


def _settled(node: NodeProcess, wanted: Footprint | None) -> Footprint:
    """Return the footprint once it has come back to what it was, or once it has had the time."""
    until = time.monotonic() + (_SETTLE_SECONDS if wanted else 15.0)
    now = Footprint.of(node)
    while time.monotonic() < until and (wanted is None or sum(now.beyond(wanted).values())):
        time.sleep(1)
        now = Footprint.of(node)
    return now


def _attack(party: Attackers, node: NodeProcess, pid: int, seconds: float, say: Callable[[str], None]) -> list[str]:
    """Watch the node's log while the attackers work; return what went wrong, with the inputs under way."""
    crashes: list[str] = []
    seen = node.log.stat().st_size
    party.start()
    until = time.monotonic() + seconds
    told_at = time.monotonic()
    while time.monotonic() < until and not party.done:
        time.sleep(0.5)
        with node.log.open("rb") as log:
            log.seek(seen)
            new = log.read()
        seen += len(new)
        found = [*_unforeseen(new.decode("utf-8", "replace").splitlines())]
        for line in found:
            crashes.append(line)
            if crashes.count(line) == 1:
                say(f"{line} (inputs {party.under_way()})")
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            crashes.append(f"the node's process is gone (inputs {party.under_way()})")
            break
        if time.monotonic() - told_at > 30:
            told_at = time.monotonic()
            say(f"{party.tried.total()} inputs, {len(crashes)} crashes")
    party.stop()
    return crashes


def _unforeseen(lines: Iterable[str]) -> Iterable[str]:
    """Yield one line for each error: what, and where."""
    place = ""
    for line in lines:
        if line.startswith("{"):
            entry = json.loads(line)
            if entry.get("level") in ("error", "critical"):
                yield f"{entry.get('event')}: {entry.get('error')} at {entry.get('where')}"
        elif line.startswith("  File "):
            place = line.strip()
        elif line and not line.startswith((" ", "Traceback", "Exception in thread", "During", "The above")):
            yield f"{line[:200]} at {place}"


if __name__ == "__main__":
    sys.exit(main())
