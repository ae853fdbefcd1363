"""The dashboard and the alert rules in `deploy/` ask only for figures that `/metrics` has."""

import json
import re
from pathlib import Path

import pytest

from tests.admin_cases import bench
from tests.ledger_cases import finished

_DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-alerts.yaml"])
def test_every_figure_that_is_asked_for_exists(name: str, tmp_path: Path) -> None:
    """A figure that is called otherwise would leave a panel empty, and an alert silent for ever."""
    text = (_DEPLOY / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        text = " ".join(target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"])
    with bench(tmp_path) as desk:
        finished(desk.ledger)
        told = desk.client().get("/metrics").text
    has = set(re.findall(r"^# TYPE (\w+)", told, re.MULTILINE))
    wanted = set(re.findall(r"\bdicom_node_\w+", text))
    assert len(wanted) >= 8
    assert wanted - has == set()


def test_an_old_queue_is_told_only_if_it_stays_old() -> None:
    """One look at the moment at which a destination takes everything is no alert."""
    rules = (_DEPLOY / "prometheus-alerts.yaml").read_text(encoding="utf-8").split("- alert: ")
    (queue_old,) = (rule for rule in rules if rule.startswith("DicomNodeQueueOld\n"))
    assert "for: 5m\n" in queue_old
