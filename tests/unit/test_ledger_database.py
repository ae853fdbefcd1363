"""Opening the ledger: made and migrated, durable, never made by a look."""

from importlib import resources
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import IntegrityError

from dicom_node.ledger import Ledger, LedgerMissing, open_ledger
from dicom_node.ledger.moves import insert_if_new, move, note_event
from dicom_node.ledger.schema import jobs, rule_files
from dicom_node.lifecycle import JobEvent, JobState
from tests.ledger_cases import NOW, STUDY, arrive, finished, image, queued


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.sqlite'}"


def test_looking_makes_nothing(tmp_path: Path) -> None:
    """A command on a machine where no node ran says so, and leaves no file behind."""
    with pytest.raises(LedgerMissing, match="has `dicom-node serve` run"):
        open_ledger(_url(tmp_path), create=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_no_ledger(tmp_path: Path) -> None:
    """A file without our tables is not taken for one."""
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(LedgerMissing):
        open_ledger(_url(tmp_path), create=False)


def test_opening_again_finds_what_was_there(tmp_path: Path) -> None:
    """Migration of an up-to-date ledger changes nothing."""
    first = open_ledger(_url(tmp_path))
    arrive(first, image(1))
    first.close()
    for create in (True, False):
        again = open_ledger(_url(tmp_path), create=create)
        assert [r.study_instance_uid for r in again.studies.latest(5)] == [STUDY]
        again.close()


def test_a_ledger_that_was_moved_is_not_written_on(tmp_path: Path) -> None:
    """SQLite would go on in the moved file, and answer success; brought back, it is the ledger again."""
    ledger = open_ledger(_url(tmp_path))
    arrive(ledger, image(1))
    here, away = tmp_path / "ledger.sqlite", tmp_path / "away"
    here.rename(away)
    with pytest.raises(LedgerMissing, match="is gone"):
        arrive(ledger, image(2))
    assert not here.exists()
    away.rename(here)
    arrive(ledger, image(3))
    assert len(ledger.studies.latest(5)) == 1
    ledger.close()


def test_commits_survive_a_power_cut(tmp_path: Path) -> None:
    """SQLite in WAL mode syncs every commit (synchronous = FULL) and holds foreign keys."""
    ledger = open_ledger(_url(tmp_path))
    with ledger.engine.connect() as connection:
        seen = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    ledger.close()
    assert seen == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_look_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    """`status` answers while the node is in the middle of a write."""
    ledger = open_ledger(_url(tmp_path))
    with ledger.engine.begin() as connection:
        note_event(connection, "kind", "text", NOW)
        looking = open_ledger(_url(tmp_path), create=False)
        assert looking.events() == []
        looking.close()
    assert len(ledger.events()) == 1
    ledger.close()


def test_a_transition_that_is_forbidden_moves_no_row(ledger: Ledger) -> None:
    """The guard stands in the WHERE clause: a queued job cannot finish."""
    (job,) = queued(ledger)
    with ledger.engine.begin() as connection:
        assert move(connection, jobs, jobs.c.id == job.id, JobEvent.FINISHED) == 0
        assert move(connection, jobs, jobs.c.id == job.id, JobEvent.STARTED) == 1
    found = ledger.jobs.get(job.id)
    assert found is not None
    assert found.state is JobState.RUNNING


def test_an_insert_that_exists_is_left_alone(ledger: Ledger) -> None:
    """The first row of a key stays."""
    with ledger.engine.begin() as connection:
        assert insert_if_new(connection, rule_files, node="n", sha256="first")
        assert not insert_if_new(connection, rule_files, node="n", sha256="second")
        assert connection.execute(rule_files.select()).one().sha256 == "first"


def test_the_database_itself_forbids_two_jobs_of_a_rule(ledger: Ledger) -> None:
    """One job per rule and revision: the promise is a constraint."""
    queued(ledger)
    with ledger.engine.connect() as connection:
        row = dict(connection.execute(jobs.select()).mappings().one())
        del row["id"]
        with pytest.raises(IntegrityError):
            connection.execute(jobs.insert().values(**row))


def test_events_are_of_one_study_or_one_job(ledger: Ledger) -> None:
    """Oldest first, the latest ones where there are more than asked for."""
    (job,) = queued(ledger)
    queued(ledger, study="1.2.4")
    kinds = [kind for _, kind, _ in ledger.events(study=STUDY)]
    assert kinds == ["complete", "routed"]
    assert ledger.events(job=job.id) == []
    assert [kind for _, kind, _ in ledger.events(limit=1)] == ["routed"]


def test_rules_of_an_older_ledger_become_versions(tmp_path: Path) -> None:
    """Migration keeps every text that was in force, in its order."""
    made = open_ledger(_url(tmp_path))
    finished(made)  # rows that refer to others, and that the way back must keep
    made.close()
    engine = create_engine(_url(tmp_path))
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON"))
    config = Config()
    config.set_main_option("script_location", str(resources.files("dicom_node.ledger") / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
        connection.execute(text("INSERT INTO rule_versions VALUES ('d2', 'later', 2.0), ('d1', 'first', 1.0)"))
        connection.commit()
    engine.dispose()
    ledger = open_ledger(_url(tmp_path))
    assert [(each.number, each.text, each.digest) for each in ledger.rules.all()] == [
        (2, "later", "d2"),
        (1, "first", "d1"),
    ]
    assert len(ledger.jobs.results(ledger.jobs.latest(1)[0].id)) == 2
    ledger.close()
