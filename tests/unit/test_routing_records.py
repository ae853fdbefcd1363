"""What the ledger keeps of a routed study tells every answer again: on the page, on the command line and as JSON."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dicom_node import __version__
from dicom_node.admin.queries.story import story_of
from dicom_node.entities import FactValue, SeriesFacts, StudyFacts
from dicom_node.ledger import AccountRole
from dicom_node.routing import Recorder, explain_lines, parse_rules, route, told_verdicts, verdict_to_json
from tests.admin_cases import bench
from tests.ledger_cases import NOW, STUDY, arrive, complete, image

_CREATOR = "(0029,xx10) A.VENDOR"
_RULES = parse_rules(
    f"""
[[rule]]
name = "stopper"
stop = true
do_not_run = "scouts need no analysis"
when.any_of = [{{ Modality = "CT" }}, {{ PatientName = {{ matches = "doe" }}, StudyDescription = "head" }}]

[[rule]]
name = "brain"
pipeline = "brain"
destinations = ["pacs"]
priority = {{ from = "RequestedProcedurePriority", otherwise = "background", terms = {{ NOW = "stat" }} }}
when.Modality = ["MR", "CT"]
inputs.t1 = {{ SeriesDescription = {{ matches = "^t1" }}, rank = ["EchoTime asc"] }}
inputs.t2 = {{ EchoTime = {{ at_least = 80 }}, none_of = [{{ SeriesDescription = "t1 gd" }}] }}

[[rule]]
name = "private"
pipeline = "brain"
destinations = ["pacs"]
inputs.t1 = {{ "{_CREATOR}" = {{ matches = '\\.0$' }} }}

[[rule]]
name = "off"
enabled = false
pipeline = "brain"
destinations = ["pacs"]
priority = "stat"
inputs.t1 = {{ Modality = "MR" }}
""",
    "rules.toml",
)


def _series(uid: str, description: str, echo: float, private: FactValue = 1) -> SeriesFacts:
    values: dict[str, tuple[FactValue, ...]] = {
        "Rows": (256,),
        "Modality": ("MR",),
        "SeriesDescription": (description,),
        "EchoTime": (echo,),
        _CREATOR: (private,),
    }
    return SeriesFacts(uid, values)


def _study(*series: SeriesFacts, description: str = "head", priority: str = "NOW") -> StudyFacts:
    journey: dict[str, tuple[FactValue, ...]] = {
        "Modality": ("MR",),
        "PatientName": ("Roe^Ann",),
        "StudyDescription": (description,),
        "RequestedProcedurePriority": (priority,),
    }
    return StudyFacts(STUDY, journey, (*series, SeriesFacts("1.2.0", {"Modality": ("SR",)})))


_BOTH = _study(_series("1.2.2", "t1 sag", 3), _series("1.2.1", "t1 gd", 2), _series("1.2.3", "t2", 90))
_STUDIES = {
    "both inputs": _BOTH,
    "one input only": _study(_series("1.2.1", "t1 gd", 90), priority="LATER"),
    "nothing that fits": _study(_series("1.2.1", "flair", 5), description="Doe"),
    "stopped": StudyFacts(STUDY, {**_BOTH.values, "Modality": ("CT", "MR")}, _BOTH.series),
    "no series": _study(),
}


def _asked(facts: StudyFacts) -> list[dict[str, Any]]:
    return [verdict_to_json(verdict) for verdict in route(facts, _RULES)]


@pytest.mark.parametrize("facts", _STUDIES.values(), ids=_STUDIES)
def test_a_record_tells_what_asking_tells(facts: StudyFacts) -> None:
    """Every field of every answer, and the lines of the command line; and the same rules match, with their inputs."""
    record = Recorder(_RULES).record(facts)
    told = told_verdicts(record.text({}))
    assert list(told) == _asked(facts)
    verdicts = route(facts, _RULES)
    assert [tuple(each["lines"]) for each in told] == [explain_lines(verdict) for verdict in verdicts]
    matching = [verdict for verdict in verdicts if verdict.matched]
    assert [(one.rule, one.fires, one.priority, one.inputs) for one in record.matching] == [
        (verdict.rule, verdict.fires, verdict.priority, verdict.inputs) for verdict in matching
    ]


def test_one_recorder_answers_study_after_study() -> None:
    """What it remembers of one study spoils no other: a private value 1 is not 1.0, whoever came first."""
    recorder = Recorder(_RULES)
    numbers = [_study(_series("1.2.1", "t1", 2, value)) for value in (1, 1.0, "1", 1)]
    for facts in (*_STUDIES.values(), *numbers, *_STUDIES.values()):
        assert list(told_verdicts(recorder.record(facts).text({}))) == _asked(facts)


def test_every_sentence_stands_among_the_lines() -> None:
    """Page and command line show lines, scripts read JSON: the sentences are the same, in the same order."""
    for verdict in told_verdicts(Recorder(_RULES).record(_BOTH).text({})):
        lines = iter([line.strip() for line in verdict["lines"]])
        assert all(sentence in lines for sentence in _sentences(verdict))
        assert verdict["lines"][0] == f"Rule '{verdict['rule']}' {verdict['reason']}"


def _sentences(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sentences of a verdict's answers, in the order in which they are told."""
    yield from _answered(told["study"])
    for role in told["roles"]:
        for series in role["series"]:
            yield from _answered(series["answers"])


def _answered(answers: list[dict[str, Any]]) -> Iterator[str]:
    for answer in answers:
        yield answer["sentence"]
        for branch in answer.get("alternatives", ()):
            yield from _answered(branch)


def test_a_record_names_no_patient_and_its_software() -> None:
    """What identifies a person is asked about and not shown; the version says whose words they were."""
    text = Recorder(_RULES).record(_BOTH).text({})
    assert "Roe" not in text
    assert json.loads(text)["software"] == __version__
    (answer, _) = told_verdicts(text)[0]["study"][0]["alternatives"][1]
    assert (answer["keyword"], answer["seen"]) == ("PatientName", "present (not shown)")


def test_late_images_are_told_of_the_rule_that_they_do_not_concern() -> None:
    """One rule gets the field, and the others do not."""
    told = told_verdicts(Recorder(_RULES).record(_BOTH).text({"brain": "ran on an earlier revision"}))
    assert [each.get("late_images_reason") for each in told] == [None, "ran on an earlier revision", None, None]


def test_verdicts_written_in_full_are_told_as_they_are() -> None:
    """So they were written before there were records."""
    assert told_verdicts('[{"rule":"old","fires":false}]') == ({"rule": "old", "fires": False},)


def test_the_story_tells_the_record(tmp_path: Path) -> None:
    """Page and API show what was answered when the study was routed: each revision's own."""
    with bench(tmp_path) as desk:
        arrive(desk.ledger, image(1))
        record = Recorder(_RULES).record(_BOTH).text({})
        desk.ledger.studies.record_verdicts(complete(desk.ledger), record, ("digest", 1), (), NOW)
        story = story_of(desk.ledger, STUDY)
        assert story is not None
        assert list(story.verdicts) == _asked(_BOTH)
        answer = desk.program(AccountRole.VIEWER).get(f"/api/studies/{STUDY}").json()
        assert answer["verdicts"] == _asked(_BOTH)
        assert json.loads(answer["revisions"][0]["verdicts"]) == _asked(_BOTH)
