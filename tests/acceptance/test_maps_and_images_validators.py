"""Independent judges find no fault in maps, derived images and notices made from real scanner data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.coding import Code

from dicom_node.contract import DerivedImages, Findings, ProbabilityMap, Segment
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.results import (
    BuiltObject,
    NotRun,
    build,
    build_notice,
    check,
    check_notice,
    encode,
    headers_only,
)
from dicom_node.settings import NoticeKind, ResultKind
from tests.acceptance.validators import (
    Messages,
    dcentvfy,
    dciodvfy,
    number_volume,
    pixelmed_sr,
    source_beyond,
)
from tests.results_cases import ALGORITHM, ANATOMY, BRAIN, ROLE, profile, run_context

_KINDS = (ResultKind.SEGMENTATION, ResultKind.PARAMETRIC_MAP, ResultKind.IMAGES, ResultKind.REPORT)
_PROBABILITY = Code("129000", "DCM", "Probability")
_NO_UNITS = Code("1", "UCUM", "no units")
_SMOOTHING = Code("113087", "DCM", "Smoothing")
#: (data, how texts are written, transfer syntax)
CASES = [
    ("t1-siemens-prisma", "source", "explicit"),
    ("t1-enhanced-multiframe-xa30", "source", "explicit"),
    ("t1-enhanced-multiframe-xa30", "ISO_IR 192", "implicit"),
    ("t1-nifti2dicom-defaced", "ISO_IR 192", "explicit"),
    ("t1-philips-elition", "source", "implicit"),
]


@dataclass(frozen=True)
class Made:
    """One source series and the files that were made from it."""

    files: list[Path]
    source: SourceSeries
    findings: Findings
    results: dict[str, list[Path]]

    def one_of_each(self) -> list[Path]:
        """Return the first file of every series."""
        return [paths[0] for paths in self.results.values()]


def source_files(name: str, shared_data: Path, unpacked: Callable[[str], Path]) -> list[Path]:
    if name == "t1-enhanced-multiframe-xa30":
        return [shared_data / name / "5_anat-T1w_acq-tfl.dcm"]
    return sorted(path for path in unpacked(name).rglob("*") if path.is_file())


def found_in(source: SourceSeries) -> Findings:
    """Return a map that no flip maps onto itself, images whose values are no whole numbers, and a mask."""
    voxels = source.volume.array
    ramp = np.arange(voxels.size, dtype=np.float32).reshape(voxels.shape) / voxels.size
    return Findings(
        ROLE,
        ALGORITHM,
        segments=(Segment("Bright", voxels > 0.6 * voxels.max(), ANATOMY, BRAIN, (60.0, 40.0, 30.0)),),
        maps=(ProbabilityMap("Lesion probability", ramp, _PROBABILITY, _NO_UNITS),),
        images=(DerivedImages("Smooth", (voxels * 0.9).astype(np.float32), "Smoothed.", _SMOOTHING),),
    )


def _written(objects: tuple[BuiltObject, ...], folder: Path) -> dict[str, list[Path]]:
    results: dict[str, list[Path]] = {}
    for each in objects:
        path = folder / f"{each.name}.dcm"
        path.write_bytes(encode(each))
        results.setdefault(each.kind, []).append(path)
    return results


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def made(
    request: pytest.FixtureRequest,
    shared_data: Path,
    unpacked: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Results of one real series, through the gate, as files."""
    name, character_set, syntax = request.param
    files = source_files(name, shared_data, unpacked)
    source = read_series(files)
    findings = found_in(source)
    wanted = profile(kinds=_KINDS, character_set=character_set, transfer_syntax=syntax)
    objects = build(findings, {ROLE: source}, run_context(profile=wanted))
    check(objects, {ROLE: source})
    return Made(files, source, findings, _written(objects, tmp_path_factory.mktemp("results")))


def _unscaled(messages: Messages) -> Messages:
    """Leave out what is said of rescaled MR: no other way keeps values that lie between whole numbers."""
    return Messages(messages.errors, [line for line in messages.warnings if "</Rescale" not in line])


def test_dciodvfy_has_nothing_to_add_to_what_it_says_of_the_source(made: Made) -> None:
    """Each object is valid by its IOD: no error and no warning that the source does not have too."""
    blamed = dciodvfy(made.files[0])
    for path in made.one_of_each():
        beyond = source_beyond(dciodvfy(path), [blamed])
        rescaled = "RescaleSlope" in dcmread(path, stop_before_pixels=True)
        assert (_unscaled(beyond) if rescaled else beyond) == Messages([], [])
        assert not rescaled or made.source.volume.array.max() < 1200


def test_dcentvfy_finds_the_set_consistent(made: Made) -> None:
    """Source, map, images and the rest are one patient and study, and every reference of ours resolves."""
    of_source = dcentvfy(made.files)
    together = dcentvfy([*made.files, *(path for paths in made.results.values() for path in paths)])
    assert source_beyond(together, [of_source]).errors == []


def test_dcmqi_reads_our_numbers_where_we_put_them(made: Made, tmp_path: Path) -> None:
    """`paramap2itkimage` gives back the very floats, on the affine of the source."""
    (volume, meaning) = number_volume(made.results["PM"][0], tmp_path)
    ours, affine = made.findings.maps[0].values, made.source.volume.affine
    corner = volume.affine @ (0, 0, len(ours) - 1, 1)
    turned = volume.affine[:, [2, 1, 0, 3]] @ np.diag([-1, 1, 1, 1])
    turned[:, 3] = corner
    assert np.allclose(turned, affine, atol=2e-3)
    assert np.array_equal(volume.values.transpose(2, 1, 0)[::-1], ours)
    assert meaning["MeasurementUnitsCode"]["CodeValue"] == "1"
    assert meaning["QuantityValueCode"]["CodeValue"] == _PROBABILITY.value


def test_the_node_reads_its_images_as_it_made_them(made: Made) -> None:
    """Read as the images of a scanner are: same affine, each voxel off by half a step at most."""
    series = read_series(made.results["IMG"])
    wanted = made.findings.images[0].values
    assert np.allclose(series.volume.affine, made.source.volume.affine, atol=1e-4)
    step = max(1.0 if wanted.max() >= 1024 else 0.0, float(wanted.max() - wanted.min()) / 65_000)
    assert np.abs(series.volume.array - wanted).max() <= step / 2 + 1e-3


def test_judges_do_complain(made: Made, tmp_path: Path) -> None:
    """Broken objects are blamed: the silence of the judge above means something."""
    for kind, keyword in (("PM", "ContentQualification"), ("IMG", "BitsStored")):
        broken = dcmread(made.results[kind][0])
        delattr(broken, keyword)
        broken.save_as(tmp_path / "broken.dcm")
        assert any(keyword in line for line in dciodvfy(tmp_path / "broken.dcm").errors)


@pytest.mark.parametrize("data", ["t1-siemens-prisma", "t1-enhanced-multiframe-xa30"])
@pytest.mark.parametrize("kind", [NoticeKind.REPORT, NoticeKind.PICTURE])
def test_a_notice_of_a_refusal_is_valid(
    kind: NoticeKind, data: str, shared_data: Path, unpacked: Callable[[str], Path], tmp_path: Path
) -> None:
    """Made from headers alone, it satisfies the same judges."""
    files = source_files(data, shared_data, unpacked)
    images = [dcmread(file, stop_before_pixels=True) for file in files]
    run = run_context(profile=profile(not_run=kind))
    case = NotRun("slices are missing: send them again", {ROLE: headers_only(images)}, ALGORITHM, run)
    objects = build_notice(case)
    check_notice(objects, case.headers)
    ((path,),) = _written(objects, tmp_path).values()
    assert source_beyond(dciodvfy(path), [dciodvfy(files[0])]) == Messages([], [])
    assert source_beyond(dcentvfy([*files, path]), [dcentvfy(files)]).errors == []
    if kind is NoticeKind.REPORT:
        assert pixelmed_sr(path).errors == []
