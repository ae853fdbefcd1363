"""The table of SOP classes and transfer syntaxes, and the document that is printed from it."""

from pathlib import Path

import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    SegmentationStorage,
)
from pynetdicom.sop_class import Verification

from dicom_node.presentation import (
    MAXIMUM_CONTEXTS,
    RESULT_SOP_CLASSES,
    STORAGE_SOP_CLASSES,
    TABLE,
    TRANSFER_SYNTAXES,
    Role,
    acceptable,
    described,
    is_storage,
    proposal,
    renewed,
    sop_class_name,
    tables,
)
from dicom_node.settings import ResultKind

CONFORMANCE = Path(__file__).resolve().parents[2] / "CONFORMANCE.md"


def test_the_conformance_statement_has_the_present_tables() -> None:
    """CONFORMANCE.md holds exactly the tables that `python -m dicom_node.presentation CONFORMANCE.md` writes."""
    text = CONFORMANCE.read_text("utf-8")
    assert renewed(text) == text
    for name, table in tables().items():
        assert f"<!-- table {name} -->\n{table}\n<!-- end of {name} -->" in text


def test_a_stale_table_is_renewed() -> None:
    """Only what stands between the markers changes."""
    text = "before\n<!-- table roles -->\nold\n<!-- end of roles -->\nafter"
    assert renewed(text) == f"before\n<!-- table roles -->\n{tables()['roles']}\n<!-- end of roles -->\nafter"


def test_every_sop_class_has_a_name() -> None:
    """An administrator never reads a bare UID where the standard has a name."""
    names = [sop_class_name(uid) for uid in STORAGE_SOP_CLASSES + TRANSFER_SYNTAXES]
    assert not [name for name in names if name.startswith(("Private", "Unknown", "1."))]
    assert len(set(names)) == len(names)
    assert described(SegmentationStorage) == "Segmentation Storage (1.2.840.10008.5.1.4.1.1.66.4)"
    assert described("1.3.12.2.1107.5.9.1").startswith("Private SOP Class")
    assert described("1.2.840.10008.5.1.4.1.1.999").startswith("Unknown SOP Class")


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image
        "1.2.840.10008.5.1.4.1.1.66",  # Raw Data
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    ],
)
def test_the_storage_sop_classes_that_matter_are_in_the_table(uid: str) -> None:
    """Named in the table, not only let through as unknown."""
    assert uid in STORAGE_SOP_CLASSES
    assert is_storage(uid)


def test_what_is_accepted_is_what_was_proposed() -> None:
    """Contexts are made for proposed SOP classes only, each in every transfer syntax, uncompressed first."""
    contexts = acceptable([MRImageStorage, Verification, "1.2.840.10008.5.1.4.1.2.2.1"])
    assert {context.abstract_syntax for context in contexts} == {MRImageStorage, Verification}
    (storage,) = [context for context in contexts if context.abstract_syntax == MRImageStorage]
    assert tuple(storage.transfer_syntax) == TRANSFER_SYNTAXES
    assert storage.transfer_syntax[0] == ExplicitVRLittleEndian


def test_a_proposal_has_one_transfer_syntax_a_context() -> None:
    """So that an acceptor cannot choose an encoding in which the stored bytes are not."""
    pairs = [(MRImageStorage, ExplicitVRLittleEndian), (MRImageStorage, JPEG2000Lossless)] * 2
    contexts = proposal(pairs)
    assert [tuple(context.transfer_syntax) for context in contexts] == [
        (ExplicitVRLittleEndian,),
        (JPEG2000Lossless,),
    ]


def test_a_proposal_is_never_longer_than_the_standard_allows() -> None:
    """Presentation context IDs are the odd numbers up to 255 (PS3.8 9.3.2.2)."""
    pairs = [(f"1.2.{number}", ExplicitVRLittleEndian) for number in range(MAXIMUM_CONTEXTS)]
    assert len(proposal(pairs)) == MAXIMUM_CONTEXTS
    with pytest.raises(ValueError, match="129"):
        proposal([*pairs, ("1.3", ExplicitVRLittleEndian)])


@pytest.mark.parametrize("kind", ResultKind)
def test_results_go_out_in_little_endian_only(kind: ResultKind) -> None:
    """Every kind of result is proposed uncompressed in Little Endian, and in nothing else."""
    (row,) = [row for row in TABLE if row.role is Role.SCU and row.service == f"Storage of results ({kind})"]
    assert row.sop_classes == RESULT_SOP_CLASSES[kind]
    assert row.transfer_syntaxes == (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
