"""Functional groups are put together from encoded parts, and nobody can tell."""

from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import RawDataElement

from dicom_node.errors import WrongObject
from dicom_node.results import build, check, encode
from tests.label_cases import VALUES, organs, volume
from tests.results_cases import ROLE, findings, profile, run_context, source_series

PER_FRAME = 0x52009230


def decoded(dataset: Dataset) -> Dataset:
    """Return a data set every element of which was decoded."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                decoded(item)
    dataset.set_original_encoding(None, None)
    return dataset


def written(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["binary", "labelmap"])
@pytest.mark.parametrize("transfer_syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("character_set", [None, "", "ISO_IR 100", ["", "ISO 2022 IR 87"]])
@pytest.mark.parametrize("enhanced", [False, True])
def test_they_are_what_pydicom_would_write(
    form: str, transfer_syntax: str, character_set: str | list[str] | None, enhanced: bool
) -> None:
    """PS3.5 7.5: read, decoded down to the last element and written again by pydicom, a file keeps every byte."""
    source = source_series(character_set=character_set, name="Doe^John", enhanced=enhanced)
    run = run_context(profile=profile(segmentation=form, transfer_syntax=transfer_syntax))
    seg, _ = build(findings(*organs(volume())), {ROLE: source}, run)
    assert isinstance(seg.dataset.get_item(PER_FRAME), RawDataElement)
    data = encode(seg)
    assert written(decoded(dcmread(BytesIO(data)))) == data


def test_who_looks_at_them_finds_data_sets() -> None:
    """In memory they are read like any sequence, and reading them changes neither the bytes nor the verdict."""
    source = source_series()
    objects = build(findings(*organs(volume())), {ROLE: source}, run_context())
    data = encode(objects[0])
    frames = objects[0].dataset.PerFrameFunctionalGroupsSequence
    assert [item.SegmentIdentificationSequence[0].ReferencedSegmentNumber for item in frames] == [1, 1, 1, 2, 3]
    assert [list(item.FrameContentSequence[0].DimensionIndexValues) for item in frames[:2]] == [[1, 1], [1, 2]]
    check(objects, {ROLE: source})
    assert encode(objects[0]) == data


@pytest.mark.parametrize("form", ["binary", "labelmap"])
@pytest.mark.parametrize("empty_frames", [False, True])
def test_dimension_indices_are_ordinal_numbers(form: str, empty_frames: bool) -> None:
    """PS3.3 C.7.6.17.1: each index starts from 1 and increases by 1, wherever the slices with voxels begin."""
    labels = np.zeros((6, 20, 24), dtype=np.uint8)
    labels[[1, 2], 4, 5] = VALUES[0]
    labels[[2, 5], 7, 8] = VALUES[1]
    run = run_context(profile=profile(segmentation=form, empty_frames=empty_frames))
    seg, _ = build(findings(*organs(labels)), {ROLE: source_series()}, run)
    values = np.array(
        [
            np.atleast_1d(item.FrameContentSequence[0].DimensionIndexValues)
            for item in seg.dataset.PerFrameFunctionalGroupsSequence
        ]
    )
    assert values.shape[1] == len(seg.dataset.DimensionIndexSequence)
    for dimension in values.T:
        assert np.unique(dimension).tolist() == list(range(1, dimension.max() + 1))
    assert values.tolist() == sorted(values.tolist())
    assert values[:, -1].max() == (6 if empty_frames else 3)


def _changed(dataset: Dataset, old: bytes, new: bytes) -> None:
    raw = dataset.get_item(PER_FRAME)
    value = raw.value.replace(old, new)
    assert value != raw.value
    dataset[PER_FRAME] = raw._replace(value=value, length=len(value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0"),
        (b"\x20\x00\x13\x91SQ", b"\x20\x00\x13\x91OB"),
        (b"\x62\x00\x0b\x00US\x02\x00\x03\x00", b"\x62\x00\x0b\x00US\x02\x00"),
    ],
)
def test_bytes_that_are_no_sequence_are_refused(old: bytes, new: bytes) -> None:
    """The gate reads the encoded groups itself; what it cannot read does not leave."""
    source = source_series()
    objects = build(findings(*organs(volume())), {ROLE: source}, run_context())
    _changed(objects[0].dataset, old, new)
    with pytest.raises(WrongObject, match="SEG, frames: cannot be read"):
        check(objects, {ROLE: source})


def test_a_frame_of_another_image_is_seen_in_the_bytes() -> None:
    """Undecoded, a wrong reference is refused as well: here two source images are exchanged."""
    source = source_series()
    objects = build(findings(*organs(volume())), {ROLE: source}, run_context())
    one, other = (source.datasets[index].SOPInstanceUID.encode() for index in (1, 2))
    assert len(one) == len(other)
    _changed(objects[0].dataset, one, other)
    with pytest.raises(WrongObject, match="frame 1 does not lie on its source image"):
        check(objects, {ROLE: source})
