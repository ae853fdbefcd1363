"""Commands that ask a node for something: retry, cancel. They write into the ledger; the node acts within a tick."""

import time
from collections.abc import Callable
from typing import Annotated, Final

import typer

from dicom_node.commands.app import DEFAULT_CONFIG, ConfigOption, app, err, ledger_of, out, settings_of
from dicom_node.ledger import Ledger
from dicom_node.settings import Settings

_SECONDS_A_DAY: Final = 86400.0
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="J17 for a job, D42 for a delivery: see `status`.")]


@app.command()
def retry(id_: IdArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run a held or cancelled job again, or send a held, cancelled or waiting delivery now."""
    settings = settings_of(config)
    give_up_days = settings.delivery.give_up_days

    def delivery(ledger: Ledger, number: int) -> bool:
        now = time.time()
        return ledger.deliveries.retry(number, now, now + give_up_days * _SECONDS_A_DAY)

    _ask(settings, id_, lambda ledger, number: ledger.jobs.retry(number, time.time()), delivery)


@app.command()
def cancel(id_: IdArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Give up a job that is not done, or a delivery that is not under way."""
    _ask(
        settings_of(config),
        id_,
        lambda ledger, number: ledger.jobs.cancel(number, time.time()),
        lambda ledger, number: ledger.deliveries.cancel(number, time.time()),
    )


_Asked = Callable[[Ledger, int], bool]


def _ask(settings: Settings, id_: str, job: _Asked, delivery: _Asked) -> None:
    kind, number = id_[:1].upper(), id_[1:]
    if kind not in {"J", "D"} or not number.isdecimal():
        raise typer.BadParameter(f"{id_!r} is neither a job (J17) nor a delivery (D42)")
    with ledger_of(settings) as ledger:
        done = (job if kind == "J" else delivery)(ledger, int(number))
        state = _state(ledger, kind, int(number))
    if not done:
        err.print(f"{id_} is {state}: nothing was changed", style="red", markup=False)
        raise typer.Exit(1)
    out.print(f"{id_} is {state}", markup=False)


def _state(ledger: Ledger, kind: str, number: int) -> str:
    row = ledger.jobs.get(number) if kind == "J" else ledger.deliveries.get(number)
    return "unknown" if row is None else str(row.state)
