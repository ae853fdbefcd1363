"""Trying rules in a process of its own: one at a time, with progress, and it ends with the node."""

import threading
import time
from pathlib import Path

import pytest

from dicom_node.admin.trials import TrialBusy, TrialFailed, Trials
from dicom_node.errors import SettingsInvalid
from tests.admin_cases import Bench, bench

_TEXT = """[[rule]]
name = "one"
do_not_run = "phantoms"
[rule.when]
Modality = "MR"
"""


def _trials(desk: Bench) -> Trials:
    return Trials(desk.office.settings, desk.ledger, time.time)


def test_an_answer_comes_from_the_other_process(tmp_path: Path) -> None:
    """Nothing was received, so nothing differs; the last progress says how many there were."""
    done: list[int] = []
    with bench(tmp_path) as desk:
        trial = _trials(desk).run(_TEXT, 86400, done.append)
    assert (trial.studies, trial.differing) == (0, 0)
    assert done == [0]


def test_a_faulty_text_is_not_tried(tmp_path: Path) -> None:
    """Its faults are told instead."""
    with bench(tmp_path) as desk, pytest.raises(SettingsInvalid, match=r"rules\.toml:5"):
        _trials(desk).run(_TEXT.replace("Modality", "Modalty"), 86400)


def test_one_at_a_time_and_it_ends_with_the_node(tmp_path: Path) -> None:
    """A second one is refused in words; the first, stopped, says that the node stops."""
    failures: list[BaseException] = []
    with bench(tmp_path) as desk:
        trials = _trials(desk)
        began = threading.Event()

        def run() -> None:
            began.set()
            try:
                trials.run(_TEXT, 86400, lambda _: None)
            except TrialFailed as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        began.wait()
        end = time.monotonic() + 30
        while not trials.is_busy:
            assert time.monotonic() < end
        with pytest.raises(TrialBusy, match="already"):
            trials.run(_TEXT, 86400)
        trials.stop()
        thread.join(60)
    assert [str(failure) for failure in failures] == ["the node stops"]
