"""Brain extraction on real scans: deepbet's own volumes, and none for what is no whole head."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dicom_node.contract import Findings
from dicom_node.errors import GeometryUnusable
from dicom_node.geometry import load_series, read_series, require_slices
from pipelines.brain_extraction import BrainExtraction

Unpacked = Callable[[str], Path]

#: Folder, files, and the volume (ml) that deepbet 1.0.2's own command gives on dcm2niix's conversion of them
#: (printed by `python -m bench.volumes`).
HEADS = [
    ("t1-siemens-prisma", "dicom/*.dcm", 1549.99),
    ("t1-philips-elition", "dicom/*.dcm", 1566.09),
    ("t1-nifti2dicom-defaced", "dicom/*.dcm", 1791.68),
    ("t1-patient-positions", "HFS/*.dcm", 1542.96),
    ("t1-patient-positions", "HFP/*.dcm", 1535.53),
    ("ms-longitudinal-patient12", "dicom/study1/02_T1W_*.dcm", 1504.11),
    ("ms-longitudinal-patient12", "dicom/study2/02_T1W_*.dcm", 1504.54),
]


@pytest.fixture(scope="module")
def pipeline(shared_models: Path) -> BrainExtraction:
    """Return the pipeline with the shared weights loaded."""
    loaded = BrainExtraction(shared_models / "deepbet")
    loaded.load("cpu")
    return loaded


def _findings(pipeline: BrainExtraction, files: list[Path]) -> Findings:
    series = read_series(files)
    require_slices(series, pipeline.roles["t1"].minimum_slices, pipeline.roles["t1"].title)
    return pipeline.run({"t1": series.volume}, {}, lambda _share, _words: None)


@pytest.mark.parametrize(("folder", "pattern", "millilitres"), HEADS, ids=str)
def test_a_head_has_deepbets_volume(
    pipeline: BrainExtraction, unpacked: Unpacked, folder: str, pattern: str, millilitres: float
) -> None:
    """Two vendors, supine and prone, oblique, defaced, ill: the volume of deepbet's own command within 0.1 %."""
    findings = _findings(pipeline, sorted(unpacked(folder).glob(pattern)))
    assert findings.remarks == ()
    assert findings.measurements[0].value == pytest.approx(millilitres, rel=1e-3)


@pytest.mark.parametrize(
    ("file", "millilitres"), [("5_anat-T1w_acq-tfl.dcm", 1573.04), ("6_anat-T1w_acq-tfl.dcm", 1574.57)]
)
def test_an_enhanced_head_has_deepbets_volume(
    pipeline: BrainExtraction, shared_data: Path, file: str, millilitres: float
) -> None:
    """The same from one multi-frame file."""
    findings = _findings(pipeline, [shared_data / "t1-enhanced-multiframe-xa30" / file])
    assert findings.measurements[0].value == pytest.approx(millilitres, rel=1e-3)


@pytest.mark.parametrize("archive", ["bottle-phantom-j2k", "bottle-phantom-jpegll"])
def test_a_bottle_whose_header_says_brain_has_no_brain_volume(
    pipeline: BrainExtraction, unpacked: Unpacked, archive: str
) -> None:
    """The images decide, not the header: no segment, no number, a sentence."""
    findings = _findings(pipeline, sorted(unpacked("not-a-brain").glob(f"{archive}/*.dcm")))
    assert (findings.segments, findings.measurements) == ((), ())
    assert findings.remarks[0].startswith("What was outlined is not plausible as a brain")


def test_26_slices_are_too_few(pipeline: BrainExtraction, unpacked: Unpacked) -> None:
    """Thick clinical slices are refused before anything is computed."""
    with pytest.raises(GeometryUnusable, match="only 26 slices; Whole-head T1 needs at least 32"):
        _findings(pipeline, sorted(unpacked("tumour-tcga-fg-6692").glob("dicom/02_T1_*.dcm")))


def test_a_vendors_report_among_the_files_is_named(shared_data: Path) -> None:
    """An Enhanced SR is no image; it does not crash the reader."""
    files = sorted((shared_data / "t1-enhanced-multiframe-xa30").glob("*.dcm"))
    with pytest.raises(GeometryUnusable, match=r"are not images \(Enhanced SR Storage\)"):
        read_series(files)


def test_half_a_head_has_no_volume(pipeline: BrainExtraction, unpacked: Unpacked) -> None:
    """A brain that the edge of the images cuts through has no whole volume to report."""
    volume = read_series(sorted(unpacked("t1-siemens-prisma").rglob("*.dcm"))).volume
    slab = volume[:, 60:110, :]
    findings = pipeline.run({"t1": slab}, {}, lambda _share, _words: None)
    assert findings.segments == ()
    assert "cuts through it" in findings.remarks[0]


def test_the_same_images_twice_give_the_same_mask(pipeline: BrainExtraction, unpacked: Unpacked) -> None:
    """Nothing is random: repeating a job repeats its result."""
    volume = read_series(sorted(unpacked("t1-patient-positions").glob("HFS/*.dcm"))).volume
    first, second = (pipeline.run({"t1": volume}, {}, lambda _share, _words: None) for _ in range(2))
    np.testing.assert_array_equal(first.segments[0].mask, second.segments[0].mask)


def test_two_orientations_mixed_are_refused(unpacked: Unpacked, shared_data: Path) -> None:
    """Two real series in one folder are told apart."""
    files = [*sorted(unpacked("t1-patient-positions").glob("HFS/*.dcm"))]
    files += sorted((shared_data / "t1-enhanced-multiframe-xa30").glob("5_*.dcm"))
    with pytest.raises(GeometryUnusable, match="belong to 2 different series"):
        read_series(files)


def test_an_empty_folder_is_refused() -> None:
    """No images, no volume."""
    with pytest.raises(GeometryUnusable, match="holds no images"):
        load_series([])
