"""A key object selection flags the slices to look at, and the results that belong to them."""

import pytest

from dicom_node.contract import Findings, KeySlice
from dicom_node.settings import ResultKind
from tests.picture_cases import built, read, rich
from tests.results_cases import ALGORITHM, ROLE, source_series

CHOSEN = (KeySlice(4, "largest lesion"), KeySlice(1, ""))


@pytest.mark.parametrize("enhanced", [False, True])
def test_each_key_slice_is_flagged(enhanced: bool) -> None:
    """By its image, in an Enhanced source by its frame, in order; the title is of CID 7010."""
    source = source_series(enhanced=enhanced)
    (dataset,) = read(built(rich(key_slices=CHOSEN), source), "KO")
    assert (dataset.Modality, dataset.ConceptNameCodeSequence[0].CodeValue) == ("KO", "113000")
    flagged = [item.ReferencedSOPSequence[0] for item in dataset.ContentSequence if item.ValueType == "IMAGE"]
    of_source = [item for item in flagged if item.ReferencedSOPClassUID == source.datasets[0].SOPClassUID]
    assert [(item.ReferencedSOPInstanceUID, item.get("ReferencedFrameNumber")) for item in of_source] == [
        (source.datasets[source.frames[index].dataset].SOPInstanceUID, index + 1 if enhanced else None)
        for index in (1, 4)
    ]


def test_segmentation_and_pictures_are_flagged_too() -> None:
    """One flag leads to all results that show the same slices; the evidence lists each once."""
    objects = built(rich())
    (dataset,) = read(objects, "KO")
    flagged = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in dataset.ContentSequence
        if item.ValueType == "IMAGE"
    }
    assert {each.sop_instance_uid for each in objects if each.kind in ("SEG", "SC")} <= flagged
    evidence = [
        reference.ReferencedSOPInstanceUID
        for study in dataset.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]
    assert sorted(evidence) == sorted(flagged)


def test_reasons_and_notice_are_said() -> None:
    """Key Object Description: whose choice, the notice, and why each slice."""
    (dataset,) = read(built(rich(key_slices=CHOSEN)), "KO")
    texts = [item for item in dataset.ContentSequence if item.ValueType == "TEXT"]
    (said,) = [item.TextValue for item in texts if item.ConceptNameCodeSequence[0].CodeValue == "113012"]
    assert said == (
        "AI RESULT - NOT FOR PRIMARY DIAGNOSIS. Not a medical device. For research and evaluation only. "
        "Image 5: largest lesion"
    )


def test_the_warning_is_in_the_hospitals_words() -> None:
    """What a profile gives as its warning comes first."""
    (dataset,) = read(built(rich(), warning="AI: look yourself"), "KO")
    texts = [item.TextValue for item in dataset.ContentSequence if item.ValueType == "TEXT"]
    assert any(said.startswith("AI: look yourself. Not a medical device.") for said in texts)


def test_without_a_slice_there_is_no_selection() -> None:
    """Nothing found, nothing flagged: an empty selection is not an object (TID 2010 row 7)."""
    nothing = Findings(ROLE, ALGORITHM, remarks=("No brain was found.",))
    assert not read(built(nothing, kinds=(ResultKind.PICTURE, ResultKind.KEY_OBJECTS)), "KO")
