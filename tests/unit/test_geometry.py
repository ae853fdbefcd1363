"""A series becomes one regular volume, or a sentence that a radiographer understands."""

from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.errors import GeometryUnusable
from dicom_node.geometry import SourceFrame, load_series, read_series, require_slices
from dicom_node.geometry.pixels import stored_values
from tests.series_cases import Stack, classic, decimal_strings, enhanced, reread


def _refusal(datasets: list[Dataset]) -> str:
    with pytest.raises(GeometryUnusable) as caught:
        load_series([reread(dataset) for dataset in datasets])
    return str(caught.value)


def _move(dataset: Dataset, *offset: float) -> None:
    dataset.ImagePositionPatient = decimal_strings(np.add(np.array(dataset.ImagePositionPatient, float), offset))


def _turned(dataset: Dataset, *cosines: float) -> None:
    dataset.ImageOrientationPatient = decimal_strings(cosines)


# --- what is loaded


def test_a_classic_series_is_a_right_handed_volume_of_float32() -> None:
    """Array float32 (slice, row, column), affine index to LPS mm, right-handed, frame of reference kept."""
    stack = Stack.of()
    volume = load_series([reread(dataset) for dataset in classic(stack)]).volume
    assert volume.array.dtype == np.float32
    assert volume.spatial_shape == stack.stored.shape
    assert volume.handedness == hd.AxisHandedness.RIGHT_HANDED
    assert volume.spacing == pytest.approx(stack.spacing)
    assert volume.frame_of_reference_uid == classic(stack)[0].FrameOfReferenceUID


def test_slices_are_ordered_as_highdicom_orders_them() -> None:
    """A result builder that asks highdicom for the same series gets the same grid."""
    datasets = [reread(dataset) for dataset in classic(Stack.of())]
    expected = hd.get_volume_from_series(_with_image_attributes(datasets))
    found = load_series(datasets).volume
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-9)
    np.testing.assert_array_equal(found.array, expected.array)


def _with_image_attributes(datasets: list[Dataset]) -> list[Dataset]:
    for dataset in datasets:
        dataset.StudyInstanceUID, dataset.Modality = "1.2.3", "MR"
        dataset.PatientName = dataset.PatientID = dataset.PatientBirthDate = dataset.PatientSex = ""
        dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.StudyID = ""
        dataset.ReferringPhysicianName = ""
        dataset.SeriesNumber = 1
    return datasets


def test_sources_are_in_slice_order_and_without_pixels() -> None:
    """Classic: one data set per slice, frame 1; the pixel data is gone, all else is there."""
    series = load_series([reread(dataset) for dataset in classic(Stack.of(slices=3))])
    assert series.frames == (SourceFrame(0, 1), SourceFrame(1, 1), SourceFrame(2, 1))
    assert [dataset.InstanceNumber for dataset in series.datasets] == [3, 2, 1]
    assert not any("PixelData" in dataset for dataset in series.datasets)


def test_an_enhanced_image_is_one_source_with_a_frame_per_slice() -> None:
    """Enhanced: one data set; frame numbers lead back to each slice."""
    series = load_series([reread(enhanced(Stack.of(slices=4), [2, 0, 3, 1]))])
    assert len(series.datasets) == 1
    assert series.frames == (SourceFrame(0, 3), SourceFrame(0, 1), SourceFrame(0, 4), SourceFrame(0, 2))


def test_rescale_slope_and_intercept_are_applied_per_slice() -> None:
    """Modality units: stored value times slope plus intercept (PS3.3 C.11.1), each slice with its own."""
    stack = Stack.of(slices=2)
    datasets = classic(stack)
    datasets[0].RescaleSlope, datasets[0].RescaleIntercept = "2.5", "-7"
    array = load_series([reread(dataset) for dataset in datasets]).volume.array
    np.testing.assert_allclose(array[1], stack.stored[0] * 2.5 - 7)
    np.testing.assert_array_equal(array[0], stack.stored[1])


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian],
    ids=lambda syntax: UID(syntax).name,
)
def test_uncompressed_transfer_syntaxes_give_the_same_values(syntax: UID) -> None:
    """The encoding of the bytes (PS3.5 10) does not change a pixel."""
    stack = Stack.of()
    datasets = classic(stack)
    if syntax == ExplicitVRBigEndian:
        for dataset, values in zip(datasets, stack.stored, strict=True):
            dataset.PixelData = values.astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"
    array = load_series([reread(dataset, syntax) for dataset in datasets]).volume.array
    np.testing.assert_array_equal(array, stack.stored[::-1])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda uid: UID(uid).name)
def test_compressed_transfer_syntaxes_give_the_same_values(syntax: UID) -> None:
    """Lossless compression does not change a pixel."""
    stack = Stack.of(rows=16, columns=16)
    datasets = [reread(dataset) for dataset in classic(stack)]
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False)
    array = load_series(datasets).volume.array
    np.testing.assert_array_equal(array, stack.stored[::-1])


def test_nine_encodings_of_one_slice_give_the_same_values(shared_data: Path) -> None:
    """Implicit, explicit, big endian, JPEG Lossless, JPEG-LS, JPEG 2000 and RLE of one real image (PS3.5 10)."""
    datasets = [dcmread(path) for path in sorted((shared_data / "transfer-syntaxes" / "dcm_qa_ts").glob("*.dcm"))]
    assert len({dataset.file_meta.TransferSyntaxUID for dataset in datasets}) >= 7
    first, *others = [stored_values(dataset, "image") for dataset in datasets]
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize(("signed", "expected"), [(0, 0x0801), (1, 0x0801 - 0x1000)])
def test_bits_outside_the_stored_ones_are_no_pixel_value(signed: int, expected: int) -> None:
    """12 bits stored in 16: overlay bits above are dropped, and the sign is bit 11's (PS3.5 8.1.1)."""
    datasets = classic(Stack.of(slices=2))
    for dataset in datasets:
        dataset.PixelRepresentation = signed
        dataset.PixelData = np.full((4, 3), 0xF801, np.uint16).tobytes()
    array = load_series([reread(dataset) for dataset in datasets]).volume.array
    assert np.unique(array).tolist() == [expected]


def test_slice_gaps_that_are_equal_are_fine() -> None:
    """4 mm slices every 4.8 mm are a regular volume: thickness is not spacing."""
    datasets = classic(Stack.of(spacing=(4.8, 1.0, 1.0)))
    for dataset in datasets:
        dataset.SliceThickness = "4"
    assert load_series([reread(dataset) for dataset in datasets]).volume.spacing[0] == pytest.approx(4.8)


def test_positions_rounded_to_hundredths_are_fine() -> None:
    """Rounding that every scanner does is not uneven spacing."""
    datasets = classic(Stack.of(slices=60, spacing=(0.8333333, 1.0, 1.0)))
    for dataset in datasets:
        dataset.ImagePositionPatient = [f"{float(value):.2f}" for value in dataset.ImagePositionPatient]
    assert load_series([reread(dataset) for dataset in datasets]).volume.spacing[0] == pytest.approx(0.8333, abs=1e-3)


def test_decimal_strings_of_more_than_16_characters_are_read(unpacked: Callable[[str], Path]) -> None:
    """Converters write them (against PS3.5 6.2); the real 384-slice series that does so loads without a warning."""
    series = read_series(sorted(unpacked("t1-nifti2dicom-defaced").rglob("*.dcm")))
    assert series.volume.spatial_shape == (384, 384, 274)
    assert series.volume.spacing == pytest.approx((0.666667, 0.666667, 0.699988), abs=1e-6)


# --- what is refused


def test_no_images_are_refused() -> None:
    """An empty series is no volume."""
    assert _refusal([]) == "the series holds no images; send a series of parallel slices"


def test_objects_that_are_no_images_are_named() -> None:
    """A vendor's SR among the images is named by its kind."""
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.88.22"), "1.2.3"
    refusal = _refusal([*classic(Stack.of()), report])
    assert refusal.startswith("1 of 6 objects in the series are not images (Enhanced SR Storage)")


def test_a_file_that_is_not_dicom_is_refused(tmp_path: Path) -> None:
    """The path tells the administrator which."""
    path = tmp_path / "notes.txt"
    path.write_text("no DICOM" * 40)
    with pytest.raises(GeometryUnusable, match=r"notes\.txt is not a DICOM file"):
        read_series([path])


def test_colour_images_are_refused() -> None:
    """Three samples per pixel are a picture of a result, not a measurement."""
    datasets = classic(Stack.of())
    for dataset in datasets:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    assert "not plain greyscale (RGB, 3 samples per pixel" in _refusal(datasets)


def test_a_missing_frame_of_reference_is_refused() -> None:
    """Without it nothing says that a result lies where the images lie (PS3.3 C.7.4.1)."""
    datasets = classic(Stack.of())
    for dataset in datasets:
        del dataset.FrameOfReferenceUID
    assert "name no frame of reference" in _refusal(datasets)


@pytest.mark.parametrize(
    ("keyword", "words"), [("FrameOfReferenceUID", "frames of reference"), ("SeriesInstanceUID", "series")]
)
def test_images_of_two_sources_are_refused(keyword: str, words: str) -> None:
    """Two series, or two frames of reference, are never one volume."""
    datasets = classic(Stack.of())
    datasets[2][keyword].value = "1.2.3"
    assert f"belong to 2 different {words}" in _refusal(datasets)


def test_a_missing_slice_is_named_with_its_neighbours() -> None:
    """The radiographer reads how many are missing, and where."""
    datasets = classic(Stack.of(slices=9))
    refusal = _refusal(datasets[:3] + datasets[4:])
    assert refusal == (
        "1 of 9 slices are missing, first between H38.0 (image 5) and H34.0 (image 3); send the whole series again"
    )


def test_a_doubled_slice_is_named() -> None:
    """The same slice twice, with nothing to tell the two apart."""
    datasets = classic(Stack.of())
    again = classic(Stack.of())[2]
    again.SOPInstanceUID, again.InstanceNumber = "1.2.3", 77
    refusal = _refusal([*datasets, again])
    assert refusal.startswith(
        "1 of 5 slice positions hold more than one image, first H34.0 (image 3) (image 3, image 77)"
    )


def test_uneven_spacing_is_named_with_both_distances() -> None:
    """Where the spacing differs is said in millimetres."""
    datasets = classic(Stack.of(slices=6))
    for dataset in datasets[3:]:
        _move(dataset, 0, 0, 1.3)
    assert "mostly 2.00 mm apart, but 3.30 mm between H37.3 (image 4) and H34.0 (image 3)" in _refusal(datasets)


def test_spacing_that_drifts_is_refused() -> None:
    """Each gap within 1 % of the usual one, but the stack far from even."""
    datasets = classic(Stack.of(slices=61, spacing=(2.0, 1.0, 1.0)))
    for index, dataset in enumerate(datasets):
        _move(dataset, 0, 0, 1.9 * ((index - 30) / 60) ** 3)
    assert "unevenly spaced" in _refusal(datasets)


def test_sheared_slices_are_refused() -> None:
    """A tilted gantry shifts each slice a little further sideways."""
    datasets = classic(Stack.of())
    for index, dataset in enumerate(datasets):
        _move(dataset, 0, 0.2 * index, 0)
    refusal = _refusal(datasets)
    assert refusal.startswith("the slices are shifted sideways against one another, by 0.8 mm at H30.0 (image 1)")


@pytest.mark.parametrize(
    ("keyword", "values", "words"),
    [
        ("EchoTime", ("2.46", "4.92"), "2 echo times (ms): 2.46, 4.92"),
        ("EchoNumbers", ("1", "2"), "2 echo numbers: 1, 2"),
        ("DiffusionBValue", (0.0, 1000.0), "2 b-values (s/mm2): 0.0, 1000.0"),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]), "2 image types"),
        ("TemporalPositionIdentifier", ("1", "2"), "2 time points: 1, 2"),
        ("AcquisitionNumber", ("1", "2"), "2 acquisition numbers: 1, 2"),
    ],
)
def test_images_of_two_kinds_at_each_position_are_told_apart(keyword: str, values: tuple, words: str) -> None:
    """What separates the mixed images is named, so that they can be sent apart."""
    datasets = classic(Stack.of()) + classic(Stack.of())
    for index, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = f"1.2.{index + 1}"
        setattr(dataset, keyword, values[index // 5])
    refusal = _refusal(datasets)
    assert f"mixes images of {words}" in refusal
    assert refusal.endswith("send each as a series of its own")


def test_two_echoes_are_refused_even_where_no_position_repeats() -> None:
    """Half the stack from another echo is no volume either."""
    datasets = classic(Stack.of(slices=6))
    for dataset in datasets[3:]:
        dataset.EchoTime = "80"
    assert "mixes images of 2 echo times (ms): 2.41, 80" in _refusal(datasets)


def test_a_localizer_is_refused() -> None:
    """Three orientations, as every localizer has."""
    datasets = classic(Stack.of(slices=9))
    for dataset in datasets[3:5]:
        _turned(dataset, 0, 1, 0, 0, 0, -1)
    for dataset in datasets[5:]:
        _turned(dataset, 1, 0, 0, 0, 0, -1)
    assert "in 3 different orientations (3 + 2 + 4 slices), as in a localizer" in _refusal(datasets)


def test_differing_matrices_are_refused() -> None:
    """The sizes and how many slices have each."""
    datasets = classic(Stack.of())
    datasets[1] = classic(Stack.of(rows=5))[1]
    assert "differ in matrix: 4 x 3 (4 slices), 5 x 3 (1 slices)" in _refusal(datasets)


def test_differing_pixel_sizes_are_refused() -> None:
    """In millimetres."""
    datasets = classic(Stack.of(spacing=(2, 1, 1)))
    datasets[1].PixelSpacing = ["1.2", "1.2"]
    assert "differ in pixel size (1.000 to 1.200 mm)" in _refusal(datasets)


def test_a_single_slice_is_refused() -> None:
    """It has no spacing."""
    assert "single slice" in _refusal(classic(Stack.of(slices=1)))


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("ImagePositionPatient", "position"),
        ("ImageOrientationPatient", "orientation"),
        ("PixelSpacing", "pixel spacing"),
    ],
)
def test_an_image_without_its_place_is_named(keyword: str, words: str) -> None:
    """Which image, and what it does not state."""
    datasets = classic(Stack.of())
    del datasets[3][keyword]
    assert f"image 4 does not state its {words}" in _refusal(datasets)


def test_a_skew_orientation_is_refused() -> None:
    """Row and column direction that are not at right angles are a wrong header, not rounding."""
    datasets = classic(Stack.of())
    for dataset in datasets:
        _turned(dataset, 1, 0, 0, 0.05, 0.998749, 0)
    assert "not that of a rectangular picture" in _refusal(datasets)


def test_a_mosaic_is_refused() -> None:
    """One image that holds many slices has no position per slice."""
    datasets = classic(Stack.of())
    for dataset in datasets:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    assert "image 1 is a mosaic" in _refusal(datasets)


def test_pixel_data_that_is_cut_short_is_refused() -> None:
    """A half-sent image is not read past its end."""
    datasets = classic(Stack.of())
    datasets[2].PixelData = datasets[2].PixelData[:-2]
    assert "pixel data of image 3 is cut short" in _refusal(datasets)


def test_pixel_data_that_cannot_be_decoded_is_refused() -> None:
    """The transfer syntax is named."""
    datasets = [reread(dataset) for dataset in classic(Stack.of(rows=16, columns=16))]
    for dataset in datasets:
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.PixelData = dataset.PixelData[:40] + bytes(len(dataset.PixelData) - 40)
    with pytest.raises(GeometryUnusable, match=r"cannot be decoded \(transfer syntax JPEG-LS"):
        load_series(datasets)


def test_an_enhanced_image_of_two_echoes_is_refused() -> None:
    """Frames at the same place, apart in effective echo time."""
    dataset = enhanced(Stack.of(slices=3), [0, 1, 2, 0, 1, 2])
    for frame in dataset.PerFrameFunctionalGroupsSequence[3:]:
        frame.MREchoSequence[0].EffectiveEchoTime = 80.0
    assert "mixes images of 2 echo times (ms): 2.41, 80" in _refusal([dataset])


def test_an_enhanced_image_of_two_stacks_is_refused() -> None:
    """Two stacks (PS3.3 C.7.6.16.2.2.4) are two volumes."""
    dataset = enhanced(Stack.of(slices=4), [0, 1, 2, 3])
    for frame in dataset.PerFrameFunctionalGroupsSequence[2:]:
        frame.FrameContentSequence[0].StackID = "2"
    assert "mixes images of 2 stacks: 1, 2" in _refusal([dataset])


def test_an_enhanced_image_with_a_frame_too_few_described_is_refused() -> None:
    """Number of Frames and the functional groups must agree."""
    dataset = enhanced(Stack.of(slices=4), [0, 1, 2, 3])
    del dataset.PerFrameFunctionalGroupsSequence[3]
    assert "holds 4 frames but describes 3" in _refusal([dataset])


def test_two_enhanced_images_in_one_series_are_refused() -> None:
    """A result refers to one source."""
    first, second = (enhanced(Stack.of(slices=4), [0, 1, 2, 3]) for _ in range(2))
    second.SOPInstanceUID = "1.2.3"
    assert "holds 2 multi-frame objects among 2" in _refusal([first, second])


def test_a_multiframe_image_without_places_is_refused() -> None:
    """A multi-frame secondary capture does not say where its frames lie."""
    dataset = enhanced(Stack.of(slices=4), [0, 1, 2, 3])
    del dataset.PerFrameFunctionalGroupsSequence
    del dataset.SharedFunctionalGroupsSequence
    assert "does not say where each frame lies" in _refusal([dataset])


def test_too_few_slices_are_refused() -> None:
    """The number there is, the number wanted, and for what."""
    series = load_series([reread(dataset) for dataset in classic(Stack.of(slices=26))])
    with pytest.raises(GeometryUnusable, match="only 26 slices; Whole-head T1 needs at least 32"):
        require_slices(series, 32, "Whole-head T1")
    require_slices(series, 26, "Whole-head T1")


def test_a_refused_series_keeps_its_pixels() -> None:
    """Only a series that was loaded gives its pixel data away."""
    datasets = [reread(dataset) for dataset in classic(Stack.of(slices=1))]
    with pytest.raises(GeometryUnusable):
        load_series(datasets)
    assert "PixelData" in datasets[0]
