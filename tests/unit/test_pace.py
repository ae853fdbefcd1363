"""A limit on bytes a second."""

import time

from dicom_node.pace import Pace


def test_no_limit_costs_no_time() -> None:
    """0 is no limit: nothing is cut into pieces, nothing waits."""
    pace = Pace(0)
    started = time.monotonic()
    for _ in range(1000):
        pace.spend(2**30)
    assert time.monotonic() - started < 1
    assert (pace.piece(2**30), pace.seconds(2**30)) == (2**30, 0)


def test_a_limit_is_kept_over_all() -> None:
    """4 MiB at 10 MiB/s take no less than what is saved up (0.1 s) allows, and not much more than they should."""
    pace = Pace(10)
    started = time.monotonic()
    for _ in range(64):
        pace.spend(2**16)
    assert 0.25 < time.monotonic() - started < 2


def test_a_pause_is_not_saved_up() -> None:
    """After an idle minute a destination is not flooded: pieces are a tenth of a second, and so is what is saved."""
    pace = Pace(1)
    pace._free_at = time.monotonic() - 60
    started = time.monotonic()
    for _ in range(3):
        pace.spend(pace.piece(2**30))
    assert time.monotonic() - started > 0.05
    assert pace.piece(2**30) == 2**20 // 10
