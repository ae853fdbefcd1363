"""Rules at size: an edit tried on a month of studies, and one decision with many rules.

    python -m bench.rules [--studies 100000] [--rules 50] [--decisions 300]

A ledger is filled with the facts of made-up studies of 2 to 8 series with 90 attributes, no two alike. Then old and
edited rules are tried on them, reading included. Goals: 20 s for 100,000 studies and 50 rules; 5 ms for one decision
with 200 rules, also with the record of every answer that the ledger keeps. Times are of the processor: a busy machine
changes them little.
"""

import argparse
import json
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from dicom_node.entities import FactValue, SeriesFacts, StudyFacts
from dicom_node.ledger import Ledger, open_ledger
from dicom_node.ledger.facts import keep_facts
from dicom_node.routing import Decider, Recorder, RuleSet, facts_to_bytes, parse_rules, route, told_verdicts
from dicom_node.rule_trial import try_on_history

_BATCH: Final = 1000
_GOAL_SECONDS: Final = 20.0
_GOAL_MILLISECONDS: Final = 5.0
_MANY_RULES: Final = 200
_DESCRIPTIONS: Final = (
    "t1_mprage_sag",
    "t2_tse_tra",
    "flair_3d",
    "dwi_b1000",
    "swi",
    "t1 post gd",
    "localizer",
    "thorax 1mm",
)
_PARTS: Final = ("HEAD", "BRAIN", "CHEST", "ABDOMEN", "KNEE", "SPINE")
_RULE: Final = """
[[rule]]
name = "rule {n}"
pipeline = "p{n}"
destinations = ["pacs"]
when.Modality = "{modality}"
when.CallingAETitle = {{ matches = "[{scanner}-9]$" }}
when.any_of = [
  {{ StudyDescription = {{ matches = "protocol {n}|whole" }} }},
  {{ BodyPartExamined = ["{part}", "{other}"], PatientAge = {{ at_least = {age} }} }},
]
[rule.inputs.main]
SeriesDescription = {{ matches = "{description}" }}
NumberOfSlices = {{ at_least = {slices} }}
SliceSpacing = {{ at_most = {spacing} }}
ImageType = {{ not = "LOCALIZER" }}
Orientation = ["axial", "sagittal"]
EchoTime = {{ any_of = [{{ exists = false }}, {{ at_most = {echo} }}] }}
rank = [{{ ImageType = ["ORIGINAL"] }}, "VoxelVolume asc", "AcquiredAt desc"]
"""


def rules(count: int, *, edited: bool = False) -> RuleSet:
    """Return so many rules; edited, every tenth wants other slices."""
    texts = [
        _RULE.format(
            n=n,
            modality=("MR", "CT")[n % 2],
            scanner=n % 8,
            part=_PARTS[n % 6],
            other=_PARTS[(n + 1) % 6],
            age=n % 60,
            description=_DESCRIPTIONS[n % 8].split("_")[0],
            slices=20 + n % 7 * 20 + (15 if edited and n % 10 == 0 else 0),
            spacing=1 + n % 5,
            echo=60 + n % 50,
        )
        for n in range(count)
    ]
    return parse_rules("".join(texts), "bench")


def study(number: int, chance: random.Random) -> StudyFacts:
    """Return the facts of one study."""
    uid = f"1.2.826.0.1.3680043.8.498.{number}"
    shared = _shared(number, chance)
    series = tuple(SeriesFacts(f"{uid}.{n}", {**shared, **_own(n, chance)}) for n in range(chance.randint(2, 8)))
    union = {
        key: tuple(dict.fromkeys(value for one in series for value in one.values[key])) for key in series[0].values
    }
    journey: dict[str, tuple[FactValue, ...]] = {
        "CallingAETitle": (f"{shared['Modality'][0]}{number % 12}",),
        "CalledAETitle": ("NODE",),
        "CallingAddress": (f"10.1.20.{number % 12}",),
        "NumberOfInstances": (len(series) * 100,),
        "StudyAgeDays": (0,),
    }
    return StudyFacts(uid, {**union, **journey}, series)


def _shared(number: int, chance: random.Random) -> dict[str, tuple[FactValue, ...]]:
    filler: dict[str, tuple[FactValue, ...]] = {
        f"(0051,xx{n:02X}) SIEMENS MR HEADER": (f"value {n} of {number % 50}",) for n in range(60)
    }
    return filler | {
        "Modality": (chance.choice(("MR", "MR", "CT")),),
        "StudyDescription": (f"protocol {chance.randrange(200)}",),
        "PatientName": (f"Name^{number}",),
        "PatientID": (f"PID{number:07}",),
        "PatientAge": (chance.randrange(1, 95),),
        "BodyPartExamined": (chance.choice(_PARTS),),
        "StudyDate": (f"202603{number % 28 + 1:02}",),
        "StudyTime": (f"{number % 24:02}1530.{number % 1000000:06}",),
        "AccessionNumber": (f"A{number}",),
        "Manufacturer": ("SIEMENS",),
    }


def _own(number: int, chance: random.Random) -> dict[str, tuple[FactValue, ...]]:
    filler: dict[str, tuple[FactValue, ...]] = {
        f"(0019,xx{n:02X}) SIEMENS MR HEADER": (chance.random(),) for n in range(20)
    }
    return filler | {
        "Rows": (chance.choice((256, 320, 512)),),
        "Columns": (512,),
        "SeriesNumber": (number,),
        "SeriesDescription": (f"{chance.choice(_DESCRIPTIONS)} {chance.randrange(20)}",),
        "ImageType": (chance.choice(("ORIGINAL", "ORIGINAL", "DERIVED")), "PRIMARY", "M"),
        "NumberOfSlices": (chance.randrange(1, 300),),
        "SliceSpacing": (chance.choice((0.6, 1.0, 3.3, 5.0)),),
        "VoxelVolume": (round(chance.random() * 5, 4),),
        "AcquiredAt": (f"202603{chance.randrange(10, 28)}{chance.randrange(10, 23)}1530",),
        "Orientation": (chance.choice(("axial", "sagittal", "coronal")),),
        "EchoTime": (round(chance.random() * 120, 2),),
        "RepetitionTime": (round(chance.random() * 3000, 1),),
        "ProtocolName": (chance.choice(_DESCRIPTIONS),),
        "SliceLocation": tuple(float(n) for n in range(20)),
        "WindowCenter": (chance.randrange(2000),),
        "WindowWidth": (chance.randrange(4000),),
        "FrameOfReferenceUID": (f"1.2.3.{chance.getrandbits(60)}",),
        "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.4",),
    }


def fill(ledger: Ledger, count: int, chance: random.Random) -> int:
    """Keep the facts of so many studies; return their bytes."""
    size = 0
    for start in range(0, count, _BATCH):
        with ledger.engine.begin() as connection:
            for uid, written in _written(range(start, min(start + _BATCH, count)), chance):
                keep_facts(connection, uid, 1, time.time(), written)
                size += len(written)
    return size


def _written(numbers: range, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for number in numbers:
        facts = study(number, chance)
        yield facts.study_instance_uid, facts_to_bytes(facts)


def replay(studies: int, count: int) -> float:
    """Try edited rules on a ledger of studies; print and return the seconds that it took."""
    folder = Path(tempfile.mkdtemp(prefix="bench-rules-"))
    try:
        ledger = open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
        size = fill(ledger, studies, random.Random(7))  # noqa: S311 - made-up studies guard no secret
        old, new = rules(count), rules(count, edited=True)
        wall, cpu = time.perf_counter(), time.process_time()
        trial = try_on_history(ledger, old, new, 0.0, zone=UTC)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        ledger.close()
    finally:
        shutil.rmtree(folder)
    print(f"{trial.studies} studies ({size / studies / 1000:.1f} kB each) x {count} rules, old and new:", end=" ")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{wall:.1f} s, {cpu:.1f} s of processor; {trial.differing} studies differ (goal {_GOAL_SECONDS:g} s);",
        end=" ",
    )
    print(f"{memory:.0f} MiB of memory at most")
    return cpu


def decisions(count: int) -> float:
    """Decide with many rules; print, and return the median milliseconds of a decision with its record."""
    many = rules(_MANY_RULES)
    chance = random.Random(8)  # noqa: S311 - as above
    asked = [study(number, chance) for number in range(count)]
    decider, recorder = Decider(many.rules), Recorder(many)
    _told("which rules fire", [_milliseconds(decider.decide, facts) for facts in asked], goal=True)
    records = [recorder.record(facts).text({}) for facts in asked]
    fresh = Recorder(many)  # remembers nothing yet
    times = [_milliseconds(lambda facts: fresh.record(facts).text({}), facts) for facts in asked]
    decided = _told("with the record of every answer", times, goal=True)
    _told("every answer told from its record", [_milliseconds(told_verdicts, record) for record in records])
    few = asked[: max(count // 10, 1)]
    _told("asked for the answers only", [_milliseconds(lambda facts: route(facts, many), facts) for facts in few])
    size = statistics.mean(len(record.encode()) for record in records)
    in_full = statistics.mean(len(json.dumps(told_verdicts(record))) for record in records[: len(few)])
    print(f"the record of a study: {size / 1000:.1f} kB; told in full, as JSON: {in_full / 1000:.0f} kB")
    return decided


def _milliseconds(ask: Callable[[Any], object], about: object) -> float:
    started = time.process_time()
    ask(about)
    return (time.process_time() - started) * 1000


def _told(name: str, times: Sequence[float], *, goal: bool = False) -> float:
    """Print how long something took, in milliseconds of processor; return the median."""
    median, worst = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
    wanted = f" (goal {_GOAL_MILLISECONDS:g} ms)" if goal else ""
    print(
        f"one study, {_MANY_RULES} rules, {name}: median {median:.2f} ms, first {times[0]:.2f} ms, "
        f"99 % below {worst:.2f} ms{wanted}"
    )
    return median


def main() -> int:
    """Run and print; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="Rules at size.")
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--rules", type=int, default=50)
    parser.add_argument("--decisions", type=int, default=300)
    options = parser.parse_args()
    milliseconds = decisions(options.decisions)
    seconds = replay(options.studies, options.rules)
    return int(seconds > _GOAL_SECONDS or milliseconds > _GOAL_MILLISECONDS)


if __name__ == "__main__":
    sys.exit(main())
