"""Commands that look: check, explain, status."""

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Column, Table

from dicom_node import offers, routing
from dicom_node.commands.app import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    app,
    failures_shown,
    ledger_of,
    local_time,
    out,
    print_json,
    settings_of,
)
from dicom_node.entities import AssociationRecord, StudyFacts
from dicom_node.errors import Failure
from dicom_node.known_facts import study_facts
from dicom_node.ledger import (
    Commitment,
    Conflict,
    Delivery,
    Fetch,
    Job,
    JobRun,
    Ledger,
    LedgerMissing,
    Revision,
    open_ledger,
)
from dicom_node.lifecycle import DeliveryState, JobState, ResultsState
from dicom_node.node import ledger_url
from dicom_node.presentation import sop_class_name
from dicom_node.rulebook import RuleBook, Rules, read_rules
from dicom_node.senders import Senders
from dicom_node.settings import Destination, Settings
from dicom_node.study_folder import one_study
from dicom_node.wanted import zone_of

_SHOWN: Final = 20


class StudyUnknown(Failure):
    """The ledger has no such study."""


@app.command()
def check(
    config: ConfigOption = DEFAULT_CONFIG,
    offline: Annotated[bool, typer.Option("--offline", help="Do not call the destinations.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check settings and rules, then ask each destination whether it answers, and what of its profile it accepts."""
    settings = settings_of(config)
    with failures_shown():
        rules = read_rules(settings)
    found = [] if offline else [_asked(settings, destination) for destination in settings.destinations]
    if as_json:
        print_json({"rules": len(rules.parsed.rules), "destinations": found})
    else:
        out.print(f"{config} and {settings.node.rules}: no faults, {len(rules.parsed.rules)} rule(s)", markup=False)
        _show_asked(found)
    if not all(each["answers"] and each["takes_all"] for each in found):
        raise typer.Exit(1)


def _asked(settings: Settings, destination: Destination) -> dict[str, Any]:
    sender = Senders(settings.node.ae_title, time.time).of(destination)
    told: dict[str, Any] = {
        "name": destination.name,
        "peer": str(sender),
        "profile": destination.profile,
        "answers": False,
        "accepts": {},
        "loses": [],
        "takes_all": False,
        "reason": "",
    }
    profile = settings.profile(destination.profile)
    try:
        sender.echo()
        told["answers"] = True
        accepted = offers.ask(profile, sender)
        lost = offers.losses(profile, accepted)
        told["accepts"] = {sop_class_name(uid): yes for uid, yes in accepted.items()}
        told["loses"] = [loss.text for loss in lost]
        told["takes_all"] = all(loss.replaced for loss in lost)
    except Failure as error:
        told["reason"] = str(error)
    return told


def _show_asked(found: list[dict[str, Any]]) -> None:
    table = Table(*_columns("destination", "answers", "profile", "takes", "does not take as its profile says"))
    for each in found:
        takes = ", ".join(name for name, yes in each["accepts"].items() if yes)
        takes = takes or ("tells when it is sent an object" if each["accepts"] else "?")
        table.add_row(
            f"{each['name']} ({each['peer']})",
            _mark(each["answers"]),
            each["profile"],
            takes,
            each["reason"] or "\n".join(each["loses"]),
        )
    if found:
        out.print(table)


def _columns(*names: str) -> list[Column]:
    # a UID that is cut short cannot be copied
    return [Column(name, overflow="fold") for name in names]


def _mark(yes: bool | None) -> str:
    return {True: "[green]yes[/green]", False: "[red]no[/red]", None: "?"}[yes]


@app.command()
def explain(
    study: Annotated[str, typer.Argument(help="A Study Instance UID that the node received, or a folder.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Say for every rule and every condition: the value seen, the value wanted, and yes, no or missing."""
    settings = settings_of(config)
    with failures_shown():
        rules = _rules_in_force(settings)
        facts = one_study(Path(study)).facts if Path(study).is_dir() else _known_facts(settings, study)
    verdicts = routing.route(facts, rules.parsed)
    if as_json:
        print_json({"study": facts.study_instance_uid, "verdicts": [routing.verdict_to_json(v) for v in verdicts]})
    else:
        version = f" (version {rules.version})" if rules.version else ""
        out.print(f"Study {facts.study_instance_uid}, rules of {settings.node.rules}{version}:", markup=False)
        for verdict in verdicts:
            out.print("\n".join(("", *routing.explain_lines(verdict))), markup=False, highlight=False)
    if not any(verdict.fires for verdict in verdicts):
        raise typer.Exit(1)


def _rules_in_force(settings: Settings) -> Rules:
    """Return the newest version of the ledger; where no node has run yet, what the file says."""
    try:
        ledger = open_ledger(ledger_url(settings), create=False)
    except LedgerMissing:
        return read_rules(settings)
    try:
        return RuleBook(settings, ledger, time.time).in_force() or read_rules(settings)
    finally:
        ledger.close()


def _known_facts(settings: Settings, study: str) -> StudyFacts:
    with ledger_of(settings) as ledger:
        revisions = ledger.studies.revisions(study)
        if not revisions:
            raise StudyUnknown(f"{study} is neither a folder nor a study that this node has received")
        received = ledger.studies.received(study, revisions[-1].number)
    if received is None:
        raise StudyUnknown(f"{study} is arriving just now: its headers are not read yet, ask again in a second")
    return study_facts(study, received, zone_of(settings))


@app.command()
def status(
    study: Annotated[str | None, typer.Argument(help="Only this Study Instance UID, with its history.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show studies, jobs and deliveries: what waits, what is held, and why."""
    settings = settings_of(config)
    with failures_shown(), ledger_of(settings) as ledger:
        told = _status(ledger, study)
        held = len(ledger.jobs.latest(1, state=JobState.HELD)) + len(ledger.deliveries.in_state(DeliveryState.HELD))
    if as_json:
        print_json(told)
    else:
        _show_status(told)
    if held:
        raise typer.Exit(1)


def _status(ledger: Ledger, study: str | None) -> dict[str, Any]:
    revisions = ledger.studies.revisions(study) if study else ledger.studies.latest(_SHOWN)
    if study and not revisions:
        raise StudyUnknown(f"{study} is no study that this node has received")
    jobs = ledger.jobs.latest(_SHOWN, study=study)
    held = [] if study else ledger.jobs.latest(_SHOWN, state=JobState.HELD)
    open_states = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.HELD)
    deliveries = ledger.deliveries.of_study(study) if study else ledger.deliveries.in_state(*open_states)
    far = ledger.deliveries.of_revisions({each.study_instance_uid for each in revisions})
    told: dict[str, Any] = {
        "studies": [_told_revision(each, far.get((each.study_instance_uid, each.number))) for each in revisions],
        "jobs": [_told_job(each) for each in {job.id: job for job in (*jobs, *held)}.values()],
        "deliveries": [_told_delivery(each) for each in deliveries],
        "fetches": [
            _told_fetch(each) for each in (ledger.fetches.of_study(study) if study else ledger.fetches.open())
        ],
        "commitments": [] if study else [_told_commitment(each) for each in ledger.commitments.latest(_SHOWN)],
        "associations": [] if study else [_told_association(each) for each in ledger.records.latest(_SHOWN)],
        "refused_senders": [] if study else [_told_sender(each) for each in ledger.arrivals.refused()[:_SHOWN]],
    }
    if study:
        told["runs"] = [_told_run(each) for each in ledger.runs.of_study(study)]
        told["delivery_attempts"] = [
            {"id": f"D{number}", "at": local_time(each.at), "outcome": each.outcome, "reason": each.reason}
            for number, attempts in sorted(ledger.deliveries.attempts(study).items())
            for each in attempts
        ]
        told["conflicts"] = [_told_conflict(each) for each in ledger.proofs.conflicts(study)]
        told["events"] = [
            {"at": local_time(at), "kind": kind, "text": text} for at, kind, text in ledger.events(study=study)
        ]
    return told


def _told_revision(revision: Revision, results: ResultsState | None) -> dict[str, Any]:
    return {
        "study": revision.study_instance_uid,
        "revision": revision.number,
        "state": str(revision.state),
        "results": str(results or ResultsState.NONE),
        "instances": revision.instances,
        "last arrival": local_time(revision.last_arrival_at),
        "reason": revision.reason,
    }


def _told_job(job: Job) -> dict[str, Any]:
    doing = f"{job.progress:.0%} {job.step}" if job.state is JobState.RUNNING else job.reason
    return {
        "id": f"J{job.id}",
        "study": job.study_instance_uid,
        "rule": job.rule,
        "rules": job.rules_version or "",
        "pipeline": job.pipeline,
        "state": str(job.state),
        "attempts": job.attempts,
        "reason": doing,
    }


def _told_run(run: JobRun) -> dict[str, Any]:
    used = run.effort.resources
    return {
        "job": f"J{run.job_id}",
        "run": run.number,
        "started": "" if run.started_at is None else local_time(run.started_at),
        "ended": local_time(run.ended_at),
        "outcome": run.outcome,
        "reason": run.reason,
        "cpu seconds": "" if used is None else used.cpu_seconds,
        "peak MiB": "" if used is None else used.peak_memory_mib,
        "device": "" if used is None else used.device,
        "GPU MiB": "" if used is None else used.gpu_memory_mib,
        "log": list(run.effort.log),
    }


def _told_delivery(delivery: Delivery) -> dict[str, Any]:
    waits = delivery.state is DeliveryState.WAITING and delivery.attempts > 0
    return {
        "id": f"D{delivery.id}",
        "study": delivery.study_instance_uid,
        "object": delivery.kind,
        "destination": delivery.destination,
        "state": str(delivery.state),
        "attempts": delivery.attempts,
        "next attempt": local_time(delivery.not_before) if waits else "",
        "reason": delivery.reason,
        "proof": delivery.proof,
    }


def _told_fetch(fetch: Fetch) -> dict[str, Any]:
    return {
        "id": f"F{fetch.id}",
        "study": fetch.study_instance_uid,
        "what": str(fetch.kind),
        "for": f"J{fetch.job_id}" if fetch.job_id else f"revision {fetch.revision}",
        "archive": fetch.archive,
        "state": str(fetch.state),
        "attempts": fetch.attempts,
        "reason": fetch.reason,
    }


def _told_conflict(conflict: Conflict) -> dict[str, Any]:
    """Return both identities: patient data, for the person who asked about this study."""
    return {
        "destination": conflict.destination,
        "noticed": local_time(conflict.noticed_at),
        "ours": dict(conflict.ours),
        "theirs": dict(conflict.theirs),
    }


def _told_association(record: AssociationRecord) -> dict[str, Any]:
    who = record.association
    return {
        "opened": local_time(who.opened_at),
        "calling": who.calling,
        "called": who.called,
        "address": who.address,
        "accepted": list(record.accepted),
        "refused": list(record.refused),
        "kept": record.kept,
        "duplicates": record.duplicates,
        "not kept": {f"0x{status:04X}": count for status, count in record.statuses.items()},
        "bytes": record.size,
        "seconds": round(record.ended_at - who.opened_at, 3),
        "ended": str(record.end),
    }


def _told_commitment(commitment: Commitment) -> dict[str, Any]:
    return {
        "transaction": commitment.request.transaction_uid,
        "calling": commitment.calling,
        "instances": len(commitment.request.references),
        "state": str(commitment.state),
        "attempts": commitment.attempts,
        "reason": commitment.reason,
    }


def _told_sender(sender: Any) -> dict[str, Any]:
    return {
        "calling": sender.calling,
        "called": sender.called,
        "address": sender.address,
        "count": sender.count,
        "last": local_time(sender.last_at),
        "reason": sender.reason,
    }


def _show_status(told: dict[str, Any]) -> None:
    for title, rows in told.items():
        if not rows:
            out.print(f"{title.replace('_', ' ')}: none")
            continue
        table = Table(*_columns(*rows[0]), title=title.replace("_", " "), title_justify="left")
        for row in rows:
            table.add_row(
                *(_shown(value) for value in row.values()), style="red" if row.get("state") == "held" else ""
            )
        out.print(table)


def _shown(value: object) -> str:
    # presentation contexts, and lines of a log, by the dozen: all of them are in the JSON
    return str(len(value)) if isinstance(value, list) else str(value)
