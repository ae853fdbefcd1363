"""For any values in headers: facts are gathered, rules answered and everything written, and nothing raises."""

import json
from math import inf, nan

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import MRImageStorage

from dicom_node.entities import FactValue, Header, InstanceRef, StudyFacts
from dicom_node.routing import (
    Decider,
    FactsReader,
    ReceivedHeader,
    Recorder,
    asked_keywords,
    explain_lines,
    facts_to_bytes,
    gather,
    header_from_json,
    header_of,
    header_to_json,
    parse_rules,
    route,
    told_verdicts,
    verdict_to_json,
)

_RULES = parse_rules(
    """
[[rule]]
name = "all"
pipeline = "p"
destinations = ["pacs"]
priority = { from = "EchoTime" }
when.any_of = [{ EchoTime = 3 }, { SeriesNumber = [1, 2] }, { StudyAgeDays = { at_most = 3 } }]
inputs.t1 = { Rows = { exists = true }, rank = ["VoxelVolume asc", "SeriesNumber desc", "EchoTime asc"] }
inputs.t2 = { SliceSpacing = { not = 1 }, SliceThickness = { at_least = 1 }, VoxelVolume = { any_of = [1, 2] } }
""",
    "r",
)
_KEYWORDS = (
    *("PixelSpacing", "SliceThickness", "EchoTime", "SeriesNumber", "Rows", "ImagePositionPatient", "StudyTime"),
    *("ImageOrientationPatient", "PatientAge", "PatientBirthDate", "StudyDate", "SeriesTime", "SeriesDate"),
)
_TEXTS = st.sampled_from(
    [
        *("1e200", "-1e200", "1e-300", "nan", "inf", "-Infinity", "1e999", "3", "0", "-1", "1.5", "x", ""),
        *(
            "9" * 400,
            "9" * 5000,
            "-" + "9" * 25,
            "9" * 400 + "Y",
            "018Y",
            "00010101",
            "99991231",
            "20230301",
            "240000",
        ),
        *("18:30", "1_0", "١٢", "0x10"),
    ]
)
_NUMBERS = st.sampled_from(
    [1e200, -1e308, 1e308, 1e-320, nan, inf, -inf, 0.0, -0.0, 2**63, -(10**30), 10**400, 3, 1.5]
)
_VALUES: st.SearchStrategy[FactValue] = st.one_of(
    _TEXTS, _NUMBERS, st.integers(), st.floats(), st.text(max_size=5), st.just(10**5000), st.booleans()
)
_HEADERS = st.dictionaries(
    st.sampled_from(_KEYWORDS), st.lists(_VALUES, min_size=1, max_size=6).map(tuple), max_size=8
)


def _ref(number: int) -> InstanceRef:
    return InstanceRef(f"1.{number}", MRImageStorage, "", f"1.{number % 2}", "1.2", "", "", 0)


def _facts(*headers: Header) -> StudyFacts:
    return gather("1.2", [ReceivedHeader(_ref(n), one, "A", "B", "", 1e9) for n, one in enumerate(headers)])


def _check(facts: StudyFacts) -> None:
    verdicts = route(facts, _RULES)
    for verdict in verdicts:
        assert explain_lines(verdict)
        assert json.dumps(verdict_to_json(verdict), allow_nan=False)
    (decisions,) = Decider(_RULES.rules).decide(facts)
    written = facts_to_bytes(facts)
    assert json.loads(written, parse_constant=str)
    read = FactsReader(asked_keywords(_RULES.rules)).read("1.2", written)
    if read is not None:
        assert [list(one) for one in Decider(_RULES.rules).decide(read)] == [list(decisions)]
    assert len(told_verdicts(Recorder(_RULES).record(facts).text({}))) == len(verdicts)


@given(st.lists(_HEADERS, min_size=1, max_size=3))
@example([{"PixelSpacing": (1e200,), "SliceThickness": (1.0,)}])
@example([{"PixelSpacing": (1e200, 1.1e200), "SliceThickness": (1.0,)}])
@example([{"Rows": (1,), "EchoTime": (int("9" * 400),)}])
@example([{"ImageOrientationPatient": (1e308, 0, 0, 0, 1e308, 0), "ImagePositionPatient": (0, 0, 1e308)}])
@settings(max_examples=300, deadline=None)
def test_any_values_are_gathered_answered_and_written(headers: list[dict[str, tuple[FactValue, ...]]]) -> None:
    """Also those that an earlier version kept: huge, tiny, not finite, texts where numbers belong."""
    _check(_facts(*headers))


@given(st.dictionaries(st.sampled_from(_KEYWORDS), st.lists(_TEXTS, max_size=6), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_texts_of_a_data_set_are_read(texts: dict[str, list[str]]) -> None:
    """As a sender may write them, whatever their value representation can hold; and the ledger keeps them."""
    dataset = Dataset()
    for keyword, values in texts.items():
        tag, vr = Tag(keyword), {"Rows": "IS"}.get(keyword)
        raw = "\\".join(values).encode()
        dataset[tag] = RawDataElement(tag, vr, len(raw), raw, 0, is_implicit_VR=vr is None, is_little_endian=True)
    header = header_of(dataset)
    assert header_from_json(header_to_json(header)) == header
    _check(_facts(header, header))
