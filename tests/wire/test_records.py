"""The record of each association that was admitted: what an administrator asks when a scanner "sent everything"."""

from typing import Any

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit, MRImageStorage
from pynetdicom import build_context
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelFind, Verification

from dicom_node.entities import AssociationEnd, SameUidPolicy


def test_a_record_says_what_came_and_what_did_not(
    start_node: Any, mr_image: Any, encoded: Any, eventually: Any
) -> None:
    """Instances kept, duplicate and refused by status; bytes; contexts by result (PS3.8 Table 9-18); the end."""
    node = start_node(same_uid_other_bytes=SameUidPolicy.REFUSE)
    contexts = [
        build_context(MRImageStorage, ExplicitVRLittleEndian),
        build_context(CTImageStorage, "1.2.3.4"),
        build_context(PatientRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian),
    ]
    data = encoded(mr_image(SOPInstanceUID="2.25.1"))
    other = encoded(mr_image(SOPInstanceUID="2.25.1", Rows=17))
    with node.line(contexts=contexts) as line:
        answers = [line.store(each, MRImageStorage, "2.25.1").Status for each in (data, data, other, b"noise")]
        line.object()
    assert answers == [0, 0, 0x0111, 0xC000]
    assert eventually(lambda: node.ledger.records)
    (record,) = node.ledger.records
    assert (record.association.calling, record.association.address) == ("SCANNER", "127.0.0.1")
    assert record.accepted == (f"{MRImageStorage} {ExplicitVRLittleEndian}",)
    assert set(record.refused) == {
        f"{CTImageStorage} (result 4)",
        f"{PatientRootQueryRetrieveInformationModelFind} (result 3)",
    }
    assert (record.kept, record.duplicates, record.statuses) == (2, 2, {0x0111: 1, 0xC000: 1})
    assert record.size == sum(kept.size for kept in node.ledger.instances)
    assert record.end is AssociationEnd.RELEASED
    assert 0 <= record.ended_at - record.association.opened_at < 60


def test_every_end_is_recorded(node: Any, eventually: Any) -> None:
    """C-ECHO and aborted associations have their record too; a rejected caller is among the refused instead."""
    echo = node.request(contexts=[build_context(Verification)])
    echo.send_c_echo()
    echo.release()
    assert eventually(lambda: len(node.ledger.records) == 1)
    node.request(contexts=[build_context(MRImageStorage, JPEGBaseline8Bit)]).abort()
    assert eventually(lambda: len(node.ledger.records) == 2)
    node.request(called="OTHER")
    assert [record.end for record in node.ledger.records] == [AssociationEnd.RELEASED, AssociationEnd.ABORTED]
    assert node.ledger.ends == []
    assert len(node.ledger.refused) == 1
