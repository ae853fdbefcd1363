"""A notice says in the study itself that there is no result, and why; its gate lets no wrong one pass."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from dicom_node.entities import derived_uid
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, NotRun, build_notice, check_notice, encode, headers_only
from dicom_node.results.gate import NOTICE_CHECKS
from dicom_node.settings import NoticeKind, ResultKind
from tests.gate_cases import Corrupt, copies, put, refusal
from tests.report_cases import PREDECESSOR, comments, conclusions, sentences, walk
from tests.results_cases import ALGORITHM, ROLE, profile, run_context, source_series

_REASON = "the series has only 3 slices; Whole-head T1 needs at least 50: send a series with thinner slices"


def not_run(kind: NoticeKind = NoticeKind.PICTURE, reason: str = _REASON, **changes: object) -> NotRun:
    images = source_series().datasets
    run = run_context(profile=profile(not_run=kind, **changes))
    return NotRun(reason, {ROLE: headers_only(images)}, ALGORITHM, run)


def made(case: NotRun) -> tuple[BuiltObject, ...]:
    objects = build_notice(case)
    check_notice(objects, case.headers)
    return objects


def test_a_report_says_it_in_words() -> None:
    """The series list, the first sentence and the description of the procedure say it; the reason is kept."""
    (built,) = made(not_run(NoticeKind.REPORT))
    read = dcmread(BytesIO(encode(built)))
    assert read.SOPClassUID == Comprehensive3DSRStorage
    assert read.SeriesDescription == "NOT RUN: Brain extraction (AI)"
    assert conclusions(read) == [
        f"NOT RUN: Brain extraction did not run: {_REASON}",
        "This is no result: that nothing is reported here does not mean that nothing is there.",
    ]
    assert sentences(read, "121065") == ["example 1.0.2 was not run. It was given: series 5 (6 objects)."]


def test_a_report_claims_no_algorithm_for_what_it_says() -> None:
    """Nothing ran: no algorithm identification, no measurement."""
    (built,) = made(not_run(NoticeKind.REPORT))
    assert {item.ValueType for item in walk(built.dataset)} == {"CODE", "CONTAINER", "TEXT", "UIDREF"}
    assert sentences(built.dataset, "111001") == []


def test_a_report_may_supersede_a_result() -> None:
    """Later images may make a series unusable: the report on the earlier ones does not hold any more."""
    case = not_run(NoticeKind.REPORT)
    earlier = replace(PREDECESSOR, study_instance_uid=case.headers[ROLE].datasets[0].StudyInstanceUID)
    (built,) = made(replace(case, run=replace(case.run, predecessor=earlier)))
    assert [text for text in comments(built.dataset) if text.startswith("Supersedes the report 2.25.13")]


def test_accents_are_kept_where_the_character_set_has_them() -> None:
    """The reason is a text of our own: as it is in Latin-1, without accents in ASCII."""
    for character_set, said in (("ISO_IR 100", "Zu wenige Schichten für"), (None, "Zu wenige Schichten fur")):
        images = source_series(character_set=character_set, name="Doe^John").datasets
        case = not_run(NoticeKind.REPORT, "Zu wenige Schichten für dieses Modell.")
        (built,) = made(replace(case, headers={ROLE: headers_only(images)}))
        assert said in conclusions(built.dataset)[0]


def test_a_picture_says_it_in_pixels() -> None:
    """Secondary Capture, RGB, the heading and every line of the reason burnt in, and the whole of it in a comment."""
    (built,) = made(not_run())
    read = dcmread(BytesIO(encode(built)))
    assert (read.SOPClassUID, read.Modality) == (SecondaryCaptureImageStorage, "OT")
    assert read.ImageComments == f"Brain extraction did not run: {_REASON}"
    assert read.SeriesDescription == "Brain extraction SC did not run (AI, not reviewed)"
    grey = read.pixel_array.max(axis=-1)
    lines = np.flatnonzero(np.diff((grey > 0).any(axis=1).astype(int)) == 1)
    assert len(lines) >= 5  # the heading, three lines of the sentence, the notice
    assert not grey[:, -20:].any(), "a line runs out of the picture"


def test_a_picture_speaks_the_language_of_its_readers() -> None:
    """What is burnt in follows `language`; the comment, which the gate and searches look for, does not."""
    (english,), (german,) = made(not_run()), made(not_run(language="de"))
    assert english.dataset.PixelData != german.dataset.PixelData
    assert german.dataset.ImageComments == english.dataset.ImageComments


def test_a_long_reason_makes_a_higher_picture() -> None:
    """Nothing of a sentence is cut off."""
    (built,) = made(not_run(reason="a word " * 200))
    assert built.dataset.Rows > built.dataset.Columns
    assert built.dataset.pixel_array[-60:].any() or built.dataset.Rows > 800


def test_the_same_refusal_is_the_same_notice() -> None:
    """Same job, same bytes, in whatever order the images came."""
    case = not_run()
    turned = NotRun(
        case.reason, {ROLE: headers_only(list(reversed(case.headers[ROLE].datasets)))}, case.algorithm, case.run
    )
    assert encode(made(case)[0]) == encode(made(turned)[0])


def test_who_does_not_want_to_know_is_not_told() -> None:
    """`not_run = "none"` is the default."""
    assert build_notice(not_run(NoticeKind.NONE)) == ()


@pytest.mark.parametrize("kind", [NoticeKind.REPORT, NoticeKind.PICTURE])
@pytest.mark.parametrize("character_set", ["source", "ISO_IR 192"])
def test_a_notice_belongs_to_its_patient(kind: NoticeKind, character_set: str) -> None:
    """Patient and study are the source's, in the character set that the profile asks for."""
    (built,) = made(not_run(kind, character_set=character_set))
    read = dcmread(BytesIO(encode(built)))
    assert (str(read.PatientName), read.PatientID, read.StudyID) == ("Müller^Jörg", "P-1", "S1")
    assert read.SpecificCharacterSet == ("ISO_IR 100" if character_set == "source" else character_set)


def _black(dataset: Dataset, _: SourceSeries) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


def _other_series(dataset: Dataset, _: SourceSeries) -> None:
    dataset.ReferencedSeriesSequence.append(Dataset())
    dataset.ReferencedSeriesSequence[-1].SeriesInstanceUID = derived_uid("other")


def _fewer(dataset: Dataset, _: SourceSeries) -> None:
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence.pop()


#: (check, change, words of the refusal)
CASES: tuple[tuple[str, Corrupt, str], ...] = (
    ("patient and study", put(PatientID="P-2"), "PatientID is not"),
    ("form", put(BurnedInAnnotation="NO"), "BurnedInAnnotation is not YES"),
    ("form", put(ImageType=["ORIGINAL", "PRIMARY"]), "ImageType is not DERIVED"),
    ("pixels", put(PixelData=b"\0\0"), "PixelData has 2 bytes"),
    ("pixels", _black, "the picture is black"),
    ("series", _other_series, "does not name exactly the series"),
    ("series", _fewer, "does not name exactly the source images"),
    ("series", put(ImageComments="Nothing found."), "does not say that the pipeline did not run"),
    ("own series", put(Modality="MR"), "Modality is not OT"),
)


@pytest.mark.parametrize(("name", "change", "said"), CASES)
def test_a_corrupted_picture_is_refused_with_its_reason(name: str, change: Corrupt, said: str) -> None:
    """One fault, and nobody is told anything wrong."""
    case = not_run()
    objects = copies(made(case))
    change(objects[0].dataset, case.headers[ROLE])
    said_by_gate = refusal(objects, case.headers, check_notice)
    assert f"SC, {name}: " in said_by_gate
    assert said in said_by_gate


def test_every_check_of_a_notice_has_one_that_it_refuses() -> None:
    """A check that nothing fails proves nothing; those of the report are tried with reports."""
    common = set(NOTICE_CHECKS[ResultKind.REPORT])
    assert set(NOTICE_CHECKS[ResultKind.PICTURE]) - common <= {name for name, _, _ in CASES}


def test_images_of_two_patients_get_no_notice() -> None:
    """A notice about a stray image would reach the wrong patient."""
    case = not_run()
    objects = made(case)
    case.headers[ROLE].datasets[2].PatientID = "P-2"
    assert "the source images disagree on PatientID" in refusal(objects, case.headers, check_notice)
