"""What the list of studies knows of each: from headers as they come, and of ledgers from before the list."""

import json
from dataclasses import replace
from importlib import resources
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, select

from dicom_node.ledger import Ledger
from dicom_node.ledger.admin_schema import study_cards
from tests.ledger_cases import arrive, image


def _read(ledger: Ledger, *headers: dict[str, Any] | str) -> None:
    """Give what is unread these headers, in order of arrival."""
    texts = [header if isinstance(header, str) else json.dumps(header) for header in headers]
    unread = [row_id for row_id, _ in ledger.studies.unread(100)]
    ledger.studies.put_headers(list(zip(unread, texts, strict=True)))


def _cards(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(study_cards).order_by(study_cards.c.study_instance_uid)))


def _header(name: str, modality: str) -> dict[str, Any]:
    return {"PatientName": [name], "PatientID": ["1"], "Modality": [modality], "StudyDate": ["20260101"]}


def test_the_first_header_names_the_study_and_each_adds_its_modality(ledger: Ledger) -> None:
    """In one batch or in several, the card is the same."""
    arrive(ledger, image(1), image(2))
    _read(ledger, _header("First", "PT"), _header("Second", "CT"))
    arrive(ledger, image(3))
    _read(ledger, _header("Third", "SR"))
    (card,) = _cards(ledger.engine)
    assert (card.patient_name, card.modalities, card.sender) == ("First", "|CT|PT|SR|", "SCANNER")


def test_values_that_are_hard_to_keep_stop_nothing(ledger: Ledger) -> None:
    """A NUL within a name, which PostgreSQL would refuse with all that was read with it; no value; a number."""
    arrive(ledger, image(1), image(2))
    _read(ledger, {"PatientName": ["A\0B"], "PatientID": [], "StudyDate": [20260101], "Modality": ["M\0R"]}, {})
    (card,) = _cards(ledger.engine)
    assert (card.patient_name, card.patient_id, card.study_date, card.modalities) == ("AB", "", "20260101", "|MR|")


def test_a_header_that_is_none_stops_nothing(ledger: Ledger) -> None:
    """The study is listed without a name."""
    arrive(ledger, image(1))
    _read(ledger, "this is no header")
    assert [(card.patient_name, card.modalities) for card in _cards(ledger.engine)] == [("", "||")]


def test_a_ledger_from_before_the_list_is_listed(ledger: Ledger) -> None:
    """The migration makes the cards that reading the headers would have made."""
    for number in range(3):
        study = f"1.2.{number}"
        other = replace(image(2, study=study), series_instance_uid=f"{study}.9")
        arrive(ledger, image(1, study=study), other)
        _read(ledger, _header(f"Name{number}", "MR"), _header(f"Name{number}", "SR"))
    before = _cards(ledger.engine)
    assert len(before) == 3
    config = Config()
    config.set_main_option("script_location", str(resources.files("dicom_node.ledger") / "migrations"))
    with ledger.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")
        command.upgrade(config, "head")
        connection.commit()
    assert _cards(ledger.engine) == before
