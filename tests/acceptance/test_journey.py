"""The journey, whole: DCMTK pushes real heads to the installed node, and Orthanc ends with what a radiologist needs.

One node and one Orthanc serve all series, as in a hospital; the rules are those that are shipped.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from bench.peers import NodeProcess
from dicom_node.contract import Findings
from dicom_node.demo import loopback
from dicom_node.demo.measured import volumes
from dicom_node.demo.pacs import OrthancPacs
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.ledger import Ledger
from dicom_node.lifecycle import ARRIVED, StudyState
from pipelines.brain_extraction import BrainExtraction
from tests.acceptance import validators

_PATIENCE_SECONDS: Final = 240
_RULES: Final = Path(__file__).resolve().parents[2] / "config" / "rules.toml"

#: Study -> data folder and the files in it. The MS visits are T1, T2 and FLAIR; the Enhanced study has two
#: reconstructions and the vendor's own SR: the shipped rule has to choose.
_HEADS: Final[Mapping[str, tuple[str, str]]] = {
    "siemens-prisma": ("t1-siemens-prisma", "dicom/**/*"),
    "philips-elition": ("t1-philips-elition", "dicom/**/*"),
    "nifti2dicom-defaced": ("t1-nifti2dicom-defaced", "dicom/**/*"),
    "supine": ("t1-patient-positions", "HFS/**/*"),
    "prone": ("t1-patient-positions", "HFP/**/*"),
    "ms-first-visit": ("ms-longitudinal-patient12", "dicom/study1/**/*"),
    "ms-second-visit": ("ms-longitudinal-patient12", "dicom/study2/**/*"),
    "enhanced-xa30": ("t1-enhanced-multiframe-xa30", "*.dcm"),
}


@dataclass(frozen=True)
class Head:
    """One pushed study and what the PACS holds of it."""

    study: str
    pushed: tuple[Path, ...]
    seg: tuple[Path, ...]
    report: tuple[Path, ...]
    others: tuple[str, ...]


@pytest.fixture(scope="module")
def pacs(
    tmp_path_factory: pytest.TempPathFactory,
    require_tool: Callable[[str, str], Path],
    missing: Callable[[str], NoReturn],
) -> Iterator[OrthancPacs]:
    """Give one Orthanc for all heads."""
    require_tool("Orthanc", "orthanc")
    if not loopback.inside():
        missing("Orthanc runs only in a loopback-only network: use `make test`")
    with OrthancPacs(tmp_path_factory.mktemp("pacs")) as running:
        yield running


@pytest.fixture(scope="module")
def files(shared_data: Path, unpacked: Callable[[str], Path]) -> dict[str, tuple[Path, ...]]:
    """Return the files of every study."""
    found: dict[str, tuple[Path, ...]] = {}
    for name, (folder, pattern) in _HEADS.items():
        root = shared_data / folder if pattern == "*.dcm" else unpacked(folder)
        found[name] = tuple(sorted(path for path in root.glob(pattern) if path.is_file()))
    return found


@pytest.fixture(scope="module")
def heads(
    tmp_path_factory: pytest.TempPathFactory,
    pacs: OrthancPacs,
    files: dict[str, tuple[Path, ...]],
    require_tool: Callable[[str, str], Path],
) -> Iterator[dict[str, Head]]:
    """Push every head with storescu, wait until the node is done, and fetch what the PACS holds."""
    storescu = require_tool("storescu", "dcmtk")
    folder = tmp_path_factory.mktemp("journey")
    with NodeProcess.beside(folder / "node", pacs, _RULES.read_text()) as node:
        for paths in files.values():
            _push(storescu, node, paths)
        studies = {
            name: str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID) for name, paths in files.items()
        }
        with node.ledger() as ledger:
            _wait(ledger, set(studies.values()))
        yield {name: _head(pacs, studies[name], paths, folder / name) for name, paths in files.items()}


def _push(storescu: Path, node: NodeProcess, paths: tuple[Path, ...]) -> None:
    # storescu's default contexts lack Enhanced MR; +R proposes what the files need
    command = [storescu, "-R", "-aet", "STORESCU", "-aec", "NODE", node.peer.host, str(node.port), *paths]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def _wait(ledger: Ledger, studies: set[str]) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not all(_settled(ledger, study) for study in studies):
        held = [job.reason for job in ledger.jobs.latest(20) if job.state == "held"]
        assert not held, held
        assert time.monotonic() < until, [(j.rule, j.state, j.reason) for j in ledger.jobs.latest(20)]
        time.sleep(0.2)


def _settled(ledger: Ledger, study: str) -> bool:
    revisions = ledger.studies.revisions(study)
    deliveries = ledger.deliveries.of_study(study)
    routed = bool(revisions) and revisions[-1].state is StudyState.ROUTED
    return routed and bool(deliveries) and all(one.state in ARRIVED for one in deliveries)


def _head(pacs: OrthancPacs, study: str, pushed: tuple[Path, ...], folder: Path) -> Head:
    folder.mkdir()
    found: dict[str, list[Path]] = {str(SegmentationStorage): [], str(Comprehensive3DSRStorage): []}
    others = []
    for one in pacs.stored(study):
        if one.sop_class_uid not in found:
            others.append(one.sop_class_uid)
            continue
        path = folder / f"{one.sop_instance_uid}.dcm"
        path.write_bytes(pacs.fetch(one.sop_instance_uid))
        found[one.sop_class_uid].append(path)
    seg, report = found.values()
    return Head(study, pushed, tuple(seg), tuple(report), tuple(others))


@pytest.fixture(scope="module")
def pipeline() -> BrainExtraction:
    """Return the pipeline, loaded here: what it finds is compared with what came back."""
    loaded = BrainExtraction()
    loaded.load("cpu")
    return loaded


@pytest.fixture(scope="module")
def found_here(heads: dict[str, Head], pipeline: BrainExtraction) -> Callable[[str], tuple[SourceSeries, Findings]]:
    """Return a function that runs the pipeline once on the series that a head's SEG names."""
    done: dict[str, tuple[SourceSeries, Findings]] = {}

    def run(name: str) -> tuple[SourceSeries, Findings]:
        if name not in done:
            source = read_series(_source_files(heads[name]))
            settings = {key: setting.default for key, setting in pipeline.settings.items()}
            done[name] = (source, pipeline.run({"t1": source.volume}, settings, lambda _share, _step: None))
        return done[name]

    return run


def _source_files(head: Head) -> list[Path]:
    (reference,) = dcmread(head.seg[0], stop_before_pixels=True).ReferencedSeriesSequence
    wanted = str(reference.SeriesInstanceUID)
    return [path for path in head.pushed if str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID) == wanted]


@pytest.mark.parametrize("name", _HEADS)
def test_exactly_one_seg_and_one_sr_come_back(heads: dict[str, Head], name: str) -> None:
    """The PACS ends with one SEG and one SR per study, and nothing else."""
    head = heads[name]
    assert (len(head.seg), len(head.report), head.others) == (1, 1, ())


@pytest.mark.parametrize("name", _HEADS)
def test_the_objects_are_without_fault(heads: dict[str, Head], name: str) -> None:
    """dciodvfy blames the results for nothing that it does not blame the source images for."""
    head = heads[name]
    sources = [validators.dciodvfy(path) for path in _source_files(head)[::48]]
    for path in (*head.seg, *head.report):
        beyond = validators.source_beyond(validators.dciodvfy(path), sources)
        assert (beyond.errors, beyond.warnings) == ([], [])


@pytest.mark.parametrize("name", _HEADS)
def test_the_set_is_consistent(heads: dict[str, Head], name: str) -> None:
    """dcentvfy finds no error over source, SEG and SR: one patient, one study, every reference resolves."""
    head = heads[name]
    source = _source_files(head)
    judged = validators.dcentvfy([*source, *head.seg, *head.report])
    # a source may contradict itself; only what the results add counts
    assert validators.source_beyond(judged, [validators.dcentvfy(source)]).errors == []


@pytest.mark.parametrize("name", _HEADS)
def test_the_report_keeps_its_templates(heads: dict[str, Head], name: str) -> None:
    """IHE's judge of AI results, the PixelMed SR validator, finds no error."""
    assert validators.pixelmed_sr(heads[name].report[0]).errors == []


@pytest.mark.parametrize("name", _HEADS)
def test_the_mask_is_the_pipelines_own(
    heads: dict[str, Head],
    found_here: Callable[[str], tuple[SourceSeries, Findings]],
    tmp_path: Path,
    name: str,
) -> None:
    """dcmqi reads from the SEG, voxel by voxel in patient space, the mask that the pipeline found."""
    source, findings = found_here(name)
    ours = validators.PatientVolume(findings.segments[0].mask, np.asarray(source.volume.affine))
    (theirs,) = validators.segment_volumes(heads[name].seg[0], tmp_path / "segments")
    assert ours.mask.any()
    assert validators.same_voxels(ours, theirs)


@pytest.mark.parametrize("name", _HEADS)
def test_the_volume_is_the_pipelines_own(
    heads: dict[str, Head],
    found_here: Callable[[str], tuple[SourceSeries, Findings]],
    tmp_path: Path,
    name: str,
) -> None:
    """dcmqi reads from the SR, and we read, the volume in ml that the pipeline measured."""
    _, findings = found_here(name)
    expected = findings.measurements[0].value
    theirs = validators.measured(validators.tid1500(heads[name].report[0], tmp_path / "report"))
    read = [value for (_, quantity, unit), value in theirs.items() if (quantity, unit) == ("Volume", "ml")]
    assert read == [pytest.approx(expected, rel=1e-4)]
    (here,) = {one.value for one in volumes(dcmread(heads[name].report[0]))}
    assert here == pytest.approx(expected, rel=1e-4)
