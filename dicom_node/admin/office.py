"""All that pages and API work with, made once for a node."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dicom_node.admin.actions import Actions
from dicom_node.admin.connections import Connections
from dicom_node.admin.crews import Crews
from dicom_node.admin.openid import OpenId
from dicom_node.admin.people import People
from dicom_node.admin.preview import Previews
from dicom_node.admin.queries.counts import Counts
from dicom_node.admin.queries.silence import Habits
from dicom_node.admin.queries.studies import StudyList
from dicom_node.admin.queries.times import StageTimes
from dicom_node.admin.rule_desk import RuleDesk
from dicom_node.admin.vitals import TakeVitals
from dicom_node.ledger import Ledger
from dicom_node.live_settings import LiveSettings
from dicom_node.settings import Settings
from dicom_node.wanted import zone_of


@dataclass(frozen=True, slots=True)
class Office:
    """Read models, people, actions, and the node that they are about.

    Parameters
    ----------
    live : LiveSettings
        The settings in force, and how they are changed.
    clock : callable
        UTC seconds.
    store : Path
        Root of the instance store.
    crews : Crews
        Threads for what takes long.
    """

    live: LiveSettings
    ledger: Ledger
    clock: Callable[[], float]
    vitals: TakeVitals
    store: Path
    people: People
    actions: Actions
    connections: Connections
    rules: RuleDesk
    studies: StudyList
    counts: Counts
    times: StageTimes
    habits: Habits
    previews: Previews
    openid: OpenId | None
    crews: Crews

    @property
    def takes_passwords(self) -> bool:
        """Whether accounts of the node's own can log in."""
        return self.openid is None or self.openid.settings.password_log_in

    @property
    def settings(self) -> Settings:
        """What holds now: destinations and sources may change while the node runs."""
        return self.live.now

    @property
    def zone(self) -> dt.tzinfo | None:
        """The site's time zone; None for that of this computer."""
        return zone_of(self.settings)

    def local(self, at: float) -> dt.datetime:
        """Return a time (UTC seconds) in the site's time zone."""
        return dt.datetime.fromtimestamp(at, dt.UTC).astimezone(self.zone)

    def midnight(self) -> float:
        """Return when today began at the site, in UTC seconds."""
        # the zone is asked again: the clock may have been changed since midnight
        return dt.datetime.combine(self.local(self.clock()).date(), dt.time(), self.zone).timestamp()


def open_office(
    live: LiveSettings,
    ledger: Ledger,
    store: Path,
    clock: Callable[[], float],
    vitals: TakeVitals,
) -> Office:
    """Return the office of a node."""
    settings = live.now
    actions, rules = Actions(ledger, settings, clock), RuleDesk(settings, ledger, clock)
    live.watch(actions.take)
    live.watch(rules.take)
    return Office(
        live,
        ledger,
        clock,
        vitals,
        store,
        People(ledger, settings.admin, clock),
        actions,
        Connections(live, ledger, clock),
        rules,
        StudyList(ledger.engine),
        Counts(ledger.engine),
        StageTimes(ledger.engine),
        Habits(ledger.engine),
        Previews(ledger.engine, store, clock),
        None if settings.admin.openid is None else OpenId(settings.admin.openid, clock),
        Crews(),
    )
