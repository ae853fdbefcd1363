"""Pipelines: what is installed, what it is for, what it needs and finds, its settings, and how its jobs went."""

from asyncio import to_thread
from typing import Final

from dicom_node.admin.pages.frame import Visit, show
from dicom_node.admin.pages.words import Html, badge, clock, joined, lasting, pairs, table, tag
from dicom_node.admin.queries.pipeline_runs import History
from dicom_node.admin.queries.pipelines import InputState, PipelineState, SettingState, pipeline_states

_MIB: Final = 2**20
#: Of more pipelines than these the details are folded.
_FEW: Final = 3


async def pipelines_page(visit: Visit) -> None:
    """Show the installed pipelines."""
    states = await to_thread(pipeline_states, visit.office)
    none = tag("p", "No pipeline is installed: install a package that offers one, and restart the node.")
    hint = tag(
        "p",
        "To run one on a study without sending anything, open the study (",
        tag("a", "Studies", href=f"{visit.root}/studies"),
        ") and choose it under “Run a pipeline without sending”.",
        class_="quiet",
    )
    cards = [_pipeline(visit, state, unfolded=len(states) <= _FEW) for state in states]
    show(joined([tag("h1", "Pipelines"), hint, *(cards or [none])]))


def _pipeline(visit: Visit, state: PipelineState, *, unfolded: bool) -> Html:
    history = state.history
    rows = [
        ("Usable", joined([badge("no"), f" {state.fault}"]) if state.fault else badge("yes")),
        ("Intended use", state.intended_use or "-"),
        ("Version", state.version or "-"),
        ("Weights", _weights(state)),
        ("Name in rules", tag("code", state.name)),
        ("Package", tag("code", state.package)),
        ("Used by rules", ", ".join(state.rules) or "none"),
    ]
    needs = [
        tag("summary", "Inputs, outputs and settings in force"),
        tag("h3", "Inputs"),
        table(("Role", "What", "Modality", "Slices", "Needed"), map(_input, state.inputs), "Not known."),
        tag("h3", "Outputs"),
        _outputs(state),
        tag("h3", "Settings in force"),
        table(
            ("Setting", "Value", "Default", "May be", "What it does", "Rules that give another"),
            map(_setting, state.settings),
            "It has none.",
        ),
    ]
    parts = [
        tag("h2", state.title),
        pairs(rows),
        tag("details", *needs, open="open" if unfolded else None),
        _history(visit, history) if history else "",
    ]
    return tag("section", *parts, class_="card wide", aria_label=state.title)


def _weights(state: PipelineState) -> Html:
    found, last = state.weights, state.history.weights if state.history else ""
    if found is None:
        if last:
            return joined([tag("code", last), " (loaded by its last job)"])
        return Html("it declares no weight files, and no job has loaded any")
    if found.fault:
        return joined([badge("no"), f" {found.fault}"])
    told = f" (SHA-256 of {', '.join(found.files)}; {found.size / _MIB:.1f} MiB)"
    other = ""
    if last and last != found.sha256:
        other = tag("div", badge("other"), " its last job had loaded ", tag("code", last), class_="small")
    return joined([tag("code", found.sha256), told, other])


def _input(each: InputState) -> tuple[object, ...]:
    needed = "may be missing" if each.may_lack else "yes"
    what = f"{each.title} (of an earlier study)" if each.prior else each.title
    return tag("code", each.role), what, each.modality, f"{each.minimum_slices} at least", needed


def _outputs(state: PipelineState) -> Html:
    says = [(tag("b", name), text) for name, text in (state.outputs or {}).items()]
    made = ", ".join(f"{count} {kind}" for kind, count in sorted(state.history.made.items())) if state.history else ""
    stored = tag("p", f"Objects made so far: {made or 'none'}.", class_="quiet")
    return joined([table(("What", "How"), says, "It does not say."), stored])


def _setting(each: SettingState) -> tuple[object, ...]:
    value = tag("b", each.value, title="from node.toml") if each.given else each.value
    others = ", ".join(f"{rule}: {other}" for rule, other in each.by_rules.items())
    where = tag("span", " (node.toml)", class_="quiet") if each.given else ""
    return tag("code", each.name), joined([value, where]), each.default, each.limits or "-", each.help, others or "-"


def _history(visit: Visit, history: History) -> Html:
    if not history.jobs:
        return tag("p", "It has had no job yet.", class_="quiet")
    counts = ", ".join(f"{count} {word}" for word, count in sorted(history.jobs.items()))
    stages = ", ".join(f"{stage} {lasting(seconds)}" for stage, seconds in history.stages.items())
    rows = [
        ("Jobs", counts),
        ("Time", f"{lasting(history.median_seconds)} (median), {lasting(history.slow_seconds)} (95 of 100 below)"),
        ("Median of each stage", stages or "-"),
        ("Last done", clock(visit.office, history.last_at)),
        ("Ran on", history.device or "-"),
        ("Failed attempts", history.failed_attempts),
    ]
    failed = [
        (
            clock(visit.office, each.at),
            tag("a", f"J{each.job}", href=f"{visit.root}/study/{each.study_instance_uid}"),
            badge(each.outcome),
            each.reason,
        )
        for each in history.failures
    ]
    last = [tag("h3", "Latest failures"), table(("When", "Job", "Outcome", "Why"), failed)] if failed else []
    return joined([tag("h3", "Jobs"), pairs(rows), *last])
