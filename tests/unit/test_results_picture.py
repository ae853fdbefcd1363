"""Secondary captures show the key slices with everything that was found, for a PACS that draws nothing else."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from dicom_node.contract import Findings, KeySlice, LabelMask, Measurement, ReferenceRange
from dicom_node.results import encode
from dicom_node.results.drawing import colour_of
from dicom_node.results.picture_page import HEIGHT, WIDTH
from dicom_node.results.statements import interval, number, quantity, statements
from dicom_node.results.words import ENGLISH, GERMAN
from tests.picture_cases import built, read, rich
from tests.results_cases import ALGORITHM, ML, ROLE, SAGITTAL, VOLUME, findings, segment, source_series


def pictures(found: Findings, **changes: object) -> list[Dataset]:
    return read(built(found, **changes), "SC")


def colour_share(picture: Dataset, colour: tuple[int, int, int]) -> float:
    """Return the share of pixels, of the slice and not of the words beside it, that have a colour."""
    slice_only = picture.pixel_array[50:700, :650].astype(int)
    return float((np.abs(slice_only - colour).max(axis=2) < 12).mean())


def test_each_key_slice_is_one_picture_of_one_series() -> None:
    """RGB, 8 bit, uncompressed, numbered from 1; that words are burnt in is said."""
    made = pictures(rich())
    assert [picture.InstanceNumber for picture in made] == [1, 2, 3]
    assert len({picture.SeriesInstanceUID for picture in made}) == 1
    for picture in made:
        assert picture.pixel_array.shape == (HEIGHT, WIDTH, 3)
        assert (picture.Modality, picture.BurnedInAnnotation, picture.BodyPartExamined) == ("OT", "YES", "BRAIN")


@pytest.mark.parametrize("enhanced", [False, True])
def test_each_picture_names_its_slice(enhanced: bool) -> None:
    """The image that it shows, and its frame if it is Enhanced."""
    source = source_series(enhanced=enhanced)
    made = read(built(rich(), source), "SC")
    for picture, index in zip(made, (1, 2, 3), strict=True):
        (item,) = picture.SourceImageSequence
        assert item.ReferencedSOPInstanceUID == source.datasets[source.frames[index].dataset].SOPInstanceUID
        assert item.get("ReferencedFrameNumber") == (index + 1 if enhanced else None)


def test_outlines_are_on_the_slices_that_have_them() -> None:
    """The second segment is drawn, in its colour, on the one slice where it was found."""
    blob, spot = (colour_of(each) for each in rich().segments)
    shares = [(colour_share(each, blob), colour_share(each, spot)) for each in pictures(rich(locations=()))]
    assert all(large > 0.001 for large, _ in shares)
    assert [small > 0.001 for _, small in shares] == [False, True, False]


def test_proportions_are_true_to_mm() -> None:
    """A pixel of the picture measures what Pixel Spacing says: 24 columns of 0.9 mm are as wide as they should."""
    (picture, *_) = pictures(rich())
    spacing = float(picture.PixelSpacing[0])
    drawn = picture.pixel_array[60:690, 14:648].max(axis=2) > 0
    rows, columns = np.flatnonzero(drawn.mean(axis=1) > 0.5), np.flatnonzero(drawn.mean(axis=0) > 0.5)
    assert (columns[-1] - columns[0] + 1) * spacing == pytest.approx(24 * 0.9, rel=0.02)
    assert (rows[-1] - rows[0] + 1) * spacing == pytest.approx(20 * 1.0, rel=0.02)
    assert list(picture.PatientOrientation) == ["P", "F"]


@pytest.mark.parametrize("orientation", [SAGITTAL, (1.0, 0.0, 0.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)])
def test_the_slice_that_is_named_is_drawn_the_right_way_round(orientation: tuple[float, ...]) -> None:
    """Each slice has its own grey, and a white quarter whose place in the patient is known."""
    source = source_series(orientation=orientation, spacing=(1.0, 1.0, 1.0))
    source.volume.array[:] = np.arange(6, dtype=np.float32)[:, None, None] / 10
    source.volume.array[:, :10, :12] = 1
    lps = source.volume.affine[:3, :3] @ np.array([0, 4.75 - 9.5, 5.75 - 11.5])
    found = Findings(ROLE, ALGORITHM, key_slices=tuple(KeySlice(index, "") for index in range(6)))
    axes = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "H": (2, 1), "F": (2, -1)}
    for index, picture in enumerate(read(built(found, source), "SC")):
        (across, right), (along, down) = (axes[letter] for letter in picture.PatientOrientation)
        step = 1 / float(picture.PixelSpacing[0])
        centre = np.array([382, 331])  # of the space for a slice
        at = centre + step * np.array([lps[along] * down, lps[across] * right])
        white = picture.pixel_array[tuple(np.rint(at).astype(int))]
        grey = picture.pixel_array[tuple(np.rint(2 * centre - at).astype(int))]
        assert white.tolist() == [255] * 3
        assert np.abs(grey.astype(int) - round(index / 10 * 255)).max() <= 2


def test_nothing_found_is_one_picture_in_words() -> None:
    """A remark is all that there is to show; the picture is about every image of the series."""
    nothing = Findings(ROLE, ALGORITHM, remarks=("No brain was found in these images.",))
    (picture,) = pictures(nothing)
    assert len(picture.SourceImageSequence) == 6
    assert "PixelSpacing" not in picture
    (other,) = pictures(Findings(ROLE, ALGORITHM))
    assert (picture.pixel_array != other.pixel_array).any()


def test_what_does_not_fit_beside_a_slice_has_pictures_of_its_own() -> None:
    """No number is ever cut off: with sixty of them the last pictures hold them all."""
    many = tuple(Measurement(VOLUME, float(value), ML, "Brain") for value in range(60))
    few, all_of_them = pictures(rich()), pictures(rich(measurements=many, ranges=()))
    assert len(all_of_them) > len(few)
    assert "PixelSpacing" not in all_of_them[-1]
    assert len(all_of_them[-1].SourceImageSequence) == 6


def test_pictures_are_not_without_number() -> None:
    """Of a pipeline's hundred key slices forty have a picture, from one end to the other, and that is said."""
    source = source_series((100, 20, 24))
    found = Findings(ROLE, ALGORITHM, key_slices=tuple(KeySlice(index, "") for index in range(100)))
    made = read(built(found, source), "SC")
    shown = [picture.SourceImageSequence[0].ReferencedSOPInstanceUID for picture in made]
    order = [image.SOPInstanceUID for image in source.datasets]
    places = [order.index(uid) for uid in shown]
    assert (len(places), places[0], places[-1]) == (40, 1, 98)
    assert set(np.diff(places)) == {2, 3}
    alone = Findings(ROLE, ALGORITHM, key_slices=(KeySlice(places[0], ""),))
    (other,) = read(built(alone, source), "SC")
    assert (made[0].pixel_array != other.pixel_array).any()


def test_a_colour_that_no_screen_has_is_drawn_as_the_nearest() -> None:
    """CIELab holds more than RGB: a deep blue of L* 60 becomes one that can be drawn."""
    assert colour_of(replace(segment(), colour_lab=(60.0, -60.0, -60.0)))[0] == 0


def test_long_texts_never_leave_the_picture() -> None:
    """A notice, a reason and a title of thousands of letters are cut, and the slice is still there."""
    long = "word " * 2000
    (picture,) = pictures(rich(key_slices=(KeySlice(2, long),)), notice=long)[:1]
    assert colour_share(picture, colour_of(rich().segments[0])) > 0.001
    assert float(picture.PixelSpacing[0]) < 0.2


def test_a_key_slice_without_findings_is_shown() -> None:
    """A pipeline may point at a slice and outline nothing."""
    (picture,) = pictures(findings(remarks=()).__class__(ROLE, ALGORITHM, key_slices=(KeySlice(5, "motion"),)))
    assert float(picture.PixelSpacing[0]) > 0


def test_the_same_job_gives_the_same_bytes() -> None:
    """Building again gives the same files, so a repeated job is harmless."""
    first, again = ([encode(each) for each in built(rich())] for _ in range(2))
    assert first == again


def test_another_language_is_another_picture() -> None:
    """The warning is German where the profile says so; the notice stays as the hospital wrote it."""
    (english, *_), (german, *_) = pictures(rich()), pictures(rich(), language="de")
    assert (english.pixel_array[:44] != german.pixel_array[:44]).any()
    assert (english.pixel_array[700:720] != german.pixel_array[700:720]).any()
    assert (english.pixel_array[720:740] == german.pixel_array[720:740]).all()


def test_the_warning_is_in_the_hospitals_words() -> None:
    """Another warning, however long, is another banner and line in the same places; the rest of the picture stays."""
    (plain, *_), (short, *_), (long, *_) = (
        pictures(rich(), warning=warning) for warning in ("", "ИИ: не для диагноза", "W" * 60)
    )
    for other in (short, long):
        assert (plain.pixel_array[:44] != other.pixel_array[:44]).any()
        assert (plain.pixel_array[44:700] == other.pixel_array[44:700]).all()
        assert (plain.pixel_array[700:720] != other.pixel_array[700:720]).any()
        assert (plain.pixel_array[720:] == other.pixel_array[720:]).all()
        assert (other.pixel_array[:44, :14] == plain.pixel_array[0, 0]).all()


def test_a_warning_that_cannot_be_drawn_is_that_of_the_language() -> None:
    """A row of boxes warns nobody: the font has no Japanese letters, so the words are those of the language."""
    (plain, *_), (japanese, *_) = (pictures(rich(), warning=warning) for warning in ("", "診断用ではない"))
    assert (plain.pixel_array == japanese.pixel_array).all()


def test_labels_of_one_volume_are_drawn_as_their_masks() -> None:
    """A pipeline that gives a volume of labels gets the pictures, the page and the lines that masks would get."""
    first, second = rich().segments
    alone = replace(first, mask=first.mask & ~second.mask)
    labels = np.where(second.mask, -7, np.where(alone.mask, 70000, 0)).astype(np.int32)
    shared = (replace(alone, mask=LabelMask(labels, 70000)), replace(second, mask=LabelMask(labels, -7)))
    masks, volume = (built(rich(segments=each)) for each in ((alone, second), shared))
    assert [encode(each) for each in volume] == [encode(each) for each in masks]


def test_no_patient_is_drawn() -> None:
    """Another patient's picture is the same picture, pixel by pixel."""
    one = read(built(rich(), source_series()), "SC")
    other = read(built(rich(), source_series(name="Other^Name")), "SC")
    assert all((a.pixel_array == b.pixel_array).all() for a, b in zip(one, other, strict=True))


def test_every_statement_is_made() -> None:
    """Label, measured value with its range, classification with its probability, location, whole images, remark."""
    said = [line.text for line in statements(rich(), "Brain extraction", ENGLISH)]
    assert said == [
        "Brain",
        "Volume 0.289 ml (reference 0.2–0.25)",
        "Läsion",
        "Volume 0.019 ml",
        "Severity: Mild (87.3 %)",
        "Spot: Lesion (50 %)",
        "Ratio 3.14 %",
        "Looks plausible.",
    ]


def test_what_was_not_found_is_said_in_words() -> None:
    """An empty segment, a number of a structure that has no mask, and nothing at all."""
    empty = segment("Lesion", np.zeros((6, 20, 24), dtype=np.bool_))
    said = [line.text for line in statements(findings(empty, remarks=()), "Title", GERMAN)]
    assert said == ["Lesion: in diesen Bildern nicht gefunden", "Volume 0 ml"]
    stray = findings(remarks=()).__class__(ROLE, ALGORITHM, measurements=(Measurement(VOLUME, 2, ML, "Cyst"),))
    assert [line.text for line in statements(stray, "Title", ENGLISH)] == [
        "Cyst: Volume 2 ml (not found in these images)"
    ]
    assert [line.text for line in statements(findings(remarks=()), "Title", GERMAN)] == [
        "Title hat in diesen Bildern nichts gefunden."
    ]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(1.5, 20.0, "1.5\u201320"), (-math.inf, 5.0, "\u2264 5"), (2.0, math.inf, "\u2265 2"), (-3, -1, "-3 \u2013 -1")],
)
def test_a_range_may_be_open(low: float, high: float, text: str) -> None:
    """Some values are abnormal on one side only."""
    assert interval(ReferenceRange(VOLUME, "Brain", low, high, "adults"), ENGLISH) == text


@pytest.mark.parametrize(
    ("value", "english", "german"),
    [(1234.567, "1234.6", "1234,6"), (3.14159, "3.14", "3,14"), (0.01234, "0.0123", "0,0123"), (12.0, "12", "12")],
)
def test_numbers_are_written_as_a_reader_wants_them(value: float, english: str, german: str) -> None:
    """Three digits, one decimal from ten on, the decimal sign of the language."""
    assert number(value, ENGLISH) == english
    assert number(value, GERMAN) == german


@pytest.mark.parametrize(
    ("unit", "text"),
    [("mm2", "5 mm²"), ("cm3", "5 cm³"), ("1", "5"), ("{count}", "5"), ("ml", "5 ml"), ("H2O", "5 H2O")],
)
def test_units_are_written_as_a_reader_wants_them(unit: str, text: str) -> None:
    """UCUM writes mm2 and 1; people read mm² and nothing."""
    assert quantity(5, ML.__class__(unit, "UCUM", "unit"), ENGLISH) == text
