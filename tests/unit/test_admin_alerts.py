"""Alerts: told once for a series of the same failure, tried again if nobody could be told, and told when over."""

from dataclasses import dataclass, field

import pytest

from dicom_node.admin.alerts import Alert, Alerts
from dicom_node.admin.queries.silence import habit_of
from dicom_node.admin.tellers import TellingFailed
from dicom_node.admin.vitals import Reach
from dicom_node.echoes import Echo, Echoes
from dicom_node.ledger import Ledger
from tests.admin_cases import Bench
from tests.ledger_cases import finished, held, queued


@dataclass
class Post:
    """Takes what is told, or is away."""

    away: bool = False
    told: list[tuple[str, bool]] = field(default_factory=list)

    def __call__(self, alert: Alert) -> None:
        if self.away:
            raise TellingFailed("nobody there")
        self.told.append((alert.key, alert.over))


def _hold(ledger: Ledger, study: str) -> None:
    queued(ledger, study=study)
    held(ledger, "the same as ever")


def test_a_destination_that_stays_down_is_told_once_and_when_it_is_back(desk: Bench) -> None:
    """Not before its minutes are over, not at every look, not again after a restart, and once more at the end."""
    post = Post()
    desk.reaches["pacs"] = Reach(desk.clock.now - 60, "nobody answers")
    alerts = Alerts(desk.office, (post,), desk.clock)
    alerts.tick()
    assert post.told == []
    desk.clock.now += 600
    alerts.tick()
    alerts.tick()
    Alerts(desk.office, (post,), desk.clock).tick()
    assert post.told == [("destination down: pacs", False)]
    desk.reaches.clear()
    alerts.tick()
    alerts.tick()
    assert post.told == [("destination down: pacs", False), ("destination down: pacs", True)]


def test_a_destination_that_answers_no_c_echo_is_down_though_nothing_waits_for_it(desk: Bench) -> None:
    """The first silent question counts; a node that has just started, and counts anew, does not call it over."""
    post, echoes = Post(), Echoes()
    alerts = Alerts(desk.office, (post,), desk.clock)

    def asked(*, answered: bool) -> None:
        echoes.note("pacs", Echo(desk.clock.now, answered, 0.1, "" if answered else "nobody answers"))
        desk.reaches["pacs"] = Reach(echo=echoes.of("pacs"))
        alerts.tick()

    for answered in (True, False, False, True, False):
        asked(answered=answered)
        desk.clock.now += 200
    assert post.told == []
    desk.clock.now += 400
    asked(answered=False)
    assert post.told == [("destination down: pacs", False)]
    echoes = Echoes()
    asked(answered=False)
    assert len(post.told) == 1
    asked(answered=True)
    assert post.told[1:] == [("destination down: pacs", True)]


def test_a_destination_to_which_nothing_is_sent_is_missed_too(desk: Bench) -> None:
    """Nobody waits for a delivery there: that it no longer answers C-ECHO is told, counted from the first silence."""
    post, echoes = Post(), Echoes()
    for minutes in (0, 5):
        echoes.note("pacs", Echo(desk.clock.now + minutes * 60, answered=False, seconds=1.0, reason="nobody answers"))
    desk.reaches["pacs"] = Reach(echo=echoes.of("pacs"))
    desk.clock.now += 9 * 60
    alerts = Alerts(desk.office, (post,), desk.clock)
    alerts.tick()
    assert post.told == []
    desk.clock.now += 60
    alerts.tick()
    assert post.told == [("destination down: pacs", False)]
    assert 'dicom_node_destination_up{destination="pacs"} 0.0' in desk.client().get("/metrics").text
    echoes.note("pacs", Echo(desk.clock.now, answered=True, seconds=1.0))
    desk.reaches["pacs"] = Reach(echo=echoes.of("pacs"))
    alerts.tick()
    assert post.told[1:] == [("destination down: pacs", True)]


def test_who_was_told_is_not_told_again_because_another_was_not(desk: Bench) -> None:
    """A webhook that is away fills nobody's mailbox: each way is told once, and told once that it is over."""
    mail, webhook = Post(), Post(away=True)
    alerts = Alerts(desk.office, (mail, webhook), desk.clock)
    desk.reaches["pacs"] = Reach(0, "nobody answers")
    alerts.tick()
    alerts.tick()
    assert mail.told == [("destination down: pacs", False)]
    webhook.away = False
    alerts.tick()
    alerts.tick()
    assert mail.told == webhook.told == [("destination down: pacs", False)]
    desk.reaches.clear()
    alerts.tick()
    desk.reaches["pacs"] = Reach(0, "nobody answers")
    webhook.away = True
    alerts.tick()
    desk.reaches.clear()
    webhook.away = False
    alerts.tick()
    assert [over for _, over in mail.told] == [False, True, False, True]
    assert [over for _, over in webhook.told] == [False, True]


def test_what_could_not_be_told_is_told_later(desk: Bench) -> None:
    """A mail server that is away loses no alert; what is over before anybody knew is nobody's news."""
    post = Post(away=True)
    alerts = Alerts(desk.office, (post,), desk.clock)
    desk.reaches["pacs"] = Reach(0, "nobody answers")
    alerts.tick()
    post.away = False
    alerts.tick()
    assert post.told == [("destination down: pacs", False)]
    desk.reaches.clear()
    alerts.tick()
    post.away = True
    desk.reaches["pacs"] = Reach(0, "nobody answers")
    alerts.tick()
    desk.reaches.clear()
    post.away = False
    alerts.tick()
    assert len(post.told) == 2


def test_an_end_that_could_not_be_told_is_told_later(desk: Bench) -> None:
    """A webhook that is away when a destination is back: who knows is not told twice, and it hears of it at last."""
    mail, webhook = Post(), Post()
    alerts = Alerts(desk.office, (mail, webhook), desk.clock)
    desk.reaches["pacs"] = Reach(0, "nobody answers")
    alerts.tick()
    desk.reaches.clear()
    webhook.away = True
    alerts.tick()
    alerts.tick()
    assert [over for _, over in mail.told] == [False, True]
    webhook.away = False
    alerts.tick()
    alerts.tick()
    assert mail.told == webhook.told == [("destination down: pacs", False), ("destination down: pacs", True)]
    assert not desk.ledger.trail.open_alerts()


def test_what_comes_back_while_its_end_is_told_is_new_to_who_knew(desk: Bench) -> None:
    """One way was told that it is over, the other was away: down again, both are told."""
    mail, webhook = Post(), Post()
    alerts = Alerts(desk.office, (mail, webhook), desk.clock)
    desk.reaches["pacs"] = Reach(0, "nobody answers")
    alerts.tick()
    desk.reaches.clear()
    webhook.away = True
    alerts.tick()
    webhook.away = False
    desk.reaches["pacs"] = Reach(0, "nobody answers")
    alerts.tick()
    assert [over for _, over in mail.told] == [False, True, False]
    assert [over for _, over in webhook.told] == [False, False]


def test_a_series_of_failures_is_one_alert(desk: Bench) -> None:
    """From the third held job of a pipeline in a row; more of them are the same alert."""
    post = Post()
    alerts = Alerts(desk.office, (post,), desk.clock)
    for number in range(5):
        _hold(desk.ledger, f"1.2.{number}")
        alerts.tick()
        assert len(post.told) == int(number >= 2)
    assert post.told == [("pipeline failing: pipeline", False)]


def test_an_old_queue_is_told(desk: Bench) -> None:
    """An object that has waited for an hour; the alert names the destination and no study."""
    post = Post()
    finished(desk.ledger)
    Alerts(desk.office, (post,), desk.clock).tick()
    assert post.told == [("queue old: pacs", False)]
    (alert,) = desk.ledger.trail.open_alerts().values()
    assert "2 object(s) wait for pacs" in alert.text


@pytest.mark.parametrize(("hours", "silent"), [(9, False), (15, False), (16, True)])
def test_silence_is_measured_by_habit(hours: float, silent: bool) -> None:
    """A scanner that is off every night is silent only after half as long again."""
    night, hour = 10, 3600
    times: list[float] = []
    at = 1e9
    for _ in range(60):  # five weeks
        times += [at + number * hour for number in range(5)]
        at += 4 * hour + night * hour
    habit = habit_of("MR1", times[::-1], times[-1] + hours * hour)
    assert habit is not None
    assert (habit.usual_gap_seconds, habit.silent) == (night * hour, silent)


def test_a_few_studies_are_no_habit() -> None:
    """A sender that was tried once is not missed."""
    assert habit_of("MR1", [5.0, 4.0, 3.0], 1e9) is None
