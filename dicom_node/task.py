"""One job's work on a worker process: load volumes, run the pipeline, build the objects, pass the gate, store.

It holds nothing between jobs but warm models. Everything it needs is in its order, everything it did is in its answer
and in files whose names and bytes are the same if the work is done again.
"""

import gc
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.sr.coding import Code

from dicom_node import __version__, catalogue, results
from dicom_node.contract import Algorithm, Findings, Pipeline, Progress, SettingValue, checked_settings
from dicom_node.entities import InstanceRef, JobKey
from dicom_node.errors import Failure, GeometryUnusable, PipelineFailed, PipelineRefused, SettingsInvalid
from dicom_node.geometry import SourceSeries, read_series, require_slices
from dicom_node.instance_store import InstanceStore
from dicom_node.job_log import JobLog
from dicom_node.job_meter import Meter
from dicom_node.ledger import Effort, Resources, Result
from dicom_node.log import safe_text, where
from dicom_node.settings import ResultProfile

log = structlog.get_logger(__name__)

PREVIEW: Final = "preview.png"
#: Of a pipeline that did not get so far as to say it itself.
_FAMILY: Final = Code("123110", "DCM", "Artificial Intelligence")
#: Pipelines whose model this process holds: (name, device) -> pipeline and weights hash.
_WARM: Final[dict[tuple[str, str], tuple[Pipeline, str]]] = {}


@dataclass(frozen=True, slots=True)
class Product:
    """The objects of one job for all destinations with one profile.

    Parameters
    ----------
    predecessor : Predecessor or None
        The report on an earlier revision of the study that these destinations were sent.
    """

    profile: ResultProfile
    destinations: tuple[str, ...] = ()
    predecessor: results.Predecessor | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """All that decides what a job does.

    Parameters
    ----------
    inputs : mapping of role to InstanceRef
        The instances of the chosen series.
    priors : mapping of role to InstanceRef
        Those of earlier studies; no result is made of them, and one that cannot be used is left out.
    products : sequence of Product
        What is to be made of the findings; different profiles give different objects.
    notices : sequence of Product
        For whom a notice is to be made instead, if the pipeline refuses these images.
    created_at : float
        UTC seconds; the objects carry it as their creation time, so that building again gives the same bytes.
    store : Path
        Root of the instance store.
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
    products: Sequence[Product]
    device: str
    notices: Sequence[Product] = ()
    priors: Mapping[str, Sequence[InstanceRef]] = field(default_factory=dict)
    preview: bool = False
    utc_offset_minutes: int = 0


@dataclass(slots=True)
class Answer:
    """What became of a job.

    Parameters
    ----------
    seconds : mapping
        Duration of each step: "model", "load", "run", "build", "store".
    recipients : mapping
        SOP Instance UID to the destinations that each object is for.
    remarks : tuple of str
        What the pipeline says to the radiologist.
    failure : Failure or None
        Why there is no result. What `made` holds then is the notice that says so.
    resources, log : Resources, tuple of str
        What the job used, and what was logged meanwhile.
    """

    made: tuple[Result, ...] = ()
    recipients: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    measured: tuple[tuple[str, float, str], ...] = ()
    failure: Failure | None = None
    resources: Resources | None = None
    log: tuple[str, ...] = ()
    weights: str = ""

    def effort(self) -> Effort:
        """Return what is kept of the attempt beside its results."""
        return Effort(self.seconds, self.resources, self.log)


def perform(order: Order, progress: Progress, tell: Callable[[str], None] = lambda _: None) -> Answer:
    """Do a job; whatever goes wrong is in the answer, because an exception of a library may quote patient data.

    Parameters
    ----------
    tell : callable
        Is given the lines of the job's log while it runs; the answer has them all.
    """
    answer, meter, said = Answer(), Meter(), JobLog(tell)
    with said.listening():
        try:
            _perform(order, said.steps(progress), answer, said)
        except Failure as failure:
            answer.failure = failure
            said.fault(failure)
        except Exception as error:  # noqa: BLE001 - the named boundary: a pipeline may raise anything
            answer.failure = PipelineFailed(f"{order.pipeline} failed: {safe_text(error)} at {where(error)}")
            said.fault(error)
        if answer.failure is not None:
            answer.made, answer.recipients = (), {}  # what was stored before a failure is no result
            _tell(order, answer.failure, answer)
    answer.resources, answer.log = meter.read(answer.weights), said.lines()
    return answer


def _perform(order: Order, progress: Progress, answer: Answer, said: JobLog) -> None:
    with _timed(answer, "load"), _no_collection():
        progress(0.0, "loading images")
        sources = {role: _source(order.store, refs) for role, refs in order.inputs.items()}
        priors, unusable = _priors(order)
        said.keep_out(source.datasets[0] for source in (*sources.values(), *priors.values()))
    with _timed(answer, "model"):
        progress(0.1, "loading model")
        pipeline, weights = _warm(order.pipeline, order.device)
        answer.weights = weights
        unusable += _require_roles(pipeline, sources, priors)
        settings = _settings(pipeline, order.settings)
    with _timed(answer, "run"):
        volumes = {role: source.volume for role, source in (*sources.items(), *priors.items())}
        findings = pipeline.run(volumes, settings, lambda share, step: progress(0.15 + 0.7 * share, step))
    answer.remarks = (*findings.remarks, *unusable)
    if findings.role not in sources:
        raise PipelineFailed(f"{pipeline.name} gives findings on {findings.role!r}, which is no input of this study")
    answer.measured = tuple((m.name.meaning, float(m.value), m.unit.value) for m in findings.measurements)
    with _timed(answer, "build"), _no_collection():
        progress(0.85, "building results")
        built = [
            _built(findings, sources, _context(order, product, pipeline, weights, settings))
            for product in order.products
        ]
    with _timed(answer, "store"), _no_collection():
        for number, (product, objects) in enumerate(zip(order.products, built, strict=True), 1):
            _store(order, objects, product, answer, "" if number == 1 else f"{number}-")
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


def _priors(order: Order) -> tuple[dict[str, SourceSeries], tuple[str, ...]]:
    """Return the priors that are volumes, and a sentence for each that is none."""
    found: dict[str, SourceSeries] = {}
    unusable: list[str] = []
    for role, refs in order.priors.items():
        try:
            found[role] = _source(order.store, refs)
        except GeometryUnusable as failure:
            unusable.append(f"The prior for {role!r} was not used: {failure}")
    return found, tuple(unusable)


def _warm(name: str, device: str) -> tuple[Pipeline, str]:
    if (name, device) not in _WARM:
        pipeline = catalogue.find(name)
        _WARM[name, device] = (pipeline, pipeline.load(device))
    return _WARM[name, device]


def _require_roles(
    pipeline: Pipeline, sources: Mapping[str, SourceSeries], priors: dict[str, SourceSeries]
) -> tuple[str, ...]:
    """Refuse images that do not do; take out priors that do not, and say so."""
    for role, source in sources.items():
        require_slices(source, pipeline.roles[role].minimum_slices if role in pipeline.roles else 1, pipeline.title)
    unusable: list[str] = []
    for role in list(priors):
        try:
            require_slices(priors[role], pipeline.roles[role].minimum_slices, pipeline.title)
        except GeometryUnusable as failure:
            del priors[role]
            unusable.append(f"The prior for {role!r} was not used: {failure}")
    missing = [
        role
        for role, wanted in pipeline.roles.items()
        if role not in sources and role not in priors and not wanted.may_lack
    ]
    if missing:
        raise PipelineRefused(f"{pipeline.name} was given no series for: {', '.join(missing)}")
    return tuple(unusable)


def _settings(pipeline: Pipeline, given: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    settings, faults = checked_settings(pipeline.settings, given)
    if faults:
        raise SettingsInvalid(f"{pipeline.name}: {'; '.join(faults)}")
    return settings


def _built(
    findings: Findings, sources: Mapping[str, SourceSeries], run: results.RunContext
) -> tuple[results.BuiltObject, ...]:
    """Return the objects of one product, each through the gate; none if its profile wants nothing that was found."""
    objects = results.build(findings, sources, run)
    if objects:
        results.check(objects, sources, findings)
    return objects


def _context(
    order: Order, product: Product, pipeline: Pipeline, weights: str, settings: Mapping[str, SettingValue]
) -> results.RunContext:
    predecessor = product.predecessor
    key = JobKey(
        sources=tuple(
            (ref.sop_instance_uid, ref.sha256)
            for refs in (*order.inputs.values(), *order.priors.values())
            for ref in refs
        ),
        pipeline=pipeline.name,
        version=pipeline.version,
        weights=weights,
        software=__version__,
        # beside the pipeline's settings, all else that the objects' bytes depend on
        settings={
            **settings,
            "node": order.node_name,
            **_parts(order.inputs),
            "profile": product.profile.content(),
            **({} if predecessor is None else {"predecessor": predecessor.sop_instance_uid}),
        },
    )
    return results.RunContext(
        key=key,
        created_at=order.created_at,
        node_name=order.node_name,
        profile=product.profile,
        pipeline_title=pipeline.title,
        utc_offset_minutes=order.utc_offset_minutes,
        predecessor=predecessor,
    )


def _parts(inputs: Mapping[str, Sequence[InstanceRef]]) -> dict[str, str]:
    """Return which series plays which part, where there are several: the same ones exchanged are another job."""
    if len(inputs) == 1:
        return {}
    uids = {role: " ".join(sorted(ref.sop_instance_uid for ref in refs)) for role, refs in inputs.items()}
    return {f"role {role}": hashlib.sha256(text.encode()).hexdigest() for role, text in uids.items()}


def _store(
    order: Order, objects: Sequence[results.BuiltObject], product: Product, answer: Answer, prefix: str
) -> None:
    """Write the objects of one product; those of the first have plain names."""
    made = [_stored(order, prefix, each) for each in objects]
    answer.made += tuple(made)
    answer.recipients |= {each.sop_instance_uid: product.destinations for each in made}


def _stored(order: Order, prefix: str, built: results.BuiltObject) -> Result:
    data = results.encode(built)
    store = InstanceStore(order.store, free_space_floor=0)
    path = store.keep_result(order.name, f"{prefix}{built.name}.dcm", data)
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


def _tell(order: Order, failure: Failure, answer: Answer) -> None:
    """Store what tells a reader that a pipeline refused these images, and why, for everybody who wants to know."""
    if not order.notices or not isinstance(failure, PipelineRefused | GeometryUnusable):
        return
    try:
        for product in order.notices:
            not_run = _not_run(order, product, str(failure))
            if not_run is not None:
                objects = results.build_notice(not_run)
                results.check_notice(objects, not_run.headers)
                # a job that is asked for again may have another notice, while the first is still on its way
                _store(order, objects, product, answer, f"notice-{not_run.run.key.digest()[:12]}-")
    except Failure as why:
        _untold(failure, str(why), answer)
    except Exception as error:  # noqa: BLE001 - the named boundary: the refusal itself must reach the ledger
        _untold(failure, f"{safe_text(error)} at {where(error)}", answer)


def _untold(failure: Failure, why: str, answer: Answer) -> None:
    answer.made, answer.recipients = (), {}
    answer.failure = type(failure)(f"{failure} (no notice of this could be made: {why})")


def _not_run(order: Order, product: Product, reason: str) -> results.NotRun | None:
    """Return what a notice is made from; None, if there are no images whose study it could belong to."""
    pipeline = catalogue.find(order.pipeline)
    headers = {
        role: results.headers_only(images) for role, refs in order.inputs.items() if (images := _images(order, refs))
    }
    if not headers:
        return None
    purpose = {"purpose": "notice", "not run": str(product.profile.not_run), "reason": reason}
    run = _context(order, product, pipeline, "", {**order.settings, **purpose})
    return results.NotRun(reason, headers, Algorithm(pipeline.name, pipeline.version, _FAMILY), run)


def _images(order: Order, refs: Sequence[InstanceRef]) -> list[Dataset]:
    """Return the headers of those files that can be read and belong to a study; there may be none."""
    images: list[Dataset] = []
    for ref in refs:
        with suppress(InvalidDicomError, OSError):
            image = dcmread(order.store / ref.path, stop_before_pixels=True)
            if {"SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"} <= set(image.dir()):
                images.append(image)
    return images


def _preview(order: Order, findings: Findings, source: SourceSeries) -> None:
    folder = order.store / "results" / order.name
    results.preview_png(findings, source, folder / PREVIEW, order.products[0].profile.notice)


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
