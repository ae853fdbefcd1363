"""What several unit tests stand on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.ledger import Ledger
from tests.ledger_cases import fresh_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Give an empty ledger."""
    with fresh_ledger(tmp_path) as opened:
        yield opened
