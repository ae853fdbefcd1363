"""Judges accept label maps and many segments on real scanner data, and read our voxels from both forms."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.coding import Code

from dicom_node.contract import Findings, LabelMask, Measurement, Segment
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.results import build, check, encode
from tests.acceptance.test_results_validators import ellipsoid, source_files
from tests.acceptance.validators import (
    Messages,
    PatientVolume,
    dcentvfy,
    dciodvfy,
    label_volumes,
    measured,
    pixelmed_sr,
    same_voxels,
    source_beyond,
    tid1500,
)
from tests.results_cases import ALGORITHM, ANATOMY, BRAIN, ML, ROLE, VOLUME, profile, run_context

THALAMUS = Code("42695009", "SCT", "Thalamus")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
_NO_SEGMENTATION = "ReferencedSegmentNumber(0062,000b)> - Shall not be present for Referenced SOP Class that is not"


class Made(NamedTuple):
    """One source series, and what was made of it in one form."""

    files: list[Path]
    source: SourceSeries
    findings: Findings
    form: str
    results: dict[str, Path]


def found_in(source: SourceSeries) -> Findings:
    """Return three structures, labels of one volume; one lies inside of another, one on a single slice."""
    labels = np.zeros(source.volume.spatial_shape, dtype=np.uint16)
    labels[ellipsoid(source)] = 500
    labels[ellipsoid(source, 0.6, 0.05)] = 2
    labels[len(labels) // 3, 40:45, 50:58] = 31
    segments = (
        Segment("Brain", LabelMask(labels, 500), ANATOMY, BRAIN, (60.0, 40.0, 30.0)),
        Segment("Nothing", LabelMask(labels, 77), ANATOMY, BRAIN, (60.0, 0.0, 0.0)),
        Segment("Left thalamus", LabelMask(labels, 2), ANATOMY, THALAMUS, (70.0, 0.0, 40.0), laterality=LEFT),
        Segment("Spot", LabelMask(labels, 31), ANATOMY, BRAIN, (50.0, 0.0, -40.0), THALAMUS, RIGHT),
    )
    volumes = tuple(Measurement(VOLUME, float(each.mask.sum()), ML, each.label) for each in segments)
    return Findings(ROLE, ALGORITHM, segments, volumes)


@pytest.fixture(
    scope="module",
    params=[
        (name, form)
        for name in ("t1-siemens-prisma", "t1-enhanced-multiframe-xa30")
        for form in ("binary", "labelmap")
    ],
    ids="-".join,
)
def made(
    request: pytest.FixtureRequest,
    shared_data: Path,
    unpacked: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Results of one real series in one form, through the gate, as files."""
    name, form = request.param
    files = source_files(name, shared_data, unpacked)
    source = read_series(files)
    findings = found_in(source)
    objects = build(findings, {ROLE: source}, run_context(profile=profile(segmentation=form)))
    check(objects, {ROLE: source})
    folder = tmp_path_factory.mktemp("results")
    for each in objects:
        (folder / each.kind).write_bytes(encode(each))
    return Made(files, source, findings, form, {each.kind: folder / each.kind for each in objects})


def test_dciodvfy_has_nothing_to_add_to_what_it_says_of_the_source(made: Made) -> None:
    """Either form is valid by its IOD, sides of regions and of types included."""
    blamed = dciodvfy(made.files[0])
    assert dcmread(made.results["SEG"], stop_before_pixels=True).SegmentationType == made.form.upper()
    assert source_beyond(dciodvfy(made.results["SEG"]), [blamed]) == Messages([], [])
    of_report = source_beyond(dciodvfy(made.results["SR"]), [blamed])
    if made.form == "labelmap":
        # it knows the label map itself, but not yet that a report may name one segment of it (PS3.3 Table C.18.4-1)
        of_report = Messages([line for line in of_report.errors if _NO_SEGMENTATION not in line], of_report.warnings)
    assert of_report == Messages([], [])


def test_dcentvfy_finds_the_set_consistent(made: Made) -> None:
    """Source, SEG and SR are one patient and study, and every reference of ours resolves."""
    of_source = dcentvfy(made.files)
    together = dcentvfy([*made.files, *made.results.values()])
    assert source_beyond(together, [of_source]).errors == []


def test_dcmqi_reads_every_segment_voxel_by_voxel(made: Made, tmp_path: Path) -> None:
    """`segimage2itkimage` puts each voxel of each number where the source has it, and no other."""
    read = label_volumes(made.results["SEG"], tmp_path)
    segments = [each for each in made.findings.segments if each.mask.any()]
    assert sorted(read) == [1, 2, 3]
    for number, segment in enumerate(segments, 1):
        assert same_voxels(read[number], PatientVolume(segment.mask, made.source.volume.affine))


def test_the_report_refers_to_either_form(made: Made, tmp_path: Path) -> None:
    """PixelMed accepts the report of a label map too, and dcmqi reads its numbers."""
    assert pixelmed_sr(made.results["SR"]).errors == []
    values = measured(tid1500(made.results["SR"], tmp_path))
    for item in made.findings.measurements:
        if item.segment != "Nothing":
            assert values[item.segment, item.name.meaning, "ml"] == pytest.approx(item.value, abs=1e-3)


@pytest.mark.parametrize("made", [("t1-enhanced-multiframe-xa30", "labelmap")], indirect=True)
def test_the_judge_does_complain_of_a_label_map(made: Made, tmp_path: Path) -> None:
    """Without its numbers a label map is blamed: the silence above means something."""
    broken = dcmread(made.results["SEG"])
    del broken.SegmentSequence[1].SegmentNumber, broken.BitsStored
    broken.save_as(tmp_path / "broken.dcm")
    errors = dciodvfy(tmp_path / "broken.dcm").errors
    assert any("SegmentNumber" in line for line in errors)
    assert any("BitsStored" in line for line in errors)
