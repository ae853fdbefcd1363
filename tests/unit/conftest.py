"""What several unit tests stand on; what takes a second to import is imported when it is asked for."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dicom_node.ledger import Ledger
from tests.ledger_cases import fresh_ledger

if TYPE_CHECKING:
    from tests.admin_cases import Bench
    from tests.flow_cases import Journey


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give an empty ledger."""
    with fresh_ledger(tmp_path) as opened:
        yield opened


@pytest.fixture
def journey(tmp_path: Path, ledger: Ledger) -> "Journey":
    """Give a flow whose rule wants every MR series."""
    from tests.flow_cases import new_journey  # noqa: PLC0415 - a second

    return new_journey(tmp_path, ledger)


@pytest.fixture
def desk(tmp_path: Path) -> "Iterator[Bench]":
    """Give an office with one destination."""
    from tests.admin_cases import bench  # noqa: PLC0415 - two seconds

    with bench(tmp_path) as made:
        yield made


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the pipelines of `bench/plugin`."""
    from bench.peers import PLUGIN  # noqa: PLC0415 - a second, with the next
    from dicom_node import task  # noqa: PLC0415

    monkeypatch.syspath_prepend(str(PLUGIN))
    yield
    task._WARM.clear()
    sys.modules.pop("bench_pipelines", None)
