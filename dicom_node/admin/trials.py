"""Trying rules on the studies of the last days, in a process of its own: a node at work is not slowed by it."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

from dicom_node.errors import DicomNodeError, Failure
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.routing import RuleSet, Trial
from dicom_node.rule_trial import try_on_history
from dicom_node.rulebook import RuleBook, Rules, checked_rules
from dicom_node.settings import Settings
from dicom_node.wanted import zone_of

_NICE: Final = 10
_LOOK_SECONDS: Final = 0.2


class TrialFailed(Failure):
    """Rules could not be tried; the text says why."""


class TrialBusy(Failure):
    """Somebody else tries rules just now."""


class Trials:
    """Tries rules, one text at a time.

    Parameters
    ----------
    clock : callable
        UTC seconds.
    """

    def __init__(self, settings: Settings, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._url = ledger.engine.url.render_as_string(hide_password=False)
        self._clock = clock
        self._one = threading.Lock()
        self._stopping = threading.Event()

    def take(self, settings: Settings) -> None:
        """Try by these settings from now on."""
        self._settings = settings

    def run(self, text: str, seconds: float, progress: Callable[[int], None] = lambda _: None) -> Trial:
        """Return what a text would have done otherwise than the rules in force, with the studies of so many seconds.

        Parameters
        ----------
        progress : callable
            Called now and then, from this thread, with the number of studies done.

        Raises
        ------
        SettingsInvalid
            If the text has faults.
        TrialBusy
            If another one is being tried.
        TrialFailed
            If it ended without an answer.
        """
        checked_rules(text, self._settings, "rules.toml")
        if not self._one.acquire(blocking=False):
            raise TrialBusy("rules are being tried already: wait until that is done, then try again")
        try:
            return self._in_a_process(text, self._clock() - seconds, progress)
        finally:
            self._one.release()

    @property
    def is_busy(self) -> bool:
        """Whether rules are being tried."""
        return self._one.locked()

    def stop(self) -> None:
        """End what is being tried."""
        self._stopping.set()

    def _in_a_process(self, text: str, since: float, progress: Callable[[int], None]) -> Trial:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        arguments = (there, self._url, self._settings, text, since)
        process = context.Process(target=_try, args=arguments, name="rules trial", daemon=True)
        with here:
            process.start()
            there.close()
            try:
                return self._answer(here, progress)
            except EOFError:
                raise TrialFailed("the trial ended without an answer: see the log of the node") from None
            finally:
                process.terminate()
                process.join()

    def _answer(self, here: Connection, progress: Callable[[int], None]) -> Trial:
        while not self._stopping.is_set():
            if not here.poll(_LOOK_SECONDS):
                continue
            told: Any = here.recv()
            if isinstance(told, Trial):
                return told
            if isinstance(told, str):
                raise TrialFailed(told)
            progress(told)
        raise TrialFailed("the node stops")


def _try(there: Connection, url: str, settings: Settings, text: str, since: float) -> None:
    """Try, in the other process: tells progress (int), then the trial, or why there is none (str)."""
    with suppress(OSError):
        os.nice(_NICE)
    with there:
        try:
            ledger = open_ledger(url, create=False)
            old = RuleBook(settings, ledger, time.time).in_force() or Rules(RuleSet(()), "")
            new = checked_rules(text, settings, "rules.toml")
            zone = zone_of(settings)
            there.send(try_on_history(ledger, old.parsed, new.parsed, since, zone=zone, progress=there.send))
        except DicomNodeError as error:
            there.send(str(error))
