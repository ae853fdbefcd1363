"""What a pipeline's author got wrong is said in words, before anything is built."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pydicom.sr.coding import Code

from dicom_node.contract import (
    Classification,
    DerivedImages,
    Findings,
    KeySlice,
    Location,
    Measurement,
    ProbabilityMap,
    ReferenceRange,
)
from dicom_node.errors import WrongObject
from dicom_node.results import build, check, encode
from dicom_node.results.fitting import misfits
from tests.results_cases import (
    ALGORITHM,
    ANATOMY,
    BRAIN,
    ML,
    ROLE,
    VOLUME,
    findings,
    run_context,
    segment,
    source_series,
)

SHAPE = (6, 20, 24)
UNIT = Code("1", "UCUM", "no units")
LEFT = Code("7771000", "SCT", "Left")
DENOISED = Code("113087", "DCM", "Volume rendering")


def place(
    label: str = "Spot", point: tuple[float, float, float] = (1, 2, 3), chance: float | None = None
) -> Location:
    return Location(label, point, ANATOMY, BRAIN, probability=chance)


def outlined(**changes: object) -> dict[str, object]:
    return {"segments": (replace(segment(), **changes),)}


def measured(**changes: object) -> dict[str, object]:
    return {"measurements": (replace(Measurement(VOLUME, 1.0, ML, "Brain"), **changes),)}


def derived(**changes: object) -> dict[str, object]:
    return {"images": (replace(DerivedImages("Denoised", values(), "denoised", DENOISED), **changes),)}


def values(fill: float = 0.5, shape: tuple[int, ...] = SHAPE, dtype: type = np.float32) -> np.ndarray:
    return np.full(shape, fill, dtype)


GOOD = replace(
    findings(segment()),
    locations=(place(), place("Corner", (-0.5, 19.5, 23.5), 1.0)),
    classifications=(Classification(VOLUME, BRAIN, 0.5, "Spot"), Classification(VOLUME, BRAIN)),
    maps=(ProbabilityMap("Chance", values(), BRAIN, UNIT),),
    images=(DerivedImages("Denoised", values(), "denoised", DENOISED),),
    key_slices=(KeySlice(5, "largest"),),
    ranges=(ReferenceRange(VOLUME, "Brain", 0, 1, "everybody"),),
)


TWICE = (Measurement(VOLUME, 1.0, ML, "Brain", LEFT), Measurement(VOLUME, 2.0, ML, "Brain"))
RANGE = ReferenceRange(VOLUME, "Brain", 0, 1, "x")


def test_findings_of_every_kind_can_fit() -> None:
    """Nothing is said of what is right, its limits included."""
    assert list(misfits(GOOD, SHAPE)) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"segments": (segment(mask=np.zeros((6, 20, 23), bool)),)},
            "'Brain' is bool (6, 20, 23), the source is bool",
        ),
        ({"segments": (segment(mask=values().astype(np.uint8)),)}, "'Brain' is uint8"),
        ({"maps": (ProbabilityMap("M", values(dtype=np.float64), BRAIN, UNIT),)}, "'M' is float64 (6, 20, 24)"),
        ({"maps": (ProbabilityMap("M", values(np.nan), BRAIN, UNIT),)}, "'M' holds values that are no numbers"),
        ({"images": (DerivedImages("I", values(shape=(5, 20, 24)), "x", DENOISED),)}, "'I' is float32 (5, 20, 24)"),
        ({"locations": (place("Brain"),)}, "the label 'Brain' is used twice"),
        ({"locations": (place(point=(6, 0, 0)),)}, "location 'Spot' lies outside of the images"),
        ({"locations": (place(chance=1.01),)}, "a probability is 1.01, not 0 to 1"),
        ({"classifications": (Classification(VOLUME, BRAIN, -0.1),)}, "a probability is -0.1, not 0 to 1"),
        ({"classifications": (Classification(VOLUME, BRAIN, None, "Liver"),)}, "is of 'Liver', which is no segment"),
        ({"key_slices": (KeySlice(6, "x"),)}, "key slice 6 does not exist"),
        ({"ranges": (ReferenceRange(VOLUME, "Liver", 0, 1, "x"),)}, "Volume of 'Liver', which was not measured"),
        ({"ranges": (ReferenceRange(VOLUME, "Brain", 1, 1, "x"),)}, "begins where it ends"),
        ({"measurements": (Measurement(VOLUME, math.nan, UNIT, "Brain"),)}, "Volume of 'Brain' is no number"),
        (measured(value=10**400), "Volume of 'Brain' is no number"),
        (measured(value="3"), "Volume of 'Brain' is no number"),
        (measured(value=-0.5), "Volume of 'Brain' is negative"),
        (measured(unit=LEFT), "the unit of a measurement (Volume) is not one of UCUM"),
        (measured(method=Code("1", "", "x")), "the method of a measurement (Volume) has no value or no scheme"),
        ({"ranges": (replace(RANGE, low=-math.inf, high=math.inf),)}, "Volume of 'Brain' has no limit"),
        ({"measurements": TWICE}, "Volume of 'Brain' leaves open which number has which range"),
        (outlined(colour_lab=(101.0, 0.0, 0.0)), "the colour of 'Brain' is none of CIELab"),
        (outlined(colour_lab=(math.nan, 0.0, 0.0)), "the colour of 'Brain' is none of CIELab"),
        (outlined(colour_lab=(50.0, 0.0)), "the colour of 'Brain' is none of CIELab"),
        (outlined(type=Code("1", "SCT", "m" * 65)), "the type of 'Brain' has no meaning of at most 64 characters"),
        (outlined(category=Code("", "SCT", "x")), "the category of 'Brain' has no value"),
        (outlined(laterality=BRAIN), "the laterality of 'Brain' is no code of CID 244"),
        ({"locations": (place(" "),), "classifications": ()}, "' ' is no label"),
        ({"locations": (place("a\x1b$B"),), "classifications": ()}, "is no label"),
        ({"locations": (place(point=(1, 2)),)}, "location 'Spot' lies outside of the images"),
        ({"locations": (place(point=(1, math.nan, 2)),)}, "location 'Spot' lies outside of the images"),
        ({"key_slices": (KeySlice(1.0, "x"),)}, "key slice 1.0 does not exist"),
        ({"algorithm": replace(ALGORITHM, version="")}, "the algorithm has no version"),
        (derived(window=(40.0, 0.0)), "the window of 'Denoised' is not a centre and a width above 0"),
        (derived(window=(math.nan, 1.0)), "the window of 'Denoised' is not a centre and a width above 0"),
        ({"remarks": ("x" * 6000, "y" * 6000)}, "the remarks have 12000 characters"),
        (derived(description=""), "'Denoised' has no description"),
    ],
)
def test_what_does_not_fit_is_said(wrong: dict[str, object], said: str) -> None:
    """Each fault has its sentence, and it alone is named."""
    faulty: Findings = replace(GOOD, **wrong)
    sentences = [sentence for sentence in misfits(faulty, SHAPE) if said in sentence]
    assert len(sentences) == 1


def test_findings_about_a_role_without_images_are_refused_in_words() -> None:
    """A role that the node did not load is the author's mistake, and no KeyError."""
    with pytest.raises(WrongObject, match="are about 'flair', of which it was given no images"):
        build(replace(findings(segment()), role="flair"), {ROLE: source_series()}, run_context())


@pytest.mark.parametrize("value", [np.float32(3.25), np.int64(3), np.float64(3.25), 3])
def test_numbers_of_numpy_are_numbers(value: float) -> None:
    """What `mask.sum()` or a network returns may be said as it is."""
    source = source_series()
    found = replace(findings(segment()), measurements=(Measurement(VOLUME, value, ML, "Brain"),))
    objects = build(found, {ROLE: source}, run_context())
    check(objects, {ROLE: source})
    assert all(encode(each) for each in objects)


def test_an_empty_remark_costs_no_result() -> None:
    """A remark without words is left out: a report in words would be refused for it."""
    source = source_series()
    objects = build(findings(remarks=("", " ")), {ROLE: source}, run_context())
    check(objects, {ROLE: source})
    assert [each.kind for each in objects] == ["SR"]
