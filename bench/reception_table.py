"""The table that `bench.reception` prints at the end, and the goals that were missed."""

import statistics
from collections.abc import Sequence

from rich.table import Table

from bench.reception_rows import BIG_SIZE, PEAK_GOAL_MB, SWING_GOAL_MB
from bench.reception_runs import Results, Run, rate

_COLUMNS = ("instances", "receiver", "instances/s", "from-to", "MB/s", "CPU s/1000", "peak MB", "node / peer", "goal")
_MOST_ASSOCIATIONS = 16


def table(results: Sequence[Results], repeats: int) -> Table:
    """Return everything measured: medians over the rounds, and the ratio of the node to each peer."""
    made = Table(*_COLUMNS, title=f"median of {repeats}; peak MB: of the largest process that receives")
    for each in results:
        for receiver in each.runs:
            made.add_row(each.row.name if receiver == "node" else "", receiver, *_figures(each, receiver))
        made.add_section()
    return made


def _figures(results: Results, receiver: str) -> list[str]:
    runs = results.good(receiver)
    if not runs:
        return ["failed"]
    rates = [run.rate for run in runs]
    ratio = results.ratio(receiver) if receiver != "node" else None
    return [
        rate(statistics.median(rates)),
        f"{rate(min(rates))}-{rate(max(rates))}",
        f"{statistics.median(run.megabytes for run in runs):.0f}",
        f"{statistics.median(run.cpu for run in runs):.2f}",
        f"{max(run.peak for run in runs):.0f}",
        f"{ratio:.2f}" if ratio is not None else "",
        _verdict(results, receiver, ratio),
    ]


def _verdict(results: Results, receiver: str, ratio: float | None) -> str:
    words = []
    failed = len(results.runs[receiver]) - len(results.good(receiver))
    if failed:
        words.append(f"failed {failed} times")
    goal = results.row.goal(receiver)
    if goal is not None and ratio is not None:
        words.append(f"{goal:g} {'met' if ratio >= goal else 'MISSED'}")
    return ", ".join(words)


def missed(results: Sequence[Results]) -> list[str]:
    """Return every goal that was missed, in words."""
    found = []
    for each in results:
        node = each.good("node")
        if len(node) < len(each.runs["node"]):
            found.append(f"{each.row.name}: the node failed")
        for peer in each.runs:
            ratio, goal = (each.ratio(peer), each.row.goal(peer)) if peer != "node" else (None, None)
            if ratio is not None and goal is not None and ratio < goal:
                found.append(f"{each.row.name}: {ratio:.2f} times as fast as {peer}; goal {goal:g}")
        if each.row.load.associations == _MOST_ASSOCIATIONS and _peak(node) > PEAK_GOAL_MB:
            found.append(f"{each.row.name}: {_peak(node):.1f} MB in a receiver process; goal {PEAK_GOAL_MB:g} MB")
        if each.row.size == BIG_SIZE and _swing(node) > SWING_GOAL_MB:
            found.append(f"{each.row.name}: memory moves by {_swing(node):.1f} MB; goal {SWING_GOAL_MB:g} MB")
    return found


def memory(results: Sequence[Results]) -> list[str]:
    """Return, for the big object, how far the memory of the largest process of each receiver moves."""
    return [
        f"memory while it receives {each.row.name}: {receiver} moves by {_swing(each.good(receiver)):.1f} MB, "
        f"up to {_peak(each.good(receiver)):.0f} MB"
        for each in results
        if each.row.size == BIG_SIZE
        for receiver in each.runs
    ]


def _peak(runs: Sequence[Run]) -> float:
    return max((run.peak for run in runs), default=0.0)


def _swing(runs: Sequence[Run]) -> float:
    return max((run.swing for run in runs), default=0.0)
