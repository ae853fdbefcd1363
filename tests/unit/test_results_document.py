"""The document is a page of real text that says whose result it is, and everything that was found."""

import math
import re
from dataclasses import replace

import pypdfium2
import pytest
from pydicom import DataElement, Dataset, config

from dicom_node.contract import Findings, Measurement, ReferenceRange
from dicom_node.geometry import SourceSeries
from dicom_node.results.document import identity
from dicom_node.results.range_plot import scale_of
from dicom_node.results.words import ENGLISH
from tests.picture_cases import built, page_texts, pdf_of, read, rich
from tests.results_cases import ALGORITHM, ML, ROLE, VOLUME, findings, source_series


def document(found: Findings, source: SourceSeries | None = None, **changes: object) -> bytes:
    (dataset,) = read(built(found, source, **changes), "PDF")
    return pdf_of(dataset)


def test_the_data_set_says_what_it_holds() -> None:
    """PS3.3 C.24.2: a PDF with a title, its own length, the images that it was made from, and the patient's name."""
    source = source_series()
    (dataset,) = read(built(rich(), source), "PDF")
    assert (dataset.MIMETypeOfEncapsulatedDocument, dataset.DocumentTitle) == ("application/pdf", "Brain extraction")
    assert (dataset.Modality, dataset.BurnedInAnnotation) == ("DOC", "YES")
    assert (
        dataset.EncapsulatedDocumentLength
        <= len(dataset.EncapsulatedDocument)
        <= dataset.EncapsulatedDocumentLength + 1
    )
    named = [item.ReferencedSOPInstanceUID for item in dataset.SourceInstanceSequence]
    assert named == [image.SOPInstanceUID for image in source.datasets]


def test_one_page_says_everything_in_real_text() -> None:
    """PDFium extracts whose result it is, the warning, each value, range, answer and remark, and how it was made."""
    (text,) = page_texts(document(rich()))
    for said in (
        "Patient: Müller, Jörg",
        "ID: P-1",
        "Born: 1970-01-01",
        "AI RESULT - NOT FOR PRIMARY DIAGNOSIS",
        "Not a medical device.",
        "Image 3",
        "Läsion",
        "0.289 ml",
        "0.2–0.25 (above)",
        "adults, 5th to 95th percentile (Doe 2026)",
        "3.14 %",
        "Severity Mild 87.3 %",
        "Spot Location Lesion 50 %",
        "Looks plausible.",
        "example 1.0.2 (Artificial Intelligence)",
        "ab" * 32,
        "threshold = 0.5",
        source_series().datasets[0].StudyInstanceUID,
        source_series().datasets[0].SeriesInstanceUID,
        "2026-09-21",
        "Page 1 of 1",
    ):
        assert said in text


def test_the_page_is_german_where_the_profile_says_so() -> None:
    """Our own words and numbers; what the pipeline and the hospital wrote stays as it is."""
    (text,) = page_texts(document(rich(), language="de"))
    for said in ("KI-ERGEBNIS", "Messwerte", "0,289 ml", "Geboren: 01.01.1970", "Looks plausible.", "Seite 1 von 1"):
        assert said in text


def test_the_warning_is_in_the_hospitals_words() -> None:
    """What a profile gives as its warning replaces that of the language, above and below the page."""
    (text,) = page_texts(document(rich(), warning="AI: a person must look too"))
    assert text.count("AI: a person must look too") == 2
    assert "NOT FOR PRIMARY" not in text


@pytest.mark.parametrize(
    ("character_set", "name", "printed"),
    [
        ("ISO_IR 100", "Müller^Jörg^^Dr.", "Müller, Jörg Dr."),
        ("ISO_IR 192", "Dvořák^Łucja", "Dvořák, Łucja"),
        ("ISO_IR 144", "Люкceмбypг", "Люкceмбypг"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou"),
        ("ISO_IR 192", "山田^太郎", "cannot be shown here"),
        ("ISO_IR 192", "=山田^太郎=Yamada^Tarou", "Yamada, Tarou"),
        ("ISO_IR 100", "", "unknown"),
    ],
)
def test_names_are_printed_in_their_own_letters(character_set: str | list[str], name: str, printed: str) -> None:
    """In the group that the font can show; what it cannot is said, and the ID beside it still says who it is."""
    (text,) = page_texts(document(rich(), source_series(character_set=character_set, name=name)))
    assert f"Patient: {printed} · ID: P-1" in text


def test_a_date_that_is_none_is_printed_as_it_is() -> None:
    """Scanners write dates that PS3.5 6.2 does not know; an absent one is said."""
    for value, printed in (("19700101", "1970-01-01"), ("1970", "1970"), ("19701399", "19701399"), ("", "unknown")):
        dataset = Dataset()
        dataset.add(DataElement(0x00100030, "DA", value, validation_mode=config.IGNORE))
        assert f"Born: {printed}" in identity(dataset, ENGLISH)


def test_the_same_job_prints_the_same_bytes() -> None:
    """No date of now and no random identifier: the file's date is that of the job, its fonts are embedded."""
    first, again = document(rich()), document(rich())
    assert first == again
    metadata = pypdfium2.PdfDocument(first).get_metadata_dict()
    assert metadata["CreationDate"].startswith("D:20260921")
    assert re.findall(rb"/FontFile2", first)
    assert b"/Type1" not in first


def test_nothing_found_is_printed_too() -> None:
    """A remark, or a sentence of our own."""
    (text,) = page_texts(document(Findings(ROLE, ALGORITHM, remarks=("No brain was found.",))))
    assert "No brain was found." in text
    (text,) = page_texts(document(Findings(ROLE, ALGORITHM)))
    assert "Brain extraction found nothing in these images." in text


def test_markup_in_a_remark_is_text() -> None:
    """A remark with < and & is printed as it is, and cannot break the page."""
    (text,) = page_texts(document(findings(remarks=("Volume <b>5 & rising</i> &lt; 7",))))
    assert "Volume <b>5 & rising</i> &lt; 7" in text


def test_what_does_not_fit_goes_on_the_next_page() -> None:
    """Sixty values are on several pages, each with whose they are and the warning, and none is lost."""
    many = tuple(Measurement(VOLUME, value + 0.5, ML, "Brain") for value in range(60))
    pages = page_texts(document(rich(measurements=many, ranges=())))
    assert len(pages) > 1
    for number, page in enumerate(pages, 1):
        assert "Patient: Müller, Jörg" in page
        assert "AI RESULT - NOT FOR PRIMARY DIAGNOSIS" in page
        assert f"Page {number} of {len(pages)}" in page
    together = " ".join(pages)
    assert all(f"{value}.5 ml" in together for value in range(60))


def test_very_long_words_do_not_break_the_page() -> None:
    """A label of thousands of letters is cut with a sign, and all that comes after it is printed."""
    base = rich()
    long = tuple(replace(each, label="x" * 5000) for each in base.segments[:1])
    found = Findings(ROLE, ALGORITHM, long, (Measurement(VOLUME, 1, ML, "x" * 5000),), ("y" * 3000, "The end."))
    assert "The end." in " ".join(page_texts(document(found)))


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(5, 1, 9), (-3, 1, 9), (100, 1, 9), (2, 2, 2), (1, 1, 9), (7, -math.inf, 9), (7, 7, math.inf)],
)
def test_the_plot_shows_value_and_range_wherever_they_lie(value: float, low: float, high: float) -> None:
    """Both are inside the drawing, in their order, even if the range is a single number."""
    scale = scale_of(value, low, high, 100)
    places = [scale.place(each) for each in sorted((value, low, high)) if math.isfinite(each)]
    assert places == sorted(places)
    assert all(0 < place < 100 for place in places)


def test_limits_never_run_into_each_other() -> None:
    """Of a range that is narrow beside a far value the limits are one label, of a wide one two."""
    pages = [
        document(
            rich(
                measurements=(Measurement(VOLUME, value, ML, "Brain"),),
                ranges=(ReferenceRange(VOLUME, "Brain", 1000, 1500, "adults"),),
            )
        )
        for value in (1200, 90000)
    ]
    near, far = (page_texts(page)[0] for page in pages)
    assert near.count("1000–1500") == 1
    assert far.count("1000–1500") == 2


@pytest.mark.parametrize(
    ("low", "high", "said"), [(-math.inf, 0.2, "\u2264 0.2 (above)"), (0.1, math.inf, "\u2265 0.1 (within)")]
)
def test_an_open_range_is_printed(low: float, high: float, said: str) -> None:
    """Its open side has no limit, in words or in the plot."""
    (text,) = page_texts(document(rich(ranges=(ReferenceRange(VOLUME, "Brain", low, high, "adults"),))))
    assert said in text
    assert "inf" not in text.replace("information", "")


@pytest.mark.parametrize(("value", "verdict"), [(0.1, "below"), (0.22, "within"), (0.3, "above")])
def test_where_the_value_lies_is_said_in_a_word(value: float, verdict: str) -> None:
    """Readable in black and white, and by a machine."""
    ranges = (ReferenceRange(VOLUME, "Brain", 0.2, 0.25, "adults"),)
    found = rich(measurements=(Measurement(VOLUME, value, ML, "Brain"),), ranges=ranges)
    (text,) = page_texts(document(found))
    assert f"0.2–0.25 ({verdict})" in text
