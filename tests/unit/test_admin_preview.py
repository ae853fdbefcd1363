"""Slices, marks and measured values of a real job, as the pages and the API show them."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from bench.peers import PLUGIN
from dicom_node import task
from dicom_node.admin.headers import full_header, wanted
from dicom_node.admin.preview import colours
from dicom_node.ledger import AccountRole
from dicom_node.study_folder import one_study
from tests.admin_cases import Bench, bench
from tests.ledger_cases import NOW, arrive, complete, new_job
from tests.results_cases import profile
from tests.study_cases import PATIENT, write_study

_SLICES = 6
#: Slices, counted from the feet, without a box.
_DARK = (0, 1)


def _file(index: int) -> int:
    """Return which slice from the feet is shown at an index: the head comes first."""
    return _SLICES - 1 - index


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Give an office whose node has run a job on six slices, in which a box is bright."""
    pipeline, segmentation = getattr(request, "param", ("bright_voxels", "binary"))
    monkeypatch.syspath_prepend(str(PLUGIN))
    write_study(tmp_path / "images", slices=_SLICES)
    for number in _DARK:
        path = tmp_path / "images" / f"{number:04}.dcm"
        image = dcmread(path)
        image.PixelData = np.full((24, 24), number, np.uint16).tobytes()
        image.save_as(path)
    study = one_study(tmp_path / "images")
    images = tuple(study.instances.values())
    with bench(tmp_path) as made:
        ledger, store = made.ledger, made.office.store
        arrive(ledger, *images)
        revision = complete(ledger, images[0].study_instance_uid)
        (number,) = ledger.studies.record_verdicts(revision, "[]", ("digest", 1), [new_job()], NOW)
        (job,) = ledger.jobs.claim("node1", NOW, NOW + 60, 1)
        product = task.Product(profile(segmentation=segmentation), ("pacs",))
        order = task.Order(f"J{number}", pipeline, {}, {"t1": images}, NOW, store, "node1", (product,), device="cpu")
        answer = task.perform(order, lambda _share, _step: None)
        assert answer.failure is None
        assert ledger.jobs.finish(job, answer.made, {}, NOW, NOW, effort=answer.effort())
        yield made
    task._WARM.clear()
    sys.modules.pop("bench_pipelines", None)


def _series(desk: Bench) -> str:
    file = next((desk.office.settings.node.data / "images").iterdir())
    return str(dcmread(file, stop_before_pixels=True).SeriesInstanceUID)


def _picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_marks_lie_on_what_was_marked(desk: Bench) -> None:
    """In each slice with a box the marks cover it and nothing else, their border opaque; in the others are none."""
    viewer, base = desk.program(AccountRole.VIEWER), _base(desk)
    extent = viewer.get(f"{base}/preview?job=1").json()
    assert (extent["slices"], extent["segments"]) == (_SLICES, ["Bright"])
    box = np.zeros((24, 24), bool)
    box[6:14, 8:18] = True
    for index in range(_SLICES):
        marks = _picture(viewer.get(f"{base}/marks.png?job=1&index={index}").content)
        if _file(index) in _DARK:
            assert not marks.any()
            continue
        assert ((marks[..., 3] > 0) == box).all()
        assert (marks[7:13, 9:17, 3] < 255).all()
        assert (marks[6, 8:18, 3] == 255).all()


def test_slices_are_shown_in_order_and_in_a_window(desk: Bench) -> None:
    """Each slice is the image at that position; a narrow window makes everything white or black."""
    viewer, base = desk.program(AccountRole.VIEWER), _base(desk)
    folder = desk.office.settings.node.data / "images"
    for index in (0, _SLICES - 1):
        stored = dcmread(folder / f"{_file(index):04}.dcm").pixel_array.astype(float)
        shown = _picture(viewer.get(f"{base}/slice.png?index={index}&centre=50&width=100").content)
        assert np.abs(shown - np.clip(stored / 100, 0, 1) * 255).max() <= 1
    hard = _picture(viewer.get(f"{base}/slice.png?index=1&centre=800&width=1").content)
    assert set(np.unique(hard)) == {0, 255}
    assert viewer.get(f"{base}/slice.png?index={_SLICES}").status_code == 404
    assert viewer.get(f"{base}/slice.png?index=-1").status_code == 422


def test_a_thumbnail_shows_an_image_of_the_middle(desk: Bench) -> None:
    """Small, and that it was looked at is recorded; where there is no series, or no pixels, there is none."""
    viewer, base = desk.program(AccountRole.VIEWER), _base(desk)
    small = _picture(viewer.get(f"{base}/thumbnail.png").content)
    assert max(small.shape) <= 96
    assert small[6:14, 8:18].min() > small[:4].max()
    assert desk.ledger.trail.page()[1][0].action == "view images"
    assert viewer.get(f"{base[:-9]}/thumbnail.png").status_code == 404
    files = sorted((desk.office.settings.node.data / "images").iterdir())
    for file in files:
        image = dcmread(file)
        del image.PixelData
        image.save_as(file)
    assert viewer.get(f"{base}/thumbnail.png").status_code == 409


def test_measured_values_are_those_of_the_report(desk: Bench) -> None:
    """The volume of the box: 8 x 10 pixels of 1 mm, four slices of 2 mm."""
    (job,) = desk.ledger.jobs.latest(1)
    told = desk.program(AccountRole.VIEWER).get(f"/api/studies/{job.study_instance_uid}/measurements").json()
    assert ("Volume", 0.64, "ml") in [(each["name"], float(each["value"]), each["unit"]) for each in told]
    assert {act.action for act in desk.ledger.trail.page()[1]} >= {"view measurements"}


@pytest.mark.parametrize("desk", [("seven_parts", "binary"), ("seven_parts", "labelmap")], indirect=True)
def test_several_segments_have_their_own_names_and_colours(desk: Bench) -> None:
    """Seven parts side by side: each is drawn in the colour that the legend gives its name, no colour twice.

    The background of a label map is no part (PS3.3 C.8.20.2.3).
    """
    viewer, base = desk.program(AccountRole.VIEWER), _base(desk)
    labels = viewer.get(f"{base}/preview?job=1").json()["segments"]
    legend = colours(len(labels))
    assert labels == [f"Part {number}" for number in range(1, 8)]
    assert len(set(legend)) == 7
    marks = _picture(viewer.get(f"{base}/marks.png?job=1&index=2").content)
    for number, colour in enumerate(legend):
        middle = marks[12, 3 * number + 1]
        assert "#{:02x}{:02x}{:02x}".format(*middle[:3]) == colour
    told = viewer.get(f"{base.split('/series')[0]}/measurements").json()
    assert [each["what"] for each in told if each["unit"] == "ml"] == labels


def test_what_was_looked_at_is_let_go(desk: Bench) -> None:
    """A decoded series and where its marks lie, ten minutes after the last look; until then they are kept."""
    viewer, base, previews = desk.program(AccountRole.VIEWER), _base(desk), desk.office.previews
    assert viewer.get(f"{base}/marks.png?job=1&index=2").status_code == 200
    frames = _SLICES - len(_DARK)
    assert previews.nbytes == _SLICES * 24 * 24 * 4 + frames * 3 * 4
    desk.clock.now += 599
    previews.forget_old()
    assert previews.nbytes > 0
    desk.clock.now += 2
    previews.forget_old()
    assert previews.nbytes == 0
    assert viewer.get(f"{base}/marks.png?job=1&index=2").status_code == 200


def test_late_images_are_seen_beside_the_marks_of_before(desk: Bench, tmp_path: Path) -> None:
    """A series that grew is shown with all its slices, and what was marked stays on those it was marked on."""
    viewer, base = desk.program(AccountRole.VIEWER), _base(desk)
    assert viewer.get(f"{base}/preview?job=1").json()["slices"] == _SLICES
    (job,) = desk.ledger.jobs.latest(1)
    before = [_picture(viewer.get(f"{base}/marks.png?job=1&index={index}").content) for index in range(_SLICES)]
    first = dcmread(tmp_path / "images" / "0000.dcm")
    late = _SLICES  # above the head of those before
    write_study(tmp_path / "late", study=job.study_instance_uid, numbers=(late,))
    path = tmp_path / "late" / f"{late:04}.dcm"
    image = dcmread(path)
    image.SeriesInstanceUID, image.FrameOfReferenceUID = first.SeriesInstanceUID, first.FrameOfReferenceUID
    image.save_as(path)
    arrive(desk.ledger, *one_study(tmp_path / "late").instances.values(), at=NOW + 60)
    assert viewer.get(f"{base}/preview?job=1").json()["slices"] == _SLICES + 1
    assert not _picture(viewer.get(f"{base}/marks.png?job=1&index=0").content).any()
    for index, marks in enumerate(before):
        assert (_picture(viewer.get(f"{base}/marks.png?job=1&index={index + 1}").content) == marks).all()


def test_whole_headers_of_images_and_results(desk: Bench) -> None:
    """Every attribute as it lies in the store, sequences set in; a look at them is recorded."""
    viewer = desk.program(AccountRole.VIEWER)
    (job,) = desk.ledger.jobs.latest(1)
    base = f"/api/studies/{job.study_instance_uid}/instances"
    seg, sr = desk.ledger.jobs.results(job.id)
    lines = viewer.get(f"{base}/{seg.sop_instance_uid}/full-header").json()
    told = {line["name"]: line for line in lines if line["depth"] == 0}
    assert told["SOPClassUID"]["value"].endswith("(Segmentation Storage)")
    assert (told["PatientName"]["tag"], told["PatientName"]["value"]) == ("(0010,0010)", PATIENT[0])
    label = next(line for line in lines if line["name"] == "SegmentLabel")
    assert (label["depth"], label["value"]) == (1, "Bright")
    assert "PixelData" not in told
    assert "NumericValue" in [line["name"] for line in viewer.get(f"{base}/{sr.sop_instance_uid}/full-header").json()]
    image = dcmread(next((desk.office.settings.node.data / "images").iterdir()), stop_before_pixels=True)
    source = viewer.get(f"{base}/{image.SOPInstanceUID}/full-header").json()
    assert ("Rows", "24") in [(line["name"], line["value"]) for line in source]
    assert viewer.get(f"{base}/1.2.3.4/full-header").status_code == 404
    assert desk.ledger.trail.page()[1][0].action == "view header"


def test_a_header_is_searched_with_what_it_lies_in(desk: Bench) -> None:
    """A found attribute keeps the sequence and the item around it, each once."""
    (job,) = desk.ledger.jobs.latest(1)
    seg, _ = desk.ledger.jobs.results(job.id)
    engine, store = desk.ledger.engine, desk.office.store
    lines = full_header(engine, store, job.study_instance_uid, seg.sop_instance_uid)
    assert lines is not None
    found = wanted(lines, "segmentlabel bright")
    assert [(line.depth, line.name) for line in found] == [
        (0, "SegmentSequence"),
        (1, "Item 1 of 1"),
        (1, "SegmentLabel"),
    ]
    assert wanted(lines, "") == lines
    assert wanted(lines, "no such thing") == ()


def test_the_log_and_the_resources_of_a_job_are_told(desk: Bench) -> None:
    """By the API with a line in the trail; in the story, too."""
    viewer = desk.program(AccountRole.VIEWER)
    (run,) = viewer.get("/api/jobs/1/runs").json()
    assert run["outcome"] == "done"
    assert any("thresholding" in line for line in run["effort"]["log"])
    assert run["effort"]["resources"]["peak_memory_mib"] > 10
    assert set(run["effort"]["seconds"]) == {"load", "model", "run", "build", "store"}
    assert desk.ledger.trail.page()[1][0].action == "view job log"
    (job,) = desk.ledger.jobs.latest(1)
    story = viewer.get(f"/api/studies/{job.study_instance_uid}").json()
    assert story["runs"] == {"1": [run]}
    assert viewer.get("/api/jobs/99/runs").status_code == 404


def _base(desk: Bench) -> str:
    (job,) = desk.ledger.jobs.latest(1)
    return f"/api/studies/{job.study_instance_uid}/series/{_series(desk)}"
