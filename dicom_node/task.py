"""One job's work on a worker process: load volumes, run the pipeline, build the objects, pass the gate, store.

It holds nothing between jobs but warm models. Everything it needs is in its order, everything it did is in its answer
and in files whose names and bytes are the same if the work is done again.
"""

import gc
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from dicom_node import __version__, catalogue, results
from dicom_node.contract import Findings, Pipeline, Progress, SettingValue, checked_settings
from dicom_node.entities import InstanceRef, JobKey
from dicom_node.errors import Failure, PipelineFailed, PipelineRefused, SettingsInvalid
from dicom_node.geometry import SourceSeries, read_series, require_slices
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Result
from dicom_node.log import safe_text, where
from dicom_node.settings import ResultSettings

log = structlog.get_logger(__name__)

PREVIEW: Final = "preview.png"
#: Pipelines whose model this process holds: (name, device) -> pipeline and weights hash.
_WARM: Final[dict[tuple[str, str], tuple[Pipeline, str]]] = {}


@dataclass(frozen=True, slots=True)
class Order:
    """All that decides what a job does.

    Parameters
    ----------
    inputs : mapping of role to InstanceRef
        The instances of the chosen series.
    created_at : float
        UTC seconds; the objects carry it as their creation time, so that building again gives the same bytes.
    store : Path
        Root of the instance store.
    empty_frames : bool
        Write SEG frames without a voxel too.
    utc_offset_minutes : int
        The hospital's local time at `created_at`.
    preview : bool
        Draw a picture beside the objects; a third of a second that a radiologist need not wait for.
    """

    name: str
    pipeline: str
    settings: Mapping[str, SettingValue]
    inputs: Mapping[str, Sequence[InstanceRef]]
    created_at: float
    store: Path
    node_name: str
    results: ResultSettings
    device: str
    empty_frames: bool = False
    preview: bool = False
    utc_offset_minutes: int = 0


@dataclass(slots=True)
class Answer:
    """What became of a job.

    Parameters
    ----------
    seconds : mapping
        Duration of each step: "model", "load", "run", "build", "store".
    remarks : tuple of str
        What the pipeline says to the radiologist.
    failure : Failure or None
        Why there are no objects.
    """

    made: tuple[Result, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    measured: tuple[tuple[str, float, str], ...] = ()
    failure: Failure | None = None


def perform(order: Order, progress: Progress) -> Answer:
    """Do a job; whatever goes wrong is in the answer, because an exception of a library may quote patient data."""
    answer = Answer()
    try:
        _perform(order, progress, answer)
    except Failure as failure:
        answer.failure = failure
    except Exception as error:  # noqa: BLE001 - the named boundary: a pipeline may raise anything
        answer.failure = PipelineFailed(f"{order.pipeline} failed: {safe_text(error)} at {where(error)}")
    return answer


def _perform(order: Order, progress: Progress, answer: Answer) -> None:
    with _timed(answer, "load"), _no_collection():
        progress(0.0, "loading images")
        sources = {role: _source(order.store, refs) for role, refs in order.inputs.items()}
    with _timed(answer, "model"):
        progress(0.1, "loading model")
        pipeline, weights = _warm(order.pipeline, order.device)
        _require_roles(pipeline, sources)
        settings = _settings(pipeline, order.settings)
    with _timed(answer, "run"):
        volumes = {role: source.volume for role, source in sources.items()}
        findings = pipeline.run(volumes, settings, lambda share, step: progress(0.15 + 0.7 * share, step))
    answer.remarks = findings.remarks
    answer.measured = tuple((m.name.meaning, m.value, m.unit.value) for m in findings.measurements)
    with _timed(answer, "build"), _no_collection():
        progress(0.85, "building results")
        run = _context(order, pipeline, weights, settings)
        built = results.build(findings, sources, run)
        results.check(built, sources)
    with _timed(answer, "store"), _no_collection():
        answer.made = tuple(_stored(order, each) for each in built)
    if order.preview:
        _preview(order, findings, sources[findings.role])
    progress(1.0, "done")


@contextmanager
def _timed(answer: Answer, step: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        answer.seconds[step] = time.monotonic() - started


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage: among a million fresh header elements it finds none, and takes long."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _source(store: Path, refs: Sequence[InstanceRef]) -> SourceSeries:
    return read_series([store / ref.path for ref in refs])


def _warm(name: str, device: str) -> tuple[Pipeline, str]:
    if (name, device) not in _WARM:
        pipeline = catalogue.find(name)
        _WARM[name, device] = (pipeline, pipeline.load(device))
    return _WARM[name, device]


def _require_roles(pipeline: Pipeline, sources: Mapping[str, SourceSeries]) -> None:
    missing = [role for role in pipeline.roles if role not in sources]
    if missing:
        raise PipelineRefused(f"{pipeline.name} was given no series for: {', '.join(missing)}")
    for role, wanted in pipeline.roles.items():
        require_slices(sources[role], wanted.minimum_slices, pipeline.title)


def _settings(pipeline: Pipeline, given: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    settings, faults = checked_settings(pipeline.settings, given)
    if faults:
        raise SettingsInvalid(f"{pipeline.name}: {'; '.join(faults)}")
    return settings


def _context(
    order: Order, pipeline: Pipeline, weights: str, settings: Mapping[str, SettingValue]
) -> results.RunContext:
    key = JobKey(
        sources=tuple((ref.sop_instance_uid, ref.sha256) for refs in order.inputs.values() for ref in refs),
        pipeline=pipeline.name,
        version=pipeline.version,
        weights=weights,
        software=__version__,
        # beside the pipeline's settings, all else that the objects' bytes depend on
        settings={
            **settings,
            "node": order.node_name,
            "results": order.results.model_dump_json(),
            "empty_frames": order.empty_frames,
        },
    )
    return results.RunContext(
        key=key,
        created_at=order.created_at,
        node_name=order.node_name,
        settings=order.results,
        pipeline_title=pipeline.title,
        empty_frames=order.empty_frames,
        utc_offset_minutes=order.utc_offset_minutes,
    )


def _stored(order: Order, built: results.BuiltObject) -> Result:
    data = results.encode(built)
    store = InstanceStore(order.store, free_space_floor=0)
    path = store.keep_result(order.name, f"{built.kind.lower()}.dcm", data)
    return Result(
        sop_instance_uid=built.sop_instance_uid,
        kind=built.kind,
        sop_class_uid=built.sop_class_uid,
        transfer_syntax_uid=built.transfer_syntax_uid,
        series_instance_uid=built.series_instance_uid,
        study_instance_uid=built.study_instance_uid,
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _preview(order: Order, findings: Findings, source: SourceSeries) -> None:
    folder = order.store / "results" / order.name
    results.preview_png(findings, source, folder / PREVIEW, order.results.notice)


def reporting(report: Callable[[int, float, str], None], job_id: int, every_seconds: float = 0.5) -> Progress:
    """Return a progress callback that passes on at most one report in a while, and never an equal one."""
    last: list[tuple[float, str]] = [(float("-inf"), "")]

    def progress(share: float, step: str) -> None:
        at, said = last[0]
        now = time.monotonic()
        if step != said or now - at > every_seconds:
            last[0] = (now, step)
            report(job_id, share, step)

    return progress
