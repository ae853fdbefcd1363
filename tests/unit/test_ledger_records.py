"""Records of associations: kept as they were, the latest of them."""

from dataclasses import replace

import pytest

from dicom_node.entities import AssociationEnd, AssociationRecord
from dicom_node.ledger import Ledger, records
from tests.ledger_cases import NOW, SCANNER

_RECORD = AssociationRecord(
    SCANNER, AssociationEnd.ABORTED, NOW + 3, ("1.2 1.2.3",), ("1.4 (result 3)",), 5, 2, {0xA700: 1}, 2**40
)


def test_a_record_comes_back_as_it_was(ledger: Ledger) -> None:
    """Nothing is lost on the way, sizes beyond 4 GB neither."""
    ledger.records.note(_RECORD)
    assert ledger.records.latest(5) == [_RECORD]


def test_old_records_go(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are kept: C-ECHOs every few seconds do not fill the ledger."""
    monkeypatch.setattr(records, "_KEPT", 3)
    for number in range(6):
        ledger.records.note(replace(_RECORD, kept=number))
    assert [record.kept for record in ledger.records.latest(10)] == [5, 4, 3]
