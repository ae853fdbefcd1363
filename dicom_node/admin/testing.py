"""A destination tested step by step: TCP, TLS, C-ECHO or what its protocol has, each SOP class of its profile."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from dicom_node import offers
from dicom_node.errors import Failure, ServiceNotOffered, TlsUnusable
from dicom_node.outgoing import Sender
from dicom_node.presentation import sop_class_name
from dicom_node.reaching import Step, reached
from dicom_node.settings import (
    ClientTlsSettings,
    Destination,
    DicomDestination,
    DicomWebDestination,
    ResultProfile,
)
from dicom_node.tls import client_context

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Tested:
    """What a destination answered, step by step.

    Parameters
    ----------
    steps : tuple of Step
        In order; after one that failed there are no more.
    accepts : mapping
        SOP class in words to yes, no, or None where nobody can know before an object is sent.
    """

    answers: bool
    seconds: float
    reason: str
    accepts: Mapping[str, bool | None]
    losses: tuple[str, ...]
    steps: tuple[Step, ...] = ()


def tested(destination: Destination, sender: Sender, profile: ResultProfile) -> Tested:
    """Test a destination; takes up to its time-out for each step."""
    began, steps = time.monotonic(), []
    for step in _steps(destination, sender):
        steps.append(step)
        if step.passed is False:
            return Tested(False, time.monotonic() - began, step.told, {}, (), tuple(steps))
    seconds = time.monotonic() - began
    try:
        accepted = offers.ask(profile, sender)
    except Failure as failure:
        steps.append(Step("SOP classes", False, time.monotonic() - began - seconds, str(failure)))
        return Tested(False, time.monotonic() - began, str(failure), {}, (), tuple(steps))
    lost = offers.losses(profile, accepted)
    accepts = {sop_class_name(uid): yes for uid, yes in accepted.items()}
    return Tested(True, seconds, "", accepts, tuple(loss.text for loss in lost), tuple(steps))


def _steps(destination: Destination, sender: Sender) -> Iterator[Step]:
    yield from _ways(destination)
    began, name = time.monotonic(), _SERVICES.get(type(destination), "Folder")
    try:
        sender.echo()
    except ServiceNotOffered as failure:
        yield Step(name, None, time.monotonic() - began, f"{failure}; it can be sent to without")
    except Failure as failure:
        yield Step(name, False, time.monotonic() - began, str(failure))
    else:
        yield Step(name, True, time.monotonic() - began, f"{sender} answers")


_SERVICES: Final[Mapping[type[Destination], str]] = {DicomDestination: "C-ECHO", DicomWebDestination: "DICOMweb"}


def _ways(destination: Destination) -> Iterator[Step]:
    table = f"[destination.tls] of {destination.name!r}"
    match destination:
        case DicomDestination(host=host, port=port, tls=tls):
            secure = tls is not None
        case DicomWebDestination(proxy=str(proxy)):
            tls, secure, (host, port) = None, False, _host_of(proxy)
        case DicomWebDestination(url=url, tls=tls):
            secure, (host, port) = urlsplit(url).scheme == "https", _host_of(url)
        case _:
            return
    try:
        context = client_context(tls or ClientTlsSettings(), table) if secure else None
    except TlsUnusable as failure:
        yield Step("TLS", False, 0.0, str(failure))
        return
    yield from reached(host, port, destination.timeout_seconds, context, table)


def _host_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]
