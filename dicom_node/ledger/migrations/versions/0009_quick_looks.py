"""Indexes for what is asked of many rows at once, since when a delivery waits, and when a study was received."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

#: Index -> its table, its columns before, and its columns now; no columns: there is no such index.
_INDEXES: dict[str, tuple[str, list[str], list[str]]] = {
    "ix_revisions_opened_at": ("revisions", ["opened_at"], ["opened_at", "study_instance_uid", "number"]),
    "ix_revisions_closed_at": ("revisions", [], ["closed_at", "last_arrival_at", "instances"]),
    "ix_revisions_routed_at": ("revisions", [], ["routed_at", "closed_at"]),
    "ix_jobs_rule": ("jobs", ["rule"], ["rule", "study_instance_uid"]),
    "ix_jobs_study": ("jobs", [], ["study_instance_uid", "state"]),
    "ix_jobs_pipeline": ("jobs", [], ["pipeline", "state"]),
    "ix_jobs_started_at": ("jobs", [], ["started_at", "not_before", "created_at"]),
    "ix_jobs_ended_at": ("jobs", [], ["ended_at", "started_at", "state"]),
    "ix_job_runs_outcome": ("job_runs", [], ["outcome", "ended_at"]),
    "ix_results_job": ("results", ["job_id"], ["job_id", "kind"]),
    "ix_deliveries_delivered_at": ("deliveries", [], ["delivered_at", "state", "waiting_since"]),
    "ix_deliveries_destination": ("deliveries", [], ["destination", "state", "delivered_at"]),
    "ix_study_cards_sender": ("study_cards", ["sender"], ["sender", "received_at"]),
}


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.add_column("deliveries", sa.Column("waiting_since", sa.Float(), server_default="0", nullable=False))
    op.add_column("study_cards", sa.Column("received_at", sa.Float(), server_default="0", nullable=False))
    op.execute("UPDATE deliveries SET waiting_since = created_at")
    op.execute(
        "UPDATE study_cards SET received_at = coalesce((SELECT revisions.opened_at FROM revisions"
        " WHERE revisions.study_instance_uid = study_cards.study_instance_uid AND revisions.number = 1), 0)"
    )
    for name, (table, before, now) in _INDEXES.items():
        _put(name, table, before, now)


def downgrade() -> None:
    """Take the schema back to the revision before."""
    for name, (table, before, now) in _INDEXES.items():
        _put(name, table, now, before)
    op.drop_column("study_cards", "received_at")
    op.drop_column("deliveries", "waiting_since")


def _put(name: str, table: str, before: list[str], now: list[str]) -> None:
    if before:
        op.drop_index(name, table_name=table)
    if now:
        op.create_index(name, table, now, unique=False)
