"""Independent judges find no fault in reports of every form, on real images, in three character sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.contract import Findings
from dicom_node.geometry import SourceSeries, read_series
from dicom_node.results import BuiltObject, NotRun, build, build_notice, check, check_notice, encode, headers_only
from dicom_node.settings import NoticeKind, ResultKind, ResultProfile
from tests.acceptance.validators import (
    Messages,
    dcentvfy,
    dciodvfy,
    measured,
    pixelmed_sr,
    source_beyond,
    tid1500,
)
from tests.report_cases import (
    IN_WORDS,
    NO_SEG,
    PREDECESSOR,
    all_sorts,
    comments,
    conclusions,
    groups,
    only_answers,
    only_places,
)
from tests.results_cases import ALGORITHM, ROLE, profile, run_context

CLASSIC, ENHANCED = "t1-siemens-prisma", "t1-enhanced-multiframe-xa30"
LATIN, UTF_8, JAPANESE = "ISO_IR 100", "ISO_IR 192", ["", "ISO 2022 IR 87"]
NAMES = {LATIN: "Müller^Jörg", UTF_8: "Мюллер^Йорг", "": "Yamada^Tarou=山田^太郎"}
REMARKS = {LATIN: "Größe geprüft.", UTF_8: "Проверено.", "": "海馬を測定しました。"}


@dataclass(frozen=True)
class Case:
    """One form of report on one kind of source."""

    source: str
    found: Callable[[], Findings] | None
    profile: ResultProfile
    character_set: str | Sequence[str]
    template: str


@dataclass(frozen=True)
class Made:
    """What came of a case, as files; `images` are headers of the source without pixels."""

    case: Case
    findings: Findings | None
    images: list[Path]
    results: dict[str, Path]

    @property
    def report(self) -> Path:
        return self.results[ResultKind.REPORT]


CASES = {
    "all-sorts-with-seg": Case(CLASSIC, all_sorts, profile(), JAPANESE, "1500"),
    "all-sorts-without-seg": Case(ENHANCED, all_sorts, NO_SEG, UTF_8, "1500"),
    "all-sorts-in-words": Case(ENHANCED, all_sorts, IN_WORDS, JAPANESE, "2000"),
    "one-place": Case(ENHANCED, only_places, profile(), LATIN, "1500"),
    "answers-only": Case(CLASSIC, only_answers, profile(), LATIN, "1500"),
    "not-run": Case(CLASSIC, None, profile(not_run=NoticeKind.REPORT), UTF_8, "2000"),
}


def placed(findings: Findings, source: SourceSeries) -> Findings:
    """Return findings with their masks and points on a real grid, and a remark in the language of the name."""
    shape = source.volume.spatial_shape
    masks = [np.zeros(shape, dtype=bool) for _ in findings.segments]
    for number, mask in enumerate(masks):
        low = [size // 3 + 4 * number for size in shape]
        mask[low[0] : low[0] + 9, low[1] : low[1] + 30, low[2] : low[2] + 20] = True
        mask[low[0] : low[0] + 3, low[1] : low[1] + 8, low[2] : low[2] + 8] = False
    return replace(
        findings,
        segments=tuple(replace(each, mask=mask) for each, mask in zip(findings.segments, masks, strict=True)),
        locations=tuple(replace(each, point=tuple(size * 0.4 for size in shape)) for each in findings.locations),
        remarks=(REMARKS[key(source.datasets[0].SpecificCharacterSet)],),
    )


def key(character_set: str | Sequence[str]) -> str:
    return character_set if isinstance(character_set, str) else ""


def source_of(case: Case, shared_data: Path, unpacked: Callable[[str], Path]) -> SourceSeries:
    """Return real images, with another name and character set."""
    if case.source == ENHANCED:
        files = [shared_data / ENHANCED / "5_anat-T1w_acq-tfl.dcm"]
    else:
        files = sorted(path for path in unpacked(case.source).rglob("*") if path.is_file())
    source = read_series(files)
    for image in source.datasets:
        image.SpecificCharacterSet = case.character_set
        image.PatientName = NAMES[key(case.character_set)]
    return source


def objects_of(case: Case, findings: Findings | None, source: SourceSeries) -> tuple[BuiltObject, ...]:
    """Build a case's objects, and pass them through the gate."""
    earlier = replace(PREDECESSOR, study_instance_uid=source.datasets[0].StudyInstanceUID)
    run = run_context(profile=case.profile, predecessor=earlier)
    if findings is None:
        notice = NotRun("too few slices", {ROLE: headers_only(source.datasets)}, ALGORITHM, run)
        objects = build_notice(notice)
        check_notice(objects, notice.headers)
    else:
        objects = build(findings, {ROLE: source}, run)
        check(objects, {ROLE: source})
    return objects


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def made(
    request: pytest.FixtureRequest,
    shared_data: Path,
    unpacked: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """The objects of one case, through the gate, as files beside their source's headers."""
    case: Case = request.param
    source = source_of(case, shared_data, unpacked)
    findings = None if case.found is None else placed(case.found(), source)
    folder = tmp_path_factory.mktemp("reports")
    results = {}
    for each in objects_of(case, findings, source):
        results[each.kind] = folder / f"{each.kind}.dcm"
        results[each.kind].write_bytes(encode(each))
    images = []
    for number, image in enumerate(source.datasets):
        images.append(folder / f"image{number}.dcm")
        image.save_as(images[-1], enforce_file_format=True)
    return Made(case, findings, images, results)


def test_dciodvfy_has_nothing_to_add_to_what_it_says_of_the_source(made: Made) -> None:
    """The report is valid by its IOD: no error and no warning that the source does not have too."""
    assert source_beyond(dciodvfy(made.report), [dciodvfy(made.images[0])]) == Messages([], [])


def test_dcentvfy_finds_the_set_consistent(made: Made) -> None:
    """Source and results are one patient and study, and every reference of ours resolves but the predecessor's."""
    of_source = dcentvfy(made.images)
    together = dcentvfy([*made.images, *made.results.values()])
    errors = source_beyond(together, [of_source]).errors
    assert [line for line in errors if PREDECESSOR.sop_instance_uid not in line] == []


def test_pixelmed_finds_no_error(made: Made) -> None:
    """The judge of IHE AI Results accepts the report by the template that it claims."""
    assert dcmread(made.report).ContentTemplateSequence[0].TemplateIdentifier == made.case.template
    assert pixelmed_sr(made.report).errors == []


def test_names_and_sentences_survive_in_every_character_set(made: Made) -> None:
    """What is read back is the patient's name as the source has it, and what was said, letter by letter."""
    report, image = dcmread(made.report), dcmread(made.images[0])
    assert report.SpecificCharacterSet == image.SpecificCharacterSet
    assert str(report.PatientName) == str(image.PatientName) == NAMES[key(made.case.character_set)]
    if made.findings is not None:
        (remark,) = made.findings.remarks
        assert remark in comments(report) + conclusions(report)


def test_dcmqi_reads_every_number(made: Made, tmp_path: Path) -> None:
    """`tid1500reader` reads each number that has a place in the images, with a SEG or without, as it was measured."""
    if made.case.template == "2000":
        assert groups(dcmread(made.report)) == []
        return
    assert made.findings is not None
    values = measured(tid1500(made.report, tmp_path))
    labels = {each.label for each in made.findings.segments} | {""}
    for item in made.findings.measurements:
        if item.segment in labels:
            label = item.segment or "Images as a whole"
            assert values[label, item.name.meaning, item.unit.value] == pytest.approx(item.value)
    for place in made.findings.locations:
        assert values[place.label, "Probability", "%"] == pytest.approx(87)


@pytest.mark.parametrize("made", [CASES["one-place"]], indirect=True)
def test_judges_do_complain(made: Made, tmp_path: Path) -> None:
    """A group without its region, and a predecessor of no study, are blamed: the silence above means something."""
    broken = dcmread(made.report)
    for group in groups(broken):
        group.ContentSequence = [item for item in group.ContentSequence if item.ValueType != "SCOORD"]
        group.ContentSequence[0].RelationshipType = "HAS PROPERTIES"
    del broken.PredecessorDocumentsSequence[0].StudyInstanceUID
    broken.save_as(tmp_path / "broken.dcm")
    assert any("StudyInstanceUID" in line for line in dciodvfy(tmp_path / "broken.dcm").errors)
    assert pixelmed_sr(tmp_path / "broken.dcm").errors != []
