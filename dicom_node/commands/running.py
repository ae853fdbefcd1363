"""Commands that do work: serve, process, send, demo."""

import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Final

import structlog
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dicom_node import catalogue, log, task
from dicom_node.commands.app import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    app,
    err,
    failures_shown,
    out,
    print_json,
    settings_of,
)
from dicom_node.contract import Pipeline, SettingValue
from dicom_node.demo.run import run_demo
from dicom_node.entities import InstanceRef, SeriesFacts
from dicom_node.errors import PipelineRefused, SettingsInvalid
from dicom_node.node import Node
from dicom_node.outgoing import Outcome, OutgoingObject, Verdict
from dicom_node.routing import Equals, RoleRule, Rule, RuleSet, Where, route
from dicom_node.senders import Senders
from dicom_node.settings import DEFAULT_PROFILE, Destination, ResultProfile, Settings
from dicom_node.study_folder import FolderStudy, one_study, read_folder
from dicom_node.wanted import local_offset_minutes

_JOB: Final = "process"


@app.command()
def serve(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the node until it is told to stop (SIGTERM, SIGINT)."""
    settings = settings_of(config)
    log.configure(settings.log.level, form=settings.log.format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with failures_shown():
        node = Node(settings, config=config)
        try:
            node.start()
        except OSError as error:
            structlog.get_logger(__name__).error("node cannot start", exc_info=error, port=settings.reception.port)
            raise typer.Exit(1) from None
        stop.wait()
        node.stop()


@app.command()
def demo(
    study: Annotated[Path | None, typer.Option(help="A folder of one MR study of your own.")] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Where results and the log go.")] = Path("demo-out"),
) -> None:
    """Show the whole journey on this machine: scanner, node, PACS."""
    with failures_shown():
        raise typer.Exit(run_demo(study, out_folder, out))


@app.command()
def process(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder of DICOM files.")],
    pipeline: Annotated[str, typer.Option(help="Name of an installed pipeline.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where SEG, SR and preview go.")],
    setting: Annotated[list[str] | None, typer.Option(help="A setting of the pipeline: name=value.")] = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID, if the folder holds several.")] = None,
    series: Annotated[
        list[str] | None, typer.Option(help="Which series plays a role: role=SeriesInstanceUID.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Result profile: which kinds of objects, in which form.")
    ] = DEFAULT_PROFILE,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take notice and names from here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a pipeline on a folder, without a network: its results and a preview picture come out."""
    settings = Settings() if config is None else settings_of(config)
    log.configure("error")
    with failures_shown():
        wanted = catalogue.find(pipeline)
        inputs = _inputs(one_study(folder, study), wanted, _pairs(series or []))
        values = {name: _typed(wanted, name, text) for name, text in _pairs(setting or []).items()}
        product = task.Product(_profile(settings, profile))
        answer = _performed(settings, wanted, inputs, values, product, out_folder, quiet=as_json)
        if answer.failure is not None:
            raise answer.failure
    files = [out_folder / Path(made.path).name for made in answer.made] + [out_folder / task.PREVIEW]
    if as_json:
        measured = [{"name": name, "value": value, "unit": unit} for name, value, unit in answer.measured]
        print_json(
            {
                "series": {role: refs[0].series_instance_uid for role, refs in inputs.items()},
                "files": [str(path) for path in files],
                "measurements": measured,
                "remarks": list(answer.remarks),
                "seconds": answer.seconds,
            }
        )
        return
    out.print(_answer_table(answer, files))


def _profile(settings: Settings, name: str) -> ResultProfile:
    if name not in settings.profile_names:
        known = ", ".join(settings.profile_names)
        raise SettingsInvalid(f"there is no result profile {name!r}; known: {known}")
    return settings.profile(name)


def _pairs(texts: list[str]) -> dict[str, str]:
    faulty = [text for text in texts if "=" not in text]
    if faulty:
        raise typer.BadParameter(f"{faulty[0]!r} is not name=value")
    return dict(text.split("=", 1) for text in texts)


def _typed(pipeline: Pipeline, name: str, text: str) -> SettingValue:
    setting = pipeline.settings.get(name)
    if setting is None or isinstance(setting.default, str):
        return text
    if isinstance(setting.default, bool):
        return text.lower() in {"true", "yes", "1"}
    try:
        return type(setting.default)(text)
    except ValueError:
        raise SettingsInvalid(f"setting {name!r} must be a number, not {text!r}") from None


def _inputs(study: FolderStudy, pipeline: Pipeline, chosen: dict[str, str]) -> dict[str, tuple[InstanceRef, ...]]:
    """Choose the series for each role as a rule would that asks for the role's modality only."""
    wanted = {
        role: RoleRule(
            (Where("Modality", Equals(need.modality)),)
            + ((Where("SeriesInstanceUID", Equals(chosen[role])),) if role in chosen else ())
        )
        for role, need in pipeline.roles.items()
        if not need.prior
    }
    (verdict,) = route(study.facts, RuleSet((Rule(_JOB, pipeline.name, (), wanted),)))
    if not verdict.fires:
        raise PipelineRefused(f"{pipeline.name} cannot run on this folder: it {verdict.reason}")
    found: dict[str, SeriesFacts] = dict(verdict.inputs)
    return {role: study.refs(facts.paths) for role, facts in found.items()}


def _performed(
    settings: Settings,
    pipeline: Pipeline,
    inputs: dict[str, tuple[InstanceRef, ...]],
    values: dict[str, SettingValue],
    product: task.Product,
    folder: Path,
    *,
    quiet: bool,
) -> task.Answer:
    now = time.time()
    with tempfile.TemporaryDirectory(prefix="dicom-node-") as scratch:
        order = task.Order(
            name=_JOB,
            pipeline=pipeline.name,
            settings={**settings.pipelines.get(pipeline.name, {}), **values},
            inputs=inputs,
            created_at=now,
            store=Path(scratch),
            node_name=settings.node.name,
            products=(product,),
            device=settings.compute.device,
            preview=True,
            utc_offset_minutes=local_offset_minutes(now),
        )
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True, disable=quiet) as shown:
            bar = shown.add_task("starting", total=1.0)
            answer = task.perform(order, lambda share, step: shown.update(bar, completed=share, description=step))
        if answer.failure is None:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (Path(scratch) / "results" / _JOB).iterdir():
                shutil.copyfile(path, folder / path.name)
    return answer


def _answer_table(answer: task.Answer, files: list[Path]) -> Table:
    table = Table("what", "", title="Results", title_justify="left", show_header=False)
    for name, value, unit in answer.measured:
        table.add_row(name, f"{value:.1f} {unit}")
    for remark in answer.remarks:
        table.add_row("remark", remark)
    for path in files:
        table.add_row("file", str(path))
    seconds = ", ".join(f"{step} {spent:.2f}" for step, spent in answer.seconds.items())
    table.add_row("seconds", seconds)
    return table


@app.command()
def send(
    folder: Annotated[Path, typer.Argument(exists=True, help="A folder of DICOM files.")],
    to: Annotated[str, typer.Option("--to", help="Name of a destination in node.toml.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Send every DICOM file at or below a folder to a destination, as it is."""
    settings = settings_of(config)
    log.configure("error")
    with failures_shown():
        destination = _destination(settings, to)
        objects = [_outgoing(ref) for ref in _all_refs(folder)]
        sender = Senders(settings.node.ae_title, time.time).of(destination)
        with Progress(console=err, transient=True, disable=as_json) as shown:
            bar = shown.add_task(f"to {sender}", total=len(objects))
            outcomes = []
            for outcome in sender.store(objects):
                outcomes.append(outcome)
                shown.advance(bar)
    _show_outcomes(outcomes, as_json=as_json)


def _destination(settings: Settings, name: str) -> Destination:
    for destination in settings.destinations:
        if destination.name == name:
            return destination
    known = ", ".join(each.name for each in settings.destinations) or "none"
    raise SettingsInvalid(f"no destination {name!r} in the settings (known: {known})")


def _all_refs(folder: Path) -> list[InstanceRef]:
    return [ref for study in read_folder(folder, own=True).values() for ref in study.instances.values()]


def _outgoing(ref: InstanceRef) -> OutgoingObject:
    return OutgoingObject(Path(ref.path), ref.sop_class_uid, ref.sop_instance_uid, ref.transfer_syntax_uid)


def _show_outcomes(outcomes: list[Outcome], *, as_json: bool) -> None:
    failed = [outcome for outcome in outcomes if outcome.verdict is not Verdict.ACCEPTED]
    if as_json:
        print_json([{name: getattr(o, name) for name in Outcome.__dataclass_fields__} for o in outcomes])
    else:
        out.print(f"{len(outcomes) - len(failed)} of {len(outcomes)} objects stored")
        for outcome in failed:
            out.print(f"  {outcome.sop_instance_uid}: {outcome.verdict}, {outcome.reason}", markup=False)
    if failed:
        raise typer.Exit(1)
