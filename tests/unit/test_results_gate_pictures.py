"""The gate refuses every kind of wrong picture, document, selection and presentation state."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node.contract import DerivedImages, ProbabilityMap
from dicom_node.entities import derived_uid
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries
from dicom_node.results import BuiltObject, check
from dicom_node.results.gate import CHECKS, COMMON_CHECKS
from dicom_node.settings import ResultKind
from tests.gate_cases import refusal
from tests.picture_cases import built, read, rich
from tests.results_cases import ROLE, source_series

Corrupt = Callable[[Dataset], object]
KINDS = ("SC", "PDF", "KO", "PR")


def put(**values: object) -> Corrupt:
    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def without(keyword: str) -> Corrupt:
    return lambda dataset: delattr(dataset, keyword)


def no_warning(dataset: Dataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


def elsewhere(*path: str) -> Corrupt:
    """Let the first reference below some sequences lead nowhere."""

    def change(dataset: Dataset) -> None:
        for keyword in path:
            dataset = dataset[keyword].value[0]
        dataset.ReferencedSOPInstanceUID = derived_uid("nowhere")

    return change


def other_class(*path: str) -> Corrupt:
    def change(dataset: Dataset) -> None:
        for keyword in path:
            dataset = dataset[keyword].value[0]
        dataset.ReferencedSOPClassUID = "1.2.3"

    return change


def two_slices(dataset: Dataset) -> None:
    """The picture names two images: which one it shows cannot be known."""
    sources = dataset.SourceImageSequence
    sources.append(deepcopy(sources[0]))


def one_more_byte(dataset: Dataset) -> None:
    dataset.EncapsulatedDocument += b"\0\0"


def cut_short(dataset: Dataset) -> None:
    dataset.EncapsulatedDocument = dataset.EncapsulatedDocument[:1000]
    dataset.EncapsulatedDocumentLength = 1000


def active(dataset: Dataset) -> None:
    content = dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]
    content = content.replace(b"/Type /Catalog", b"/Type /Catalog /OpenAction 1 0 R")
    dataset.EncapsulatedDocumentLength = len(content)
    dataset.EncapsulatedDocument = content + b"\0" * (len(content) % 2)


def no_font(dataset: Dataset) -> None:
    dataset.EncapsulatedDocument = dataset.EncapsulatedDocument.replace(b"/FontFile2", b"/FontFileX")


def source_left_out(dataset: Dataset) -> None:
    del dataset.SourceInstanceSequence[1]


def no_description(dataset: Dataset) -> None:
    dataset.ContentSequence = [item for item in dataset.ContentSequence if item.ValueType != "TEXT"]


def only_results(dataset: Dataset) -> None:
    kept = [item for item in dataset.ContentSequence if item.ValueType != "IMAGE"]
    results = [item for item in dataset.ContentSequence if item.ValueType == "IMAGE"][3:]
    dataset.ContentSequence = kept + results


def no_evidence(dataset: Dataset) -> None:
    del dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[1]


def other_study(dataset: Dataset) -> None:
    dataset.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = derived_uid("other")


def annotation(dataset: Dataset, layer: str = "SEGMENT_1") -> Dataset:
    return next(item for item in dataset.GraphicAnnotationSequence if item.GraphicLayer == layer)


def line(dataset: Dataset) -> Dataset:
    return annotation(dataset).GraphicObjectSequence[0]


def open_line(dataset: Dataset) -> None:
    line(dataset).GraphicData = line(dataset).GraphicData[:-2]


def short_line(dataset: Dataset) -> None:
    line(dataset).GraphicData, line(dataset).NumberOfGraphicPoints = [1, 1, 2, 1, 2, 2, 1, 1], 4


def line_outside(dataset: Dataset) -> None:
    line(dataset).GraphicData = [value + 100 for value in line(dataset).GraphicData]


def wrong_slice(dataset: Dataset) -> None:
    """The small segment, found on the third slice alone, is outlined on the second."""
    second = dataset.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    annotation(dataset, "SEGMENT_2").ReferencedImageSequence = [deepcopy(second)]


def no_layer(dataset: Dataset) -> None:
    del dataset.GraphicLayerSequence[1]


def no_colour(dataset: Dataset) -> None:
    del dataset.GraphicLayerSequence[0].GraphicLayerRecommendedDisplayCIELabValue


def unwarned(dataset: Dataset) -> None:
    annotation(dataset, "AI_WARNING").TextObjectSequence[0].UnformattedTextValue = " "


def narrow(dataset: Dataset) -> None:
    dataset.SoftcopyVOILUTSequence[0].WindowWidth = "0"


def small_area(dataset: Dataset) -> None:
    dataset.DisplayedAreaSelectionSequence[0].DisplayedAreaBottomRightHandCorner = [5, 5]


def unreferenced(dataset: Dataset) -> None:
    del dataset.ReferencedSeriesSequence[0].ReferencedImageSequence[0]


#: (kind, check, change, words of the refusal)
CASES: tuple[tuple[str, str, Corrupt, str], ...] = (
    *(
        (kind, name, change, said)
        for kind in KINDS
        for name, change, said in (
            ("patient and study", put(PatientID="P-2"), "PatientID is not"),
            ("character set", put(SpecificCharacterSet="ISO_IR 101"), "SpecificCharacterSet is neither"),
            (
                "encoding",
                lambda d: setattr(d.file_meta, "MediaStorageSOPInstanceUID", "1.2"),
                "another SOP Instance UID",
            ),
            ("maker", put(Manufacturer="Scanner maker"), "Manufacturer is not"),
            ("UIDs", put(SOPInstanceUID=source_series().datasets[0].SOPInstanceUID), "that of a source image"),
            ("own series", put(Modality="MR"), "Modality is not"),
        )
    ),
    ("SC", "form", put(BurnedInAnnotation="NO"), "BurnedInAnnotation is not YES"),
    ("SC", "form", put(PhotometricInterpretation="MONOCHROME2"), "PhotometricInterpretation is not RGB"),
    ("SC", "form", put(ImageType=["ORIGINAL", "PRIMARY"]), "ImageType is not"),
    ("SC", "pixels", put(PixelData=b"\0\0"), "PixelData has 2 bytes"),
    ("SC", "pixels", put(PixelSpacing=["1", "2"]), "not that of square pixels"),
    ("SC", "warning", no_warning, "no warning is burnt in"),
    ("SC", "sources", elsewhere("SourceImageSequence"), "leads nowhere"),
    ("SC", "sources", other_class("SourceImageSequence"), "another SOP class"),
    ("SC", "sources", without("SourceImageSequence"), "names no image"),
    ("SC", "sources", two_slices, "does not name exactly one"),
    ("SC", "place", put(BodyPartExamined="HAND"), "BodyPartExamined is not"),
    ("SC", "place", without("BodyPartExamined"), "BodyPartExamined is not"),
    ("SC", "place", put(Laterality="L"), "Laterality is not"),
    ("SC", "numbers", put(InstanceNumber=7), "numbered [2, 3, 7]"),
    ("PDF", "form", put(MIMETypeOfEncapsulatedDocument="text/plain"), "MIMETypeOfEncapsulatedDocument is not"),
    ("PDF", "form", put(BurnedInAnnotation="NO"), "BurnedInAnnotation is not YES"),
    ("PDF", "form", put(DocumentTitle=" "), "DocumentTitle is empty"),
    ("PDF", "length", one_more_byte, "EncapsulatedDocumentLength is"),
    ("PDF", "content", cut_short, "no whole PDF"),
    ("PDF", "content", active, "can act (/OpenAction)"),
    ("PDF", "content", no_font, "no embedded font"),
    ("PDF", "sources", elsewhere("SourceInstanceSequence"), "leads nowhere"),
    ("PDF", "sources", source_left_out, "not name exactly the source images"),
    ("KO", "form", lambda d: setattr(d.ConceptNameCodeSequence[0], "CodeValue", "113001"), "not Of Interest"),
    ("KO", "form", without("ContentTemplateSequence"), "template 2010"),
    ("KO", "words", no_description, "not one Key Object Description"),
    ("KO", "references", no_evidence, "not what is listed as evidence"),
    ("KO", "references", other_study, "from another study"),
    (
        "KO",
        "references",
        elsewhere("CurrentRequestedProcedureEvidenceSequence", "ReferencedSeriesSequence", "ReferencedSOPSequence"),
        "leads nowhere",
    ),
    ("KO", "slices", only_results, "selects no source image"),
    ("PR", "form", small_area, "not the whole image"),
    ("PR", "form", put(Laterality="L"), "Laterality is not that of the source"),
    ("PR", "form", put(BodyPartExamined="HAND"), "BodyPartExamined is not"),
    ("PR", "references", unreferenced, "is not about the images that are referred to"),
    ("PR", "references", elsewhere("GraphicAnnotationSequence", "ReferencedImageSequence"), "leads nowhere"),
    ("PR", "layers", no_layer, "not on the layers that there are"),
    ("PR", "layers", no_colour, "has no colour"),
    ("PR", "outlines", open_line, "not a closed POLYLINE"),
    ("PR", "outlines", short_line, "has 4 points"),
    ("PR", "outlines", line_outside, "leaves the image"),
    ("PR", "seen alike", put(PresentationLUTShape="INVERSE"), "black and white are not those of the source"),
    ("PR", "segments", wrong_slice, "segment 2 is not outlined where the SEG has it"),
    ("PR", "words", unwarned, "not every image bears the warning"),
    ("PR", "grey values", narrow, "without a window"),
    ("PR", "grey values", put(PresentationLUTShape="OTHER"), "PresentationLUTShape is neither"),
)


@pytest.fixture(scope="module")
def whole() -> tuple[SourceSeries, tuple[BuiltObject, ...]]:
    """A source and everything built from it; not to be changed."""
    source = source_series()
    return source, built(rich(), source)


@pytest.mark.parametrize(("kind", "name", "change", "said"), CASES)
def test_a_corrupted_object_is_refused_with_its_reason(
    kind: str, name: str, change: Corrupt, said: str, whole: tuple[SourceSeries, tuple[BuiltObject, ...]]
) -> None:
    """One fault, and the object stays here; the sentence names the check and what is wrong."""
    source, objects = whole
    victim = next(number for number, each in enumerate(objects) if each.kind == kind)
    spoilt = tuple(
        replace(each, dataset=deepcopy(each.dataset)) if number == victim else each
        for number, each in enumerate(objects)
    )
    change(spoilt[victim].dataset)
    said_by_gate = refusal(spoilt, {ROLE: source})
    assert f"{kind}, {name}: " in said_by_gate
    assert said in said_by_gate


def test_every_check_has_an_object_that_it_refuses() -> None:
    """A check that nothing fails proves nothing."""
    tried = {(kind, name) for kind, name, _, _ in CASES}
    assert tried == {(kind, name) for kind in KINDS for name in CHECKS[kind]}
    assert set(COMMON_CHECKS) <= {name for _, name in tried}


@pytest.mark.parametrize(
    "changes", [{"character_set": "ISO_IR 192"}, {"transfer_syntax": "implicit"}, {"segmentation": "labelmap"}, {}]
)
def test_all_kinds_of_one_job_go_together(changes: dict[str, object]) -> None:
    """Whatever else a profile wants, the gate lets the whole job pass, and the report names what it rests on."""
    source = source_series()
    values = source.volume.array
    probability = ProbabilityMap("Chance", values, Code("110852", "DCM", "MR signal"), Code("1", "UCUM", "no units"))
    smoothed = DerivedImages("Smooth", values, "smoothed", Code("113085", "DCM", "Spatial resampling"))
    objects = built(rich(maps=(probability,), images=(smoothed,)), source, kinds=tuple(ResultKind), **changes)
    assert {each.kind for each in objects} == set(ResultKind)
    (report,) = read(objects, "SR")
    named = str(report.CurrentRequestedProcedureEvidenceSequence)
    assert all(each.sop_instance_uid in named for each in objects if each.kind in ("SEG", "SC"))


@pytest.mark.parametrize("kind", ["SC", "KO", "PR"])
def test_an_enhanced_source_needs_frame_numbers(kind: str) -> None:
    """PS3.3 Table 10-3: a reference to a multi-frame image without its frame could mean any slice."""
    source = source_series(enhanced=True)
    objects = built(rich(), source)
    dataset = next(each.dataset for each in objects if each.kind == kind)
    if kind == "SC":
        del dataset.SourceImageSequence[0].ReferencedFrameNumber
        assert "does not name exactly one" in refusal(objects, {ROLE: source})
    elif kind == "KO":
        first = next(item for item in dataset.ContentSequence if item.ValueType == "IMAGE")
        del first.ReferencedSOPSequence[0].ReferencedFrameNumber
        assert "not as one slice" in refusal(objects, {ROLE: source})
    else:
        del annotation(dataset).ReferencedImageSequence[0].ReferencedFrameNumber
        assert "means no slice" in refusal(objects, {ROLE: source})


def _windowed(**changes: object) -> SourceSeries:
    source = source_series()
    for index, image in enumerate(source.datasets):
        image.WindowCenter, image.WindowWidth = [40 + index, 400], [80, 900]
        image.RescaleSlope, image.RescaleIntercept = 2 + index % 2, -1000
        for keyword, value in changes.items():
            setattr(image, keyword, value)
    return source


@pytest.mark.parametrize("changes", [{}, {"RescaleSlope": 2.5}, {"PhotometricInterpretation": "MONOCHROME1"}])
def test_windows_of_the_source_may_leave(changes: dict[str, object]) -> None:
    """Whether one rescale holds for all images or each has its own, the source's window passes."""
    assert read(built(rich(), _windowed(**changes)), "PR")


@pytest.mark.parametrize("number", [0, 1])
def test_another_window_than_the_sources_is_refused(number: int) -> None:
    """In it a lesion may be as grey as what lies around it."""
    source = _windowed()
    objects = built(rich(), source)
    (state,) = (each.dataset for each in objects if each.kind is ResultKind.PRESENTATION_STATE)
    state.SoftcopyVOILUTSequence[number].WindowCenter += 100
    with pytest.raises(WrongObject, match=r"PR, seen alike: the window of slice . is not that of the source"):
        check(objects, {ROLE: source})


def test_a_rescale_that_the_source_has_not_is_refused() -> None:
    """Without it the window, right in itself, means other pixels."""
    source = _windowed(RescaleSlope=2.5)
    objects = built(rich(), source)
    (state,) = (each.dataset for each in objects if each.kind is ResultKind.PRESENTATION_STATE)
    del state.RescaleSlope, state.RescaleIntercept
    with pytest.raises(WrongObject, match="is not that of the source"):
        check(objects, {ROLE: source})


def test_black_that_is_white_in_the_source_is_refused() -> None:
    """MONOCHROME1 shows low values white; a presentation state says it for itself."""
    source = _windowed(PhotometricInterpretation="MONOCHROME1")
    objects = built(rich(), source)
    (state,) = (each.dataset for each in objects if each.kind is ResultKind.PRESENTATION_STATE)
    state.PresentationLUTShape = "IDENTITY"
    with pytest.raises(WrongObject, match="black and white are not those of the source"):
        check(objects, {ROLE: source})
