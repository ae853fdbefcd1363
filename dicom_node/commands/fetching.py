"""The command that fetches studies from an archive now."""

import time
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.progress import Progress

from dicom_node import log
from dicom_node.commands.app import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    app,
    err,
    failures_shown,
    ledger_of,
    out,
    print_json,
    settings_of,
)
from dicom_node.errors import Failure, SettingsInvalid
from dicom_node.fetching import Pulled, Puller
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Ledger
from dicom_node.retrieving import only_one_value
from dicom_node.settings import Settings

_MIB: Final = 2**20
#: What has not come by then is given up: an archive may have to fetch from tape.
_LONGEST_SECONDS: Final = 6 * 3600.0


class NothingFound(Failure):
    """An archive has no such study."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """What became of one study."""

    study: str
    pulled: Pulled | None
    reason: str = ""

    @property
    def well(self) -> bool:
        return self.pulled is not None and self.pulled.complete

    def told(self) -> dict[str, Any]:
        pulled = self.pulled or Pulled(0, 0, "")
        said = self.reason or str(pulled)
        return {"study": self.study, "wanted": pulled.wanted, "came": pulled.came, "well": self.well, "reason": said}


@app.command()
def fetch(
    from_: Annotated[str, typer.Option("--from", help="Name of an [[archive]] in node.toml.")],
    study: Annotated[str | None, typer.Option(help="A Study Instance UID.")] = None,
    accession: Annotated[str | None, typer.Option(help="An Accession Number.")] = None,
    patient: Annotated[str | None, typer.Option(help="A Patient ID: all studies of this patient.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Fetch studies from an archive now; they are routed as if a scanner had sent them."""
    given = {"StudyInstanceUID": study, "AccessionNumber": accession, "PatientID": patient}
    keys = {keyword: value for keyword, value in given.items() if value is not None}
    if len(keys) != 1 or not only_one_value(keys):
        raise typer.BadParameter("give one of --study, --accession and --patient, without * and ?")
    settings = settings_of(config)
    log.configure("error")
    with failures_shown(), ledger_of(settings) as ledger:
        _require_archive(settings, from_)
        store = InstanceStore(settings.node.data / "store", settings.reception.free_space_floor_mib * _MIB)
        fetched = _fetched(Puller(settings, ledger, store, time.time), ledger, from_, keys, quiet=as_json)
    if as_json:
        print_json([each.told() for each in fetched])
    else:
        for each in fetched:
            out.print(f"{each.study}: {each.told()['reason']}", markup=False, highlight=False)
    if not all(each.well for each in fetched):
        raise typer.Exit(1)


def _require_archive(settings: Settings, name: str) -> None:
    known = [archive.name for archive in settings.archives]
    if name not in known:
        raise SettingsInvalid(f"no archive {name!r} in the settings (known: {', '.join(known) or 'none'})")


def _fetched(puller: Puller, ledger: Ledger, name: str, keys: dict[str, str], *, quiet: bool) -> list[_Fetched]:
    archive = puller.archive(name)
    studies = sorted({match["StudyInstanceUID"] for match in archive[1].studies(keys)} - {""})
    if not studies:
        raise NothingFound(f"{name} has no such study")
    done: list[_Fetched] = []
    until = time.monotonic() + _LONGEST_SECONDS
    for study in studies:
        try:
            contents = archive[1].contents(study)
            # what came only as prior is to count as sent from now on
            wanted = contents if ledger.fetches.only_prior(study) else puller.lacking(contents)
            total = sum(map(len, wanted.values()))
            with Progress(console=err, transient=True, disable=quiet) as shown:
                bar = shown.add_task(study, total=total)
                pulled = puller.pull(archive, {study: contents}, {study: wanted}, until, lambda: shown.advance(bar))  # noqa: B023 - called in this round
            done.append(_Fetched(study, pulled))
        except Failure as failure:
            done.append(_Fetched(study, None, str(failure)))
    return done
