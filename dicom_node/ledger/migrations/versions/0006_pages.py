"""Accounts, sessions, tokens, the audit trail, pauses, and the list of studies."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STUDIES_AT_ONCE = 500


def upgrade() -> None:
    """Bring the schema to this revision."""
    _make_people()
    _make_trail()
    _make_alerts()
    cards = op.create_table(
        "study_cards",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        *(
            sa.Column(name, kind, nullable=False)
            for name, kind in (
                ("patient_name", sa.Text()),
                ("patient_id", sa.Text()),
                ("accession_number", sa.Text()),
                ("study_date", sa.String(length=8)),
                ("study_description", sa.Text()),
                ("modalities", sa.Text()),
                ("sender", sa.String(length=64)),
                ("search", sa.Text()),
            )
        ),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_study_cards")),
    )
    op.create_index("ix_study_cards_sender", "study_cards", ["sender"], unique=False)
    op.create_index("ix_revisions_opened_at", "revisions", ["opened_at"], unique=False)
    op.create_index("ix_jobs_rule", "jobs", ["rule"], unique=False)
    op.create_index("ix_deliveries_job_id", "deliveries", ["job_id"], unique=False)
    _fill(cards)


def _make_people() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("locked_until", sa.Float(), nullable=True),
        sa.Column("last_log_in_at", sa.Float(), nullable=True),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_sessions_account"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_account", "sessions", ["account"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("used_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )


def _make_trail() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_study_instance_uid", "audit", ["study_instance_uid"], unique=False)
    op.create_table(
        "pauses",
        sa.Column("destination", sa.String(length=100), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_pauses")),
    )


def _make_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("told_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_alerts")),
    )
    op.create_table(
        "audit_sent",
        sa.Column("collector", sa.String(length=200), nullable=False),
        sa.Column("audit_id", _ROW_ID, nullable=False),
        sa.PrimaryKeyConstraint("collector", name=op.f("pk_audit_sent")),
    )


def _fill(cards: sa.Table) -> None:
    """Put the studies that are there already into the list: what one instance of each series says of its study."""
    connection = op.get_bind()
    first = sa.text(
        "SELECT instances.study_instance_uid AS study, headers.header AS header, associations.calling AS sender"
        " FROM headers JOIN instances ON instances.id = headers.instance_id"
        " JOIN associations ON associations.id = instances.association_id"
        " WHERE headers.instance_id IN (SELECT min(id) FROM instances WHERE NOT own GROUP BY series_instance_uid)"
        " ORDER BY instances.study_instance_uid, instances.id"
    )
    batch: list[dict[str, Any]] = []
    for card in _cards(connection.execute(first)):
        batch.append(card)
        if len(batch) == _STUDIES_AT_ONCE:
            connection.execute(sa.insert(cards), batch)
            batch = []
    if batch:
        connection.execute(sa.insert(cards), batch)


def _cards(rows: sa.CursorResult[Any]) -> Iterator[dict[str, Any]]:
    card: dict[str, Any] = {}
    for row in rows:
        header = {keyword: [str(value) for value in values] for keyword, values in json.loads(row.header).items()}
        if card and card["study_instance_uid"] != row.study:
            yield card
            card = {}
        if not card:
            card = _card(row.study, row.sender, header)
        else:
            kinds = {*card["modalities"].strip("|").split("|"), *header.get("Modality", [])} - {""}
            card["modalities"] = f"|{'|'.join(sorted(kinds))}|"
    if card:
        yield card


def _card(study: str, sender: str, header: dict[str, list[str]]) -> dict[str, Any]:
    def value(keyword: str) -> str:
        return header.get(keyword, [""])[0]

    shown = [value(name) for name in ("PatientName", "PatientID", "AccessionNumber", "StudyDescription")]
    return {
        "study_instance_uid": study,
        "patient_name": shown[0],
        "patient_id": shown[1],
        "accession_number": shown[2],
        "study_description": shown[3],
        "study_date": value("StudyDate")[:8],
        "modalities": f"|{'|'.join(sorted(header.get('Modality', [])))}|",
        "sender": sender,
        "search": " ".join([*shown, study]).casefold(),
    }


def downgrade() -> None:
    """Take the schema back to the revision before."""
    op.drop_index("ix_deliveries_job_id", table_name="deliveries")
    op.drop_index("ix_jobs_rule", table_name="jobs")
    op.drop_index("ix_revisions_opened_at", table_name="revisions")
    for table in ("study_cards", "audit_sent", "alerts", "pauses", "audit", "tokens", "sessions", "accounts"):
        op.drop_table(table)
