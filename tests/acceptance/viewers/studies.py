"""The studies that the viewer is shown: real images, and what the profile `ohif` makes of findings on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code

from dicom_node.contract import DerivedImages, Findings, Measurement, ProbabilityMap, Segment
from dicom_node.entities import JobKey
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.results import BuiltObject, NotRun, build, build_notice, check, check_notice, encode, headers_only
from dicom_node.settings import NoticeKind, ResultKind
from dicom_node.settings.profiles import READY
from tests.results_cases import ALGORITHM, ANATOMY, BRAIN, ML, ROLE, VOLUME, run_context

#: Name in the tests -> data set and, for one file of it, which.
STUDIES: Final = {
    "classic": ("t1-siemens-prisma", None),
    "enhanced": ("t1-enhanced-multiframe-xa30", "5_anat-T1w_acq-tfl.dcm"),
}
REFUSAL: Final = "slices are missing: send them again"
TITLE: Final = "Brain extraction"
_PROBABILITY: Final = Code("129000", "DCM", "Probability")
_NO_UNITS: Final = Code("1", "UCUM", "no units")
_SMOOTHING: Final = Code("113087", "DCM", "Smoothing")


@dataclass(frozen=True)
class Shown:
    """One study with its results.

    Parameters
    ----------
    folder : Path
        Every file of it, images and results.
    results : tuple of BuiltObject
        The notice of a refused pipeline is the last of them.
    """

    name: str
    folder: Path
    source: SourceSeries
    findings: Findings
    results: tuple[BuiltObject, ...]
    notice: BuiltObject

    @property
    def study_instance_uid(self) -> str:
        """Return the Study Instance UID (0020,000D)."""
        return self.notice.study_instance_uid

    @property
    def source_series(self) -> str:
        """Return the Series Instance UID (0020,000E) of the images."""
        return str(self.source.datasets[0].SeriesInstanceUID)

    def of_kind(self, kind: ResultKind) -> tuple[BuiltObject, ...]:
        """Return the results of one kind."""
        return tuple(each for each in self.results if each.kind is kind)

    def only(self, kind: ResultKind) -> BuiltObject:
        """Return the one result of a kind."""
        (result,) = self.of_kind(kind)
        return result

    def image(self, index: int) -> str:
        """Return how the address of a slice of the source ends in DICOMweb: SOP Instance UID and frame."""
        frame = self.source.frames[index]
        return f"/instances/{self.source.datasets[frame.dataset].SOPInstanceUID}/frames/{frame.frame}"

    def middle(self, index: int) -> NDArray[np.float64]:
        """Return the middle of a slice (LPS mm)."""
        rows, columns = self.source.volume.spatial_shape[1:]
        return np.asarray(self.source.volume.affine @ (index, rows / 2, columns / 2, 1))[:3]

    @property
    def anywhere(self) -> NDArray[np.bool_]:
        """Return True where any segment is."""
        return np.any([each.mask for each in self.findings.segments], axis=0)


def shown_study(name: str, shared_data: Path, unpacked: Callable[[str], Path], folder: Path) -> Shown:
    """Return a study whose files lie in a folder: source images, every result of the profile `ohif`, and a notice."""
    data, file = STUDIES[name]
    files = [shared_data / data / file] if file else sorted(p for p in unpacked(data).rglob("*") if p.is_file())
    source = read_series(files)
    findings = found_in(source)
    results, notice = _results(name, source, findings)
    for number, path in enumerate(files):
        (folder / f"image{number}.dcm").symlink_to(path)
    for each in results:
        (folder / f"{each.name}.dcm").write_bytes(encode(each))
    (folder / "notice.dcm").write_bytes(encode(notice))
    return Shown(name, folder, source, findings, results, notice)


def _results(name: str, source: SourceSeries, findings: Findings) -> tuple[tuple[BuiltObject, ...], BuiltObject]:
    run = run_context(key=JobKey(((name, "00"),), "example", "1.0", "ab", "0.1"), profile=READY["ohif"])
    results = build(findings, {ROLE: source}, run)
    check(results, {ROLE: source})
    other = run_context(
        key=JobKey(((name, "01"),), "other", "1.0", "ab", "0.1"),
        profile=READY["ohif"].model_copy(update={"not_run": NoticeKind.REPORT}),
        pipeline_title="Another pipeline",
    )
    case = NotRun(REFUSAL, {ROLE: headers_only(source.datasets)}, ALGORITHM, other)
    (notice,) = build_notice(case)
    check_notice((notice,), case.headers)
    return results, notice


def found_in(source: SourceSeries) -> Findings:
    """Return three segments with ragged edges (one within another, one apart), their volumes, a map and images."""
    voxels = source.volume.array
    tissue = voxels > np.quantile(voxels, 0.55)
    masks = {
        "Brain": _ellipsoid(voxels.shape, (0.5, 0.42, 0.42), (0.3, 0.28, 0.32)) & tissue,
        "Lesion": _ellipsoid(voxels.shape, (0.42, 0.36, 0.6), (0.08, 0.07, 0.09)),
        "Neck": _ellipsoid(voxels.shape, (0.55, 0.82, 0.45), (0.2, 0.1, 0.15)) & tissue,
    }
    colours = {"Brain": (60.0, 45.0, 35.0), "Lesion": (85.0, -60.0, 60.0), "Neck": (50.0, 10.0, -45.0)}
    segments = tuple(Segment(label, mask, ANATOMY, BRAIN, colours[label]) for label, mask in masks.items())
    voxel_ml = float(abs(np.linalg.det(source.volume.affine[:3, :3]))) / 1000
    volumes = tuple(
        Measurement(VOLUME, round(float(each.mask.sum()) * voxel_ml, 2), ML, each.label) for each in segments
    )
    inside = _depth(voxels.shape, (0.42, 0.36, 0.6), (0.3, 0.25, 0.3))
    return Findings(
        ROLE,
        ALGORITHM,
        segments=segments,
        measurements=volumes,
        remarks=("Checked.",),
        maps=(ProbabilityMap("Lesion probability", inside, _PROBABILITY, _NO_UNITS),),
        images=(DerivedImages("Smooth", (voxels * 0.9).astype(np.float32), "Smoothed.", _SMOOTHING),),
    )


def _ellipsoid(shape: tuple[int, ...], centre: Sequence[float], radius: Sequence[float]) -> NDArray[np.bool_]:
    return _depth(shape, centre, radius) > 0


def _depth(shape: tuple[int, ...], centre: Sequence[float], radius: Sequence[float]) -> NDArray[np.float32]:
    """Return 1 at the centre of an ellipsoid, falling to 0 at its surface and outside; in parts of the shape."""
    axes = np.ogrid[tuple(slice(size) for size in shape)]
    parts = zip(axes, shape, centre, radius, strict=True)
    distance = sum(((axis - size * middle) / (size * extent)) ** 2 for axis, size, middle, extent in parts)
    return np.clip(1 - distance, 0, None).astype(np.float32)
