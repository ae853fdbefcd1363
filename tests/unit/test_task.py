"""One job's work: objects that are the same if it is done again, and every failure an answer."""

import gc
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node import catalogue, task
from dicom_node.errors import (
    Failure,
    GeometryUnusable,
    PipelineFailed,
    PipelineRefused,
    PipelineUnknown,
    SettingsInvalid,
)
from dicom_node.instance_store import InstanceStore
from dicom_node.results import Predecessor
from dicom_node.settings import NoticeKind, ResultKind
from dicom_node.study_folder import one_study
from tests.results_cases import profile
from tests.study_cases import write_study
from tests.task_cases import order_for

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def order(tmp_path: Path) -> task.Order:
    """Give an order for six good slices."""
    return order_for(tmp_path)


def _silent(_share: float, _step: str) -> None:
    return


def _failed(order: task.Order) -> Failure:
    answer = task.perform(order, _silent)
    assert answer.made == ()
    assert answer.failure is not None
    return answer.failure


def test_a_job_stores_a_seg_and_an_sr(order: task.Order) -> None:
    """The objects lie in the store under the job's name, whole, and the answer says where."""
    said: list[tuple[float, str]] = []
    answer = task.perform(order, lambda share, step: said.append((share, step)))
    assert answer.failure is None
    assert [(made.kind, made.path) for made in answer.made] == [
        ("SEG", "results/J1/seg.dcm"),
        ("SR", "results/J1/sr.dcm"),
    ]
    for made in answer.made:
        data = (order.store / made.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == made.sha256
        assert dcmread(order.store / made.path).SOPInstanceUID == made.sop_instance_uid
    assert set(answer.seconds) == {"load", "model", "run", "build", "store"}
    assert [name for name, _, unit in answer.measured if unit == "ml"] == ["Volume"]
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_done_again_is_the_same_to_the_byte(order: task.Order) -> None:
    """Same inputs, same order, another store: same UIDs and same bytes, whatever order the instances come in."""
    first = task.perform(order, _silent).made
    other = order.store.parent / "other"
    InstanceStore(other, free_space_floor=0)
    turned = {role: tuple(reversed(refs)) for role, refs in order.inputs.items()}
    assert task.perform(replace(order, store=other, inputs=turned), _silent).made == first


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"factor": 2.0}},
        {"products": (task.Product(profile(notice="Changed.")),)},
        {"node_name": "node2"},
    ],
    ids=["setting", "notice", "node"],
)
def test_what_changes_the_bytes_changes_the_uids(order: task.Order, changes: dict[str, object]) -> None:
    """A UID never stands for two contents."""
    first = task.perform(order, _silent).made
    second = task.perform(replace(order, name="J2", **changes), _silent).made
    assert not {made.sop_instance_uid for made in first} & {made.sop_instance_uid for made in second}


def test_series_with_exchanged_roles_have_other_uids(order: task.Order) -> None:
    """The same images, the one where the other was: other findings, so other objects."""
    (pipeline, weights), refs = task._warm(order.pipeline, "cpu"), order.inputs["t1"]
    uids = {
        task._context(replace(order, inputs=inputs), order.products[0], pipeline, weights, {}).key.uid("seg")
        for inputs in (
            {"t1": refs[:3], "flair": refs[3:]},
            {"flair": refs[3:], "t1": refs[:3]},
            {"t1": refs[3:], "flair": refs[:3]},
        )
    }
    assert len(uids) == 2


def test_a_predecessor_changes_the_uids_too(order: task.Order) -> None:
    """The report names it, so with another one, or none, it is another report: two orders that differ in it alone."""
    first = task.perform(order, _silent).made
    study = first[0].study_instance_uid
    made = [first]
    for number in (1, 2):
        earlier = Predecessor(study, "2.25.1", Comprehensive3DSRStorage, f"2.25.10{number}")
        product = task.Product(profile(), ("pacs",), earlier)
        answer = task.perform(replace(order, name=f"J{number + 1}", products=(product,)), _silent)
        assert answer.failure is None
        document = dcmread(order.store / answer.made[-1].path).PredecessorDocumentsSequence[0]
        reference = document.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == earlier.sop_instance_uid
        made.append(answer.made)
    assert len({each.sop_instance_uid for objects in made for each in objects}) == 6


def test_each_profile_has_objects_of_its_own(order: task.Order) -> None:
    """Two profiles: two sets of files and UIDs, and each object is for the destinations of its profile."""
    products = (
        task.Product(profile(), ("pacs", "backup")),
        task.Product(profile(empty_frames=True), ("old viewer",)),
    )
    answer = task.perform(replace(order, products=products), _silent)
    assert [made.path for made in answer.made] == [
        f"results/J1/{name}.dcm" for name in ("seg", "sr", "2-seg", "2-sr")
    ]
    recipients = [answer.recipients[made.sop_instance_uid] for made in answer.made]
    assert recipients == [("pacs", "backup")] * 2 + [("old viewer",)] * 2
    assert len({made.sop_instance_uid for made in answer.made}) == 4


def test_a_profile_may_want_nothing_of_what_was_found(order: task.Order) -> None:
    """A destination that takes only segmentations gets nothing, and no error, where nothing was found."""
    only_segments = task.Product(profile(kinds=(ResultKind.SEGMENTATION,)))
    answer = task.perform(replace(order, pipeline="finds_nothing", products=(only_segments,)), _silent)
    assert (answer.failure, answer.made) == (None, ())


def test_an_error_that_nobody_foresaw_is_an_answer_without_its_text(order: task.Order) -> None:
    """Its type and place are told; its text, which quotes a name, is not."""
    failure = _failed(replace(order, pipeline="unforeseen_error"))
    assert type(failure) is PipelineFailed
    assert not failure.retryable
    assert str(failure).startswith("unforeseen_error failed: ValueError at ")
    assert str(failure).endswith(" run")
    assert "Doe" not in str(failure)


def test_nothing_found_is_one_report(order: task.Order) -> None:
    """No SEG, an SR, and the pipeline's remark."""
    answer = task.perform(replace(order, pipeline="finds_nothing"), _silent)
    assert [made.kind for made in answer.made] == ["SR"]
    assert answer.remarks == ("Nothing bright was found in these images.",)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"pipeline": "unheard_of"}, PipelineUnknown, "no pipeline 'unheard_of' is installed"),
        ({"settings": {"colour": 1}}, SettingsInvalid, "unknown setting 'colour'"),
        ({"settings": {"factor": -1.0}}, SettingsInvalid, "'factor' must be from 0.0"),
        ({"inputs": {}}, PipelineRefused, "was given no series for: t1"),
    ],
)
def test_an_order_that_cannot_be_done(
    order: task.Order, changes: dict[str, object], kind: type[Failure], words: str
) -> None:
    """Each fault has its words, and no object is made."""
    failure = _failed(replace(order, **changes))
    assert type(failure) is kind
    assert words in str(failure)


def test_images_that_are_no_volume(order: task.Order) -> None:
    """A missing slice is refused before the pipeline runs; garbage collection goes on afterwards."""
    refs = order.inputs["t1"]
    failure = _failed(replace(order, inputs={"t1": (*refs[:2], *refs[3:])}))
    assert type(failure) is GeometryUnusable
    assert gc.isenabled()


_REPORTED, _DRAWN = (
    task.Product(profile(not_run=NoticeKind.REPORT), ("pacs",)),
    task.Product(profile(not_run=NoticeKind.PICTURE), ("old viewer", "archive")),
)


def _without_a_slice(order: task.Order, *notices: task.Product) -> task.Order:
    refs = order.inputs["t1"]
    return replace(order, inputs={"t1": (*refs[:2], *refs[3:])}, notices=notices)


def test_a_refusal_is_told_to_whom_it_concerns(order: task.Order) -> None:
    """A notice for each profile that wants one, in the study, with the reason; the failure stays a failure."""
    answer = task.perform(_without_a_slice(order, _REPORTED, _DRAWN), _silent)
    assert type(answer.failure) is GeometryUnusable
    assert [made.kind for made in answer.made] == ["SR", "SC"]
    assert [answer.recipients[made.sop_instance_uid] for made in answer.made] == [
        ("pacs",),
        ("old viewer", "archive"),
    ]
    source = dcmread(order.store / order.inputs["t1"][0].path)
    for made in answer.made:
        data = (order.store / made.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == made.sha256
        assert dcmread(order.store / made.path).StudyInstanceUID == source.StudyInstanceUID
    picture = dcmread(order.store / answer.made[1].path)
    assert picture.ImageComments == f"Bright voxels did not run: {answer.failure}"


def test_a_refusal_again_is_the_same_notice(order: task.Order) -> None:
    """To the byte, whatever order the instances come in; another reason is another notice, beside the first."""
    told = task.perform(_without_a_slice(order, _DRAWN), _silent).made
    turned = _without_a_slice(order, _DRAWN)
    turned = replace(turned, inputs={"t1": tuple(reversed(turned.inputs["t1"]))})
    assert task.perform(turned, _silent).made == told
    fewer = replace(turned, inputs={"t1": turned.inputs["t1"][:1]})
    (other,) = task.perform(fewer, _silent).made
    assert other.sop_instance_uid != told[0].sop_instance_uid
    assert other.path != told[0].path


@pytest.mark.parametrize("pipeline", ["unforeseen_error", "unheard_of"])
def test_only_a_refusal_is_told(order: task.Order, pipeline: str) -> None:
    """An error of the software is the administrator's, not the reader's."""
    assert _failed(replace(order, pipeline=pipeline, notices=(_DRAWN,))) is not None


def test_a_job_that_is_done_tells_no_refusal(order: task.Order) -> None:
    """Notices are for those who get no result."""
    answer = task.perform(replace(order, notices=(_DRAWN,)), _silent)
    assert [made.kind for made in answer.made] == ["SEG", "SR"]


def test_files_that_are_no_images_give_no_notice(order: task.Order) -> None:
    """Without a readable header there is no study that a notice could belong to; the reason is kept all the same."""
    for ref in order.inputs["t1"]:
        (order.store / ref.path).write_bytes(b"damaged")
    failure = _failed(replace(order, notices=(_REPORTED,)))
    assert type(failure) is GeometryUnusable
    assert "notice" not in str(failure)


def test_a_notice_that_the_gate_refuses_is_told_to_the_administrator(order: task.Order) -> None:
    """Images of two patients: nothing is stored, and the reason says why nobody was told."""
    stray = dcmread(order.store / order.inputs["t1"][1].path)
    stray.PatientID = "P-2"
    stray.save_as(order.store / order.inputs["t1"][1].path)
    failure = _failed(_without_a_slice(order, _REPORTED))
    assert type(failure) is GeometryUnusable
    assert "no notice of this could be made" in str(failure)
    assert "disagree on PatientID" in str(failure)
    assert not list((order.store / "results").glob("J1/*"))


def test_too_few_slices(order: task.Order) -> None:
    """The role's minimum is asked for by the pipeline."""
    assert isinstance(_failed(replace(order, inputs={"t1": order.inputs["t1"][:1]})), Failure)


def test_a_pipeline_is_loaded_once(order: task.Order) -> None:
    """The second job on a worker finds the model warm."""
    task.perform(order, _silent)
    (warm,) = task._WARM.values()
    task.perform(replace(order, name="J2"), _silent)
    assert list(task._WARM.values()) == [warm]


def test_progress_is_told_seldom_and_never_twice() -> None:
    """A pipeline may report as often as it likes; the ledger hears of each new step, and of time passing."""
    told: list[tuple[int, float, str]] = []
    progress = task.reporting(lambda *said: told.append(said), 7, every_seconds=3600)
    for share in range(100):
        progress(share / 100, "thinking")
    progress(1.0, "done")
    assert told == [(7, 0.0, "thinking"), (7, 1.0, "done")]


_BROKEN = {
    "missing_package": "import package_that_is_not_there",
    "raises": "raise RuntimeError('Doe^Jane')",
    "no_such_class": "",
    "no_pipeline": "class Broken: pass",
    "fails_to_start": "class Broken:\n    def __init__(self): raise ValueError('Doe^Jane')",
}


@pytest.mark.parametrize("text", _BROKEN.values(), ids=_BROKEN.keys())
def test_a_broken_plugin_is_told_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A hospital's own package that cannot be used does not keep the node from starting; asked for, it is named."""
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dicom_node.pipelines]\nbroken = broken_plugin:Broken\n")
    (tmp_path / "broken_plugin.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_plugin", raising=False)
    assert "broken" in catalogue.installed()
    assert "broken" not in catalogue.roles()
    assert "bright_voxels" in catalogue.roles()
    with pytest.raises(PipelineUnknown, match="broken") as raised:
        catalogue.find("broken")
    assert "Doe" not in str(raised.value)
    sys.modules.pop("broken_plugin", None)


def _with_prior(order: task.Order, folder: Path, slices: int = 4, **more: str) -> task.Order:
    write_study(folder, slices=slices, StudyDate="20250101", **more)
    prior = {"prior": tuple(one_study(folder).instances.values())}
    return replace(order, pipeline="compares_prior", priors=prior)


def test_a_prior_is_an_input_and_no_source_of_results(order: task.Order, tmp_path: Path) -> None:
    """The pipeline sees it, the objects belong to the present study alone, and their UIDs tell the two runs apart."""
    with_prior = _with_prior(order, tmp_path / "prior")
    answer = task.perform(with_prior, _silent)
    assert (answer.failure, answer.remarks) == (None, ("Compared with a prior of 4 slices.",))
    (study,) = {ref.study_instance_uid for ref in order.inputs["t1"]}
    assert {made.study_instance_uid for made in answer.made} == {study}
    (prior,) = {ref.study_instance_uid for ref in with_prior.priors["prior"]}
    for made in answer.made:
        assert prior.encode() not in (order.store / made.path).read_bytes()
    alone = task.perform(replace(with_prior, priors={}), _silent)
    assert (alone.failure, alone.remarks) == (None, ("There was no prior.",))
    assert not {made.sop_instance_uid for made in alone.made} & {made.sop_instance_uid for made in answer.made}


@pytest.mark.parametrize("numbers", [(0, 1, 7), (0,)], ids=["a gap", "too few slices"])
def test_a_prior_that_is_no_volume_is_left_out(order: task.Order, tmp_path: Path, numbers: tuple[int, ...]) -> None:
    """The job runs without it, and the reason is among the remarks."""
    answer = task.perform(_with_prior(order, tmp_path / "prior", numbers=numbers), _silent)  # type: ignore[arg-type]
    assert answer.failure is None
    assert answer.remarks[0] == "There was no prior."
    assert answer.remarks[1].startswith("The prior for 'prior' was not used: ")


def test_a_prior_that_must_be_there_is_missed(
    order: task.Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline that cannot do without one says so; findings on a prior are refused."""
    with_prior = _with_prior(order, tmp_path / "prior")
    pipeline = catalogue.find("compares_prior")
    roles = {**pipeline.roles, "prior": replace(pipeline.roles["prior"], required=True)}
    monkeypatch.setattr(type(pipeline), "roles", roles)
    refused = _failed(replace(with_prior, priors={}))
    assert isinstance(refused, PipelineRefused)
    assert str(refused) == "compares_prior was given no series for: prior"
    run = type(pipeline).run
    monkeypatch.setattr(type(pipeline), "run", lambda *given: replace(run(*given), role="prior"))
    assert "findings on 'prior', which is no input of this study" in str(_failed(with_prior))
