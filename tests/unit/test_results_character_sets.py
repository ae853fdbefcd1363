"""Texts reach the PACS as they are read: in the source's character set, or every one of them in UTF-8."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.contract import DerivedImages, Findings, ProbabilityMap
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, build, check, encode
from dicom_node.settings import ResultKind
from tests.gate_cases import copies, refusal
from tests.results_cases import ROLE, findings, profile, run_context, segment, source_series

_SHAPE = (6, 20, 24)
_VALUES = np.random.default_rng(2).random(_SHAPE, np.float32)
#: (character set, name, a text in it)
TEXTS = [
    (None, "Doe^John", "Head"),
    ("ISO_IR 100", "Müller^Jörg", "Schädel"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "頭部"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "머리"),
    ("GB18030", "Wang^XiaoDong=王^小东", "头部"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東", "頭"),
]
_EVERY_KIND = (ResultKind.SEGMENTATION, ResultKind.PARAMETRIC_MAP, ResultKind.IMAGES, ResultKind.REPORT)


def written(character_set: str | list[str] | None, name: str, text: str, *, enhanced: bool = False) -> SourceSeries:
    """Return a source with texts at its root, in items, and in an item that has a character set of its own."""
    source = source_series(character_set=character_set, name=name, enhanced=enhanced)
    for image in source.datasets:
        procedure, other, foreign = Dataset(), Dataset(), Dataset()
        procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = "1", "99SITE", text
        other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "7", text, "TEXT"
        foreign.SpecificCharacterSet = "ISO_IR 144"
        foreign.PatientID, foreign.IssuerOfPatientID, foreign.TypeOfPatientID = "8", "Больница", "TEXT"
        image.StudyDescription, image.InstitutionName, image.ProtocolName = text, text, text
        image.ProcedureCodeSequence = [procedure]
        image.OtherPatientIDsSequence = [other, foreign]
        image.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        if enhanced:
            anatomy = Dataset()
            anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = [procedure], "U"
            image.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    return replace(source, datasets=tuple(_stored(image) for image in source.datasets))


def _stored(image: Dataset) -> Dataset:
    """Return a data set as it is read from a file: its texts undecoded."""
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, image, enforce_file_format=True)
    return dcmread(BytesIO(buffer.getvalue()))


def every_kind(source: SourceSeries, **changes: object) -> tuple[BuiltObject, ...]:
    """Build one object of every kind, for a profile with some values changed; the gate lets all pass."""
    run = run_context(profile=profile(kinds=_EVERY_KIND, **changes))
    one = Code("1", "UCUM", "no units")
    maps = (ProbabilityMap("Karte", _VALUES, Code("129000", "DCM", "Probability"), one),)
    images = (DerivedImages("Geglättet", _VALUES, "Geglättet.", Code("113087", "DCM", "Smoothing")),)
    found: Findings = replace(findings(segment("Fläche")), maps=maps, images=images)
    objects = build(found, {ROLE: source}, run)
    check(objects, {ROLE: source})
    return objects


def _as_read(dataset: Dataset) -> tuple[str, ...]:
    """Return every text that was written into a source, as a reader gets it."""
    others = dataset.OtherPatientIDsSequence
    return (
        str(dataset.PatientName),
        dataset.StudyDescription,
        dataset.ProcedureCodeSequence[0].CodeMeaning,
        *(item.IssuerOfPatientID for item in others),
    )


def _encoded(built: BuiltObject) -> Dataset:
    return dcmread(BytesIO(encode(built)))


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize(("character_set", "name", "text"), TEXTS)
def test_all_texts_are_converted(character_set: str | list[str] | None, name: str, text: str, enhanced: bool) -> None:
    """ISO_IR 192: every text of every kind of object, in items too, reads as it did, and its bytes are UTF-8."""
    if character_set is None:
        text = "Head"
    source = written(character_set, name, text, enhanced=enhanced)
    kinds = set()
    for built in every_kind(source, character_set="ISO_IR 192"):
        read = _encoded(built)
        assert read.SpecificCharacterSet == "ISO_IR 192"
        assert read.get_item("PatientName").value.rstrip(b" ") == name.encode()
        assert _as_read(read) == (name, text, text, text, "Больница")
        assert not any("SpecificCharacterSet" in item for item in read.OtherPatientIDsSequence)
        assert read.ContributingEquipmentSequence[0].InstitutionName == text
        if built.kind is ResultKind.IMAGES:
            assert read.ProtocolName == text
            if enhanced:
                anatomy = read.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0]
                assert anatomy.AnatomicRegionSequence[0].CodeMeaning == text
        kinds.add(built.kind)
    assert kinds == set(_EVERY_KIND)


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize(("character_set", "name", "text"), TEXTS)
def test_all_texts_keep_their_bytes(
    character_set: str | list[str] | None, name: str, text: str, enhanced: bool
) -> None:
    """By default nothing is converted: the name's bytes are the scanner's, and every text reads as it did."""
    source = written(character_set, name, text, enhanced=enhanced)
    raw = written(character_set, name, text, enhanced=enhanced).datasets[0].get_item("PatientName").value
    for built in every_kind(source):
        read = _encoded(built)
        assert read.get("SpecificCharacterSet") == source.datasets[0].get("SpecificCharacterSet")
        assert read.get_item("PatientName").value == raw
        assert _as_read(read) == (name, text, text, text, "Больница")
        if built.kind is ResultKind.IMAGES and enhanced:
            anatomy = read.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0]
            assert anatomy.AnatomicRegionSequence[0].CodeMeaning == text


def test_our_own_texts_keep_their_accents_in_utf_8() -> None:
    """What the source's character set could not hold, UTF-8 can."""
    source = written(None, "Doe^John", "Head")
    (seg, *_), (converted, *_) = every_kind(source), every_kind(source, character_set="ISO_IR 192")
    assert _encoded(seg).SegmentSequence[0].SegmentLabel == "Flache"
    assert _encoded(converted).SegmentSequence[0].SegmentLabel == "Fläche"


@pytest.mark.parametrize("index", range(4))
def test_a_third_character_set_is_refused(index: int) -> None:
    """The gate knows the source's character set and UTF-8, and nothing else."""
    source = written("ISO_IR 100", "Müller^Jörg", "Schädel")
    objects = copies(every_kind(source))
    objects[index].dataset.SpecificCharacterSet = "ISO_IR 101"
    assert "SpecificCharacterSet is neither that of the source nor ISO_IR 192" in refusal(objects, {ROLE: source})


def test_an_item_that_is_left_behind_is_refused() -> None:
    """A converted object in which one item has kept its own character set is no object in UTF-8."""
    source = written("ISO_IR 100", "Müller^Jörg", "Schädel")
    objects = copies(every_kind(source, character_set="ISO_IR 192"))
    objects[0].dataset.OtherPatientIDsSequence[0].SpecificCharacterSet = "ISO_IR 100"
    assert "an item of OtherPatientIDsSequence has a character set of its own" in refusal(objects, {ROLE: source})


@pytest.mark.parametrize("change", ["name", "item"])
def test_a_text_that_changed_on_the_way_is_refused(change: str) -> None:
    """What counts is what is read: one letter less in a name or in an item, and the object stays here."""
    source = written(["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "頭部")
    objects = copies(every_kind(source, character_set="ISO_IR 192"))
    dataset = objects[0].dataset
    if change == "name":
        dataset.PatientName = "Yamada^Tarou=山田^太郎"
    else:
        dataset.ProcedureCodeSequence[0].CodeMeaning = "頭"
    keyword = "PatientName" if change == "name" else "ProcedureCodeSequence"
    assert f"{keyword} is not that of the source" in refusal(objects, {ROLE: source})


@pytest.mark.parametrize("enhanced", [False, True])
def test_implicit_objects_read_as_explicit_ones(enhanced: bool) -> None:
    """PS3.5 A.1: without VRs in the file every element reads the same, because all of them are in the dictionary."""
    source = written("ISO_IR 100", "Müller^Jörg", "Schädel", enhanced=enhanced)
    explicit = every_kind(source)
    implicit = every_kind(source, transfer_syntax="implicit")
    assert {each.transfer_syntax_uid for each in implicit} == {ImplicitVRLittleEndian}
    for one, other in zip(explicit, implicit, strict=True):
        first, second = _encoded(one), _encoded(other)
        assert second.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        assert _flat(first) == _flat(second)


def _flat(dataset: Dataset) -> list[tuple[str, str, object]]:
    """Return (tag, VR, value) of every element, those of items too; pixels may be OB or OW."""
    return [
        (str(element.tag), "OW" if element.keyword == "PixelData" else element.VR, element.value)
        for element in dataset.iterall()
        if element.VR != "SQ"
    ]


def test_elements_of_unknown_vr_become_what_they_are() -> None:
    """A sender that wrote UN for what PS3.6 knows (PS3.5 6.2.2): read with its VR, and sent with it in both forms."""
    source = written("ISO_IR 100", "Müller^Jörg", "Schädel")
    for image in source.datasets:
        image["StudyDescription"].VR = "UN"
        image["StudyDescription"]._value = "Schädel".encode("latin-1") + b" "
    source = replace(source, datasets=tuple(_stored(image) for image in source.datasets))
    assert source.datasets[0].get_item("StudyDescription").VR == "UN"
    for syntax in ("explicit", "implicit"):
        for built in every_kind(source, transfer_syntax=syntax):
            read = _encoded(built)
            assert (read["StudyDescription"].VR, read.StudyDescription) == ("LO", "Schädel")
