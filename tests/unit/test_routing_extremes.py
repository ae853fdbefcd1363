"""What senders and editors write beyond all measure: values that no computer counts with, texts that never end."""

import json

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.entities import FactValue, SeriesFacts, StudyFacts
from dicom_node.errors import Fault
from dicom_node.routing import (
    FactsReader,
    ReceivedHeader,
    asked_keywords,
    digest,
    facts_to_bytes,
    gather,
    header_of,
    parse_rules,
    read_rules_text,
    route,
    verdict_to_json,
)
from tests.ledger_cases import image

_RULE = '[[rule]]\nname = "a"\npipeline = "p"\ndestinations = ["pacs"]\ninputs.t1.Modality = "MR"\n'


def _gathered(**values: tuple[FactValue, ...]) -> StudyFacts:
    return gather("1.2", [ReceivedHeader(image(1), values, "A", "B", "")])


@pytest.mark.parametrize("pixel", [(1e200,), (1e200, 1.1e200)])
def test_a_voxel_beyond_all_measure_has_no_volume(pixel: tuple[float, ...]) -> None:
    """The facts are there all the same, and can be kept."""
    facts = _gathered(PixelSpacing=pixel, SliceThickness=(1.0,))
    assert "VoxelVolume" not in facts.values
    assert facts.values["PixelSpacing"] == pixel
    assert json.loads(facts_to_bytes(facts))


def test_slices_beyond_all_measure_have_no_spacing() -> None:
    """Neither where directions are too large to tell a normal, nor where positions are too far apart."""
    huge = _gathered(ImageOrientationPatient=(1e308, 0, 0, 0, 1e308, 0), ImagePositionPatient=(0, 0, 1e308))
    assert "Orientation" not in huge.values
    apart = [
        ReceivedHeader(
            image(number),
            {"ImageOrientationPatient": (1, 0, 0, 0, 1, 0), "ImagePositionPatient": (0, 0, z)},
            "A",
            "B",
            "",
        )
        for number, z in enumerate((-1.7e308, 1.7e308))
    ]
    facts = gather("1.2", apart)
    assert (facts.series[0].values["NumberOfSlices"], "SliceSpacing" in facts.values) == ((2,), False)


@pytest.mark.parametrize("text", ["9" * 400, "-" + "9" * 25, str(2**64)])
def test_a_whole_number_beyond_64_bits_stays_a_text(text: str) -> None:
    """An IS value (PS3.5 6.2) of such length is wrong; it is shown as it was written, and fulfils no condition."""
    dataset, tag = Dataset(), Tag("SeriesNumber")
    dataset[tag] = RawDataElement(tag, "IS", len(text), text.encode(), 0, is_implicit_VR=False, is_little_endian=True)
    assert header_of(dataset) == {"SeriesNumber": (text,)}
    (verdict,) = route(
        _gathered(**header_of(dataset), Rows=(1,)), parse_rules(f"{_RULE}when.SeriesNumber = 3\n", "r")
    )
    (answer,) = verdict_to_json(verdict)["study"]
    assert (answer["outcome"], answer["seen"][:5]) == ("no", f"'{text[:4]}")


def test_an_age_beyond_all_measure_stays_a_text() -> None:
    """VR AS is three digits and a unit."""
    dataset, tag, text = Dataset(), Tag("PatientAge"), "9" * 400 + "Y"
    dataset[tag] = RawDataElement(tag, "AS", len(text), text.encode(), 0, is_implicit_VR=False, is_little_endian=True)
    assert header_of(dataset) == {"PatientAge": (text,)}


def test_what_an_earlier_version_kept_is_still_answered() -> None:
    """Headers and facts in the ledger may hold whole numbers without end."""
    rules = parse_rules(_RULE.replace("Modality", "SeriesNumber").replace('"MR"', "3"), "r")
    huge = int("9" * 400)
    assert _gathered(SeriesNumber=(huge,)).values["SeriesNumber"] == (str(huge),)
    values: dict[str, tuple[FactValue, ...]] = {"Rows": (1,), "SeriesNumber": (huge,)}
    written = facts_to_bytes(StudyFacts("1.2", values, (SeriesFacts("1.2.1", values),)))
    read = FactsReader(asked_keywords(rules.rules)).read("1.2", written)
    assert read is not None
    assert not route(read, rules)[0].fires


def _faults(text: str) -> tuple[Fault, ...]:
    return read_rules_text(text).faults


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("settings.n = " + "9" * 5000, "64 bits"),
        ("when.EchoTime = " + "9" * 400, "64 bits"),
        ("when.EchoTime = 0x" + "F" * 17, "64 bits"),
        ("when.EchoTime = " + "[" * 3000 + "]" * 3000, "write it flatter"),
        ("when.EchoTime = " + "{a=" * 3000 + "1" + "}" * 3000, "write it flatter"),
        ("when." + "A." * 3000 + "B = 1", "write it flatter"),
        ("[rule." + "a." * 3000 + "b]", "write it flatter"),
        ("[rule." + "a." * 40 + "b]\n" + "a." * 40 + "b = 1", "write it flatter"),
        ("description = '\ud800'", "half of a character"),
    ],
)
def test_a_text_beyond_all_measure_is_a_fault_in_its_line(line: str, words: str) -> None:
    """Nothing raises; the fault says what would be right."""
    (fault,) = _faults(f"{_RULE}{line}\n")
    assert words in fault.what
    assert fault.line == 6 + line.count("\n")


def test_an_attribute_that_stands_twice_is_a_fault() -> None:
    """With and without quotes it is one attribute; so is a private one in capitals and in small letters."""
    path = "RequestAttributesSequence.RequestedProcedureID"
    (fault,) = _faults(f'{_RULE}[rule.when]\n"{path}" = "A"\n{path} = "B"\n')
    assert (fault.line, fault.what) == (8, f"rule 'a': {path} stands twice in one table; put both into an all_of")
    private = "(0019,xx{}) SIEMENS MR HEADER"
    (fault,) = _faults(f'{_RULE}[rule.when]\n"{private.format("0C")}" = 1\n"{private.format("0c")}" = 2\n')
    assert fault.line == 8


def test_rules_nested_as_deep_as_may_be_are_read_and_printed() -> None:
    """The limit lies below where reading, printing and asking would break."""
    deep = "{ not = " * 28 + "'MR'" + " }" * 28
    groups = "any_of = [{ " * 14 + "Modality = 'MR'" + " }]" * 14
    reading = read_rules_text(f"{_RULE}when.Modality = {deep}\nwhen.{groups}\n")
    assert not reading.faults
    assert digest(reading.rules)
    assert route(_gathered(Modality=("MR",), Rows=(1,)), reading.rules)[0].fires


def test_only_the_first_unknown_keywords_are_guessed() -> None:
    """It takes a tenth of a second to look for what was meant."""
    faults = _faults(f"{_RULE}[rule.when]\n" + "".join(f"SeriesDescriptio{n} = 'x'\n" for n in range(30)))
    assert len(faults) == 30
    assert ["did you mean" in fault.what for fault in faults] == [True] * 20 + [False] * 10


def test_a_text_of_faults_ends_with_a_sentence() -> None:
    """After 200 the reading ends: nobody reads them."""
    reading = read_rules_text(f"{_RULE}[rule.when]\n" + "".join(f"PatientNam{n} = 'x'\n" for n in range(5000)))
    assert len(reading.faults) == 201
    assert reading.faults[-1] == Fault(207, 1, "there are more faults than these; mend these first")
