"""How long a sender waits for each answer while 16 associations send, as a histogram in text.

Each association is a process of its own (`bench.timed_sender`) that sends the next instance when the last one is
answered, so 16 instances are always under way: the median is about 16 / (instances a second), and what tells
receivers apart is how far p99 and the longest lie above it. All senders associate first, and then start at once.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Final

from bench.light_senders import send_light
from dicom_node.entities import Peer

ASSOCIATIONS: Final = 16
#: Upper edges of the bins: a factor of sqrt(2) from 0.5 ms on.
_FIRST_EDGE_MS: Final = 0.5
_BAR: Final = 50


def response_times(peer: Peer, count: int, size: int) -> list[float]:
    """Send `count` instances of `size` bytes of pixels over 16 associations at once; return the seconds of each."""
    return send_light(peer, count, size, ASSOCIATIONS, short=False).each


def histogram(name: str, seconds: Sequence[float]) -> str:
    """Return a few figures and a bar for each bin of response times, in milliseconds."""
    times = sorted(1000 * each for each in seconds)
    p99 = times[math.ceil(0.99 * len(times)) - 1]
    median = statistics.median(times)
    lines = [f"{name}: {len(times)} instances, median {median:.1f} ms, p99 {p99:.1f} ms, max {times[-1]:.1f} ms"]
    bins = [_bin(each) for each in times]
    counts = [bins.count(number) for number in range(bins[0], bins[-1] + 1)]
    for number, count in enumerate(counts, bins[0]):
        bar = "#" * math.ceil(_BAR * count / max(counts))
        lines.append(f"  {_edge(number - 1):8.1f} - {_edge(number):8.1f} ms {count:6} {bar}".rstrip())
    return "\n".join(lines)


def _bin(milliseconds: float) -> int:
    return max(math.ceil(2 * math.log2(milliseconds / _FIRST_EDGE_MS)), 0)


def _edge(number: int) -> float:
    return 0.0 if number < 0 else float(_FIRST_EDGE_MS * 2 ** (number / 2))
