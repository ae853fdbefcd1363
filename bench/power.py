"""Nothing acknowledged is lost: receivers killed at random moments while senders work.

    python -m bench.power [--kills 200] [--senders 4] [--seed N] [--pixels BYTES]

Each sender remembers every SOP Instance UID that was answered 0x0000, and repeats what was not. Meanwhile SIGKILL
hits a process of the node that listens on its port, one at random, and the node is started again if it is gone.
Printed at the end: how many instances were acknowledged, and lost: those without a row in the ledger, without a file,
or whose data set is not, byte for byte, what was sent. Exits with 1 unless lost is 0 and something was acknowledged.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.peers import NodeProcess
from bench.repeating_senders import Count, Sender, judge

#: From the moment the node answers to the next kill.
_LIFE_SECONDS: Final = (0.0, 1.5)
_BEFORE_IT_ANSWERS: Final = 0.1
_NOISE_BYTES: Final = 2**20


def main() -> int:
    """Run and print; 1 if anything that was acknowledged is lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--pixels", type=int, default=131072, help="bytes of pixel data in an image")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    dice = random.Random(options.seed)  # noqa: S311 - guards no secret
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-power-") as scratch:
        count, told = run(Path(scratch), options.kills, options.senders, options.pixels, dice, print)
    for name, number in told.items():
        print(f"{name}: {number}")
    print(f"acknowledged: {count.acknowledged}")
    print(
        f"lost: {count.wrong} (no row {count.without_row}, no file {count.without_file}, "
        f"other bytes {count.other_bytes})"
    )
    print(f"seconds: {time.monotonic() - started:.0f}")
    return int(count.wrong > 0 or count.acknowledged == 0)


def run(
    scratch: Path, kills: int, senders: int, pixels: int, dice: random.Random, say: Callable[[str], None]
) -> tuple[Count, dict[str, int]]:
    """Send, kill, start again, and count."""
    noise = dice.randbytes(_NOISE_BYTES + pixels)
    node = NodeProcess.alone(scratch)
    node.start()
    threads = [Sender(node.peer, noise[start:], pixels) for start in range(senders)]
    try:
        for thread in threads:
            thread.start()
        hit = _kill(node, kills, dice, say)
        node.wait_for_echo()
    finally:
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join()
        node.stop()
    acknowledged = [pair for thread in threads for pair in thread.acknowledged.items()]
    with node.ledger() as ledger:
        count = judge(ledger, node.store, acknowledged)
    told = {f"killed: {name}": number for name, number in sorted(hit.items())}
    told["sent again after a kill"] = sum(thread.repeated for thread in threads)
    told["refused"] = sum(sum(thread.refused.values()) for thread in threads)
    told["temporary files left"] = len(list((node.store / "incoming").iterdir()))
    return count, told


def _kill(node: NodeProcess, kills: int, dice: random.Random, say: Callable[[str], None]) -> Counter[str]:
    hit: Counter[str] = Counter()
    for number in range(1, kills + 1):
        if dice.random() < _BEFORE_IT_ANSWERS:
            time.sleep(dice.uniform(*_LIFE_SECONDS))
        else:
            node.wait_for_echo()
            time.sleep(dice.uniform(*_LIFE_SECONDS))
        victim = dice.choice(node.receivers() or [node.pid])
        hit["node" if victim == node.pid else "receiver process"] += 1
        if victim == node.pid:
            node.kill()
            node.start(wait=False)
        else:
            os.kill(victim, signal.SIGKILL)
        if number % 20 == 0:
            say(f"kill {number} of {kills}")
    return hit


if __name__ == "__main__":
    sys.exit(main())
