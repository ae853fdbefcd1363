"""How each attempt of a job and of a delivery went: times, what it used, its log. A part of a study's page."""

from collections.abc import Sequence
from typing import Final

from dicom_node.admin.office import Office
from dicom_node.admin.pages.words import Html, badge, clock, joined, lasting, table, tag
from dicom_node.ledger import Attempt, JobRun, Resources

_SHORT_SECONDS: Final = 10.0
#: Stages in the order in which a worker goes through them; how each is called on a page.
_STAGES: Final = {
    "load": "reading images",
    "model": "loading the model",
    "run": "computing",
    "build": "building objects",
    "store": "storing",
}


def runs_html(office: Office, runs: Sequence[JobRun]) -> Html:
    """Return the attempts of a job, latest first, each with its log to be unfolded; nothing if there are none."""
    return joined(_run(office, run) for run in runs)


def _run(office: Office, run: JobRun) -> Html:
    took = None if run.started_at is None else run.ended_at - run.started_at
    used = run.effort.resources
    head = [
        badge(run.outcome),
        f" run {run.number}, ended ",
        clock(office, run.ended_at),
        f", took {lasting(took)}",
        f": {used_words(used)}" if used else ": what it used is not known, because its process did not live to say",
    ]
    stages = [
        (f"{_STAGES.get(stage, stage)} ({stage})", _precise(run.effort.seconds[stage]))
        for stage in sorted(run.effort.seconds, key=lambda each: [*_STAGES, each].index(each))
    ]
    parts = [
        tag("p", run.reason) if run.reason else "",
        table(("Stage", "Wall time"), stages, label=f"Stages of run {run.number}") if stages else "",
        tag("h4", "Log"),
        tag("pre", "\n".join(run.effort.log), tabindex=0, aria_label=f"Log of run {run.number}", class_="log")
        if run.effort.log
        else tag("p", "It logged nothing.", class_="quiet"),
        tag("p", f"On {used.host}.", class_="small") if used and used.host else "",
        tag("p", "Weights: ", tag("code", used.weights), class_="small") if used and used.weights else "",
    ]
    return tag("details", tag("summary", *head), *parts, class_="run", data_key=f"run {run.job_id} {run.number}")


def _precise(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < _SHORT_SECONDS else lasting(seconds)


def used_words(used: Resources) -> str:
    """Return what an attempt used, in words."""
    gpu = f" with {used.gpu_memory_mib:.0f} MiB" if used.gpu_memory_mib else ""
    return f"{lasting(used.cpu_seconds)} of CPU, {used.peak_memory_mib:.0f} MiB at most, on {used.device}{gpu}"


def attempts_html(office: Office, delivery: int, attempts: Sequence[Attempt]) -> Html:
    """Return what happened to a delivery, latest first, to be unfolded."""
    if not attempts:
        return Html("")
    rows = [(clock(office, each.at), each.outcome, each.reason) for each in attempts]
    lines = table(("Ended", "How", "What was said"), rows, label="Attempts")
    summary = tag("summary", f"{len(rows)} in its history")
    return tag("details", summary, lines, class_="run", data_key=f"delivery {delivery}")
