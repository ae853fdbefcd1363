"""Telling somebody: by e-mail and by webhook."""

import json
import smtplib
from email.message import EmailMessage
from typing import Final

import urllib3

from dicom_node.admin.alerts import Alert, Teller
from dicom_node.errors import Failure
from dicom_node.settings import AlertSettings

_TIMEOUT_SECONDS: Final = 20.0
_REDIRECTION: Final = 300


class TellingFailed(Failure):
    """Nobody could be told of an alert; it is tried again."""

    retryable = True


def tellers_of(settings: AlertSettings, node: str) -> tuple[Teller, ...]:
    """Return the ways that settings name."""
    ways: list[Teller] = []
    if settings.email_to:
        ways.append(_Mail(settings, node))
    if settings.webhook:
        ways.append(_Webhook(settings.webhook, node))
    return tuple(ways)


class _Mail:
    def __init__(self, settings: AlertSettings, node: str) -> None:
        self._settings = settings
        self._node = node

    def __call__(self, alert: Alert) -> None:
        """Send one e-mail."""
        settings, message = self._settings, EmailMessage()
        message["From"], message["To"] = settings.email_from, ", ".join(settings.email_to)
        message["Subject"] = f"[{self._node}] {'over: ' if alert.over else ''}{alert.key}"
        message.set_content(f"{'Over: ' if alert.over else ''}{alert.text}\n\nNode {self._node}, dicom_node\n")
        try:
            with smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=_TIMEOUT_SECONDS) as server:
                if settings.smtp_starttls:
                    server.starttls()
                if settings.smtp_user and settings.smtp_password_file:
                    secret = settings.smtp_password_file.read_text(encoding="utf-8").strip()
                    server.login(settings.smtp_user, secret)
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            where = f"{settings.smtp_host}:{settings.smtp_port}"
            raise TellingFailed(f"no e-mail by {where} ({type(error).__name__}): see [admin.alerts]") from error


class _Webhook:
    def __init__(self, url: str, node: str) -> None:
        self._url = url
        self._node = node
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT_SECONDS, retries=False)

    def __call__(self, alert: Alert) -> None:
        """Post one alert as JSON."""
        told = {"node": self._node, "key": alert.key, "text": alert.text, "since": alert.since, "over": alert.over}
        try:
            body = json.dumps(told)
            answer = self._pool.request("POST", self._url, body=body, headers={"Content-Type": "application/json"})
        except urllib3.exceptions.HTTPError as error:
            raise TellingFailed(
                f"the webhook does not answer ({type(error).__name__}): see [admin.alerts]"
            ) from error
        if answer.status >= _REDIRECTION:
            raise TellingFailed(f"the webhook answers {answer.status}: see [admin.alerts]")
