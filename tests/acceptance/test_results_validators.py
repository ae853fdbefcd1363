"""Independent judges find no fault in SEG and SR made from real scanner data, and read our voxels and numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node.contract import Findings, Measurement, Segment
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.results import build, check, encode
from tests.acceptance.validators import (
    Messages,
    PatientVolume,
    dcentvfy,
    dciodvfy,
    measured,
    pixelmed_sr,
    same_voxels,
    segment_volumes,
    source_beyond,
    tid1500,
)
from tests.results_cases import ALGORITHM, ANATOMY, BRAIN, ML, ROLE, VOLUME, run_context


@dataclass(frozen=True)
class Made:
    """One source series and the files that were made from it."""

    files: list[Path]
    source: SourceSeries
    findings: Findings
    results: dict[str, Path]


def ellipsoid(source: SourceSeries, centre: float = 0.5, radius: float = 0.25) -> np.ndarray:
    """Return a mask that no flip or transposition maps onto itself: an ellipsoid with a corner cut away."""
    shape = source.volume.spatial_shape
    axes = np.ogrid[tuple(slice(size) for size in shape)]
    mask = sum(
        ((axis - size * place) / (size * extent)) ** 2
        for axis, size, place, extent in zip(
            axes, shape, (centre, centre - 0.07, centre + 0.03), (radius, radius * 1.2, radius * 0.8), strict=True
        )
    )
    mask = mask < 1
    mask[: shape[0] // 2, : shape[1] // 2, : shape[2] // 2] = False
    return mask


def found_in(source: SourceSeries, kind: str) -> Findings:
    voxel_ml = float(abs(np.linalg.det(source.volume.affine[:3, :3]))) / 1000
    masks = {"one": {"Brain": ellipsoid(source)}, "none": {}}
    masks["two"] = {"Brain": ellipsoid(source), "Lesion": ellipsoid(source, 0.6, 0.05)}
    single = np.zeros(source.volume.spatial_shape, dtype=bool)
    single[len(single) // 3, 40:45, 50:58] = True
    masks["one slice"] = {"Spot": single}
    segments = tuple(
        Segment(label, mask, ANATOMY, BRAIN, (60.0, 40.0, 30.0 - 60 * number))
        for number, (label, mask) in enumerate(masks[kind].items())
    )
    volumes = tuple(
        Measurement(VOLUME, round(float(each.mask.sum()) * voxel_ml, 3), ML, each.label) for each in segments
    )
    return Findings(ROLE, ALGORITHM, segments, volumes, () if segments else ("No brain was found in these images.",))


def source_files(name: str, shared_data: Path, unpacked: Callable[[str], Path]) -> list[Path]:
    if name == "t1-enhanced-multiframe-xa30":
        return [shared_data / name / "5_anat-T1w_acq-tfl.dcm"]
    return sorted(path for path in unpacked(name).rglob("*") if path.is_file())


CASES = [
    ("t1-siemens-prisma", "one"),
    ("t1-siemens-prisma", "none"),
    ("t1-siemens-prisma", "one slice"),
    ("t1-enhanced-multiframe-xa30", "two"),
    ("t1-enhanced-multiframe-xa30", "none"),
    ("t1-nifti2dicom-defaced", "one"),
    ("t1-philips-elition", "two"),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case).replace(" ", "-"))
def made(
    request: pytest.FixtureRequest,
    shared_data: Path,
    unpacked: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Results of one real series, through the gate, as files."""
    name, kind = request.param
    files = source_files(name, shared_data, unpacked)
    source = read_series(files)
    findings = found_in(source, kind)
    objects = build(findings, {ROLE: source}, run_context())
    check(objects, {ROLE: source})
    folder = tmp_path_factory.mktemp("results")
    results = {each.kind: folder / f"{each.kind}.dcm" for each in objects}
    for each in objects:
        results[each.kind].write_bytes(encode(each))
    return Made(files, source, findings, results)


def test_dciodvfy_has_nothing_to_add_to_what_it_says_of_the_source(made: Made) -> None:
    """Each object is valid by its IOD: no error and no warning that the source does not have too."""
    blamed = dciodvfy(made.files[0])
    for path in made.results.values():
        assert source_beyond(dciodvfy(path), [blamed]) == Messages([], [])


def test_dcentvfy_finds_the_set_consistent(made: Made) -> None:
    """Source, SEG and SR are one patient and study, and every reference of ours resolves."""
    of_source = dcentvfy(made.files)
    together = dcentvfy([*made.files, *made.results.values()])
    assert source_beyond(together, [of_source]).errors == []


def test_pixelmed_finds_no_error_in_the_report(made: Made) -> None:
    """The judge of IHE AI Results accepts the report by its template: 1500, or 2000 where nothing was found."""
    template = dcmread(made.results["SR"]).ContentTemplateSequence[0].TemplateIdentifier
    assert template == ("1500" if made.findings.segments else "2000")
    assert pixelmed_sr(made.results["SR"]).errors == []


def test_dcmqi_reads_our_mask_voxel_by_voxel(made: Made, tmp_path: Path) -> None:
    """`segimage2itkimage` puts every voxel where the source has it, and no other."""
    if "SEG" not in made.results:
        assert made.findings.segments == ()
        return
    read = segment_volumes(made.results["SEG"], tmp_path)
    assert len(read) == len(made.findings.segments)
    for volume, segment in zip(read, made.findings.segments, strict=True):
        assert same_voxels(volume, PatientVolume(segment.mask, made.source.volume.affine))


def test_dcmqi_reads_our_numbers(made: Made, tmp_path: Path) -> None:
    """`tid1500reader` reads the volume of each segment as it was measured."""
    if not made.findings.segments:
        assert any("No brain was found" in text for text in _texts(made.results["SR"]))
        return
    values = measured(tid1500(made.results["SR"], tmp_path))
    for item in made.findings.measurements:
        assert values[item.segment, item.name.meaning, "ml"] == pytest.approx(item.value, abs=1e-3)


def _names(item: Dataset, code: str) -> bool:
    return bool(item.ConceptNameCodeSequence[0].CodeValue == code)


def _texts(path: Path) -> list[str]:
    return [
        item.TextValue
        for container in dcmread(path).ContentSequence
        for item in container.get("ContentSequence", ())
        if item.ValueType == "TEXT"
    ]


def test_a_mask_one_voxel_off_is_noticed() -> None:
    """The comparison of masks can fail: shifted, flipped and shrunken masks are different."""
    mask = np.zeros((5, 6, 7), dtype=bool)
    mask[1:3, 2:4, 3:6] = True
    volume = PatientVolume(mask, np.diag([1.0, 2.0, 3.0, 1.0]))
    assert same_voxels(volume, volume)
    assert not same_voxels(volume, PatientVolume(np.roll(mask, 1, axis=2), volume.affine))
    assert not same_voxels(volume, PatientVolume(mask[::-1], volume.affine))
    assert not same_voxels(volume, PatientVolume(mask[:, :, :5], volume.affine))


@pytest.mark.parametrize("made", [("t1-enhanced-multiframe-xa30", "none")], indirect=True)
def test_judges_do_complain_of_a_report_in_words(made: Made, tmp_path: Path) -> None:
    """The report that found nothing is judged too: without its language and observer it breaks its template."""
    broken = dcmread(made.results["SR"])
    broken.ContentSequence = [item for item in broken.ContentSequence if item.ValueType == "CONTAINER"]
    del broken.PreliminaryFlag, broken.CompletionFlag
    broken.save_as(tmp_path / "broken.dcm")
    assert any("CompletionFlag" in line for line in dciodvfy(tmp_path / "broken.dcm").errors)
    assert pixelmed_sr(tmp_path / "broken.dcm").errors != []


@pytest.mark.parametrize("made", [("t1-enhanced-multiframe-xa30", "two")], indirect=True)
def test_judges_do_complain(made: Made, tmp_path: Path) -> None:
    """A broken object is blamed: the silence of the judges above means something."""
    broken = dcmread(made.results["SR"])
    del broken.CompletionFlag
    procedure = next(item for item in broken.ContentSequence if item.ValueType == "CODE" and _names(item, "121058"))
    procedure.ConceptCodeSequence[0].CodeValue = "24590-2"  # not of CID 100
    broken.save_as(tmp_path / "broken.dcm")
    assert any("CompletionFlag" in line for line in dciodvfy(tmp_path / "broken.dcm").errors)
    assert pixelmed_sr(tmp_path / "broken.dcm").errors != []


def test_only_the_sources_own_faults_are_forgiven() -> None:
    """A message is forgiven only if a source has it word for word, file names aside."""
    source = Messages(["Error - a for file <x>"], ["Warning - b"])
    result = Messages(["Error - a for file <y>", "Error - c"], ["Warning - b", "Warning - d"])
    assert source_beyond(result, [source]) == Messages(["Error - c"], ["Warning - d"])
