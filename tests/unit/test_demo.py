"""The demo's own parts: the numbers it reads from a report, the stages it shows, the settings of its node."""

import io
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from rich.console import Console

from dicom_node.demo.journey import Snapshot, settled, stage_table, stages, succeeded
from dicom_node.demo.measured import measurements, volumes
from dicom_node.demo.throwaway import PACS, RULES, demo_settings
from dicom_node.entities import AETitle, Peer
from dicom_node.ledger import Delivery, Job, JobTerms, Revision
from dicom_node.lifecycle import DeliveryState, JobState, StudyState
from dicom_node.routing import parse_rules


def _code(keyword: str, value: str, scheme: str, meaning: str) -> Dataset:
    code, holder = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    setattr(holder, keyword, [code])
    return holder


def _item(value_type: str, name: tuple[str, str, str], *parts: Dataset, **values: object) -> Dataset:
    item = _code("ConceptNameCodeSequence", *name)
    item.ValueType = value_type
    for part in parts:
        item.update(part)
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _volume(value: str) -> Dataset:
    measured = _code("MeasurementUnitsCodeSequence", "ml", "UCUM", "milliliter")
    measured.NumericValue = value
    return _item("NUM", ("118565006", "SCT", "Volume"), MeasuredValueSequence=[measured])


def _report(*groups: list[Dataset]) -> Dataset:
    brain = _code("ConceptCodeSequence", "12738006", "SCT", "Brain")
    finding = _item("CODE", ("121071", "DCM", "Finding"), brain)
    containers = [
        _item("CONTAINER", ("125007", "DCM", "Measurement Group"), ContentSequence=[finding, *items])
        for items in groups
    ]
    measured = _item("CONTAINER", ("126010", "DCM", "Imaging Measurements"), ContentSequence=containers)
    root = Dataset()
    root.ContentSequence = [measured]
    return root


def test_volume_is_read_once_from_two_groups_of_one_finding() -> None:
    """TID 1411 and its TID 1410 companion carry the same finding; it is one volume, in ml."""
    report = _report([_volume("1400.5")], [_volume("1400.5")])
    assert len(measurements(report)) == 2
    (only,) = volumes(report)
    assert (only.of, only.name, only.value, only.unit) == ("Brain", "Volume", 1400.5, "ml")


def test_report_without_numbers_has_no_volume() -> None:
    """A report that says "nothing found" has no NUM item, and an empty measured value is no number."""
    assert volumes(_report()) == ()
    assert volumes(Dataset()) == ()
    unmeasured = _item("NUM", ("118565006", "SCT", "Volume"), MeasuredValueSequence=[])
    assert volumes(_report([unmeasured])) == ()


def test_volume_is_read_from_another_softwares_report(shared_data: Path) -> None:
    """A TID 1500 report by dcmqi, with older codes, is read too: its lesion has 33.5824 ml."""
    report = dcmread(shared_data / "seg-sr-examples-dcmqi" / "sr.dcm")
    first = volumes(report)[0]
    assert (first.of, first.value, first.unit) == ("Neoplasm, Primary", 33.5824, "ml")


def _revision(state: StudyState, closed: float | None, routed: float | None) -> Revision:
    return Revision("1.2", 1, state, 181, 100.0, 102.0, closed, routed, "all associations were released", None)


def _job(state: JobState, ended: float | None, reason: str = "") -> Job:
    return Job(
        id=1,
        study_instance_uid="1.2",
        revision=1,
        rule="brain",
        pipeline="brain_extraction",
        settings={},
        inputs={},
        destinations=("pacs",),
        priority=2,
        state=state,
        reason=reason,
        attempts=1,
        not_before=0,
        created_at=103.5,
        started_at=104.0,
        ended_at=ended,
        progress=0.4,
        rules_version=1,
        terms=JobTerms(),
        step="network",
        seconds={}
        if state is not JobState.DONE
        else {"load": 0.5, "model": 1.5, "run": 3.25, "build": 0.5, "store": 0.2},
    )


def _delivery(state: DeliveryState, at: float | None, reason: str = "") -> Delivery:
    return Delivery(
        id=1,
        sop_instance_uid="1.2.3",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid="1.2",
        series_instance_uid="1.2.1",
        kind="SEG",
        path="results/1.dcm",
        job_id=1,
        destination="pacs",
        state=state,
        reason=reason,
        status=None,
        attempts=1,
        created_at=110.0,
        not_before=110.0,
        give_up_at=1e9,
        delivered_at=at,
        proof="",
        proof_attempts=0,
        proven_at=None,
        transaction_uid=None,
        resends=0,
    )


_COMPLETE = _revision(StudyState.COMPLETE, 103.0, None)
_ROUTED = _revision(StudyState.ROUTED, 103.0, 103.5)


@pytest.mark.parametrize(
    ("snapshot", "over", "good"),
    [
        (Snapshot(None), False, False),
        (Snapshot(_COMPLETE), False, False),
        (Snapshot(_ROUTED), True, False),
        (Snapshot(_ROUTED, (_job(JobState.RUNNING, None),)), False, False),
        (Snapshot(_ROUTED, (_job(JobState.HELD, 110.0, "no model"),)), True, False),
        (Snapshot(_ROUTED, (_job(JobState.DONE, 110.0),), (_delivery(DeliveryState.WAITING, None),)), False, False),
        (Snapshot(_ROUTED, (_job(JobState.DONE, 110.0),), (_delivery(DeliveryState.HELD, None),)), True, False),
        (Snapshot(_ROUTED, (_job(JobState.DONE, 110.0),), (_delivery(DeliveryState.DELIVERED, 110.2),)), True, True),
    ],
)
def test_demo_waits_until_nothing_more_happens_and_knows_success(snapshot: Snapshot, over: bool, good: bool) -> None:
    """A study is settled when every row is in an end state; it succeeded only if something was made and delivered."""
    assert (settled(snapshot), succeeded(snapshot)) == (over, good)


def _shown(snapshot: Snapshot) -> str:
    shown = io.StringIO()
    Console(file=shown, width=160).print(stage_table(stages(snapshot), "study"))
    return shown.getvalue()


def test_stages_are_shown_in_words_and_seconds() -> None:
    """Each stage that was reached says what happened; reasons and times are the ledger's."""
    delivered = (_delivery(DeliveryState.DELIVERED, 110.25),)
    whole = _shown(Snapshot(_ROUTED, (_job(JobState.DONE, 110.0),), delivered, results=2))
    for words in ("181 instances", "2.00", "all associations were released", "1.00", "rule 'brain'", "0.50"):
        assert words in whole
    for words in ("done (load 0.5 s", "5.25", "2 objects", "0.70", "SEG to pacs: delivered", "0.25"):
        assert words in whole
    running = _shown(Snapshot(_ROUTED, (_job(JobState.RUNNING, None),)))
    assert "40% network" in running
    assert "delivered" in _shown(Snapshot(None))


def test_what_went_wrong_is_shown_with_its_reason() -> None:
    """A held job or delivery shows the reason that its row holds; an unmatched study says where to look."""
    assert "held: no model" in _shown(Snapshot(_ROUTED, (_job(JobState.HELD, 110.0, "no model"),)))
    held = (_delivery(DeliveryState.HELD, None, "PACS1 does not accept Segmentation Storage"),)
    assert "does not accept" in _shown(Snapshot(_ROUTED, (_job(JobState.DONE, 110.0),), held))
    assert "no rule matched" in _shown(Snapshot(_ROUTED))


def test_demo_rules_and_settings_belong_together(tmp_path: Path) -> None:
    """The demo's rules have no fault, name its pipeline's role, and send to the one destination of its settings."""
    pacs = Peer(AETitle("PACS"), "127.0.0.1", 4242)
    settings = demo_settings(tmp_path, tmp_path / "rules.toml", 11112, pacs)
    names = {destination.name for destination in settings.destinations}
    rules = parse_rules(RULES, "rules.toml", {"brain_extraction": ("t1",)}, names).rules
    assert [rule.fallback for rule in rules] == [False, True]
    assert names == {PACS}
    assert settings.reception.address == "127.0.0.1"
