"""The pages of a node, and its alerts, as one part of it: made, started and stopped by the composition root."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from dicom_node.admin.alerts import Alerts
from dicom_node.admin.app import make_app
from dicom_node.admin.audit_sender import AuditSender
from dicom_node.admin.office import Office, open_office
from dicom_node.admin.pages.register import add_pages
from dicom_node.admin.server import WebServer
from dicom_node.admin.tellers import tellers_of
from dicom_node.admin.vitals import TakeVitals
from dicom_node.ledger import Ledger
from dicom_node.live_settings import LiveSettings

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 30.0


class House:
    """A web server, and a thread that tells: alerts, and audit messages."""

    def __init__(self, server: WebServer, alerts: Alerts, audit: AuditSender, office: Office) -> None:
        self._server = server
        self._alerts = alerts
        self._audit = audit
        self._office = office
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._look, name="alerts", daemon=True)

    @property
    def url(self) -> str:
        """Where the pages are."""
        return self._server.url

    def start(self) -> None:
        """Look for what to tell, and serve the pages; raises PagesUnavailable."""
        self._watch.start()
        self._server.start()

    def stop(self) -> None:
        """End both."""
        self._stopping.set()
        self._office.rules.stop()
        self._office.crews.stop()
        self._server.stop()
        if self._watch.is_alive():
            self._watch.join(_LOOK_SECONDS)

    def _look(self) -> None:
        """Look every half minute; the named boundary: an error is logged, and the next look tries again."""
        old = self._office.previews.forget_old
        steps = (("alerts", self._alerts.tick), ("audit", self._audit.tick), ("previews", old))
        while not self._stopping.wait(_LOOK_SECONDS):
            for step, tick in steps:
                try:
                    tick()
                except Exception:
                    log.exception("stage failed", step=step)


def make_pages(
    live: LiveSettings,
    ledger: Ledger,
    store: Path,
    clock: Callable[[], float],
    vitals: TakeVitals,
) -> House:
    """Return the pages of a node, not yet started."""
    settings = live.now
    office = open_office(live, ledger, store, clock, vitals)
    app = make_app(office)
    add_pages(app, office)
    alerts = Alerts(office, tellers_of(settings.admin.alerts, settings.node.name), clock)
    audit = AuditSender(ledger, settings.admin.audit, settings.node.name)
    return House(WebServer(app, settings.admin), alerts, audit, office)
