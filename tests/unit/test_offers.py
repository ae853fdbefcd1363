"""What a destination does not accept is replaced where that is safe, and named in every case."""

import pytest
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from dicom_node.offers import Accepted, Offers, asked_for, fitted, losses
from dicom_node.presentation import LABEL_MAP_STORAGE
from dicom_node.settings import NoticeKind, ResultKind
from tests.results_cases import profile

SEG, SR, SC, PDF = (
    str(uid)
    for uid in (
        SegmentationStorage,
        Comprehensive3DSRStorage,
        SecondaryCaptureImageStorage,
        EncapsulatedPDFStorage,
    )
)
LABEL_MAPS = profile(segmentation="labelmap")


@pytest.mark.parametrize(
    ("accepted", "form"),
    [
        ({}, "binary"),  # not asked yet
        ({LABEL_MAP_STORAGE: False}, "binary"),
        ({LABEL_MAP_STORAGE: True}, "labelmap"),
        ({LABEL_MAP_STORAGE: None}, "labelmap"),  # STOW-RS: nobody can ask
    ],
)
def test_label_maps_go_where_they_are_taken(accepted: Accepted, form: str) -> None:
    """Few systems take them: the others get the form that every viewer draws."""
    assert fitted(LABEL_MAPS, accepted).segmentation == form


def test_pictures_take_the_place_of_segmentations() -> None:
    """A PACS that refuses SEG and takes SC shows something; the report stays, and says the numbers itself."""
    accepted = {SEG: False, LABEL_MAP_STORAGE: False, SC: True, SR: True}
    assert fitted(profile(), accepted).kinds == (ResultKind.PICTURE, ResultKind.REPORT, ResultKind.IMAGES)
    (loss,) = losses(profile(), accepted)
    assert loss.replaced
    assert "Segmentation Storage is not accepted: pictures (SC) are sent instead" in loss.text


def test_a_picture_is_not_made_twice() -> None:
    """A profile that has both keeps one."""
    both = profile(kinds=(ResultKind.SEGMENTATION, ResultKind.PICTURE, ResultKind.REPORT))
    assert fitted(both, {SEG: False, SC: True}).kinds == (ResultKind.PICTURE, ResultKind.REPORT)


def test_a_segmentation_that_nothing_can_replace_is_held() -> None:
    """Where pictures are refused, too, the SEG stays: it is held with its reason, and somebody sees that."""
    accepted = {SEG: False, SC: False, SR: True}
    assert fitted(profile(), accepted) == profile()
    (loss,) = losses(profile(), accepted)
    assert not loss.replaced
    assert loss.text.startswith("SEG: Segmentation Storage is not accepted, so such results would be held; let the")


def test_label_maps_where_binary_ones_are_refused() -> None:
    """A label map that is accepted needs no picture."""
    accepted = {SEG: False, LABEL_MAP_STORAGE: True, SC: True}
    assert fitted(LABEL_MAPS, accepted) == LABEL_MAPS


def test_everything_that_is_refused_is_named() -> None:
    """Each kind of the profile, and the notice that a pipeline did not run."""
    wanted = profile(kinds=(ResultKind.REPORT, ResultKind.DOCUMENT), not_run=NoticeKind.PICTURE)
    said = [loss.text.split(",")[0] for loss in losses(wanted, {SR: True, PDF: False, SC: False})]
    assert said == [
        "PDF: Encapsulated PDF Storage is not accepted",
        "SC: Secondary Capture Image Storage is not accepted",
    ]
    assert set(asked_for(wanted)) == {SR, PDF, SC}


def test_nothing_is_lost_that_nobody_refused() -> None:
    """What is accepted, or cannot be asked for, is believed."""
    assert losses(profile(), dict.fromkeys(asked_for(profile()), True)) == ()
    assert losses(profile(), dict.fromkeys(asked_for(profile()))) == ()
    assert fitted(profile(), {}) == profile()


def test_a_destination_that_answers_the_same_is_no_news() -> None:
    """An administrator is told once."""
    offers = Offers()
    assert [offers.learn("pacs", {SEG: value}) for value in (True, True, False, False)] == [True, False, True, False]
    assert offers.of("pacs") == {SEG: False}
    assert offers.of("other") == {}
