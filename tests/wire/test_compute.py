"""Real worker processes: what becomes of a job that ends, is stopped, or is forgotten."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from dask.utils import parse_timedelta

from dicom_node.compute import Compute, Ended, report_line
from dicom_node.errors import ComputeUnavailable, TimeLimitExceeded, WorkerDied
from dicom_node.settings import ComputeSettings


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compute]:
    """Give one worker process."""
    settings = ComputeSettings(workers=1, time_limit_seconds=3)
    engine = Compute(settings, tmp_path_factory.mktemp("scratch"), lambda *_: None)
    engine.start()
    yield engine
    engine.stop()


def _until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def _result(compute: Compute, step: Callable[..., Any], *arguments: Any) -> Ended:
    _until(compute.free_slots)
    compute.submit(7, step, *arguments)
    (ended,) = _until(compute.collect)
    return ended


def test_a_job_gives_its_value(compute: Compute) -> None:
    """In a process other than this one, and its slot is free again."""
    ended = _result(compute, os.getpid)
    assert ended.failure is None
    assert ended.value != os.getpid()
    assert compute.free_slots() == 1
    assert compute.collect() == []


def _talks_and_dies(job_id: int) -> None:
    report_line(job_id, "one")
    report_line(job_id, "two")
    report_line(job_id + 1, "of another job")
    time.sleep(1)
    os.abort()


def test_what_a_worker_said_before_it_died_is_kept(compute: Compute) -> None:
    """The log of a job that took its process down, whose own answer is lost with it."""
    ended = _result(compute, _talks_and_dies, 7)
    assert isinstance(ended.failure, WorkerDied)
    assert ended.said == ("one", "two")
    assert compute.said(7) == ()


def test_a_worker_that_dies_comes_back(compute: Compute) -> None:
    """Crash after crash: each is told by its signal, and the next job finds a worker."""
    for _ in range(2):
        ended = _result(compute, os.abort)
        assert isinstance(ended.failure, WorkerDied)
        assert "Aborted (signal 6)" in str(ended.failure)
    assert _result(compute, os.getpid).failure is None


def test_the_cluster_never_gives_a_worker_up(compute: Compute) -> None:
    """Dask closes for good what is away some time after a death, even if it is away because of the next death."""
    patience = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
    assert patience > 365 * 86400


def test_a_job_over_its_time_is_stopped(compute: Compute) -> None:
    """Its worker is ended, and another takes its place."""
    ended = _result(compute, time.sleep, 600)
    assert isinstance(ended.failure, TimeLimitExceeded)
    assert compute.running() == set()
    assert _result(compute, os.getpid).failure is None


def test_a_stopped_job_is_not_collected(compute: Compute) -> None:
    """What a person cancelled has no end to be recorded; its slot is free once the worker is back."""
    _until(compute.free_slots)
    compute.submit(8, time.sleep, 600)
    compute.cancel(8)
    compute.cancel(8)
    assert compute.running() == set()
    assert _result(compute, os.getpid).failure is None


def test_a_job_that_the_engine_forgets_is_submitted_again(compute: Compute) -> None:
    """A connection that broke cancels every job behind our back: each ends with a failure that is retried."""
    _until(compute.free_slots)
    compute.submit(9, time.sleep, 1)
    compute._running[9].future.cancel()
    (ended,) = _until(compute.collect)
    assert isinstance(ended.failure, ComputeUnavailable)
    assert ended.failure.retryable
    assert compute.running() == set()


def test_without_an_engine_there_is_no_slot(tmp_path: Path) -> None:
    """Before the start nothing can be submitted; an existing scheduler that does not answer is named."""
    engine = Compute(ComputeSettings(), tmp_path, lambda *_: None)
    assert engine.free_slots() == 0
    with pytest.raises(ComputeUnavailable):
        engine.submit(1, os.getpid)
