"""What the list of studies shows of each study: written where its headers are, in the same transaction."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from dicom_node.ledger.admin_schema import study_cards
from dicom_node.ledger.schema import associations, instances, revisions

_SEARCHED = ("PatientName", "PatientID", "AccessionNumber", "StudyDescription")


def note_cards(connection: Connection, read: Iterable[tuple[int, str]]) -> None:
    """Bring the cards of studies up to date with headers (row id, JSON text) that have just been read.

    The first header of a study says who it is; each adds its modality.
    """
    texts = dict(read)
    first = and_(revisions.c.study_instance_uid == instances.c.study_instance_uid, revisions.c.number == 1)
    statement = (
        select(instances.c.id, instances.c.study_instance_uid, associations.c.calling, revisions.c.opened_at)
        .join(associations, associations.c.id == instances.c.association_id)
        .join(revisions, first)
        .where(instances.c.id.in_(list(texts)), instances.c.own.is_(False))
        .order_by(instances.c.id)
    )
    cards: dict[str, dict[str, Any]] = {}
    for row in connection.execute(statement):
        header = _header(texts[row.id])
        if row.study_instance_uid not in cards:
            card = _card(row.study_instance_uid, row.calling, header)
            cards[row.study_instance_uid] = card | {"received_at": row.opened_at}
        else:
            _add_modality(cards[row.study_instance_uid], header.get("Modality", ()))
    known = {
        row.study_instance_uid: row.modalities
        for row in connection.execute(
            select(study_cards.c.study_instance_uid, study_cards.c.modalities).where(
                study_cards.c.study_instance_uid.in_(list(cards))
            )
        )
    }
    for study, card in cards.items():
        if study not in known:
            connection.execute(insert(study_cards).values(**card))
            continue
        _add_modality(card, known[study].strip("|").split("|"))
        if card["modalities"] != known[study]:
            changed = update(study_cards).where(study_cards.c.study_instance_uid == study)
            connection.execute(changed.values(modalities=card["modalities"]))


def _header(text: str) -> Mapping[str, list[Any]]:
    """Return a header; one that is none is routing's to stumble over, and the study is listed without a name."""
    try:
        header = json.loads(text)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def _card(study: str, sender: str, header: Mapping[str, list[Any]]) -> dict[str, Any]:
    def value(keyword: str) -> str:
        return _text(next(iter(header.get(keyword, ())), ""))

    return {
        "study_instance_uid": study,
        "patient_name": value("PatientName"),
        "patient_id": value("PatientID"),
        "accession_number": value("AccessionNumber"),
        "study_date": value("StudyDate")[:8],
        "study_description": value("StudyDescription"),
        "modalities": _barred(header.get("Modality", ())),
        "sender": sender,
        "search": " ".join([*(value(keyword) for keyword in _SEARCHED), study]).casefold(),
    }


def _add_modality(card: dict[str, Any], more: Iterable[str]) -> None:
    card["modalities"] = _barred({*card["modalities"].strip("|").split("|"), *more})


def _barred(modalities: Iterable[Any]) -> str:
    return f"|{'|'.join(sorted({_text(each) for each in modalities} - {''}))}|"


def _text(value: Any) -> str:
    """Return a value as a text that every database keeps: PostgreSQL takes no NUL."""
    return str(value).replace("\0", "")
