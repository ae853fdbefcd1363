"""The node's figures for Prometheus, read from the ledger when they are asked for. Labels hold no patient data."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from dicom_node.admin.office import Office
from dicom_node.admin.queries.overview import DestinationState, Overview, overview_of
from dicom_node.admin.queries.times import quantile
from dicom_node.ledger.database import reading
from dicom_node.ledger.schema import instances

_MIB: Final = 2**20
_HOUR: Final = 3600.0
_QUANTILES: Final = (0.5, 0.95, 1.0)


class NodeCollector(Collector):
    """Asks an office for figures each time it is collected."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering asks no ledger."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        overview = overview_of(self._office)
        yield _labelled(
            "dicom_node_info", "Version of the node", ("node", "version"), {(overview.node, overview.version): 1.0}
        )
        yield from _of_parts(overview)
        yield from _of_destinations(overview)
        yield _labelled(
            "dicom_node_sender_silent",
            "1 if a sender has fallen silent compared with its habit",
            ("sender",),
            {(each.sender,): float(each.silent) for each in overview.senders},
        )
        yield self._stages()
        received = CounterMetricFamily(
            "dicom_node_instances_received", "Instances received since the ledger was made"
        )
        received.add_metric([], self._received())
        yield received

    def _stages(self) -> Metric:
        samples = self._office.times.samples(self._office.clock() - _HOUR)
        ordered = {stage: sorted(took) for stage, took in samples.items() if took}
        values: dict[tuple[str, ...], float] = {
            (stage, f"{share:g}"): quantile(took, share) for stage, took in ordered.items() for share in _QUANTILES
        }
        text = "Seconds that a stage took in the last hour"
        return _labelled("dicom_node_stage_seconds", text, ("stage", "quantile"), values)

    def _received(self) -> float:
        with reading(self._office.ledger.engine).connect() as connection:
            return float(connection.execute(select(func.max(instances.c.id))).scalar() or 0)


def _of_parts(overview: Overview) -> Iterator[Metric]:
    plain = {
        "dicom_node_start_time_seconds": ("When the node started", overview.started_at),
        "dicom_node_receivers": ("Receivers that run", overview.receivers),
        "dicom_node_receivers_wanted": ("Receivers that should run", overview.receivers_wanted),
        "dicom_node_workers": ("Worker processes", overview.workers),
        "dicom_node_workers_free": ("Worker processes without a job", overview.free_workers),
        "dicom_node_disk_free_bytes": ("Free on the disk of the data folder", overview.disk.free_mib * _MIB),
        "dicom_node_disk_floor_bytes": ("Below this nothing is accepted", overview.disk.floor_mib * _MIB),
    }
    for name, (text, value) in plain.items():
        yield GaugeMetricFamily(name, text, value=float(value))
    for name, text, label, counts in (
        ("dicom_node_studies_today", "Studies received today by phase", "phase", overview.studies_today),
        ("dicom_node_jobs", "Jobs that are not over by state", "state", overview.jobs),
    ):
        yield _labelled(name, text, (label,), {(key,): float(count) for key, count in counts.items()})


def _of_destinations(overview: Overview) -> Iterator[Metric]:
    def one(name: str, text: str, value: Mapping[str, float]) -> Metric:
        return _labelled(name, text, ("destination",), {(key,): number for key, number in value.items()})

    states: tuple[DestinationState, ...] = overview.destinations
    up = {each.name: float(each.away is None) for each in states}
    yield one("dicom_node_destination_up", "1 while a destination answers, as far as is known", up)
    paused = {each.name: float(each.paused_at is not None) for each in states}
    yield one("dicom_node_destination_paused", "1 while somebody lets a destination wait", paused)
    ages = {each.name: overview.now - each.oldest_at if each.oldest_at else 0.0 for each in states}
    yield one("dicom_node_queue_oldest_seconds", "Age of the oldest object that waits for a destination", ages)
    queued: dict[tuple[str, ...], float] = {
        (each.name, state): float(count)
        for each in states
        for state, count in (("waiting", each.waiting), ("sending", each.sending), ("held", each.held))
    }
    yield _labelled("dicom_node_queue_objects", "Objects for a destination", ("destination", "state"), queued)


def _labelled(name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
