"""One job's work: objects that are the same if it is done again, and every failure an answer."""

import gc
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from bench.peers import PLUGIN
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
from dicom_node.settings import ResultSettings
from dicom_node.study_folder import one_study
from tests.study_cases import write_study


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the pipelines of `bench/plugin`."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    yield
    task._WARM.clear()
    sys.modules.pop("bench_pipelines", None)


@pytest.fixture
def order(tmp_path: Path) -> task.Order:
    """Give an order for six good slices."""
    write_study(tmp_path / "images")
    study = one_study(tmp_path / "images")
    InstanceStore(tmp_path / "store", free_space_floor=0)
    return task.Order(
        name="J1",
        pipeline="bright_voxels",
        settings={},
        inputs={"t1": tuple(study.instances.values())},
        created_at=1_800_000_000.0,
        store=tmp_path / "store",
        node_name="node1",
        results=ResultSettings(),
        device="cpu",
    )


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
    [{"settings": {"factor": 2.0}}, {"results": ResultSettings(notice="Changed.")}, {"node_name": "node2"}],
    ids=["setting", "notice", "node"],
)
def test_what_changes_the_bytes_changes_the_uids(order: task.Order, changes: dict[str, object]) -> None:
    """A UID never stands for two contents."""
    first = task.perform(order, _silent).made
    second = task.perform(replace(order, name="J2", **changes), _silent).made
    assert not {made.sop_instance_uid for made in first} & {made.sop_instance_uid for made in second}


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
