"""The ledger against its table: whatever is asked of it in whatever order, rows move only as the table says."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from dicom_node.entities import Arrival, InstanceRef, SameUidPolicy
from dicom_node.errors import TransitionForbidden
from dicom_node.ledger import Delivery, Job, Ledger
from dicom_node.ledger.schema import instances, metadata
from dicom_node.lifecycle import DeliveryEvent, DeliveryState, JobEvent, JobState, after
from tests.ledger_cases import NOW, SCANNER, arrive, fresh_ledger, image, made, queued

# one ledger for all examples: each takes a study of its own
_SLOW_DISK = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
_STUDIES = (f"1.9.{number}" for number in count(1))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Give a ledger that all examples of this module share."""
    with fresh_ledger(tmp_path_factory.mktemp("ledger")) as opened:
        yield opened


def test_migrations_make_the_schema(tmp_path: Path) -> None:
    """A ledger that was migrated is the schema that the code speaks of, and nothing else."""
    with fresh_ledger(tmp_path) as migrated, migrated.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def _ask_of_job(ledger: Ledger, job: Job, event: JobEvent) -> bool:
    ask: dict[JobEvent, Callable[[], object]] = {
        JobEvent.STARTED: lambda: job.id in {each.id for each in ledger.jobs.claim("node", NOW, NOW + 60, 1000)},
        JobEvent.INTERRUPTED: lambda: job.id in ledger.jobs.take_back("node", NOW, starting=True),
        JobEvent.FAILED_FOR_NOW: lambda: ledger.jobs.fail(job, "no", NOW, NOW),
        JobEvent.FAILED_FOR_GOOD: lambda: ledger.jobs.fail(job, "no", NOW, None),
        JobEvent.FINISHED: lambda: ledger.jobs.finish(job, (), {}, NOW, NOW),
        JobEvent.RETRY_ASKED: lambda: ledger.jobs.retry(job.id, NOW),
        JobEvent.CANCEL_ASKED: lambda: ledger.jobs.cancel(job.id, NOW),
    }
    return bool(ask[event]())


@_SLOW_DISK
@given(st.lists(st.sampled_from(list(JobEvent)), max_size=12))
def test_a_job_moves_as_the_table_says(ledger: Ledger, events: list[JobEvent]) -> None:
    """Each event either is in the table and moves the row to the state named there, or changes nothing."""
    (job,) = queued(ledger, study=next(_STUDIES))
    state = JobState.QUEUED
    for event in events:
        try:
            expected, allowed = after(state, event), True
        except TransitionForbidden:
            expected, allowed = state, False
        assert _ask_of_job(ledger, job, event) is allowed
        found = ledger.jobs.get(job.id)
        assert found is not None
        assert found.state is expected
        state = found.state


def _ask_of_delivery(ledger: Ledger, delivery: Delivery, event: DeliveryEvent) -> object:
    rows = ledger.deliveries
    ask: dict[DeliveryEvent, Callable[[], object]] = {
        DeliveryEvent.STARTED: lambda: rows.start(delivery.destination, "node", NOW, NOW + 60, 1000),
        DeliveryEvent.INTERRUPTED: lambda: rows.take_back("node", NOW, starting=True),
        DeliveryEvent.ACCEPTED: lambda: rows.accept(delivery, 0, "", NOW),
        DeliveryEvent.PROVEN: lambda: ledger.proofs.confirm([delivery], "", NOW),
        DeliveryEvent.FOUND_MISSING: lambda: ledger.proofs.missing({replace(delivery, resends=0): "gone"}, NOW, NOW),
        DeliveryEvent.GIVEN_UP: lambda: ledger.proofs.missing({replace(delivery, resends=99): "gone"}, NOW, NOW),
        DeliveryEvent.FAILED_FOR_NOW: lambda: rows.wait(delivery, None, "", NOW, NOW),
        DeliveryEvent.FAILED_FOR_GOOD: lambda: rows.hold(delivery, None, "", NOW),
        DeliveryEvent.RETRY_ASKED: lambda: rows.retry(delivery.id, NOW, NOW + 9),
        DeliveryEvent.RESEND_ASKED: lambda: rows.resend(delivery.id, NOW, NOW + 9),
        DeliveryEvent.CANCEL_ASKED: lambda: rows.cancel(delivery.id, NOW),
    }
    return ask[event]()


@_SLOW_DISK
@given(st.lists(st.sampled_from(list(DeliveryEvent)), max_size=12))
def test_a_delivery_moves_as_the_table_says(ledger: Ledger, events: list[DeliveryEvent]) -> None:
    """Each event either is in the table and moves the row to the state named there, or changes nothing."""
    study = next(_STUDIES)
    (queued_job,) = queued(ledger, study=study)
    (job,) = (each for each in ledger.jobs.claim("node", NOW, NOW + 60, 1000) if each.id == queued_job.id)
    ledger.jobs.finish(job, made(study)[:1], {}, NOW, NOW + 9)
    (delivery,) = ledger.deliveries.of_job(job.id)
    state = DeliveryState.WAITING
    for event in events:
        try:
            expected = after(state, event)
        except TransitionForbidden:
            expected = state
        _ask_of_delivery(ledger, delivery, event)
        found = ledger.deliveries.get(delivery.id)
        assert found is not None
        assert found.state is expected
        state = found.state


def _rows(ledger: Ledger, study: str) -> dict[str, list[str]]:
    """Return the content of every current row by the number of its image."""
    wanted = (instances.c.study_instance_uid == study, instances.c.current.is_(True))
    with ledger.engine.connect() as connection:
        rows = connection.execute(select(instances).where(*wanted)).all()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.sop_instance_uid.removeprefix(study), []).append(row.sha256[0])
    return found


_NUMBERS = st.lists(st.integers(1, 5), min_size=1, max_size=12)


@_SLOW_DISK
@given(_NUMBERS, st.randoms(use_true_random=False))
def test_order_and_repetition_of_arrivals_change_nothing(ledger: Ledger, sent: list[int], dice: object) -> None:
    """Any order of the same instances, each sent any number of times, gives the same current instances."""
    shuffled = dice.sample(sent, len(sent)) + dice.choices(sent, k=3)  # type: ignore[attr-defined]
    found = []
    for order in (sent, shuffled):
        study = next(_STUDIES)
        arrivals = arrive(ledger, *(image(number, study=study) for number in order))
        assert arrivals.count(Arrival.NEW) == len(set(sent))
        (revision,) = ledger.studies.revisions(study)
        assert revision.instances == len(set(sent))
        found.append(_rows(ledger, study))
    assert found[0] == found[1]


_CONTENTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from("abc")), min_size=1, max_size=12)


@_SLOW_DISK
@given(_CONTENTS, st.sampled_from(list(SameUidPolicy)))
def test_one_current_row_for_each_uid(ledger: Ledger, sent: list[tuple[int, str]], policy: SameUidPolicy) -> None:
    """Whatever bytes come under a UID: one current row, the first bytes', or the newest ones' with keep_last."""
    study = next(_STUDIES)
    refs: list[InstanceRef] = [image(number, study=study, content=content) for number, content in sent]
    arrive(ledger, *refs, policy=policy, association=replace(SCANNER, id=study))
    expected: dict[str, list[str]] = {}
    seen: set[tuple[int, str]] = set()
    for number, content in sent:
        key = f".1.{number}"
        if key not in expected or (policy is SameUidPolicy.KEEP_LAST and (number, content) not in seen):
            expected[key] = [content]
        seen.add((number, content))
    assert _rows(ledger, study) == expected
