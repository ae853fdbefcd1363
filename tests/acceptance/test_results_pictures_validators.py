"""Independent judges find no fault in SC, PDF, KO and PR made from real scanner data, and read what they hold."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.coding import Code

from dicom_node.contract import Classification, Findings, Location, ReferenceRange
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.results import BuiltObject, build, check, encode
from tests.acceptance.test_results_validators import found_in, source_files
from tests.acceptance.validators import Messages, dcentvfy, dciodvfy, pixelmed_sr, source_beyond
from tests.picture_cases import KINDS, page_texts, pdf_of
from tests.results_cases import ROLE, VOLUME, profile, run_context

FINDING = Code("404684003", "SCT", "Clinical finding")
LESION = Code("52988006", "SCT", "Lesion")
SEVERITY = Code("246112005", "SCT", "Severity")
MILD = Code("255604002", "SCT", "Mild")


@dataclass(frozen=True)
class Made:
    """One source series and the files that were made from it, by the name of each object."""

    files: list[Path]
    source: SourceSeries
    findings: Findings
    objects: tuple[BuiltObject, ...]
    results: dict[str, Path]


def with_more(findings: Findings, source: SourceSeries) -> Findings:
    """Return findings with a place, an answer and a reference range for what was measured."""
    if not findings.segments:
        return findings
    label = findings.segments[0].label
    centre = tuple(float(size // 2) for size in source.volume.spatial_shape)
    return replace(
        findings,
        locations=(Location("Place", (centre[0], centre[1], centre[2]), FINDING, LESION, probability=0.75),),
        classifications=(Classification(SEVERITY, MILD, 0.9, label),),
        ranges=(ReferenceRange(VOLUME, label, 1000, 1500, "nobody, for a test"),),
    )


CASES = [
    ("t1-siemens-prisma", "one", "en"),
    ("t1-siemens-prisma", "none", "de"),
    ("t1-enhanced-multiframe-xa30", "two", "de"),
    ("t1-enhanced-multiframe-xa30", "none", "en"),
    ("t1-philips-elition", "one slice", "en"),
    ("t1-nifti2dicom-defaced", "two", "en"),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case).replace(" ", "-"))
def made(
    request: pytest.FixtureRequest,
    shared_data: Path,
    unpacked: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Results of one real series, through the gate, as files."""
    name, kind, language = request.param
    files = source_files(name, shared_data, unpacked)
    source = read_series(files)
    findings = with_more(found_in(source, kind), source)
    objects = build(findings, {ROLE: source}, run_context(profile=profile(kinds=KINDS, language=language)))
    check(objects, {ROLE: source})
    folder = tmp_path_factory.mktemp("results")
    results = {each.name: folder / f"{each.name}.dcm" for each in objects}
    for each in objects:
        results[each.name].write_bytes(encode(each))
    return Made(files, source, findings, objects, results)


def test_dciodvfy_has_nothing_to_add_to_what_it_says_of_the_source(made: Made) -> None:
    """Each object is valid by its IOD: no error and no warning that the source does not have too."""
    blamed = dciodvfy(made.files[0])
    said = {name: source_beyond(dciodvfy(path), [blamed]) for name, path in made.results.items()}
    assert said == dict.fromkeys(made.results, Messages([], []))


def test_dcentvfy_finds_the_set_consistent(made: Made) -> None:
    """Source and results are one patient and study, and every reference of ours resolves."""
    of_source = dcentvfy(made.files)
    together = dcentvfy([*made.files, *made.results.values()])
    assert source_beyond(together, [of_source]).errors == []


def test_pixelmed_finds_no_error_in_the_selection(made: Made) -> None:
    """The key object selection is by template 2010."""
    if "ko" not in made.results:
        assert made.findings.segments == ()
        return
    assert pixelmed_sr(made.results["ko"]).errors == []


def test_pdfium_reads_the_page(made: Made) -> None:
    """One page, with every value of ours in text that can be searched, and whose it is."""
    dataset = dcmread(made.results["pdf"])
    (text,) = page_texts(pdf_of(dataset))
    said = text.replace(",", ".")
    for item in made.findings.measurements:
        assert f"{item.value:.1f}" in said or f"{item.value:.3g}" in said
    assert str(dataset.PatientID) in text
    assert all(remark in text for remark in made.findings.remarks)


def test_the_pictures_are_drawn(made: Made) -> None:
    """One for each of at most six slices, in the source's grey values; one in words where nothing was found."""
    shown = [dcmread(path) for name, path in made.results.items() if name.startswith("sc")]
    slices = [picture for picture in shown if "PixelSpacing" in picture]
    assert (not slices and len(shown) == 1) or (made.findings.segments and 1 <= len(slices) == len(shown) <= 6)
    for picture in slices:
        grey = picture.pixel_array[60:690, 14:640].max(axis=2)
        assert 10 < float(np.mean(grey)) < 200
        assert float(np.std(grey)) > 20
