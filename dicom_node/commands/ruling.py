"""Commands on rules, as `dicom-node rules ...`: a running node takes a new version at once."""

import getpass
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import Progress
from rich.table import Table

from dicom_node import catalogue
from dicom_node.commands.app import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    app,
    err,
    failures_shown,
    ledger_of,
    local_time,
    out,
    print_json,
    settings_of,
)
from dicom_node.ledger import RuleVersion
from dicom_node.routing import RuleSet, Trial, rules_schema, trial_to_json
from dicom_node.rule_trial import try_on_history
from dicom_node.rulebook import RuleBook, Rules, check_text, checked_rules, read_text
from dicom_node.wanted import zone_of

rules_app: Final = typer.Typer(help="Versions of the rules: who changed what, when and why.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
AuthorOption = Annotated[str, typer.Option("--author", help="Who; else the user that runs this command.")]
NumberArgument = Annotated[int, typer.Argument(metavar="VERSION", help="A number from `rules list`.", min=1)]


@contextmanager
def _book_of(config: Path) -> Iterator[RuleBook]:
    settings = settings_of(config)
    with failures_shown(), ledger_of(settings) as ledger:
        yield RuleBook(settings, ledger, time.time)


@rules_app.command("list")
def list_versions(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the versions of the rules, newest first; the first is in force."""
    with ledger_of(settings_of(config)) as ledger:
        versions = ledger.rules.all()
    if as_json:
        print_json([_told(version) for version in versions])
        return
    table = Table("version", "at", "author", "reason")
    for version in versions:
        told = _told(version)
        table.add_row(f"{version.number}", told["at"], version.author, version.reason)
    out.print(table)


def _told(version: RuleVersion) -> dict[str, str]:
    return {
        "version": str(version.number),
        "at": local_time(version.at),
        "author": version.author,
        "reason": version.reason,
        "digest": version.digest,
    }


@rules_app.command()
def show(number: NumberArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Print the text of a version."""
    with _book_of(config) as book:
        typer.echo(book.version(number).text, nl=False)


@rules_app.command()
def diff(
    old: Annotated[int, typer.Argument(metavar="OLD", help="A version; 0: nothing at all.", min=0)],
    new: Annotated[int | None, typer.Argument(metavar="NEW", help="Another one; else the one in force.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show what changed from one version to another."""
    with _book_of(config) as book:
        typer.echo(book.difference(old, book.newest if new is None else new))


@rules_app.command()
def rollback(
    number: NumberArgument,
    reason: ReasonOption = "",
    author: AuthorOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put an earlier version in force again, as a new version."""
    with _book_of(config) as book:
        _say_saved(book.roll_back(number, author or getpass.getuser(), reason))


@rules_app.command("export")
def export_version(
    file: Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)],
    number: Annotated[int | None, typer.Option("--version", help="A version; else the one in force.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write a version into a file."""
    with _book_of(config) as book:
        version = book.version(book.newest if number is None else number)
        file.write_text(version.text, encoding="utf-8")
    out.print(f"version {version.number} is in {file}", markup=False)


@rules_app.command("import")
def import_version(
    file: Annotated[Path, typer.Argument(help="A file of rules.", exists=True, dir_okay=False)],
    reason: ReasonOption = "",
    author: AuthorOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Put the rules of a file in force, if they have no fault."""
    with _book_of(config) as book:
        _say_saved(book.save(read_text(file), author or getpass.getuser(), reason or f"imported from {file.name}"))


def _say_saved(version: RuleVersion) -> None:
    out.print(f"version {version.number} is in force: {version.reason}", markup=False)


@rules_app.command("check")
def check_file(
    file: Annotated[Path | None, typer.Argument(help="A file of rules; else the node's own.", dir_okay=False)] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List every fault of a file of rules: line, column, what is wrong, what would be right."""
    settings = settings_of(config)
    path = file or settings.node.rules
    with failures_shown():
        reading = check_text(read_text(path), settings)
    if as_json:
        print_json([{"line": f.line, "column": f.column, "what": f.what} for f in reading.faults])
    elif not reading.faults:
        out.print(f"{path}: no faults, {len(reading.rules.rules)} rule(s)", markup=False)
    for fault in () if as_json else reading.faults:
        err.print(f"{path}:{fault.line}:{fault.column}: {fault.what}", style="red", markup=False, highlight=False)
    if reading.faults:
        raise typer.Exit(1)


@rules_app.command("try")
def try_file(
    file: Annotated[Path, typer.Argument(help="The edited rules.", exists=True, dir_okay=False)],
    last: Annotated[str, typer.Option("--last", help="How far back: 30d (days), 12h (hours).")] = "30d",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Say what edited rules would have done with the studies of the last days; nothing runs, nothing changes."""
    seconds = _duration(last)
    settings = settings_of(config)
    with failures_shown(), ledger_of(settings) as ledger:
        new = checked_rules(read_text(file), settings, str(file))
        old = RuleBook(settings, ledger, time.time).in_force() or Rules(RuleSet(()), "")
        with Progress(console=err, transient=True, disable=as_json) as shown:
            bar = shown.add_task("studies", total=None)
            trial = try_on_history(
                ledger,
                old.parsed,
                new.parsed,
                time.time() - seconds,
                zone=zone_of(settings),
                progress=lambda done: shown.update(bar, completed=done),
            )
    if as_json:
        print_json(trial_to_json(trial))
    else:
        _show_trial(trial, last)


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d+)([dh])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is neither days (30d) nor hours (12h)")
    return int(found[1]) * {"d": 86400.0, "h": 3600.0}[found[2]]


def _show_trial(trial: Trial, last: str) -> None:
    out.print(
        f"{trial.studies} studies of the last {last}: {trial.differing} would be treated otherwise", markup=False
    )
    if not trial.counts:
        return
    table = Table("rule", "change", "studies")
    for (rule, change), count in trial.counts.items():
        table.add_row(rule, str(change), str(count))
    out.print(table)
    for each in trial.differences:
        out.print(
            f"Study {each.study_instance_uid}, rule {each.rule!r}: {each.change}", markup=False, highlight=False
        )
        for line in (*each.what, *each.decided):
            out.print(f"  {line}", markup=False, highlight=False)
    hidden = sum(trial.counts.values()) - len(trial.differences)
    if hidden:
        out.print(f"and {hidden} more, which are counted above")


class Described(StrEnum):
    """What there is a schema of."""

    RULES = "rules"


@app.command()
def schema(
    what: Annotated[Described, typer.Argument(help="What to describe.")],
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Complete the names of this node.")] = None,
) -> None:
    """Print the JSON Schema with which an editor completes and checks rules."""
    settings = None if config is None else settings_of(config)
    destinations = [] if settings is None else [destination.name for destination in settings.destinations]
    profiles = () if settings is None else settings.profile_names
    pipelines = {} if settings is None else catalogue.roles()
    if what is Described.RULES:
        print_json(rules_schema(pipelines, destinations, profiles))
