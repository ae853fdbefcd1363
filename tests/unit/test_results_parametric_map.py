"""A Parametric Map holds the pipeline's numbers bit by bit, on the source's own places, and says what they are."""

from dataclasses import replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from dicom_node.contract import Findings, ProbabilityMap
from dicom_node.entities import derived_uid
from dicom_node.geometry import SourceSeries
from dicom_node.results import build, check, encode
from dicom_node.results.gate_parametric_map import PARAMETRIC_MAP_CHECKS
from dicom_node.settings import ResultKind
from tests.gate_cases import Corrupt, copies, in_group, put, refusal, without
from tests.results_cases import ALGORITHM, OBLIQUE, ROLE, profile, run_context, source_series

_PROBABILITY = Code("129000", "DCM", "Probability")
_NO_UNITS = Code("1", "UCUM", "no units")
_SHAPE = (6, 20, 24)
_RUN = run_context(profile=profile(kinds=(ResultKind.PARAMETRIC_MAP,)))


def probabilities(seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).random(_SHAPE, np.float32)


def found(*values: np.ndarray, unit: Code = _NO_UNITS) -> Findings:
    maps = tuple(ProbabilityMap(f"Map {n}", each, _PROBABILITY, unit) for n, each in enumerate(values, 1))
    return Findings(ROLE, ALGORITHM, maps=maps)


def map_of(source: SourceSeries, findings: Findings) -> Dataset:
    """Build, pass the gate, encode and read again."""
    objects = build(findings, {ROLE: source}, _RUN)
    check(objects, {ROLE: source})
    return dcmread(BytesIO(encode(objects[0])))


@pytest.mark.parametrize("enhanced", [False, True])
def test_an_independent_reader_finds_our_numbers_at_our_places(enhanced: bool) -> None:
    """Highdicom, which did not write the pixels, gives back the very floats, and the source's affine."""
    source, values = source_series(orientation=OBLIQUE, enhanced=enhanced), probabilities()
    read = hd.pm.ParametricMap.from_dataset(map_of(source, found(values)))
    volume = read.get_volume(apply_real_world_transform=True)
    assert np.array_equal(volume.array.astype(np.float32), values)
    assert np.allclose(volume.affine, source.volume.affine, atol=1e-4)


def test_a_map_of_zeros_has_all_its_frames() -> None:
    """A frame that is left out would say that there is no number; zero is a number."""
    read = map_of(source_series(), found(np.zeros(_SHAPE, np.float32)))
    assert read.NumberOfFrames == _SHAPE[0]
    assert not np.frombuffer(read.FloatPixelData, "<f4").any()


def test_each_map_is_alone_in_its_series_and_named() -> None:
    """Viewers show the last object of a series only, and a reader tells two maps apart by their labels."""
    source = source_series()
    objects = build(found(probabilities(), probabilities(8)), {ROLE: source}, _RUN)
    check(objects, {ROLE: source})
    assert [each.name for each in objects] == ["pm", "pm2"]
    assert len({each.series_instance_uid for each in objects}) == 2
    assert len({each.dataset.SeriesNumber for each in objects}) == 2
    assert [each.dataset.SeriesDescription for each in objects] == [
        f"Brain extraction PM Map {number} (AI, not reviewed)" for number in (1, 2)
    ]
    assert [each.dataset.ContentLabel for each in objects] == ["MAP 1", "MAP 2"]


def test_the_mapping_says_what_the_numbers_are() -> None:
    """PS3.3 C.7.6.16.2.11: quantity and unit, and every stored value is the real one."""
    values = probabilities()
    (mapping,) = (
        map_of(source_series(), found(values)).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    )
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == _PROBABILITY.value
    limits = (mapping.DoubleFloatRealWorldValueFirstValueMapped, mapping.DoubleFloatRealWorldValueLastValueMapped)
    assert limits == (float(values.min()), float(values.max()))


@pytest.mark.parametrize(
    ("scale", "unit", "centre", "width", "function"),
    [
        (1.0, _NO_UNITS, 0.5, 1.0, "LINEAR_EXACT"),
        (1000.0, Code("ms", "UCUM", "ms"), None, None, None),
    ],
)
def test_viewers_show_something(
    scale: float, unit: Code, centre: float | None, width: float | None, function: str | None
) -> None:
    """A probability is shown from 0 to 1, all else over what occurs; LINEAR would make black and white of 0 to 1."""
    values = np.round(probabilities() * scale, 3).astype(np.float32)
    (window,) = (
        map_of(source_series(), found(values, unit=unit)).SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    )
    assert window.WindowCenter == pytest.approx(centre or (values.max() + values.min()) / 2)
    assert window.WindowWidth == pytest.approx(width or values.max() - values.min())
    assert window.get("VOILUTFunction") == function


def _no_pixels(dataset: Dataset, _: SourceSeries) -> None:
    dataset.FloatPixelData = dataset.FloatPixelData[:-4]


def _not_a_number(dataset: Dataset, _: SourceSeries) -> None:
    dataset.FloatPixelData = np.full(_SHAPE, np.nan, "<f4").tobytes()


def _same_image_twice(dataset: Dataset, _: SourceSeries) -> None:
    frames = dataset.PerFrameFunctionalGroupsSequence
    frames[1].DerivationImageSequence = frames[0].DerivationImageSequence


def _reversed(dataset: Dataset, _: SourceSeries) -> None:
    dataset.PerFrameFunctionalGroupsSequence = list(reversed(dataset.PerFrameFunctionalGroupsSequence))


def _unnamed(dataset: Dataset, _: SourceSeries) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[2].DerivationImageSequence


def _no_unit(dataset: Dataset, _: SourceSeries) -> None:
    del dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence


#: (check, change, words of the refusal)
CASES: tuple[tuple[str, Corrupt, str], ...] = (
    ("patient and study", put(PatientID="P-2"), "PatientID is not"),
    ("own series", put(Modality="PT"), "Modality is not MR"),
    ("form", put(BitsAllocated=16), "BitsAllocated is not 32"),
    ("form", put(ContentQualification="PRODUCT"), "ContentQualification is not RESEARCH"),
    ("form", put(ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]), "ImageType is not DERIVED"),
    ("form", put(PixelData=b"\0\0"), "pixels beside FloatPixelData"),
    ("pixels", _no_pixels, "FloatPixelData has"),
    ("pixels", _not_a_number, "no numbers"),
    ("pixels", put(NumberOfFrames=5), "NumberOfFrames is 5"),
    ("pixels", _same_image_twice, "two frames are of the same source image"),
    ("order", _reversed, "along the normal"),
    ("meaning", in_group("RealWorldValueMappingSequence", RealWorldValueSlope=2.0), "mapping changes the values"),
    ("meaning", in_group("PixelValueTransformationSequence", RescaleSlope="2"), "rescaling changes the values"),
    (
        "meaning",
        in_group("RealWorldValueMappingSequence", DoubleFloatRealWorldValueLastValueMapped=0.1),
        "outside of the range",
    ),
    ("meaning", _no_unit, "MeasurementUnitsCodeSequence does not say"),
    ("display", in_group("FrameVOILUTSequence", VOILUTFunction="LINEAR"), "is not LINEAR_EXACT"),
    ("display", in_group("FrameVOILUTSequence", WindowWidth="0"), "WindowWidth is not above 0"),
    ("place", put(Laterality="R"), "Laterality is not that of the source"),
    ("frame of reference", put(FrameOfReferenceUID=derived_uid("other")), "FrameOfReferenceUID is not"),
    (
        "referenced series",
        lambda d, _: d.ReferencedSeriesSequence[0].ReferencedInstanceSequence.pop(),
        "not name exactly",
    ),
    ("grid", put(Rows=24, Columns=20), "Rows and Columns"),
    (
        "frames",
        in_group("PlanePositionSequence", 1, ImagePositionPatient=[0, 0, 0]),
        "does not lie on its source image",
    ),
    ("frames", _unnamed, "frame 3 does not name its one source image"),
)


@pytest.mark.parametrize(("name", "change", "said"), CASES)
def test_a_corrupted_map_is_refused_with_its_reason(name: str, change: Corrupt, said: str) -> None:
    """One fault, and the object stays here; the sentence names the check and what is wrong."""
    source = source_series()
    objects = copies(build(found(probabilities()), {ROLE: source}, _RUN))
    check(objects, {ROLE: source})
    change(objects[0].dataset, source)
    said_by_gate = refusal(objects, {ROLE: source})
    assert f"PM, {name}: " in said_by_gate
    assert said in said_by_gate


def test_every_check_of_a_map_has_an_object_that_it_refuses() -> None:
    """A check that nothing fails proves nothing."""
    assert set(PARAMETRIC_MAP_CHECKS) <= {name for name, _, _ in CASES}


def test_once_lossy_always_lossy() -> None:
    """PS3.3 C.7.6.1.1.5: a map of lossy images says so, and one that forgets is refused."""
    source = source_series()
    for image in source.datasets:
        image.LossyImageCompression = "01"
        image.LossyImageCompressionRatio, image.LossyImageCompressionMethod = "10", "ISO_10918_1"
    assert map_of(source, found(probabilities())).LossyImageCompression == "01"
    objects = copies(build(found(probabilities()), {ROLE: source}, _RUN))
    without("LossyImageCompression")(objects[0].dataset, source)
    assert "LossyImageCompression of the source is forgotten" in refusal(objects, {ROLE: source})


def test_a_map_is_made_only_where_it_is_wanted() -> None:
    """The default profile sends none; `ohif` does."""
    source, both = source_series(), replace(found(probabilities()), remarks=("Seen.",))
    assert [each.kind for each in build(both, {ROLE: source}, run_context())] == ["SR"]


@pytest.mark.parametrize(
    ("part", "side", "said"),
    [
        ("BRAIN", None, ("12738006", "U")),
        ("BREAST", "L", ("76752008", "L")),
        ("BREAST", None, ("85756007", "U")),
        ("LUNG", "", ("85756007", "U")),
        ("KNEE", "R", ("85756007", "R")),
        (None, None, ("85756007", "U")),
    ],
)
def test_a_side_that_nobody_said_is_not_unpaired(part: str | None, side: str | None, said: tuple[str, str]) -> None:
    """PS3.3 C.7.6.16.2.8: a breast of an unknown side is no unpaired breast."""
    source = source_series()
    for image in source.datasets:
        image.BodyPartExamined, image.Laterality = part, side
    anatomy = map_of(source, found(probabilities())).SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0]
    assert (anatomy.AnatomicRegionSequence[0].CodeValue, anatomy.FrameLaterality) == said
