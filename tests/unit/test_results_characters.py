"""What is written of a text that the source's character set cannot hold says the same, and can be read."""

import warnings
from collections.abc import Sequence
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.sr.coding import Code
from pydicom.valuerep import TEXT_VR_DELIMS

from dicom_node.contract import Algorithm, Findings, Measurement, Segment
from dicom_node.results import build, check
from dicom_node.results.characters import fits, written
from dicom_node.results.objects import encode
from dicom_node.settings import ResultKind
from tests.results_cases import (
    ALGORITHM,
    ANATOMY,
    BRAIN,
    ML,
    ROLE,
    VOLUME,
    blob,
    findings,
    profile,
    run_context,
    segment,
    source_series,
)

JAPANESE = ("", "ISO 2022 IR 87")
SETS: tuple[str | Sequence[str] | None, ...] = (
    None,
    "ISO_IR 6",
    "ISO_IR 13",
    "ISO_IR 100",
    "ISO_IR 126",
    "ISO_IR 144",
    "ISO_IR 166",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    JAPANESE,
    ("ISO 2022 IR 13", "ISO 2022 IR 87"),
    ("", "ISO 2022 IR 87", "ISO 2022 IR 159"),
    ("", "ISO 2022 IR 149"),
    ("", "ISO 2022 IR 58"),
    ("", "ISO 2022 58"),
    ("ISO 2022 IR 6", "ISO 2022 IR 100"),
    ("ISO_IR 100", "ISO 2022 IR 144"),
)
TEXTS = (
    "60\u201370 \u22125 10⁶ mm² ≥ 5½",
    "Größe ß ø",
    "肝脏",
    "肝臓",
    "ｶﾀｶﾅ",
    "丂",
    "Мозг",
    "日本ü",
    "간",
    "e\u0301",
    "\ud800",
    "a\x1b$Bx",
)


def encodings_of(character_set: str | Sequence[str] | None) -> list[str]:
    if character_set is None or isinstance(character_set, str):
        return list(convert_encodings(character_set or ""))
    return list(convert_encodings(list(character_set)))


@pytest.mark.parametrize("character_set", SETS, ids=str)
@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_what_is_written_is_read_again(text: str, character_set: str | Sequence[str] | None) -> None:
    """In each character set every text is encoded without a replacement, and decoded to what was written."""
    said, encodings = written(text, character_set), encodings_of(character_set)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoded = encode_string(said, encodings)
        assert decode_bytes(encoded, encodings, TEXT_VR_DELIMS) == said


@pytest.mark.parametrize("character_set", [None, "ISO_IR 6", JAPANESE, ("", "ISO 2022 IR 100")], ids=str)
def test_the_default_repertoire_is_ascii(character_set: str | Sequence[str] | None) -> None:
    """PS3.5 6.1.2.1: no byte above 127 without a set that defines it, so no raw Latin-1 in a Japanese study."""
    said = written("Größe in µm", character_set)
    assert (said, encode_string(said, encodings_of(character_set))) == ("Grosse in um", b"Grosse in um")
    assert not fits("ü", character_set)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("women of 60\u201370 years", "women of 60-70 years"),
        ("\u22125 HU", "-5 HU"),
        ("10⁶/l", "10^6/l"),
        ("10⁻³", "10^-3"),
        ("≥ 5½ mm", ">= 5 1/2 mm"),
        ("±2 %", "+/-2 %"),
        ("37 °C", "37 degC"),
        ("Straße", "Strasse"),
        ("e\u0301", "e"),
        ("脳 1", "? 1"),
        ("a\\b", "a/b"),
        ("a\x1b$Bb\0c", "a $Bb c"),
    ],
)
def test_nothing_vanishes_that_means_something(text: str, said: str) -> None:
    """A minus, a dash between two numbers or a power must not be lost: "60-70" is not "6070"."""
    assert written(text, None) == said


def test_what_fits_stays_beside_what_does_not() -> None:
    """One long dash costs a Latin-1 text none of its accents."""
    assert written("Größe 60\u201370 mm²", "ISO_IR 100") == "Größe 60-70 mm²"


def _labels(kinds: tuple[ResultKind, ...], **changes: str) -> list[str]:
    left, right = Code("7771000", "SCT", "Left"), Code("24028007", "SCT", "Right")
    kidney = Code("64033007", "SCT", "Kidney")
    segments = (
        Segment("左腎", blob(), ANATOMY, kidney, (60.0, 40.0, 30.0), laterality=left),
        Segment("右腎", blob(), ANATOMY, kidney, (60.0, 40.0, 30.0), laterality=right),
        Segment("右", blob(), ANATOMY, kidney, (60.0, 40.0, 30.0), laterality=right),
    )
    found = Findings(ROLE, ALGORITHM, segments, (Measurement(VOLUME, 1.0, ML, "左腎"),))
    source = source_series()
    built = build(found, {ROLE: source}, run_context(profile=profile(kinds=kinds, **changes)))
    check(built, {ROLE: source})
    return [str(item.SegmentLabel) for item in dcmread(BytesIO(encode(built[0]))).SegmentSequence]


@pytest.mark.parametrize("report", ["measurements", "text"])
def test_a_label_in_another_script_gives_way_to_its_codes(report: str) -> None:
    """Three labels of which nothing would be left stay three, and say the side, in every kind of result."""
    assert _labels(tuple(ResultKind), report=report) == ["Kidney, Left", "Kidney, Right", "Kidney, Right 2"]


def test_a_label_that_the_source_can_hold_stays() -> None:
    """In UTF-8 a label is what the pipeline gave."""
    assert _labels((ResultKind.SEGMENTATION,), character_set="ISO_IR 192") == ["左腎", "右腎", "右"]


def test_the_meaning_of_a_code_is_written_in_ascii_where_need_be() -> None:
    """PS3.3 Table 8.8-1: Code Meaning is a text in the character set of the object, too."""
    source = source_series(character_set=None, name="Doe^Jane")
    found = findings(Segment("Ear", blob(), ANATOMY, BRAIN._replace(meaning="Ménière"), (60.0, 40.0, 30.0)))
    (seg, _) = build(found, {ROLE: source}, run_context())
    read = dcmread(BytesIO(encode(seg)))
    assert read.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Meniere"


def test_parameters_of_the_algorithm_are_written_so_too() -> None:
    """Names and values of parameters are texts of the pipeline like any other."""
    source = source_series(character_set=None, name="Doe^Jane")
    algorithm = Algorithm("脳", "1\u20132", ALGORITHM.family, parameters={"größe": "3\u20134"})
    (seg, report) = build(Findings(ROLE, algorithm, (segment(),)), {ROLE: source}, run_context())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = dcmread(BytesIO(encode(seg)))
        encode(report)
    (identification,) = read.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert (identification.AlgorithmVersion, identification.AlgorithmParameters) == ("1-2", "grosse=3-4")
