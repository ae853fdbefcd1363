"""Every kind of result, of each vendor's images, in three character sets: independent judges find no error.

What single kinds hold, and which warnings are justified, is tested beside this; here it is that none is left out.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.coding import Code

from dicom_node.contract import DerivedImages, Findings, ProbabilityMap
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.results import build, check, encode
from dicom_node.settings import ResultKind
from tests.acceptance.test_report_validators import JAPANESE, LATIN, NAMES, UTF_8, key, placed
from tests.acceptance.validators import dcentvfy, dciodvfy, pixelmed_sr, source_beyond
from tests.report_cases import all_sorts
from tests.results_cases import ROLE, profile, run_context

KINDS = tuple(ResultKind)
PROBABILITY = Code("129000", "DCM", "Probability")
NO_UNITS = Code("1", "UCUM", "no units")
SMOOTHING = Code("113087", "DCM", "Smoothing")
ENHANCED = "5_anat-T1w_acq-tfl.dcm"
#: Who made the images -> folder below the shared data, and the files of one series there.
SOURCES = {
    "Siemens": ("t1-siemens-prisma", "**/*"),
    "Siemens, Enhanced MR": ("t1-enhanced-multiframe-xa30", ENHANCED),
    "Siemens, thick slices": ("t1-patient-positions", "HFS/**/*"),
    "Philips": ("t1-philips-elition", "**/*"),
    "nifti2dicom": ("t1-nifti2dicom-defaced", "**/*"),
}
CHARACTER_SETS = {"Latin-1": LATIN, "UTF-8": UTF_8, "Japanese": JAPANESE}
CASES = [(vendor, name) for vendor in SOURCES for name in CHARACTER_SETS]


@dataclass(frozen=True)
class Made:
    """Headers of the source, with another name and character set, and the results, by kind."""

    source: SourceSeries
    images: list[Path]
    results: dict[str, list[Path]]

    @property
    def paths(self) -> list[Path]:
        """Every result."""
        return [path for paths in self.results.values() for path in paths]


def _findings(source: SourceSeries) -> Findings:
    """Return findings that every kind of result has something to show of."""
    voxels = source.volume.array
    chances = (voxels / max(float(voxels.max()), 1.0)).astype(np.float32)
    return replace(
        placed(all_sorts(), source),
        maps=(ProbabilityMap("Lesion probability", chances, PROBABILITY, NO_UNITS),),
        images=(DerivedImages("Smooth", np.rint(voxels * 0.9).astype(np.float32), "Smoothed.", SMOOTHING),),
    )


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case).replace(" ", "-"))
def made(
    request: pytest.FixtureRequest,
    shared_data: Path,
    unpacked: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Results of every kind, through the gate, as files."""
    vendor, character_set = request.param
    folder, files = SOURCES[vendor]
    root = shared_data / folder if files == ENHANCED else unpacked(folder)
    source = read_series(sorted(path for path in root.glob(files) if path.is_file()))
    for image in source.datasets:
        image.SpecificCharacterSet = CHARACTER_SETS[character_set]
        image.PatientName = NAMES[key(CHARACTER_SETS[character_set])]
    objects = build(_findings(source), {ROLE: source}, run_context(profile=profile(kinds=KINDS)))
    check(objects, {ROLE: source})
    here = tmp_path_factory.mktemp("every-kind")
    results: dict[str, list[Path]] = {}
    for each in objects:
        path = here / f"{each.name}.dcm"
        path.write_bytes(encode(each))
        results.setdefault(each.kind, []).append(path)
    images = []
    for number, image in enumerate(source.datasets):
        images.append(here / f"source-{number:04}.dcm")
        image.save_as(images[-1], enforce_file_format=True)
    return Made(source, images, results)


def test_every_kind_is_made(made: Made) -> None:
    """Nothing passes the judges because it is not there."""
    assert set(made.results) == set(KINDS)


def test_dciodvfy_finds_no_error(made: Made) -> None:
    """By its IOD none has an error that its source does not have; of a series of images the first is asked."""
    blamed = dciodvfy(made.images[0])
    for kind, paths in made.results.items():
        for path in paths[:1] if kind == ResultKind.IMAGES else paths:
            assert (kind, source_beyond(dciodvfy(path), [blamed]).errors) == (kind, [])


def test_dcentvfy_finds_no_error(made: Made) -> None:
    """Source and results are of one patient and study, and every reference of ours resolves."""
    together = dcentvfy([*made.images, *made.paths])
    assert source_beyond(together, [dcentvfy(made.images)]).errors == []


def test_pixelmed_finds_no_error(made: Made) -> None:
    """The report is by TID 1500, the key object selection by TID 2010."""
    asked = [made.results[kind][0] for kind in (ResultKind.REPORT, ResultKind.KEY_OBJECTS)]
    with ThreadPoolExecutor() as pool:
        assert [messages.errors for messages in pool.map(pixelmed_sr, asked)] == [[], []]


def test_the_patient_is_the_same_everywhere(made: Made) -> None:
    """In every kind the name reads as in the source, whatever its character set."""
    image = made.source.datasets[0]
    names = {str(dcmread(path, stop_before_pixels=True).PatientName) for path in made.paths}
    assert names == {str(image.PatientName)}
