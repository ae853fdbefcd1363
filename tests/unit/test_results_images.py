"""Derived images lie where their source lies, hold the values to half a step, and carry nothing that is stale."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from dicom_node.contract import DerivedImages, Findings
from dicom_node.entities import derived_uid
from dicom_node.errors import WrongObject
from dicom_node.geometry import SourceSeries, load_series
from dicom_node.results import BuiltObject, build, check, encode
from dicom_node.results.gate_images import IMAGES_CHECKS
from dicom_node.results.pixel_encoding import encode_pixels
from dicom_node.results.source_images import series_reference
from dicom_node.settings import ResultKind
from tests.gate_cases import Corrupt, copies, in_group, put, refusal, without
from tests.results_cases import ALGORITHM, OBLIQUE, ROLE, profile, run_context, source_series

_SMOOTHED = Code("113087", "DCM", "Smoothing")
_SHAPE = (6, 20, 24)
_RUN = run_context(profile=profile(kinds=(ResultKind.IMAGES,)))


def values(seed: int = 3) -> np.ndarray:
    return (np.random.default_rng(seed).random(_SHAPE, np.float32) * 900 - 100).astype(np.float32)


def found(*each: np.ndarray, window: tuple[float, float] | None = None) -> Findings:
    images = tuple(DerivedImages(f"Smooth {n}", one, "Smoothed.", _SMOOTHED, window) for n, one in enumerate(each, 1))
    return Findings(ROLE, ALGORITHM, images=images)


def made(source: SourceSeries, findings: Findings | None = None) -> tuple[BuiltObject, ...]:
    """Build and pass the gate."""
    objects = build(findings or found(values()), {ROLE: source}, _RUN)
    check(objects, {ROLE: source})
    return objects


def read(objects: Sequence[BuiltObject]) -> list[Dataset]:
    return [dcmread(BytesIO(encode(each))) for each in objects]


def scanned(*, enhanced: bool = False) -> SourceSeries:
    """Return a source whose headers say what scanners say, stale after any change of pixels."""
    source = source_series(orientation=OBLIQUE, enhanced=enhanced)
    for image in source.datasets:
        image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME" if enhanced else "M", "NONE"]
        image.PixelPaddingValue, image.SmallestImagePixelValue = 63536, 0
        image.PhotometricInterpretation = "MONOCHROME2"
        image.RescaleSlope, image.RescaleIntercept = "3", "1"
        image.EchoTime, image.ProtocolName, image.PatientPosition = "2.41", "t1", "HFS"
        image.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
        image.add_new(0x00291010, "OB", b"\0" * 5000)
        image.add_new(0x60003000, "OW", b"\0\0")
        if enhanced:
            _scan_frames(image)
    return source


def _scan_frames(image: Dataset) -> None:
    frame_type, scale = Dataset(), Dataset()
    frame_type.FrameType, frame_type.AcquisitionContrast = list(image.ImageType), "T1"
    image.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence = [frame_type]
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = "2", "5", "US"
    for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence, 1):
        content = Dataset()
        content.StackID, content.InStackPositionNumber = "1", number
        content.DimensionIndexValues = [1, number]
        groups.FrameContentSequence = [content]
        groups.PixelValueTransformationSequence = [scale]
        groups.add_new(0x00210010, "LO", "SIEMENS MR SDI 02")
        groups.add_new(0x00211010, "OB", b"\0" * 500)


@pytest.mark.parametrize("enhanced", [False, True])
def test_our_images_are_read_as_the_volume_that_was_made(enhanced: bool) -> None:
    """Read as any series is read: the same affine, and values that are off by half a step at most."""
    source, wanted = scanned(enhanced=enhanced), values()
    images = read(made(source, found(wanted)))
    step = float(
        images[0].SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleSlope
        if enhanced
        else images[0].RescaleSlope
    )
    volume = load_series(images).volume
    assert np.allclose(volume.affine, source.volume.affine, atol=1e-4)
    assert np.abs(volume.array - wanted).max() <= step / 2 + 1e-4  # the reader has float32
    assert step < 0.02


def test_a_classic_source_gives_one_image_for_each_slice() -> None:
    """Same SOP class, one new series, counted from 1, each naming the one image that it was made from."""
    source = scanned()
    objects = made(source)
    assert [each.name for each in objects] == ["img", *(f"img.{n}" for n in range(2, 7))]
    images = read(objects)
    assert {image.SOPClassUID for image in images} == {MRImageStorage}
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert len({image.SOPInstanceUID for image in images}) == 6
    for number, (image, original) in enumerate(zip(images, source.datasets, strict=True), 1):
        (reference,) = image.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == original.SOPInstanceUID
        assert image.InstanceNumber == number
        assert image.ImagePositionPatient == original.ImagePositionPatient
        assert list(image.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
        assert (image.DerivationDescription, image.DerivationCodeSequence[0].CodeValue) == ("Smoothed.", "113087")


def test_an_enhanced_source_gives_an_enhanced_image() -> None:
    """Its functional groups are the source's, frame by frame, but for what speaks of pixels."""
    source = scanned(enhanced=True)
    (image,) = read(made(source))
    assert (image.SOPClassUID, image.NumberOfFrames) == (EnhancedMRImageStorage, 6)
    shared = image.SharedFunctionalGroupsSequence[0]
    assert list(shared.MRImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    assert shared.MRImageFrameTypeSequence[0].AcquisitionContrast == "T1"
    for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence, 1):
        assert groups.FrameContentSequence[0].InStackPositionNumber == number
        (reference,) = groups.DerivationImageSequence[0].SourceImageSequence
        assert (reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber) == (
            source.datasets[0].SOPInstanceUID,
            number,
        )
        assert "PixelValueTransformationSequence" not in groups
        assert not any(tag.is_private for tag in groups.keys())  # noqa: SIM118 - iterating gives elements


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_source_stays_as_it_was(enhanced: bool) -> None:
    """What is copied is a copy: other results of the job are made from the same headers."""
    source, untouched = scanned(enhanced=enhanced), scanned(enhanced=enhanced)
    made(source)
    assert list(source.datasets) == list(untouched.datasets)


def _dimension(pointer: int, group: int) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = "1.2.3"
    item.DimensionIndexPointer, item.FunctionalGroupPointer = pointer, group
    return item


@pytest.mark.parametrize(
    ("pointer", "group", "kept"),
    [
        (0x00209057, 0x00209111, True),  # In-Stack Position Number
        (0x00211022, 0x002110FE, False),  # private
        (0x00281053, 0x00289145, False),  # Rescale Slope, which is now one for all frames
    ],
)
def test_dimensions_point_to_what_is_there(pointer: int, group: int, kept: bool) -> None:
    """PS3.3 C.7.6.17: the source's dimensions, or the position alone where one of them stayed behind."""
    source = scanned(enhanced=True)
    source.datasets[0].DimensionIndexSequence = [_dimension(0x00209056, 0x00209111), _dimension(pointer, group)]
    (image,) = read(made(source))
    pointers = [int(item.DimensionIndexPointer) for item in image.DimensionIndexSequence]
    assert pointers == ([0x00209056, pointer] if kept else [0x00200032])
    values = [
        list(groups.FrameContentSequence[0].DimensionIndexValues)
        if kept
        else [groups.FrameContentSequence[0].DimensionIndexValues]
        for groups in image.PerFrameFunctionalGroupsSequence
    ]
    assert values == [([1, number] if kept else [number]) for number in range(1, 7)]


def test_frames_keep_their_numbers_whatever_the_order_of_slices() -> None:
    """A source whose first frame is its last slice: pixels go with the frame, not with the slice."""
    source, wanted = scanned(enhanced=True), values()
    turned = replace(
        source,
        frames=tuple(reversed(source.frames)),
        volume=source.volume[::-1],
    )
    (image,) = read(build(found(wanted), {ROLE: turned}, _RUN))
    slope = image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    first = np.frombuffer(image.PixelData, "<u2").reshape(_SHAPE)[0] * slope.RescaleSlope + slope.RescaleIntercept
    assert np.allclose(first, wanted[-1], atol=0.02)


@pytest.mark.parametrize("enhanced", [False, True])
def test_nothing_stale_and_nothing_private_is_carried_on(enhanced: bool) -> None:
    """What the source said of its own pixels is gone, what it said of the acquisition stays."""
    image = read(made(scanned(enhanced=enhanced)))[0]
    assert "PixelPaddingValue" not in image
    assert 0x60003000 not in image
    assert not any(tag.is_private for tag in image.keys())  # noqa: SIM118 - iterating gives elements
    assert (image.ProtocolName, image.PatientPosition) == ("t1", "HFS")
    assert enhanced or image.EchoTime == 2.41
    assert image.LargestImagePixelValue == np.frombuffer(image.PixelData, "<u2").max()
    assert len(encode(made(scanned(enhanced=enhanced))[0])) < 20_000


def test_several_series_are_told_apart() -> None:
    """Each has a series of its own, with its label in the description."""
    images = read(made(scanned(), found(values(), values(4))))
    assert len({image.SeriesInstanceUID for image in images}) == 2
    assert {image.SeriesDescription for image in images} == {
        f"Brain extraction IMG Smooth {number} (AI, not reviewed)" for number in (1, 2)
    }


def test_a_ct_keeps_its_unit() -> None:
    """PS3.3 C.8.2.1.1.2: values of a CT are Hounsfield units, whole ones are kept exactly."""
    source = source_series()
    for image in source.datasets:
        image.SOPClassUID, image.Modality, image.ImageType = CTImageStorage, "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.RescaleType = "HU"
    whole = np.rint(values())
    images = read(made(source, found(whole.astype(np.float32), window=(40.0, 400.0))))
    assert (images[0].RescaleSlope, images[0].RescaleType, images[0].ImageType[2]) == (1, "HU", "AXIAL")
    pixels = np.frombuffer(images[2].PixelData, "<u2").reshape(_SHAPE[1:])
    assert np.array_equal(pixels + float(images[2].RescaleIntercept), whole[2])
    assert (images[0].WindowCenter, images[0].WindowWidth) == (40, 400)


def test_a_source_that_has_no_form_for_it_is_refused_in_words() -> None:
    """Derived images are never dropped silently."""
    source = source_series()
    for image in source.datasets:
        image.SOPClassUID = PositronEmissionTomographyImageStorage
    with pytest.raises(WrongObject, match="not of Positron Emission Tomography Image Storage"):
        made(source)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (-1, 1), (-0.5, 1e-6), (1000, 1001), (-3e4, 5e4), (0, 1e9), (1e-9, 2e-9), (7, 7), (0, 0), (-2, -1)],
)
def test_values_survive_sixteen_bits_to_half_a_step(low: float, high: float) -> None:
    """Whatever their range, slope and intercept as 16 characters of text included; a zero among them stays zero."""
    given = np.random.default_rng(5).uniform(low, high, (3, 40, 40)).astype(np.float32)
    given[0, 0, :2] = low, high
    zero = low <= 0 <= high
    if zero:
        given[1, 0, 0] = 0
    encoded = encode_pixels(given)
    slope, intercept = float(encoded.slope), float(encoded.intercept)
    assert len(encoded.slope) <= 16
    assert len(encoded.intercept) <= 16
    back = encoded.pixels * slope + intercept
    rounding = max(abs(low), abs(high)) * 1e-7
    assert np.abs(back - given).max() <= slope / 2 * 1.0001 + rounding
    assert high == low or slope <= (high - low) / 60_000
    assert not zero or back[1, 0, 0] == pytest.approx(0, abs=rounding)


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (-1024, 3071), (0, 65535), (-30000, 30000)])
def test_whole_numbers_stay_what_they_are(low: int, high: int) -> None:
    """Counts and Hounsfield units are not scaled at all."""
    given = np.random.default_rng(6).integers(low, high, (3, 9, 9), endpoint=True).astype(np.float32)
    encoded = encode_pixels(given)
    assert encoded.slope == "1"
    assert np.array_equal(encoded.pixels + float(encoded.intercept), given)


def test_mr_values_of_a_wide_range_are_pixels_as_they_are() -> None:
    """The MR Image IOD has no rescaling, and viewers that ignore it there would show another window."""
    source, wide = scanned(), np.abs(values()) * 4
    images = read(made(source, found(wide.astype(np.float32))))
    assert "RescaleSlope" not in images[0]
    assert np.abs(load_series(images).volume.array - wide).max() <= 0.5
    assert "RescaleSlope" in read(made(source, found(values() / 900)))[0]


def _wrong_source(dataset: Dataset, source: SourceSeries) -> None:
    dataset.SourceImageSequence[0].ReferencedSOPInstanceUID = source.datasets[3].SOPInstanceUID


def _foreign_source(dataset: Dataset, _: SourceSeries) -> None:
    dataset.SourceImageSequence[0].ReferencedSOPClassUID = CTImageStorage


def _unknown_source(dataset: Dataset, source: SourceSeries) -> None:
    """Its series is named, the image is not of it."""
    dataset.ReferencedSeriesSequence = [series_reference(source.datasets, "ReferencedInstanceSequence")]
    dataset.SourceImageSequence[0].ReferencedSOPInstanceUID = derived_uid("unknown")


def _overlay(dataset: Dataset, _: SourceSeries) -> None:
    dataset.add_new(0x60003000, "OW", b"\0\0")


def _private(dataset: Dataset, _: SourceSeries) -> None:
    dataset.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")


#: (check, change, words of the refusal)
CASES: tuple[tuple[str, Corrupt, str], ...] = (
    ("patient and study", put(PatientName="Other^Name"), "PatientName is not"),
    ("own series", put(Modality="CT"), "Modality is not MR"),
    ("form", put(SOPClassUID=CTImageStorage), "SOPClassUID is not"),
    ("form", put(ImageType=["ORIGINAL", "PRIMARY", "M"]), "ImageType is not DERIVED"),
    ("form", put(BitsStored=12), "BitsStored is not 16"),
    ("pixels", put(PixelData=b"\0\0"), "PixelData has 2 bytes"),
    ("pixels", put(LargestImagePixelValue=1), "are not those of the pixels"),
    ("display", put(RescaleSlope="0"), "do not make values of pixels"),
    ("display", put(WindowWidth="0"), "WindowWidth is not above 0"),
    ("stale attributes", put(PixelPaddingValue=0), "PixelPaddingValue is that of other pixels"),
    ("stale attributes", _overlay, "an overlay"),
    ("stale attributes", _private, "private elements"),
    ("derivation", put(DerivationDescription=" "), "does not say what was done"),
    ("derivation", without("DerivationCodeSequence"), "DerivationCodeSequence does not say"),
    ("place", _wrong_source, "the position of frame 1 is not that of its source image"),
    ("place", _foreign_source, "names an image or frame that there is not"),
    ("place", _unknown_source, "names no image of the source series"),
    ("place", put(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]), "the orientation of frame 1"),
    ("place", put(PixelSpacing=[2, 2]), "the spacing of frame 1"),
    ("place", put(FrameOfReferenceUID=derived_uid("other")), "FrameOfReferenceUID is not that of the source"),
    ("place", put(Rows=24, Columns=20), "Rows and Columns"),
    ("whole series", _wrong_source, "the series has 6 frames of 5 source frames"),
    ("whole series", put(InstanceNumber=7), "does not count from 1 to 6"),
)


@pytest.mark.parametrize(("name", "change", "said"), CASES)
def test_a_corrupted_image_is_refused_with_its_reason(name: str, change: Corrupt, said: str) -> None:
    """One fault in one image, and the series stays here."""
    source = scanned()
    objects = copies(made(source))
    check(objects, {ROLE: source})
    change(objects[0].dataset, source)
    said_by_gate = refusal(objects, {ROLE: source})
    assert f"IMG, {name}: " in said_by_gate
    assert said in said_by_gate


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d, _: d.PerFrameFunctionalGroupsSequence[0].pop("DerivationImageSequence"), "5 derivations"),
        (in_group("PlanePositionSequence", 2, ImagePositionPatient=[0, 0, 0]), "the position of frame 2"),
        (in_group("PixelValueTransformationSequence", RescaleSlope="0"), "do not make values of pixels"),
        (lambda d, _: d.PerFrameFunctionalGroupsSequence[0].add_new(0x00210010, "LO", "SIEMENS"), "private elements"),
    ],
)
def test_a_corrupted_enhanced_image_is_refused_with_its_reason(change: Corrupt, said: str) -> None:
    """So is a multi-frame image, whose faults sit in its functional groups."""
    source = scanned(enhanced=True)
    objects = copies(made(source))
    change(objects[0].dataset, source)
    assert said in refusal(objects, {ROLE: source})


def test_an_image_that_is_missing_is_noticed() -> None:
    """A series with a slice left out would be measured wrongly."""
    source = scanned()
    assert "the series has 5 frames" in refusal(made(source)[:-1], {ROLE: source})


def test_every_check_of_images_has_one_that_it_refuses() -> None:
    """A check that nothing fails proves nothing."""
    assert set(IMAGES_CHECKS) <= {name for name, _, _ in CASES}


def test_once_lossy_always_lossy() -> None:
    """PS3.3 C.7.6.1.1.5: what was lossy before stays lossy."""
    source = scanned()
    for image in source.datasets:
        image.LossyImageCompression, image.LossyImageCompressionRatio = "01", "10"
        image.LossyImageCompressionMethod = "ISO_10918_1"
    objects = copies(made(source))
    assert read(objects)[0].LossyImageCompressionRatio == 10
    objects[0].dataset.LossyImageCompression = "00"
    assert "LossyImageCompression of the source is forgotten" in refusal(objects, {ROLE: source})
