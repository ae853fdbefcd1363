"""What all commands share: the application, its options, and how a failure is shown."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from dicom_node import __version__
from dicom_node.errors import DicomNodeError
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.node import ledger_url
from dicom_node.pipeline_settings import check_node_settings
from dicom_node.settings import Settings, load_settings

app: Final = typer.Typer(
    help="A DICOM node that puts AI into the PACS you already have.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold patient data
    add_completion=False,
)
#: Columns of what goes into a file or a pipe: wide enough that no UID is folded.
_PIPED_COLUMNS: Final = 240
out: Final = Console(soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_COLUMNS)
err: Final = Console(stderr=True, soft_wrap=True)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The node's settings.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
DEFAULT_CONFIG: Final = Path("config/node.toml")


@app.callback(invoke_without_command=True)
def main_options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Print the version, if asked for."""
    if version:
        out.print(__version__)
        raise typer.Exit


@contextmanager
def failures_shown() -> Iterator[None]:
    """Show an error of our own as one plain text, and exit with 1."""
    try:
        yield
    except DicomNodeError as error:
        err.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None


def settings_of(config: Path) -> Settings:
    """Return the settings; a missing or faulty file is shown and ends the command with 1."""
    with failures_shown():
        settings = load_settings(config)
        check_node_settings(settings, config)
        return settings


@contextmanager
def ledger_of(settings: Settings) -> Iterator[Ledger]:
    """Open the node's ledger to look into it; a node may be running."""
    with failures_shown():
        ledger = open_ledger(ledger_url(settings), create=False)
    try:
        yield ledger
    finally:
        ledger.close()


def local_time(at: float) -> str:
    """Return a moment, in seconds since the epoch, as a clock here shows it."""
    return datetime.fromtimestamp(at, UTC).astimezone().isoformat(sep=" ", timespec="seconds")


def print_json(value: Any) -> None:
    """Print a structure for a script."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
